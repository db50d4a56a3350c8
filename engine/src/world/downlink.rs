//! The upper ends of sessions, as members and relays have them: children come, are told what they
//! may see, and say what they saw.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, World, lost::Lost, network::Link as Wire};
use crate::{
    fleet::{LINK_PATH, Link},
    id::{Name, SessionEpoch, Uid},
    invariants::What,
    order::hands::Way,
    singleton::Assured,
    sync::{
        audience::{Audience, Change},
        frame::{Below, Frame, Left, Refused, Role, Welcome},
        parent::{Authority, Effect, Session},
    },
};

/// Who is attached to a member or a relay, and who has come to it.
#[derive(Default)]
pub(super) struct Downlink {
    sessions: BTreeMap<u64, Served>,
    /// The newest session of each child.
    attached: BTreeMap<Name, (SessionEpoch, u64)>,
    /// The sessions of nodes below relays, and the links through which they are reached.
    below: BTreeMap<Name, (SessionEpoch, u64)>,
    /// Nodes about which a relay has asked above.
    pub(super) asked: BTreeMap<(Name, SessionEpoch), Asked>,
    /// The link of a relay's own for which it has told of all that is below it.
    pub(super) stood: Option<u64>,
}

/// One session.
struct Served {
    session: Session,
    audience: Audience,
    /// The child's object, once it is attached.
    uid: Option<Uid>,
    is_offered: bool,
    /// What the child said first, and what nodes below it did.
    told: BTreeMap<Name, Below>,
}

/// Why it is asked about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It said Hello on a link.
    Hello(u64),
    /// It is below the child on a link.
    Arrives(u64),
    /// It is attached by a link, and this relay is in another session.
    Again(u64),
}

/// A question that is not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) why: Why,
    pub(super) below: Below,
    pub(super) since: u64,
}

/// What became of a node that wants to be let in.
pub(super) type Decided = Result<(Option<Uid>, Welcome), Refused>;

impl Downlink {
    /// The link of a child, where it is attached here.
    pub(super) fn link_of(&self, child: &Name) -> Option<u64> {
        self.attached.get(child).map(|(_, link)| *link)
    }

    /// The link through which a node is reached: a newer session below than its own here may be
    /// over without anybody having noticed.
    pub(super) fn via(&self, node: &Name) -> Option<u64> {
        self.way_of(node).map(|(_, link)| link)
    }

    /// The session of a node and the link through which it is reached.
    pub(super) fn way_of(&self, node: &Name) -> Option<(SessionEpoch, u64)> {
        self.below.get(node).or_else(|| self.attached.get(node)).copied()
    }

    /// The newest session of a node that was let in here, by whatever way.
    pub(super) fn newest(&self, node: &Name) -> SessionEpoch {
        let all = [self.below.get(node), self.attached.get(node)];
        all.into_iter().flatten().map(|(epoch, _)| *epoch).max().unwrap_or_default()
    }

    fn is_below(&self, node: &Name, link: u64) -> bool {
        self.below.get(node).is_some_and(|(_, of)| *of == link)
    }

    /// The session on a link.
    pub(super) fn session(&mut self, link: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&link).map(|served| &mut served.session)
    }

    /// All links that lead here.
    pub(super) fn links(&self) -> Vec<u64> {
        self.sessions.keys().copied().collect()
    }

    /// The links of the relays that are attached here.
    pub(super) fn relays(&self) -> Vec<u64> {
        let is_relay =
            |served: &Served| served.session.child().is_some_and(|hello| hello.role == Role::Relay);
        self.sessions.iter().filter(|(_, s)| is_relay(s)).map(|(link, _)| *link).collect()
    }

    /// All that is attached here, below relays too, by link.
    pub(super) fn all_told(&self) -> Vec<(u64, Below)> {
        let of = |(link, served): (&u64, &Served)| {
            let told = served.told.values().cloned();
            told.map(|below| (*link, below)).collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(of).collect()
    }
}

impl World {
    /// Whether a place serves children.
    pub(super) fn serves(&self, place: Place) -> bool {
        place < self.downlinks.len()
    }

    pub(super) fn tick_downlink(&mut self, place: Place) {
        let wall = self.sites[place].wall(self.now);
        for link in self.downlinks[place].links() {
            let Some(served) = self.downlinks[place].sessions.get_mut(&link) else { continue };
            served.audience.look_for_lacking();
            let (effects, is_behind) = (served.session.tick(wall), served.session.is_behind());
            self.descend(place, link, effects);
            if is_behind {
                self.offer(place, link);
            }
        }
        self.offer_marked(place);
        self.forget_the_asked(place);
    }

    /// A frame came up a link.
    pub(super) fn heard(&mut self, link: u64, frame: Frame) {
        let Some(Wire { parent: place, .. }) = self.network.link(link) else { return };
        let wall = self.sites[place].wall(self.now);
        let catalog = self.sites[place].fleet.catalog().clone();
        let hybrid_ms = self.sites[place].hybrid_ms().max(wall.get());
        if frame.is_heartbeat() {
            self.offer_on_lease(place, link);
        }
        let assured = self.assured_of(place, link);
        let served = self.downlinks[place].sessions.entry(link).or_insert_with(|| Served {
            session: Session::new(wall),
            audience: Audience::default(),
            uid: None,
            is_offered: false,
            told: BTreeMap::new(),
        });
        let authority = Authority { catalog: &catalog, hybrid_ms, assured };
        let effects = served.session.receive(frame, authority, wall);
        self.descend(place, link, effects);
        self.offer_marked(place);
        self.look(place);
    }

    /// Carries out what the upper end of a session wants.
    pub(super) fn descend(&mut self, place: Place, link: u64, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.send_on(link, false, &frame),
                Effect::Close(_) => return self.break_off(place, link),
                Effect::Greeted(hello) => {
                    self.ask_about(place, Why::Hello(link), Below { hello, hops: 0 });
                }
                Effect::Merge(uid, sightings) => {
                    let Some(Wire { uplink, .. }) = self.network.link(link) else { continue };
                    let peer = self.uplinks[uplink].name.clone();
                    let own = sightings.iter().all(|(path, seen)| {
                        let is_link = path.as_str() == LINK_PATH;
                        self.may_say(place, uplink, (uid, &seen.stamp.writer), is_link)
                    });
                    self.record(place, What::Merged { peer: peer.clone(), uid, own });
                    let wall = self.sites[place].wall(self.now);
                    let latest = sightings.iter().map(|(_, o)| o.stamp.ms).max();
                    let site = &mut self.sites[place];
                    site.advance_to(latest.unwrap_or_default());
                    let touched = site.fleet.merge(uid, sightings, wall);
                    site.heard(&touched, &peer);
                }
                Effect::Answered(answers) => self.hear(place, answers, Way(link)),
                Effect::Holding(holds) => self.holding(place, holds),
                Effect::Arrives(below) => self.ask_about(place, Why::Arrives(link), *below),
                Effect::Leaves(left) => self.has_left(place, link, left),
                Effect::Record(events) => self.pass_on(place, events),
                Effect::Alarm(_) => {}
            }
        }
    }

    /// Whether who is at the lower end of a link may say something of an object in a node's name: a
    /// member speaks for whoever is attached to it, a relay for those below it, anybody else for
    /// himself.
    fn may_say(
        &self,
        place: Place,
        uplink: usize,
        (uid, writer): (Uid, &Name),
        is_link: bool,
    ) -> bool {
        let (peer, role) = (&self.uplinks[uplink].name, self.uplinks[uplink].role);
        let site = &self.sites[place];
        let is_of = |node: &Name| {
            site.fleet.node(node).is_some_and(|object| object.uid == uid)
                || self.hosts.contains(&(uid, node.clone()))
        };
        match role {
            Role::Member => true,
            Role::Leaf => writer == peer && is_of(peer),
            Role::Relay => is_of(writer) || is_link && self.is_relay(writer),
        }
    }

    /// A node is let in on a link, or not.
    pub(super) fn greeted(&mut self, place: Place, link: u64, below: Below, decided: Decided) {
        let hello = below.hello.clone();
        let Some(served) = self.downlinks[place].sessions.get_mut(&link) else {
            // It has gone meanwhile.
            if decided.is_ok() {
                self.tell_left(place, Left { node: hello.node, epoch: hello.epoch });
            }
            return;
        };
        let (uid, welcome) = match decided {
            Ok(admitted) => admitted,
            Err(Refused { reason, text }) => {
                let effects = served.session.refuse(reason, text);
                return self.descend(place, link, effects);
            }
        };
        (served.uid, served.told) = (uid, [(hello.node.clone(), below)].into());
        let downlink = &mut self.downlinks[place];
        downlink.below.remove(&hello.node);
        let held = downlink.attached.insert(hello.node.clone(), (hello.epoch, link));
        if let Some((_, older)) = held {
            self.lost(place, older);
        }
        if let Some(uid) = uid {
            self.attach(place, link, &hello.node, (uid, hello.epoch));
        }
        let wall = self.sites[place].wall(self.now);
        let session = self.downlinks[place].session(link);
        let effects = session.map(|session| session.accept(welcome, wall));
        self.descend(place, link, effects.unwrap_or_default());
        match hello.role {
            Role::Leaf => {}
            Role::Relay => self.lose_later(place, &hello.node, Lost::Back),
            Role::Member => {
                let site = &mut self.sites[place];
                let told = site.fleet.set_lost(&hello.node, false);
                site.touched(told);
                let me = site.name.clone();
                self.lose_later(place, &me, Lost::Own);
            }
        }
        self.offer(place, link);
    }

    fn attach(&mut self, place: Place, link: u64, node: &Name, (uid, epoch): (Uid, SessionEpoch)) {
        let (wall, is_told) = (self.sites[place].wall(self.now), self.is_told_above(place));
        if let Some(served) = self.downlinks[place].sessions.get_mut(&link) {
            served.audience.add(node.clone(), uid);
        }
        let site = &mut self.sites[place];
        site.watchers.insert(link, BTreeSet::new());
        if is_told {
            let told_again = site.fleet.set_attached(node, true);
            site.touched(told_again);
        }
        let touched = site.fleet.set_link(uid, epoch, Link::Up, wall);
        site.touched(touched);
    }

    /// A node is below the child on a link from now on, or is turned away.
    pub(super) fn admitted(&mut self, place: Place, link: u64, below: Below, decided: Decided) {
        let Some(served) = self.downlinks[place].sessions.get_mut(&link) else { return };
        if !served.session.expects(&below) {
            return;
        }
        let effects = match decided {
            Ok((Some(uid), welcome)) => {
                let (node, epoch) = (below.hello.node.clone(), below.hello.epoch);
                let effects = served.session.admit(&below, uid, welcome);
                served.audience.add(node.clone(), uid);
                served.told.insert(node.clone(), below);
                let way = (epoch, link);
                self.downlinks[place].below.insert(node.clone(), way);
                let site = &mut self.sites[place];
                let told_again = site.fleet.set_attached(&node, true);
                site.touched(told_again);
                effects
            }
            Ok((None, _)) => return,
            Err(refused) => served.session.turn_away(&below, refused),
        };
        self.descend(place, link, effects);
    }

    /// A node is below the child on a link no longer.
    fn has_left(&mut self, place: Place, link: u64, left: Left) {
        let downlink = &mut self.downlinks[place];
        if let Some(served) = downlink.sessions.get_mut(&link) {
            served.told.remove(&left.node);
            served.audience.remove(&left.node);
        }
        if !downlink.is_below(&left.node, link) {
            return;
        }
        downlink.below.remove(&left.node);
        let wall = self.sites[place].wall(self.now);
        let site = &mut self.sites[place];
        if let Some(uid) = site.fleet.node(&left.node).map(|object| object.uid) {
            let touched = site.fleet.set_link(uid, left.epoch, Link::Down, wall);
            site.touched(touched);
        }
        site.fleet.set_attached(&left.node, false);
        self.tell_left(place, left);
    }

    /// What a place may tell a child of the quorum: only with the Cfg that it has for it by then.
    fn assured_of(&self, place: Place, link: u64) -> Assured {
        let fleet = &self.sites[place].fleet;
        let served = self.downlinks[place].sessions.get(&link);
        let child = served.and_then(|served| served.session.child());
        let is_whole = child.is_some_and(|hello| fleet.is_whole(&hello.node));
        if is_whole { fleet.assured() } else { Assured::default() }
    }

    /// Offers what has changed to whom it concerns.
    pub(super) fn offer_marked(&mut self, place: Place) {
        for link in self.downlinks[place].links() {
            let marked = self.sites[place].watchers.get(&link);
            let is_marked = marked.is_some_and(|marked| !marked.is_empty());
            let served = self.downlinks[place].sessions.get(&link);
            let fleet = &self.sites[place].fleet;
            if is_marked || served.is_some_and(|served| served.audience.is_due(fleet)) {
                self.offer(place, link);
            }
        }
    }

    /// Offers a child what it may see, and what its decisions need of elsewhere.
    pub(super) fn offer(&mut self, place: Place, link: u64) {
        let wall = self.sites[place].wall(self.now);
        let Some(served) = self.downlinks[place].sessions.get_mut(&link) else { return };
        let site = &mut self.sites[place];
        let hello = served.session.child().filter(|hello| hello.role.is_below()).cloned();
        let (Some(hello), Some(uid)) = (hello, served.uid) else { return };
        if !site.fleet.is_whole(&hello.node) {
            return;
        }
        let is_leaf = hello.role == Role::Leaf;
        if is_leaf {
            served.audience.renew();
        }
        let changed = site.watchers.get_mut(&link).map(std::mem::take).unwrap_or_default();
        let change = served.audience.gather(&site.fleet, &changed);
        let Change { revision, set, gone, sights, newest } = change;
        if site.fleet.link_epoch(uid) > hello.epoch {
            return self.break_off(place, link);
        }
        let over = served.session.expel_outdated(newest);
        let is_all = !std::mem::replace(&mut served.is_offered, true) || is_leaf;
        let session = &mut served.session;
        session.assure(site.fleet.assured(), site.hybrid_ms(), wall);
        session.declare(site.fleet.catalog());
        let effects = if is_all {
            let mut effects = session.offer(revision, set);
            effects.extend(session.offer_views(sights));
            effects
        } else {
            let mut effects = session.offer_changes(revision, set, gone);
            effects.extend(session.offer_view_changes(sights));
            effects
        };
        self.descend(place, link, over);
        self.descend(place, link, effects);
    }

    /// A node that is attached by a link is let in above no longer, or a session ends from here.
    pub(super) fn break_off(&mut self, place: Place, link: u64) {
        if let Some(Wire { child, .. }) = self.network.link(link) {
            self.breaks_for(child, link, 50);
        }
        self.lost(place, link);
    }

    /// A session is over.
    pub(super) fn lost(&mut self, place: Place, link: u64) {
        let Some(Served { mut session, .. }) = self.downlinks[place].sessions.remove(&link) else {
            return;
        };
        self.sites[place].watchers.remove(&link);
        let hello = session.child().filter(|_| self.sites[place].is_up).cloned();
        let Some(hello) = hello else { return };
        let fleet = &self.sites[place].fleet;
        let orphans = session.orphans(|to| fleet.hops_below(&hello.node, to));
        self.orphan(place, &hello.node, orphans, Way(link));
        for left in session.abandoned() {
            if self.downlinks[place].is_below(&left.node, link) {
                self.downlinks[place].below.remove(&left.node);
                self.sites[place].fleet.set_attached(&left.node, false);
                self.tell_left(place, left);
            }
        }
        if self.downlinks[place].link_of(&hello.node) != Some(link) {
            return;
        }
        self.downlinks[place].attached.remove(&hello.node);
        if hello.role == Role::Member {
            return self.lose_later(place, &hello.node, Lost::Member);
        }
        let wall = self.sites[place].wall(self.now);
        let site = &mut self.sites[place];
        if let Some(uid) = site.fleet.node(&hello.node).map(|object| object.uid) {
            let touched = site.fleet.set_link(uid, hello.epoch, Link::Down, wall);
            site.touched(touched);
        }
        if self.downlinks[place].via(&hello.node).is_none() {
            site.fleet.set_attached(&hello.node, false);
        }
        self.tell_left(place, Left { node: hello.node.clone(), epoch: hello.epoch });
        if hello.role == Role::Relay {
            self.lose_later(place, &hello.node, Lost::Relay);
        }
        self.look(place);
    }
}
