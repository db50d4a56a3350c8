//! The tables of views and of declarations, row by row, at both ends.

use std::{sync::Arc, time::Duration};

use serde_bytes::ByteBuf;

use super::kit::{
    CLUSTER, NOW, authority, catalog, child, hello, manifests, name, object, path, sighting, uid,
    welcome,
};
use crate::{
    catalog::Catalog,
    id::Revision,
    manifest::Manifest,
    sync::{
        child::{self, Child},
        declared::{Declared, digests},
        delta::ObjectDelta,
        frame::{CfgDelta, Frame, Hello, Role},
        parent::{Effect, Session},
        views::{RelatedSight, Relation, Sight, Sights, ViewDelta},
    },
};

fn named(value: &str) -> RelatedSight {
    RelatedSight {
        by: Relation::Owner,
        uid: uid(9),
        name: name("n9"),
        path: path("/power"),
        value: value.into(),
        ttl_ms: None,
    }
}

fn sights(power: &str, of_owner: &str) -> Sights {
    let ms = u64::try_from(power.len()).unwrap();
    let sight = Sight { seen: vec![sighting("/power", power, ms)], related: vec![named(of_owner)] };
    Sights::from([(uid(1), sight)])
}

fn views(effects: &[Effect]) -> Option<&ViewDelta> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send(Frame::ViewDelta(delta)) => Some(delta),
        _ => None,
    })
}

fn declared(effects: &[Effect]) -> Option<&Declared> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send(Frame::CfgDelta(delta)) => delta.declared.as_ref(),
        _ => None,
    })
}

fn greeted(hello: Hello) -> Session {
    let mut session = Session::new(NOW);
    session.receive(Frame::Hello(hello), authority(&catalog()), NOW);
    session.accept(welcome(), NOW);
    session
}

/// A session that holds its Cfg.
fn settled(takes_views: bool) -> Session {
    let mut session = greeted(Hello { takes_views, ..hello(Role::Leaf) });
    session.offer(Revision::new(1), vec![object(1, 1)]);
    session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog()), NOW);
    session
}

fn acknowledges(session: &mut Session, seq: u64) -> Vec<Effect> {
    session.receive(Frame::ViewAck { seq }, authority(&catalog()), NOW)
}

#[test]
fn the_first_views_of_a_session_are_whole_even_where_there_are_none() {
    let mut session = settled(true);
    let whole = ViewDelta { seq: 1, whole: true, objects: Vec::new() };
    assert_eq!(views(&session.offer_views(Sights::new())), Some(&whole));
    acknowledges(&mut session, 1);
    assert_eq!(views(&session.offer_views(Sights::new())), None, "nothing has changed");
}

#[test]
fn only_what_has_changed_is_told() {
    let mut session = settled(true);
    session.offer_views(sights("ON", "A"));
    acknowledges(&mut session, 1);
    assert_eq!(views(&session.offer_views(sights("ON", "A"))), None);
    let table = [
        (sights("OFF", "A"), 1, vec![named("A")]),
        (sights("OFF", "B"), 0, vec![named("B")]),
        (Sights::new(), 0, vec![]),
    ];
    for (seq, (next, seen, related)) in (2..).zip(table) {
        let effects = session.offer_views(next);
        let delta = views(&effects).unwrap();
        let (of, sight) = &delta.objects[0];
        assert_eq!((delta.seq, delta.whole, *of), (seq, false, uid(1)));
        assert_eq!((sight.seen.len(), &sight.related), (seen, &related));
        acknowledges(&mut session, seq);
    }
}

#[test]
fn of_views_one_is_on_its_way_and_the_latest_follows() {
    let mut session = settled(true);
    session.offer_views(sights("ON", "A"));
    assert!(session.offer_views(sights("OFF", "A")).is_empty());
    assert!(session.offer_views(sights("STANDBY", "A")).is_empty());
    let effects = acknowledges(&mut session, 1);
    let delta = views(&effects).unwrap();
    assert_eq!(delta.objects[0].1.seen, [sighting("/power", "STANDBY", 7)]);
    assert!(acknowledges(&mut session, 9).is_empty(), "nothing else waits");
}

#[test]
fn views_follow_the_cfg_that_they_belong_to() {
    let mut session = greeted(Hello { takes_views: true, ..hello(Role::Leaf) });
    assert!(session.offer_views(sights("ON", "A")).is_empty(), "it holds no Cfg yet");
    session.offer(Revision::new(1), vec![object(1, 1)]);
    assert!(session.offer_views(sights("OFF", "A")).is_empty(), "that is on its way");
    let effects = session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog()), NOW);
    assert_eq!(views(&effects).unwrap().objects[0].1.seen, [sighting("/power", "OFF", 3)]);
}

#[test]
fn a_child_of_an_earlier_release_is_told_nothing() {
    let mut session = settled(false);
    assert!(session.offer_views(sights("ON", "A")).is_empty());
    let mut session = greeted(hello(Role::Leaf));
    session.declare(&Arc::new(catalog()));
    assert_eq!(declared(&session.offer(Revision::new(1), vec![object(1, 1)])), None);
}

#[test]
fn a_child_takes_views_in_their_order_only() {
    let first = || ViewDelta { seq: 1, whole: true, objects: Vec::new() };
    let table = [
        (vec![first()], true),
        (vec![first(), ViewDelta { seq: 2, whole: false, ..first() }], true),
        (vec![ViewDelta { whole: false, ..first() }], false),
        (vec![ViewDelta { seq: 2, whole: false, ..first() }], false),
        (vec![first(), first()], false),
    ];
    for (deltas, taken) in table {
        let mut child = attached_child(child());
        let mut last = Vec::new();
        for delta in deltas.clone() {
            last = child.receive(Frame::ViewDelta(delta), NOW);
        }
        let delta = deltas.last().unwrap().clone();
        let seq = delta.seq;
        let held = [child::Effect::SetViews(delta), child::Effect::Send(Frame::ViewAck { seq })];
        assert_eq!(last == held, taken, "{deltas:?}");
        assert_eq!(matches!(last[..], [child::Effect::Close(_)]), !taken);
    }
}

fn attached_child(mut child: Child) -> Child {
    child.connected(NOW);
    child.receive(Frame::Welcome(welcome()), NOW);
    assert_eq!(child.cluster(), CLUSTER);
    child
}

fn more() -> Manifest {
    Manifest::new("more").cost("level/Set", Duration::from_secs(7))
}

#[test]
fn a_child_is_told_what_is_declared_beside_what_it_holds() {
    let held = Some(digests(&[manifests(), vec![Manifest::new("gone")]].concat()));
    let mut session = greeted(Hello { declared: held, ..hello(Role::Leaf) });
    let now = Arc::new(Catalog::build(&[manifests(), vec![more()]].concat()).unwrap());
    session.declare(&now);
    let effects = session.offer(Revision::new(1), vec![object(1, 1)]);
    let told = declared(&effects).unwrap();
    let set: Vec<&str> = told.set.iter().map(|(module, _)| module.as_str()).collect();
    assert_eq!((set, &told.gone), (vec!["more"], &vec!["gone".to_owned()]));
    session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog()), NOW);

    // What is the same is not told, and a change of declarations alone is.
    session.declare(&now);
    assert!(session.offer(Revision::new(2), vec![object(1, 1)]).is_empty());
    session.declare(&Arc::new(catalog()));
    let effects = session.offer(Revision::new(3), vec![object(1, 1)]);
    assert_eq!(declared(&effects).unwrap().gone, ["more"]);
}

/// What a child makes of declarations that come with its Cfg.
fn takes(child: &mut Child, declared: Declared) -> Vec<child::Effect> {
    let objects = vec![ObjectDelta::Whole(object(1, 1))];
    let delta = CfgDelta {
        seq: 1,
        revision: Revision::new(1),
        objects,
        declared: Some(declared),
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    child.receive(Frame::CfgDelta(delta), NOW)
}

#[test]
fn a_child_decides_with_what_it_is_told_is_declared() {
    let mut child = attached_child(child().declaring([more()]));
    let told = greeted(Hello { declared: Some(digests(&[more()])), ..hello(Role::Leaf) });
    let declared = {
        let mut session = told;
        session.declare(&Arc::new(catalog()));
        declared(&session.offer(Revision::new(1), Vec::new())).unwrap().clone()
    };
    let effects = takes(&mut child, declared);
    let [child::Effect::Declare(held), child::Effect::SetCfg(_), ..] = &effects[..] else {
        panic!("declarations come first: {effects:?}");
    };
    assert_eq!(**held, catalog());
    child.disconnected();
    let hello = child.connected(NOW);
    let [child::Effect::Send(Frame::Hello(hello))] = &hello[..] else { panic!("no Hello") };
    assert_eq!(hello.declared.as_ref(), Some(catalog().declared()), "that is what it holds now");
}

#[test]
fn what_a_child_cannot_take_over_costs_it_no_session() {
    let unreadable = ("later".to_owned(), ByteBuf::from(vec![0xc1]));
    let misfit = Manifest::new("misfit").discovers("/nowhere");
    let unfit = ("misfit".to_owned(), ByteBuf::from(rmp_serde::to_vec_named(&misfit).unwrap()));
    for (set, why) in [
        (unreadable, "the manifest of module later cannot be read by this release"),
        (unfit, "the declarations do not fit together here: module misfit, discovers /nowhere"),
    ] {
        let mut child = attached_child(child().declaring(manifests()));
        let effects = takes(&mut child, Declared { set: vec![set], gone: Vec::new() });
        let [child::Effect::Undeclared(said), child::Effect::SetCfg(_), ..] = &effects[..] else {
            panic!("it goes on: {effects:?}");
        };
        assert!(said.starts_with(why), "{said}");
    }
    // A member has what is declared of the quorum.
    let mut member = attached_child(child());
    let effects = takes(&mut member, Declared { set: Vec::new(), gone: Vec::new() });
    assert!(matches!(effects[..], [child::Effect::SetCfg(_), child::Effect::Send(_)]));
}
