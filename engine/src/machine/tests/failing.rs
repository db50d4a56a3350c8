//! Rows of failure: counting, back-off, quarantine and its exits, presumptions.

use super::kit::{Bench, RETRY, TIMEOUT_MS, cancels, dispatched, told};
use crate::{
    event::EventKind,
    machine::{Attempted, CLOSE_MS, RELAPSE_MS},
    mutation::Lane,
    status::PhaseName,
};

/// A bench whose lamp is to be switched off, which presumes nothing on failure.
fn darkening() -> Bench {
    let mut bench = Bench::new(Lane::Itself);
    bench.see("/lamps/a/state", "ON");
    bench.cfg("/lamps/a/state", "OFF");
    assert_eq!(dispatched(&bench.look()), ["lamp/SwitchOff(a)"]);
    bench
}

fn quarantined() -> Bench {
    let mut bench = darkening();
    bench.fail_and_wait(2);
    bench.failed("no");
    assert_eq!(bench.phase(), PhaseName::Quarantined);
    bench
}

#[test]
fn an_error_is_counted_and_tried_again_after_a_wait_that_doubles() {
    let mut bench = darkening();
    for (failures, wait) in [(1, RETRY.backoff_initial_ms), (2, 2 * RETRY.backoff_initial_ms)] {
        let at = bench.now;
        bench.failed("no");
        assert_eq!((bench.phase(), bench.attempts()), (PhaseName::BackingOff, failures));
        let status = bench.status.clone().unwrap();
        assert_eq!(status.last_error.as_deref(), Some("no"));
        assert_eq!(status.next_retry.unwrap().get(), bench.wake_at());
        let waited = bench.wake_at() - at;
        assert!((wait / 2..=wait).contains(&waited), "{waited} of {wait}");
        bench.see("/lamps/b/state", "OFF");
        assert!(dispatched(&bench.look()).is_empty(), "a look does not shorten the wait");
        assert_eq!(dispatched(&bench.pass()), ["lamp/SwitchOff(a)"]);
    }
}

#[test]
fn a_deadline_that_passes_cancels_and_is_counted_once_the_attempt_is_over() {
    let mut bench = darkening();
    bench.said(Attempted::Acknowledged);
    assert_eq!(cancels(&bench.pass()), 1);
    assert_eq!(bench.phase(), PhaseName::InFlight, "it may still be ending");
    bench.said(Attempted::Abandoned);
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::BackingOff, 1));
    let mut unheard = darkening();
    unheard.said(Attempted::Acknowledged);
    unheard.pass();
    let failed = told(&unheard.pass(), EventKind::AttemptFailed);
    assert_eq!(failed, ["lamp/SwitchOff(a) failed (1 of 3): not done within 10.0 s"]);
    assert_eq!(unheard.now, 100_000 + TIMEOUT_MS + CLOSE_MS);
}

#[test]
fn a_step_that_is_done_just_after_its_deadline_is_done() {
    let mut bench = darkening();
    bench.said(Attempted::Acknowledged);
    bench.pass();
    bench.see("/lamps/a/state", "OFF");
    assert_eq!(told(&bench.said(Attempted::Succeeded), EventKind::StepDone).len(), 1);
    assert_eq!(bench.attempts(), 0);
}

#[test]
fn past_the_limit_the_object_is_quarantined_and_stays_so() {
    let mut bench = quarantined();
    assert_eq!(bench.reason(), "lamp/SwitchOff(a) failed 3 times: no");
    assert_eq!((bench.attempts(), bench.wake_at()), (3, u64::MAX));
    bench.see("/lamps/b/state", "ON");
    assert!(dispatched(&bench.look_at(900_000)).is_empty(), "time and other paths change nothing");
    assert_eq!(bench.phase(), PhaseName::Quarantined);
}

#[test]
fn quarantine_is_left_by_a_change_of_cfg() {
    let mut bench = quarantined();
    bench.cfg("/lamps/b/state", "OFF");
    bench.see("/lamps/b/state", "OFF");
    assert_eq!(dispatched(&bench.look()), ["lamp/SwitchOff(a)"]);
    assert_eq!(bench.attempts(), 0);
}

#[test]
fn quarantine_is_left_when_a_retry_is_asked() {
    let mut bench = quarantined();
    bench.retry_asked();
    assert_eq!(dispatched(&bench.look()), ["lamp/SwitchOff(a)"]);
}

#[test]
fn quarantine_is_left_by_news_of_what_the_step_changes() {
    let mut bench = quarantined();
    bench.see("/lamps/a/state", "LOOSE");
    bench.look();
    assert_eq!(bench.phase(), PhaseName::Stuck);
    bench.see("/lamps/a/state", "ON");
    bench.look();
    assert_eq!(bench.phase(), PhaseName::Quarantined, "back where it failed: no news");
    bench.see("/lamps/a/state", "OFF");
    bench.look();
    assert_eq!(bench.phase(), PhaseName::Converged);
}

#[test]
fn what_a_failing_attempt_shows_last_is_no_news() {
    let mut bench = Bench::spinning();
    for failures in 1..=3 {
        bench.see("/fan", "SPIN");
        bench.failed("no");
        bench.see("/fan", "STOP");
        bench.look();
        assert_eq!(bench.attempts(), failures);
        if failures < 3 {
            bench.pass();
        }
    }
    for (seen, phase) in [
        ("SPIN", PhaseName::Stuck),
        ("STOP", PhaseName::Quarantined),
        ("", PhaseName::Stuck),
        ("STOP", PhaseName::Quarantined),
    ] {
        bench.see("/fan", seen);
        bench.look();
        assert_eq!(bench.phase(), phase);
    }
}

#[test]
fn a_permanent_error_quarantines_at_once() {
    let mut bench = darkening();
    let told = told(
        &bench.said(Attempted::Failed { error: "no such lamp".into(), permanent: true }),
        EventKind::NeedsHelp,
    );
    assert_eq!(told, ["Quarantined: lamp/SwitchOff(a) cannot succeed as things are: no such lamp"]);
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::Quarantined, 1));
}

#[test]
fn a_success_zeroes_the_count_and_one_that_does_not_last_is_counted() {
    let mut bench = darkening();
    bench.fail_and_wait(2);
    for failures in 1..=2 {
        bench.see("/lamps/a/state", "OFF");
        bench.said(Attempted::Succeeded);
        assert_eq!(bench.phase(), PhaseName::Converged);
        bench.see("/lamps/a/state", "ON");
        bench.look_at(bench.now + 100);
        assert_eq!((bench.phase(), bench.attempts()), (PhaseName::BackingOff, failures));
        assert_eq!(bench.reason(), "what it had reached did not last");
        bench.pass();
    }
    bench.see("/lamps/a/state", "OFF");
    bench.said(Attempted::Succeeded);
    bench.see("/lamps/a/state", "ON");
    bench.look_at(bench.now + RELAPSE_MS);
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::InFlight, 0), "it lasted");
}

#[test]
fn what_relapses_again_and_again_is_quarantined() {
    let mut bench = darkening();
    for _ in 0..3 {
        bench.see("/lamps/a/state", "OFF");
        bench.said(Attempted::Succeeded);
        bench.see("/lamps/a/state", "ON");
        bench.look_at(bench.now + 100);
        if bench.phase() == PhaseName::BackingOff {
            bench.pass();
        }
    }
    assert_eq!(bench.phase(), PhaseName::Quarantined);
}

#[test]
fn a_failed_step_lays_its_presumption_and_what_leaves_that_is_next() {
    let mut bench = Bench::switching();
    assert_eq!(dispatched(&bench.failed("no")), ["lamp/Mend(a)"]);
    assert_eq!(bench.presumes("/lamps/a/state").as_deref(), Some("BROKEN"));
    bench.see("/lamps/a/state", "OFF");
    bench.look_at(100_100);
    assert_eq!(
        bench.presumes("/lamps/a/state").as_deref(),
        Some("BROKEN"),
        "the same value seen again does not lift it"
    );
    assert_eq!(cancels(&bench.look_at(105_000)), 0, "off as before tells nothing of the mending");
    assert_eq!(bench.phase(), PhaseName::InFlight);
    bench.said(Attempted::Succeeded);
    assert_eq!(bench.presumes("/lamps/a/state"), None, "lifted: what leaves it has succeeded");
    assert_eq!(bench.status.as_ref().unwrap().step.as_deref(), Some("lamp/SwitchOn(a)"));
}

#[test]
fn a_failed_step_that_nothing_seen_can_tell_of_is_not_done() {
    for end in [
        Attempted::Failed { error: "no".into(), permanent: false },
        Attempted::Failed { error: "no".into(), permanent: true },
    ] {
        let mut bench = Bench::switching();
        assert_eq!(dispatched(&bench.failed("no")), ["lamp/Mend(a)"]);
        bench.said(end);
        assert_eq!(bench.presumes("/lamps/a/state").as_deref(), Some("BROKEN"));
        assert_eq!(bench.attempts(), 1);
    }
}

#[test]
fn a_presumption_is_lifted_when_the_aim_arrives_after_all() {
    let mut bench = Bench::switching();
    bench.failed("no");
    bench.see("/lamps/a/state", "ON");
    bench.look();
    assert_eq!(bench.presumes("/lamps/a/state"), None);
    bench.failed("there is nothing to mend");
    assert_eq!(bench.phase(), PhaseName::Converged);
}

#[test]
fn a_presumption_is_lifted_when_something_else_is_seen() {
    let mut bench = Bench::switching();
    bench.failed("no");
    bench.see("/lamps/a/state", "LOOSE");
    bench.look();
    assert_eq!(bench.presumes("/lamps/a/state"), None);
}

#[test]
fn a_presumption_is_lifted_when_what_it_rests_on_is_gone() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/physState", "POWER_OFF");
    bench.cfg("/physState", "POWER_ON");
    bench.look();
    bench.failed("no");
    assert_eq!(bench.presumes("/physState").as_deref(), Some("PHYS_HANG"));
    bench.see("/physState", "");
    bench.look();
    assert_eq!(bench.presumes("/physState"), None);
}

#[test]
fn counts_outlive_their_decider_as_status() {
    let mut bench = Bench::spinning();
    bench.failed("no");
    assert_eq!(bench.phase(), PhaseName::BackingOff);
    let wake_at = bench.wake_at();
    bench.write_status();
    bench.fail_over();
    assert!(dispatched(&bench.look()).is_empty());
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::BackingOff, 1));
    assert_eq!(bench.wake_at(), wake_at);
    bench.pass();
    bench.said(Attempted::Failed { error: "no".into(), permanent: true });
    bench.write_status();
    bench.fail_over();
    assert!(dispatched(&bench.look()).is_empty());
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::Quarantined, 2));
    bench.retry_asked();
    assert_eq!(dispatched(&bench.look()), ["fan/Spin"]);
}

#[test]
fn a_status_of_another_revision_says_nothing_of_this_one() {
    let mut bench = Bench::spinning();
    bench.said(Attempted::Failed { error: "no".into(), permanent: true });
    bench.write_status();
    bench.cfg("/fan", "RUN");
    bench.fail_over();
    assert_eq!(dispatched(&bench.look()), ["fan/Spin"]);
}
