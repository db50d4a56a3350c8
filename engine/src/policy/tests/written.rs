//! What may be written of a policy, and what is said where it may not.

use super::kit::{Yard, key};
use crate::{
    command::{Command, Op, Refusal, Target},
    id::{Revision, Term},
    path::Path,
    policy::{POLICIES_MAX, STAGES_MAX},
    state::State,
    value::Value,
};

#[test]
fn what_cannot_be_is_refused_with_what_would_be_right() {
    for (path, value, expected) in [
        ("/selector", "a b=c".into(), "is not part of a selector: write label=value"),
        ("/kind", "a b".into(), "a b"),
        ("/maxInFlight", "two".into(), "two is neither a count such as 2 nor a share such as 10%"),
        ("/maxInFlight", "101%".into(), "is neither a count such as 2"),
        ("/maxFailed", Value::Int(-1), "is neither a count such as 2"),
        ("/minHealthy", true.into(), "is neither a count such as 2"),
        ("/ratePerMinute", Value::Int(0), "0 is not a whole number from 1 to 10000"),
        ("/per", "module, a b".into(), "write it as module, rack"),
        ("/per", "a,b,c,d,e".into(), "the number of labels is limited to 4"),
        ("/canary", "1 then".into(), "write it as 1 pause, 10% 10m, 50%"),
        ("/canary", "0".into(), "write it as 1 pause, 10% 10m, 50%"),
        ("/canary", vec!["1"; STAGES_MAX + 1].join(",").into(), "is limited to 32"),
        ("/windows", "Saturday".into(), "write it as Sat 02:00-06:00 UTC"),
        ("/cycleUnreachable", "10m".into(), "write it as after 10m"),
        ("/maxLost", "x".into(), "is neither a count such as 2"),
        ("/resume", "now".into(), "is not a whole number"),
        ("/rollout/stage", Value::Int(3), "it is decided by module engine, not set"),
        ("/maxInflight", Value::Int(3), "did you mean /maxInFlight?"),
    ] {
        let mut yard = Yard::new(1);
        match yard.policy("p", &[(path, value.clone())]) {
            Err(Refusal::Invalid { path: at, why, .. }) => {
                assert_eq!(at, path);
                assert!(why.contains(expected), "{path} {value}: {why}");
            }
            other => panic!("{path} {value}: {other:?}"),
        }
        assert!(yard.store.rules().is_empty());
    }
}

#[test]
fn what_can_be_is_taken() {
    let mut yard = Yard::new(1);
    let all = [
        ("/selector", "rack=r1,!gone".into()),
        ("/kind", "node".into()),
        ("/per", "module, rack".into()),
        ("/maxInFlight", "10%".into()),
        ("/ratePerMinute", Value::Int(10_000)),
        ("/maxFailed", Value::Int(0)),
        ("/minHealthy", "90%".into()),
        ("/canary", "1 pause, 10% 10m,50%".into()),
        ("/windows", "Sat 02:00-06:00 UTC, daily 12:00-12:30".into()),
        ("/maxLost", "5%".into()),
        ("/cycleUnreachable", "after 10m".into()),
        ("/resume", Value::Int(1)),
    ];
    assert_eq!(yard.policy("p", &all), Ok(()));
    assert_eq!(yard.store.rules().policies().count(), 1);
}

#[test]
fn a_policy_that_is_changed_or_removed_says_no_longer_what_it_said() {
    let mut yard = Yard::new(10);
    yard.policy("p", &[("/selector", "rack=r1".into())]).unwrap();
    let total = |yard: &Yard| {
        let rules = yard.store.rules();
        rules.policies().map(|policy| rules.total(policy.uid)).sum::<u32>()
    };
    assert_eq!(total(&yard), 5);
    yard.policy("p", &[("/selector", "rack".into())]).unwrap();
    assert_eq!(total(&yard), 10);
    let target = Target::One(key("node", "n1"));
    let labels = [(super::kit::name("rack"), "r9".to_owned())].into();
    yard.txn(vec![Op::Label { target, set: labels, unset: vec![super::kit::name("rack")] }])
        .unwrap();
    assert_eq!(total(&yard), 10);
    let target = Target::One(key("node", "n1"));
    let unset = vec![super::kit::name("rack")];
    yard.txn(vec![Op::Label { target, set: [].into(), unset }]).unwrap();
    assert_eq!(total(&yard), 9);
    yard.txn(vec![Op::Delete { object: key("node", "n2"), force: true }]).unwrap();
    assert_eq!(total(&yard), 8);
    yard.txn(vec![Op::Delete { object: key("policy", "p"), force: false }]).unwrap();
    assert!(yard.store.rules().is_empty());
}

#[test]
fn the_number_of_policies_has_a_limit() {
    let mut yard = Yard::new(0);
    let put = |number: usize| Op::Put {
        object: key("policy", &format!("p{number}")),
        labels: None,
        owner: None,
        cfg: State::new(),
    };
    assert!(yard.txn((0..=POLICIES_MAX).map(put).collect()).is_err());
    yard.txn((0..POLICIES_MAX).map(put).collect()).unwrap();
    assert!(matches!(yard.policy("more", &[]), Err(Refusal::Limit { .. })));
    assert_eq!(
        yard.policy("p0", &[("/maxInFlight", Value::Int(1))]),
        Ok(()),
        "it is there already"
    );
}

#[test]
fn a_decision_is_written_by_its_module_in_its_term_from_what_it_read() {
    let mut yard = Yard::new(1);
    yard.policy("p", &[]).unwrap();
    let held = yard.store.find(&key("policy", "p")).unwrap().clone();
    let decide = |term: u64, module: &str, revision: u64, at: &str| Command::Decide {
        term: Term::new(term),
        module: module.to_owned(),
        uid: held.uid,
        revision: Revision::new(revision),
        set: super::kit::state(&[(at, Value::Int(1))]),
        unset: vec![Path::new("/rollout/passed").unwrap()],
    };
    let now = held.revision.get();
    for command in [
        decide(2, "engine", now, "/rollout/stage"),
        decide(1, "other", now, "/rollout/stage"),
        decide(1, "engine", now - 1, "/rollout/stage"),
        decide(1, "engine", now, "/maxFailed"),
        decide(1, "engine", now, "/rollout/state"),
    ] {
        assert!(yard.write(command.clone()).is_err(), "{command:?}");
    }
    yard.write(decide(1, "engine", now, "/rollout/stage")).unwrap();
    let held = yard.store.find(&key("policy", "p")).unwrap();
    assert_eq!(held.cfg.get("/rollout/stage"), Some(&Value::Int(1)));
    // A write of the user's part leaves it.
    yard.policy("p", &[("/maxFailed", Value::Int(1))]).unwrap();
    let held = yard.store.find(&key("policy", "p")).unwrap();
    assert_eq!(held.cfg.get("/rollout/stage"), Some(&Value::Int(1)));
}
