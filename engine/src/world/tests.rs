//! Worlds are the same for the same seed, come to rest, and are as busy as they should be.

use super::*;
use crate::{invariants::Entry, status::PhaseName};

fn short() -> Options {
    Options { leaves: 2, chaos_ms: 30_000, ..Options::default() }
}

/// Whether an attempt began that a leader decided.
fn is_led(what: &What) -> bool {
    matches!(what, What::Started { lane: Lane::Quorum, .. })
}

fn count(outcome: &Outcome, is: impl Fn(&What) -> bool) -> usize {
    outcome.trace.entries().iter().filter(|entry| is(&entry.what)).count()
}

#[test]
fn the_same_seed_makes_the_same_world() {
    let (one, other) = (run(11, &short()).unwrap(), run(11, &short()).unwrap());
    assert_eq!((one.events, one.lasted_ms), (other.events, other.lasted_ms));
    assert_eq!(one.trace, other.trace);
    assert_eq!(one.statuses, other.statuses);
    assert_ne!(run(12, &short()).unwrap().trace, one.trace);
}

#[test]
fn a_world_without_trouble_is_at_rest_at_once() {
    let outcome = run(1, &Options { chaos_ms: 0, calm_ms: 60_000, ..short() }).unwrap();
    assert_eq!(outcome.trace.check(), Ok(()));
    assert!(outcome.rests, "{:?}", outcome.statuses);
    for (name, status) in outcome.statuses {
        assert_eq!(status.map(|status| status.phase), Some(PhaseName::Converged), "{name}");
    }
}

#[test]
fn a_few_worlds_see_everything_that_the_invariants_speak_of() {
    let outcomes: Vec<Outcome> = (0..16).map(|seed| run(seed, &short()).unwrap()).collect();
    let all = |is: fn(&What) -> bool| outcomes.iter().map(|o| count(o, is)).sum::<usize>();
    assert!(all(|what| matches!(what, What::Started { .. })) > 50);
    assert!(all(|what| matches!(what, What::Started { disruptive: true, .. })) > 2);
    let ordered = |entry: &&Entry| entry.node.as_str().starts_with('n') && is_led(&entry.what);
    let entries = outcomes.iter().flat_map(|outcome| outcome.trace.entries());
    assert!(entries.filter(ordered).count() > 2, "leaders give orders to leaves");
    assert!(all(|what| matches!(what, What::Used { .. })) > 0);
    assert!(all(|what| matches!(what, What::Presumed { .. })) > 0);
    assert!(all(|what| matches!(what, What::Acknowledged(_))) > 50);
    assert!(all(|what| matches!(what, What::Holds { .. })) > 50);
    assert!(all(|what| matches!(what, What::Merged { .. })) > 100);
    assert!(all(|what| matches!(what, What::Replica { .. })) >= 24);
    assert!(all(|what| matches!(what, What::Tenant { .. })) > 20, "posts are kept");
    for outcome in &outcomes {
        assert_eq!(outcome.trace.check(), Ok(()));
        assert!(outcome.rests, "{:?}", outcome.statuses);
    }
}
