//! The module with its world in a folder and time that jumps.

use kraken_actors::module::{
    conformance::{self, Case},
    fake,
    harness::{self, Harness, Outcome, Time},
};
use kraken_engine::{catalog::Catalog, id::Name};
use serde_json::json;

use super::*;

fn node() -> Arc<ObjectView> {
    fake::asked(&fake::node("n1"), RUN, "SYNC")
}

/// Starts a module on an empty world and carries these mutations out; gives the last answer and
/// what is seen then.
async fn walk(config: serde_json::Value, mutations: &[&str]) -> (Outcome, [Option<Value>; 2]) {
    let mut harness = Harness::start(Sim::factory(), config).await.unwrap();
    let node = node();
    let mut outcome = Ok(());
    for mutation in mutations {
        outcome = harness.mutate(mutation, &[], &node).await;
    }
    harness.poll(std::slice::from_ref(&node)).await;
    let seen = [PHYS, RUN].map(|path| harness.seen(&node, path).cloned());
    (outcome, seen)
}

#[test]
fn mutations_change_machines_as_they_say() {
    for (mutations, phys, run) in [
        (&["Look"][..], "POWER_OFF", None),
        (&["PowerOn"], "POWER_ON", Some("INIT")),
        (&["PowerOn", "Boot"], "POWER_ON", Some("SYNC")),
        (&["PowerOn", "Boot", "PowerOn"], "POWER_ON", Some("SYNC")),
        (&["PowerOn", "Boot", "Reset"], "POWER_ON", Some("SYNC")),
        (&["PowerOn", "Boot", "PowerOff"], "POWER_OFF", None),
        (&["Boot"], "POWER_OFF", None),
        (&["PowerCycle"], "POWER_ON", Some("INIT")),
    ] {
        let (outcome, seen) = harness::run(Time::Paused, walk(json!({}), mutations));
        outcome.unwrap();
        assert_eq!(seen, [Some(phys.into()), run.map(Value::from)], "{mutations:?}");
    }
}

#[test]
fn a_node_drains_and_resumes_and_tells_of_nothing_else() {
    harness::run(Time::Paused, async {
        let mut harness = Harness::start(Sim::factory(), json!({})).await.unwrap();
        let asked = fake::asked(&fake::node("n1"), DRAIN, "DRAINED");
        let leaf = ObjectView { lookers: &[Looker::Host], ..asked.as_ref().clone() };
        let leaf = Arc::new(leaf);
        for (mutation, state) in [("Drain", "DRAINED"), ("Drain", "DRAINED"), ("Resume", "ACTIVE")]
        {
            harness.mutate(mutation, &[], &leaf).await.unwrap();
            assert_eq!(harness.seen(&leaf, DRAIN), Some(&state.into()));
        }
        assert_eq!([PHYS, RUN].map(|path| harness.seen(&leaf, path).cloned()), [None, None]);
    });
}

#[test]
fn faults_are_what_the_configuration_says() {
    for (fault, succeeds, ends) in
        [("fail", false, true), ("lie", true, true), ("hang", false, false)]
    {
        let config = json!({ "mutations": { "PowerOn": { fault: 1.0 } } });
        harness::run(Time::Paused, async {
            let mut harness = Harness::start(Sim::factory(), config).await.unwrap();
            let begun = harness.begin("PowerOn", &[], &node());
            harness.pass(Duration::from_secs(10)).await;
            if !ends {
                begun.cancel();
            }
            let (outcome, _) = harness.end(begun).await;
            assert_eq!(outcome.is_ok(), succeeds, "{fault}: {outcome:?}");
            assert_eq!(harness.seen(&node(), PHYS), Some(&"POWER_OFF".into()), "{fault}");
        });
    }
}

#[test]
fn a_boot_that_fails_leaves_an_error_that_a_reset_clears() {
    let config = json!({ "mutations": { "Boot": { "fail": 1.0 } } });
    for (mutations, run, succeeds) in
        [(&["PowerOn", "Boot"][..], "ERROR", false), (&["PowerOn", "Boot", "Reset"], "INIT", true)]
    {
        let (outcome, seen) = harness::run(Time::Paused, walk(config.clone(), mutations));
        assert_eq!(outcome.is_ok(), succeeds, "{mutations:?}");
        assert_eq!(seen[1], Some(run.into()), "{mutations:?}");
    }
}

#[test]
fn a_cycle_is_seen_on_its_way() {
    harness::run(Time::Paused, async {
        let config = json!({ "every": { "latency_min_ms": 1_000, "latency_max_ms": 1_000 } });
        let mut harness = Harness::start(Sim::factory(), config).await.unwrap();
        let begun = harness.begin("PowerCycle", &[], &node());
        assert!(harness.until_seen(&node(), PHYS, "POWER_CYCLE").await);
        harness.end(begun).await.0.unwrap();
        assert_eq!(harness.seen(&node(), PHYS), Some(&"POWER_ON".into()));
    });
}

#[test]
fn machines_that_are_not_asked_for_are_not_seen() {
    harness::run(Time::Paused, async {
        let mut harness = Harness::start(Sim::factory(), json!({})).await.unwrap();
        let other = fake::node("n2");
        harness.poll(std::slice::from_ref(&other)).await;
        assert_eq!(harness.seen(&other, PHYS), None);
    });
}

#[test]
fn a_wrong_configuration_is_refused() {
    harness::run(Time::Paused, async {
        for config in [
            json!({ "every": { "fail": 2 } }),
            json!({ "sed": 1 }),
            json!({ "in_memory": true, "world": "/tmp/machines" }),
        ] {
            let refused = Harness::start(Sim::factory(), config).await.err().unwrap();
            assert!(matches!(refused, ConfigureError::Invalid(_)), "{refused}");
        }
    });
}

#[test]
fn the_manifest_compiles_and_every_failure_is_left_by_something() {
    let manifest = Sim::manifest();
    let catalog = Catalog::build(std::slice::from_ref(&manifest)).unwrap();
    assert_eq!(catalog.kind(&Name::new("node").unwrap()).unwrap().mutations.len(), 10);
    for failing in &manifest.mutations {
        for (path, value) in &failing.fail_to {
            let leaves = |mutation: &MutationSpec| {
                let from = mutation.changes.get(path).map(|change| &change.from);
                matches!(from, Some(From::In(values)) if values.contains(value))
            };
            assert!(manifest.mutations.iter().any(leaves), "{} {path} {value}", failing.name);
        }
    }
}

#[test]
fn the_module_keeps_the_rules_of_modules() {
    for mutation in ["PowerOn", "PowerCycle", "Look"] {
        let case = Case::new(Sim::factory(), node(), mutation);
        assert_eq!(harness::run(Time::Paused, conformance::check(&case)), [], "{mutation}");
    }
}
