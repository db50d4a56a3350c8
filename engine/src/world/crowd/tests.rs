//! Crowds converge, do so again in the same way, and count what went wrong.

use super::*;
use crate::{manifest::NODE_KIND, object::ObjectRef, state::State, world::modules};

fn nodes(count: usize) -> Vec<Op> {
    let name = |text: &str| Name::new(text).unwrap();
    let mut cfg = State::new();
    cfg.set(Path::new("/physState").unwrap(), "ON".into()).unwrap();
    cfg.set(Path::new("/runState").unwrap(), "SYNC".into()).unwrap();
    cfg.set(Path::new("/services/web/state").unwrap(), "RUN".into()).unwrap();
    let put = |number| Op::Put {
        object: ObjectRef {
            kind: name(NODE_KIND),
            namespace: None,
            name: name(&format!("n{number}")),
        },
        labels: None,
        owner: None,
        cfg: cfg.clone(),
    };
    (0..count).map(put).collect()
}

fn run(seed: u64, faults: Faults) -> Report {
    let options = Options { seed, latency_ms: (50, 100), network_ms: 5, faults, for_ms: 3_600_000 };
    let mut crowd = Crowd::new(options, modules::manifests(), nodes(200)).unwrap();
    while crowd.go_on(1_000) {}
    crowd.report()
}

#[test]
fn a_crowd_without_faults_converges_and_does_so_again() {
    let report = run(1, Faults::default());
    assert_eq!(report.phases, BTreeMap::from([("Converged".to_owned(), 200)]));
    assert_eq!((report.attempts, report.failures), (800, 0), "a look, power, a boot, a service");
    let spread = report.convergence_ms.unwrap();
    assert!((100..2_000).contains(&spread.p99) && spread.count == 200, "{spread:?}");
    assert_eq!(run(1, Faults::default()), report);
    assert_ne!(run(2, Faults::default()), report);
}

#[test]
fn faults_cost_attempts_and_time_and_every_object_still_ends_somewhere() {
    let report = run(1, Faults { fail: 1_000, hang: 200, lie: 200, drift: 100 });
    let ended: usize = report.phases.values().sum();
    assert_eq!(ended, 200, "{:?}", report.phases);
    assert!(report.attempts > 600 && report.failures > 50, "{report:?}");
    assert!(!report.phases.contains_key("InFlight"), "{:?}", report.phases);
}

#[test]
fn a_spread_names_the_values_at_its_hundredths() {
    assert_eq!(Spread::of(&[]), None);
    let all: Vec<u64> = (1..=200).collect();
    let spread = Spread::of(&all).unwrap();
    assert_eq!((spread.p50, spread.p90, spread.p99, spread.max), (100, 180, 198, 200));
    assert_eq!(Spread::of(&[7]).unwrap().p50, 7);
}

#[test]
fn a_crowd_of_nobody_and_one_that_is_too_large_are_refused() {
    let options = || Options {
        seed: 1,
        latency_ms: (1, 1),
        network_ms: 1,
        faults: Faults::default(),
        for_ms: 1,
    };
    let nobody = Crowd::new(options(), modules::manifests(), Vec::new());
    assert!(matches!(nobody.err(), Some(Error::Nobody)));
    let many = vec![nodes(1).remove(0); OBJECTS_MAX + 1];
    let many = Crowd::new(options(), modules::manifests(), many);
    assert!(matches!(many.err(), Some(Error::TooMany { .. })));
}
