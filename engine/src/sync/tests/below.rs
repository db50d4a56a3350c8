//! Relays: who is let in below one, what is said in its name, and how long its orders may run.

use super::kit::{
    CLUSTER, NOW, attached, authority, catalog, event, hello, name, object, order, sighting, uid,
    welcome,
};
use crate::{
    fleet::LINK_PATH,
    id::{Revision, SessionEpoch},
    object::Labels,
    sync::{
        DEAD_AFTER_MS, HOP_MS,
        below::HOPS_MAX,
        child::{self, Child, Identity},
        frame::{
            Admission, Admitted, Below, DscDelta, Frame, Hello, Left, Refused, RefusedReason, Role,
        },
        parent::{Effect, Session},
    },
};

fn below(node: &str, hops: u32) -> Below {
    let hello = Hello {
        node: name(node),
        epoch: SessionEpoch::new(5),
        revision: Revision::new(3),
        ..hello(Role::Leaf)
    };
    Below { hello, hops }
}

fn left(node: &str, epoch: u64) -> Left {
    Left { node: name(node), epoch: SessionEpoch::new(epoch) }
}

/// A relay `n1` that is attached with its own Cfg acknowledged.
fn relay() -> Session {
    let catalog = catalog();
    let mut session = Session::new(NOW);
    let hello = Hello { takes_orders: true, ..hello(Role::Relay) };
    session.receive(Frame::Hello(hello), authority(&catalog), NOW);
    session.accept(welcome(), NOW);
    session.offer(Revision::new(3), vec![object(1, 3)]);
    session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog), NOW);
    session
}

/// The same, with `n2` below it.
fn with_n2() -> Session {
    let mut session = relay();
    session.admit(&below("n2", 0), uid(2), welcome());
    session.offer(Revision::new(3), vec![object(1, 3), object(2, 3)]);
    session.receive(Frame::CfgAck { seq: 2 }, authority(&catalog()), NOW);
    session
}

fn said(session: &mut Session, of: u32, path: &str, by: &str) -> (bool, bool) {
    let (path, mut seen) = sighting(path, "1", NOW.get());
    seen.stamp.writer = name(by);
    let delta = DscDelta {
        seq: 1,
        afresh: false,
        dropped: 0,
        changes: vec![(uid(of), vec![(path, seen)])],
        events: Vec::new(),
    };
    let effects = session.receive(Frame::DscDelta(delta), authority(&catalog()), NOW);
    let merged = effects.iter().any(|effect| matches!(effect, Effect::Merge(..)));
    (merged, effects.iter().any(|effect| matches!(effect, Effect::Alarm(_))))
}

#[test]
fn a_node_is_let_in_below_a_relay_and_its_cfg_follows() {
    let mut session = relay();
    let arrives = below("n2", 0);
    let asked = Frame::Below(Box::new(arrives.clone()));
    let effects = session.receive(asked, authority(&catalog()), NOW);
    assert_eq!(effects, [Effect::Arrives(Box::new(arrives.clone()))]);
    let effects = session.admit(&arrives, uid(2), welcome());
    let told = Admitted {
        node: name("n2"),
        epoch: SessionEpoch::new(5),
        answer: Admission::Welcome(welcome()),
    };
    assert_eq!(effects, [Effect::Send(Frame::Admitted(Box::new(told)))]);
    let effects = session.offer(Revision::new(4), vec![object(1, 3), object(2, 4)]);
    let [Effect::Send(Frame::CfgDelta(delta))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((delta.revision, delta.objects.len()), (Revision::new(4), 1));
    let known: Vec<_> = session.below().map(|(node, lower)| (node.as_str(), lower.hops)).collect();
    assert_eq!(known, [("n2", 1)]);
}

#[test]
fn a_relay_hears_of_the_revision_although_nothing_has_changed() {
    let mut session = with_n2();
    assert_eq!(session.offer(Revision::new(8), vec![object(1, 3), object(2, 3)]), []);
    session.admit(&below("n2", 0), uid(2), welcome());
    let effects = session.offer(Revision::new(9), vec![object(1, 3), object(2, 3)]);
    let [Effect::Send(Frame::CfgDelta(delta))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((delta.revision, delta.objects.len()), (Revision::new(9), 0));
}

#[test]
fn too_deep_and_out_of_place() {
    let deep = Frame::Below(Box::new(below("n2", HOPS_MAX)));
    let effects = relay().receive(deep, authority(&catalog()), NOW);
    let [Effect::Send(Frame::Admitted(answer))] = &effects[..] else { panic!("{effects:?}") };
    assert!(matches!(
        answer.answer,
        Admission::Refused(Refused { reason: RefusedReason::NotReady, .. })
    ));
    for frame in [Frame::Below(Box::new(below("n2", 0))), Frame::Left(left("n2", 5))] {
        let mut leaf = attached(Role::Leaf, vec![object(1, 3)], &catalog());
        let effects = leaf.receive(frame, authority(&catalog()), NOW);
        assert!(matches!(effects[..], [Effect::Close(_)]), "{effects:?}");
    }
}

#[test]
fn a_relay_speaks_for_what_is_below_it_and_for_nobody_else() {
    // Of which object, at which path, in whose name; whether it is taken, whether it is an alarm.
    for (of, path, by, taken, alarm) in [
        (1, "/level", "n1", true, false),
        (2, "/level", "n2", true, false),
        (2, LINK_PATH, "n1", true, false),
        (2, "/level", "n1", false, true),
        (1, "/level", "n2", false, true),
        (2, "/level", "n3", false, true),
        (3, "/level", "n2", false, true),
        (1, LINK_PATH, "n1", false, true),
        (2, "/power", "n2", false, true),
    ] {
        let got = said(&mut with_n2(), of, path, by);
        assert_eq!(got, (taken, alarm), "{path} of {of} by {by}");
    }
}

#[test]
fn who_has_left_is_not_spoken_for() {
    let mut session = with_n2();
    let catalog = catalog();
    let old = session.receive(Frame::Left(left("n2", 4)), authority(&catalog), NOW);
    assert_eq!(old, [], "a newer session of it is known");
    let effects = session.receive(Frame::Left(left("n2", 5)), authority(&catalog), NOW);
    assert_eq!(effects, [Effect::Leaves(left("n2", 5))]);
    assert_eq!(said(&mut session, 2, "/level", "n2"), (false, true));
    assert_eq!(session.abandoned(), []);
    assert_eq!(with_n2().abandoned(), [left("n2", 5)]);
}

#[test]
fn events_and_answers_of_what_is_below_are_taken() {
    let mut session = with_n2();
    let mut happened = event(1);
    happened.id.node = name("n2");
    let delta = DscDelta {
        seq: 1,
        afresh: false,
        dropped: 0,
        changes: Vec::new(),
        events: vec![happened.clone()],
    };
    let effects = session.receive(Frame::DscDelta(delta), authority(&catalog()), NOW);
    assert!(effects.contains(&Effect::Record(vec![happened])), "{effects:?}");
}

#[test]
fn each_relay_on_the_way_makes_an_order_last_longer() {
    let mut session = with_n2();
    session.admit(&below("n3", 1), uid(3), welcome());
    let mut orders = [order(1, 1), order(2, 2), order(3, 3)];
    for (order, to) in orders.iter_mut().zip(["n1", "n2", "n3"]) {
        order.to = name(to);
        session.dispatch(order, &catalog(), NOW).unwrap();
    }
    let lost = session.orphans(|_| 9);
    let lost: Vec<_> = lost.iter().map(|o| (o.node.as_str(), o.lost_at)).collect();
    let after = |hops: u64| NOW.after_ms(DEAD_AFTER_MS + hops * HOP_MS);
    assert_eq!(lost, [("n1", after(0)), ("n2", after(1)), ("n3", after(2))]);
}

#[test]
fn the_lower_end_asks_while_it_is_attached() {
    let identity = Identity { node: name("n1"), role: Role::Relay, labels: Labels::new() };
    let mut child = Child::new(identity, CLUSTER, Vec::new());
    assert_eq!(child.arrives(below("n2", 0)), []);
    child.connected(NOW);
    child.receive(Frame::Welcome(welcome()), NOW);
    let asked = child.arrives(below("n2", 0));
    assert_eq!(asked, [child::Effect::Send(Frame::Below(Box::new(below("n2", 0))))]);
    assert_eq!(child.leaves(left("n2", 5)), [child::Effect::Send(Frame::Left(left("n2", 5)))]);
    let answer = Box::new(Admitted {
        node: name("n2"),
        epoch: SessionEpoch::new(5),
        answer: Admission::Welcome(welcome()),
    });
    let effects = child.receive(Frame::Admitted(answer.clone()), NOW);
    assert_eq!(effects, [child::Effect::Admitted(answer)]);
}
