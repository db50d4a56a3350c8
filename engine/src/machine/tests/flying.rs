//! Rows of an attempt in flight that does what it should, or almost.

use super::kit::{Bench, TIMEOUT_MS, cancels, dispatched, told};
use crate::{
    event::EventKind,
    machine::{ACKNOWLEDGE_MS, Attempted, CLOSE_MS, Effect},
    status::PhaseName,
};

#[test]
fn a_step_is_done_when_it_is_seen_and_its_attempt_has_ended() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Acknowledged);
    bench.see("/lamps/a/state", "ON");
    bench.look_at(100_500);
    assert_eq!(bench.phase(), PhaseName::InFlight, "it has not ended");
    let done = bench.said(Attempted::Succeeded);
    assert_eq!(told(&done, EventKind::StepDone), ["lamp/SwitchOn(a) done in 500 ms"]);
    assert_eq!((cancels(&done), bench.phase()), (0, PhaseName::Converged));
}

#[test]
fn the_order_of_sight_and_end_does_not_matter() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Succeeded);
    assert_eq!(bench.phase(), PhaseName::InFlight, "the module says so, reality does not yet");
    bench.see("/lamps/a/state", "ON");
    assert_eq!(told(&bench.look_at(101_000), EventKind::StepDone).len(), 1);
}

#[test]
fn an_error_after_the_aim_was_seen_is_a_step_done() {
    let mut bench = Bench::switching();
    bench.see("/lamps/a/state", "ON");
    let done = bench.failed("I lost sight of it");
    assert_eq!((cancels(&done), bench.phase()), (0, PhaseName::Converged));
    assert_eq!(bench.presumes("/lamps/a/state"), None);
}

#[test]
fn a_step_that_is_seen_and_does_not_end_is_cancelled_a_while_later() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Acknowledged);
    bench.see("/lamps/a/state", "ON");
    bench.look_at(101_000);
    assert_eq!(cancels(&bench.look_at(101_000 + CLOSE_MS - 1)), 0);
    assert_eq!(bench.wake_at(), 101_000 + CLOSE_MS);
    assert_eq!(cancels(&bench.pass()), 1);
    assert_eq!(bench.phase(), PhaseName::InFlight, "it holds the lane until it ends");
    assert_eq!(told(&bench.said(Attempted::Abandoned), EventKind::StepDone).len(), 1);
    assert_eq!(bench.phase(), PhaseName::Converged);
}

#[test]
fn an_attempt_whose_end_nobody_hears_is_over_a_while_after_its_deadline() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Acknowledged);
    bench.see("/lamps/a/state", "ON");
    bench.look();
    bench.pass();
    assert_eq!(cancels(&bench.pass()), 1, "cancelled again at its deadline");
    assert_eq!(bench.now, 100_000 + TIMEOUT_MS);
    assert_eq!(told(&bench.pass(), EventKind::StepDone).len(), 1);
    assert_eq!(bench.now, 100_000 + TIMEOUT_MS + CLOSE_MS);
}

#[test]
fn what_is_not_acknowledged_is_dispatched_again_under_the_same_id() {
    let mut bench = Bench::switching();
    let first = bench.attempt.clone();
    assert!(dispatched(&bench.look_at(100_000 + ACKNOWLEDGE_MS - 1)).is_empty());
    let again = bench.pass();
    assert_eq!(bench.now, 100_000 + ACKNOWLEDGE_MS);
    assert_eq!((dispatched(&again).len(), &bench.attempt), (1, &first));
    let left = again.iter().find_map(|effect| match effect {
        Effect::Dispatch(dispatch) => Some(dispatch.timeout.as_millis()),
        _ => None,
    });
    assert_eq!(left, Some(u128::from(TIMEOUT_MS - ACKNOWLEDGE_MS)), "not its whole time anew");
    bench.said(Attempted::Acknowledged);
    assert_eq!(bench.wake_at(), 100_000 + TIMEOUT_MS);
}

#[test]
fn what_is_no_longer_right_is_not_dispatched_again() {
    let mut bench = Bench::spinning();
    bench.see("/fan", "FAULTY");
    assert!(dispatched(&bench.pass()).is_empty());
    assert_eq!(bench.phase(), PhaseName::InFlight);
    bench.see("/fan", "STOP");
    assert_eq!(dispatched(&bench.pass()), ["fan/Spin"]);
}

#[test]
fn a_late_answer_that_the_queue_was_full_does_not_undo_an_acknowledgement() {
    let mut bench = Bench::switching();
    bench.pass();
    bench.said(Attempted::Acknowledged);
    bench.said(Attempted::Busy);
    assert_eq!(bench.phase(), PhaseName::InFlight);
}

#[test]
fn an_acknowledgement_that_comes_after_the_end_does_not_undo_it() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Succeeded);
    bench.said(Attempted::Acknowledged);
    bench.said(Attempted::NoService("gone".into()));
    bench.see("/lamps/a/state", "ON");
    bench.look();
    assert_eq!(bench.phase(), PhaseName::Converged);
}

#[test]
fn what_was_sent_twice_and_declined_once_is_called_back() {
    let mut bench = Bench::switching();
    assert_eq!(cancels(&bench.said(Attempted::Busy)), 0);
    bench.pass();
    bench.pass();
    assert_eq!(cancels(&bench.said(Attempted::Busy)), 1);
}

#[test]
fn an_answer_about_another_attempt_is_not_listened_to() {
    let mut bench = Bench::switching();
    let first = bench.attempt.clone().unwrap();
    bench.said(Attempted::Busy);
    bench.pass();
    assert_ne!(bench.attempt.as_ref(), Some(&first));
    let late = Attempted::Failed { error: "late".into(), permanent: true };
    assert!(bench.said_of(&first, late).is_empty());
    assert_eq!(bench.phase(), PhaseName::InFlight);
}

#[test]
fn a_cancellable_attempt_that_is_no_longer_wanted_is_cancelled_and_not_counted() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Acknowledged);
    bench.cfg("/lamps/a/state", "OFF");
    assert_eq!(cancels(&bench.look()), 1);
    assert_eq!(cancels(&bench.look_at(100_001)), 0, "once");
    assert_eq!(bench.phase(), PhaseName::InFlight);
    bench.failed("cancelled");
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::Converged, 0));
    assert_eq!(bench.presumes("/lamps/a/state"), None);
}

#[test]
fn an_attempt_that_cannot_be_cancelled_is_let_end() {
    let mut bench = Bench::switching();
    bench.see("/lamps/a/state", "ON");
    bench.said(Attempted::Succeeded);
    bench.cfg("/lamps/a/state", "OFF");
    assert_eq!(dispatched(&bench.look()), ["lamp/SwitchOff(a)"]);
    bench.cfg("/lamps/a/state", "ON");
    assert_eq!(cancels(&bench.look()), 0);
    bench.see("/lamps/a/state", "OFF");
    assert_eq!(dispatched(&bench.said(Attempted::Succeeded)), ["lamp/SwitchOn(a)"]);
}

#[test]
fn a_change_of_cfg_elsewhere_does_not_cancel_what_is_still_wanted() {
    let mut bench = Bench::switching();
    bench.see("/lamps/a/state", "GLOW");
    bench.see("/lamps/B/state", "OFF");
    bench.cfg("/lamps/B/state", "ON");
    let effects = bench.look();
    assert_eq!(cancels(&effects), 0, "B comes first in the plan now, and `a` is on its way");
    assert!(dispatched(&effects).is_empty());
}

#[test]
fn an_attempt_that_ended_well_and_is_no_longer_wanted_is_not_waited_for() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Succeeded);
    bench.unset("/lamps/a/state");
    bench.look();
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::Converged, 0));
}

#[test]
fn a_value_on_the_way_is_no_surprise() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Acknowledged);
    bench.see("/lamps/a/state", "GLOW");
    assert_eq!(cancels(&bench.look()), 0);
    bench.see("/lamps/a/state", "");
    assert_eq!(cancels(&bench.look()), 0, "nor is the unknown");
}

#[test]
fn a_step_that_leads_elsewhere_is_called_back_and_not_counted_once() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Acknowledged);
    bench.see("/lamps/a/state", "BROKEN");
    assert_eq!(cancels(&bench.look()), 1);
    assert_eq!(dispatched(&bench.failed("it broke")), ["lamp/Mend(a)"]);
    assert_eq!(bench.attempts(), 0);
    bench.see("/lamps/a/state", "OFF");
    assert_eq!(dispatched(&bench.said(Attempted::Succeeded)), ["lamp/SwitchOn(a)"]);
    bench.see("/lamps/a/state", "BROKEN");
    bench.look();
    bench.failed("it broke");
    bench.see("/lamps/a/state", "OFF");
    bench.said(Attempted::Succeeded);
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::BackingOff, 1), "twice is");
}

#[test]
fn an_attempt_that_ended_without_a_word_is_tried_again_at_once_but_once() {
    let mut bench = Bench::switching();
    assert_eq!(dispatched(&bench.said(Attempted::Abandoned)), ["lamp/SwitchOn(a)"]);
    assert!(dispatched(&bench.said(Attempted::Abandoned)).is_empty());
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::BackingOff, 1));
}

#[test]
fn a_module_that_says_ok_and_does_nothing_has_failed_at_the_deadline() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Succeeded);
    let failed = bench.pass();
    assert_eq!(bench.now, 100_000 + TIMEOUT_MS);
    let told = told(&failed, EventKind::AttemptFailed);
    assert_eq!(
        told,
        ["lamp/SwitchOn(a) failed (1 of 3): the module answered ok, but /lamps/a/state did not \
          follow within 10.0 s"]
    );
}
