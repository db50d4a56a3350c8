//! Rows of the flap brake, of permanent failures, and of presumptions that outlive their decider.

use super::kit::{Bench, dispatched};
use crate::{
    machine::{Attempted, CLOSE_MS, FLAPS_MAX, WALKED_MAX},
    mutation::Lane,
    status::PhaseName,
};

/// Has the fan run, and stop by itself a while later, so often.
fn flapping(bench: &mut Bench, times: u32) {
    for _ in 0..times {
        bench.see("/fan", "RUN");
        bench.said(Attempted::Succeeded);
        bench.look();
        bench.now += 20_000;
        bench.see("/fan", "STOP");
        bench.look();
    }
}

#[test]
fn what_goes_back_and_forth_is_quarantined_with_the_modules_that_change_it() {
    let mut bench = Bench::spinning();
    // Each time it comes back to STOP, and from the second on to RUN.
    flapping(&mut bench, FLAPS_MAX / 2);
    assert_eq!(bench.phase(), PhaseName::InFlight);
    bench.see("/fan", "RUN");
    bench.said(Attempted::Succeeded);
    bench.look();
    bench.now += 20_000;
    bench.see("/fan", "STOP");
    assert!(dispatched(&bench.look()).is_empty());
    assert_eq!(bench.phase(), PhaseName::Quarantined);
    let reason = "/fan came back to where it was more than 6 times in 10 minutes; what changes \
                  it: fan";
    assert_eq!(bench.reason(), reason);
}

#[test]
fn a_flap_brake_is_released_by_news_by_cfg_and_by_a_retry() {
    let pulled = || {
        let mut bench = Bench::spinning();
        flapping(&mut bench, FLAPS_MAX);
        assert_eq!(bench.phase(), PhaseName::Quarantined);
        bench
    };
    let mut bench = pulled();
    bench.now += 3_600_000;
    bench.look();
    assert_eq!(bench.phase(), PhaseName::Quarantined, "time alone changes nothing");
    bench.see("/fan", "FAULTY");
    assert_eq!(dispatched(&bench.look()), ["fan/Clear"]);
    let mut bench = pulled();
    bench.retry_asked();
    assert_eq!(dispatched(&bench.look()), ["fan/Spin"]);
}

#[test]
fn more_steps_than_three_times_the_plan_without_an_end_are_too_many() {
    let mut bench = Bench::new(Lane::Itself);
    bench.see("/lamps/a/state", "OFF");
    bench.see("/lamps/b/state", "LOOSE");
    bench.cfg("/lamps/a/state", "ON");
    // Of the other lamp nothing is known to lead on: it never converges.
    bench.cfg("/lamps/b/state", "ON");
    for round in 0..=WALKED_MAX {
        assert_eq!(dispatched(&bench.look()), ["lamp/SwitchOn(a)"], "{round}");
        bench.see("/lamps/a/state", "ON");
        bench.said(Attempted::Succeeded);
        bench.now += 200_000;
        bench.see("/lamps/a/state", "OFF");
    }
    bench.look();
    assert_eq!(bench.phase(), PhaseName::Quarantined);
    let reason = "4 steps were done of a plan of 1, and it has not converged; the last was of \
                  module lamp";
    assert_eq!(bench.reason(), reason);
}

/// A bench whose label is to be written, which failed for good.
fn given_up() -> Bench {
    let mut bench = Bench::new(Lane::Itself);
    bench.door = Some("OPEN".into());
    bench.see("/label", "old");
    bench.cfg("/label", "new");
    assert_eq!(dispatched(&bench.look()), ["lamp/Write"]);
    bench.said(Attempted::Failed { error: "no ink".into(), permanent: true });
    assert_eq!(bench.phase(), PhaseName::Quarantined);
    bench
}

#[test]
fn what_a_failed_attempt_still_shows_is_no_reason_to_try_it_again() {
    let mut bench = given_up();
    bench.now += CLOSE_MS - 1;
    bench.see("/label", "smeared");
    assert!(dispatched(&bench.look()).is_empty());
    assert_eq!(bench.phase(), PhaseName::Quarantined);
    bench.now += 3_600_000;
    bench.look();
    assert_eq!(bench.phase(), PhaseName::Quarantined, "nor later on");
    bench.see("/label", "torn");
    assert_eq!(dispatched(&bench.look()), ["lamp/Write"], "this is news");
}

#[test]
fn a_presumption_outlives_its_decider_until_reality_moves() {
    let mut bench = Bench::switching();
    bench.failed("no");
    assert_eq!(bench.presumes("/lamps/a/state").as_deref(), Some("BROKEN"));
    bench.fail_over();
    bench.look();
    assert_eq!(bench.presumes("/lamps/a/state").as_deref(), Some("BROKEN"));
    bench.see("/lamps/a/state", "ON");
    bench.look();
    assert_eq!(bench.presumes("/lamps/a/state"), None);
    bench.fail_over();
    bench.look();
    assert_eq!(bench.presumes("/lamps/a/state"), None, "what was lifted is lifted for all");
}
