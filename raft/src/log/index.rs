//! What the log holds in memory: where each entry stands, and the newest entries themselves.
//!
//! Readers and the writer share it under one lock that is held for no longer than it takes to copy
//! a few pointers. An entry is readable as soon as it is here; where it stands in a file is known
//! once the writer has put it there, and only then may it be dropped from memory.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    ops::Range,
    sync::Arc,
};

use openraft::entry::RaftEntry;

use crate::types::{Entry, LogId, Payload, Vote, log_id};

/// Bytes of entries that are kept in memory for replication and apply.
pub(crate) const CACHE_BYTES_MAX: u64 = 32 << 20;

/// What an entry costs in memory beside its proposal.
const ENTRY_OVERHEAD_BYTES: u64 = 512;
/// How much larger a proposal is in memory, decoded beside its bytes, than its bytes.
const DECODED_FACTOR: u64 = 3;

/// Where an entry's record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The segment's number; 0 as long as the entry is in memory only.
    pub(crate) segment: u64,
    /// Offset of the record in the file.
    pub(crate) offset: u32,
    /// Bytes of the record.
    pub(crate) length: u32,
}

impl Place {
    const NOWHERE: Self = Self { segment: 0, offset: 0, length: 0 };
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    term: u64,
    place: Place,
}

/// An append that would leave a hole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {found} does not follow entry {last}")]
pub(crate) struct Hole {
    /// The index that came.
    pub(crate) found: u64,
    /// The last index before it, as text.
    pub(crate) last: String,
}

/// The log in memory.
#[derive(Default)]
pub(crate) struct Index {
    /// The last vote.
    pub(crate) vote: Option<Vote>,
    /// The last known commit position.
    pub(crate) committed: Option<LogId>,
    /// The last entry that is gone.
    pub(crate) purged: Option<LogId>,
    /// The files in which places are.
    pub(crate) files: BTreeMap<u64, Arc<File>>,
    /// The index of the first slot.
    base: u64,
    slots: VecDeque<Slot>,
    /// The newest entries, a suffix of the slots.
    cache: VecDeque<Entry>,
    cache_bytes: u64,
}

/// A part of the log as it was read: what was in memory, and where the rest stands.
pub(crate) struct Found {
    /// Places of the entries before those in memory, in order.
    pub(crate) cold: Vec<(Arc<File>, Place)>,
    /// Entries in memory, in order.
    pub(crate) warm: Vec<Entry>,
}

impl Index {
    /// The index of the first entry here.
    pub(crate) fn first(&self) -> u64 {
        self.base
    }

    /// The index that the next entry will have.
    pub(crate) fn next(&self) -> u64 {
        self.first() + self.slots.len() as u64
    }

    /// The last entry, or the last one that is gone.
    pub(crate) fn last(&self) -> Option<LogId> {
        match self.slots.back() {
            Some(slot) => Some(log_id(slot.term, self.next() - 1)),
            None => self.purged,
        }
    }

    /// Takes an entry at the end.
    pub(crate) fn push(&mut self, entry: Entry) -> Result<(), Hole> {
        self.push_slot(entry.log_id(), Place::NOWHERE)?;
        self.cache_bytes += cost(&entry);
        self.cache.push_back(entry);
        Ok(())
    }

    /// Takes an entry that stands in a file and is not in memory.
    pub(crate) fn push_cold(&mut self, id: LogId, place: Place) -> Result<(), Hole> {
        self.push_slot(id, place)
    }

    fn push_slot(&mut self, id: LogId, place: Place) -> Result<(), Hole> {
        if self.slots.is_empty() && self.purged.is_none() {
            // The very first entry may have any index.
            self.base = id.index;
        }
        if id.index != self.next() {
            let last = self.last().map_or_else(|| "none".to_owned(), |last| last.index.to_string());
            return Err(Hole { found: id.index, last });
        }
        self.slots.push_back(Slot { term: *id.leader_id, place });
        Ok(())
    }

    /// Learns where the writer put an entry, and drops from memory what is too much.
    pub(crate) fn placed(&mut self, id: LogId, place: Place) {
        let first = self.first();
        let slot = id.index.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = slot.and_then(|at| self.slots.get_mut(at))
            && slot.term == *id.leader_id
        {
            slot.place = place;
        }
        self.evict();
    }

    fn evict(&mut self) {
        while self.cache_bytes > CACHE_BYTES_MAX {
            let at = self.slots.len() - self.cache.len();
            let written = self.slots.get(at).is_some_and(|slot| slot.place.segment != 0);
            if !written {
                return;
            }
            self.drop_oldest_cached();
        }
    }

    fn drop_oldest_cached(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes = self.cache_bytes.saturating_sub(cost(&entry));
        }
    }

    /// Drops the entries after `keep`; all of them for `None`.
    pub(crate) fn truncate(&mut self, keep: Option<u64>) {
        let next = keep.map_or(0, |keep| keep + 1).max(self.first());
        while self.next() > next {
            self.slots.pop_back();
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes = self.cache_bytes.saturating_sub(cost(&entry));
            }
        }
    }

    /// Drops the entries up to and with `upto`. It may lie beyond the last one: a snapshot was
    /// installed, and the log goes on behind it.
    pub(crate) fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged.index > upto.index) {
            return;
        }
        let gone = (upto.index + 1).saturating_sub(self.first());
        for _ in 0..gone.min(self.slots.len() as u64) {
            if self.cache.len() == self.slots.len() {
                self.drop_oldest_cached();
            }
            self.slots.pop_front();
        }
        self.purged = Some(upto);
        self.base = self.base.max(upto.index + 1);
    }

    /// The last entry to purge so that no more than this stays up to and with `upto`.
    pub(crate) fn purge_target(&self, upto: u64, entries: u64, bytes: u64) -> Option<u64> {
        let first = self.first();
        let count = usize::try_from((upto + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let mut left = bytes;
        let mut stay = 0;
        for slot in self.slots.iter().take(count).rev() {
            let length = u64::from(slot.place.length);
            if stay == entries || length > left {
                break;
            }
            left -= length;
            stay += 1;
        }
        let keep_from = (upto + 1).saturating_sub(stay);
        (keep_from > first).then(|| keep_from - 1)
    }

    /// Begins an empty log at `next`, until the purge that accounts for it is read.
    pub(crate) fn skip_to(&mut self, next: u64) {
        if self.slots.is_empty() {
            self.base = next;
        }
    }

    /// The id of the entry at `index`.
    pub(crate) fn id(&self, index: u64) -> Option<LogId> {
        let at = usize::try_from(index.checked_sub(self.first())?).ok()?;
        self.slots.get(at).map(|slot| log_id(slot.term, index))
    }

    /// The last entry of each term in a range of indexes.
    pub(crate) fn key_ids(&self, from: u64, to: u64) -> Vec<LogId> {
        let mut keys: Vec<LogId> = Vec::new();
        for id in (from..=to).map_while(|index| self.id(index)) {
            match keys.last_mut() {
                Some(key) if key.leader_id == id.leader_id => *key = id,
                _ => keys.push(id),
            }
        }
        keys
    }

    /// Reads what is here of a range, at most `bytes_max` of it and at least one entry.
    pub(crate) fn read(&self, range: Range<u64>, bytes_max: u64) -> Found {
        let (first, next) = (self.first(), self.next());
        let (from, to) = (range.start.max(first), range.end.min(next));
        let mut found = Found { cold: Vec::new(), warm: Vec::new() };
        let cached_from = next - self.cache.len() as u64;
        let mut bytes = 0;
        for index in from..to {
            let cost = if index >= cached_from {
                let at = usize::try_from(index - cached_from).unwrap_or(usize::MAX);
                let Some(entry) = self.cache.get(at) else { break };
                found.warm.push(entry.clone());
                cost(entry)
            } else {
                let at = usize::try_from(index - first).unwrap_or(usize::MAX);
                let Some(place) = self.slots.get(at).map(|slot| slot.place) else { break };
                let Some(file) = self.files.get(&place.segment) else { break };
                found.cold.push((Arc::clone(file), place));
                u64::from(place.length)
            };
            bytes += cost;
            if bytes >= bytes_max {
                break;
            }
        }
        found
    }
}

fn cost(entry: &Entry) -> u64 {
    let body = match &entry.payload {
        Payload::Normal(data) => data.bytes().len() as u64,
        Payload::Blank | Payload::Membership(_) => 0,
    };
    body * DECODED_FACTOR + ENTRY_OVERHEAD_BYTES
}
