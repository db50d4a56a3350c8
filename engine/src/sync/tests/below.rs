//! Relays: who is let in below one, what is said in its name, and how long its orders may run.

use std::sync::Arc;

use super::kit::{
    CLUSTER, NOW, attached, authority, catalog, charge, event, hello, name, object, order, path,
    sighting, uid, welcome,
};
use crate::{
    fleet::LINK_PATH,
    id::{Revision, SessionEpoch, Uid},
    object::{Labels, Object},
    sync::{
        DEAD_AFTER_MS, HOP_MS,
        below::{HOPS_MAX, check_name, check_session},
        child::{self, Child, Identity},
        delta::ObjectDelta,
        frame::{
            Admission, Admitted, Below, CfgDelta, DscDelta, Frame, Hello, Left, Refused,
            RefusedReason, Role,
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
fn a_relay_is_told_all_of_a_node_that_comes_back_although_nothing_has_changed() {
    let mut session = with_n2();
    assert_eq!(session.offer(Revision::new(8), vec![object(1, 3), object(2, 3)]), []);
    session.admit(&below("n2", 0), uid(2), welcome());
    let effects = session.offer(Revision::new(9), vec![object(1, 3), object(2, 3)]);
    let [Effect::Send(Frame::CfgDelta(delta))] = &effects[..] else { panic!("{effects:?}") };
    // What it holds of the node may be old: all of that comes again.
    assert_eq!(delta.objects, [ObjectDelta::Whole(object(2, 3))]);
    assert_eq!((delta.revision, &delta.whole_of[..]), (Revision::new(9), &[name("n2")][..]));
}

#[test]
fn cfg_that_was_gathered_before_a_node_was_let_in_says_nothing_of_it() {
    let mut session = with_n2();
    // One is on its way, so that the next waits; then a node is let in.
    session.offer(Revision::new(8), vec![object(1, 8), object(2, 3)]);
    session.offer(Revision::new(9), vec![object(1, 9), object(2, 3)]);
    session.admit(&below("n3", 0), uid(3), welcome());
    let effects = session.receive(Frame::CfgAck { seq: 3 }, authority(&catalog()), NOW);
    let [Effect::Send(Frame::CfgDelta(delta))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((delta.revision, delta.whole_of.len()), (Revision::new(9), 0));
    session.receive(Frame::CfgAck { seq: 4 }, authority(&catalog()), NOW);
    let all = vec![object(1, 9), object(2, 3), object(3, 3)];
    let effects = session.offer(Revision::new(10), all);
    let [Effect::Send(Frame::CfgDelta(delta))] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(delta.objects, [ObjectDelta::Whole(object(3, 3))]);
    assert_eq!(delta.whole_of, [name("n3")]);
}

fn told(seq: u64, objects: Vec<Arc<Object>>, whole_of: &[&str]) -> Frame {
    Frame::CfgDelta(CfgDelta {
        seq,
        revision: Revision::new(9),
        objects: objects.into_iter().map(ObjectDelta::Whole).collect(),
        declared: None,
        assurance: None,
        whole_of: whole_of.iter().map(|node| name(node)).collect(),
        hybrid_ms: 0,
    })
}

fn dropped(effects: &[child::Effect]) -> Vec<Uid> {
    let dropped = effects.iter().filter_map(|effect| match effect {
        child::Effect::DropCfg(uids) => Some(uids.clone()),
        _ => None,
    });
    dropped.flatten().collect()
}

/// What is below a relay must not notice that the relay was attached anew.
#[test]
fn what_a_relay_holds_for_others_stays_until_they_come_back_or_do_not() {
    let identity = Identity { node: name("n1"), role: Role::Relay, labels: Labels::new() };
    let mut relay = Child::new(identity, CLUSTER, Vec::new());
    relay.connected(NOW);
    relay.receive(Frame::Welcome(welcome()), NOW);
    relay.receive(told(1, vec![object(1, 1)], &[]), NOW);
    // `n2` hosts 12 and 13, the latter being reached through `n3`, which hosts 14.
    let mut both = (*charge(13, 1, "/host", "n2")).clone();
    both.cfg.set(path("/via"), "n3".into()).unwrap();
    let of_n2 = vec![object(2, 1), charge(12, 1, "/host", "n2"), Arc::new(both)];
    let of_n3 = vec![object(3, 1), charge(14, 1, "/host", "n3")];
    let effects = relay.receive(told(2, [of_n2, of_n3].concat(), &["n2", "n3"]), NOW);
    assert_eq!(dropped(&effects), []);

    relay.disconnected();
    relay.connected(NOW);
    relay.receive(Frame::Welcome(welcome()), NOW);
    let effects = relay.receive(told(1, vec![object(1, 2)], &[]), NOW);
    assert_eq!(dropped(&effects), [], "nobody below notices");
    // Of `n2` something was removed meanwhile; what is reached through `n3` as well is not told by
    // who has that in its charge already.
    let effects = relay.receive(told(2, vec![object(3, 2)], &["n3"]), NOW);
    assert_eq!(dropped(&effects), [uid(13), uid(14)]);
    let effects = relay.receive(told(3, vec![object(2, 2)], &["n2"]), NOW);
    assert_eq!(dropped(&effects), [uid(12)]);
    // `n3` leaves while nobody hears it, and does not come back.
    relay.disconnected();
    relay.connected(NOW);
    relay.receive(Frame::Welcome(welcome()), NOW);
    relay.receive(told(1, vec![object(1, 3)], &[]), NOW);
    relay.receive(told(2, vec![object(2, 3)], &["n2"]), NOW);
    assert_eq!(dropped(&relay.tick(NOW.after_ms(2_900))), []);
    relay.receive(Frame::DscAck { seq: 0 }, NOW.after_ms(9_000));
    assert_eq!(dropped(&relay.tick(NOW.after_ms(10_000))), [uid(3)]);
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
    // Nobody waits any more for what is decided about one that has left.
    let late = below("n3", 0);
    session.receive(Frame::Below(Box::new(late.clone())), authority(&catalog), NOW);
    assert!(session.expects(&late));
    session.receive(Frame::Left(left("n3", 5)), authority(&catalog), NOW);
    assert!(!session.expects(&late));
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

#[test]
fn a_session_must_be_newer_or_go_on_below_a_relay() {
    let refused = Err(RefusedReason::Epoch(SessionEpoch::new(7)));
    for (role, epoch, hops, is_up, expected) in [
        (Role::Leaf, 8, 0, true, Ok(())),
        (Role::Leaf, 7, 0, true, refused),
        (Role::Leaf, 7, 1, true, Ok(())),
        (Role::Leaf, 7, 1, false, refused),
        (Role::Leaf, 6, 1, true, refused),
        (Role::Relay, 6, 0, true, refused),
        (Role::Member, 6, 0, true, Ok(())),
    ] {
        let hello = Hello { epoch: SessionEpoch::new(epoch), ..hello(role) };
        let checked = check_session(&Below { hello, hops }, SessionEpoch::new(7), is_up);
        let checked = checked.map_err(|refused| refused.reason);
        assert_eq!(checked, expected, "{role:?} {epoch} {hops} {is_up}");
    }
}

#[test]
fn nobody_attaches_to_a_node_of_his_own_name() {
    assert_eq!(check_name(&below("n1", 0), &name("n2")), Ok(()));
    for hops in [0, 1] {
        let refused = check_name(&below("n1", hops), &name("n1")).unwrap_err();
        assert_eq!(refused.reason, RefusedReason::NotReady);
        assert!(refused.text.contains("give each machine a name of its own"), "{refused:?}");
    }
}

#[test]
fn a_node_below_that_was_heard_of_elsewhere_is_expelled_and_has_left() {
    let mut session = relay();
    let below = below("n2", 0);
    let catalog = catalog();
    session.receive(Frame::Below(Box::new(below.clone())), authority(&catalog), NOW);
    session.admit(&below, uid(2), welcome());
    let heard = |epoch| vec![(uid(2), SessionEpoch::new(epoch))];
    assert!(session.expel_outdated(heard(5)).is_empty(), "that is this one");
    let effects = session.expel_outdated(heard(6));
    let refused = |frame: &Frame| match frame {
        Frame::Admitted(admitted) => match &admitted.answer {
            Admission::Refused(refused) => Some(refused.reason),
            Admission::Welcome(_) => None,
        },
        _ => None,
    };
    match effects.as_slice() {
        [Effect::Send(frame), Effect::Leaves(gone)] => {
            assert_eq!(refused(frame), Some(RefusedReason::Epoch(SessionEpoch::new(6))));
            assert_eq!(*gone, left("n2", 5));
        }
        other => panic!("{other:?}"),
    }
    assert!(session.expel(&left("n2", 5), SessionEpoch::new(6)).is_empty(), "it has gone");
}
