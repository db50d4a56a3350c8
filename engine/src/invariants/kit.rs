//! What the tests of the predicates share: entries in short, and a trace that is right but for one.

use super::*;
pub(super) use crate::status::PhaseName;
use crate::{
    id::{AttemptId, ClusterId, Name, Revision, Uid},
    mutation::Lane,
    status::Status,
    time::Millis,
};

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn uid(ordinal: u32) -> Uid {
    Uid::derive(ClusterId::new(1), Revision::new(1), ordinal)
}

pub(super) fn attempt(count: u64) -> AttemptId {
    AttemptId::derive(&name("n1"), 1, count)
}

pub(super) fn revision(number: u64) -> Revision {
    Revision::new(number)
}

pub(super) fn started(count: u64, ordinal: u32, lane: Lane, disruptive: bool) -> What {
    let (attempt, uid, until) = (attempt(count), uid(ordinal), Millis::new(1_000));
    What::Started { attempt, uid, lane, reign: 1, disruptive, until }
}

/// The same start, decided in another reign.
pub(super) fn in_reign(number: u64, started: What) -> What {
    match started {
        What::Started { attempt, uid, lane, disruptive, until, .. } => {
            What::Started { attempt, uid, lane, reign: number, disruptive, until }
        }
        other => other,
    }
}

pub(super) fn dispatched(change: impl FnOnce(&mut Dispatched)) -> What {
    let mut dispatched = Dispatched {
        attempt: attempt(1),
        uid: uid(1),
        unmet: None,
        frozen: false,
        disruptive: false,
        intended: false,
    };
    change(&mut dispatched);
    What::Dispatched(dispatched)
}

pub(super) fn written(of: &str, number: u64, digest: u64) -> What {
    What::Written { revision: revision(number), of: name(of), digest: Some(digest) }
}

pub(super) fn holds(number: u64, digest: u64) -> What {
    What::Holds { revision: revision(number), digest: Some(digest) }
}

pub(super) fn replica(digest: u64) -> What {
    What::Replica { uid: uid(1), writer: name("n1"), digest }
}

pub(super) fn settled(phase: PhaseName, reason: Option<&str>) -> What {
    let status = Status {
        phase,
        revision: revision(1),
        step: None,
        reason: reason.map(str::to_owned),
        waits_for: None,
        since: Millis::ZERO,
        attempts: 0,
        last_error: None,
        next_retry: None,
    };
    What::Settled { uid: uid(1), status: Some(status), reached: phase == PhaseName::Converged }
}

/// What happens at `n1`, in order.
pub(super) fn trace(whats: impl IntoIterator<Item = What>) -> Trace {
    let mut trace = Trace::new();
    for (at, what) in (1..).zip(whats) {
        trace.record(Millis::new(at), name("n1"), what);
    }
    trace
}

/// The trace holds; with one more entry it breaks there, by this invariant.
pub(super) fn check(invariant: &str, right: Vec<What>, wrong: What) {
    assert_eq!(trace(right.clone()).check(), Ok(()));
    let last = right.len() as u64 + 1;
    let broken = trace(right.into_iter().chain([wrong])).check().unwrap_err();
    assert_eq!((broken.invariant, broken.at), (invariant, Millis::new(last)), "{broken}");
}
