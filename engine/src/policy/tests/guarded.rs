//! Lost links: what is not reached is not disrupted by itself.

use super::kit::{SWITCH_MS, Yard, key};
use crate::{
    command::{Command, Targets},
    status::PhaseName,
    value::Value,
};

/// A yard that has converged on image `b`.
fn converged(nodes: usize) -> Yard {
    let mut yard = Yard::new(nodes);
    for number in 0..nodes {
        yard.see(&format!("n{number}"), "/link", Some("UP"));
    }
    yard.ask("b");
    yard.run(2 * SWITCH_MS);
    assert_eq!(yard.with("b"), nodes);
    yard.order.clear();
    yard
}

/// Nodes whose link is lost, and of which nothing is known any more.
fn lose(yard: &mut Yard, numbers: std::ops::Range<usize>) {
    for number in numbers {
        yard.see(&format!("n{number}"), "/link", Some("DOWN"));
        yard.see(&format!("n{number}"), "/image", None);
    }
}

#[test]
fn a_node_that_is_merely_not_reached_is_reported_and_left_alone() {
    let mut yard = converged(20);
    lose(&mut yard, 0..1);
    yard.run(7_200_000);
    assert_eq!((yard.order.len(), yard.in_phase(PhaseName::Waiting)), (0, 1));
    let status = yard.status("n0");
    assert_eq!(status.waits_for.as_deref(), Some("a guard of the fleet: cycleUnreachable"));
    assert!(status.reason.unwrap().starts_with("n0 is not reached, and what is asked of it is"));
    let targets = Targets::Names(vec![super::kit::name("n0")]);
    yard.write(Command::Retry { targets }).unwrap();
    yard.run(2 * SWITCH_MS);
    assert_eq!(yard.order, ["n0"], "a person has asked for it");
}

#[test]
fn a_policy_has_it_disrupted_after_a_while() {
    let mut yard = converged(20);
    yard.policy("p", &[("/cycleUnreachable", "after 10m".into())]).unwrap();
    lose(&mut yard, 0..1);
    yard.run(600_000 - 1);
    assert_eq!(yard.order.len(), 0);
    assert_eq!(yard.status("n0").waits_for.as_deref(), Some("policy p: cycleUnreachable"));
    yard.run(2 * SWITCH_MS);
    assert_eq!(yard.order, ["n0"]);
}

#[test]
fn what_is_seen_to_differ_is_mended_also_while_the_link_is_down() {
    let mut yard = converged(20);
    yard.see("n0", "/link", Some("DOWN"));
    yard.see("n0", "/image", Some("old"));
    yard.run(2 * SWITCH_MS);
    assert_eq!(yard.order, ["n0"]);
}

#[test]
fn many_that_are_lost_together_are_the_network_until_a_look_or_a_person() {
    for (lost, held) in [(3, false), (4, true)] {
        let mut yard = converged(30);
        yard.policy("p", &[("/cycleUnreachable", "after 2m".into())]).unwrap();
        lose(&mut yard, 0..lost);
        yard.run(600_000);
        assert_eq!(yard.order.len(), if held { 0 } else { lost }, "{lost} lost");
        if !held {
            continue;
        }
        let status = yard.status("n0");
        assert_eq!(status.waits_for.as_deref(), Some("a guard of the fleet: maxLost"));
        let begins = "4 of 30 nodes lost their link within a minute, more than 3: it is taken for";
        assert!(status.reason.as_deref().unwrap().starts_with(begins), "{status:?}");
        // A person, for one; a look, for another.
        let targets = Targets::Names(vec![super::kit::name("n0")]);
        yard.write(Command::Retry { targets }).unwrap();
        yard.see("n1", "/link", Some("UP"));
        yard.run(2 * SWITCH_MS);
        yard.order.sort();
        assert_eq!(yard.order, ["n0", "n1", "n2", "n3"], "three that are left are not too many");
    }
}

#[test]
fn a_class_may_lose_fewer_than_the_fleet() {
    let mut yard = converged(30);
    let limits = [
        ("/cycleUnreachable", "after 2m".into()),
        ("/maxLost", Value::Int(1)),
        ("/per", "rack".into()),
    ];
    yard.policy("p", &limits).unwrap();
    lose(&mut yard, 4..7);
    yard.run(600_000);
    assert_eq!(yard.order, ["n4"], "one of rack r0, and two of rack r1");
    assert_eq!(yard.status("n5").waits_for.as_deref(), Some("policy p: maxLost"));
    yard.set(key("policy", "p"), "/maxLost", 2);
    yard.run(600_000);
    assert_eq!(yard.order.len(), 3);
}
