//! A leaf's way up: it dials, and dials again; and the links on which frames travel.

use std::sync::Arc;

use super::{Event, LEADER, Place, World, recorder};
use crate::{
    event::{Event as Record, EventId, Happening},
    id::{ClusterId, Name},
    invariants::What,
    object::{Labels, Object},
    sync::{
        self, EVENTS_PENDING_MAX,
        child::{Child, Effect, Identity},
        frame::{Frame, Role},
    },
    time::Millis,
};

/// A leaf's link upward.
pub(super) struct Uplink {
    name: Name,
    pub(super) child: Child,
    /// The Cfg that outlives it.
    disk: Vec<Arc<Object>>,
    /// The link that it holds; it may be broken without its knowing.
    pub(super) link: Option<u64>,
    dial_at: u64,
    /// Welcomed in this life.
    welcomed: bool,
    events: u64,
}

impl Uplink {
    pub(super) fn new(name: Name) -> Self {
        let child = Child::new(identity(&name), ClusterId::default(), Vec::new());
        let disk = Vec::new();
        Self { name, child, disk, link: None, dial_at: 0, welcomed: false, events: 0 }
    }
}

fn identity(name: &Name) -> Identity {
    Identity { node: name.clone(), role: Role::Leaf, labels: Labels::new() }
}

impl World {
    /// A leaf starts: with nothing, or with the Cfg that its last life left on its disk.
    pub(super) fn start_leaf(&mut self, place: Place) {
        let last = &self.uplinks[place];
        let (cluster, revision) = (last.child.cluster(), last.child.revision());
        let objects = last.disk.clone();
        self.uplinks[place] = Uplink::new(last.name.clone());
        if objects.is_empty() || self.chance.percent(50) {
            return;
        }
        for object in &objects {
            self.sites[place].fleet.set_object(object.clone());
            self.sites[place].dirty.insert(object.uid);
        }
        let uplink = &mut self.uplinks[place];
        let identity = identity(&uplink.name);
        uplink.child = Child::new(identity, cluster, objects.clone()).at_revision(revision);
        uplink.disk = objects;
        self.holds(place);
    }

    pub(super) fn tick_leaf(&mut self, place: Place) {
        let wall = self.sites[place].wall(self.now);
        if self.uplinks[place].link.is_none() && self.now >= self.uplinks[place].dial_at {
            self.links += 1;
            self.uplinks[place].link = Some(self.links);
            self.leader.dialled(self.links, place);
            let effects = self.uplinks[place].child.connected(wall);
            self.climb(place, effects);
        }
        let untold = std::mem::take(&mut self.sites[place].untold);
        if self.uplinks[place].child.is_attached() {
            for (uid, sightings) in self.sites[place].fleet.spoken_at(&untold) {
                let effects = self.uplinks[place].child.offer(uid, sightings, wall);
                self.climb(place, effects);
            }
        }
        let effects = self.uplinks[place].child.tick(wall);
        self.climb(place, effects);
        let (_, held) = self.uplinks[place].child.backlog();
        self.record(place, What::Queued { queue: "events", held, most: EVENTS_PENDING_MAX });
    }

    /// Carries out what the lower end of a session wants.
    fn climb(&mut self, place: Place, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.send(place, true, &frame),
                Effect::Close(_) => return self.hang_up(place),
                Effect::Attached(welcome) => self.attached(place, welcome.hybrid_ms),
                Effect::SendAll => {
                    let wall = self.sites[place].wall(self.now);
                    for (uid, sightings) in self.sites[place].fleet.spoken() {
                        let effects = self.uplinks[place].child.offer(uid, sightings, wall);
                        self.climb(place, effects);
                    }
                }
                Effect::SetCfg(objects) => {
                    for object in objects {
                        self.sites[place].dirty.insert(object.uid);
                        self.sites[place].fleet.set_object(object);
                    }
                    self.holds(place);
                }
                Effect::DropCfg(uids) => {
                    for uid in uids {
                        self.sites[place].dirty.insert(uid);
                        self.sites[place].fleet.remove_object(uid);
                    }
                    self.holds(place);
                }
                // The leader of this world carries out its own decisions.
                Effect::Gone | Effect::Carry(..) | Effect::Recall(_) | Effect::LookAt(_) => {}
            }
        }
    }

    fn holds(&mut self, place: Place) {
        let site = &self.sites[place];
        let digest = site.fleet.node(&site.name).map(|object| recorder::digest_of(object));
        self.uplinks[place].disk = site.fleet.objects().cloned().collect();
        let revision = self.uplinks[place].child.revision();
        self.record(place, What::Holds { revision, digest });
    }

    /// The first Welcome of a life moves the clock beyond all that an earlier life has stamped.
    fn attached(&mut self, place: Place, hybrid_ms: u64) {
        let now = self.now;
        let first = !std::mem::replace(&mut self.uplinks[place].welcomed, true);
        let site = &mut self.sites[place];
        site.advance_to(hybrid_ms);
        if first {
            let stamp = site.stamp(now);
            let touched = site.fleet.restamp(&stamp);
            site.touched(touched);
        }
    }

    fn hang_up(&mut self, place: Place) {
        let pause = self.chance.between(100, 1_500);
        let Some(link) = self.uplinks[place].link.take() else { return };
        self.uplinks[place].child.disconnected();
        self.uplinks[place].dial_at = self.now + pause;
        let after = self.while_ms(50);
        self.later(after, LEADER, Event::Broken { link });
    }

    /// One end of a link notices that it is broken.
    pub(super) fn broken(&mut self, place: Place, link: u64) {
        if place == LEADER {
            self.lost(link, "the connection is gone");
        } else if self.uplinks[place].link == Some(link) {
            self.hang_up(place);
        }
    }

    /// Puts a frame on the link of a leaf. Each direction keeps its order.
    pub(super) fn send(&mut self, place: Place, up: bool, frame: &Frame) {
        let Some(link) = self.uplinks[place].link else { return };
        self.send_on(link, up, frame);
    }

    pub(super) fn send_on(&mut self, link: u64, up: bool, frame: &Frame) {
        let Some(place) = self.leader.leaf_of(link) else { return };
        let Ok(bytes) = sync::encode(frame) else { return };
        let delay = self.while_ms(40);
        let last = self.arrivals.entry((link, up)).or_default();
        *last = (*last).max(self.now + delay);
        let after = *last - self.now;
        let to = if up { LEADER } else { place };
        self.later(after, to, Event::Frame { link, up, bytes });
    }

    /// A frame arrives. What a leaf had sent on a link that it has left may still come.
    pub(super) fn arrives(&mut self, link: u64, up: bool, bytes: &[u8]) {
        let Ok(frame) = sync::decode(bytes) else { return };
        if up {
            return self.heard(link, frame);
        }
        let Some(place) = self.leader.leaf_of(link) else { return };
        if self.uplinks[place].link == Some(link) {
            let wall = self.sites[place].wall(self.now);
            let effects = self.uplinks[place].child.receive(frame, wall);
            self.climb(place, effects);
            self.look(place);
        }
    }

    /// A leaf's decider put something on the record.
    pub(super) fn happened(&mut self, place: Place, happening: Happening) {
        if place == LEADER {
            return;
        }
        let (node, boot) = (self.sites[place].name.clone(), self.sites[place].life);
        let wall = self.sites[place].wall(self.now);
        let uplink = &mut self.uplinks[place];
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
        self.climb(place, effects);
    }
}
