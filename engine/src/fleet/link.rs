//! The link of a node: whether it is attached, where, and who says so.
//!
//! A parent says UP when a session begins and DOWN when it is over. Others may only think that it
//! is over, because they have lost the parent; where it goes on, the parent says UP again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fleet, Touched};
use crate::{
    dsc::{Dsc, Observed, Sighting, Stamp},
    id::{Name, SessionEpoch, Uid},
    path::Path,
    sync::{below::HOPS_MAX, pace::Pace},
    time::Millis,
    value::Value,
};

/// The path of a node's link.
pub const LINK_PATH: &str = "/link";

/// Whether a node is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Attached in this session.
    Up,
    /// The session is over.
    Down,
}

impl Link {
    /// The value at [`LINK_PATH`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
        }
    }
}

/// The word that a node is attached, by whoever says so; `None` where the last word is another.
pub fn up_link(dsc: &Dsc) -> Option<&Observed> {
    dsc.get(LINK_PATH).filter(|said| says_up(said))
}

fn says_up(said: &Observed) -> bool {
    said.value.as_ref().and_then(Value::as_str) == Some(Link::Up.as_str())
}

/// The time of the latest of some observations, in milliseconds; 0 of none. The stamp of a link is
/// the number of a session, and no time.
pub fn latest_ms<'a>(sightings: impl IntoIterator<Item = &'a Sighting>) -> u64 {
    let timed = sightings.into_iter().filter(|(path, _)| path.as_str() != LINK_PATH);
    timed.map(|(_, seen)| seen.stamp.ms).max().unwrap_or_default()
}

impl Fleet {
    /// The link of a node changed. Ordered by session epoch, DOWN after UP, and not by time: what
    /// is said of an older session never beats what is said of a newer one, wherever it comes from.
    /// Where another says DOWN of a session that goes on here, this node says UP again.
    pub fn set_link(&mut self, uid: Uid, epoch: SessionEpoch, link: Link, now: Millis) -> Touched {
        let said = self.dsc.get(&uid).and_then(|dsc| dsc.get(LINK_PATH));
        let over = said.is_some_and(|said| {
            said.stamp.ms == epoch.get() && said.value == Some(Link::Down.as_str().into())
        });
        if over {
            return Touched::default();
        }
        self.say_link(uid, epoch, (link, self.me.clone()), now)
    }

    /// The same where `writer` says it.
    pub(super) fn say_link(
        &mut self,
        uid: Uid,
        epoch: SessionEpoch,
        (link, writer): (Link, Name),
        now: Millis,
    ) -> Touched {
        let Ok(path) = Path::new(LINK_PATH) else { return Touched::default() };
        let value = Some(Value::from(link.as_str()));
        let said = self.dsc.get(&uid).and_then(|dsc| dsc.get(LINK_PATH));
        let counter = match said.filter(|said| said.stamp.ms == epoch.get()) {
            Some(said) if said.value == value => return Touched::default(),
            Some(said) => said.stamp.counter.saturating_add(1),
            None => u32::from(link == Link::Down),
        };
        let stamp = Stamp { ms: epoch.get(), counter, writer };
        let known = self.objects.contains_key(&uid);
        self.take(uid, known, vec![(path, Observed { value, stamp, seen_at: now })], now)
    }

    /// Whether a node is attached somewhere, as far as is known here.
    pub fn is_up(&self, uid: Uid) -> bool {
        self.seen(uid).and_then(up_link).is_some()
    }

    /// The epoch of the last session that was heard of.
    pub fn link_epoch(&self, uid: Uid) -> SessionEpoch {
        let link = self.dsc.get(&uid).and_then(|dsc| Some(dsc.get(LINK_PATH)?.stamp.ms));
        SessionEpoch::new(link.unwrap_or_default())
    }

    /// The same of a node by name; 0 where none was heard of.
    pub fn session_of(&self, node: &Name) -> SessionEpoch {
        self.node(node).map_or_else(SessionEpoch::default, |object| self.link_epoch(object.uid))
    }

    /// The nodes whose link was last said to be up by a member or a relay that may not know it any
    /// more, and those of which relays among these said so in turn; of this node itself, those that
    /// are not attached here: it said so in an earlier life. Without those that are `here`, by
    /// whatever way, and what is behind them, and those of a slower `pace`, who may not have
    /// noticed. What another of the `members` says of its own children is its own to say.
    pub fn left_by(
        &self,
        parent: &Name,
        here: impl Fn(&Name) -> bool,
        members: &BTreeSet<Name>,
        pace: Pace,
    ) -> Vec<(Uid, Name, SessionEpoch)> {
        let mut by_parent: BTreeMap<&Name, Vec<(Uid, &Name, SessionEpoch)>> = BTreeMap::new();
        for object in self.objects.values() {
            let Some(said) = self.seen(object.uid).and_then(up_link) else { continue };
            let (name, writer) = (&object.key.name, &said.stamp.writer);
            let stands = *writer == self.me && self.attached.contains(name);
            if !stands && !here(name) {
                let left = (object.uid, name, SessionEpoch::new(said.stamp.ms));
                by_parent.entry(writer).or_default().push(left);
            }
        }
        let mut left = by_parent.remove(parent).unwrap_or_default();
        let mut at = 0;
        while let Some((_, node, _)) = left.get(at).copied() {
            if !members.contains(node) {
                left.extend(by_parent.remove(node).unwrap_or_default());
            }
            at += 1;
        }
        let is_due = |uid| self.object(uid).is_none_or(|object| Pace::of(&object.labels) <= pace);
        let due = left.into_iter().filter(|(uid, ..)| is_due(*uid));
        due.map(|(uid, node, epoch)| (uid, node.clone(), epoch)).collect()
    }

    /// How many sessions are between a node and a child of this one, or another member, through
    /// which it is reached; as many as can be, where it is not known how.
    pub fn hops_below(&self, child: &Name, node: &Name) -> u32 {
        let mut at = node.clone();
        for hops in 0..=HOPS_MAX {
            if at == *child {
                return hops;
            }
            let link = self.node(&at).and_then(|object| self.seen(object.uid)?.get(LINK_PATH));
            match link {
                Some(link) => at.clone_from(&link.stamp.writer),
                None => break,
            }
        }
        HOPS_MAX + 1
    }

    /// The session in which a node is attached here, or to a relay that is, and who says so: as is
    /// held, or said again now.
    pub(super) fn link_that_stands(
        &self,
        uid: Uid,
        said: &[Sighting],
    ) -> Option<(SessionEpoch, Name)> {
        let node = &self.objects.get(&uid)?.key.name;
        let held = self.seen(uid).and_then(up_link);
        let again = said.iter().find(|(path, _)| path.as_str() == LINK_PATH);
        let again = again.map(|(_, said)| said).filter(|said| says_up(said));
        let said = held.or(again).filter(|_| self.attached.contains(node))?;
        let (epoch, writer) = (SessionEpoch::new(said.stamp.ms), &said.stamp.writer);
        self.leads_here(writer).then(|| (epoch, writer.clone()))
    }

    /// Whether whoever is attached to a parent is attached here, by way of relays or none.
    fn leads_here(&self, parent: &Name) -> bool {
        let mut at = parent;
        for _ in 0..=HOPS_MAX {
            if *at == self.me {
                return true;
            }
            let node = self.node(at).and_then(|node| self.seen(node.uid)).and_then(up_link);
            let Some(link) = node else { return false };
            at = &link.stamp.writer;
        }
        false
    }
}
