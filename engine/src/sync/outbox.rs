//! What a child has to send: observations that replace each other until they are sent, events that
//! do not, and the digest by which its parent finds out that something is amiss.

use std::collections::{BTreeMap, VecDeque};

use super::{
    BATCH_MS, DELTA_BYTES_MAX, DELTA_PATHS_MAX, EVENTS_FRAME_MAX, EVENTS_PENDING_MAX,
    SIGHTING_BYTES_MAX, STALLED_AFTER_MS, WINDOW_FRAMES,
    digest::Digest,
    frame::{DscDelta, Heartbeat},
};
use crate::{
    dsc::{Observed, Sighting},
    event::Event,
    id::Uid,
    path::Path,
    time::Millis,
    value::Value,
};

/// What an observation takes on the wire beside path, value and writer, in bytes.
const SIGHTING_OVERHEAD_BYTES: usize = 64;

/// What waits to be sent, and what was.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: BTreeMap<(Uid, Path), Observed>,
    events: VecDeque<Event>,
    /// What could not be kept or sent, ever and since the last delta.
    dropped: u64,
    untold: u64,
    sent: u64,
    acknowledged: u64,
    unacknowledged: VecDeque<(u64, Vec<Event>)>,
    digest: Digest,
    afresh: bool,
    sent_at: Millis,
    /// Since when something is on its way and nothing was acknowledged.
    unanswered_since: Millis,
}

impl Outbox {
    /// A session begins: nothing counts as sent, events that were not acknowledged go again.
    pub(super) fn begin(&mut self) {
        for (_, events) in std::mem::take(&mut self.unacknowledged).into_iter().rev() {
            for event in events.into_iter().rev() {
                self.events.push_front(event);
            }
        }
        self.cut_events();
        self.sent = 0;
        self.acknowledged = 0;
        self.count_afresh();
        self.afresh = false;
    }

    /// The parent asks for everything: digests count from the next delta on. What is on its way
    /// stays so, and its acknowledgements still come.
    pub(super) fn count_afresh(&mut self) {
        self.digest.clear();
        self.afresh = true;
        self.sent_at = Millis::ZERO;
    }

    pub(super) fn offer(&mut self, uid: Uid, sightings: Vec<Sighting>) {
        for (path, observed) in sightings {
            if sighting_bytes(&path, &observed) > SIGHTING_BYTES_MAX {
                self.drop_one();
            } else {
                self.pending.insert((uid, path), observed);
            }
        }
    }

    pub(super) fn record(&mut self, events: Vec<Event>) {
        self.events.extend(events);
        self.cut_events();
    }

    fn cut_events(&mut self) {
        while self.events.len() > EVENTS_PENDING_MAX {
            self.events.pop_front();
            self.drop_one();
        }
    }

    fn drop_one(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
        self.untold = self.untold.saturating_add(1);
    }

    pub(super) fn withdraw(&mut self, uid: Uid) {
        self.pending.retain(|(of, _), _| *of != uid);
    }

    pub(super) fn backlog(&self) -> (usize, usize) {
        (self.pending.len(), self.events.len())
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn acknowledge(&mut self, seq: u64, now: Millis) {
        let seq = seq.min(self.sent);
        self.acknowledged = self.acknowledged.max(seq);
        self.unanswered_since = now;
        while self.unacknowledged.front().is_some_and(|(sent, _)| *sent <= seq) {
            self.unacknowledged.pop_front();
        }
    }

    /// Whether nothing is acknowledged any more, although something is on its way.
    pub(super) fn is_stalled(&self, now: Millis) -> bool {
        self.sent > self.acknowledged && now >= self.unanswered_since.after_ms(STALLED_AFTER_MS)
    }

    /// The next delta, if something waits, the window has room and the batch is due: at once after
    /// a pause, else [`BATCH_MS`] after the last one.
    pub(super) fn next(&mut self, now: Millis) -> Option<DscDelta> {
        let idle =
            self.pending.is_empty() && self.events.is_empty() && self.untold == 0 && !self.afresh;
        let full = self.sent - self.acknowledged >= WINDOW_FRAMES;
        if idle || full || now < self.sent_at.after_ms(BATCH_MS) {
            return None;
        }
        let changes = self.next_changes();
        let count = self.events.len().min(EVENTS_FRAME_MAX);
        let events: Vec<Event> = self.events.drain(..count).collect();
        if self.sent == self.acknowledged {
            self.unanswered_since = now;
        }
        self.sent += 1;
        if self.pending.is_empty() && self.events.is_empty() {
            self.sent_at = now;
        }
        self.unacknowledged.push_back((self.sent, events.clone()));
        let afresh = std::mem::take(&mut self.afresh);
        let dropped = std::mem::take(&mut self.untold);
        Some(DscDelta { seq: self.sent, afresh, dropped, changes, events })
    }

    fn next_changes(&mut self) -> Vec<(Uid, Vec<Sighting>)> {
        let mut changes: Vec<(Uid, Vec<Sighting>)> = Vec::new();
        let mut bytes = 0;
        for _ in 0..self.pending.len().min(DELTA_PATHS_MAX) {
            if bytes >= DELTA_BYTES_MAX {
                break;
            }
            let Some(((uid, path), observed)) = self.pending.pop_first() else { break };
            bytes += sighting_bytes(&path, &observed);
            match changes.last_mut() {
                Some((last, sightings)) if *last == uid => sightings.push((path, observed)),
                _ => changes.push((uid, vec![(path, observed)])),
            }
        }
        for (uid, sightings) in &changes {
            self.digest.count(*uid, sightings);
        }
        changes
    }

    pub(super) fn heartbeat(&self, now: Millis) -> Heartbeat {
        let digest = self.digest.whole();
        Heartbeat { sent_ms: now.get(), seq: self.sent, digest, assurance: None }
    }
}

/// What an observation takes on the wire, in bytes; an upper bound.
fn sighting_bytes(path: &Path, observed: &Observed) -> usize {
    let value = observed.value.as_ref().map_or(1, value_bytes);
    let writer = observed.stamp.writer.as_str().len();
    SIGHTING_OVERHEAD_BYTES + path.as_str().len() + writer + value
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => 9,
        Value::Str(text) => 5 + text.len(),
        Value::List(items) => 5 + items.iter().map(value_bytes).sum::<usize>(),
    }
}
