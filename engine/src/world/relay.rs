//! What a relay does beside what any parent does: it asks above about who comes, tells above who
//! has left, and speaks for nobody of whom its own parent does not know.

use super::{
    Event, Place, World,
    downlink::{Asked, Decided, Why},
};
use crate::{
    event::Event as Record,
    id::{ClusterId, Name, SessionEpoch, Uid},
    sync::{
        below::{check_name, check_session},
        child::Effect,
        frame::{Admission, Admitted, Below, Left, Refused, RefusedReason, Role, Welcome},
    },
};

/// How long an answer from above is waited for, in milliseconds.
const ANSWER_MS_MAX: u64 = 5_000;

fn not_ready(why: &str) -> Refused {
    Refused { reason: RefusedReason::NotReady, text: why.to_owned() }
}

impl World {
    /// Whether a name is a relay's.
    pub(super) fn is_relay(&self, name: &Name) -> bool {
        self.relay_places().any(|place| self.names[place] == *name)
    }

    /// Where the relays are.
    pub(super) fn relay_places(&self) -> std::ops::Range<Place> {
        self.members..self.members + self.relays
    }

    /// The uplink of a relay.
    fn above(&self, place: Place) -> Option<usize> {
        self.relay_places().contains(&place).then(|| place - self.members)
    }

    /// Whether somebody above knows of who is attached here: members know themselves.
    pub(super) fn is_told_above(&self, place: Place) -> bool {
        self.above(place).is_none_or(|up| self.uplinks[up].child.is_attached())
    }

    /// Decides about a node that wants to be let in, or has it decided above.
    pub(super) fn ask_about(&mut self, place: Place, why: Why, below: Below) {
        let further = match why {
            Why::Hello(_) | Why::Again(_) => below.clone(),
            Why::Arrives(_) => Below { hops: below.hops + 1, ..below.clone() },
        };
        if let Err(refused) = check_name(&below, &self.sites[place].name) {
            return self.decided(place, why, below, Err(refused));
        }
        let Some(up) = self.above(place) else {
            let decided = self.by_quorum(place, &further);
            return self.decided(place, why, below, decided);
        };
        if below.hello.role == Role::Member {
            return self.decided(place, why, below, Err(not_ready("it attaches to members")));
        }
        let effects = self.uplinks[up].child.arrives(further);
        if effects.is_empty() {
            let decided = self.by_memory(place, &below);
            return self.decided(place, why, below, decided);
        }
        let node = (below.hello.node.clone(), below.hello.epoch);
        let asked = Asked { why, below, since: self.now };
        self.downlinks[place].asked.insert(node, asked);
        self.climb(up, effects);
    }

    fn decided(&mut self, place: Place, why: Why, below: Below, decided: Decided) {
        match why {
            Why::Hello(link) => self.greeted(place, link, below, decided),
            Why::Arrives(link) => self.admitted(place, link, below, decided),
            Why::Again(link) if decided.is_err() => self.break_off(place, link),
            Why::Again(_) => {
                if self.is_told_above(place) {
                    let site = &mut self.sites[place];
                    let told_again = site.fleet.set_attached(&below.hello.node, true);
                    site.touched(told_again);
                }
            }
        }
    }

    /// A member decides about a node.
    fn by_quorum(&self, place: Place, below: &Below) -> Decided {
        let hello = &below.hello;
        let node = self.sites[place].fleet.node(&hello.node).map(|object| object.uid);
        if hello.role == Role::Member {
            return self.welcome(place, below, None);
        }
        let uid = node.ok_or_else(|| not_ready("not known here yet"))?;
        self.welcome(place, below, Some(uid))
    }

    /// What a relay that is attached to nobody knows of a leaf by itself.
    fn by_memory(&self, place: Place, below: &Below) -> Decided {
        let hello = &below.hello;
        let up = self.above(place).filter(|up| !self.uplinks[*up].child.is_attached());
        let cluster = up.map(|up| self.uplinks[up].child.cluster()).unwrap_or_default();
        let is_of_ours = hello.cluster == cluster && cluster != ClusterId::default();
        if hello.role != Role::Leaf || !is_of_ours {
            return Err(not_ready("this relay is attached to nobody"));
        }
        let fleet = &self.sites[place].fleet;
        let node = fleet.node(&hello.node).filter(|_| fleet.is_whole(&hello.node));
        let uid = node.map(|object| object.uid);
        let uid = uid.ok_or_else(|| not_ready("this relay is attached to nobody"))?;
        self.welcome(place, below, Some(uid))
    }

    fn welcome(&self, place: Place, below: &Below, uid: Option<Uid>) -> Decided {
        let (hello, fleet) = (&below.hello, &self.sites[place].fleet);
        if let Some(uid) = uid {
            let newest = self.downlinks[place].newest(&hello.node);
            let held = fleet.link_epoch(uid).max(newest);
            check_session(below, held, fleet.is_up(uid))?;
        }
        let welcome = Welcome {
            cluster: self.quorum.store.cluster(),
            uid,
            hybrid_ms: self.sites[place].hybrid_ms(),
            takes_answers: true,
            spoken_ms: fleet.spoken_ms(&hello.node),
            cfg_epoch: self.quorum.store.epoch(),
            takes_beats: true,
        };
        Ok((uid, welcome))
    }

    /// An answer about a node has come from above. One that was let in and does not wait any more
    /// has left; one that does not wait and is refused was let in before.
    pub(super) fn answered(&mut self, place: Place, admitted: Admitted) {
        let Admitted { node, epoch, answer } = admitted;
        let asked = self.downlinks[place].asked.remove(&(node.clone(), epoch));
        let decided = match answer {
            Admission::Welcome(welcome) => Ok((welcome.uid, welcome)),
            Admission::Refused(refused) => Err(refused),
        };
        match asked {
            Some(Asked { why, below, .. }) => self.decided(place, why, below, decided),
            None => match decided {
                Ok(_) => self.tell_left(place, Left { node, epoch }),
                Err(Refused { reason: RefusedReason::Epoch(newest), .. }) => {
                    self.expelled(place, &Left { node, epoch }, newest);
                }
                Err(_) => {}
            },
        }
    }

    /// A node is attached elsewhere by now, as is known above: its session here is over.
    fn expelled(&mut self, place: Place, left: &Left, newest: SessionEpoch) {
        let Some((epoch, link)) = self.downlinks[place].way_of(&left.node) else { return };
        let is_child = self.downlinks[place].link_of(&left.node) == Some(link);
        if is_child && epoch == left.epoch {
            self.break_off(place, link);
        } else if !is_child && let Some(session) = self.downlinks[place].session(link) {
            let effects = session.expel(left, newest);
            self.descend(place, link, effects);
        }
    }

    /// What is not answered for long is not waited for.
    pub(super) fn forget_the_asked(&mut self, place: Place) {
        let (now, asked) = (self.now, &mut self.downlinks[place].asked);
        let late = asked.extract_if(.., |_, asked| now >= asked.since + ANSWER_MS_MAX);
        let late: Vec<Asked> = late.map(|(_, asked)| asked).collect();
        for Asked { why, below, .. } in late {
            let decided = self.by_memory(place, &below);
            self.decided(place, why, below, decided);
        }
    }

    /// What a relay holds of those below it is not known to be current.
    pub(super) fn begin_below(&mut self, place: Place) {
        if self.above(place).is_some() {
            self.sites[place].fleet.begin_below();
        }
    }

    /// A relay is attached to nobody any more: whoever waits is not answered.
    pub(super) fn cut_off(&mut self, place: Place) {
        if self.above(place).is_none() {
            return;
        }
        for Asked { why, below, .. } in
            std::mem::take(&mut self.downlinks[place].asked).into_values()
        {
            if !matches!(why, Why::Again(_)) {
                let decided = self.by_memory(place, &below);
                self.decided(place, why, below, decided);
            }
        }
        self.later(0, place, Event::Stands);
    }

    /// A relay is attached in another session, or to nobody: whoever is below it has to be let in
    /// above again before it is spoken for.
    pub(super) fn stands(&mut self, place: Place) {
        let Some(up) = self.above(place) else { return };
        let link = self.uplinks[up].link.filter(|_| self.uplinks[up].child.is_attached());
        if self.downlinks[place].stood == link {
            return;
        }
        self.downlinks[place].stood = link;
        if link.is_some() {
            // What they were told of those below them is as of the last session.
            for relay in self.downlinks[place].relays() {
                self.break_off(place, relay);
            }
        }
        for (at, below) in self.downlinks[place].all_told() {
            let node = below.hello.node.clone();
            self.sites[place].fleet.set_attached(&node, false);
            if link.is_some() {
                let is_child = self.downlinks[place].link_of(&node) == Some(at);
                let hops = if is_child { 0 } else { below.hops + 1 };
                self.ask_about(place, Why::Again(at), Below { hops, ..below });
            }
        }
    }

    /// Tells above that a node has left; what was seen of it last goes first.
    pub(super) fn tell_left(&mut self, place: Place, left: Left) {
        let Some(up) = self.above(place) else { return };
        self.tell_untold(place);
        let effects = self.uplinks[up].child.leaves(left);
        self.climb(up, effects);
    }

    /// Events of nodes below go further up.
    pub(super) fn pass_on(&mut self, place: Place, events: Vec<Record>) {
        let Some(up) = self.above(place) else { return };
        let wall = self.sites[place].wall(self.now);
        let effects: Vec<Effect> = self.uplinks[up].child.record(events, wall);
        self.climb(up, effects);
    }
}
