//! The table of the last look, row by row.

mod left;

use std::{sync::Arc, time::Duration};

use super::{
    Answer, Held, Holds, Order, Ready, Said,
    hands::{ANSWERED_MAX, Hands, Screened, WAYS_MAX, Way},
    recheck,
    sent::Sent,
};
use crate::{
    catalog::Catalog,
    dsc::{Dsc, Observed, Stamp},
    id::{AttemptId, ClusterId, Name, Revision, Term, Uid},
    machine::{Attempted, Dispatch},
    manifest::{Context, Extension, Manifest, MutationSpec, PathSpec, Type},
    mutation::Instance,
    object::Tenure,
    object::{Frozen, Labels, Object, ObjectRef},
    path::Path,
    predicate::On,
    singleton::Lease,
    state::State,
    sync::orders::Orphan,
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
        tenure: Tenure::default(),
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
        lease: Lease::Unbound,
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

/// The order for pump `a`, as an attempt of its own in a term.
fn nth(count: u64, term: u64) -> Order {
    let attempt = AttemptId::derive(&name("m1"), 1, count);
    Order { attempt, term: Term::new(term), ..order(&catalog()) }
}

const NOW: Millis = Millis::new(1_000);

#[test]
fn an_order_is_answered_from_what_is_in_hand_and_what_was_said_last() {
    let mut hands = Hands::default();
    let (me, first, second) = (nth(1, 3).to, nth(1, 3), nth(2, 3));
    assert_eq!(hands.screen(&first, &me, NOW), Screened::Goes);
    hands.take(&first, NOW);
    assert_eq!(hands.object_of(&first.attempt), Some(first.object.uid));
    hands.doubt(&first.attempt);
    assert_eq!(hands.screen(&first, &me, NOW), Screened::Goes, "its host is asked again");
    hands.take(&first, NOW);
    assert_eq!(hands.screen(&first, &me, NOW), Screened::Said(Said::Acknowledged));
    let busy = Said::Busy(format!("attempt {} on it is in hand", first.attempt));
    assert_eq!(hands.screen(&second, &me, NOW), Screened::Said(busy.clone()));
    assert_eq!(
        hands.screen(&second, &name("n9"), NOW),
        Screened::Goes,
        "for another, who sees for himself"
    );
    hands.close(&second.attempt, busy.clone());
    hands.close(&first.attempt, Said::Succeeded);
    assert_eq!(hands.screen(&first, &me, NOW), Screened::Said(Said::Succeeded));
    assert_eq!(
        hands.screen(&second, &me, NOW),
        Screened::Said(busy),
        "what was refused never starts"
    );
    assert_eq!(hands.object_of(&first.attempt), None);
}

#[test]
fn an_order_of_an_older_term_is_declined() {
    let mut hands = Hands::default();
    let me = nth(1, 3).to;
    assert_eq!(hands.screen(&nth(1, 3), &me, NOW), Screened::Goes);
    let declined = |term, fence| {
        Screened::Said(Said::Declined(format!("it is of term {term}, and {fence} began")))
    };
    assert_eq!(hands.screen(&nth(2, 2), &me, NOW), declined(2, 3));
    hands.see_term(Term::new(5));
    assert_eq!(hands.screen(&nth(3, 4), &name("n9"), NOW), declined(4, 5));
    assert_eq!(hands.screen(&nth(3, 5), &me, NOW), Screened::Goes);
}

#[test]
fn what_does_not_end_is_in_hand_for_a_while_only_and_the_oldest_answers_are_forgotten() {
    let mut hands = Hands::default();
    let (me, first) = (nth(1, 3).to, nth(1, 3));
    hands.take(&first, NOW);
    let over = NOW.after_ms(first.timeout_ms).after_ms(10_000);
    assert_ne!(hands.screen(&nth(2, 3), &me, Millis::new(over.get() - 1)), Screened::Goes);
    assert_eq!(hands.screen(&nth(2, 3), &me, over), Screened::Goes);

    for count in 10..=10 + ANSWERED_MAX as u64 {
        let attempt = AttemptId::derive(&name("m1"), 1, count);
        hands.close(&attempt, Said::Abandoned);
        hands.close(&attempt, Said::Abandoned);
    }
    assert_eq!(hands.screen(&nth(10, 3), &me, over), Screened::Goes);
    assert_eq!(hands.screen(&nth(11, 3), &me, over), Screened::Said(Said::Abandoned));
}

#[test]
fn who_asks_is_told_the_end_and_what_has_not_begun_never_begins() {
    let (me, order) = (nth(1, 3).to, nth(1, 3));
    let later = Term::new(4);
    let mut running = Hands::default();
    running.take(&order, NOW);
    assert_eq!(running.asked(&order.attempt, later), None);
    running.close(&order.attempt, Said::Succeeded);
    assert_eq!(running.asked(&order.attempt, later), Some(Said::Succeeded));
    assert_eq!(running.screen(&order, &me, NOW), Screened::Said(Said::Succeeded));

    let mut refused = Hands::default();
    refused.close(&order.attempt, Said::Busy("full".to_owned()));
    assert_eq!(refused.asked(&order.attempt, later), Some(Said::Abandoned));

    let mut unknown = Hands::default();
    assert_eq!(unknown.asked(&order.attempt, later), Some(Said::Abandoned));
    assert_eq!(unknown.screen(&order, &me, NOW), Screened::Said(Said::Abandoned));
    let older = Said::Declined("it is of term 3, and 4 began".to_owned());
    assert_eq!(unknown.screen(&nth(2, 3), &me, NOW), Screened::Said(older));
}

#[test]
fn a_copy_of_what_was_handed_on_is_not_declined() {
    let mut hands = Hands::default();
    let (me, first) = (name("m2"), nth(1, 3));
    let gone = Said::Declined("n1 is not attached".to_owned());
    assert_eq!(hands.refusal(&first.attempt, gone.clone()), Screened::Said(gone.clone()));
    assert_eq!(hands.screen(&first, &me, NOW), Screened::Goes);
    let (way, other) = (Way(1), Way(2));
    hands.hand_on(&first.attempt, way);
    assert_eq!(hands.screen(&first, &me, NOW), Screened::Goes, "it goes again");
    assert_eq!(hands.refusal(&first.attempt, gone.clone()), Screened::Ignored);
    hands.hand_on(&first.attempt, way);
    assert_eq!(hands.hand_back(&first.attempt, way, gone.clone()), Screened::Ignored);
    assert_eq!(hands.hand_back(&first.attempt, other, gone.clone()), Screened::Ignored);
    let said = Screened::Said(gone.clone());
    assert_eq!(hands.hand_back(&first.attempt, way, gone.clone()), said, "it was the last");
    hands.hand_on(&first.attempt, way);
    hands.see_term(Term::new(4));
    assert_eq!(hands.screen(&first, &me, NOW), Screened::Ignored, "the other copy may run");
    hands.close(&first.attempt, Said::Succeeded);
    assert_eq!(hands.screen(&first, &me, NOW), Screened::Said(Said::Succeeded));

    for count in 10..=10 + ANSWERED_MAX as u64 {
        hands.hand_on(&AttemptId::derive(&name("m1"), 1, count), way);
        hands.hand_on(&AttemptId::derive(&name("m1"), 1, count), other);
    }
    assert_ne!(hands.screen(&nth(10, 3), &me, NOW), Screened::Ignored);
    assert_eq!(hands.screen(&nth(11, 3), &me, NOW), Screened::Ignored);
}

#[test]
fn a_copy_that_does_not_start_says_nothing_of_one_that_went_another_way() {
    let answer =
        |said: &Said| Answer { node: name("n1"), attempt: nth(1, 3).attempt, said: said.clone() };
    let (me, first, second) = (name("m2"), Way(1), Way(2));
    for said in [Said::Lost, Said::Busy("full".into()), Said::Declined("its lease".into())] {
        let mut hands = Hands::default();
        hands.hand_on(&nth(1, 3).attempt, first);
        hands.hand_on(&nth(1, 3).attempt, second);
        assert!(!hands.hear(&answer(&said), first), "{said:?}");
        assert!(!hands.hear(&answer(&said), first), "{said:?}, again");
        assert_eq!(hands.screen(&nth(1, 3), &me, NOW), Screened::Goes, "it is not closed");
        assert!(hands.hear(&answer(&said), second), "{said:?}: no way is left");
        assert_eq!(hands.screen(&nth(1, 3), &me, NOW), Screened::Said(said.clone()));

        let mut hands = Hands::default();
        hands.hand_on(&nth(1, 3).attempt, first);
        hands.hand_on(&nth(1, 3).attempt, second);
        hands.forget_way(&nth(1, 3).attempt, first);
        assert!(hands.hear(&answer(&said), second), "{said:?}");
    }
    let of_all = [
        Said::Succeeded,
        Said::Failed { error: "broken".into(), permanent: false },
        Said::Abandoned,
        Said::Moved("its Cfg".into()),
    ];
    for said in of_all {
        let mut hands = Hands::default();
        hands.hand_on(&nth(1, 3).attempt, first);
        hands.hand_on(&nth(1, 3).attempt, second);
        assert!(hands.hear(&answer(&Said::Acknowledged), first));
        assert_eq!(hands.screen(&nth(1, 3), &me, NOW), Screened::Goes);
        assert!(hands.hear(&answer(&said), first), "{said:?}");
        assert_eq!(hands.screen(&nth(1, 3), &me, NOW), Screened::Said(said));
    }
}

#[test]
fn an_order_goes_by_a_bounded_number_of_ways() {
    let mut hands = Hands::default();
    for way in 1..WAYS_MAX as u64 {
        hands.hand_on(&nth(1, 3).attempt, Way(way));
    }
    assert_eq!(hands.screen(&nth(1, 3), &name("m2"), NOW), Screened::Goes);
    hands.hand_on(&nth(1, 3).attempt, Way(0));
    assert_eq!(hands.screen(&nth(1, 3), &name("m2"), NOW), Screened::Ignored);
    hands.forget_way(&nth(1, 3).attempt, Way(7));
    assert_eq!(hands.screen(&nth(1, 3), &name("m2"), NOW), Screened::Goes);
}

#[test]
fn a_leader_hears_of_what_it_sent_from_the_node_to_which_it_went() {
    let (mut sent, attempt) = (Sent::default(), nth(1, 3).attempt);
    let answer = |node: &str, said| Answer { node: name(node), attempt: attempt.clone(), said };
    let holds = |attempts: &[AttemptId]| Holds { node: name("n1"), attempts: attempts.to_vec() };
    sent.put(&attempt, &name("n1"), NOW);
    sent.put(&attempt, &name("n2"), NOW.after_ms(5));
    let session = crate::id::SessionEpoch::new;
    assert_eq!(sent.first_session(&attempt, session(7)), session(7));
    assert_eq!(sent.first_session(&attempt, session(9)), session(7), "of the first copy");
    assert_eq!(sent.node_of(&attempt), Some(name("n1")), "it stays where it went");
    assert_eq!(sent.heard(answer("n2", Said::Succeeded)), None);
    assert!(sent.missing(&holds(&[])).is_empty(), "it may still be on its way there");
    let took = sent.heard(answer("n1", Said::Acknowledged));
    assert_eq!(took, Some((attempt.clone(), Attempted::Acknowledged)));
    assert!(sent.missing(&holds(std::slice::from_ref(&attempt))).is_empty());
    assert_eq!(sent.missing(&holds(&[])), std::slice::from_ref(&attempt));
    assert_eq!(sent.missing(&holds(&[])), std::slice::from_ref(&attempt), "until it has answered");
    let gone = sent.heard(answer("n1", Said::Abandoned));
    assert_eq!(gone, Some((attempt.clone(), Attempted::Abandoned)));
    assert!(sent.missing(&holds(&[])).is_empty());

    sent.put(&attempt, &name("n1"), NOW);
    let lost = sent.heard(answer("n1", Said::Lost));
    assert_eq!(lost, Some((attempt.clone(), Attempted::Lost)));
    let done = sent.heard(answer("n1", Said::Succeeded));
    assert_eq!(done, Some((attempt.clone(), Attempted::Succeeded)), "it had started before");
    sent.put(&attempt, &name("n1"), NOW);
    sent.sweep(NOW);
    assert_eq!(sent.node_of(&attempt), None);
}

#[test]
fn what_went_to_a_session_that_is_over_is_lost_unless_it_may_yet_run() {
    let of = |count| Orphan { node: name("n1"), attempt: nth(count, 3).attempt, lost_at: NOW };
    let lost =
        |count| Answer { node: name("n1"), attempt: nth(count, 3).attempt, said: Said::Lost };
    let (way, other) = (Way(1), Way(2));
    let handed = || {
        let mut hands = Hands::default();
        for count in 1..=3 {
            hands.hand_on(&nth(count, 3).attempt, way);
        }
        hands.hand_on(&nth(2, 3).attempt, other);
        hands
    };
    let mut gone = handed();
    let orphans = || (1..=2).map(of).collect::<Vec<_>>();
    assert_eq!(gone.orphaned(orphans(), way, false), [lost(1)], "2 went another way too");
    assert_eq!(gone.orphaned(vec![of(2)], other, false), [lost(2)], "that was its last way");
    let me = name("m2");
    assert_eq!(gone.screen(&nth(1, 3), &me, NOW), Screened::Said(Said::Lost), "it never starts");

    let mut back = handed();
    assert_eq!(back.orphaned(orphans(), way, true), [], "it was asked for what it has");
    assert_eq!(back.hand_back(&nth(2, 3).attempt, other, Said::Lost), Screened::Said(Said::Lost));
}
