//! The Cfg that a leaf keeps: as it was, or not at all.

use proptest::prelude::*;

use super::kit::{CLUSTER, NOW, catalog, charge, identity, manifests, name, object, uid, welcome};
use crate::{
    id::{ClusterId, Epoch, Revision},
    object::HOST_PATH,
    sync::{
        child::{Child, Effect},
        delta::ObjectDelta,
        frame::{CfgDelta, Frame},
        kept::{Kept, KeptError},
    },
};

fn kept() -> Kept {
    Kept {
        cluster: CLUSTER,
        epoch: Epoch::FIRST,
        revision: Revision::new(9),
        objects: vec![object(1, 2), charge(2, 9, HOST_PATH, "n1")],
        manifests: manifests(),
    }
}

fn delta(seq: u64, revision: u64, objects: Vec<ObjectDelta>) -> Frame {
    Frame::CfgDelta(CfgDelta {
        seq,
        revision: Revision::new(revision),
        objects,
        declared: None,
        assurance: None,
        whole_of: Vec::new(),
        hybrid_ms: 0,
    })
}

#[test]
fn what_is_kept_is_read_as_it_was() {
    let bytes = kept().encode();
    assert_eq!(Kept::decode(&bytes).unwrap(), kept());
    let mut later = bytes.clone();
    later[8] += 1;
    assert!(matches!(Kept::decode(&later), Err(KeptError::Format(2))));
    assert!(matches!(Kept::decode(b"something else"), Err(KeptError::Strange)));
}

#[test]
fn who_resumes_takes_no_older_cfg_and_drops_what_is_no_longer_its_own() {
    let fresh = || Child::new(identity(), ClusterId::default(), Vec::new());
    assert_eq!(fresh().kept(), None);
    let mut child = fresh().resuming(kept());
    assert_eq!(child.kept(), Some(kept()));
    let said = child.connected(NOW);
    let [Effect::Send(Frame::Hello(said))] = &said[..] else { panic!("{said:?}") };
    assert_eq!((said.cluster, said.revision, said.uid), (CLUSTER, Revision::new(9), None));
    child.receive(Frame::Welcome(welcome()), NOW);
    let effects = child.receive(delta(1, 10, vec![ObjectDelta::Whole(object(1, 10))]), NOW);
    assert!(effects.contains(&Effect::SetCfg(vec![object(1, 10)])), "{effects:?}");
    assert!(effects.contains(&Effect::DropCfg(vec![uid(2)])), "{effects:?}");
    let now = child.kept().unwrap();
    assert_eq!((now.revision, now.objects), (Revision::new(10), vec![object(1, 10)]));

    let mut child = fresh().resuming(kept());
    child.connected(NOW);
    child.receive(Frame::Welcome(welcome()), NOW);
    let effects = child.receive(delta(1, 8, vec![ObjectDelta::Whole(object(1, 8))]), NOW);
    assert!(matches!(&effects[..], [Effect::Close(_)]), "{effects:?}");
}

#[test]
fn it_says_the_declarations_that_it_kept() {
    let mut child = Child::new(identity(), ClusterId::default(), Vec::new()).resuming(kept());
    let said = child.connected(NOW);
    let [Effect::Send(Frame::Hello(said))] = &said[..] else { panic!("{said:?}") };
    assert_eq!(said.declared.as_ref(), Some(catalog().declared()));
    assert_eq!(said.node, name("n1"));
}

proptest! {
    #[test]
    fn damage_is_seen(at: prop::sample::Index, flip in 1_u8..) {
        let mut bytes = kept().encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Kept::decode(&bytes).is_err());
        bytes.truncate(at);
        prop_assert!(Kept::decode(&bytes).is_err());
    }

    #[test]
    fn anything_is_read_or_refused(bytes: Vec<u8>) {
        drop(Kept::decode(&bytes));
        let mut led = kept().encode();
        led.truncate(12);
        led.extend(bytes);
        prop_assert!(Kept::decode(&led).is_err());
    }
}
