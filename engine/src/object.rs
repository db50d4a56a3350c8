//! An object: anything managed, with what is asked of it (Cfg). What was seen of it (Dsc) is kept
//! apart, by uid.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    id::{Name, Revision, Uid},
    manifest::NODE_KIND,
    state::State,
    time::Millis,
    value::Value,
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

/// The path of Cfg that names the node which hosts an object that is none itself.
pub const HOST_PATH: &str = "/host";
/// The path of Cfg that names the node through which an object is reached: that one sees what a
/// parent sees of it, and carries out what a parent does.
pub const VIA_PATH: &str = "/via";

impl ObjectRef {
    /// Whether it names a node.
    pub fn is_node(&self) -> bool {
        self.kind.as_str() == NODE_KIND
    }
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
    /// Of an object that is never to run twice: who may still run it.
    #[serde(default, skip_serializing_if = "Tenure::is_default")]
    pub tenure: Tenure,
}

/// What is to be known of an object that is never to run twice, beside what is asked of it; see
/// [`singleton`](crate::singleton).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenure {
    /// Who hosts it until it is sure to have been stopped there, whatever Cfg names at
    /// [`HOST_PATH`] meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
    /// When it was thawed last: a host that has not heard of it stops nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thawed: Option<Revision>,
    /// What a host has said of it with a stamp up to this one, in milliseconds, was said before it
    /// came to its present host, and counts no more; 0: it never moved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub floor_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The host that an object is to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Former {
    /// The node.
    pub host: Name,
    /// The write since which Cfg names another.
    pub since: Revision,
}

impl Tenure {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Object {
    /// The node that hosts the object and decides its own lane: a node itself, any other the one
    /// that its Cfg names at [`HOST_PATH`], or, where it must not run twice, the one that had it
    /// before and is not sure to have stopped it.
    pub fn host(&self) -> Option<Name> {
        if self.key.is_node() {
            return Some(self.key.name.clone());
        }
        self.former().cloned().or_else(|| self.names(HOST_PATH))
    }

    /// Whether it is the node of a name.
    pub fn is_node(&self, name: &Name) -> bool {
        self.key.is_node() && self.key.name == *name
    }

    /// Whether a node hosts the object.
    pub fn is_hosted_by(&self, node: &Name) -> bool {
        if self.key.is_node() {
            return self.key.name == *node;
        }
        match self.former() {
            Some(former) => former == node,
            None => self.cfg.get(HOST_PATH).and_then(Value::as_str) == Some(node.as_str()),
        }
    }

    /// The node that is to have the object as soon as nobody else does: the one that its Cfg names
    /// at [`HOST_PATH`].
    pub fn heir(&self) -> Option<Name> {
        self.names(HOST_PATH)
    }

    /// The host that it is to leave.
    pub fn former(&self) -> Option<&Name> {
        self.tenure.former.as_ref().map(|former| &former.host)
    }

    /// Whether its goal is to be absent from its host: it is deleted, or to run elsewhere.
    pub fn is_leaving(&self) -> bool {
        self.deleting || self.tenure.former.is_some()
    }

    /// The node through which it is reached, where its Cfg names one at [`VIA_PATH`].
    pub fn via(&self) -> Option<Name> {
        self.names(VIA_PATH)
    }

    /// Whether it is reached through a node.
    pub fn is_reached_via(&self, node: &Name) -> bool {
        self.cfg.get(VIA_PATH).and_then(Value::as_str) == Some(node.as_str())
    }

    /// Whether a node hosts the object, or is the way to it.
    pub fn is_in_charge_of(&self, node: &Name) -> bool {
        self.is_hosted_by(node) || self.is_reached_via(node)
    }

    /// Whether one of these nodes hosts the object, or is the way to it.
    pub fn is_in_charge_of_any(&self, nodes: &BTreeSet<Name>) -> bool {
        let is_one = self.key.is_node() && nodes.contains(&self.key.name);
        is_one || self.charges().any(|node| nodes.contains(&node))
    }

    /// The nodes that have it in their charge beside itself: its host, and that through which it is
    /// reached.
    pub fn charges(&self) -> impl Iterator<Item = Name> {
        let host = self.host().filter(|_| !self.key.is_node());
        host.into_iter().chain(self.via())
    }

    fn names(&self, path: &str) -> Option<Name> {
        Name::new(self.cfg.get(path)?.as_str()?).ok()
    }
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
