//! A child's way up: it dials, and dials again. Leaves go to any member or relay, a relay to any
//! member and some relays, a member to each other.

use std::sync::Arc;

use super::{Event, Place, World, network::Link};
use crate::{
    event::{Event as Record, EventId, Happening},
    fleet::latest_ms,
    id::{ClusterId, Name},
    invariants::What,
    object::{Labels, Object},
    store::digest_of,
    sync::{
        EVENTS_PENDING_MAX,
        child::{Child, Effect, Identity},
        frame::{Frame, Role},
    },
    time::Millis,
};

/// A link upward.
pub(super) struct Uplink {
    pub(super) name: Name,
    pub(super) role: Role,
    /// Whose it is.
    pub(super) place: Place,
    /// The only member to which it leads; `None`: any parent.
    pub(super) target: Option<Place>,
    pub(super) child: Child,
    /// The Cfg that outlives it.
    disk: Vec<Arc<Object>>,
    /// The link that it holds; it may be broken without its knowing.
    pub(super) link: Option<u64>,
    dial_at: u64,
    events: u64,
}

impl Uplink {
    pub(super) fn of_relay(name: Name, place: Place) -> Self {
        Self::new(name, Role::Relay, place, None)
    }

    pub(super) fn of_leaf(name: Name, place: Place) -> Self {
        Self::new(name, Role::Leaf, place, None)
    }

    pub(super) fn of_member(name: Name, place: Place, target: Place) -> Self {
        Self::new(name, Role::Member, place, Some(target))
    }

    fn new(name: Name, role: Role, place: Place, target: Option<Place>) -> Self {
        let child = Child::new(identity(&name, role), ClusterId::default(), Vec::new());
        Self {
            name,
            role,
            place,
            target,
            child,
            disk: Vec::new(),
            link: None,
            dial_at: 0,
            events: 0,
        }
    }

    /// Its next life.
    fn reborn(&self) -> Self {
        Self::new(self.name.clone(), self.role, self.place, self.target)
    }
}

/// What a child of this name says of itself.
pub(super) fn identity(name: &Name, role: Role) -> Identity {
    Identity { node: name.clone(), role, labels: Labels::new() }
}

impl World {
    /// The uplinks of a node.
    pub(super) fn uplinks_of(&self, place: Place) -> Vec<usize> {
        (0..self.uplinks.len()).filter(|up| self.uplinks[*up].place == place).collect()
    }

    /// A child starts: with nothing, or with the Cfg that its last life left on its disk.
    pub(super) fn start_uplink(&mut self, up: usize) {
        let last = &self.uplinks[up];
        let place = last.place;
        let (cluster, revision) = (last.child.cluster(), last.child.revision());
        let objects = last.disk.clone();
        self.uplinks[up] = last.reborn();
        // What it has lost with its disk it can be told again only by one that has not less.
        let is_lost = self.downlinks.len() == 1 && self.chance.percent(50);
        if objects.is_empty() || is_lost {
            return;
        }
        for object in &objects {
            self.sites[place].hold(object.clone());
        }
        let uplink = &mut self.uplinks[up];
        let identity = identity(&uplink.name, uplink.role);
        uplink.child = Child::new(identity, cluster, objects.clone()).at_revision(revision);
        uplink.disk = objects;
        self.holds(up);
    }

    pub(super) fn tick_uplinks(&mut self, place: Place) {
        let wall = self.sites[place].wall(self.now);
        for up in self.uplinks_of(place) {
            if self.uplinks[up].link.is_none() && self.now >= self.uplinks[up].dial_at {
                self.dial(up);
            }
        }
        self.tell_untold(place);
        for up in self.uplinks_of(place) {
            let effects = self.uplinks[up].child.tick(wall);
            self.climb(up, effects);
            let (_, held) = self.uplinks[up].child.backlog();
            self.record(place, What::Queued { queue: "events", held, most: EVENTS_PENDING_MAX });
        }
    }

    /// Tells above what has changed here and is to be told.
    pub(super) fn tell_untold(&mut self, place: Place) {
        let wall = self.sites[place].wall(self.now);
        let untold = std::mem::take(&mut self.sites[place].untold);
        for up in self.uplinks_of(place) {
            if !self.uplinks[up].child.is_attached() {
                continue;
            }
            let target = self.uplinks[up].target.map(|at| self.sites[at].name.clone());
            let spoken = self.sites[place].fleet.spoken_at(&untold, target.as_ref());
            for (uid, sightings) in spoken {
                let effects = self.uplinks[up].child.offer(uid, sightings, wall);
                self.climb(up, effects);
            }
        }
    }

    fn dial(&mut self, up: usize) {
        let child = self.uplinks[up].place;
        // No relay is below one that comes after it.
        let parents = if self.serves(child) { child } else { self.downlinks.len() };
        let last = (parents as u64).saturating_sub(1);
        let any = usize::try_from(self.chance.between(0, last)).unwrap_or_default();
        let parent = self.uplinks[up].target.unwrap_or(any);
        let link = self.network.dial(Link { uplink: up, child, parent });
        self.uplinks[up].link = Some(link);
        if !self.sites[parent].is_up {
            self.breaks_for(child, link, 20);
        }
        let wall = self.sites[child].wall(self.now);
        let effects = self.uplinks[up].child.connected(wall);
        self.climb(up, effects);
    }

    /// Carries out what the lower end of a session wants.
    pub(super) fn climb(&mut self, up: usize, effects: Vec<Effect>) {
        let place = self.uplinks[up].place;
        let serves = self.serves(place);
        for effect in effects {
            match effect {
                Effect::Send(frame) => {
                    let Some(link) = self.uplinks[up].link else { continue };
                    self.send_on(link, true, &frame);
                }
                Effect::Close(_) => return self.hang_up(up),
                Effect::Attached(welcome) => {
                    self.sites[place].advance_to(welcome.hybrid_ms);
                    self.begin_below(place);
                    self.later(0, place, Event::Stands);
                }
                Effect::Advance(ms) => self.sites[place].advance_to(ms),
                Effect::Assured(at, revision) => {
                    let site = &mut self.sites[place];
                    let wall = site.wall(self.now);
                    let regained = site.fleet.assure(at, revision, wall);
                    site.dirty.extend(regained);
                }
                Effect::Reborn => self.reborn(place),
                Effect::SendAll => {
                    let wall = self.sites[place].wall(self.now);
                    let target = self.uplinks[up].target.map(|at| self.sites[at].name.clone());
                    let spoken = self.sites[place].fleet.spoken_to(target.as_ref());
                    for (uid, sightings) in spoken {
                        let effects = self.uplinks[up].child.offer(uid, sightings, wall);
                        self.climb(up, effects);
                    }
                }
                Effect::SetCfg(objects) => {
                    for object in objects {
                        self.sites[place].hold(object);
                    }
                    self.holds(up);
                }
                Effect::DropCfg(uids) => {
                    for uid in uids {
                        self.sites[place].drop_object(uid);
                    }
                    self.holds(up);
                }
                Effect::SetViews(delta) => {
                    let wall = self.sites[place].wall(self.now);
                    let site = &mut self.sites[place];
                    let seen = delta.objects.iter().flat_map(|(_, sight)| &sight.seen);
                    site.advance_to(latest_ms(seen));
                    let changed = site.fleet.set_views(delta, wall);
                    site.mark(changed);
                }
                Effect::Carry(order, start_by) => self.carried(place, *order, start_by),
                Effect::Recall(recall) => self.recalled(place, recall),
                Effect::LookAt(look) => self.looked_at(place, look),
                Effect::Whole(nodes) => {
                    let told_again = self.sites[place].fleet.set_whole(nodes);
                    self.sites[place].touched(told_again);
                }
                Effect::Reached(revision) => self.sites[place].come_to(revision, self.now),
                Effect::Admitted(admitted) => self.answered(place, *admitted),
                // In this world everybody has the same declarations from the start, and no parent
                // in it is busy.
                Effect::Defer(_) | Effect::Declare(_) | Effect::Undeclared(_) | Effect::Gone => {}
            }
        }
        if serves {
            self.offer_marked(place);
        }
    }

    fn holds(&mut self, up: usize) {
        let place = self.uplinks[up].place;
        let site = &self.sites[place];
        let digest = site.fleet.node(&site.name).map(|object| digest_of(object));
        // What is below a relay is kept there.
        let own = site.fleet.objects().filter(|object| object.is_in_charge_of(&site.name));
        self.uplinks[up].disk = own.cloned().collect();
        let revision = self.uplinks[up].child.revision();
        self.record(place, What::Holds { revision, digest });
    }

    /// What a node has seen in this life counts as seen after all that it said in an earlier one.
    fn reborn(&mut self, place: Place) {
        let site = &mut self.sites[place];
        let stamp = site.stamp(self.now);
        let touched = site.fleet.restamp(&stamp);
        site.touched(touched);
    }

    pub(super) fn hang_up(&mut self, up: usize) {
        let pause = self.chance.between(100, 1_500);
        let Some(link) = self.uplinks[up].link.take() else { return };
        self.uplinks[up].child.disconnected();
        self.uplinks[up].dial_at = self.now + pause;
        self.cut_off(self.uplinks[up].place);
        if let Some(Link { parent, .. }) = self.network.link(link) {
            self.breaks_for(parent, link, 50);
        }
    }

    /// A frame came down a link.
    pub(super) fn told_from_above(&mut self, link: u64, frame: Frame) {
        let Some(Link { uplink, child, .. }) = self.network.link(link) else { return };
        if self.uplinks[uplink].link == Some(link) {
            let wall = self.sites[child].wall(self.now);
            let effects = self.uplinks[uplink].child.receive(frame, wall);
            self.climb(uplink, effects);
            self.look(child);
        }
    }

    /// A leaf's decider put something on the record.
    pub(super) fn happened(&mut self, place: Place, happening: Happening) {
        let Some(up) = place.checked_sub(self.members) else { return };
        let (node, boot) = (self.sites[place].name.clone(), self.sites[place].life);
        let wall = self.sites[place].wall(self.now);
        let uplink = &mut self.uplinks[up];
        uplink.events += 1;
        let event = Record {
            id: EventId { node, boot, sequence: uplink.events },
            time: Millis::new(self.now),
            kind: happening.kind,
            uid: happening.uid,
            object: None,
            revision: happening.revision,
            attempt: happening.attempt,
            text: happening.text,
        };
        let effects = uplink.child.record(vec![event], wall);
        self.climb(up, effects);
    }
}
