//! Events: what happened, for people. They flow up like Dsc, are merged by id, and are at most as
//! durable as it; no decision reads them.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    id::{AttemptId, Name, Revision, Uid},
    object::ObjectRef,
    time::Millis,
};

/// Events that a node keeps; the oldest go first.
pub const EVENTS_MAX: usize = 100_000;
/// Longest text of an event in bytes; longer ones are cut.
pub const EVENT_TEXT_BYTES_MAX: usize = 4_096;

/// Names one event for all time: the node that wrote it, when that node started, and a count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventId {
    /// The node that wrote it.
    pub node: Name,
    /// When that node started, in milliseconds since the Unix epoch.
    pub boot: u64,
    /// Counts its events since.
    pub sequence: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}-{}", self.node, self.boot, self.sequence)
    }
}

/// What sort of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// An attempt was dispatched.
    AttemptStarted,
    /// An attempt said how far it is.
    AttemptProgressed,
    /// A step is done.
    StepDone,
    /// An attempt failed.
    AttemptFailed,
    /// The object reached what was asked.
    Converged,
    /// The object is in quarantine or stuck: somebody must act.
    NeedsHelp,
    /// The object was frozen or thawed.
    Frozen,
    /// A module has something to say.
    Module,
    /// A node attached or was lost.
    Link,
    /// Something was refused that should not have been asked.
    Refused,
    /// Cfg was written.
    CfgSet,
    /// A rollout began, went on, paused, or was stopped.
    Rollout,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::AttemptStarted,
        Self::AttemptProgressed,
        Self::StepDone,
        Self::AttemptFailed,
        Self::Converged,
        Self::NeedsHelp,
        Self::Frozen,
        Self::Module,
        Self::Link,
        Self::Refused,
        Self::CfgSet,
        Self::Rollout,
    ];

    /// The kind of which `text` is the name in JSON.
    ///
    /// # Errors
    ///
    /// There is no such kind; says which there are.
    pub fn named(text: &str) -> Result<Self, NoSuchKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| NoSuchKind(text.to_owned()))
    }

    /// The kind as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptStarted => "attemptStarted",
            Self::AttemptProgressed => "attemptProgressed",
            Self::StepDone => "stepDone",
            Self::AttemptFailed => "attemptFailed",
            Self::Converged => "converged",
            Self::NeedsHelp => "needsHelp",
            Self::Frozen => "frozen",
            Self::Module => "module",
            Self::Link => "link",
            Self::Refused => "refused",
            Self::CfgSet => "cfgSet",
            Self::Rollout => "rollout",
        }
    }
}

/// A text that names no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no event is a {0:?}; they are {all}", all = all_names())]
pub struct NoSuchKind(String);

fn all_names() -> String {
    EventKind::ALL.map(EventKind::as_str).join(", ")
}

/// What an event says, before its writer gives it id and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What sort of thing.
    pub kind: EventKind,
    /// The object it happened to.
    pub uid: Option<Uid>,
    /// The Cfg revision it speaks for.
    pub revision: Option<Revision>,
    /// The attempt it belongs to.
    pub attempt: Option<AttemptId>,
    /// In words.
    pub text: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its identity.
    pub id: EventId,
    /// When, by the writer's clock, in milliseconds since the Unix epoch.
    pub time: Millis,
    /// What sort of thing.
    pub kind: EventKind,
    /// The object it happened to, by uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// The object it happened to, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// The Cfg revision it speaks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The attempt it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
    /// In words.
    pub text: String,
}

/// The steps of an object that were done for its Cfg at `revision`, oldest first, as they are
/// called. The text of such an event begins with the step.
pub fn steps_done<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    uid: Uid,
    revision: Revision,
) -> Vec<String> {
    let done = events.into_iter().filter(|event| {
        let of = event.uid == Some(uid) && event.revision == Some(revision);
        of && event.kind == EventKind::StepDone
    });
    let step = |event: &Event| Some(event.text.split_once(" done in ")?.0.to_owned());
    done.filter_map(step).collect()
}

/// The events that a node holds, in the order in which they arrived here.
#[derive(Debug, Clone, Default)]
pub struct EventLog {
    seen: BTreeSet<EventId>,
    ring: VecDeque<(u64, Arc<Event>)>,
    arrivals: u64,
}

impl EventLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an event unless it is held already; tells whether it was new.
    pub fn push(&mut self, mut event: Event) -> bool {
        if !self.seen.insert(event.id.clone()) {
            return false;
        }
        if let Some((cut, _)) =
            event.text.char_indices().find(|(at, c)| at + c.len_utf8() > EVENT_TEXT_BYTES_MAX)
        {
            event.text.truncate(cut);
        }
        if self.ring.len() == EVENTS_MAX
            && let Some((_, oldest)) = self.ring.pop_front()
        {
            self.seen.remove(&oldest.id);
        }
        self.arrivals += 1;
        self.ring.push_back((self.arrivals, Arc::new(event)));
        true
    }

    /// The number of the last arrival; 0 before the first.
    pub fn last(&self) -> u64 {
        self.arrivals
    }

    /// The events that arrived after number `after`, oldest first, with their numbers.
    pub fn since(&self, after: u64) -> impl DoubleEndedIterator<Item = &(u64, Arc<Event>)> {
        let start = self.ring.partition_point(|(number, _)| *number <= after);
        self.ring.range(start..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64, text: &str) -> Event {
        Event {
            id: EventId { node: Name::new("n1").unwrap(), boot: 1, sequence },
            time: Millis::new(sequence),
            kind: EventKind::Module,
            uid: None,
            object: None,
            revision: None,
            attempt: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn an_event_that_comes_twice_is_held_once() {
        let mut log = EventLog::new();
        assert!(log.push(event(1, "a")));
        assert!(!log.push(event(1, "a")));
        assert!(log.push(event(2, "b")));
        let texts: Vec<&str> = log.since(0).map(|(_, event)| event.text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(log.since(1).count(), 1);
        assert_eq!(log.since(log.last()).count(), 0);
    }

    #[test]
    fn steps_are_told_by_the_events_of_an_object_and_a_revision() {
        let uid = Uid::from_bytes([1; 16]);
        let of = |sequence, revision, text: &str| Event {
            kind: EventKind::StepDone,
            uid: Some(uid),
            revision: Some(Revision::new(revision)),
            ..event(sequence, text)
        };
        let events = [
            of(1, 4, "m/Old done in 2 s"),
            of(2, 5, "m/On(a) done in 500 ms"),
            Event { kind: EventKind::AttemptStarted, ..of(3, 5, "m/Off(a) done in 1 s") },
            Event { uid: None, ..of(4, 5, "m/Off(a) done in 1 s") },
            of(5, 5, "m/Run(a) done in 1 s"),
        ];
        assert_eq!(steps_done(&events, uid, Revision::new(5)), ["m/On(a)", "m/Run(a)"]);
    }

    #[test]
    fn the_ring_holds_its_limit_and_texts_theirs() {
        let mut log = EventLog::new();
        for sequence in 0..=EVENTS_MAX as u64 {
            log.push(event(sequence, ""));
        }
        assert_eq!(log.since(0).count(), EVENTS_MAX);
        log.push(event(u64::MAX, &"ä".repeat(EVENT_TEXT_BYTES_MAX)));
        assert!(log.since(log.last() - 1).all(|(_, e)| e.text.len() == EVENT_TEXT_BYTES_MAX));
    }

    #[test]
    fn kinds_read_in_json_as_they_are_called() {
        for kind in [EventKind::AttemptStarted, EventKind::NeedsHelp, EventKind::CfgSet] {
            let bytes = rmp_serde::to_vec(&kind).unwrap();
            assert_eq!(rmp_serde::from_slice::<String>(&bytes).unwrap(), kind.as_str());
        }
    }
}
