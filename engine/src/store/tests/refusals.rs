//! Each reason for which the store refuses, and that nothing has changed by it.

use std::collections::BTreeSet;

use super::*;
use crate::{
    command::{Condition, OPS_MAX, Precondition, Targets},
    object::{HOST_PATH, LABEL_BYTES_MAX, LABELS_MAX, Labels},
    store::freeze::FREEZES_MAX,
};

/// Complete by construction: a new variant does not compile until it stands here.
fn variant(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoSuchObject(_) => "NoSuchObject",
        Refusal::NoSuchUid(_) => "NoSuchUid",
        Refusal::Exists(_) => "Exists",
        Refusal::Precondition { .. } => "Precondition",
        Refusal::Invalid { .. } => "Invalid",
        Refusal::Deleting(_) => "Deleting",
        Refusal::HasGuest { .. } => "HasGuest",
        Refusal::OwnerCycle(_) => "OwnerCycle",
        Refusal::Limit { .. } => "Limit",
        Refusal::NotFrozen(_) => "NotFrozen",
        Refusal::StaleTerm { .. } => "StaleTerm",
        Refusal::Manifest(_) => "Manifest",
        Refusal::Founded => "Founded",
        Refusal::InUse { .. } => "InUse",
        Refusal::BuiltIn(_) => "BuiltIn",
        Refusal::NoSuchModule(_) => "NoSuchModule",
    }
}

const VARIANTS: usize = 16;

fn txn(op: Op) -> Command {
    Command::Txn(Txn { ops: vec![op], ..Txn::default() })
}

fn owned(object: &str, owner: &str) -> Op {
    Op::Put { object: node(object), labels: None, owner: Some(node(owner)), cfg: State::new() }
}

#[test]
fn the_place_of_a_precondition_is_read_as_it_was_written_on_any_machine() {
    let refusal = |index| Refusal::Precondition { index, object: node("n1"), why: "no".to_owned() };
    // Written when the place was as wide as the machine's words.
    let written = rmp_serde::to_vec_named(&[0_usize, 300, 70_000]).unwrap();
    let read: Vec<u32> = rmp_serde::from_slice(&written).unwrap();
    assert_eq!(read, [0, 300, 70_000]);
    for index in read {
        let bytes = rmp_serde::to_vec_named(&refusal(index)).unwrap();
        assert_eq!(rmp_serde::from_slice::<Refusal>(&bytes).unwrap(), refusal(index));
    }
}

fn labelled(count: usize, bytes: usize) -> Op {
    let labels = (0..count).map(|label| (name(&format!("l{label}")), "v".repeat(bytes)));
    let labels: Labels = labels.collect();
    Op::Put { object: node("n1"), labels: Some(labels), owner: None, cfg: State::new() }
}

fn of_objects() -> Vec<(Command, &'static str)> {
    let nobody = ObjectRef { kind: name("ghost"), namespace: None, name: name("g") };
    let ghost = Op::Put { object: nobody, labels: None, owner: None, cfg: State::new() };
    let uid = Uid::from_bytes([9; 16]);
    let absent = Precondition { object: node("n1"), is: Condition::Absent };
    let exists = Precondition { object: node("n9"), is: Condition::Exists };
    let holding =
        |precondition| Command::Txn(Txn { preconditions: vec![precondition], ..Txn::default() });
    vec![
        (txn(Fleet::merge("n9", &[], &[])), "there is no node n9"),
        (txn(owned("n1", "n9")), "there is no node n9"),
        (txn(Op::Delete { object: node("n9"), force: true }), "there is no node n9"),
        (
            txn(Op::Remove { uid, revision: Revision::new(1) }),
            "there is no object with uid 09090909-0909-0909-0909-090909090909",
        ),
        (holding(absent), "already there: node n1"),
        (holding(exists), "precondition 0 does not hold: node n9 does not exist"),
        (
            txn(Fleet::put("n1", &[("/powr", "ON")])),
            "node n1: /powr: no extension declares this path (did you mean /power?)",
        ),
        (
            txn(Fleet::put("n1", &[("/power", "on")])),
            "node n1: /power: on is not one of OFF, ON (did you mean ON?)",
        ),
        (
            txn(Fleet::put("n1", &[("/serial", "x")])),
            "node n1: /serial: it is only discovered and cannot be set",
        ),
        (txn(ghost), "ghost g: kind: no extension declares objects of kind ghost"),
        (
            txn(Fleet::merge("going", &[("/note", "x")], &[])),
            "node going is being deleted; wait until it is gone, or delete it with force",
        ),
        (
            txn(Fleet::put("going", &[])),
            "node going is being deleted; wait until it is gone, or delete it with force",
        ),
        (
            txn(Op::Delete { object: node("n3"), force: false }),
            "node n3 hosts post p, which must never run twice: give it another host or delete it \
             first",
        ),
        (txn(owned("n1", "n1")), "node n1 would come to own itself"),
        (txn(owned("n1", "n3")), "node n1 would come to own itself"),
    ]
}

fn of_the_fleet() -> Vec<(Command, &'static str)> {
    let too_many = vec![Fleet::merge("n1", &[], &[]); OPS_MAX + 1];
    let no_path = Manifest::new("x").discovers("/nothing");
    let cluster = ClusterId::new(2);
    vec![
        (
            Command::Txn(Txn { ops: too_many, ..Txn::default() }),
            "the number of operations is limited to 10000",
        ),
        (txn(labelled(LABELS_MAX + 1, 1)), "the number of labels is limited to 64"),
        (
            txn(labelled(1, LABEL_BYTES_MAX + 1)),
            "the length of a label value in bytes is limited to 256",
        ),
        (
            Command::Thaw { targets: Targets::Names(vec![name("n1")]) },
            "not frozen by that name: n1 (frozen: nothing)",
        ),
        (Command::Freeze { targets: Targets::Names(vec![name("n9")]) }, "there is no node n9"),
        (
            Command::OpenIntents { term: Term::new(2), intents: Vec::new() },
            "an intent of term 2 in an entry of term 3",
        ),
        (
            Command::Declare { manifests: vec![no_path] },
            "module x, discovers /nothing: no extension declares this path",
        ),
        (Command::Found { cluster }, "the cluster was founded before"),
        (
            Command::Declare { manifests: vec![Manifest::new("base")] },
            "stored objects would no longer fit: node going: kind: no extension declares objects \
             of kind node; node n1: kind: no extension declares objects of kind node; node n2: \
             kind: no extension declares objects of kind node; node n3: kind: no extension \
             declares objects of kind node",
        ),
        (
            Command::Add { manifests: vec![kit::manifest()] },
            "module base is part of this release and cannot be replaced or withdrawn",
        ),
        (
            Command::Withdraw { modules: vec!["ghost".to_owned()], force: false },
            "there is no module ghost",
        ),
    ]
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    let ops = vec![
        Fleet::put("n1", &[]),
        owned("n2", "n1"),
        owned("n3", "n2"),
        Fleet::put("going", &[("/power", "ON")]),
        Op::Delete { object: node("going"), force: false },
    ];
    fleet.txn(ops).unwrap();
    fleet.declare(kit::posts(10)).unwrap();
    let post = ObjectRef { kind: name("post"), namespace: None, name: name("p") };
    let cfg = state(&[(HOST_PATH, "n3")]);
    fleet.txn(vec![Op::Put { object: post, labels: None, owner: None, cfg }]).unwrap();
    fleet
}

#[test]
fn each_refusal_says_why_and_changes_nothing() {
    let mut seen = BTreeSet::new();
    for (command, expected) in of_objects().into_iter().chain(of_the_fleet()) {
        let refusal = fleet().try_command(command).expect_err(expected);
        assert_eq!(refusal.to_string(), expected);
        seen.insert(variant(&refusal));
    }
    assert_eq!(seen.len(), VARIANTS, "{seen:?}");
}

#[test]
fn limits_hold_to_the_last_one() {
    let mut fleet = fleet();
    assert!(fleet.txn(vec![labelled(LABELS_MAX, LABEL_BYTES_MAX)]).is_ok());
    assert!(fleet.txn(vec![Fleet::merge("n1", &[], &[]); OPS_MAX]).is_ok());
}

#[test]
fn freezes_are_limited() {
    let mut fleet = fleet();
    let names = |from: usize, to: usize| (from..to).map(|node| name(&format!("f{node}"))).collect();
    let all: Vec<Name> = names(0, FREEZES_MAX + 1);
    for part in all.chunks(OPS_MAX) {
        let puts = part.iter().map(|node| Fleet::put(node.as_str(), &[])).collect();
        fleet.txn(puts).unwrap();
    }
    fleet.freeze(Targets::Names(names(0, FREEZES_MAX))).unwrap();
    let refused = fleet.freeze(Targets::Names(names(FREEZES_MAX, FREEZES_MAX + 1)));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the number of freezes in force is limited to 10000"
    );
}
