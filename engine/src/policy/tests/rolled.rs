//! Rollouts: canary stages, pauses, the brake, and a change of leader in the middle.

use super::kit::{SWITCH_MS, Yard, key};
use crate::{policy::Stand, status::PhaseName, value::Value};

fn stage(yard: &Yard) -> Option<(usize, Stand)> {
    yard.position("p").map(|position| (position.stage, position.stand))
}

#[test]
fn stages_go_so_far_then_bake_or_pause() {
    let mut yard = Yard::new(20);
    yard.policy("p", &[("/canary", "1 pause, 10% 5m, 50%".into())]).unwrap();
    yard.ask("b");
    yard.run(SWITCH_MS - 1);
    assert_eq!((yard.order.len(), stage(&yard)), (1, Some((1, Stand::Open))));
    yard.run(600_000);
    assert_eq!((yard.with("b"), stage(&yard)), (1, Some((1, Stand::Paused))));
    let waits = yard.status(if yard.order == ["n0"] { "n1" } else { "n0" });
    assert_eq!(waits.waits_for.as_deref(), Some("policy p: resume"));
    let reason = "stage 1 of 3 is done and the rollout pauses; an operator lets it go on: kraken \
                  set policy/p resume=1";
    assert_eq!(waits.reason.as_deref(), Some(reason));
    yard.set(key("policy", "p"), "/resume", 1);
    yard.run(SWITCH_MS);
    assert_eq!((yard.with("b"), stage(&yard)), (2, Some((2, Stand::Baking))));
    yard.run(5 * 60_000 - 1);
    assert_eq!((yard.order.len(), stage(&yard)), (2, Some((2, Stand::Baking))));
    yard.run(SWITCH_MS);
    assert_eq!((yard.order.len(), stage(&yard)), (10, Some((3, Stand::Open))));
    yard.run(2 * SWITCH_MS);
    assert_eq!((yard.with("b"), stage(&yard)), (20, Some((4, Stand::Open))));
    assert_eq!(yard.refused, [""; 0]);
}

#[test]
fn what_has_arrived_before_its_intent_was_counted_holds_no_place() {
    for cfg in [("/canary", Value::from("1 1m")), ("/maxInFlight", 1.into())] {
        let mut yard = Yard::new(3);
        yard.policy("p", &[cfg]).unwrap();
        yard.late_ms = SWITCH_MS + 1_000;
        yard.ask("b");
        yard.run(20 * 60_000);
        assert_eq!(yard.with("b"), 3);
    }
}

#[test]
fn what_waits_says_of_each_stage_that_it_has_come_to() {
    let mut yard = Yard::new(10);
    yard.policy("p", &[("/canary", "1 1m, 2".into())]).unwrap();
    yard.ask("b");
    let mut said = Vec::new();
    for _ in 0..16 {
        yard.run(SWITCH_MS / 2);
        let waiting = (0..10).map(|number| yard.status(&format!("n{number}")));
        said.extend(waiting.filter(|status| status.phase == PhaseName::Waiting).map(|status| {
            let reason = status.reason.unwrap_or_default();
            reason.split(';').next().unwrap_or_default().to_owned()
        }));
    }
    said.dedup();
    let stages = [
        "stage 1 of 2 goes to 1, and has them",
        "stage 1 of 2 is done and bakes",
        "stage 2 of 2 goes to 2, and has them",
    ];
    assert_eq!(said, stages);
}

#[test]
fn a_later_change_starts_at_the_first_stage() {
    let mut yard = Yard::new(10);
    yard.policy("p", &[("/canary", "1 pause".into())]).unwrap();
    yard.ask("b");
    yard.run(2 * SWITCH_MS);
    yard.set(key("policy", "p"), "/resume", 1);
    yard.run(2 * SWITCH_MS);
    assert_eq!(yard.with("b"), 10);
    let seed = yard.position("p").unwrap().seed;
    yard.ask("c");
    yard.run(600_000);
    assert_eq!((yard.with("c"), stage(&yard)), (1, Some((1, Stand::Paused))));
    assert_ne!(yard.position("p").unwrap().seed, seed);
    yard.set(key("policy", "p"), "/resume", 2);
    yard.run(2 * SWITCH_MS);
    assert_eq!(yard.with("c"), 10);
}

#[test]
fn too_many_failures_freeze_what_the_policy_covers_once() {
    let mut yard = Yard::new(20);
    let limits = [
        ("/selector", "rack".into()),
        ("/maxInFlight", Value::Int(2)),
        ("/maxFailed", Value::Int(1)),
    ];
    yard.policy("p", &limits).unwrap();
    yard.broken = (0..20).map(|number| yard.uid(&format!("n{number}"))).collect();
    yard.ask("b");
    yard.run(600_000);
    assert_eq!(yard.store.freezes().len(), 1);
    assert_eq!(yard.in_phase(PhaseName::Frozen), 20);
    assert!((2..=3).contains(&yard.order.len()), "{:?}", yard.order);
    let frozen = "policy p: 2 have failed, more than 1; what it covers is frozen";
    assert_eq!(yard.told.iter().filter(|text| *text == frozen).count(), 1, "{:?}", yard.told);
    // Thawed, it goes on until one more has failed.
    yard.thaw();
    let before = yard.order.len();
    yard.run(SWITCH_MS - 1);
    assert_eq!(yard.store.freezes().len(), 0, "the failures that were braked for are known");
    assert!(yard.order.len() > before);
    yard.run(600_000);
    assert_eq!(yard.store.freezes().len(), 1);
}

/// A leader dies at every half second of a rollout: each node is disrupted once, none is left.
#[test]
fn a_rollout_is_resumed_exactly_once_whenever_its_leader_dies() {
    for at in (0..60_000).step_by(500) {
        let mut yard = Yard::new(8);
        let limits = [("/canary", "1 5s, 50% 5s".into()), ("/maxInFlight", Value::Int(2))];
        yard.policy("p", &limits).unwrap();
        yard.ask("b");
        yard.run(at);
        let stage = yard.position("p").map_or(0, |position| position.stage);
        yard.fail_over();
        yard.settle();
        let resumed = yard.position("p").map_or(0, |position| position.stage);
        assert!(resumed == stage.max(1) || resumed == stage + 1, "at {at}: {stage} to {resumed}");
        for _ in 0..20 {
            yard.run(20_000);
            yard.sweep();
        }
        let mut order = yard.order.clone();
        order.sort();
        order.dedup();
        assert_eq!((order.len(), yard.order.len()), (8, 8), "at {at}: {:?}", yard.order);
        assert_eq!((yard.with("b"), yard.most_open <= 2), (8, true), "at {at}");
    }
}

#[test]
fn a_pause_outlives_its_leader() {
    let mut yard = Yard::new(8);
    yard.policy("p", &[("/canary", "2 pause".into())]).unwrap();
    yard.ask("b");
    yard.run(60_000);
    for _ in 0..3 {
        yard.fail_over();
        yard.run(60_000);
        assert_eq!((yard.with("b"), stage(&yard)), (2, Some((1, Stand::Paused))));
    }
    yard.set(key("policy", "p"), "/resume", 7);
    yard.fail_over();
    yard.run(60_000);
    assert_eq!((yard.with("b"), yard.order.len()), (8, 8));
}
