//! Rows of disruptive steps: first look, then commit the intent, then act.

use super::kit::{Bench, TIMEOUT_MS, closed, dispatched, intents};
use crate::{
    machine::{Attempted, CLOSE_MS, Effect, SERVICE_RETRY_MS},
    mutation::Lane,
    status::PhaseName,
};

#[test]
fn a_disruptive_step_goes_out_only_once_its_intent_is_open() {
    let mut bench = Bench::cycling();
    assert_eq!(bench.waits_for(), "the commit of its intent");
    bench.see("/runState", "");
    assert!(dispatched(&bench.look_at(101_000)).is_empty());
    let opened = bench.said(Attempted::IntentOpened);
    assert_eq!(dispatched(&opened), ["power/Cycle"]);
    assert_eq!(bench.wake_at(), 103_000, "acknowledged within two seconds of the dispatch");
}

#[test]
fn an_attempt_is_over_by_the_time_that_its_intent_names() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/physState", "PHYS_HANG");
    bench.cfg("/physState", "POWER_ON");
    let ends_by = bench.look().into_iter().find_map(|effect| match effect {
        Effect::OpenIntent(intent) => Some(intent.ends_by.get()),
        _ => None,
    });
    assert_eq!(ends_by, Some(100_000 + TIMEOUT_MS + CLOSE_MS));
    bench.now = 104_000;
    let opened = bench.said(Attempted::IntentOpened);
    let timeout = opened.iter().find_map(|effect| match effect {
        Effect::Dispatch(dispatch) => Some(dispatch.timeout.as_millis()),
        _ => None,
    });
    assert_eq!(timeout, Some(u128::from(TIMEOUT_MS - 4_000)), "the commit took of its time");
    bench.said(Attempted::Acknowledged);
    bench.pass();
    let effects = bench.pass();
    assert_eq!((Some(bench.now), closed(&effects)), (ends_by, 1));
}

#[test]
fn a_refused_intent_is_asked_for_again_a_moment_later() {
    let mut bench = Bench::cycling();
    bench.said(Attempted::IntentRefused("another is open".into()));
    assert_eq!(bench.phase(), PhaseName::Waiting);
    assert_eq!(bench.reason(), "its intent was refused: another is open");
    assert_eq!(intents(&bench.look()), 0);
    assert_eq!(bench.wake_at(), 100_000 + SERVICE_RETRY_MS);
    assert_eq!(intents(&bench.pass()), 1);
}

#[test]
fn an_intent_that_opens_for_what_is_no_longer_right_is_closed() {
    let mut moved = Bench::cycling();
    moved.see("/physState", "POWER_ON");
    let effects = moved.said(Attempted::IntentOpened);
    assert_eq!((dispatched(&effects).len(), closed(&effects)), (0, 1));
    assert_eq!(moved.phase(), PhaseName::Converged);

    let mut frozen = Bench::cycling();
    frozen.freeze(true);
    let effects = frozen.said(Attempted::IntentOpened);
    assert_eq!((dispatched(&effects).len(), closed(&effects)), (0, 1));
    assert_eq!(frozen.phase(), PhaseName::Frozen);

    let mut stale = Bench::cycling();
    stale.not_before = 100_001;
    let effects = stale.said(Attempted::IntentOpened);
    assert_eq!((dispatched(&effects).len(), closed(&effects)), (0, 1));
    assert_eq!(stale.waits_for(), "a look at /physState");

    let mut late = Bench::cycling();
    late.now = 100_000 + TIMEOUT_MS;
    let effects = late.said(Attempted::IntentOpened);
    assert_eq!((dispatched(&effects).len(), closed(&effects), intents(&effects)), (0, 1, 1));
}

#[test]
fn an_intent_that_nobody_answers_is_given_up_when_it_would_have_ended() {
    let mut bench = Bench::cycling();
    assert_eq!(bench.wake_at(), 100_000 + TIMEOUT_MS + CLOSE_MS);
    let effects = bench.pass();
    assert_eq!((closed(&effects), intents(&effects)), (1, 1));
}

#[test]
fn an_intent_that_opens_for_a_forgotten_object_is_closed() {
    let mut bench = Bench::cycling();
    bench.forget();
    assert_eq!(closed(&bench.said(Attempted::IntentOpened)), 1);
    assert_eq!(bench.decider().objects(), 0);
}

#[test]
fn what_was_not_seen_freshly_is_looked_at_first() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/physState", "PHYS_HANG");
    bench.cfg("/physState", "POWER_ON");
    bench.not_before = 100_001;
    assert_eq!(intents(&bench.look()), 0);
    assert_eq!(
        (bench.phase(), bench.waits_for()),
        (PhaseName::Waiting, "a look at /physState".into())
    );
    bench.now = 100_001;
    bench.see("/physState", "PHYS_HANG");
    assert_eq!(intents(&bench.look()), 1, "seen again at the same value");
}

#[test]
fn what_an_earlier_leader_began_must_have_ended_before_the_look() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/physState", "PHYS_HANG");
    bench.cfg("/physState", "POWER_ON");
    bench.now = 100_500;
    bench.settle();
    assert_eq!(intents(&bench.look()), 0);
    assert_eq!(bench.waits_for(), "a look at /physState");
    bench.now = 100_501;
    bench.see("/physState", "PHYS_HANG");
    assert_eq!(intents(&bench.look()), 1);
}

#[test]
fn what_is_not_disruptive_needs_no_fresh_look() {
    let mut bench = Bench::new(Lane::Quorum);
    bench.see("/physState", "POWER_OFF");
    bench.cfg("/physState", "POWER_ON");
    bench.not_before = 200_000;
    assert_eq!(dispatched(&bench.look()), ["power/PowerOn"]);
}

#[test]
fn every_end_of_a_disruptive_attempt_closes_its_intent() {
    let ends = [
        Attempted::Failed { error: "no".into(), permanent: false },
        Attempted::Failed { error: "no".into(), permanent: true },
        Attempted::Abandoned,
        Attempted::Busy,
        Attempted::NoService("gone".into()),
    ];
    for end in ends {
        let mut bench = Bench::cycling();
        bench.said(Attempted::IntentOpened);
        assert_eq!(closed(&bench.said(end.clone())), 1, "{end:?}");
    }
    let mut bench = Bench::cycling();
    bench.said(Attempted::IntentOpened);
    bench.see("/physState", "POWER_ON");
    assert_eq!(closed(&bench.look()), 0, "seen, and not ended");
    assert_eq!(closed(&bench.said(Attempted::Succeeded)), 1);
}
