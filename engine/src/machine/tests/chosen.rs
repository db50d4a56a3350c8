//! Rows of a machine that has nothing in flight: which phase a look leads to.

use super::kit::{Bench, dispatched, told};
use crate::{
    event::EventKind,
    machine::{Attempted, SERVICE_RETRY_MS, STUCK_LOOK_MS},
    mutation::Lane,
    status::PhaseName,
};

#[test]
fn a_goal_that_is_reached_is_converged_and_said_once() {
    let mut bench = Bench::new(Lane::Itself);
    bench.see("/lamps/a/state", "ON");
    bench.cfg("/lamps/a/state", "ON");
    assert_eq!(told(&bench.look(), EventKind::Converged), ["converged at revision 2"]);
    assert_eq!(bench.phase(), PhaseName::Converged);
    assert_eq!(bench.wake_at(), u64::MAX);
    assert!(bench.look_at(101_000).is_empty(), "the same look says nothing twice");
    bench.cfg("/lamps/a/state", "ON");
    assert_eq!(told(&bench.look(), EventKind::Converged), ["converged at revision 3"]);
}

#[test]
fn a_goal_without_a_plan_is_stuck_and_looks_again_by_itself() {
    let mut bench = Bench::new(Lane::Itself);
    bench.see("/lamps/a/state", "LOOSE");
    bench.cfg("/lamps/a/state", "ON");
    assert_eq!(told(&bench.look(), EventKind::NeedsHelp).len(), 1);
    assert_eq!(bench.phase(), PhaseName::Stuck);
    assert!(bench.reason().contains("/lamps/a/state"), "{}", bench.reason());
    assert_eq!(bench.wake_at(), 100_000 + STUCK_LOOK_MS);
    bench.see("/lamps/a/state", "OFF");
    assert_eq!(dispatched(&bench.pass()), ["lamp/SwitchOn(a)"]);
}

#[test]
fn a_step_of_the_other_lane_is_waited_for() {
    let mut bench = Bench::new(Lane::Itself);
    bench.see("/physState", "POWER_OFF");
    bench.cfg("/runState", "SYNC");
    assert!(dispatched(&bench.look()).is_empty());
    assert_eq!(bench.phase(), PhaseName::Waiting);
    assert_eq!(bench.waits_for(), "whoever decides power/PowerOn");
    bench.see("/physState", "POWER_ON");
    assert_eq!(dispatched(&bench.look()), ["power/Probe"]);
}

#[test]
fn each_lane_takes_its_own_steps_and_waits_for_the_others() {
    let mut own = Bench::new(Lane::Itself);
    let mut led = Bench::new(Lane::Quorum);
    for bench in [&mut own, &mut led] {
        bench.see("/physState", "POWER_OFF");
        bench.cfg("/runState", "SYNC");
    }
    assert!(dispatched(&own.look()).is_empty());
    assert_eq!(dispatched(&led.look()), ["power/PowerOn"]);
    for bench in [&mut own, &mut led] {
        bench.see("/physState", "POWER_ON");
    }
    led.said(Attempted::Succeeded);
    assert_eq!(
        (led.phase(), led.waits_for()),
        (PhaseName::Waiting, "whoever decides power/Probe".into())
    );
    assert_eq!(dispatched(&own.look()), ["power/Probe"]);
}

#[test]
fn a_step_of_the_other_lane_does_not_hold_up_what_it_has_nothing_to_do_with() {
    let mut bench = Bench::new(Lane::Itself);
    bench.see("/physState", "POWER_OFF");
    bench.see("/lamps/z/state", "OFF");
    bench.cfg("/physState", "POWER_ON");
    bench.cfg("/lamps/z/state", "ON");
    assert_eq!(dispatched(&bench.look()), ["lamp/SwitchOn(z)"]);
}

#[test]
fn one_failing_step_does_not_hold_up_the_others_and_is_what_people_hear_of() {
    let mut bench = Bench::spinning();
    bench.said(Attempted::Failed { error: "no power".into(), permanent: true });
    assert_eq!(bench.phase(), PhaseName::Quarantined);
    bench.see("/lamps/a/state", "ON");
    bench.said(Attempted::Succeeded);
    for at in ["/lamps/b/state", "/lamps/a/state"] {
        bench.see(at, "ON");
        bench.cfg(at, "OFF");
    }
    bench.look();
    bench.said(Attempted::Failed { error: "no power".into(), permanent: true });
    for lamp in ["a", "b"] {
        let step = bench.status.as_ref().unwrap().step.clone().unwrap();
        assert_eq!(step, format!("lamp/SwitchOff({lamp})"));
        bench.see(&format!("/lamps/{lamp}/state"), "OFF");
        bench.said(Attempted::Succeeded);
    }
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::Quarantined, 1));
    assert_eq!(bench.status.as_ref().unwrap().step.as_deref(), Some("fan/Spin"));
}

#[test]
fn another_object_is_waited_for_and_looked_at_again() {
    let mut bench = Bench::new(Lane::Itself);
    bench.see("/label", "old");
    bench.cfg("/label", "new");
    assert!(dispatched(&bench.look()).is_empty());
    assert_eq!(bench.phase(), PhaseName::Waiting);
    assert_eq!(bench.waits_for(), "@/door /label = OPEN");
    bench.door = Some("OPEN".into());
    assert_eq!(dispatched(&bench.pass()), ["lamp/Write"]);
}

#[test]
fn a_module_that_does_not_take_the_step_is_asked_again_a_moment_later() {
    for answer in [Attempted::Busy, Attempted::NoService("gone".into())] {
        let mut bench = Bench::switching();
        bench.said(answer);
        assert_eq!(bench.phase(), PhaseName::Waiting);
        assert_eq!(bench.waits_for(), "module lamp");
        bench.see("/lamps/b/state", "OFF");
        assert!(dispatched(&bench.look()).is_empty(), "a look does not ask earlier");
        assert_eq!(bench.wake_at(), 100_000 + SERVICE_RETRY_MS);
        assert_eq!(dispatched(&bench.pass()), ["lamp/SwitchOn(a)"]);
        assert_eq!(bench.attempts(), 0, "that is no failure");
    }
}

#[test]
fn an_object_that_is_deleted_goes_where_it_is_absent() {
    let mut bench = Bench::new(Lane::Itself);
    for at in ["/fan", "/lamps/a/state"] {
        let on = if at == "/fan" { "RUN" } else { "ON" };
        bench.see(at, on);
        bench.cfg(at, on);
    }
    bench.look();
    assert_eq!(bench.phase(), PhaseName::Converged);
    bench.delete();
    assert_eq!(dispatched(&bench.look()), ["fan/Halt"]);
    bench.see("/fan", "STOP");
    bench.said(Attempted::Succeeded);
    assert_eq!(bench.phase(), PhaseName::Converged, "no absent value is declared for lamps");
}

#[test]
fn an_unknown_path_is_discovered_whatever_is_found() {
    let mut bench = Bench::new(Lane::Itself);
    bench.cfg("/lamps/a/state", "ON");
    assert_eq!(dispatched(&bench.look()), ["lamp/Find(a)"]);
    bench.see("/lamps/a/state", "ON");
    let done = bench.said(Attempted::Succeeded);
    assert_eq!(told(&done, EventKind::StepDone).len(), 1);
    assert_eq!(bench.phase(), PhaseName::Converged);
}

#[test]
fn attempt_ids_are_never_given_out_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for lane in [Lane::Itself, Lane::Quorum] {
        let mut bench = Bench::new(lane);
        bench.see("/physState", "POWER_OFF");
        bench.see("/lamps/a/state", "OFF");
        bench.cfg("/lamps/a/state", "ON");
        bench.cfg("/physState", "POWER_ON");
        bench.look();
        for _ in 0..20 {
            assert!(seen.insert(bench.attempt.clone().unwrap()), "{:?}", bench.attempt);
            bench.said(Attempted::Busy);
            bench.pass();
        }
    }
}

#[test]
fn since_moves_with_what_is_done_and_not_with_what_is_seen() {
    let mut bench = Bench::switching();
    bench.now = 101_000;
    bench.see("/lamps/b/state", "OFF");
    bench.look();
    assert_eq!(bench.status.as_ref().unwrap().since.get(), 100_000);
    bench.cfg("/lamps/b/state", "ON");
    bench.see("/lamps/a/state", "ON");
    bench.look_at(102_000);
    bench.said(Attempted::Succeeded);
    assert_eq!(bench.status.as_ref().unwrap().since.get(), 102_000, "the second step");
}

#[test]
fn what_is_forgotten_is_not_listened_to_and_its_timers_are_gone() {
    let mut bench = Bench::switching();
    let effects = bench.forget();
    assert_eq!(super::kit::cancels(&effects), 1);
    assert_eq!((bench.decider().objects(), bench.wake_at()), (0, u64::MAX));
    let attempt = bench.attempt.clone().unwrap();
    assert_eq!(bench.decider().object_of(&attempt), None);
    assert!(bench.said(Attempted::Succeeded).is_empty());
    assert_eq!(bench.decider().objects(), 0, "an answer does not bring it back");
    assert_eq!(bench.decider().presumed(bench.uid()), None);
}
