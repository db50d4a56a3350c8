//! What a child's decisions need of elsewhere, at the two ends of a session: what others have seen
//! of the child's own objects, and what its predicates name of objects that it does not hold.
//!
//! | upper end | input | what becomes of it |
//! |---|---|---|
//! | attached, the child takes views, its Cfg is acknowledged | `offer_views` | ViewDelta |
//! | attached, a ViewDelta or Cfg is unacknowledged | `offer_views` | waits, the latest stands |
//! | attached | ViewAck | the ViewDelta that has become due |
//! | the first of a session | | whole: what it does not name is held no more |
//!
//! | lower end | input | what becomes of it |
//! |---|---|---|
//! | attached | ViewDelta | SetViews, ViewAck |
//! | attached, no delta of this session came before | ViewDelta that is not whole | Close |
//!
//! Views follow the Cfg on one ordered stream, so that a child holds the objects of which it is
//! told. While it is cut off it keeps them, until what it holds is older than it is good for
//! ([`Fleet::related_value`](crate::fleet::Fleet::related_value)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::delta::ObjectDelta;
use crate::{
    dsc::{Sighting, sighting_digest},
    id::{Name, Uid},
    path::Path,
    predicate::On,
    value::Value,
};

/// Objects elsewhere of which one child is told; what its predicates name of more is not held
/// there, and so not met. In order of uid.
pub const RELATED_OBJECTS_MAX: usize = 64;

/// What a child is told of elsewhere about one of its objects.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// What others have seen of it, where that has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Sighting>,
    /// What its predicates name of other objects: all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<RelatedSight>,
}

/// A value of an object to which a predicate leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelatedSight {
    /// How the predicate leads there.
    pub by: Relation,
    /// Where that led.
    pub uid: Uid,
    /// The name of that object.
    pub name: Name,
    /// The path.
    pub path: Path,
    /// The value that is known there.
    pub value: Value,
    /// How long it is good for once nobody stands for it any more, in milliseconds; absent: for
    /// ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// How a predicate leads to another object, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Relation {
    /// `@parent`.
    Parent,
    /// `@owner`.
    Owner,
    /// `@/path`.
    NamedBy(Path),
}

impl Relation {
    /// The relation of a predicate; `None`: it speaks of the object itself.
    pub fn of(on: &On) -> Option<Self> {
        match on {
            On::Itself => None,
            On::Parent => Some(Self::Parent),
            On::Owner => Some(Self::Owner),
            On::NamedBy(path) => Some(Self::NamedBy(path.clone())),
        }
    }
}

/// What a child is told of elsewhere, by object.
pub type Sights = BTreeMap<Uid, Sight>;

/// A change of what a child is told of elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewDelta {
    /// Counts such deltas of the session, from 1.
    pub seq: u64,
    /// What is not named is held no more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub whole: bool,
    /// The objects of the child for which something has changed.
    pub objects: Vec<(Uid, Sight)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(truth: &bool) -> bool {
    !truth
}

/// The upper end: what the child was told, and what it is to be told.
#[derive(Debug, Default)]
pub(super) struct Shown {
    sequence: u64,
    acknowledged: u64,
    wanted: Option<Wanted>,
    /// What it was told: digests of what was seen, and all that is related.
    sent: BTreeMap<Uid, (BTreeMap<Path, u64>, Vec<RelatedSight>)>,
}

/// What is to be told and was not yet.
#[derive(Debug, Default)]
struct Wanted {
    /// Of what is not among these it is told nothing any more.
    is_all: bool,
    sights: Sights,
}

impl Shown {
    pub(super) fn offer(&mut self, sights: Sights) {
        self.wanted = Some(Wanted { is_all: true, sights });
    }

    /// Of these objects, and of no others, it may be something else than before.
    pub(super) fn offer_changes(&mut self, sights: Sights) {
        self.wanted.get_or_insert_default().sights.extend(sights);
    }

    pub(super) fn acknowledge(&mut self, seq: u64) {
        self.acknowledged = self.acknowledged.max(seq.min(self.sequence));
    }

    /// Objects that are told of in Cfg: what was said of those that go is forgotten there.
    pub(super) fn cfg_sent(&mut self, objects: &[ObjectDelta]) {
        for object in objects {
            if let ObjectDelta::Gone(uid) = object {
                self.sent.remove(uid);
            }
        }
    }

    /// The delta that is due, if nothing else is on its way.
    pub(super) fn next(&mut self) -> Option<ViewDelta> {
        if self.acknowledged < self.sequence {
            return None;
        }
        let Wanted { is_all, sights: mut wanted } = self.wanted.take()?;
        let mut objects: Vec<(Uid, Sight)> = Vec::new();
        if is_all {
            let others = self.sent.keys().filter(|uid| !wanted.contains_key(uid));
            let others: Vec<Uid> = others.copied().collect();
            wanted.extend(others.into_iter().map(|uid| (uid, Sight::default())));
        }
        for (uid, sight) in wanted {
            if sight == Sight::default() {
                if self.sent.remove(&uid).is_some_and(|(_, related)| !related.is_empty()) {
                    objects.push((uid, sight));
                }
                continue;
            }
            let (seen, related) = self.sent.entry(uid).or_default();
            let mut changed = Vec::new();
            for (path, observed) in sight.seen {
                let digest = sighting_digest(&path, &observed);
                if seen.insert(path.clone(), digest) != Some(digest) {
                    changed.push((path, observed));
                }
            }
            if !changed.is_empty() || *related != sight.related {
                related.clone_from(&sight.related);
                objects.push((uid, Sight { seen: changed, related: sight.related }));
            }
        }
        let whole = self.sequence == 0;
        if objects.is_empty() && !whole {
            return None;
        }
        self.sequence += 1;
        Some(ViewDelta { seq: self.sequence, whole, objects })
    }
}
