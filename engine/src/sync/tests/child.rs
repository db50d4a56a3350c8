//! The table of the lower end, row by row, and its bounds.

use super::kit::{
    CLUSTER, NOW, child, event, identity, looks, name, object, path, sighting, uid, welcome,
};
use crate::{
    event::Event,
    id::{ClusterId, Epoch, Revision, SessionEpoch},
    sync::{
        BATCH_MS, DEAD_AFTER_MS, DELTA_BYTES_MAX, DELTA_PATHS_MAX, EVENTS_FRAME_MAX,
        EVENTS_PENDING_MAX, FRAME_BYTES_MAX, HEARTBEAT_MS, SIGHTING_BYTES_MAX, STALLED_AFTER_MS,
        WINDOW_FRAMES,
        child::{Child, Effect, Identity},
        delta::{ObjectDelta, between},
        encode,
        frame::{
            CfgDelta, DscDelta, Frame, Heartbeat, Hello, Refused, RefusedReason, Role, Welcome,
        },
        pace::Pace,
    },
    time::Millis,
    value::Value,
};

fn hello(effects: &[Effect]) -> &Hello {
    match effects {
        [Effect::Send(Frame::Hello(hello))] => hello,
        other => panic!("not a Hello: {other:?}"),
    }
}

fn deltas(effects: &[Effect]) -> Vec<&DscDelta> {
    let deltas = effects.iter().filter_map(|effect| match effect {
        Effect::Send(Frame::DscDelta(delta)) => Some(delta),
        _ => None,
    });
    deltas.collect()
}

fn closes(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Close(_), ..])
}

fn attached() -> Child {
    let mut child = child();
    child.connected(NOW);
    let effects = child.receive(Frame::Welcome(welcome()), NOW);
    assert!(matches!(effects[..], [Effect::Attached(_), Effect::Reborn, Effect::SendAll]));
    child
}

fn whole(seq: u64, revision: u64, ordinals: &[u32]) -> Frame {
    let objects = ordinals.iter().map(|ordinal| ObjectDelta::Whole(object(*ordinal, revision)));
    Frame::CfgDelta(CfgDelta {
        seq,
        revision: Revision::new(revision),
        objects: objects.collect(),
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    })
}

fn refused(reason: RefusedReason) -> Frame {
    Frame::Refused(Refused { reason, text: "no".to_owned() })
}

#[test]
fn a_connection_begins_with_a_hello_that_says_what_is_held() {
    let mut child = Child::new(identity(), CLUSTER, vec![object(1, 4), object(2, 3)]);
    let effects = child.connected(NOW);
    let hello = hello(&effects);
    assert_eq!((hello.revision.get(), hello.cluster, hello.uid), (4, CLUSTER, Some(uid(1))));
    assert_eq!(hello.epoch, SessionEpoch::new(NOW.get()));
    assert_eq!(hello.labels, [(name("rack"), "r1".to_owned())].into());
}

#[test]
fn a_child_that_held_a_later_revision_before_says_so() {
    let mut child =
        Child::new(identity(), CLUSTER, vec![object(1, 4)]).at_revision(Revision::new(9));
    assert_eq!(hello(&child.connected(NOW)).revision, Revision::new(9));
}

#[test]
fn epochs_grow_with_every_session_and_with_every_start() {
    let mut child = child();
    let first = hello(&child.connected(NOW)).epoch;
    let second = hello(&child.connected(NOW)).epoch;
    assert!(second > first);
    child.disconnected();
    assert!(hello(&child.connected(Millis::ZERO)).epoch > second, "the clock was set back");
}

#[test]
fn a_welcome_attaches_and_asks_for_all_that_is_held() {
    let child = attached();
    assert!(child.is_attached());
    assert_eq!(child.cluster(), CLUSTER);
}

#[test]
fn a_leaf_that_said_later_things_in_an_earlier_life_is_told_so() {
    let mut child = attached();
    child.offer(uid(1), vec![sighting("/a", "1", 50)], NOW);
    let mut reborn = |spoken_ms| {
        child.disconnected();
        child.connected(NOW);
        let welcome = Frame::Welcome(Welcome { spoken_ms, ..welcome() });
        child.receive(welcome, NOW).contains(&Effect::Reborn)
    };
    let offered = sighting("/a", "1", 50).1.stamp.ms;
    assert!(!reborn(0), "a parent that has heard nothing of it");
    assert!(!reborn(offered), "what it said in this life");
    assert!(reborn(offered + 1), "a parent that heard it before its clock went back");
}

#[test]
fn a_member_is_told_its_own_words_and_not_reborn() {
    let mut child = Child::new(Identity { role: Role::Member, ..identity() }, CLUSTER, Vec::new());
    child.connected(NOW);
    let effects = child.receive(Frame::Welcome(Welcome { spoken_ms: 9, ..welcome() }), NOW);
    assert!(matches!(effects[..], [Effect::Attached(_), Effect::SendAll]));
}

#[test]
fn a_welcome_to_another_cluster_is_not_followed() {
    let mut child = Child::new(identity(), ClusterId::new(8), Vec::new());
    child.connected(NOW);
    assert!(closes(&child.receive(Frame::Welcome(welcome()), NOW)));
    assert!(!child.is_attached());
}

#[test]
fn a_refusal_ends_the_session() {
    for reason in [RefusedReason::Version, RefusedReason::Cluster, RefusedReason::NotReady] {
        let mut child = child();
        child.connected(NOW);
        assert_eq!(child.receive(refused(reason), NOW), [Effect::Close("no".to_owned())]);
    }
}

#[test]
fn a_parent_that_is_busy_is_dialled_again_when_it_says() {
    let mut child = child();
    child.connected(NOW);
    let effects = child.receive(refused(RefusedReason::Busy(700)), NOW);
    assert_eq!(effects, [Effect::Close("no".to_owned()), Effect::Defer(700)]);
}

#[test]
fn a_refused_epoch_is_passed_by_the_next_hello() {
    let mut child = child();
    child.connected(NOW);
    let floor = SessionEpoch::new(NOW.get() + 500);
    child.receive(refused(RefusedReason::Epoch(floor)), NOW);
    assert!(hello(&child.connected(NOW)).epoch > floor);
}

#[test]
fn a_child_that_is_told_gone_drops_its_cfg_and_goes_on_saying_its_uid() {
    let mut child = Child::new(identity(), CLUSTER, vec![object(1, 4)]);
    child.connected(NOW);
    let effects = child.receive(refused(RefusedReason::Gone), NOW);
    assert!(matches!(&effects[1..], [Effect::DropCfg(uids), Effect::Gone] if *uids == [uid(1)]));
    assert_eq!(hello(&child.connected(NOW)).uid, Some(uid(1)), "it is not a new node");
}

#[test]
fn a_greeting_that_is_answered_otherwise_or_not_at_all_ends() {
    let mut odd = child();
    odd.connected(NOW);
    assert!(closes(&odd.receive(Frame::Resync, NOW)));
    let mut silent = child();
    silent.connected(NOW);
    assert!(silent.tick(Millis::new(NOW.get() + DEAD_AFTER_MS - 1)).is_empty());
    assert!(closes(&silent.tick(Millis::new(NOW.get() + DEAD_AFTER_MS))));
}

#[test]
fn what_comes_after_the_end_is_not_listened_to() {
    let mut child = attached();
    child.disconnected();
    assert!(child.receive(whole(1, 1, &[1]), NOW).is_empty());
    assert!(child.tick(Millis::new(u64::MAX)).is_empty());
}

#[test]
fn the_first_cfg_of_a_session_is_all_of_it() {
    let mut child = Child::new(identity(), CLUSTER, vec![object(1, 1), object(2, 1)]);
    child.connected(NOW);
    child.receive(Frame::Welcome(welcome()), NOW);
    let effects = child.receive(whole(1, 5, &[1, 3]), NOW);
    assert_eq!(
        effects,
        [
            Effect::SetCfg(vec![object(1, 5), object(3, 5)]),
            Effect::DropCfg(vec![uid(2)]),
            Effect::Send(Frame::CfgAck { seq: 1 }),
        ]
    );
    assert_eq!(child.revision(), Revision::new(5));
    let more = child.receive(whole(2, 6, &[2]), NOW);
    assert_eq!(more.len(), 2, "later ones add: {more:?}");
}

#[test]
fn a_change_is_applied_to_what_is_held() {
    let mut child = attached();
    child.receive(whole(1, 5, &[1]), NOW);
    let delta = between(Some(&object(1, 5)), &object(1, 6)).unwrap();
    let frame = CfgDelta {
        seq: 2,
        revision: Revision::new(6),
        objects: vec![delta],
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    let effects = child.receive(Frame::CfgDelta(frame), NOW);
    assert_eq!(effects[0], Effect::SetCfg(vec![object(1, 6)]));
}

#[test]
fn cfg_that_does_not_fit_or_goes_back_ends_the_session_and_changes_nothing() {
    let unfit = between(Some(&object(1, 4)), &object(1, 6)).unwrap();
    let unfit = CfgDelta {
        seq: 2,
        revision: Revision::new(6),
        objects: vec![unfit],
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    for frame in [Frame::CfgDelta(unfit), whole(2, 4, &[1])] {
        let mut child = attached();
        child.receive(whole(1, 5, &[1]), NOW);
        assert!(closes(&child.receive(frame, NOW)));
        assert_eq!(child.revision(), Revision::new(5));
    }
}

#[test]
fn a_child_whose_own_object_goes_is_told_gone() {
    let mut child = attached();
    child.receive(whole(1, 5, &[1, 2]), NOW);
    let objects = vec![ObjectDelta::Gone(uid(1))];
    let frame = CfgDelta {
        seq: 2,
        revision: Revision::new(6),
        objects,
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    let effects = child.receive(Frame::CfgDelta(frame), NOW);
    assert_eq!(effects[..2], [Effect::Gone, Effect::DropCfg(vec![uid(1)])]);
}

#[test]
fn what_is_seen_goes_out_at_once_and_then_in_batches() {
    let mut child = attached();
    let first = child.offer(uid(1), vec![sighting("/level", "1", 1)], NOW);
    assert_eq!(deltas(&first)[0].seq, 1);
    let second = child.offer(uid(1), vec![sighting("/level", "2", 2)], NOW);
    assert!(deltas(&second).is_empty());
    let third = child.offer(uid(1), vec![sighting("/level", "3", 3)], NOW);
    assert!(deltas(&third).is_empty());
    assert!(child.tick(Millis::new(NOW.get() + BATCH_MS - 1)).is_empty());
    let batch = child.tick(Millis::new(NOW.get() + BATCH_MS));
    assert_eq!(deltas(&batch)[0].changes, [(uid(1), vec![sighting("/level", "3", 3)])]);
}

#[test]
fn the_window_holds_its_frames_and_an_acknowledgement_makes_room() {
    let mut child = attached();
    let paths = DELTA_PATHS_MAX * 5;
    let all = (0..paths).map(|index| sighting(&format!("/p/{index}"), "x", 1)).collect();
    let effects = child.offer(uid(1), all, NOW);
    let sent = deltas(&effects);
    assert_eq!(sent.len() as u64, WINDOW_FRAMES);
    for delta in sent {
        let sightings: usize = delta.changes.iter().map(|(_, sightings)| sightings.len()).sum();
        assert_eq!(sightings, DELTA_PATHS_MAX);
    }
    assert_eq!(child.backlog(), (DELTA_PATHS_MAX, 0));
    let effects = child.receive(Frame::DscAck { seq: 1 }, NOW);
    assert_eq!(deltas(&effects).iter().map(|delta| delta.seq).collect::<Vec<_>>(), [5]);
    assert_eq!(child.backlog(), (0, 0));
}

#[test]
fn large_values_travel_in_frames_that_fit() {
    let mut child = attached();
    let large: Value = "x".repeat(DELTA_BYTES_MAX).into();
    let all = (0..3_u64).map(|index| {
        let (at, mut observed) = sighting(&format!("/p/{index}"), "", index);
        observed.value = Some(large.clone());
        (at, observed)
    });
    let effects = child.offer(uid(1), all.collect(), NOW);
    let sent = deltas(&effects);
    assert_eq!(sent.len(), 3, "one a frame");
    for delta in sent {
        assert!(encode(&Frame::DscDelta(delta.clone())).unwrap().len() < FRAME_BYTES_MAX / 8);
    }
}

#[test]
fn an_observation_that_is_too_large_to_travel_is_told_of_and_holds_up_nothing() {
    let mut child = attached();
    let text = "x".repeat(SIGHTING_BYTES_MAX / 8 - 4);
    let of = |items: usize| -> Value { (0..items).map(|_| Value::from(text.as_str())).collect() };
    let (at, observed) = sighting("/p", "", 1);
    for (items, kept) in [(7, 1), (8, 0)] {
        let mut child = attached();
        let sighting =
            (at.clone(), crate::dsc::Observed { value: Some(of(items)), ..observed.clone() });
        let effects = child.offer(uid(1), vec![sighting], NOW);
        let sent = deltas(&effects);
        assert_eq!((sent[0].changes.len(), sent[0].dropped), (kept, 1 - kept as u64));
        assert_eq!(child.dropped(), 1 - kept as u64);
        assert!(encode(&Frame::DscDelta(sent[0].clone())).is_ok());
    }
    assert_eq!(deltas(&child.offer(uid(1), vec![sighting("/level", "1", 1)], NOW)).len(), 1);
}

#[test]
fn events_wait_up_to_their_limit_and_those_that_went_are_told_of() {
    let mut child = child();
    let events = |count: usize| (0..count as u64).map(event).collect::<Vec<Event>>();
    child.record(events(EVENTS_PENDING_MAX), NOW);
    assert_eq!((child.backlog(), child.dropped()), ((0, EVENTS_PENDING_MAX), 0));
    child.record(vec![event(77_777)], NOW);
    assert_eq!((child.backlog(), child.dropped()), ((0, EVENTS_PENDING_MAX), 1));
    child.connected(NOW);
    let effects = child.receive(Frame::Welcome(welcome()), NOW);
    let sent = deltas(&effects);
    assert_eq!(sent.len() as u64, WINDOW_FRAMES);
    assert_eq!((sent[0].events.len(), sent[0].events[0].id.sequence), (EVENTS_FRAME_MAX, 1));
    assert_eq!((sent[0].dropped, sent[1].dropped), (1, 0), "told once");
}

#[test]
fn events_that_were_not_acknowledged_go_again_with_the_next_session() {
    let mut child = attached();
    let sequences = |effects: &[Effect]| -> Vec<u64> {
        deltas(effects).iter().flat_map(|d| &d.events).map(|event| event.id.sequence).collect()
    };
    assert_eq!(sequences(&child.record(vec![event(1), event(2)], NOW)), [1, 2]);
    child.receive(Frame::DscAck { seq: 1 }, NOW);
    let later = Millis::new(NOW.get() + BATCH_MS);
    assert_eq!(sequences(&child.record(vec![event(3)], later)), [3]);
    child.disconnected();
    child.record(vec![event(4)], later);
    child.connected(later);
    assert_eq!(sequences(&child.receive(Frame::Welcome(welcome()), later)), [3, 4]);
}

#[test]
fn a_resync_sends_all_again_and_counts_digests_afresh_but_not_deltas() {
    let mut child = attached();
    child.offer(uid(1), vec![sighting("/level", "1", 1)], NOW);
    let resync = child.receive(Frame::Resync, NOW);
    assert_eq!(resync[0], Effect::SendAll);
    let sent = deltas(&resync);
    assert_eq!((sent[0].seq, sent[0].afresh), (2, true), "told even if nothing is held");
    let later = Millis::new(NOW.get() + BATCH_MS);
    let effects = child.offer(uid(1), vec![sighting("/level", "1", 1)], later);
    assert!(!deltas(&effects)[0].afresh);
}

#[test]
fn what_is_no_longer_its_own_is_not_sent() {
    let mut child = attached();
    child.receive(whole(1, 5, &[1, 2]), NOW);
    child.offer(uid(1), vec![sighting("/level", "1", 1)], NOW);
    child.offer(uid(2), vec![sighting("/level", "1", 1)], NOW);
    assert_eq!(child.backlog(), (1, 0));
    let objects = vec![ObjectDelta::Gone(uid(2))];
    let frame = CfgDelta {
        seq: 2,
        revision: Revision::new(6),
        objects,
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    child.receive(Frame::CfgDelta(frame), NOW);
    assert_eq!(child.backlog(), (0, 0));
}

#[test]
fn heartbeats_go_out_when_due_and_silence_ends_the_session() {
    let mut child = attached();
    child.offer(uid(1), vec![sighting("/level", "1", 1)], NOW);
    assert!(child.tick(Millis::new(NOW.get() + HEARTBEAT_MS - 1)).is_empty());
    let due = Millis::new(NOW.get() + HEARTBEAT_MS);
    let beat = child.tick(due);
    let [Effect::Send(Frame::Heartbeat(Heartbeat { sent_ms, seq: 1, digest, assurance: None }))] =
        beat[..]
    else {
        panic!("{beat:?}")
    };
    assert!(sent_ms == due.get() && digest != 0);
    assert!(child.tick(due).is_empty());
    child.receive(Frame::Heartbeat(Heartbeat { sent_ms, seq: 1, digest, assurance: None }), due);
    let last = Millis::new(due.get() + DEAD_AFTER_MS - 1);
    assert!(!looks(due, last, Pace::NORMAL).any(|at| closes(&child.tick(at))));
    assert!(closes(&child.tick(Millis::new(due.get() + DEAD_AFTER_MS))));
}

#[test]
fn a_parent_that_acknowledges_nothing_is_left() {
    let mut child = attached();
    let alive = |child: &mut Child, at: u64| {
        let echo = Frame::Heartbeat(Heartbeat { sent_ms: 0, seq: 0, digest: 0, assurance: None });
        child.receive(echo, Millis::new(NOW.get() + at));
        !closes(&child.tick(Millis::new(NOW.get() + at)))
    };
    assert!(alive(&mut child, 3 * STALLED_AFTER_MS), "nothing is on its way");
    let mut child = attached();
    child.offer(uid(1), vec![sighting("/level", "1", 1)], NOW);
    assert!(alive(&mut child, STALLED_AFTER_MS - 1));
    assert!(!alive(&mut child, STALLED_AFTER_MS));
}

#[test]
fn a_frame_out_of_place_ends_the_session() {
    let frames =
        [Frame::CfgAck { seq: 1 }, Frame::Welcome(welcome()), refused(RefusedReason::Gone)];
    for frame in frames {
        let mut child = attached();
        assert!(closes(&child.receive(frame, NOW)));
        assert!(!child.is_attached());
    }
    assert_eq!(path("/level").as_str(), "/level");
}

#[test]
fn cfg_of_a_later_epoch_is_taken_at_any_revision_and_of_an_earlier_one_never() {
    let mut child = attached();
    child.receive(whole(1, 90, &[1]), NOW);
    child.disconnected();
    child.connected(NOW);
    let later = Welcome { cfg_epoch: Epoch::new(5), ..welcome() };
    assert!(!closes(&child.receive(Frame::Welcome(later), NOW)));
    let effects = child.receive(whole(1, 20, &[2]), NOW);
    assert!(!closes(&effects), "revisions of another line: {effects:?}");
    assert_eq!(child.revision(), Revision::new(20));
    child.disconnected();
    let effects = child.connected(NOW);
    assert_eq!(hello(&effects).cfg_epoch, Epoch::new(5));
    let earlier = Welcome { cfg_epoch: Epoch::new(4), ..welcome() };
    assert!(closes(&child.receive(Frame::Welcome(earlier), NOW)));
}
