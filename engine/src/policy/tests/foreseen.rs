//! Forecasts against what then happens.

use std::{ops::ControlFlow, sync::Arc};

use proptest::prelude::*;

use super::kit::{SWITCH_MS, Yard, key, name};
use crate::{
    command::{Command, OPS_MAX, Op, Refusal, Targets, Txn},
    explain::change::{CHANGE_OPS_MAX, Unplanned},
    policy::forecast::{Forecast, Job, forecast},
    state::State,
    time::Millis,
    value::Value,
};

/// What is expected of switching all nodes, of which nothing has been asked yet.
fn expected(yard: &Yard) -> Forecast {
    let rules = yard.store.rules();
    let job =
        |object: &Arc<crate::object::Object>| Job::new(rules, object, name("image"), SWITCH_MS);
    let jobs = yard.store.of_kind("node").map(job).collect();
    forecast(rules, jobs, Millis::new(yard.now))
}

fn waves(forecast: &Forecast) -> Vec<(u64, usize)> {
    forecast.waves.iter().map(|wave| (wave.begins_after_ms / 1_000, wave.objects)).collect()
}

#[test]
fn waves_follow_places_rates_stages_and_windows() {
    for (limits, expect, ends, pauses) in [
        (vec![], vec![(0, 10)], 10, 0),
        (vec![("/maxInFlight", Value::Int(4))], vec![(0, 4), (10, 4), (20, 2)], 30, 0),
        (vec![("/ratePerMinute", Value::Int(6))], vec![(0, 6), (60, 4)], 70, 0),
        (vec![("/canary", "1 5m, 50%".into())], vec![(0, 1), (310, 4), (320, 5)], 330, 0),
        (vec![("/canary", "2 pause".into())], vec![(0, 2), (10, 8)], 20, 1),
        (vec![("/windows", "Thu 01:00-01:01 UTC".into())], vec![(2_600, 10)], 2_610, 0),
        (
            vec![("/minHealthy", "80%".into())],
            vec![(0, 2), (10, 2), (20, 2), (30, 2), (40, 2)],
            50,
            0,
        ),
    ] {
        let mut yard = Yard::new(10);
        if !limits.is_empty() {
            yard.policy("p", &limits).unwrap();
        }
        let found = expected(&yard);
        assert_eq!(waves(&found), expect, "{limits:?}");
        assert_eq!(found.ends_after_ms / 1_000, ends, "{limits:?}");
        assert_eq!(found.pauses.values().sum::<usize>(), pauses);
        assert!(found.held.is_empty() && !found.cut);
        assert_eq!(found.wave_of.len(), 10);
    }
}

#[test]
fn what_never_gets_through_says_why() {
    let mut yard = Yard::new(4);
    yard.policy("p", &[("/maxInFlight", Value::Int(0))]).unwrap();
    let found = expected(&yard);
    assert_eq!((found.waves.len(), found.held.len()), (0, 4));
    let hold = found.held.values().next().unwrap();
    assert_eq!(hold.waits_for(), "policy p: maxInFlight");
}

#[test]
fn a_plan_of_a_whole_change_says_who_goes_when_and_who_does_not() {
    let mut yard = Yard::new(12);
    yard.policy("p", &[("/maxInFlight", Value::Int(4))]).unwrap();
    yard.see("n3", "/image", Some("b"));
    let targets = Targets::Names(vec![name("n5"), name("n6")]);
    yard.write(Command::Freeze { targets }).unwrap();
    let before = yard.store.revision();
    let plan = yard.plan("b");
    assert_eq!(yard.store.revision(), before, "nothing is written");
    // The policy is there beside the nodes.
    assert_eq!((plan.objects.len(), plan.untouched, plan.still), (12, 1, 1));
    assert_eq!(plan.forecast.waves.iter().map(|wave| wave.objects).collect::<Vec<_>>(), [4, 4, 1]);
    let wave_of = |node: &str| plan.forecast.wave_of.get(&yard.uid(node)).copied();
    assert_eq!((wave_of("n3"), wave_of("n5")), (None, None), "done already, and frozen");
    let steps = plan.objects.iter().map(|one| one.plan().steps.len());
    assert_eq!(steps.sum::<usize>(), 11);
    let plan = yard.plan("a");
    assert_eq!((plan.still, plan.forecast.waves.len()), (11, 1));
}

/// Creates so many nodes, on which nothing is asked.
fn creates(nodes: usize) -> Txn {
    let put = |number| Op::Put {
        object: key("node", &format!("new{number}")),
        labels: None,
        owner: None,
        cfg: State::new(),
    };
    Txn { ops: (0..nodes).map(put).collect(), ..Txn::default() }
}

#[test]
fn a_change_of_more_than_a_write_takes_is_planned_as_several() {
    for (nodes, writes) in [(0, 1), (OPS_MAX, 1), (OPS_MAX + 1, 2)] {
        let plan = Yard::new(3).plan_of(creates(nodes), |_, _| ControlFlow::Continue(())).unwrap();
        assert_eq!((plan.objects.len(), plan.writes, plan.untouched), (nodes, writes, 3));
    }
    let many = creates(CHANGE_OPS_MAX + 1);
    let refused = Yard::new(0).plan_of(many, |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(refused, Unplanned::Refused(Refusal::Limit { .. })));
}

#[test]
fn planning_ends_where_nobody_wants_to_know() {
    let mut heard = Vec::new();
    let stopped = Yard::new(3).plan_of(creates(100), |done, of| {
        heard.push((done, of));
        if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped.unwrap_err(), Unplanned::Stopped);
    assert_eq!(heard, [(1, 100), (2, 100)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Where all goes well, what is foreseen comes to pass: in the same time, in the same order.
    #[test]
    fn what_is_foreseen_comes_to_pass(
        nodes in 1_usize..20,
        most in 1_i64..6,
        rate in 1_i64..12,
        canary in prop_oneof![Just(""), Just("1, 50%"), Just("10% 1m, 50% 30s")],
    ) {
        let mut yard = Yard::new(nodes);
        let mut limits = vec![("/maxInFlight", Value::Int(most)), ("/ratePerMinute", rate.into())];
        if !canary.is_empty() {
            limits.push(("/canary", canary.into()));
        }
        yard.policy("p", &limits).unwrap();
        let ends = expected(&yard).ends_after_ms;
        yard.ask("b");
        yard.run(ends.saturating_sub(1));
        prop_assert!(yard.with("b") < nodes, "done before {}", ends);
        yard.run(1);
        prop_assert_eq!(yard.with("b"), nodes);
    }
}
