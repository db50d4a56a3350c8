//! The history of one object: its versions, and who set what is asked of it now.

use std::{collections::BTreeMap, sync::Arc};

use super::{Alteration, Record};
use crate::{
    id::Revision,
    object::{Object, ObjectRef},
    path::Path,
    time::Millis,
};

/// What a write did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It was created.
    Created,
    /// It was changed.
    Changed,
    /// It was removed.
    Removed,
}

/// One write, as far as it concerned one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The revision of the write.
    pub revision: Revision,
    /// When, by the proposer's clock.
    pub at: Millis,
    /// Who asked for it.
    pub author: String,
    /// The word that was left with it.
    pub note: Option<String>,
    /// What it did.
    pub deed: Deed,
    /// The object after it; absent where it was removed.
    pub object: Option<Arc<Object>>,
    /// What it changed of the object.
    pub alteration: Alteration,
}

/// Who set a path to what it holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// The revision of the write.
    pub revision: Revision,
    /// When, by the proposer's clock.
    pub at: Millis,
    /// Who asked for it.
    pub author: String,
}

/// Gathers the versions of the object of one name.
#[derive(Debug)]
pub struct Versions {
    key: ObjectRef,
    /// Each write with what it found.
    met: Vec<(Version, Option<Arc<Object>>)>,
}

impl Versions {
    /// No version yet of the object of this name.
    pub fn of(key: ObjectRef) -> Self {
        Self { key, met: Vec::new() }
    }

    /// Takes the next record.
    pub fn see(&mut self, record: &Record) {
        for change in record.changes.iter().filter(|change| change.key == self.key) {
            let deed = match (&change.before, change.removed) {
                (_, true) => Deed::Removed,
                (None, false) => Deed::Created,
                (Some(_), false) => Deed::Changed,
            };
            let version = Version {
                revision: record.revision,
                at: record.at,
                author: record.author.clone(),
                note: record.note.clone(),
                deed,
                object: None,
                alteration: Alteration::default(),
            };
            self.met.push((version, change.before.clone()));
        }
    }

    /// The versions, oldest first, where `now` is what the store holds of that name.
    pub fn finish(self, now: Option<&Arc<Object>>) -> Vec<Version> {
        let mut after = now.cloned();
        let mut versions: Vec<Version> = Vec::with_capacity(self.met.len());
        for (mut version, before) in self.met.into_iter().rev() {
            version.object = after.filter(|_| version.deed != Deed::Removed);
            version.alteration = Alteration::between(before.as_deref(), version.object.as_deref());
            versions.push(version);
            after = before;
        }
        versions.reverse();
        versions
    }
}

/// Who set each path that the last of some versions holds. Paths that were set before the first of
/// them are not named.
pub fn blame(versions: &[Version]) -> BTreeMap<Path, Blame> {
    let mut blamed = BTreeMap::new();
    for version in versions {
        for change in &version.alteration.paths {
            let blame = Blame {
                revision: version.revision,
                at: version.at,
                author: version.author.clone(),
            };
            match &change.after {
                Some(_) => blamed.insert(change.path.clone(), blame),
                None => blamed.remove(&change.path),
            };
        }
    }
    blamed
}
