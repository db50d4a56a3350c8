//! The leader: its store, its sessions with the leaves, and the intents that it commits.

use std::collections::BTreeMap;

use super::{Event, LEADER, Place, World};
use crate::{
    command::{Command, Outcome},
    fleet::Link,
    id::{AttemptId, Name, SessionEpoch, Term},
    invariants::What,
    machine::Attempted,
    store::Applied,
    sync::{
        frame::{Frame, Hello, RefusedReason, Welcome},
        parent::{Authority, Effect, Session},
    },
};

/// The upper ends of all sessions.
#[derive(Default)]
pub(super) struct Leader {
    sessions: BTreeMap<u64, Session>,
    /// The newest session of each leaf.
    attached: BTreeMap<Name, (SessionEpoch, u64)>,
    /// Whose link is whose.
    links: BTreeMap<u64, Place>,
}

impl Leader {
    pub(super) fn dialled(&mut self, link: u64, place: Place) {
        self.links.insert(link, place);
    }

    pub(super) fn leaf_of(&self, link: u64) -> Option<Place> {
        self.links.get(&link).copied()
    }
}

impl World {
    /// A leader begins a term: it holds what is on the disk and has seen nothing.
    pub(super) fn start_leader(&mut self) {
        self.term = Term::new(self.term.get() + 1);
        self.leader.sessions.clear();
        self.leader.attached.clear();
        for object in self.store.objects() {
            self.sites[LEADER].dirty.insert(object.uid);
            self.sites[LEADER].fleet.set_object(object.clone());
        }
        let read = What::Read(self.store.revision());
        self.record(LEADER, read);
    }

    pub(super) fn tick_leader(&mut self) {
        let wall = self.sites[LEADER].wall(self.now);
        self.sites[LEADER].untold.clear();
        let links: Vec<u64> = self.leader.sessions.keys().copied().collect();
        for link in links {
            let Some(session) = self.leader.sessions.get_mut(&link) else { continue };
            let effects = session.tick(wall);
            self.descend(link, effects);
        }
        let over = self.store.intents().values().filter(|intent| intent.ends_by < wall);
        let attempts: Vec<AttemptId> = over.map(|intent| intent.attempt.clone()).collect();
        if !attempts.is_empty() && self.chance.percent(5) {
            self.propose(Command::CloseIntents { attempts }, None, false);
        }
    }

    /// A frame came up a link.
    pub(super) fn heard(&mut self, link: u64, frame: Frame) {
        let Some(place) = self.leader.leaf_of(link) else { return };
        let wall = self.sites[LEADER].wall(self.now);
        let catalog = self.store.catalog().clone();
        let hybrid_ms = self.sites[LEADER].hybrid_ms().max(wall.get());
        let stands = matches!(frame, Frame::Heartbeat(_));
        let session = self.leader.sessions.entry(link).or_insert_with(|| Session::new(wall));
        let effects = session.receive(frame, Authority { catalog: &catalog, hybrid_ms }, wall);
        if stands && session.is_attached() {
            let name = self.sites[place].name.clone();
            let site = &mut self.sites[LEADER];
            if let Some(uid) = site.fleet.node(&name).map(|object| object.uid) {
                site.fleet.confirm(uid, &name, wall);
            }
        }
        self.descend(link, effects);
        self.look(LEADER);
    }

    /// Carries out what the upper end of a session wants.
    fn descend(&mut self, link: u64, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.send_on(link, false, &frame),
                Effect::Close(why) => {
                    if let Some(place) = self.leader.leaf_of(link) {
                        let after = self.while_ms(50);
                        self.later(after, place, Event::Broken { link });
                    }
                    return self.lost(link, &why);
                }
                Effect::Greeted(hello) => self.greeted(link, &hello),
                Effect::Merge(uid, sightings) => {
                    let Some(place) = self.leader.leaf_of(link) else { continue };
                    let peer = self.sites[place].name.clone();
                    let site = &self.sites[LEADER];
                    let of_peer = site.fleet.node(&peer).is_some_and(|object| object.uid == uid);
                    let own = of_peer && sightings.iter().all(|(_, o)| o.stamp.writer == peer);
                    self.record(LEADER, What::Merged { peer, uid, own });
                    let wall = self.sites[LEADER].wall(self.now);
                    let latest = sightings.iter().map(|(_, o)| o.stamp.ms).max();
                    let site = &mut self.sites[LEADER];
                    site.advance_to(latest.unwrap_or_default());
                    let touched = site.fleet.merge(uid, sightings, wall);
                    site.touched(touched);
                }
                Effect::Record(_) | Effect::Alarm(_) | Effect::Answered(_) | Effect::Holding(_) => {
                }
            }
        }
    }

    fn greeted(&mut self, link: u64, hello: &Hello) {
        let wall = self.sites[LEADER].wall(self.now);
        let hybrid_ms = self.sites[LEADER].hybrid_ms();
        let node = self.sites[LEADER].fleet.node(&hello.node).map(|object| object.uid);
        let Some(session) = self.leader.sessions.get_mut(&link) else { return };
        let Some(uid) = node else {
            let effects = session.refuse(RefusedReason::Gone, "it was removed".to_owned());
            return self.descend(link, effects);
        };
        let floor = self.sites[LEADER].fleet.link_epoch(uid);
        if hello.epoch <= floor {
            let text = format!("session {} is not newer than {floor}", hello.epoch);
            let effects = session.refuse(RefusedReason::Epoch(floor), text);
            return self.descend(link, effects);
        }
        let cluster = self.store.cluster();
        let effects = session
            .accept(Welcome { cluster, uid: Some(uid), hybrid_ms, takes_answers: false }, wall);
        let older = self.leader.attached.insert(hello.node.clone(), (hello.epoch, link));
        if let Some((_, older)) = older {
            self.leader.sessions.remove(&older);
        }
        let site = &mut self.sites[LEADER];
        site.fleet.set_attached(&hello.node, true);
        let touched = site.fleet.set_link(uid, hello.epoch, Link::Up, wall);
        site.touched(touched);
        self.descend(link, effects);
        self.offer(link, &hello.node);
    }

    /// Offers a leaf its Cfg.
    fn offer(&mut self, link: u64, node: &Name) {
        let Some(object) = self.sites[LEADER].fleet.node(node).cloned() else { return };
        let revision = self.store.revision();
        let Some(session) = self.leader.sessions.get_mut(&link) else { return };
        let effects = session.offer(revision, vec![object]);
        self.descend(link, effects);
    }

    /// A session is over.
    pub(super) fn lost(&mut self, link: u64, _why: &str) {
        let Some(session) = self.leader.sessions.remove(&link) else { return };
        let Some(hello) = session.child().filter(|_| self.sites[LEADER].is_up) else { return };
        let newest = self.leader.attached.get(&hello.node).is_some_and(|(_, held)| *held == link);
        if !newest {
            return;
        }
        self.leader.attached.remove(&hello.node);
        let wall = self.sites[LEADER].wall(self.now);
        let site = &mut self.sites[LEADER];
        site.fleet.set_attached(&hello.node, false);
        if let Some(uid) = site.fleet.node(&hello.node).map(|object| object.uid) {
            let touched = site.fleet.set_link(uid, hello.epoch, Link::Down, wall);
            site.touched(touched);
        }
    }

    /// A proposal is on the disk: everybody learns of it.
    pub(super) fn committed(
        &mut self,
        command: Command,
        intent: Option<AttemptId>,
        acknowledge: bool,
    ) {
        let Applied { outcome, changes, .. } = self.commit(command);
        let revision = self.store.revision();
        if acknowledge && matches!(outcome, Outcome::Applied { .. }) {
            self.record(LEADER, What::Acknowledged(revision));
        }
        self.record(LEADER, What::Read(revision));
        for change in changes {
            let object = change.object().clone();
            let name = object.key.name.clone();
            self.sites[LEADER].dirty.insert(object.uid);
            self.sites[LEADER].fleet.set_object(object);
            if let Some((_, link)) = self.leader.attached.get(&name).copied() {
                self.offer(link, &name);
            }
        }
        if let Some(attempt) = intent {
            let what = match outcome {
                Outcome::Applied { refused_intents, .. } => match refused_intents.first() {
                    None => Attempted::IntentOpened,
                    Some((_, why)) => Attempted::IntentRefused(why.clone()),
                },
                Outcome::Refused(refusal) => Attempted::IntentRefused(refusal.to_string()),
            };
            let after = self.while_ms(10);
            self.later(after, LEADER, Event::Told(attempt, what));
        }
        self.govern();
        self.look(LEADER);
    }
}
