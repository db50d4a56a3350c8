//! Deltas of objects: what is applied is what was.

use std::sync::Arc;

use proptest::prelude::*;

use super::kit::{name, object, path, uid};
use crate::{
    id::Revision,
    object::{Frozen, Object},
    sync::delta::{self, DeltaError, ObjectDelta},
    time::Millis,
};

fn any_object() -> impl Strategy<Value = Arc<Object>> {
    let cfg = prop::collection::btree_map(0..6_u8, 0..3_i64, 0..6);
    let owner = prop::option::of(8..10_u32);
    (1..9_u64, cfg, prop::bool::ANY, prop::bool::ANY, 0..3_u8, owner).prop_map(
        |(revision, cfg, deleting, frozen, label, owner)| {
            let mut changed = (*object(1, revision)).clone();
            for (segment, value) in cfg {
                // Some paths lie below others, so that one has to go before the other can come.
                let below = if value == 0 { "/x" } else { "" };
                let at = path(&format!("/p{segment}{below}"));
                changed.cfg.set(at, value.into()).unwrap();
            }
            changed.deleting = deleting;
            changed.owner = owner.map(uid);
            changed.labels.insert(name("label"), label.to_string());
            changed.frozen = frozen.then(|| Frozen {
                revision: Revision::new(revision),
                since: Millis::new(3),
                by: "ann".to_owned(),
                scope: "all".to_owned(),
            });
            Arc::new(changed)
        },
    )
}

mod properties {
    use super::*;

    proptest! {
        #[test]
        fn a_delta_makes_of_what_is_held_what_is_now(held in any_object(), now in any_object()) {
            let made = match delta::between(Some(&held), &now) {
                None => held.clone(),
                Some(ObjectDelta::Whole(whole)) => whole,
                Some(ObjectDelta::Changed(changed)) => {
                    Arc::new(delta::apply(Some(&held), changed).unwrap())
                }
                Some(ObjectDelta::Gone(_)) => unreachable!(),
            };
            prop_assert_eq!(made, now);
        }
    }
}

#[test]
fn a_delta_that_starts_elsewhere_is_refused() {
    let Some(ObjectDelta::Changed(changed)) = delta::between(Some(&object(1, 2)), &object(1, 3))
    else {
        unreachable!()
    };
    for held in [None, Some(&*object(1, 1)), Some(&*object(2, 2))] {
        let refused = delta::apply(held, changed.clone());
        assert!(matches!(refused, Err(DeltaError::Base { .. })), "{held:?}");
    }
}

#[test]
fn a_delta_that_breaks_the_shape_of_a_state_is_refused() {
    let Some(ObjectDelta::Changed(mut changed)) =
        delta::between(Some(&object(1, 2)), &object(1, 3))
    else {
        unreachable!()
    };
    changed.set.push((path("/level/below"), true.into()));
    let refused = delta::apply(Some(&object(1, 2)), changed);
    assert!(matches!(refused, Err(DeltaError::Shape { .. })));
}
