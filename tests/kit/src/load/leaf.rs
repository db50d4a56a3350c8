//! A light leaf: the very child and line of an agent, without its actors. Its module is simulated:
//! it notes which word its Cfg holds, and sees what it is told to see.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    rc::Rc,
    sync::Arc,
};

use anyhow::Result;
use kraken_actors::{
    clock::Clock,
    module::reporter::Stamps,
    state::Stopped,
    uplink::{
        Uplink,
        line::{Line, Owner, Traffic, Way},
        messages::Input,
    },
};
use kraken_engine::{
    dsc::{Observed, Sighting},
    id::{ClusterId, Name, Uid},
    object::{Labels, Object},
    path::Path,
    sync::{
        child::{Child, Effect, Identity},
        frame::Role,
        parents::Parent,
    },
    time::Millis,
    value::Value,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use super::{
    SEEN_PATH, WORD_PATH,
    orders::{Told, now},
};

/// Leaves that are named where they lack something.
const SHOWN_MAX: usize = 5;
/// Leaves that dial from one address.
const LEAVES_AN_ADDRESS: usize = 250;
/// Addresses of one network of 127.0.0.0/8.
const ADDRESSES_A_NETWORK: usize = 250;

/// What the leaves of one worker have in common.
pub(super) struct Hub {
    /// Leaves that are attached, by parent.
    attached: RefCell<BTreeMap<String, usize>>,
    /// When leaves first had a word, by word and by leaf.
    words: RefCell<BTreeMap<i64, BTreeMap<usize, u64>>>,
    /// Words that are waited for, and by how many leaves.
    expected: RefCell<BTreeMap<i64, usize>>,
    /// When the last one was.
    pub(super) attached_at: Cell<u64>,
    pub(super) sessions: Cell<u64>,
    pub(super) strange: Cell<u64>,
    told: mpsc::Sender<Told>,
    path: Path,
}

impl Hub {
    pub(super) fn new(told: mpsc::Sender<Told>) -> Result<Self> {
        Ok(Self {
            attached: RefCell::default(),
            words: RefCell::default(),
            expected: RefCell::default(),
            attached_at: Cell::new(0),
            sessions: Cell::new(0),
            strange: Cell::new(0),
            told,
            path: Path::new(SEEN_PATH)?,
        })
    }

    /// Tells something. The queue has room for all that is ever on its way; where the desk is gone
    /// the worker ends anyway.
    fn tell(&self, told: Told) {
        drop(self.told.try_send(told));
    }

    pub(super) fn expect(&self, word: i64, leaves: usize) {
        self.expected.borrow_mut().insert(word, leaves);
        self.look(word);
    }

    /// Forgets what other leaves knew.
    pub(super) fn forget(&self) {
        self.words.borrow_mut().clear();
        self.expected.borrow_mut().clear();
        self.attached.borrow_mut().clear();
    }

    /// One more is attached.
    pub(super) fn connected(&self, parent: String) {
        self.sessions.set(self.sessions.get() + 1);
        *self.attached.borrow_mut().entry(parent).or_default() += 1;
        self.attached_at.set(now());
    }

    /// One is attached no longer.
    pub(super) fn disconnected(&self, parent: &str) {
        if let Some(count) = self.attached.borrow_mut().get_mut(parent) {
            *count = count.saturating_sub(1);
        }
    }

    /// Those that are attached, by parent.
    pub(super) fn attached(&self) -> BTreeMap<String, usize> {
        self.attached.borrow().clone()
    }

    fn look(&self, word: i64) {
        let (mut words, mut expected) = (self.words.borrow_mut(), self.expected.borrow_mut());
        let enough = expected
            .get(&word)
            .is_some_and(|leaves| words.get(&word).is_some_and(|times| times.len() >= *leaves));
        if enough {
            expected.remove(&word);
            let times = words.remove(&word).unwrap_or_default();
            self.tell(Told::Applied { word, times: times.into_values().collect() });
        }
    }

    /// One more has a word.
    pub(super) fn applied(&self, leaf: usize, word: i64) {
        self.words.borrow_mut().entry(word).or_default().entry(leaf).or_insert_with(now);
        self.look(word);
    }

    /// Of the leaves between two numbers a few that lack a word that is waited for.
    pub(super) fn lacking(&self, leaves: Range<usize>) -> Vec<String> {
        let (words, expected) = (self.words.borrow(), self.expected.borrow());
        let Some((word, count)) = expected.last_key_value() else { return Vec::new() };
        let had = words.get(word);
        let lacks = |leaf: &usize| had.is_none_or(|had| !had.contains_key(leaf));
        let few = leaves.filter(lacks).take(SHOWN_MAX).map(name).collect::<Vec<_>>().join(", ");
        let have = had.map_or(0, BTreeMap::len);
        vec![format!("{have} of {count} leaves have word {word}; among those without are {few}")]
    }
}

/// One leaf.
pub(super) struct Leaf {
    uplink: Uplink,
    stamps: Stamps,
    number: usize,
    own: Own,
    hub: Rc<Hub>,
    nudge: Rc<Notify>,
    /// Held until it is first attached.
    gate: Option<OwnedSemaphorePermit>,
}

/// What a leaf knows.
#[derive(Default)]
struct Own {
    uid: Option<Uid>,
    /// The word that its Cfg holds.
    word: i64,
    /// What it has seen last.
    seen: Option<Sighting>,
    /// Where it dials, and whether it is attached there.
    parent: String,
    is_attached: bool,
}

/// The name of the leaf of a number.
pub(super) fn name(number: usize) -> String {
    format!("load-{number:06}")
}

/// The address from which it dials.
pub(super) fn address(number: usize) -> IpAddr {
    let place = number / LEAVES_AN_ADDRESS;
    let octet = |number: usize| u8::try_from(number % 256).unwrap_or_default();
    let (network, host) = (place / ADDRESSES_A_NETWORK, place % ADDRESSES_A_NETWORK + 1);
    Ipv4Addr::new(127, 1, octet(network), octet(host)).into()
}

impl Leaf {
    /// The line of a leaf, and what it moves.
    pub(super) fn line(
        (number, labels): (usize, Labels),
        parents: Vec<Parent>,
        hub: Rc<Hub>,
        nudge: Rc<Notify>,
    ) -> Result<(Line<Self>, Arc<Traffic>)> {
        let node = Name::new(name(number))?;
        let identity = Identity { node: node.clone(), role: Role::Leaf, labels };
        let clock = Clock::new();
        let uplink = Uplink::new(Child::new(identity, ClusterId::default(), Vec::new()), clock);
        let stamps = Stamps::new(node.clone(), clock);
        let traffic = uplink.traffic().clone();
        let own = Own::default();
        let leaf = Self { uplink, stamps, number, own, hub, nudge, gate: None };
        let way = Way { node, parents, from: Some(address(number)) };
        Ok((Line::new(leaf, way, traffic.clone()), traffic))
    }

    /// Keeps others from dialling until this one is attached.
    pub(super) fn hold(&mut self, gate: Option<OwnedSemaphorePermit>) {
        self.gate = gate;
    }

    fn attached(&mut self) {
        self.gate = None;
        self.own.is_attached = true;
        self.hub.connected(self.own.parent.clone());
    }

    fn detached(&mut self) {
        if std::mem::take(&mut self.own.is_attached) {
            self.hub.disconnected(&self.own.parent);
        }
    }

    /// Its own object is now so.
    fn set(&mut self, object: &Object) {
        if Some(object.uid) != self.own.uid {
            return;
        }
        let word = match object.cfg.get(WORD_PATH) {
            Some(Value::Int(word)) => *word,
            _ => 0,
        };
        if std::mem::replace(&mut self.own.word, word) != word {
            self.hub.applied(self.number, word);
        }
    }

    /// All that it has seen.
    fn all_seen(&self) -> Vec<(Uid, Vec<Sighting>)> {
        let seen = self.own.uid.zip(self.own.seen.clone());
        seen.map(|(uid, sighting)| (uid, vec![sighting])).into_iter().collect()
    }
}

impl Owner for Leaf {
    type Word = ();

    async fn input(&mut self, input: Input) -> Result<Vec<Effect>, Stopped> {
        if let Input::Connected(parent) = &input {
            self.own.parent.clone_from(parent);
        }
        Ok(self.uplink.take(input))
    }

    async fn word(&mut self) -> Result<(), Stopped> {
        self.nudge.notified().await;
        Ok(())
    }

    /// It sees what time it is.
    async fn say(&mut self, (): ()) -> Result<Vec<Effect>, Stopped> {
        let value = Some(Value::Int(i64::try_from(now()).unwrap_or(i64::MAX)));
        let stamp = self.stamps.next();
        let observed = Observed { value, seen_at: Millis::ZERO, stamp };
        self.own.seen = Some((self.hub.path.clone(), observed));
        Ok(self.uplink.take(Input::Seen(self.all_seen())))
    }

    async fn take(&mut self, effects: Vec<Effect>) -> Result<Vec<Effect>, Stopped> {
        let mut more = Vec::new();
        for effect in effects {
            match effect {
                Effect::Attached(welcome) => {
                    self.own.uid = welcome.uid.or(self.own.uid);
                    self.stamps.advance_to(welcome.hybrid_ms);
                    self.attached();
                }
                Effect::SendAll => {
                    let all = self.all_seen();
                    more.extend(self.uplink.take(Input::Seen(all)));
                }
                Effect::SetCfg(objects) => objects.iter().for_each(|object| self.set(object)),
                Effect::Advance(ms) => self.stamps.advance_to(ms),
                // Nothing that it sees is older than its session.
                Effect::Reborn | Effect::Assured(..) | Effect::SetViews(_) => {}
                Effect::LookAt(_) => more.extend(self.uplink.take(Input::Seen(self.all_seen()))),
                Effect::DropCfg(_)
                | Effect::Declare(_)
                | Effect::Undeclared(_)
                | Effect::Whole(_)
                | Effect::Reached(_)
                | Effect::Admitted(_)
                | Effect::Gone
                | Effect::Carry(..)
                | Effect::Recall(_)
                | Effect::Send(_)
                | Effect::Close(_)
                | Effect::Defer(_) => self.hub.strange.set(self.hub.strange.get() + 1),
            }
        }
        Ok(more)
    }

    fn ticks_every_ms(&self) -> u64 {
        self.uplink.ticks_every_ms()
    }

    async fn cut_off(&mut self, _: bool) {
        self.detached();
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.detached();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_spread_over_addresses_and_each_has_a_name_of_its_own() {
        assert_eq!(address(0).to_string(), "127.1.0.1");
        assert_eq!(address(249), address(0));
        assert_eq!(address(250).to_string(), "127.1.0.2");
        assert_eq!(address(62_500).to_string(), "127.1.1.1");
        assert_ne!(name(1), name(10));
    }
}
