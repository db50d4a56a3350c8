//! Ids of nodes: UUIDs on both sides. A node has the id that the client chose which created it
//! over the old surface, and else its uid.

use std::{collections::BTreeMap, sync::Arc};

use kraken_engine::{
    id::{Name, Uid},
    manifest::NODE_KIND,
    object::{Object, ObjectRef},
    store::Store,
    value::Value,
};

use super::paths::ID;
use crate::problem::Problem;

/// Longest id of an unknown node that is said back, in characters.
const ID_SHOWN_MAX: usize = 128;

/// The id of a node.
pub(super) fn id_of(object: &Object) -> Uid {
    let given = object.cfg.get(ID).and_then(Value::as_str).and_then(|id| id.parse().ok());
    given.unwrap_or(object.uid)
}

/// The node of an id, for the few that are looked up alone.
pub(super) fn find(store: &Store, id: Uid) -> Option<&Arc<Object>> {
    let is_it = |object: &&Arc<Object>| object.key.is_node() && id_of(object) == id;
    store.object(id).filter(is_it).or_else(|| store.of_kind(NODE_KIND).find(is_it))
}

/// The node that a path names.
pub(super) fn get<'a>(store: &'a Store, id: &str) -> Result<&'a Arc<Object>, Problem> {
    let found = id.parse().ok().and_then(|id| find(store, id));
    found.ok_or_else(|| missing(id))
}

/// A node that is not there.
pub(super) fn missing(id: &str) -> Problem {
    let shown: String = id.chars().take(ID_SHOWN_MAX).collect();
    Problem::NoSuchObject(format!("node {shown}"))
}

/// All nodes by id, for requests that speak of many.
pub(super) fn by_id(store: &Store) -> BTreeMap<Uid, &Arc<Object>> {
    store.of_kind(NODE_KIND).map(|object| (id_of(object), object)).collect()
}

/// What a node is called.
pub(super) fn key(name: Name) -> Result<ObjectRef, Problem> {
    let kind = Name::new(NODE_KIND).map_err(|error| Problem::Internal(error.to_string()))?;
    Ok(ObjectRef { kind, namespace: None, name })
}
