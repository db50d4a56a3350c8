//! The way back: the transaction that makes objects what they were at an older revision.

use std::sync::Arc;

use super::Past;
use crate::{
    catalog::Catalog,
    command::{Condition, OPS_MAX, Op, Precondition, Txn},
    manifest::SetBy,
    object::{Object, ObjectRef, OnDelete},
    state::State,
    store::Store,
};

/// Why a revision cannot be brought back in one write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrestorable {
    /// Too many objects have changed since.
    #[error("{count} objects have changed since, and one write is limited to {limit}")]
    TooMany {
        /// How many have.
        count: usize,
        /// How many one write may touch.
        limit: usize,
    },
}

/// A transaction that makes the objects that `wanted` chooses what they were: those that changed
/// are put, those that came are deleted, those that went are created anew, with another uid. It
/// touches what people set and nothing else, and is refused where an object moves meanwhile.
pub fn rollback(
    past: &Past,
    store: &Store,
    wanted: impl Fn(&Object) -> bool,
) -> Result<Txn, Unrestorable> {
    let mut txn = Txn::default();
    for key in past.changed() {
        let now = store.find(key);
        let then = past.object(key, now);
        if !now.or(then.as_ref()).is_some_and(|object| wanted(object)) {
            continue;
        }
        let ops = restore(key, now, then.as_ref(), store);
        if ops.is_empty() {
            continue;
        }
        let is = now.map_or(Condition::Absent, |object| Condition::Revision(object.revision));
        txn.preconditions.push(Precondition { object: key.clone(), is });
        txn.ops.extend(ops);
    }
    let count = txn.ops.len();
    if count > OPS_MAX {
        return Err(Unrestorable::TooMany { count, limit: OPS_MAX });
    }
    Ok(txn)
}

fn restore(
    key: &ObjectRef,
    now: Option<&Arc<Object>>,
    then: Option<&Arc<Object>>,
    store: &Store,
) -> Vec<Op> {
    let Some(then) = then.filter(|then| !then.deleting) else {
        let leaves = now.is_some_and(|now| !now.deleting);
        let delete = Op::Delete { object: key.clone(), force: false };
        return leaves.then_some(delete).into_iter().collect();
    };
    let catalog = store.catalog();
    let cfg = set_by_people(catalog, then);
    let same = now.is_some_and(|now| {
        !now.deleting && set_by_people(catalog, now) == cfg && now.labels == then.labels
    });
    let owned = now.map_or((None, OnDelete::default()), |now| (now.owner, now.on_delete));
    let (object, labels) = (key.clone(), Some(then.labels.clone()));
    let put = (!same).then_some(Op::Put { object, labels, owner: None, cfg });
    // An owner that is gone does not come back by its uid.
    let owner = then.owner.filter(|owner| store.object(*owner).is_some());
    let own = (owned != (owner, then.on_delete)).then(|| Op::Own {
        object: key.clone(),
        owner: owner.and_then(|owner| store.object(owner)).map(|owner| owner.key.clone()),
        on_delete: then.on_delete,
    });
    put.into_iter().chain(own).collect()
}

/// What people have set of an object: decisions of modules are not theirs to bring back.
fn set_by_people(catalog: &Catalog, object: &Object) -> State {
    let kind = catalog.kind(&object.key.kind);
    let mut state = object.cfg.clone();
    for (path, _) in object.cfg.iter() {
        let rule = kind.and_then(|kind| kind.schema.rule(path));
        if rule.is_some_and(|(rule, _)| matches!(rule.set_by, SetBy::Module(_))) {
            state.unset(path);
        }
    }
    state
}
