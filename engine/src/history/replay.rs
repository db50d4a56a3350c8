//! Writes of the past as they were told when they were made: each object as it became.
//!
//! A record holds what its objects were before it. What one became is what the next record of it
//! found; where there is none, it is what the object is now.

use std::{collections::BTreeMap, sync::Arc};

use super::Record;
use crate::{id::Uid, object::Object, store::Change};

/// Some records, and what is needed to tell what came of them.
#[derive(Debug, Default)]
pub struct Replay {
    records: Vec<Record>,
    /// What later records found of the objects of these.
    later: BTreeMap<Uid, Option<Arc<Object>>>,
}

impl Replay {
    /// These records, of which each later one follows the one before without a gap.
    pub fn of(records: Vec<Record>) -> Self {
        Self { records, later: BTreeMap::new() }
    }

    /// The objects that they changed; an object may be among them more than once.
    pub fn uids(&self) -> impl Iterator<Item = Uid> {
        self.records.iter().flat_map(|record| &record.changes).map(|change| change.uid)
    }

    /// Takes a record that comes after them, in order.
    pub fn see(&mut self, later: &Record, is_wanted: impl Fn(Uid) -> bool) {
        for change in later.changes.iter().filter(|change| is_wanted(change.uid)) {
            self.later.entry(change.uid).or_insert_with(|| change.before.clone());
        }
    }

    /// Each record with its changes, where `now` is what objects are after all that was seen.
    pub fn tell(self, now: impl Fn(Uid) -> Option<Arc<Object>>) -> Vec<(Record, Vec<Change>)> {
        let mut later = self.later;
        let mut told = Vec::with_capacity(self.records.len());
        for record in self.records.into_iter().rev() {
            let mut changes = Vec::with_capacity(record.changes.len());
            for change in &record.changes {
                let became = later.insert(change.uid, change.before.clone());
                let before = change.before.clone();
                if change.removed {
                    changes.extend(before.map(Change::Removed));
                } else if let Some(object) = became.unwrap_or_else(|| now(change.uid)) {
                    changes.push(Change::Put { object, before });
                }
            }
            told.push((record, changes));
        }
        told.reverse();
        told
    }
}
