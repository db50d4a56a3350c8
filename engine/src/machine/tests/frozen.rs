//! Rows of a frozen object: nothing is dispatched, and no timer writes an effect.

use super::kit::{Bench, TIMEOUT_MS, cancels, dispatched, told};
use crate::{
    event::EventKind,
    machine::{Attempted, CLOSE_MS},
    mutation::Lane,
    status::PhaseName,
};

#[test]
fn a_frozen_object_is_left_alone_until_it_is_thawed() {
    let mut bench = Bench::new(Lane::Itself);
    bench.see("/lamps/a/state", "OFF");
    bench.cfg("/lamps/a/state", "ON");
    bench.freeze(true);
    assert_eq!(told(&bench.look(), EventKind::Frozen), ["frozen by ann (all)"]);
    assert_eq!((bench.phase(), bench.wake_at()), (PhaseName::Frozen, u64::MAX));
    assert!(dispatched(&bench.look_at(900_000)).is_empty());
    bench.freeze(false);
    let effects = bench.look();
    assert_eq!(told(&effects, EventKind::Frozen), ["thawed"]);
    assert_eq!(dispatched(&effects), ["lamp/SwitchOn(a)"]);
}

#[test]
fn a_thaw_plans_anew_and_resumes_counters() {
    let mut bench = Bench::spinning();
    bench.failed("no");
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::BackingOff, 1));
    bench.freeze(true);
    bench.look();
    bench.see("/fan", "FAULTY");
    bench.freeze(false);
    assert_eq!(dispatched(&bench.look_at(100_001)), ["fan/Clear"], "from what is seen");
    bench.see("/fan", "STOP");
    bench.said(Attempted::Succeeded);
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::BackingOff, 1));
}

#[test]
fn an_attempt_in_flight_is_left_to_end() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Acknowledged);
    bench.freeze(true);
    assert_eq!(cancels(&bench.look()), 0);
    bench.cfg("/lamps/a/state", "OFF");
    assert_eq!(cancels(&bench.look()), 0, "not even where it is no longer wanted");
    bench.see("/lamps/a/state", "ON");
    bench.look();
    assert_eq!(cancels(&bench.look_at(100_000 + CLOSE_MS)), 0, "nor where it is done");
    assert_eq!(told(&bench.said(Attempted::Succeeded), EventKind::StepDone).len(), 1);
    assert_eq!(bench.phase(), PhaseName::Frozen);
}

#[test]
fn an_attempt_that_was_not_acknowledged_is_not_sent_again() {
    let mut bench = Bench::switching();
    bench.freeze(true);
    bench.look();
    assert_eq!(bench.wake_at(), 100_000 + TIMEOUT_MS);
    assert!(dispatched(&bench.look_at(105_000)).is_empty());
}

#[test]
fn a_deadline_that_passes_is_not_counted_and_presumes_nothing() {
    let mut bench = Bench::switching();
    bench.freeze(true);
    bench.look();
    bench.pass();
    bench.pass();
    assert_eq!((bench.now, bench.phase()), (100_000 + TIMEOUT_MS + CLOSE_MS, PhaseName::Frozen));
    assert_eq!(bench.presumes("/lamps/a/state"), None);
    bench.freeze(false);
    bench.look();
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::InFlight, 0));
}

#[test]
fn an_error_is_not_counted_and_presumes_nothing() {
    let mut bench = Bench::switching();
    bench.freeze(true);
    bench.failed("no");
    assert_eq!((bench.phase(), bench.presumes("/lamps/a/state")), (PhaseName::Frozen, None));
    bench.freeze(false);
    assert_eq!(dispatched(&bench.look()), ["lamp/SwitchOn(a)"]);
    assert_eq!(bench.attempts(), 0);
}
