//! The table of the last look, row by row.

use std::{sync::Arc, time::Duration};

use super::{Held, Order, Ready, Said, recheck};
use crate::{
    catalog::Catalog,
    dsc::{Dsc, Observed, Stamp},
    id::{AttemptId, ClusterId, Name, Revision, Term, Uid},
    machine::Dispatch,
    manifest::{Context, Extension, Manifest, MutationSpec, PathSpec, Type},
    mutation::Instance,
    object::{Frozen, Labels, Object, ObjectRef},
    path::Path,
    predicate::On,
    state::State,
    time::Millis,
    value::Value,
    view::{Related, Subject, Unrelated},
};

/// An observation: path, value (empty: unknown) and when.
type Sight = (&'static str, &'static str, u64);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn path(text: &str) -> Path {
    Path::new(text).unwrap()
}

fn catalog() -> Catalog {
    let state = |at: &str| PathSpec::new(at, Type::enum_of(["OFF", "ON", "HOT", "BROKEN"]));
    let extension = Extension::new("pump").path(state("/pumps/*/state")).path(state("/power"));
    let extension = extension.path(state("/valve")).path(PathSpec::new("/rack", Type::Text));
    let start = MutationSpec::new("Start")
        .context(Context::Node)
        .changes("/pumps/*/state", "OFF", "ON")
        .requires("/power = ON")
        .requires("@/rack /power = ON")
        .excludes("/valve = BROKEN");
    let manifest = Manifest::new("pump").extension(extension).mutation(start);
    let paths = ["/pumps/*/state", "/power", "/valve"];
    Catalog::build(&[paths.into_iter().fold(manifest, Manifest::discovers)]).unwrap()
}

fn object(revision: u64) -> Arc<Object> {
    Arc::new(Object {
        uid: Uid::derive(ClusterId::new(1), Revision::new(1), 0),
        key: ObjectRef { kind: name("node"), namespace: None, name: name("n1") },
        labels: Labels::new(),
        owner: None,
        on_delete: <_>::default(),
        created: Millis::ZERO,
        revision: Revision::new(revision),
        generation: 1,
        deleting: false,
        frozen: None,
        cfg: State::new(),
    })
}

/// Observations: path, value (empty: unknown) and when.
fn dsc(seen: &[Sight]) -> Dsc {
    let mut dsc = Dsc::new();
    for (at, value, ms) in seen {
        let value = (!value.is_empty()).then(|| Value::from(*value));
        let stamp = Stamp { ms: *ms, counter: 0, writer: name("n1") };
        dsc.merge(path(at), Observed { value, stamp, seen_at: Millis::ZERO });
    }
    dsc
}

/// What the rack's power is seen to be.
struct Rack(&'static str);

impl Related for Rack {
    fn value(&self, _: &Object, _: &On, _: &Path) -> Option<Value> {
        Some(self.0.into())
    }
}

const DECIDED: [Sight; 2] = [("/pumps/a/state", "OFF", 10), ("/power", "ON", 10)];

/// An order to start pump `a`, decided at revision 5 from [`DECIDED`].
fn order(catalog: &Catalog) -> Order {
    let kind = catalog.kind(&name("node")).unwrap();
    let mutation = kind.mutation(&"pump/Start".to_owned().try_into().unwrap()).unwrap().clone();
    let dispatch = Dispatch {
        attempt: AttemptId::derive(&name("m1"), 1, 2),
        uid: object(5).uid,
        instance: Instance { mutation, bindings: vec!["a".into()] },
        timeout: Duration::from_secs(9),
        revision: Revision::new(5),
    };
    let (object, seen) = (object(5), dsc(&DECIDED));
    let subject = Subject {
        object: &object,
        dsc: &seen,
        catalog,
        related: &Unrelated,
        not_before: Millis::ZERO,
    };
    Order::new(&dispatch, name("n1"), Term::new(3), subject)
}

fn checked(held: Option<Arc<Object>>, seen: &[Sight]) -> Result<Ready, Said> {
    let (catalog, dsc) = (catalog(), dsc(seen));
    let held = Held { object: held.as_ref(), dsc: &dsc, catalog: &catalog, related: None };
    recheck(&order(&catalog), held)
}

fn moved(checked: Result<Ready, Said>) -> String {
    match checked {
        Err(Said::Moved(why)) => why,
        other => panic!("not moved: {other:?}"),
    }
}

#[test]
fn an_order_carries_what_its_mutation_relies_on_and_for_how_long() {
    let order = order(&catalog());
    let views: Vec<&str> = order.views.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(views, ["/power", "/pumps/a/state"]);
    assert_eq!((order.wait_ms, order.timeout_ms, order.object.revision.get()), (2_000, 9_000, 5));
    assert_eq!(order.changes(&catalog()), [path("/pumps/a/state")]);
}

#[test]
fn what_is_as_the_decider_saw_it_may_start_and_is_shown_what_it_saw() {
    let ready = checked(Some(object(5)), &[("/pumps/a/state", "OFF", 10)]).unwrap();
    assert_eq!(ready.dsc.value("/power"), Some(&"ON".into()), "which this node does not see");
    assert!(checked(None, &[]).is_ok(), "nor is more known here");
}

#[test]
fn the_later_cfg_is_what_a_module_is_shown() {
    assert_eq!(checked(Some(object(4)), &[]).unwrap().object.revision, Revision::new(5));
    let why = moved(checked(Some(object(6)), &[]));
    assert_eq!(why, "its Cfg is of revision 6, not of 5");
}

#[test]
fn a_frozen_object_has_moved() {
    let frozen = |revision: u64| {
        let (by, scope) = ("ann".to_owned(), "all".to_owned());
        let frozen = Frozen { revision: Revision::new(6), since: Millis::ZERO, by, scope };
        Arc::new(Object { frozen: Some(frozen), ..object(revision).as_ref().clone() })
    };
    let catalog = catalog();
    let order = Order { object: frozen(5), ..order(&catalog) };
    let dsc = Dsc::new();
    let held = Held { object: None, dsc: &dsc, catalog: &catalog, related: None };
    assert_eq!(moved(recheck(&order, held)), "it was frozen by ann (all)");
    assert_eq!(moved(checked(Some(frozen(6)), &[])), "its Cfg is of revision 6, not of 5");
}

#[test]
fn what_moved_since_the_decision_is_judged_anew() {
    let table: [(&[Sight], Option<&str>); 9] = [
        (&[("/pumps/a/state", "ON", 11)], Some("/pumps/a/state is ON by now")),
        (&[("/pumps/a/state", "", 11)], Some("/pumps/a/state is unknown by now")),
        (&[("/pumps/a/state", "ON", 9)], None),
        (&[("/pumps/b/state", "ON", 11)], None),
        (&[("/power", "OFF", 11)], Some("/power is OFF by now")),
        (&[("/power", "", 11)], Some("/power is unknown by now")),
        (&[("/power", "OFF", 9)], None),
        (&[("/valve", "BROKEN", 1)], Some("/valve is BROKEN by now")),
        (&[("/valve", "HOT", 11)], None),
    ];
    for (seen, expected) in table {
        match (checked(Some(object(5)), seen), expected) {
            (Ok(_), None) => {}
            (found, Some(why)) => assert_eq!(moved(found), why, "{seen:?}"),
            (found, None) => panic!("{seen:?}: {found:?}"),
        }
    }
}

#[test]
fn what_the_decider_presumed_over_what_it_saw_is_its_own_affair() {
    let catalog = catalog();
    let seen = dsc(&[("/pumps/a/state", "BROKEN", 10)]);
    let views = seen.iter().map(|(path, seen)| (path.clone(), seen.clone())).collect();
    let order = Order { views, ..order(&catalog) };
    let later = dsc(&[("/pumps/a/state", "BROKEN", 12)]);
    for dsc in [&seen, &later] {
        let held = Held { object: None, dsc, catalog: &catalog, related: None };
        assert!(recheck(&order, held).is_ok());
    }
}

#[test]
fn related_objects_are_judged_where_they_are_known() {
    let (catalog, dsc) = (catalog(), Dsc::new());
    let check = |related: &dyn Related| {
        let held = Held { object: None, dsc: &dsc, catalog: &catalog, related: Some(related) };
        recheck(&order(&catalog), held)
    };
    assert!(check(&Rack("ON")).is_ok());
    assert_eq!(moved(check(&Rack("OFF"))), "@/rack /power = ON forbids it");
}

#[test]
fn what_no_module_here_declares_is_declined() {
    let (catalog, dsc) = (catalog(), Dsc::new());
    let held = Held { object: None, dsc: &dsc, catalog: &catalog, related: None };
    let check = |order: Order| match recheck(&order, held) {
        Err(Said::Declined(why)) => why,
        other => panic!("not declined: {other:?}"),
    };
    let unknown = Order { mutation: "pump/Stop".to_owned().try_into().unwrap(), ..order(&catalog) };
    assert_eq!(check(unknown), "no module there has mutation pump/Stop");
    let unbound = Order { bindings: Vec::new(), ..order(&catalog) };
    let bent = Order { bindings: vec!["a/b c".into()], ..order(&catalog) };
    assert!(check(unbound).contains("pump/Start") && check(bent).contains("pump/Start"));
}
