//! Transactions.

use super::*;
use crate::{
    command::{Condition, Precondition, Target},
    manifest::SetBy,
    object::Labels,
};

#[test]
fn a_put_replaces_the_whole_cfg() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[("/power", "ON"), ("/note", "a")])]).unwrap();
    fleet.txn(vec![Fleet::put("n1", &[("/note", "b")])]).unwrap();
    assert_eq!(fleet.cfg("n1"), state(&[("/note", "b")]));
}

#[test]
fn a_put_keeps_labels_and_owner_that_it_does_not_name() {
    let mut fleet = Fleet::new();
    let labels = Labels::from([(name("rack"), "r1".to_owned())]);
    let owned = Op::Put {
        object: node("n2"),
        labels: Some(labels.clone()),
        owner: Some(node("n1")),
        cfg: State::new(),
    };
    fleet.txn(vec![Fleet::put("n1", &[]), owned]).unwrap();
    fleet.txn(vec![Fleet::put("n2", &[("/note", "b")])]).unwrap();
    let object = fleet.store.find(&node("n2")).unwrap();
    assert_eq!(object.labels, labels);
    assert_eq!(object.owner, Some(fleet.store.find(&node("n1")).unwrap().uid));
}

/// A fleet whose node `n1` was placed; since then one module decides placements.
fn placed() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[("/place", "p1"), ("/note", "a")])]).unwrap();
    let mut manifest = kit::manifest();
    manifest.extensions[0].paths[3].set_by = SetBy::Module("base".to_owned());
    fleet.declare(manifest).unwrap();
    fleet
}

#[test]
fn a_put_keeps_decisions() {
    let mut fleet = placed();
    fleet.txn(vec![Fleet::put("n1", &[("/power", "ON")])]).unwrap();
    assert_eq!(fleet.cfg("n1"), state(&[("/place", "p1"), ("/power", "ON")]));
}

#[test]
fn a_decision_is_neither_set_nor_unset() {
    let mut fleet = placed();
    for (op, why) in [
        (Fleet::put("n1", &[("/place", "p2")]), "it is decided by module base, not set"),
        (Fleet::merge("n1", &[("/place", "p2")], &[]), "it is decided by module base, not set"),
        (Fleet::merge("n1", &[], &["/place"]), "it is decided by a module, not set"),
    ] {
        assert_eq!(fleet.txn(vec![op]).unwrap_err().to_string(), format!("node n1: /place: {why}"));
    }
}

#[test]
fn a_merge_unsets_first_and_leaves_the_rest() {
    let mut fleet = Fleet::new();
    let cfg = [("/note", "a"), ("/rule/x/port", "1"), ("/rule/y/port", "2")];
    fleet.txn(vec![Fleet::put("n1", &cfg)]).unwrap();
    fleet.txn(vec![Fleet::merge("n1", &[("/rule/z/port", "3")], &["/rule"])]).unwrap();
    assert_eq!(fleet.cfg("n1"), state(&[("/note", "a"), ("/rule/z/port", "3")]));
    fleet.txn(vec![Fleet::merge("n1", &[("/note", "b")], &["/note", "/power"])]).unwrap();
    assert_eq!(fleet.cfg("n1"), state(&[("/note", "b"), ("/rule/z/port", "3")]));
}

#[test]
fn a_selection_is_of_what_the_transaction_has_made_so_far() {
    let mut fleet = Fleet::new();
    let rack = |rack: &str| Some(Labels::from([(name("rack"), rack.to_owned())]));
    let put = |object: &str, labels| Op::Put {
        object: node(object),
        labels,
        owner: None,
        cfg: State::new(),
    };
    let all = |set: &[(&str, &str)]| Op::Merge {
        target: Target::Matching { kind: name("node"), selector: "rack=r1".parse().unwrap() },
        set: state(set),
        unset: Vec::new(),
    };
    fleet.txn(vec![put("n1", rack("r1")), put("n2", rack("r1")), put("n3", rack("r2"))]).unwrap();
    let ops = vec![
        put("n2", rack("r2")),
        put("n4", rack("r1")),
        Op::Delete { object: node("n3"), force: true },
        all(&[("/note", "here")]),
    ];
    fleet.txn(ops).unwrap();
    let noted = fleet.store.of_kind("node").filter(|object| !object.cfg.is_empty());
    assert_eq!(noted.map(|object| object.key.name.as_str()).collect::<Vec<_>>(), ["n1", "n4"]);
    assert!(fleet.txn(vec![all(&[])]).is_ok());
    fleet.txn(vec![put("n1", rack("r3")), put("n4", rack("r3"))]).unwrap();
    assert!(fleet.txn(vec![all(&[])]).is_ok(), "an empty selection is no fault");
}

#[test]
fn labels_are_set_and_unset() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[])]).unwrap();
    let label = |set: &[(&str, &str)], unset: &[&str]| Op::Label {
        target: Fleet::one("n1"),
        set: set.iter().map(|(label, value)| (name(label), (*value).to_owned())).collect(),
        unset: unset.iter().map(|label| name(label)).collect(),
    };
    fleet.txn(vec![label(&[("a", "1"), ("b", "2")], &[])]).unwrap();
    fleet.txn(vec![label(&[("b", "3")], &["a", "z"])]).unwrap();
    let labels = &fleet.store.find(&node("n1")).unwrap().labels;
    assert_eq!(*labels, Labels::from([(name("b"), "3".to_owned())]));
}

#[test]
fn preconditions_are_of_the_store_before_the_operations() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[("/note", "a")])]).unwrap();
    let revision = fleet.store.find(&node("n1")).unwrap().revision;
    let holding = |is: Condition| Txn {
        preconditions: vec![Precondition { object: node("n1"), is }],
        ops: vec![],
        note: None,
    };
    let value = |value: Option<&str>| Condition::Value(path("/note"), value.map(Into::into));
    for (is, why) in [
        (Condition::Exists, None),
        (Condition::Revision(revision), None),
        (
            Condition::Revision(Revision::new(99)),
            Some(format!("is at revision {revision}, not 99")),
        ),
        (value(Some("a")), None),
        (value(Some("b")), Some("has /note = a".to_owned())),
        (value(None), Some("has /note = a".to_owned())),
        (Condition::Value(path("/power"), None), None),
        (Condition::Value(path("/power"), Some("ON".into())), Some("has no /power".to_owned())),
    ] {
        let refused = fleet.try_command(Command::Txn(holding(is.clone()))).err();
        let expected = why.map(|why| format!("precondition 0 does not hold: node n1 {why}"));
        assert_eq!(refused.map(|refusal| refusal.to_string()), expected, "{is:?}");
    }
}

#[test]
fn all_that_exists_already_is_named_at_once() {
    let mut fleet = Fleet::new();
    fleet.txn(vec![Fleet::put("n1", &[]), Fleet::put("n3", &[])]).unwrap();
    let absent = |object: &str| Precondition { object: node(object), is: Condition::Absent };
    let preconditions = ["n1", "n2", "n3"].map(absent).to_vec();
    let ops = vec![Fleet::put("n2", &[])];
    let refused = fleet.try_command(Command::Txn(Txn { preconditions, ops, note: None }));
    assert_eq!(refused.unwrap_err().to_string(), "already there: node n1, node n3");
}

#[test]
fn a_transaction_is_applied_whole_or_not_at_all() {
    let mut fleet = Fleet::new();
    let ops = vec![Fleet::put("n1", &[("/power", "ON")]), Fleet::put("n2", &[("/power", "HOT")])];
    assert!(fleet.txn(ops).is_err());
    assert!(fleet.store.find(&node("n1")).is_none());
}
