//! Frames as bytes: the very ones, few, and never a panic.

use std::{fmt::Write, time::Duration};

use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::kit::{answer, event, hello, name, object, order, path, sighting, uid, welcome};
use crate::{
    id::{Epoch, Revision, SessionEpoch, Term},
    manifest::Manifest,
    order::{Holds, LookAt, Recall, Said},
    sync::{
        FRAME_BYTES_MAX, FrameError,
        declared::{Declared, Digests, encoded},
        decode,
        delta::{ObjectDelta, between},
        encode,
        frame::{
            Admission, Admitted, Below, CfgDelta, DscDelta, Frame, Heartbeat, Hello, Left, Refused,
            RefusedReason, Role, Welcome,
        },
        pace::Pace,
        views::{RelatedSight, Relation, Sight, ViewDelta},
    },
};

fn admitted(answer: Admission) -> Frame {
    let (node, epoch) = (name("n2"), SessionEpoch::new(5));
    Frame::Admitted(Box::new(Admitted { node, epoch, answer }))
}

fn changed() -> Frame {
    let objects = vec![between(Some(&object(1, 2)), &object(1, 3)).unwrap()];
    Frame::CfgDelta(CfgDelta {
        seq: 2,
        revision: Revision::new(3),
        objects,
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    })
}

fn seen(events: usize) -> Frame {
    Frame::DscDelta(DscDelta {
        seq: 1,
        afresh: false,
        dropped: 0,
        changes: vec![(uid(1), vec![sighting("/level", "1", 1_700_000_000_000)])],
        events: (0..events as u64).map(event).collect(),
    })
}

/// One frame of every sort, by name.
fn every_frame() -> Vec<(&'static str, Frame)> {
    let whole = vec![ObjectDelta::Whole(object(1, 2)), ObjectDelta::Gone(uid(2))];
    let whole = CfgDelta {
        seq: 1,
        revision: Revision::new(2),
        objects: whole,
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    let Frame::DscDelta(delta) = seen(1) else { unreachable!() };
    let afresh = DscDelta { afresh: true, dropped: 2, ..delta };
    let refused = |reason| Frame::Refused(Refused { reason, text: "try again".to_owned() });
    vec![
        ("hello", Frame::Hello(hello(Role::Leaf))),
        ("hello of a member", Frame::Hello(hello(Role::Member))),
        ("welcome", Frame::Welcome(welcome())),
        ("refused: version", refused(RefusedReason::Version)),
        ("refused: cluster", refused(RefusedReason::Cluster)),
        ("refused: epoch", refused(RefusedReason::Epoch(SessionEpoch::new(9)))),
        ("refused: not ready", refused(RefusedReason::NotReady)),
        ("refused: gone", refused(RefusedReason::Gone)),
        ("refused: busy", refused(RefusedReason::Busy(250))),
        ("cfg, whole and gone", Frame::CfgDelta(whole)),
        ("cfg, changed", changed()),
        ("cfg acknowledged", Frame::CfgAck { seq: 1 }),
        ("dsc", seen(0)),
        ("dsc, afresh, with an event and losses", Frame::DscDelta(afresh)),
        ("dsc acknowledged", Frame::DscAck { seq: 1 }),
        (
            "heartbeat",
            Frame::Heartbeat(Heartbeat { sent_ms: 1, seq: 2, digest: u64::MAX, assurance: None }),
        ),
        ("resync", Frame::Resync),
    ]
    .into_iter()
    .chain(order_frames())
    .chain(view_frames())
    .collect()
}

/// The frames of orders, by name.
fn order_frames() -> Vec<(&'static str, Frame)> {
    let node = name("n1");
    let attempt = order(1, 2).attempt;
    let takes = Hello { takes_orders: true, ..hello(Role::Leaf) };
    let failed = Said::Failed { error: "no power".to_owned(), permanent: true };
    let said = [
        Said::Acknowledged,
        Said::Started,
        Said::Progress("half".to_owned()),
        Said::Succeeded,
        failed,
        Said::Abandoned,
        Said::Moved("it was frozen".to_owned()),
        Said::Busy("full".to_owned()),
        Said::Declined("of term 2".to_owned()),
        Said::Lost,
    ];
    let recall = Recall { to: node.clone(), attempt: attempt.clone(), asks: None };
    let asking = Recall { asks: Some(Term::new(3)), ..recall.clone() };
    let look = LookAt { to: node.clone(), uid: uid(1) };
    let holds = Holds { node, attempts: vec![attempt] };
    vec![
        ("hello of one of many", Frame::Hello(Hello { pace: Pace::BULK, ..hello(Role::Leaf) })),
        ("ping", Frame::Ping),
        ("beat", Frame::Beat(300, u64::MAX)),
        ("echo", Frame::Echo(300, None)),
        ("hello of one that takes orders", Frame::Hello(takes)),
        (
            "welcome by one that takes answers",
            Frame::Welcome(Welcome { takes_answers: true, ..welcome() }),
        ),
        (
            "welcome by one that holds what the child said",
            Frame::Welcome(Welcome { spoken_ms: 300, ..welcome() }),
        ),
        (
            "hello with Cfg of another epoch",
            Frame::Hello(Hello { cfg_epoch: Epoch::new(7), ..hello(Role::Leaf) }),
        ),
        (
            "welcome of another epoch",
            Frame::Welcome(Welcome { cfg_epoch: Epoch::new(8), ..welcome() }),
        ),
        ("below", Frame::Below(Box::new(Below { hello: hello(Role::Leaf), hops: 1 }))),
        ("admitted", admitted(Admission::Welcome(welcome()))),
        (
            "not admitted",
            admitted(Admission::Refused(Refused {
                reason: RefusedReason::NotReady,
                text: "later".to_owned(),
            })),
        ),
        ("left", Frame::Left(Left { node: name("n2"), epoch: SessionEpoch::new(5) })),
        ("dispatch", Frame::Dispatch(vec![order(1, 2)])),
        ("cancel", Frame::Cancel(recall)),
        ("cancel that asks", Frame::Cancel(asking)),
        ("look", Frame::Look(look)),
        ("answers", Frame::Answers(said.map(|said| answer("n1", 2, said)).into())),
        ("holds", Frame::Holds(holds)),
    ]
}

/// The frames of views and declarations, by name.
fn view_frames() -> Vec<(&'static str, Frame)> {
    let held = Digests::from([("level".to_owned(), 7)]);
    let takes = Hello { takes_views: true, declared: Some(held), ..hello(Role::Leaf) };
    let lamp = Manifest::new("lamp").cost("lamp/On", Duration::from_secs(2));
    let declared = between_declared(&lamp);
    let by = [Relation::Parent, Relation::Owner, Relation::NamedBy(path("/rack"))];
    let related = by.map(|by| RelatedSight {
        by,
        uid: uid(2),
        name: name("n2"),
        path: path("/power"),
        value: "ON".into(),
        ttl_ms: Some(60_000),
    });
    let sight = Sight { seen: vec![sighting("/power", "ON", 5)], related: related.into() };
    let whole = ViewDelta { seq: 1, whole: true, objects: vec![(uid(1), sight)] };
    let less = ViewDelta { seq: 2, whole: false, objects: vec![(uid(1), Sight::default())] };
    let cfg = CfgDelta {
        seq: 1,
        revision: Revision::new(2),
        objects: vec![],
        declared: Some(declared),
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    };
    vec![
        ("hello of one that takes views and declarations", Frame::Hello(takes)),
        ("cfg with declarations", Frame::CfgDelta(cfg)),
        ("views, whole", Frame::ViewDelta(whole)),
        ("views, less", Frame::ViewDelta(less)),
        ("views acknowledged", Frame::ViewAck { seq: 2 }),
    ]
}

/// What a child is told that holds another module than this one.
fn between_declared(manifest: &Manifest) -> Declared {
    let set = vec![(manifest.module.clone(), ByteBuf::from(encoded(manifest)))];
    Declared { set, gone: vec!["pump".to_owned()] }
}

/// Bytes as text: what prints as it is, the rest in hexadecimal.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
            _ => write!(text, "\\{byte:02x}").unwrap(),
        }
    }
    text
}

#[test]
fn frames_have_these_bytes() {
    let mut golden = String::new();
    for (name, frame) in every_frame() {
        writeln!(golden, "{name}: {}", readable(&encode(&frame).unwrap())).unwrap();
    }
    insta::assert_snapshot!("frames", golden);
}

#[test]
fn frames_survive_the_wire() {
    for (name, frame) in every_frame() {
        assert_eq!(decode(&encode(&frame).unwrap()).unwrap(), frame, "{name}");
    }
}

#[test]
fn one_changed_path_costs_less_than_three_hundred_bytes_either_way() {
    for frame in [seen(0), changed()] {
        let bytes = encode(&frame).unwrap().len();
        assert!(bytes < 300, "{bytes}: {frame:?}");
    }
}

#[test]
fn a_frame_at_the_limit_travels_and_one_beyond_does_not() {
    let refused = |bytes: usize| {
        Frame::Refused(Refused { reason: RefusedReason::Version, text: "x".repeat(bytes) })
    };
    let rest = encode(&refused(1 << 20)).unwrap().len() - (1 << 20);
    let largest = encode(&refused(FRAME_BYTES_MAX - rest)).unwrap();
    assert_eq!(largest.len(), FRAME_BYTES_MAX);
    assert!(decode(&largest).is_ok());
    let beyond = encode(&refused(FRAME_BYTES_MAX - rest + 1));
    assert!(matches!(beyond, Err(FrameError::TooLarge { bytes }) if bytes == FRAME_BYTES_MAX + 1));
    let bytes = vec![0; FRAME_BYTES_MAX + 1];
    assert!(matches!(decode(&bytes), Err(FrameError::TooLarge { .. })));
}

#[test]
fn nested_without_end_is_refused_and_not_followed() {
    let frame = encode(&seen(0)).unwrap();
    let value = frame.windows(7).position(|bytes| bytes == b"\xa5value\xa1").unwrap() + 6;
    for lead in [0x91, 0x81] {
        let mut nested = frame[..value].to_vec();
        nested.extend(vec![lead; 1 << 20]);
        assert!(matches!(decode(&nested), Err(FrameError::Decode { .. })));
        assert!(decode(&vec![lead; 1 << 20]).is_err());
    }
}

mod properties {
    use super::*;

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _read = decode(&bytes);
        }

        #[test]
        fn a_broken_frame_never_panics(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let frames = every_frame();
            let mut bytes = encode(&which.get(&frames).1).unwrap();
            *at.get_mut(&mut bytes) = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _read = decode(&bytes);
        }
    }
}
