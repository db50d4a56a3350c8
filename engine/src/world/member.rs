//! A member: its copy of the store, its sessions with leaves and other members, and whether it
//! believes to lead.

use std::collections::BTreeMap;

use super::{Event, Place, World, network::Link as Wire, quorum::Quorum};
use crate::{
    fleet::Link,
    id::{Name, SessionEpoch, Term, Uid},
    invariants::What,
    order::hands::Way,
    singleton::Handovers,
    store::Store,
    sync::{
        frame::{Frame, Hello, RefusedReason, Role, Welcome},
        pace::Pace,
        parent::{Authority, Effect, Session},
    },
};

/// How long a member waits for the leaves of another that it has lost, beyond the time in which
/// they miss that, in milliseconds.
const RE_ATTACH_MS: u64 = 2_000;

/// What a member holds beside its fleet.
#[derive(Default)]
pub(super) struct Member {
    pub(super) store: Store,
    /// How many entries of the log it has applied.
    pub(super) applied: usize,
    /// The digest of all objects, counted from what each entry changed.
    pub(super) counted: u64,
    pub(super) reign: Option<Reign>,
    pub(super) handovers: Handovers,
    sessions: BTreeMap<u64, Session>,
    /// The newest session of each child.
    attached: BTreeMap<Name, (SessionEpoch, u64)>,
}

/// A term in which a member decides.
pub(super) struct Reign {
    pub(super) term: Term,
}

impl Member {
    /// The link of a leaf or member that is attached here.
    pub(super) fn link_of(&self, child: &Name) -> Option<u64> {
        self.attached.get(child).map(|(_, link)| *link)
    }

    /// The session on a link.
    pub(super) fn session(&mut self, link: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&link)
    }

    /// The term of the last entry that it has applied.
    pub(super) fn term(&self, quorum: &Quorum) -> Term {
        quorum.term_of(self.applied)
    }

    /// All links that lead here.
    pub(super) fn links(&self) -> Vec<u64> {
        self.sessions.keys().copied().collect()
    }
}

impl World {
    /// A member starts: it holds what is on the disk and has seen nothing.
    pub(super) fn start_member(&mut self, place: Place) {
        self.holders[place] = Member::default();
        self.recover(place);
    }

    pub(super) fn tick_member(&mut self, place: Place) {
        let wall = self.sites[place].wall(self.now);
        for link in self.holders[place].links() {
            let Some(session) = self.holders[place].sessions.get_mut(&link) else { continue };
            let effects = session.tick(wall);
            let behind = session.is_behind().then(|| session.child().map(|h| h.node.clone()));
            self.descend(place, link, effects);
            if let Some(node) = behind.flatten() {
                self.offer(place, link, &node);
            }
            self.offer_views(place, link);
        }
        self.sweep(place);
        self.assure_leader(place);
    }

    /// A frame came up a link.
    pub(super) fn heard(&mut self, link: u64, frame: Frame) {
        let Some(Wire { uplink, parent: place, .. }) = self.network.link(link) else { return };
        let wall = self.sites[place].wall(self.now);
        let catalog = self.holders[place].store.catalog().clone();
        let hybrid_ms = self.sites[place].hybrid_ms().max(wall.get());
        let stands = frame.is_heartbeat();
        if stands {
            self.offer_on_lease(place, link);
        }
        let assured = self.sites[place].fleet.assured();
        let sessions = &mut self.holders[place].sessions;
        let session = sessions.entry(link).or_insert_with(|| Session::new(wall));
        let effects =
            session.receive(frame, Authority { catalog: &catalog, hybrid_ms, assured }, wall);
        if stands && session.is_attached() && self.uplinks[uplink].role == Role::Leaf {
            let name = self.uplinks[uplink].name.clone();
            let site = &mut self.sites[place];
            if let Some(uid) = site.fleet.node(&name).map(|object| object.uid) {
                site.fleet.confirm(uid, &name, wall);
            }
        }
        self.descend(place, link, effects);
        self.look(place);
    }

    /// Carries out what the upper end of a session wants.
    pub(super) fn descend(&mut self, place: Place, link: u64, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.send_on(link, false, &frame),
                Effect::Close(_) => {
                    if let Some(Wire { child, .. }) = self.network.link(link) {
                        self.breaks_for(child, link, 50);
                    }
                    return self.lost(place, link);
                }
                Effect::Greeted(hello) => self.greeted(place, link, &hello),
                Effect::Merge(uid, sightings) => {
                    let Some(Wire { uplink, .. }) = self.network.link(link) else { continue };
                    let (peer, role) =
                        (self.uplinks[uplink].name.clone(), self.uplinks[uplink].role);
                    let site = &self.sites[place];
                    let of_peer = site.fleet.node(&peer).is_some_and(|object| object.uid == uid);
                    let of_peer = of_peer || self.hosts.contains(&(uid, peer.clone()));
                    let own = of_peer && sightings.iter().all(|(_, o)| o.stamp.writer == peer);
                    // A member speaks for whoever is attached to it.
                    let own = own || role == Role::Member;
                    let teller = peer.clone();
                    self.record(place, What::Merged { peer, uid, own });
                    let wall = self.sites[place].wall(self.now);
                    let latest = sightings.iter().map(|(_, o)| o.stamp.ms).max();
                    let site = &mut self.sites[place];
                    site.advance_to(latest.unwrap_or_default());
                    let touched = site.fleet.merge(uid, sightings, wall);
                    site.heard(&touched, &teller);
                    self.supersede(place, uid);
                }
                Effect::Answered(answers) => self.hear(place, answers, Way(link)),
                Effect::Holding(holds) => self.holding(place, holds),
                // No world has relays.
                Effect::Record(_) | Effect::Alarm(_) | Effect::Arrives(_) | Effect::Leaves(_) => {}
            }
        }
    }

    fn greeted(&mut self, place: Place, link: u64, hello: &Hello) {
        let wall = self.sites[place].wall(self.now);
        let hybrid_ms = self.sites[place].hybrid_ms();
        let is_leaf = hello.role == Role::Leaf;
        let node = self.sites[place].fleet.node(&hello.node).map(|object| object.uid);
        let Some(session) = self.holders[place].sessions.get_mut(&link) else { return };
        if is_leaf && node.is_none() {
            let effects = session.refuse(RefusedReason::NotReady, "not known here yet".to_owned());
            return self.descend(place, link, effects);
        }
        let uid = node.filter(|_| is_leaf);
        let floor = uid.map(|uid| self.sites[place].fleet.link_epoch(uid));
        if let Some(floor) = floor.filter(|floor| hello.epoch <= *floor) {
            let text = format!("session {} is not newer than {floor}", hello.epoch);
            let effects = session.refuse(RefusedReason::Epoch(floor), text);
            return self.descend(place, link, effects);
        }
        let cluster = self.quorum.store.cluster();
        let spoken_ms = self.sites[place].fleet.spoken_ms(&hello.node);
        let cfg_epoch = self.quorum.store.epoch();
        let (takes_answers, takes_beats) = (true, true);
        let welcome =
            Welcome { cluster, uid, hybrid_ms, takes_answers, spoken_ms, cfg_epoch, takes_beats };
        let effects = session.accept(welcome, wall);
        let held = self.holders[place].attached.insert(hello.node.clone(), (hello.epoch, link));
        if let Some((_, older)) = held {
            self.holders[place].sessions.remove(&older);
        }
        if let Some(uid) = uid {
            let site = &mut self.sites[place];
            let told_again = site.fleet.set_attached(&hello.node, true);
            site.touched(told_again);
            let touched = site.fleet.set_link(uid, hello.epoch, Link::Up, wall);
            site.touched(touched);
        }
        self.descend(place, link, effects);
        if is_leaf {
            return self.offer(place, link, &hello.node);
        }
        let site = &mut self.sites[place];
        let told = site.fleet.set_lost(&hello.node, false);
        site.touched(told);
        let me = site.name.clone();
        self.wait_for_leaves(place, &me);
    }

    /// Offers a leaf its Cfg.
    pub(super) fn offer(&mut self, place: Place, link: u64, node: &Name) {
        let fleet = &self.sites[place].fleet;
        let known = fleet.charges_of(node).cloned().collect();
        let (revision, assured) = (fleet.revision(), fleet.assured());
        let (catalog, wall) = (fleet.catalog().clone(), self.sites[place].wall(self.now));
        let hybrid_ms = self.sites[place].hybrid_ms();
        let Some(session) = self.holders[place].sessions.get_mut(&link) else { return };
        if session.child().is_none_or(|hello| hello.role == Role::Member) {
            return;
        }
        session.assure(assured, hybrid_ms, wall);
        session.declare(&catalog);
        let effects = session.offer(revision, known);
        self.descend(place, link, effects);
    }

    /// Offers a leaf what its decisions need of elsewhere.
    fn offer_views(&mut self, place: Place, link: u64) {
        let session = self.holders[place].sessions.get_mut(&link);
        let leaf = session.and_then(|session| session.child().cloned());
        let Some(leaf) = leaf.filter(|hello| hello.role == Role::Leaf) else { return };
        let sights = self.sites[place].fleet.elsewhere_of(&leaf.node).sights;
        let Some(session) = self.holders[place].sessions.get_mut(&link) else { return };
        let effects = session.offer_views(sights);
        self.descend(place, link, effects);
    }

    /// Ends the session of a leaf of which a newer one was heard of: either it has moved, or its
    /// clock went back, and then it must come again with a later epoch.
    fn supersede(&mut self, place: Place, uid: Uid) {
        let fleet = &self.sites[place].fleet;
        let Some(name) = fleet.object(uid).map(|object| object.key.name.clone()) else { return };
        let heard = fleet.link_epoch(uid);
        let Some((epoch, link)) = self.holders[place].attached.get(&name).copied() else { return };
        if heard > epoch {
            if let Some(Wire { child, .. }) = self.network.link(link) {
                self.breaks_for(child, link, 50);
            }
            self.lost(place, link);
        }
    }

    /// A session is over.
    pub(super) fn lost(&mut self, place: Place, link: u64) {
        let Some(mut session) = self.holders[place].sessions.remove(&link) else { return };
        let Some(hello) = session.child().filter(|_| self.sites[place].is_up).cloned() else {
            return;
        };
        self.orphan(place, &hello.node, session.orphans(|_| 1), Way(link));
        if self.holders[place].link_of(&hello.node) != Some(link) {
            return;
        }
        self.holders[place].attached.remove(&hello.node);
        if hello.role == Role::Member {
            return self.wait_for_leaves(place, &hello.node);
        }
        let wall = self.sites[place].wall(self.now);
        let site = &mut self.sites[place];
        if let Some(uid) = site.fleet.node(&hello.node).map(|object| object.uid) {
            let touched = site.fleet.set_link(uid, hello.epoch, Link::Down, wall);
            site.touched(touched);
        }
        site.fleet.set_attached(&hello.node, false);
        self.look(place);
    }

    /// Leaves whose parent is gone may attach elsewhere before they count as lost.
    fn wait_for_leaves(&mut self, place: Place, parent: &Name) {
        for pace in Pace::ALL {
            let after = pace.dead_after_ms() + RE_ATTACH_MS;
            self.later(after, place, Event::LoseLeaves(parent.clone(), pace));
        }
    }

    /// A member was lost a while ago: leaves of which nobody has heard since were lost with it. Or
    /// the member at this place has heard what it said in an earlier life, and those of whom it
    /// said that they are attached have not come again.
    pub(super) fn lose_leaves(&mut self, place: Place, member: &Name, pace: Pace) {
        if self.holders[place].attached.contains_key(member) {
            return;
        }
        let members = self.sites.iter().map(|site| site.name.clone()).collect();
        let wall = self.sites[place].wall(self.now);
        let site = &mut self.sites[place];
        if *member != site.name {
            let told = site.fleet.set_lost(member, true);
            site.touched(told);
        }
        for (uid, _, epoch) in site.fleet.left_by(member, |_| false, &members, pace) {
            let touched = site.fleet.set_link(uid, epoch, Link::Down, wall);
            site.touched(touched);
        }
        self.look(place);
    }
}
