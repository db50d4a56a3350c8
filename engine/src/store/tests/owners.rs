//! What becomes of what is owned: a row of the table in `store/owners.rs` each.

use super::*;
use crate::object::OnDelete;

fn own(object: &str, owner: &str, on_delete: OnDelete) -> Op {
    Op::Own { object: node(object), owner: Some(node(owner)), on_delete }
}

fn delete(object: &str) -> Op {
    Op::Delete { object: node(object), force: false }
}

/// A rack with a cascading node that is on, one that has nothing to undo, and an orphan to be.
fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    let ops = vec![
        Fleet::put("rack", &[("/power", "ON")]),
        Fleet::put("on", &[("/power", "ON")]),
        Fleet::put("idle", &[]),
        Fleet::put("guest", &[("/note", "stays")]),
        own("on", "rack", OnDelete::Cascade),
        own("idle", "rack", OnDelete::Cascade),
        own("guest", "rack", OnDelete::Orphan),
    ];
    fleet.txn(ops).unwrap();
    fleet
}

fn find<'a>(fleet: &'a Fleet, object: &str) -> Option<&'a Arc<Object>> {
    fleet.store.find(&node(object))
}

fn remove(fleet: &mut Fleet, object: &str) -> Result<Applied, Refusal> {
    let object = find(fleet, object).unwrap();
    let (uid, revision) = (object.uid, object.revision);
    fleet.txn(vec![Op::Remove { uid, revision }])
}

#[test]
fn deletion_cascades_and_the_owner_goes_last() {
    let mut fleet = fleet();
    fleet.txn(vec![delete("rack")]).unwrap();
    assert!(find(&fleet, "idle").is_none(), "nothing of it has to be undone");
    assert!(find(&fleet, "on").unwrap().deleting);
    assert!(!find(&fleet, "guest").unwrap().deleting);
    assert_eq!(
        remove(&mut fleet, "rack").unwrap_err().to_string(),
        "precondition 0 does not hold: node rack is removed after node on, which it owns"
    );
    let before = find(&fleet, "rack").unwrap().revision;
    remove(&mut fleet, "on").unwrap();
    let rack = find(&fleet, "rack").unwrap();
    assert!(rack.revision > before, "its decider has to look at it anew");
    assert_eq!(find(&fleet, "guest").unwrap().owner, Some(rack.uid), "still");
    remove(&mut fleet, "rack").unwrap();
    let guest = find(&fleet, "guest").unwrap();
    assert_eq!((guest.owner, guest.deleting), (None, false));
    assert!(fleet.store.owned.is_empty());
}

#[test]
fn by_force_the_owner_goes_at_once_and_what_it_owned_in_order() {
    let mut fleet = fleet();
    fleet.txn(vec![Op::Delete { object: node("rack"), force: true }]).unwrap();
    assert!(find(&fleet, "rack").is_none());
    let on = find(&fleet, "on").unwrap();
    assert_eq!((on.deleting, on.owner), (true, None));
    assert_eq!(find(&fleet, "guest").unwrap().owner, None);
    assert!(fleet.store.owned.is_empty());
}

#[test]
fn an_owner_with_nothing_to_undo_goes_with_its_last_child() {
    let mut fleet = Fleet::new();
    let ops = vec![
        Fleet::put("room", &[]),
        Fleet::put("rack", &[]),
        Fleet::put("on", &[("/power", "ON")]),
        own("on", "rack", OnDelete::Cascade),
        own("rack", "room", OnDelete::Cascade),
    ];
    fleet.txn(ops).unwrap();
    fleet.txn(vec![delete("room")]).unwrap();
    assert!(["room", "rack", "on"].iter().all(|name| find(&fleet, name).unwrap().deleting));
    remove(&mut fleet, "on").unwrap();
    assert_eq!(fleet.store.objects().count(), 0);
    let mut whole = Fleet::new();
    whole.txn(vec![Fleet::put("a", &[]), Fleet::put("b", &[])]).unwrap();
    whole.txn(vec![own("b", "a", OnDelete::Cascade), delete("a")]).unwrap();
    assert_eq!(whole.store.objects().count(), 0, "nothing of either had to be undone");
}

#[test]
fn nothing_comes_to_be_owned_in_a_circle_or_by_what_goes() {
    let mut fleet = fleet();
    let circle = own("rack", "on", OnDelete::Orphan);
    assert_eq!(
        fleet.txn(vec![circle]).unwrap_err().to_string(),
        "node rack would come to own itself"
    );
    fleet.txn(vec![delete("rack"), Fleet::put("late", &[])]).unwrap();
    let late = own("late", "rack", OnDelete::Cascade);
    assert!(matches!(fleet.txn(vec![late]), Err(Refusal::Deleting(_))));
    let late = Op::Put {
        object: node("late"),
        labels: None,
        owner: Some(node("rack")),
        cfg: State::new(),
    };
    assert!(matches!(fleet.txn(vec![late]), Err(Refusal::Deleting(_))));
}

#[test]
fn an_owner_is_taken_away_and_a_snapshot_knows_who_owns_whom() {
    let mut fleet = fleet();
    let stored = rmp_serde::to_vec_named(&fleet.store).unwrap();
    let restored: Store = rmp_serde::from_slice(&stored).unwrap();
    assert_eq!(restored.owned, fleet.store.owned);
    let nobody = Op::Own { object: node("on"), owner: None, on_delete: OnDelete::Orphan };
    fleet.txn(vec![nobody]).unwrap();
    assert_eq!(fleet.store.owned.len(), 2);
    fleet.txn(vec![delete("rack")]).unwrap();
    assert!(!find(&fleet, "on").unwrap().deleting);
}
