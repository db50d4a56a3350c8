//! Each predicate finds what it is for: a trace that is right but for one entry.

use super::*;
use crate::{id::ClusterId, status::PhaseName};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn uid(ordinal: u32) -> Uid {
    Uid::derive(ClusterId::new(1), Revision::new(1), ordinal)
}

fn attempt(count: u64) -> AttemptId {
    AttemptId::derive(&name("n1"), 1, count)
}

fn revision(number: u64) -> Revision {
    Revision::new(number)
}

fn started(count: u64, ordinal: u32, lane: Lane, disruptive: bool) -> What {
    What::Started { attempt: attempt(count), uid: uid(ordinal), lane, disruptive }
}

fn dispatched(change: impl FnOnce(&mut Dispatched)) -> What {
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

fn written(of: &str, number: u64, digest: u64) -> What {
    What::Written { revision: revision(number), of: name(of), digest }
}

fn holds(number: u64, digest: u64) -> What {
    What::Holds { revision: revision(number), digest: Some(digest) }
}

fn replica(digest: u64) -> What {
    What::Replica { uid: uid(1), writer: name("n1"), digest }
}

fn settled(phase: PhaseName, reason: Option<&str>) -> What {
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
fn trace(whats: impl IntoIterator<Item = What>) -> Trace {
    let mut trace = Trace::new();
    for (at, what) in (1..).zip(whats) {
        trace.record(Millis::new(at), name("n1"), what);
    }
    trace
}

/// The trace holds; with one more entry it breaks there, by this invariant.
fn check(invariant: &str, right: Vec<What>, wrong: What) {
    assert_eq!(trace(right.clone()).check(), Ok(()));
    let last = right.len() as u64 + 1;
    let broken = trace(right.into_iter().chain([wrong])).check().unwrap_err();
    assert_eq!((broken.invariant, broken.at), (invariant, Millis::new(last)), "{broken}");
}

#[test]
fn a_lost_write_and_a_read_that_goes_back_are_found() {
    let acknowledged = What::Acknowledged(revision(5));
    let right = vec![What::Read(revision(4)), acknowledged, What::Read(revision(5))];
    check("acknowledged_writes_stay", right[..2].to_vec(), What::Read(revision(4)));
    check("acknowledged_writes_stay", right, What::Read(revision(4)));
}

#[test]
fn an_unjustified_dispatch_is_found() {
    let right = vec![
        dispatched(|_| {}),
        dispatched(|d| {
            d.disruptive = true;
            d.intended = true;
        }),
    ];
    let unmet = dispatched(|d| d.unmet = Some("/power = ON".to_owned()));
    check("dispatches_are_justified", right.clone(), unmet);
    check("dispatches_are_justified", right, dispatched(|d| d.disruptive = true));
}

#[test]
fn attempts_that_overlap_or_start_twice_are_found() {
    use Lane::{Itself, Quorum};
    let right = vec![
        started(1, 1, Itself, false),
        started(2, 1, Quorum, true),
        started(3, 2, Quorum, true),
        What::Ended(attempt(1)),
        started(4, 1, Itself, false),
    ];
    let wrongs =
        [started(1, 3, Itself, false), started(5, 1, Itself, false), started(5, 1, Quorum, true)];
    for wrong in wrongs {
        check("attempts_run_one_at_a_time", right.clone(), wrong);
    }
}

#[test]
fn a_frozen_object_that_is_not_left_alone_is_found() {
    let right = vec![dispatched(|_| {}), What::Presumed { uid: uid(1), frozen: false }];
    let invariant = "frozen_objects_are_left_alone";
    check(invariant, right.clone(), dispatched(|d| d.frozen = true));
    check(invariant, right, What::Presumed { uid: uid(1), frozen: true });
}

#[test]
fn two_plans_for_one_question_are_found() {
    let planned = |question, plan| What::Planned { question, plan };
    let right = vec![planned(1, 1), planned(2, 1), planned(1, 1)];
    check("plans_are_the_same_everywhere", right, planned(1, 2));
}

#[test]
fn replicas_that_differ_are_found() {
    check("replicas_agree", vec![replica(1), replica(1)], replica(2));
}

#[test]
fn cfg_of_no_revision_and_cfg_that_goes_back_are_found() {
    let right = vec![
        What::Holds { revision: revision(1), digest: None },
        written("n1", 2, 22),
        written("n2", 3, 33),
        holds(3, 22),
        written("n1", 4, 44),
        holds(5, 44),
    ];
    check("leaves_hold_their_cfg", right.clone(), holds(3, 22));
    check("leaves_hold_their_cfg", right.clone(), holds(6, 22));
    let nothing = What::Holds { revision: revision(6), digest: None };
    check("leaves_hold_their_cfg", right, nothing);
}

#[test]
fn a_queue_past_its_bound_is_found() {
    let queued = |held| What::Queued { queue: "events", held, most: 5 };
    check("queues_hold_their_bounds", vec![queued(5)], queued(6));
}

#[test]
fn an_object_that_does_not_settle_or_does_not_say_why_is_found() {
    let right = vec![
        settled(PhaseName::Converged, None),
        settled(PhaseName::Quarantined, Some("it failed")),
    ];
    let nobody = What::Settled { uid: uid(1), status: None, reached: true };
    let mut untrue = settled(PhaseName::Converged, None);
    if let What::Settled { reached, .. } = &mut untrue {
        *reached = false;
    }
    for wrong in
        [nobody, untrue, settled(PhaseName::InFlight, None), settled(PhaseName::Stuck, None)]
    {
        check("objects_settle", right.clone(), wrong);
    }
}

#[test]
fn a_peer_that_is_heard_about_others_is_found() {
    let merged = |own| What::Merged { peer: name("n1"), uid: uid(1), own };
    check("peers_speak_for_their_own", vec![merged(true)], merged(false));
}
