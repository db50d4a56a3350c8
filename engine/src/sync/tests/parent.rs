//! The table of the upper end, row by row, and what it lets a child say.

use super::kit::{
    CLUSTER, NOW, attached, authority, catalog, charge, event, hello, looks, name, object, path,
    sighting, uid, welcome,
};
use crate::{
    dsc::{Observed, Sighting, sighting_digest},
    id::Revision,
    object::{HOST_PATH, VIA_PATH},
    singleton::Assured,
    sync::{
        DEAD_AFTER_MS, PROTOCOL_VERSION, STAMP_AHEAD_MS_MAX, WINDOW_FRAMES,
        delta::ObjectDelta,
        frame::{CfgDelta, DscDelta, Frame, Heartbeat, Hello, RefusedReason, Role},
        pace::Pace,
        parent::{Authority, Effect, Session},
    },
    time::Millis,
};

fn closes(effects: &[Effect]) -> bool {
    matches!(effects, [.., Effect::Close(_)])
}

fn cfg(effects: &[Effect]) -> Option<&CfgDelta> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send(Frame::CfgDelta(delta)) => Some(delta),
        _ => None,
    })
}

fn delta(seq: u64, changes: Vec<Sighting>) -> DscDelta {
    let changes = vec![(uid(1), changes)];
    DscDelta { seq, afresh: false, dropped: 0, changes, events: Vec::new() }
}

/// Has the child say a delta.
fn says(session: &mut Session, delta: DscDelta) -> Vec<Effect> {
    session.receive(Frame::DscDelta(delta), authority(&catalog()), NOW)
}

fn merged(effects: &[Effect]) -> Vec<String> {
    let merged = effects.iter().filter_map(|effect| match effect {
        Effect::Merge(_, sightings) => Some(sightings.iter().map(|(path, _)| path.to_string())),
        _ => None,
    });
    merged.flatten().collect()
}

fn alarms(effects: &[Effect]) -> Vec<&str> {
    let alarms = effects.iter().filter_map(|effect| match effect {
        Effect::Alarm(text) => Some(text.as_str()),
        _ => None,
    });
    alarms.collect()
}

fn beats(session: &mut Session, digest: u64) -> Vec<Effect> {
    let beat = Frame::Heartbeat(Heartbeat { sent_ms: 1, seq: 1, digest, assurance: None });
    session.receive(beat, authority(&catalog()), NOW)
}

fn resyncs(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Send(Frame::Resync))
}

#[test]
fn a_hello_is_put_to_the_driver_which_accepts_or_refuses() {
    let catalog = catalog();
    let mut session = Session::new(NOW);
    let greeted = session.receive(Frame::Hello(hello(Role::Leaf)), authority(&catalog), NOW);
    assert_eq!(greeted, [Effect::Greeted(hello(Role::Leaf))]);
    assert!(!session.is_attached());
    assert_eq!(session.accept(welcome(), NOW), [Effect::Send(Frame::Welcome(welcome()))]);
    assert!(session.is_attached());
    assert!(session.accept(welcome(), NOW).is_empty(), "once");
    assert_eq!(session.child(), Some(&hello(Role::Leaf)));

    let mut refused = Session::new(NOW);
    refused.receive(Frame::Hello(hello(Role::Leaf)), authority(&catalog), NOW);
    let effects = refused.refuse(RefusedReason::NotReady, "later".to_owned());
    assert!(matches!(effects[0], Effect::Send(Frame::Refused(_))) && closes(&effects));
    assert!(refused.accept(welcome(), NOW).is_empty(), "over is over");
}

#[test]
fn another_version_is_refused_with_what_to_do() {
    let mut session = Session::new(NOW);
    let hello = Hello { version: PROTOCOL_VERSION + 1, ..hello(Role::Leaf) };
    let effects = session.receive(Frame::Hello(hello), authority(&catalog()), NOW);
    let Effect::Send(Frame::Refused(refused)) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(refused.reason, RefusedReason::Version);
    assert!(refused.text.contains("run the same release"), "{}", refused.text);
    assert!(closes(&effects));
}

#[test]
fn a_first_frame_that_is_no_hello_ends_the_session() {
    let catalog = catalog();
    let mut session = Session::new(NOW);
    assert!(closes(&session.receive(Frame::Resync, authority(&catalog), NOW)));
    assert!(session.receive(Frame::Hello(hello(Role::Leaf)), authority(&catalog), NOW).is_empty());
    let mut asking = Session::new(NOW);
    asking.receive(Frame::Hello(hello(Role::Leaf)), authority(&catalog), NOW);
    assert!(closes(&asking.receive(Frame::CfgAck { seq: 1 }, authority(&catalog), NOW)));
}

#[test]
fn a_parent_that_knows_less_than_its_child_offers_until_it_knows_as_much() {
    let catalog = catalog();
    let mut session = Session::new(NOW);
    let knows = Hello { revision: Revision::new(9), ..hello(Role::Leaf) };
    session.receive(Frame::Hello(knows), authority(&catalog), NOW);
    assert!(!session.is_behind());
    session.accept(welcome(), NOW);
    assert!(cfg(&session.offer(Revision::new(8), vec![object(1, 3)])).is_none());
    assert!(session.is_behind(), "nothing of the child's own may ever change again");
    assert!(cfg(&session.offer(Revision::new(9), vec![object(1, 3)])).is_some());
    assert!(!session.is_behind());
}

#[test]
fn silence_ends_the_session_in_every_state() {
    let dead = Millis::new(NOW.get() + DEAD_AFTER_MS);
    let alive = Millis::new(NOW.get() + DEAD_AFTER_MS - 1);
    let expecting = Session::new(NOW);
    let mut asking = Session::new(NOW);
    asking.receive(Frame::Hello(hello(Role::Leaf)), authority(&catalog()), NOW);
    let attached = attached(Role::Leaf, vec![object(1, 1)], &catalog());
    for mut session in [expecting, asking, attached] {
        assert!(looks(NOW, alive, Pace::NORMAL).all(|at| session.tick(at).is_empty()));
        assert!(closes(&session.tick(dead)));
        assert!(session.tick(dead).is_empty(), "once");
    }
}

#[test]
fn frames_that_a_child_never_sends_end_the_session() {
    let delta = CfgDelta {
        seq: 1,
        revision: Revision::new(1),
        objects: Vec::new(),
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    for frame in [
        Frame::Hello(hello(Role::Leaf)),
        Frame::Welcome(welcome()),
        Frame::CfgDelta(delta),
        Frame::DscAck { seq: 1 },
        Frame::Resync,
    ] {
        let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
        assert!(closes(&session.receive(frame, authority(&catalog()), NOW)));
    }
}

#[test]
fn the_first_cfg_is_sent_whole_and_even_if_it_is_empty() {
    for objects in [vec![object(1, 1)], Vec::new()] {
        let mut session = Session::new(NOW);
        session.receive(Frame::Hello(hello(Role::Leaf)), authority(&catalog()), NOW);
        session.accept(welcome(), NOW);
        let effects = session.offer(Revision::new(3), objects.clone());
        let whole = objects.into_iter().map(ObjectDelta::Whole).collect();
        let expected = CfgDelta {
            seq: 1,
            revision: Revision::new(3),
            objects: whole,
            declared: None,
            assurance: None,
            whole_of: Vec::new(),
            hybrid_ms: 0,
        };
        assert_eq!(cfg(&effects), Some(&expected));
    }
}

#[test]
fn what_was_offered_before_the_child_was_accepted_follows_the_welcome() {
    let mut session = Session::new(NOW);
    session.receive(Frame::Hello(hello(Role::Leaf)), authority(&catalog()), NOW);
    assert!(session.offer(Revision::new(3), vec![object(1, 3)]).is_empty());
    let effects = session.accept(welcome(), NOW);
    assert!(matches!(
        effects[..],
        [Effect::Send(Frame::Welcome(_)), Effect::Send(Frame::CfgDelta(_))]
    ));
}

#[test]
fn a_slow_child_holds_one_delta_and_what_changes_meanwhile_collapses() {
    let catalog = catalog();
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog);
    let second = session.offer(Revision::new(2), vec![object(1, 2)]);
    assert_eq!(cfg(&second).unwrap().seq, 2);
    for revision in 3..6 {
        let effects = session.offer(Revision::new(revision), vec![object(1, revision)]);
        assert!(effects.is_empty());
    }
    let stale = session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog), NOW);
    assert!(stale.is_empty(), "that was acknowledged before");
    let effects = session.receive(Frame::CfgAck { seq: 2 }, authority(&catalog), NOW);
    let delta = cfg(&effects).unwrap();
    assert_eq!((delta.seq, delta.revision, delta.objects.len()), (3, Revision::new(5), 1));
}

#[test]
fn a_child_is_told_nothing_from_before_what_it_holds() {
    let mut session = Session::new(NOW);
    let ahead = Hello { revision: Revision::new(9), ..hello(Role::Leaf) };
    session.receive(Frame::Hello(ahead), authority(&catalog()), NOW);
    session.accept(welcome(), NOW);
    assert!(session.offer(Revision::new(8), vec![object(1, 8)]).is_empty());
    assert!(cfg(&session.offer(Revision::new(9), vec![object(1, 8)])).is_some());
}

#[test]
fn what_a_leaf_says_waits_until_its_parent_has_caught_up_with_its_cfg() {
    let catalog = catalog();
    let early = || {
        let mut session = Session::new(NOW);
        let ahead = Hello { revision: Revision::new(9), ..hello(Role::Leaf) };
        session.receive(Frame::Hello(ahead), authority(&catalog), NOW);
        session.accept(welcome(), NOW);
        session.offer(Revision::new(8), vec![object(1, 8)]);
        session
    };
    let mut session = early();
    assert!(says(&mut session, delta(1, vec![sighting("/level", "1", 1)])).is_empty());
    assert!(!resyncs(&beats(&mut session, 5)), "nothing to compare with yet");
    assert!(cfg(&session.offer(Revision::new(9), vec![object(1, 9)])).is_some());
    let effects = session.receive(Frame::CfgAck { seq: 1 }, authority(&catalog), NOW);
    assert_eq!(merged(&effects), ["/level"]);
    assert_eq!(effects.last(), Some(&Effect::Send(Frame::DscAck { seq: 1 })));

    let mut full = early();
    for seq in 1..=WINDOW_FRAMES {
        assert!(says(&mut full, delta(seq, vec![])).is_empty());
    }
    assert!(closes(&says(&mut full, delta(WINDOW_FRAMES + 1, vec![]))));
}

#[test]
fn nothing_is_sent_where_nothing_has_changed() {
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
    assert!(session.offer(Revision::new(2), vec![object(1, 1)]).is_empty());
}

#[test]
fn a_leaf_may_say_what_it_discovers_of_its_own_and_its_status() {
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
    let said = vec![sighting("/engine/self/phase", "Converged", 1), sighting("/level", "1", 1)];
    let effects = says(&mut session, delta(1, said));
    assert_eq!(merged(&effects), ["/engine/self/phase", "/level"]);
    assert_eq!(effects.last(), Some(&Effect::Send(Frame::DscAck { seq: 1 })));
    assert_eq!(session.refused(), 0);
}

#[test]
fn of_what_is_no_node_a_leaf_may_say_what_its_charge_is() {
    let table = [
        (HOST_PATH, "n1", vec!["/engine/self/phase", "/level"]),
        (VIA_PATH, "n1", vec!["/power"]),
        (HOST_PATH, "n2", vec![]),
        (VIA_PATH, "n2", vec![]),
    ];
    for (at, node, expected) in table {
        let objects = vec![object(1, 1), charge(2, 1, at, node)];
        let mut session = attached(Role::Leaf, objects, &catalog());
        let paths = ["/engine/self/phase", "/level", "/power", "/input", "/engine/quorum/phase"];
        let said = paths.map(|path| sighting(path, "x", 1)).to_vec();
        let effects =
            says(&mut session, DscDelta { changes: vec![(uid(2), said)], ..delta(1, vec![]) });
        assert_eq!(merged(&effects), expected, "{at} = {node}");
        assert_eq!(session.refused(), 5 - expected.len() as u64);
    }
}

#[test]
fn what_a_leaf_may_not_say_is_refused_counted_and_shown() {
    let other: Sighting = {
        let (path, mut observed) = sighting("/level", "1", 1);
        observed.stamp.writer = name("n2");
        (path, observed)
    };
    for (said, why) in [
        (sighting("/power", "ON", 1), "reports /power, which it does not discover"),
        (sighting("/input", "x", 1), "reports /input, which it does not discover"),
        (sighting("/engine/quorum/phase", "x", 1), "reports /engine/quorum/phase, which it does"),
        (sighting("/link", "UP", 1), "reports /link, which it does not discover"),
        (sighting("/nowhere", "x", 1), "reports /nowhere, which it does not discover"),
        (other, "reports /level in the name of n2"),
    ] {
        let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
        let effects = says(&mut session, delta(1, vec![said]));
        assert!(merged(&effects).is_empty());
        let alarms = alarms(&effects);
        assert!(alarms.len() == 1 && alarms[0].contains(why), "{alarms:?}");
        assert_eq!(session.refused(), 1);
    }
}

#[test]
fn of_what_is_not_its_own_a_leaf_may_say_nothing() {
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
    let changes = vec![(uid(2), vec![sighting("/level", "1", 1), sighting("/colour", "x", 1)])];
    let effects = says(&mut session, DscDelta { changes, ..delta(1, Vec::new()) });
    assert!(merged(&effects).is_empty());
    assert!(alarms(&effects)[0].ends_with("which is not its own; and 1 more"), "one alarm a delta");
    assert_eq!(session.refused(), 2);
}

#[test]
fn of_what_has_just_left_it_a_leaf_may_speak_until_it_knows() {
    let catalog = catalog();
    let mut session = attached(Role::Leaf, vec![object(1, 1), object(2, 1)], &catalog);
    session.offer(Revision::new(2), vec![object(2, 1)]);
    let late = says(&mut session, delta(1, vec![sighting("/level", "1", 1)]));
    assert!(merged(&late).is_empty() && alarms(&late).is_empty());
    session.receive(Frame::CfgAck { seq: 2 }, authority(&catalog), NOW);
    assert_eq!(alarms(&says(&mut session, delta(2, vec![sighting("/level", "1", 1)]))).len(), 1);
}

#[test]
fn a_clock_that_is_far_ahead_is_not_followed() {
    let limit = NOW.get() + STAMP_AHEAD_MS_MAX;
    for role in [Role::Leaf, Role::Member] {
        let mut session = attached(role, vec![object(1, 1)], &catalog());
        let effects = says(&mut session, delta(1, vec![sighting("/level", "1", limit)]));
        assert_eq!(merged(&effects), ["/level"]);
        let effects = says(&mut session, delta(2, vec![sighting("/level", "2", limit + 1)]));
        assert!(merged(&effects).is_empty());
        assert_eq!(alarms(&effects), ["n1 reports /level with a clock 10001 ms ahead"]);
    }
}

#[test]
fn what_lay_ahead_is_asked_for_again_when_time_has_come_that_far() {
    let catalog = catalog();
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog);
    let (at, observed) = sighting("/level", "1", NOW.get() + STAMP_AHEAD_MS_MAX + 500);
    let digest = sighting_digest(&at, &observed);
    says(&mut session, delta(1, vec![(at, observed)]));
    let mut asks = |hybrid_ms: u64| {
        let beat = Frame::Heartbeat(Heartbeat { sent_ms: 1, seq: 1, digest, assurance: None });
        let authority = Authority { catalog: &catalog, hybrid_ms, assured: Assured::default() };
        resyncs(&session.receive(beat, authority, NOW))
    };
    assert!(!asks(NOW.get() + 499));
    assert!(asks(NOW.get() + 500));
    assert!(!asks(NOW.get() + 501), "once");
}

#[test]
fn the_epoch_of_a_link_is_no_clock() {
    let mut session = attached(Role::Member, Vec::new(), &catalog());
    let link = sighting("/link", "UP", NOW.get() + 10 * STAMP_AHEAD_MS_MAX);
    assert_eq!(merged(&says(&mut session, delta(1, vec![link]))), ["/link"]);
}

#[test]
fn a_member_speaks_for_what_is_attached_to_it() {
    let mut session = attached(Role::Member, Vec::new(), &catalog());
    let mut other = event(1);
    other.id.node = name("n2");
    let said =
        DscDelta { events: vec![event(1), other], ..delta(1, vec![sighting("/power", "ON", 1)]) };
    let effects = says(&mut session, said);
    assert_eq!(merged(&effects), ["/power"]);
    assert!(effects.iter().any(|e| matches!(e, Effect::Record(events) if events.len() == 2)));
}

#[test]
fn a_leaf_tells_its_own_events_only() {
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
    let mut other = event(1);
    other.id.node = name("n2");
    let effects =
        says(&mut session, DscDelta { events: vec![event(1), other], ..delta(1, vec![]) });
    assert!(effects.contains(&Effect::Record(vec![event(1)])));
    assert_eq!(alarms(&effects), ["n1 reports event n2-3-1, which is not its own"]);
}

#[test]
fn what_a_child_had_to_drop_is_shown() {
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
    let effects = says(&mut session, DscDelta { dropped: 3, ..delta(1, vec![]) });
    assert_eq!(alarms(&effects), ["n1 could not keep or send 3 events and observations"]);
}

#[test]
fn a_heartbeat_is_echoed_and_a_digest_that_differs_asks_for_all_once() {
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
    let (at, observed) = sighting("/level", "1", 1);
    let digest = sighting_digest(&at, &observed);
    says(&mut session, delta(1, vec![(at.clone(), observed.clone())]));
    let beat = Frame::Heartbeat(Heartbeat { sent_ms: 1, seq: 1, digest, assurance: None });
    assert_eq!(beats(&mut session, digest), [Effect::Send(beat)]);
    assert!(resyncs(&beats(&mut session, digest + 1)));
    for _ in 1..10 {
        assert!(!resyncs(&beats(&mut session, digest + 1)), "it may take a while to be answered");
    }
    assert!(resyncs(&beats(&mut session, digest + 1)), "but not for ever");
    let (other, seen) = sighting("/colour", "red", 2);
    let digest = sighting_digest(&other, &seen);
    let afresh = DscDelta { afresh: true, ..delta(2, vec![(other, seen)]) };
    says(&mut session, afresh);
    assert!(!resyncs(&beats(&mut session, digest)), "counted afresh");
    assert!(resyncs(&beats(&mut session, digest + 1)));
}

#[test]
fn what_is_refused_counts_in_the_digest_on_both_sides() {
    let mut session = attached(Role::Leaf, vec![object(1, 1)], &catalog());
    let (at, observed): (_, Observed) = sighting("/power", "ON", 1);
    let digest = sighting_digest(&at, &observed);
    says(&mut session, delta(1, vec![(path("/power"), observed)]));
    assert!(!resyncs(&beats(&mut session, digest)));
    assert_eq!(welcome().cluster, CLUSTER);
}
