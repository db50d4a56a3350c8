//! Children that are heard of seldom: how they come to it, what it costs them, and that orders
//! reach them all the same.

use std::{sync::Arc, time::Duration};

use super::kit::{
    CLUSTER, NOW, authority, catalog, charge, hello, identity, looks, name, object, order, welcome,
};
use crate::{
    catalog::Catalog,
    id::{ClusterId, Revision},
    manifest::{Extension, KindSpec, Manifest, MutationSpec, PathSpec, SeenBy, Type},
    object::{HOST_PATH, Labels, Object},
    order::{Answer, Recall, Said},
    singleton::Assurance,
    sync::{
        DEAD_AFTER_MS, HEARTBEAT_MS, KEEP_MS, LEASE_MS,
        child::{self, Child, Identity},
        decode,
        delta::ObjectDelta,
        encode,
        frame::{CfgDelta, Frame, Heartbeat, Hello, Role, Welcome},
        orders::Goes,
        pace::{BULK, HEARTBEAT_LABEL, NORMAL, Pace},
        parent::{self, Session},
    },
    time::Millis,
};

const BULK_MS: u64 = 10 * HEARTBEAT_MS;

fn at(ms: u64) -> Millis {
    NOW.after_ms(ms)
}

fn labels(value: &str) -> Labels {
    [(name(HEARTBEAT_LABEL), value.to_owned())].into()
}

fn said(effects: &[child::Effect]) -> Option<Pace> {
    effects.iter().find_map(|effect| match effect {
        child::Effect::Send(Frame::Hello(hello)) => Some(hello.pace),
        _ => None,
    })
}

fn beats(effects: &[child::Effect]) -> bool {
    let is_beat = |effect: &child::Effect| match effect {
        child::Effect::Send(frame) => frame.is_heartbeat(),
        _ => false,
    };
    effects.iter().any(is_beat)
}

fn closes(effects: &[child::Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, child::Effect::Close(_)))
}

fn taken() -> Frame {
    Frame::Welcome(Welcome { takes_beats: true, ..welcome() })
}

/// A leaf of many, attached.
fn one_of_many() -> Child {
    let identity = Identity { labels: labels(BULK), ..identity() };
    let mut child = Child::new(identity, ClusterId::default(), Vec::new());
    assert_eq!(said(&child.connected(NOW)), Some(Pace::BULK));
    child.receive(taken(), NOW);
    child
}

fn cfg(seq: u64, object: Arc<Object>, assurance: Option<Assurance>) -> Frame {
    Frame::CfgDelta(CfgDelta {
        seq,
        revision: Revision::new(5),
        objects: vec![ObjectDelta::Whole(object)],
        declared: None,
        assurance,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    })
}

/// The session of a child of a pace.
fn session(pace: Pace) -> Session {
    let catalog = catalog();
    let mut session = Session::new(NOW);
    let hello = Hello { takes_orders: true, pace, ..hello(Role::Leaf) };
    session.receive(Frame::Hello(hello), authority(&catalog), NOW);
    session.accept(welcome(), NOW);
    session
}

fn beat(sent: Millis) -> Frame {
    Frame::Heartbeat(Heartbeat { sent_ms: sent.get(), seq: 0, digest: 0, assurance: None })
}

fn sent(effects: Vec<parent::Effect>) -> Vec<Frame> {
    let frames = effects.into_iter().filter_map(|effect| match effect {
        parent::Effect::Send(frame) => Some(frame),
        _ => None,
    });
    frames.collect()
}

#[test]
fn the_label_of_its_object_says_how_often_a_leaf_is_heard_of_from_its_next_session_on() {
    let mut child = one_of_many();
    let renamed = |value: &str| {
        let mut own = (*object(1, 5)).clone();
        own.labels = labels(value);
        Arc::new(own)
    };
    child.receive(cfg(1, renamed(NORMAL), None), NOW);
    assert!(!beats(&child.tick(at(HEARTBEAT_MS))), "this session goes on as it began");
    assert_eq!(said(&child.connected(at(5_000))), Some(Pace::NORMAL));
    child.receive(taken(), at(5_000));
    child.receive(cfg(1, renamed(BULK), None), at(5_000));
    assert_eq!(said(&child.connected(at(9_000))), Some(Pace::BULK));
    child.receive(taken(), at(9_000));
    child.receive(cfg(1, renamed("seldom"), None), at(9_000));
    assert_eq!(said(&child.connected(at(12_000))), Some(Pace::NORMAL), "no such word");
    child.receive(taken(), at(12_000));
    child.receive(cfg(1, renamed(BULK), None), at(12_000));
    assert_eq!(said(&child.connected(at(20_000))), Some(Pace::BULK));
    child.receive(Frame::Welcome(welcome()), at(20_000));
    assert!(beats(&child.tick(at(20_000 + HEARTBEAT_MS))), "an older parent hears of all so");
    let identity = Identity { labels: labels(BULK), role: Role::Member, ..identity() };
    let mut child = Child::new(identity, CLUSTER, Vec::new());
    assert_eq!(said(&child.connected(NOW)), Some(Pace::NORMAL), "others rely on it");
}

#[test]
fn heartbeats_of_one_of_many_are_ten_seconds_apart_and_so_is_the_silence_that_ends_it() {
    let mut child = one_of_many();
    assert!(!beats(&child.tick(at(BULK_MS - 1))));
    assert!(beats(&child.tick(at(BULK_MS))));
    let mut listens = looks(at(BULK_MS), at(3 * BULK_MS - 1), Pace::BULK);
    assert!(!listens.any(|at| closes(&child.tick(at))));
    assert!(closes(&child.tick(at(3 * BULK_MS))));
    for (pace, dead_after) in [(Pace::NORMAL, DEAD_AFTER_MS), (Pace::BULK, 3 * BULK_MS)] {
        let mut session = session(pace);
        assert_eq!(session.pace(), pace);
        let mut listens = looks(NOW, at(dead_after - 1), pace);
        assert!(listens.all(|at| session.tick(at).is_empty()));
        let over = session.tick(at(dead_after));
        assert!(matches!(&over[..], [parent::Effect::Close(_)]), "{over:?}");
    }
    let mut silent = Session::new(NOW);
    let over = silent.tick(at(DEAD_AFTER_MS));
    assert!(matches!(&over[..], [parent::Effect::Close(_)]), "nobody has said a pace");
}

#[test]
fn time_in_which_an_end_did_not_listen_is_no_silence_of_the_other() {
    for pace in Pace::ALL {
        let (heartbeat, dead) = (pace.heartbeat_ms(), pace.dead_after_ms());
        let mut session = session(pace);
        // It slept: what came meanwhile is still to be read.
        assert!(session.tick(at(7 * dead)).is_empty());
        let woken = 7 * dead - heartbeat;
        let mut listens = looks(at(7 * dead), at(woken + dead - 1), pace);
        assert!(listens.all(|at| session.tick(at).is_empty()));
        let over = session.tick(at(woken + dead));
        assert!(matches!(&over[..], [parent::Effect::Close(_)]), "{over:?}");
    }
    let mut child = one_of_many();
    assert!(!closes(&child.tick(at(7 * BULK_MS))));
}

#[test]
fn who_is_assured_of_the_quorum_goes_on_to_be() {
    let mut child = one_of_many();
    let assurance = Some(Assurance { ago_ms: 5, revision: Revision::new(5) });
    child.receive(cfg(1, object(1, 5), assurance), NOW);
    assert!(beats(&child.tick(at(HEARTBEAT_MS))));
    child.receive(beat(at(HEARTBEAT_MS)), at(HEARTBEAT_MS));
    assert!(beats(&child.tick(at(2 * HEARTBEAT_MS))), "also while it is not");
    let last = at(HEARTBEAT_MS + DEAD_AFTER_MS);
    let mut listens = looks(at(2 * HEARTBEAT_MS), last, Pace::NORMAL);
    assert!(listens.any(|at| closes(&child.tick(at))), "it looks for another parent in time");
    child.connected(at(6_000));
    child.receive(taken(), at(6_000));
    assert!(beats(&child.tick(at(6_000 + HEARTBEAT_MS))), "there too");
}

#[test]
fn what_a_hello_says_of_heartbeats_is_held_to_bounds() {
    for (said, taken) in [(0, Pace::NORMAL), (BULK_MS, Pace::BULK), (u64::MAX, Pace::BULK)] {
        let bytes = rmp_serde::to_vec_named(&said).unwrap();
        assert_eq!(rmp_serde::from_slice::<Pace>(&bytes).unwrap(), taken);
    }
    let old = encode(&Frame::Hello(hello(Role::Leaf))).unwrap();
    assert!(!old.windows(4).any(|bytes| bytes == b"pace"), "old parents read it as before");
    let Frame::Hello(read) = decode(&old).unwrap() else { panic!() };
    assert_eq!(read.pace, Pace::NORMAL);
}

#[test]
fn an_order_to_one_of_many_goes_behind_a_heartbeat_and_is_carried_out() {
    let catalog = catalog();
    let (mut session, mut child) = (session(Pace::BULK), one_of_many());
    assert_eq!(session.dispatch(&order(1, 1), &catalog, at(LEASE_MS / 2)), Ok(Goes::Now));
    assert!(session.ask().is_empty(), "the lease is young");
    let late = at(7_000);
    for count in [2, 3, 2] {
        assert_eq!(session.dispatch(&order(1, count), &catalog, late), Ok(Goes::AfterHeartbeat));
    }
    assert_eq!(sent(session.ask()), [Frame::Ping]);
    assert!(session.ask().is_empty(), "once is enough");
    let effects = child.receive(Frame::Ping, late);
    let [child::Effect::Send(Frame::Beat(1, 0))] = &effects[..] else { panic!("{effects:?}") };
    let frames = sent(session.receive(Frame::Beat(1, 0), authority(&catalog), at(7_010)));
    let orders = vec![order(1, 2), order(1, 3)];
    let expected = [Frame::Echo(1, None), Frame::Dispatch(orders)];
    assert_eq!(frames, expected, "the echo goes first");
    let by = late.after_ms(LEASE_MS);
    let carried = |effect: &child::Effect| match effect {
        child::Effect::Carry(_, until) => *until == by,
        _ => false,
    };
    let effects: Vec<child::Effect> =
        frames.into_iter().flat_map(|frame| child.receive(frame, at(7_020))).collect();
    assert_eq!(effects.iter().filter(|effect| carried(effect)).count(), 2, "{effects:?}");
    assert_eq!(session.dispatch(&order(1, 4), &catalog, at(7_030)), Ok(Goes::Now));
}

#[test]
fn an_order_waits_for_a_heartbeat_only_so_long() {
    let catalog = catalog();
    let mut session = session(Pace::BULK);
    session.dispatch(&order(1, 1), &catalog, at(5_000)).unwrap();
    session.ask();
    assert!(session.is_busy() && session.tick(at(5_000 + KEEP_MS)).is_empty());
    let told = session.tick(at(5_001 + KEEP_MS));
    let [parent::Effect::Answered(answers)] = &told[..] else { panic!("{told:?}") };
    let [Answer { node, said: Said::Declined(why), .. }] = &answers[..] else { panic!() };
    assert_eq!((node, why.as_str()), (&name("n1"), "on the way to n1: no heartbeat came"));
    assert!(session.orphans(|_| 1).is_empty(), "it is answered");
    let frames = sent(session.receive(beat(at(9_000)), authority(&catalog), at(9_000)));
    assert!(!frames.iter().any(|frame| matches!(frame, Frame::Dispatch(_))), "{frames:?}");
    session.dispatch(&order(1, 2), &catalog, at(15_000)).unwrap();
    assert_eq!(sent(session.ask()), [Frame::Ping], "it is asked again");
    let late = session.receive(beat(at(16_000)), authority(&catalog), at(16_000));
    assert!(late.iter().any(|effect| matches!(effect, parent::Effect::Answered(_))), "{late:?}");
    let went = |frame: &Frame| matches!(frame, Frame::Dispatch(_));
    assert!(!sent(late).iter().any(went), "the heartbeat comes too late for it");
}

#[test]
fn of_a_second_copy_nothing_is_said_where_the_first_one_went() {
    let catalog = catalog();
    let mut session = session(Pace::BULK);
    let first = session.dispatch(&order(1, 1), &catalog, at(100));
    assert_eq!(first, Ok(Goes::Now));
    let second = session.dispatch(&order(1, 1), &catalog, at(2_100));
    assert_eq!(second, Ok(Goes::AfterHeartbeat));
    assert!(session.tick(at(9_000)).is_empty(), "the child says what becomes of it");
    session.dispatch(&order(1, 1), &catalog, at(9_100)).unwrap();
    let recall = Recall { to: name("n1"), attempt: order(1, 1).attempt, asks: None };
    assert_eq!(session.recall(recall.clone()), [parent::Effect::Send(Frame::Cancel(recall))]);
    assert_eq!(session.orphans(|_| 1).len(), 1, "it is open still");
}

#[test]
fn an_order_that_waits_is_called_back_and_does_not_go() {
    let catalog = catalog();
    let mut session = session(Pace::BULK);
    session.dispatch(&order(1, 1), &catalog, at(5_000)).unwrap();
    let recall = Recall { to: name("n1"), attempt: order(1, 1).attempt, asks: None };
    let effects = session.recall(recall.clone());
    assert!(
        matches!(
            &effects[..],
            [parent::Effect::Answered(_), parent::Effect::Send(Frame::Cancel(_))]
        ),
        "{effects:?}"
    );
    let frames = sent(session.receive(beat(at(5_010)), authority(&catalog), at(5_010)));
    assert!(!frames.iter().any(|frame| matches!(frame, Frame::Dispatch(_))), "{frames:?}");
    assert_eq!(sent(session.recall(recall.clone())), [Frame::Cancel(recall)]);
}

#[test]
fn what_waits_when_the_session_ends_is_lost_as_all_else() {
    let catalog = catalog();
    let mut session = session(Pace::BULK);
    session.dispatch(&order(1, 1), &catalog, at(5_000)).unwrap();
    let orphans = session.orphans(|_| 1);
    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].lost_at, at(DEAD_AFTER_MS), "it was heard at its Hello only");
}

#[test]
fn beats_are_sent_where_the_parent_takes_them_and_their_echoes_are_a_lease() {
    let catalog = catalog();
    let mut child = Child::new(identity(), ClusterId::default(), Vec::new());
    child.connected(NOW);
    child.receive(taken(), NOW);
    let mut session = session(Pace::NORMAL);
    session.offer(Revision::new(5), vec![object(1, 5)]);
    session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog), NOW);
    let mut sent_at = Vec::new();
    for second in 1..=3 {
        let effects = child.tick(at(second * HEARTBEAT_MS));
        assert_eq!(effects, [child::Effect::Send(Frame::Beat(second, 0))]);
        let frames = sent(session.receive(Frame::Beat(second, 0), authority(&catalog), NOW));
        assert_eq!(frames, [Frame::Echo(second, None)]);
        sent_at.push(at(second * HEARTBEAT_MS));
        child.receive(Frame::DscAck { seq: 0 }, at(second * HEARTBEAT_MS));
    }
    let echo = |child: &mut Child, number| {
        let effects = child.receive(Frame::Echo(number, None), at(3_500));
        assert!(effects.is_empty(), "{effects:?}");
        child.lease_until()
    };
    let lease = |second: usize| Some(sent_at[second - 1].after_ms(LEASE_MS));
    assert_eq!(child.lease_until(), Some(at(LEASE_MS)), "of its Hello");
    assert_eq!(echo(&mut child, 2), lease(2), "the first one was lost");
    assert_eq!(echo(&mut child, 1), lease(2), "it is too late for that");
    assert_eq!(echo(&mut child, 9), lease(2), "nobody sent that");
    child.connected(at(4_000));
    child.receive(taken(), at(4_000));
    assert_eq!(echo(&mut child, 3), Some(at(4_000 + LEASE_MS)), "of another session");
    assert!(beats(&child.tick(at(5_000))));
    let resyncs = session.receive(Frame::Beat(4, 7), authority(&catalog), NOW);
    assert_eq!(sent(resyncs), [Frame::Echo(4, None), Frame::Resync], "digests differ");
    let small = encode(&Frame::Beat(100, u64::MAX)).unwrap().len();
    let echo = encode(&Frame::Echo(100, None)).unwrap().len();
    assert!(small + echo + 2 * 4 <= 40, "{small} and {echo}, each with its length");
}

#[test]
fn beats_that_nobody_echoes_take_no_more_and_more_room() {
    let mut child = Child::new(identity(), ClusterId::default(), Vec::new());
    child.connected(NOW);
    child.receive(taken(), NOW);
    for _ in 0..1_000 {
        child.receive(Frame::Ping, at(10));
    }
    child.receive(Frame::Echo(900, None), at(20));
    assert_eq!(child.lease_until(), Some(at(LEASE_MS)), "forgotten");
    child.receive(Frame::Echo(1_000, None), at(20));
    assert_eq!(child.lease_until(), Some(at(10 + LEASE_MS)));
}

/// A kind that must never run twice.
fn posts() -> Arc<Catalog> {
    let duty = PathSpec::new("/duty", Type::enum_of(["OFF", "ON"])).absent("OFF");
    let host = PathSpec::new(HOST_PATH, Type::Text).seen_by(SeenBy::Nobody);
    let of = |name: &str| MutationSpec::new(name).kind("post");
    let manifest = Manifest::new("post")
        .kind(KindSpec::new("post").singleton(Duration::from_secs(5)))
        .extension(Extension::new("post").kind("post").path(duty).path(host))
        .discovers("/duty")
        .mutation(of("TakeUp").changes("/duty", "OFF", "ON"))
        .mutation(of("LayDown").changes("/duty", "ON", "OFF"));
    Arc::new(Catalog::build(&[manifest]).unwrap())
}

#[test]
fn one_of_many_that_hosts_what_must_not_run_twice_is_asked_until_it_asks_itself() {
    let catalog = posts();
    let mut post = (*charge(2, 5, HOST_PATH, "n1")).clone();
    post.key.kind = name("post");
    for (pace, asked) in [(Pace::BULK, true), (Pace::NORMAL, false)] {
        let mut session = session(pace);
        session.declare(&catalog);
        session.offer(Revision::new(5), vec![object(1, 5)]);
        assert!(session.tick(at(HEARTBEAT_MS)).is_empty(), "it hosts nothing such");
        session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog), at(HEARTBEAT_MS));
        session.offer(Revision::new(5), vec![object(1, 5), Arc::new(post.clone())]);
        let frames = sent(session.tick(at(2 * HEARTBEAT_MS)));
        assert_eq!(frames == [Frame::Ping], asked, "{frames:?}");
        session.receive(beat(at(2 * HEARTBEAT_MS)), authority(&catalog), at(2 * HEARTBEAT_MS));
        assert!(sent(session.tick(at(2 * HEARTBEAT_MS + 1))).is_empty(), "it beats");
    }
}

#[test]
fn a_relay_of_many_beats_as_often_as_others_and_is_patient() {
    for (label, dead_after_ms) in [(NORMAL, DEAD_AFTER_MS), (BULK, 10 * DEAD_AFTER_MS)] {
        let identity = Identity { labels: labels(label), role: Role::Relay, ..identity() };
        let mut child = Child::new(identity, ClusterId::default(), Vec::new());
        let pace = said(&child.connected(NOW)).unwrap();
        assert_eq!(pace.dead_after_ms(), dead_after_ms, "{label}");
        child.receive(taken(), NOW);
        let mut beaten = 0;
        for ms in (0..dead_after_ms).step_by(250) {
            let effects = child.tick(at(ms));
            beaten += u64::from(beats(&effects));
            assert!(!closes(&effects), "{label} {ms}");
        }
        assert_eq!(beaten, dead_after_ms / HEARTBEAT_MS - 1, "{label}");
        assert!(closes(&child.tick(at(dead_after_ms))), "{label}");
    }
}

#[test]
fn no_order_waits_for_a_heartbeat_of_a_relay() {
    let catalog = catalog();
    let mut session = Session::new(NOW);
    let hello = Hello { takes_orders: true, pace: Pace::BULK, ..hello(Role::Relay) };
    session.receive(Frame::Hello(hello), authority(&catalog), NOW);
    session.accept(welcome(), NOW);
    session.receive(beat(NOW), authority(&catalog), NOW);
    assert_eq!(session.dispatch(&order(1, 5), &catalog, at(LEASE_MS)), Ok(Goes::Now));
    let refused = session.dispatch(&order(2, 5), &catalog, at(LEASE_MS + 1));
    assert!(matches!(refused, Err(Said::Declined(_))), "{refused:?}");
    let mut is_over = |ms| {
        let effects = session.tick(at(ms));
        effects.iter().any(|effect| matches!(effect, parent::Effect::Close(_)))
    };
    assert!((0..10 * DEAD_AFTER_MS).step_by(500).all(|ms| !is_over(ms)));
    assert!(is_over(10 * DEAD_AFTER_MS));
}
