//! Rows of an attempt that another node carries out: where it is, what moved, and what is lost.

use super::kit::{Bench, TIMEOUT_MS, cancels, closed, dispatched, intents, name, told};
use crate::{
    event::EventKind,
    machine::{
        ACKNOWLEDGE_MS, Attempted, CLOSE_MS, Effect, LOOK_AGAIN_MS, PROGRESS_BYTES_MAX,
        PROGRESS_MS, SERVICE_RETRY_MS,
    },
    mutation::Lane,
    status::PhaseName,
};

fn looks(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Look(_))).count()
}

#[test]
fn where_it_runs_and_how_far_it_is_are_said_and_extend_nothing() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Handed(name("n7")));
    assert_eq!(bench.reason(), "on n7");
    bench.said(Attempted::Acknowledged);
    let deadline = bench.wake_at();
    bench.now += 500;
    bench.said(Attempted::Progressed("half".into()));
    assert_eq!(bench.reason(), "on n7: half");
    assert_eq!((bench.wake_at(), deadline), (100_000 + TIMEOUT_MS, 100_000 + TIMEOUT_MS));
}

#[test]
fn progress_is_told_now_and_then_and_cut() {
    let mut bench = Bench::switching();
    bench.said(Attempted::Progressed("one".into()));
    bench.now += PROGRESS_MS - 1;
    assert!(bench.said(Attempted::Progressed("two".into())).is_empty());
    assert_eq!(bench.reason(), "one");
    bench.now += 1;
    bench.said(Attempted::Progressed("é".repeat(PROGRESS_BYTES_MAX)));
    assert_eq!(bench.reason(), "é".repeat(PROGRESS_BYTES_MAX / 2));
}

#[test]
fn what_has_moved_at_the_host_is_no_failure_and_is_planned_anew() {
    let mut bench = Bench::switching();
    let effects = bench.said(Attempted::Moved("/lamps/a/state is BROKEN by now".into()));
    let text = "lamp/SwitchOn(a) was not started: /lamps/a/state is BROKEN by now";
    assert_eq!(told(&effects, EventKind::AttemptFailed), [text]);
    assert_eq!((bench.phase(), bench.attempts()), (PhaseName::Waiting, 0));
    assert!(dispatched(&bench.look()).is_empty(), "not the same at once");
    bench.see("/lamps/a/state", "BROKEN");
    assert_eq!(dispatched(&bench.look()), ["lamp/Mend(a)"], "what is right now, at once");
}

#[test]
fn what_moved_and_did_not_show_is_tried_again_a_moment_later() {
    let mut bench = Bench::switching();
    let first = bench.attempt.clone();
    bench.said(Attempted::Moved("its Cfg is of revision 6, not of 5".into()));
    assert_eq!(bench.wake_at(), 100_000 + SERVICE_RETRY_MS);
    assert_eq!(dispatched(&bench.pass()), ["lamp/SwitchOn(a)"]);
    assert_ne!(bench.attempt, first, "under another id");
}

#[test]
fn what_is_lost_and_may_be_done_twice_is_done_elsewhere_under_another_id() {
    for acknowledged in [false, true] {
        let mut bench = Bench::switching();
        let first = bench.attempt.clone();
        bench.said(Attempted::Handed(name("n7")));
        if acknowledged {
            bench.said(Attempted::Acknowledged);
        }
        bench.said(Attempted::Lost);
        assert_eq!((bench.phase(), bench.attempts()), (PhaseName::Waiting, 0));
        assert_eq!(bench.reason(), "n7 was lost on the way");
        assert_eq!(dispatched(&bench.pass()), ["lamp/SwitchOn(a)"]);
        assert_ne!(bench.attempt, first);
    }
}

#[test]
fn what_is_lost_and_disrupts_holds_its_lane_until_it_must_have_ended() {
    let mut bench = Bench::cycling();
    bench.said(Attempted::IntentOpened);
    let first = bench.attempt.clone();
    let lost = bench.said(Attempted::Lost);
    assert_eq!((bench.phase(), closed(&lost)), (PhaseName::InFlight, 0));
    bench.see("/physState", "PHYS_HANG");
    let again = bench.look_at(100_000 + ACKNOWLEDGE_MS);
    assert_eq!(dispatched(&again), ["power/Cycle"], "to the same host");
    assert_eq!(bench.attempt, first, "and under the same id");
    bench.look_at(100_000 + TIMEOUT_MS);
    assert_eq!(bench.phase(), PhaseName::InFlight);
    let over = bench.look_at(100_000 + TIMEOUT_MS + CLOSE_MS);
    assert_eq!((closed(&over), bench.phase()), (1, PhaseName::BackingOff));
}

#[test]
fn what_ended_is_neither_moved_nor_lost_by_a_late_word() {
    for late in [Attempted::Moved("late".into()), Attempted::Lost] {
        let mut bench = Bench::switching();
        bench.said(Attempted::Succeeded);
        bench.said(late);
        assert_eq!(bench.phase(), PhaseName::InFlight);
        bench.see("/lamps/a/state", "ON");
        bench.look();
        assert_eq!(bench.phase(), PhaseName::Converged);
    }
}

#[test]
fn the_intent_of_what_moved_is_closed() {
    let mut bench = Bench::cycling();
    bench.said(Attempted::Handed(name("m2")));
    bench.said(Attempted::IntentOpened);
    assert_eq!(bench.reason(), "on m2");
    let moved = bench.said(Attempted::Moved("it was frozen by ann (all)".into()));
    assert_eq!((closed(&moved), cancels(&moved)), (1, 0));
}

#[test]
fn a_disruptive_step_asks_for_a_look_within_a_rate() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/physState", "PHYS_HANG");
    bench.cfg("/physState", "POWER_ON");
    bench.not_before = 100_001;
    assert_eq!(looks(&bench.look()), 1);
    assert_eq!(bench.waits_for(), "a look at /physState");
    assert_eq!(looks(&bench.look_at(100_000 + LOOK_AGAIN_MS - 1)), 0);
    assert_eq!(looks(&bench.look_at(100_000 + LOOK_AGAIN_MS)), 1);
    bench.see("/physState", "PHYS_HANG");
    assert_eq!(intents(&bench.look()), 1);
}

#[test]
fn a_disruptive_step_relies_on_nothing_seen_before_the_last_attempt_ended() {
    let mut bench = Bench::cycling();
    bench.said(Attempted::IntentOpened);
    bench.said(Attempted::Busy);
    let effects = bench.look_at(100_000 + SERVICE_RETRY_MS);
    assert_eq!((intents(&effects), looks(&effects)), (0, 1));
    assert_eq!(bench.waits_for(), "a look at /physState");
    bench.see("/physState", "PHYS_HANG");
    assert_eq!(intents(&bench.look()), 1);
}

#[test]
fn a_disruptive_step_relies_on_nothing_stale() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/tank", "FULL");
    bench.cfg("/tank", "EMPTY");
    let stale = bench.look_at(100_001 + super::kit::TTL_MS);
    assert_eq!((intents(&stale), looks(&stale)), (0, 1));
    assert_eq!(bench.waits_for(), "a look at /tank");
    bench.see("/tank", "FULL");
    assert_eq!(intents(&bench.look()), 1);
}

#[test]
fn a_step_that_may_be_repeated_takes_the_stale_for_known_and_asks_for_a_look() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/tank", "EMPTY");
    bench.see("/gauge", "LOW");
    bench.cfg("/tank", "FULL");
    let stale = bench.look_at(100_001 + super::kit::TTL_MS);
    assert_eq!((dispatched(&stale), looks(&stale)), (vec!["tank/Fill".to_owned()], 1));
}

#[test]
fn a_change_of_several_paths_is_late_when_one_of_them_has_not_arrived() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/tank", "EMPTY");
    bench.see("/gauge", "LOW");
    bench.cfg("/tank", "FULL");
    assert_eq!(dispatched(&bench.look()), ["tank/Fill"]);
    bench.see("/tank", "FULL");
    assert!(told(&bench.said(Attempted::Succeeded), EventKind::StepDone).is_empty());
    let late = bench.pass();
    assert_eq!(bench.now, 100_000 + TIMEOUT_MS);
    let text = "tank/Fill failed (1 of 3): the module answered ok, but /gauge did not follow \
                within 10.0 s";
    assert_eq!(told(&late, EventKind::AttemptFailed), [text]);
}
