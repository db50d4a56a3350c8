//! Freezes and thaws.

use super::*;
use crate::command::Targets;

fn labelled(object: &str, rack: &str) -> Op {
    let labels = Some([(name("rack"), rack.to_owned())].into());
    Op::Put { object: node(object), labels, owner: None, cfg: State::new() }
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.txn(vec![labelled("n1", "r1"), labelled("n2", "r1"), labelled("n3", "r2")]).unwrap();
    fleet
}

fn frozen(fleet: &Fleet) -> Vec<String> {
    let words = |object: &Arc<Object>| {
        Some(format!("{} {}", object.key.name, object.frozen.as_ref()?.scope))
    };
    fleet.store.of_kind("node").filter_map(words).collect()
}

fn rack(rack: &str) -> Targets {
    Targets::Selector(format!("rack={rack}").parse().unwrap())
}

#[test]
fn a_freeze_freezes_what_it_says_those_to_come_included() {
    let mut fleet = fleet();
    let applied = fleet.freeze(rack("r1")).unwrap();
    assert_eq!(applied.changes.len(), 2);
    assert_eq!(frozen(&fleet), ["n1 rack=r1", "n2 rack=r1"]);
    fleet.txn(vec![labelled("n4", "r1")]).unwrap();
    assert_eq!(frozen(&fleet), ["n1 rack=r1", "n2 rack=r1", "n4 rack=r1"]);
    fleet.txn(vec![labelled("n4", "r2")]).unwrap();
    assert_eq!(frozen(&fleet), ["n1 rack=r1", "n2 rack=r1"], "it does not match any more");
    let by = fleet.store.find(&node("n1")).unwrap().frozen.clone().unwrap();
    assert_eq!((by.by.as_str(), by.revision), ("ann", fleet.store.freezes()[0].revision));
}

#[test]
fn a_thaw_takes_back_a_freeze_in_the_words_of_the_freeze() {
    let mut fleet = fleet();
    fleet.freeze(Targets::Names(vec![name("n1"), name("n3")])).unwrap();
    fleet.freeze(rack("r1")).unwrap();
    assert_eq!(frozen(&fleet), ["n1 n1", "n2 rack=r1", "n3 n3"], "the oldest is named");
    assert_eq!(
        fleet.thaw(rack("r2")).unwrap_err().to_string(),
        "not frozen by that name: rack=r2 (frozen: n1, n3, rack=r1)"
    );
    fleet.thaw(Targets::Names(vec![name("n1")])).unwrap();
    assert_eq!(frozen(&fleet), ["n1 rack=r1", "n2 rack=r1", "n3 n3"], "the other freeze holds");
    fleet.thaw(rack("r1")).unwrap();
    assert_eq!(frozen(&fleet), ["n3 n3"]);
}

#[test]
fn the_fleet_is_frozen_and_thawed_as_a_whole() {
    let mut fleet = fleet();
    fleet.freeze(Targets::All).unwrap();
    fleet.freeze(rack("r1")).unwrap();
    assert_eq!(frozen(&fleet), ["n1 all", "n2 all", "n3 all"]);
    assert_eq!(
        fleet.thaw(Targets::Names(vec![name("n1")])).unwrap_err().to_string(),
        "not frozen by that name: n1 (frozen: all, rack=r1)"
    );
    let applied = fleet.thaw(Targets::All).unwrap();
    assert_eq!(applied.changes.len(), 3);
    assert_eq!(frozen(&fleet), [""; 0]);
    assert!(fleet.store.freezes().is_empty());
    let applied = fleet.thaw(Targets::All).unwrap();
    assert!(applied.changes.is_empty(), "there was nothing to thaw");
}

#[test]
fn a_second_freeze_of_the_same_words_changes_nothing() {
    let mut fleet = fleet();
    fleet.freeze(rack("r1")).unwrap();
    let before = frozen(&fleet);
    let first = fleet.store.freezes().to_vec();
    let applied = fleet.freeze(rack("r1")).unwrap();
    assert!(applied.changes.is_empty());
    assert_eq!(fleet.store.freezes(), first);
    assert_eq!(frozen(&fleet), before);
}

#[test]
fn freezes_moves_the_revision_and_not_the_generation() {
    let mut fleet = fleet();
    let before = fleet.store.find(&node("n1")).unwrap().clone();
    fleet.freeze(Targets::All).unwrap();
    let after = fleet.store.find(&node("n1")).unwrap();
    assert_eq!(after.generation, before.generation);
    assert!(after.revision > before.revision);
}
