//! A copy of the store costs as much as is changed after it, and is not changed itself.

use std::sync::Arc;

use super::{
    super::Store,
    kit::{Fleet, node},
};
use crate::{
    command::{Command, Op, Outcome, RequestId, Targets, Txn},
    id::Revision,
    time::Millis,
};

/// So many objects and answers that a tree over them has three levels.
const MANY: usize = 5_000;
/// What one write may touch: the leaves over what it changes, some dozen items in each.
const TOUCHED_MAX: usize = 200;

fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    let names: Vec<String> = (0..MANY).map(|number| format!("n{number}")).collect();
    let ops: Vec<Op> = names.iter().map(|name| Fleet::put(name, &[])).collect();
    for ops in ops.chunks(1_000) {
        fleet.apply_txn(ops.to_vec());
    }
    for number in 0..MANY {
        let outcome = Outcome::Applied {
            revision: Revision::new(1),
            changed: Vec::new(),
            refused_intents: Vec::new(),
        };
        fleet.store.requests.keep(request(number), outcome, Millis::ZERO);
    }
    fleet
}

fn request(number: usize) -> RequestId {
    RequestId(format!("r{number}").into())
}

/// How many objects and answers stand in leaves that the copy does not share: each such leaf
/// holds its items once more.
fn unshared(store: &Store) -> (usize, usize) {
    let objects = store.objects.values().filter(|object| Arc::strong_count(object) > 1).count();
    (objects, store.requests.unshared())
}

#[test]
fn one_write_after_a_copy_copies_no_more_than_it_touches() {
    let mut fleet = fleet();
    assert_eq!(unshared(&fleet.store), (0, 0));
    let copy = fleet.store.clone();
    assert_eq!(unshared(&fleet.store), (0, 0), "a copy alone copies nothing");
    let put = Fleet::put("n77", &[("/power", "ON")]);
    let txn = Txn { ops: vec![put], ..Txn::default() };
    fleet.ask(Some(request(MANY)), Command::Txn(txn));
    let (objects, answers) = unshared(&fleet.store);
    assert!((1..TOUCHED_MAX).contains(&objects), "{objects} objects are held twice");
    assert!((1..TOUCHED_MAX).contains(&answers), "{answers} answers are held twice");
    drop(copy);
    assert_eq!(unshared(&fleet.store), (0, 0));
}

#[test]
fn a_copy_stays_what_it_was_whatever_is_written_after_it() {
    let mut fleet = fleet();
    let copy = fleet.store.clone();
    let before = rmp_serde::to_vec_named(&copy).unwrap();
    fleet.freeze(Targets::All).unwrap();
    fleet.thaw(Targets::All).unwrap();
    fleet.ask(Some(request(MANY)), Command::Retry { targets: Targets::All });
    let delete = Op::Delete { object: node("n5"), force: true };
    fleet.apply_txn(vec![delete, Fleet::put("more", &[("/power", "ON")])]);
    assert!(before == rmp_serde::to_vec_named(&copy).unwrap());
    assert!(copy.find(&node("n5")).is_some() && copy.find(&node("more")).is_none());
    assert!(copy.answer(&request(MANY)).is_none());
    assert_ne!(copy.digest_of_objects(), fleet.store.digest_of_objects());
}
