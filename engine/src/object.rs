//! An object: anything managed, with what is asked of it (Cfg). What was seen of it (Dsc) is kept
//! apart, by uid.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Name, Revision, Uid},
    state::State,
    time::Millis,
};

/// Most labels of one object.
pub const LABELS_MAX: usize = 64;
/// Longest label value in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// Labels: what selectors select by.
pub type Labels = BTreeMap<Name, String>;

/// What an object is known by to people: kind, namespace where the kind is namespaced, and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// The kind, such as `node`.
    pub kind: Name,
    /// The namespace; absent for kinds of the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// The name, unique within kind and namespace.
    pub name: Name,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// One managed object and its Cfg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Identity for all time.
    pub uid: Uid,
    /// Kind, namespace and name.
    pub key: ObjectRef,
    /// What selectors select by.
    pub labels: Labels,
    /// The object that owns this one.
    pub owner: Option<Uid>,
    /// When it was created, by the proposer's clock, in milliseconds since the Unix epoch.
    pub created: Millis,
    /// The revision of its last change; moves also when it is frozen or thawed.
    pub revision: Revision,
    /// Counts changes of its Cfg.
    pub generation: u64,
    /// Marked for removal: its goal is the absent state of its kind.
    pub deleting: bool,
    /// Who froze it, if it is frozen: nothing is dispatched for it.
    pub frozen: Option<Frozen>,
    /// What is asked of it.
    pub cfg: State,
    /// What becomes of it when its owner is deleted.
    #[serde(default, skip_serializing_if = "OnDelete::is_default")]
    pub on_delete: OnDelete,
}

/// What becomes of an object when its owner is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnDelete {
    /// It stays, and has no owner any more once the owner is removed.
    #[default]
    Orphan,
    /// It is deleted too, and the owner is removed only after it.
    Cascade,
}

impl OnDelete {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who froze an object and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frozen {
    /// The revision of the freeze.
    pub revision: Revision,
    /// When, in milliseconds since the Unix epoch, by the proposer's clock.
    pub since: Millis,
    /// Who asked for it.
    pub by: String,
    /// What was frozen, as it was asked for: `all`, a selector, or the object by name.
    pub scope: String,
}
