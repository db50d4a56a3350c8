//! Differences between two revisions of an object, as they travel to children.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Revision, Uid},
    object::{Frozen, Labels, Object, Tenure},
    path::Path,
    state::ShapeError,
    value::Value,
};

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObjectDelta {
    /// The whole object: the child does not hold it yet.
    Whole(Arc<Object>),
    /// What differs from what the child holds.
    Changed(Changed),
    /// The child no longer sees the object.
    Gone(Uid),
}

/// What differs between two revisions of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The object.
    pub uid: Uid,
    /// The revision that it has before.
    pub from: Revision,
    /// The revision that it has after.
    pub to: Revision,
    /// Counts changes of its Cfg.
    pub generation: u64,
    /// Marked for removal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleting: bool,
    /// Who froze it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
    /// All its labels, if any differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// Paths that are set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(Path, Value)>,
    /// Paths that are unset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<Path>,
    /// Who may still run it, if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Box<Tenure>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(truth: &bool) -> bool {
    !truth
}

/// A delta does not fit what is held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It starts from a revision that is not held.
    #[error("a delta of {uid} starts from revision {from}, held is {held:?}")]
    Base {
        /// The object.
        uid: Uid,
        /// Where the delta starts.
        from: Revision,
        /// What is held.
        held: Option<Revision>,
    },
    /// It breaks the shape of the state.
    #[error("a delta of {uid} does not fit")]
    Shape {
        /// The object.
        uid: Uid,
        /// How.
        #[source]
        source: ShapeError,
    },
}

/// What a child that holds `held` must be told to hold `now`; `None` where nothing differs.
pub fn between(held: Option<&Object>, now: &Arc<Object>) -> Option<ObjectDelta> {
    let Some(held) = held else { return Some(ObjectDelta::Whole(now.clone())) };
    if held == now.as_ref() {
        return None;
    }
    // What almost never changes has no place in a delta.
    if held.key != now.key || held.owner != now.owner || held.created != now.created {
        return Some(ObjectDelta::Whole(now.clone()));
    }
    let set = now.cfg.iter().filter(|(path, value)| held.cfg.get(path.as_str()) != Some(*value));
    let unset = held.cfg.iter().filter(|(path, _)| now.cfg.get(path.as_str()).is_none());
    Some(ObjectDelta::Changed(Changed {
        uid: now.uid,
        from: held.revision,
        to: now.revision,
        generation: now.generation,
        deleting: now.deleting,
        frozen: now.frozen.clone(),
        labels: (held.labels != now.labels).then(|| now.labels.clone()),
        set: set.map(|(path, value)| (path.clone(), value.clone())).collect(),
        unset: unset.map(|(path, _)| path.clone()).collect(),
        tenure: (held.tenure != now.tenure).then(|| Box::new(now.tenure.clone())),
    }))
}

/// The object after a change.
pub fn apply(held: Option<&Object>, changed: Changed) -> Result<Object, DeltaError> {
    let uid = changed.uid;
    let base = held.filter(|held| held.revision == changed.from && held.uid == uid);
    let Some(base) = base else {
        let held = held.map(|held| held.revision);
        return Err(DeltaError::Base { uid, from: changed.from, held });
    };
    let mut object = base.clone();
    for path in &changed.unset {
        object.cfg.unset(path);
    }
    for (path, value) in changed.set {
        object.cfg.set(path, value).map_err(|source| DeltaError::Shape { uid, source })?;
    }
    object.labels = changed.labels.unwrap_or(object.labels);
    object.tenure = changed.tenure.map_or(object.tenure, |tenure| *tenure);
    object.frozen = changed.frozen;
    object.deleting = changed.deleting;
    object.generation = changed.generation;
    object.revision = changed.to;
    Ok(object)
}
