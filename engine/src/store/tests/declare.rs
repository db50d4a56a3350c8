//! What modules declare comes, changes and goes.

use super::*;
use crate::{
    command::MISFITS_MAX,
    manifest::{KindSpec, MutationSpec},
};

/// Racks with a door.
fn racks() -> Manifest {
    let doors = Type::enum_of(["SHUT", "OPEN"]);
    Manifest::new("racks")
        .extension(Extension::new("racks").kind("rack").path(PathSpec::new("/door", doors)))
        .discovers("/door")
        .mutation(MutationSpec::new("Open").kind("rack").changes("/door", "SHUT", "OPEN"))
        .mutation(MutationSpec::new("Shut").kind("rack").changes("/door", "OPEN", "SHUT"))
}

fn add(fleet: &mut Fleet, manifest: Manifest) -> Result<Applied, Refusal> {
    fleet.try_command(Command::Add { manifests: vec![manifest] })
}

fn withdraw(fleet: &mut Fleet, module: &str, force: bool) -> Result<Applied, Refusal> {
    fleet.try_command(Command::Withdraw { modules: vec![module.to_owned()], force })
}

fn rack(text: &str, namespace: Option<&str>) -> Op {
    let namespace = namespace.map(name);
    let object = ObjectRef { kind: name("rack"), namespace, name: name(text) };
    Op::Put { object, labels: None, owner: None, cfg: state(&[("/door", "OPEN")]) }
}

#[test]
fn a_module_is_added_replaced_and_withdrawn() {
    let mut fleet = Fleet::new();
    assert!(add(&mut fleet, racks()).unwrap().declared);
    assert!(fleet.store.added().contains("racks"));
    assert!(!add(&mut fleet, racks()).unwrap().declared, "as it stands already");
    assert!(add(&mut fleet, racks().doc("Racks.")).unwrap().declared);
    fleet.txn(vec![rack("r1", None)]).unwrap();
    let refusal = withdraw(&mut fleet, "racks", false).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "stored objects would no longer fit: rack r1: kind: no extension declares objects of kind \
         rack"
    );
    let key = ObjectRef { kind: name("rack"), namespace: None, name: name("r1") };
    fleet.txn(vec![Op::Delete { object: key, force: true }]).unwrap();
    assert!(withdraw(&mut fleet, "racks", false).unwrap().declared);
    assert!(fleet.store.added().is_empty());
    assert!(fleet.store.catalog().kind(&name("rack")).is_none());
}

#[test]
fn objects_that_no_longer_fit_are_listed_up_to_a_limit() {
    let mut fleet = Fleet::new();
    add(&mut fleet, racks()).unwrap();
    let ops = (0..=MISFITS_MAX).map(|index| rack(&format!("r{index:02}"), None)).collect();
    fleet.txn(ops).unwrap();
    let mut other = racks();
    other.extensions[0].paths[0].value_type = Type::enum_of(["SHUT", "AJAR"]);
    other.mutations.clear();
    let Err(Refusal::InUse { objects, more }) = add(&mut fleet, other) else { panic!("taken") };
    assert_eq!((objects.len(), more), (MISFITS_MAX, 1));
    assert_eq!(objects[0].object.to_string(), "rack r00");
}

#[test]
fn what_a_release_brings_is_its_own() {
    let mut fleet = Fleet::new();
    assert_eq!(add(&mut fleet, kit::manifest()), Err(Refusal::BuiltIn("base".to_owned())));
    assert_eq!(withdraw(&mut fleet, "base", false), Err(Refusal::BuiltIn("base".to_owned())));
    assert_eq!(withdraw(&mut fleet, "ghost", true), Err(Refusal::NoSuchModule("ghost".to_owned())));
    add(&mut fleet, racks()).unwrap();
    fleet.declare(racks()).unwrap();
    assert!(fleet.store.added().is_empty(), "a newer release brings it now");
    assert!(withdraw(&mut fleet, "racks", true).unwrap().declared, "and a yet newer one does not");
}

#[test]
fn what_is_refuted_is_refused_and_what_was_taken_before_is_let_be() {
    let mut fleet = Fleet::new();
    let stuck = || {
        racks().mutation(MutationSpec::new("Slam").kind("rack").changes("/door", "OPEN", "SHUT"))
    };
    let mut one_way = stuck();
    one_way.mutations.remove(1);
    one_way.mutations.remove(1);
    let refusal = add(&mut fleet, one_way.clone());
    assert!(refusal.is_ok(), "one goal, and one way to it: {refusal:?}");
    let mut trap = racks();
    trap.extensions[0].paths[0].value_type = Type::enum_of(["SHUT", "OPEN", "JAMMED"]);
    trap.mutations[0].fail_to = [("/door".to_owned(), "JAMMED".into())].into();
    let refusal = add(&mut fleet, trap.clone()).unwrap_err().to_string();
    assert!(refusal.starts_with("error[fail_to_kept]: module racks, mutation Open: "), "{refusal}");
    // As an older release may have taken it.
    fleet.store.manifests.insert("racks".to_owned(), trap.clone());
    let all: Vec<Manifest> = fleet.store.manifests.values().cloned().collect();
    fleet.store.catalog = Arc::new(Catalog::build(&all).unwrap());
    let other = Manifest::new("other")
        .extension(Extension::new("x").path(PathSpec::input("/other", Type::Text)));
    add(&mut fleet, other).unwrap();
}

#[test]
fn names_live_where_their_kind_has_them_live() {
    let mut fleet = Fleet::new();
    let namespaced = racks().kind(KindSpec::new("rack").namespaced());
    add(&mut fleet, racks()).unwrap();
    let why = |refused: Result<Applied, Refusal>| refused.unwrap_err().to_string();
    assert_eq!(
        why(fleet.txn(vec![rack("r1", Some("lab"))])),
        "rack lab/r1: namespace: objects of kind rack live in no namespace"
    );
    add(&mut fleet, namespaced).unwrap();
    assert_eq!(
        why(fleet.txn(vec![rack("r1", None)])),
        "rack r1: namespace: objects of kind rack live in a namespace; name one"
    );
    fleet.txn(vec![rack("r1", Some("lab")), rack("r1", Some("hall"))]).unwrap();
    assert!(matches!(add(&mut fleet, racks()), Err(Refusal::InUse { more: 0, .. })));
}

#[test]
fn costs_are_set_through_cfg_for_any_module() {
    let mut fleet = Fleet::new();
    add(&mut fleet, racks()).unwrap();
    let measured = std::time::Duration::from_secs(9);
    add(&mut fleet, Manifest::new("measured").cost("racks/Open", measured)).unwrap();
    let cost = |fleet: &Fleet| {
        let kind = fleet.store.catalog().kind(&name("rack")).unwrap();
        kind.mutations[0].cost_ms
    };
    assert_eq!(cost(&fleet), 9_000);
    withdraw(&mut fleet, "measured", false).unwrap();
    assert_eq!(cost(&fleet), crate::manifest::COST_MS_DEFAULT);
}
