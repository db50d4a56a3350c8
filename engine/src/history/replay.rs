//! Writes of the past told anew, in order, as they were told when they were applied: for a watcher
//! that was away.
//!
//! A record says what its objects were before it. What one became is what the next record of it
//! found, or what it was after the last record, which is asked for at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use super::Record;
use crate::{
    id::{Revision, Uid},
    object::Object,
    store::Change,
};

/// What one write changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Its revision.
    pub revision: Revision,
    /// The objects that it changed, in order of uid.
    pub changes: Vec<Change>,
}

/// Records that are to be told anew.
#[derive(Debug)]
pub struct Replay {
    after: Revision,
    records: Vec<Record>,
    room: usize,
    is_whole: bool,
}

impl Replay {
    /// Of what was written after a revision, where it has at most so many changes.
    pub fn after(after: Revision, changes_max: usize) -> Self {
        Self { after, records: Vec::new(), room: changes_max, is_whole: true }
    }

    /// Takes the next record, and says whether there may be more.
    pub fn see(&mut self, record: Record) -> ControlFlow<()> {
        if record.revision <= self.until() {
            return ControlFlow::Continue(());
        }
        let Some(room) = self.room.checked_sub(record.changes.len()) else {
            self.is_whole = false;
            return ControlFlow::Break(());
        };
        self.room = room;
        self.records.push(record);
        ControlFlow::Continue(())
    }

    /// Whether there was room for all.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The revision of the last record.
    pub fn until(&self) -> Revision {
        self.records.last().map_or(self.after, |record| record.revision)
    }

    /// The objects that are still there after the last record.
    pub fn there(&self) -> BTreeSet<Uid> {
        let mut there = BTreeSet::new();
        for change in self.records.iter().flat_map(|record| &record.changes) {
            if change.removed {
                there.remove(&change.uid)
            } else {
                there.insert(change.uid)
            };
        }
        there
    }

    /// Tells them, where `last` is how the objects that are [still there](Self::there) were right
    /// after the last record. `None` where one of them is missing: it was not.
    pub fn tell(self, mut last: BTreeMap<Uid, Arc<Object>>) -> Option<Vec<Replayed>> {
        let mut told = Vec::with_capacity(self.records.len());
        for record in self.records.into_iter().rev() {
            let changes = record.changes.into_iter().map(|change| {
                let became = last.remove(&change.uid);
                last.extend(change.before.clone().map(|before| (change.uid, before)));
                if change.removed {
                    return change.before.map(Change::Removed);
                }
                Some(Change::Put { object: became?, before: change.before })
            });
            let changes = changes.collect::<Option<Vec<Change>>>()?;
            told.push(Replayed { revision: record.revision, changes });
        }
        told.reverse();
        Some(told)
    }
}

/// How objects were at a revision, where they are `now` as they are, and these are the records
/// between the two.
#[derive(Debug)]
pub struct AtThatTime {
    at: Revision,
    until: Revision,
    objects: BTreeMap<Uid, Arc<Object>>,
    settled: BTreeSet<Uid>,
}

impl AtThatTime {
    /// Of objects that were read at `until`.
    pub fn of(at: Revision, until: Revision, now: BTreeMap<Uid, Arc<Object>>) -> Self {
        Self { at, until, objects: now, settled: BTreeSet::new() }
    }

    /// Takes the next record, and says whether there may be more.
    pub fn see(&mut self, record: &Record) -> ControlFlow<()> {
        if record.revision > self.until {
            return ControlFlow::Break(());
        }
        let later = record.changes.iter().filter(|_| record.revision > self.at);
        for change in later {
            // What the first one found is what was there.
            if !self.settled.insert(change.uid) {
                continue;
            }
            match &change.before {
                Some(before) => self.objects.insert(change.uid, before.clone()),
                None => self.objects.remove(&change.uid),
            };
        }
        ControlFlow::Continue(())
    }

    /// The objects; `None` where what was read or the records do not reach that far: one of them
    /// was written later, and no record says how it was before.
    pub fn finish(self) -> Option<BTreeMap<Uid, Arc<Object>>> {
        let Self { at, until, objects, settled } = self;
        // What was read is from before that: a member that starts applies its log again.
        if until < at && !objects.is_empty() {
            return None;
        }
        let is_told =
            |(uid, object): (&Uid, &Arc<Object>)| object.revision <= at || settled.contains(uid);
        objects.iter().all(is_told).then_some(objects)
    }
}
