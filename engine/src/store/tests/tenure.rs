//! Who may still run what must never run twice: a row of the table in `store/tenure.rs` each.

use super::{kit::posts, *};
use crate::{
    command::Targets,
    object::{Former, HOST_PATH, Tenure},
};

fn key() -> ObjectRef {
    ObjectRef { kind: name("post"), namespace: None, name: name("p") }
}

fn put(host: &str) -> Op {
    let cfg = match host {
        "" => state(&[("/duty", "ON")]),
        host => state(&[("/duty", "ON"), (HOST_PATH, host)]),
    };
    Op::Put { object: key(), labels: None, owner: None, cfg }
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.declare(posts(10)).unwrap();
    fleet.txn(vec![Fleet::put("a", &[]), Fleet::put("b", &[])]).unwrap();
    fleet
}

fn post(fleet: &Fleet) -> &Arc<Object> {
    fleet.store.find(&key()).unwrap()
}

fn former(fleet: &Fleet) -> Option<String> {
    post(fleet).former().map(ToString::to_string)
}

fn release(fleet: &mut Fleet, before: u64) -> Result<Applied, Refusal> {
    let (uid, revision) = (post(fleet).uid, post(fleet).revision);
    let revision = Revision::new(revision.get() - before);
    fleet.txn(vec![Op::Release { uid, revision, floor_ms: 50 }])
}

#[test]
fn the_former_host_keeps_it_until_it_is_released() {
    let mut fleet = fleet();
    // What Cfg names, who is kept as the former host, and who hosts it then.
    let table = [
        ("", None, None),
        ("a", None, Some("a")),
        ("b", Some("a"), Some("a")),
        ("c", Some("a"), Some("a")),
        ("a", None, Some("a")),
        ("", Some("a"), Some("a")),
        ("b", Some("a"), Some("a")),
        ("b", Some("a"), Some("a")),
    ];
    for (named, kept, hosts) in table {
        fleet.txn(vec![put(named)]).unwrap();
        assert_eq!(former(&fleet).as_deref(), kept, "{named:?}");
        let host = post(&fleet).host();
        assert_eq!(host.as_ref().map(Name::as_str), hosts, "{named:?}");
        assert_eq!(post(&fleet).is_leaving(), kept.is_some(), "{named:?}");
        assert_eq!(post(&fleet).heir(), Name::new(named).ok());
    }
    assert!(post(&fleet).is_hosted_by(&name("a")) && !post(&fleet).is_hosted_by(&name("b")));
    let generation = post(&fleet).generation;
    release(&mut fleet, 0).unwrap();
    assert!(post(&fleet).is_hosted_by(&name("b")) && !post(&fleet).is_leaving());
    assert_eq!(post(&fleet).tenure.floor_ms, 50);
    assert_eq!(post(&fleet).generation, generation, "nothing else is asked of it");
    fleet.txn(vec![put("b")]).unwrap();
    assert_eq!(former(&fleet), None);
}

#[test]
fn what_has_moved_is_not_released() {
    let mut fleet = fleet();
    fleet.txn(vec![put("a")]).unwrap();
    let why = release(&mut fleet, 0).unwrap_err().to_string();
    assert_eq!(why, "precondition 0 does not hold: post p is with no former host");
    fleet.txn(vec![put("b")]).unwrap();
    let why = release(&mut fleet, 1).unwrap_err().to_string();
    assert_eq!(why, "precondition 0 does not hold: post p is at revision 7, not 6");
    release(&mut fleet, 0).unwrap();
}

#[test]
fn when_it_was_thawed_is_kept_and_of_others_it_is_not() {
    let mut fleet = fleet();
    fleet.txn(vec![put("a")]).unwrap();
    fleet.freeze(Targets::All).unwrap();
    assert_eq!(post(&fleet).tenure, Tenure::default());
    fleet.thaw(Targets::All).unwrap();
    let thawed = Some(fleet.store.revision());
    assert_eq!(post(&fleet).tenure, Tenure { former: None, thawed, floor_ms: 0 });
    let other = fleet.store.find(&node("a")).unwrap();
    assert_eq!(other.tenure, Tenure::default(), "a node hosts itself");
    fleet.txn(vec![put("b")]).unwrap();
    let former = Former { host: name("a"), since: fleet.store.revision() };
    fleet.txn(vec![put("c")]).unwrap();
    assert_eq!(
        post(&fleet).tenure,
        Tenure { former: Some(former), thawed, floor_ms: 0 },
        "since the first"
    );
}

#[test]
fn a_lease_stays_as_long_as_there_are_objects() {
    let mut fleet = fleet();
    fleet.declare(posts(20)).unwrap();
    fleet.txn(vec![put("a")]).unwrap();
    let why = fleet.declare(posts(10)).unwrap_err().to_string();
    assert!(why.starts_with("stored objects would no longer fit: post p: singletonLeaseMs: its"));
    let mut unbound = posts(20);
    unbound.kinds.clear();
    assert!(matches!(fleet.declare(unbound), Err(Refusal::InUse { .. })));
    let mut quicker = posts(20);
    for mutation in &mut quicker.mutations {
        mutation.timeout_ms /= 2;
    }
    let refused = fleet.declare(quicker.clone());
    assert!(matches!(refused, Err(Refusal::InUse { .. })), "hosts may know the slower one");
    for mutation in &mut quicker.mutations {
        mutation.timeout_ms *= 4;
    }
    fleet.declare(quicker).unwrap();
    fleet.txn(vec![Op::Delete { object: key(), force: true }]).unwrap();
    fleet.declare(posts(10)).unwrap();
}

#[test]
fn a_node_that_hosts_one_is_not_deleted_but_by_force() {
    let mut fleet = fleet();
    fleet.txn(vec![put("a")]).unwrap();
    let delete = |force| vec![Op::Delete { object: node("a"), force }];
    let why = fleet.txn(delete(false)).unwrap_err().to_string();
    assert_eq!(
        why,
        "node a hosts post p, which must never run twice: give it another host or delete it first"
    );
    fleet.txn(vec![put("b")]).unwrap();
    assert!(fleet.txn(delete(false)).is_err(), "it may still run there");
    release(&mut fleet, 0).unwrap();
    fleet.txn(delete(false)).unwrap();
    fleet.txn(vec![Op::Delete { object: node("b"), force: true }]).unwrap();
}

#[test]
fn a_node_that_got_a_guest_while_it_was_being_deleted_stays_until_that_has_left() {
    let mut fleet = fleet();
    fleet.txn(vec![Fleet::put("a", &[("/power", "ON")])]).unwrap();
    fleet.txn(vec![Op::Delete { object: node("a"), force: false }]).unwrap();
    fleet.txn(vec![put("a")]).unwrap();
    let a = fleet.store.find(&node("a")).unwrap().clone();
    let remove = || vec![Op::Remove { uid: a.uid, revision: a.revision }];
    assert!(matches!(fleet.txn(remove()), Err(Refusal::HasGuest { .. })));
    fleet.txn(vec![put("b")]).unwrap();
    assert!(fleet.txn(remove()).is_err());
    release(&mut fleet, 0).unwrap();
    fleet.txn(remove()).unwrap();
}

#[test]
fn what_is_to_be_nowhere_goes_when_it_is_sure_to_be_stopped() {
    let mut fleet = fleet();
    fleet.txn(vec![put("a")]).unwrap();
    fleet.txn(vec![put("")]).unwrap();
    // Nothing is asked of it, and it may run all the same.
    let bare = Op::Put { object: key(), labels: None, owner: None, cfg: State::new() };
    fleet.txn(vec![bare]).unwrap();
    fleet.txn(vec![Op::Delete { object: key(), force: false }]).unwrap();
    assert!(post(&fleet).deleting, "its host is to stop it first");
    release(&mut fleet, 0).unwrap();
    assert!(fleet.store.find(&key()).is_none());
}

#[test]
fn a_new_host_is_not_asked_whether_it_knows_of_an_earlier_thaw() {
    let mut fleet = fleet();
    fleet.txn(vec![put("a")]).unwrap();
    fleet.freeze(Targets::All).unwrap();
    fleet.thaw(Targets::All).unwrap();
    fleet.txn(vec![put("b")]).unwrap();
    assert!(post(&fleet).tenure.thawed.is_some());
    release(&mut fleet, 0).unwrap();
    assert_eq!(post(&fleet).tenure.thawed, None);
}
