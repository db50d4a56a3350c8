//! The past of Cfg: how objects were at an older revision, what changed between two, who set what,
//! and the transaction that brings an older revision back.
//!
//! Each write is kept as a [`Record`] with what its objects were *before* it. How an object was at
//! revision r is then what the first write after r found; where there is none it is what the object
//! is now. So records are read forwards from r, and nothing older is ever needed.
//!
//! Where records are kept, and for how long, is not known here: callers hand them over in order.

mod alteration;
mod replay;
mod rollback;
#[cfg(test)]
mod tests;
mod versions;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::{
    alteration::{Alteration, LabelChange, PathChange, Turn},
    replay::{AtThatTime, Replay, Replayed},
    rollback::{Unrestorable, rollback},
    versions::{Blame, Deed, Version, Versions, blame},
};
use crate::{
    id::{Revision, Uid},
    object::{Object, ObjectRef},
    store::{Change, Store},
    time::Millis,
};

/// One write of Cfg, as the history keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its revision.
    pub revision: Revision,
    /// When, in milliseconds since the Unix epoch, by the proposer's clock.
    pub at: Millis,
    /// Who asked for it.
    pub author: String,
    /// The word that was left with it.
    pub note: Option<String>,
    /// The objects that it changed, in order of uid.
    pub changes: Vec<Changed>,
}

/// One object that a write changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Its identity.
    pub uid: Uid,
    /// What it is called.
    pub key: ObjectRef,
    /// What it was before; absent where it was created.
    pub before: Option<Arc<Object>>,
    /// Whether it was removed.
    pub removed: bool,
}

impl Changed {
    /// What a change of the store says to the history.
    pub fn of(change: &Change) -> Self {
        let object = change.object();
        Self {
            uid: object.uid,
            key: object.key.clone(),
            before: change.before().cloned(),
            removed: matches!(change, Change::Removed(_)),
        }
    }
}

/// How objects were at one revision, gathered from the records after it.
#[derive(Debug)]
pub struct Past {
    at: Revision,
    /// What the first write after the revision found, by name.
    found: BTreeMap<ObjectRef, Option<Arc<Object>>>,
}

impl Past {
    /// The fleet at a revision, before any record has been seen.
    pub fn at(revision: Revision) -> Self {
        Self { at: revision, found: BTreeMap::new() }
    }

    /// Takes the next record; those up to the revision say nothing of it.
    pub fn see(&mut self, record: &Record) {
        if record.revision <= self.at {
            return;
        }
        // One that is removed and created anew in one write is told of twice, the removed one
        // being what was there before.
        let (created, before): (Vec<_>, Vec<_>) =
            record.changes.iter().partition(|change| change.before.is_none());
        for change in before.into_iter().chain(created) {
            self.found.entry(change.key.clone()).or_insert_with(|| change.before.clone());
        }
    }

    /// The names of all objects that have changed since.
    pub fn changed(&self) -> impl Iterator<Item = &ObjectRef> {
        self.found.keys()
    }

    /// An object as it was, where `now` is what the store holds of that name.
    pub fn object(&self, key: &ObjectRef, now: Option<&Arc<Object>>) -> Option<Arc<Object>> {
        match self.found.get(key) {
            Some(found) => found.clone(),
            None => now.cloned(),
        }
    }

    /// All objects of a kind as they were, in order of name, where `store` is as it is now.
    pub fn of_kind(&self, kind: &str, store: &Store) -> Vec<Arc<Object>> {
        let untouched = store.of_kind(kind).filter(|object| !self.found.contains_key(&object.key));
        let touched = self.found.iter().filter(|(key, _)| key.kind.as_str() == kind);
        let mut all: Vec<Arc<Object>> =
            untouched.chain(touched.filter_map(|(_, found)| found.as_ref())).cloned().collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }
}

/// What became of one object between two revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    /// The object.
    pub key: ObjectRef,
    /// How it was; absent where it was not there.
    pub before: Option<Arc<Object>>,
    /// How it became; absent where it was gone.
    pub after: Option<Arc<Object>>,
}

/// What differs between two revisions, `from` being the older one, in order of name. What differs
/// in labels, owner, freezes or generation alone counts as well.
pub fn diff(from: &Past, to: &Past, store: &Store) -> Vec<ObjectChange> {
    let changed = from.changed().map(|key| {
        let now = store.find(key);
        ObjectChange { key: key.clone(), before: from.object(key, now), after: to.object(key, now) }
    });
    changed.filter(|change| change.before != change.after).collect()
}
