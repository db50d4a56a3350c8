//! Where a mutation is carried out: on which node, and through whom that is reached.
//!
//! | context | carried out by | reached |
//! |---|---|---|
//! | `self` | the node that hosts the object, which decided it | here |
//! | `node` | the object's host, if it runs the module | here, attached here, or by a parent |
//! | `parent` | the node that its Cfg names at `/via` | the same |
//! | `parent`, else | a node's parent, if it is a member that runs the module | the same |
//! | `parent`, else | a member that runs the module, chosen by rendezvous hashing | the same |
//! | `control` | the leader, if it runs the module | here |
//!
//! A node hosts itself, any other object is hosted by the node that its Cfg names at `/host`.
//!
//! What a parent sees of an object is looked at where its `parent` mutations are carried out: by
//! one node for each module, so that two never tell of the same.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998): each member has a weight for each object, and
//! the heaviest carries it out, so that a member that comes or goes moves only its own share.

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    catalog::KindCatalog,
    fleet::{Fleet, up_link},
    id::{NAME_BYTES_MAX, Name, Uid},
    mutation::Context,
    object::Object,
    sync::below::HOPS_MAX,
};

/// What is known of the nodes that could carry something out, seen from the leader.
pub trait Standing {
    /// The leader, which asks.
    fn leader(&self) -> &Name;
    /// Whether a node is a member of the quorum that can be reached now, the leader included.
    fn is_member(&self, node: &Name) -> bool;
    /// The members that can be reached now, the leader included.
    fn members(&self) -> Vec<Name>;
    /// The member or relay to which a node is attached; `None`: to nobody that is known.
    fn parent_of(&self, node: &Name) -> Option<Name>;
    /// Whether a module runs on a node.
    fn runs(&self, node: &Name, module: &Name) -> bool;
    /// The member or relay to which the node is attached that this object is.
    fn parent_of_object(&self, object: &Object) -> Option<Name> {
        self.parent_of(&object.key.name)
    }
    /// Asks about the members that can be reached and run a module.
    fn with_able<R>(&self, module: &Name, ask: impl FnOnce(&[Name]) -> R) -> R {
        let members = self.members().into_iter().filter(|member| self.runs(member, module));
        ask(&members.collect::<Vec<_>>())
    }
}

/// A node that carries something out, and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The node that carries it out.
    pub to: Name,
    /// The node to which it is handed first; `None`: it is the leader itself.
    pub first: Option<Name>,
}

/// Nobody can carry it out now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The object's own node is attached to nobody.
    #[error("{node} is not attached")]
    NotAttached {
        /// The node.
        node: Name,
    },
    /// The one node that could does not run the module.
    #[error("module {module} does not run on {node}")]
    NotRunning {
        /// The module.
        module: Name,
        /// The node.
        node: Name,
    },
    /// No member runs the module.
    #[error("module {module} runs on no member that can be reached")]
    Nowhere {
        /// The module.
        module: Name,
    },
    /// The object has no node of its own.
    #[error("{object} is hosted by no node: its Cfg names none at /host")]
    NoHost {
        /// The object's name.
        object: Name,
    },
}

/// Where a mutation of a module on an object is carried out now.
pub fn route(
    context: Context,
    module: &Name,
    object: &Object,
    standing: &impl Standing,
) -> Result<Route, NoRoute> {
    match context {
        Context::Itself | Context::Node => {
            let host = object.host();
            let host = host.ok_or_else(|| NoRoute::NoHost { object: object.key.name.clone() })?;
            on_node(module, &host, standing)
        }
        Context::Parent => on_parent(module, object, standing),
        Context::Control => on_node(module, standing.leader(), standing),
    }
}

fn on_node(module: &Name, node: &Name, standing: &impl Standing) -> Result<Route, NoRoute> {
    let first = first_to(node, standing)?;
    if standing.runs(node, module) {
        Ok(Route { to: node.clone(), first })
    } else {
        Err(NoRoute::NotRunning { module: module.clone(), node: node.clone() })
    }
}

/// The node to which something for a node is handed first; `None`: that node is the leader itself.
pub fn first_to(node: &Name, standing: &impl Standing) -> Result<Option<Name>, NoRoute> {
    if node == standing.leader() {
        return Ok(None);
    }
    if standing.is_member(node) {
        return Ok(Some(node.clone()));
    }
    // Up through the relays between it and a member.
    let mut child = node.clone();
    for _ in 0..=HOPS_MAX {
        let parent = standing.parent_of(&child);
        let parent = parent.ok_or_else(|| NoRoute::NotAttached { node: node.clone() })?;
        if standing.is_member(&parent) {
            return Ok(Some(if parent == *standing.leader() { child } else { parent }));
        }
        child = parent;
    }
    Err(NoRoute::NotAttached { node: node.clone() })
}

fn on_parent(module: &Name, object: &Object, standing: &impl Standing) -> Result<Route, NoRoute> {
    if let Some(via) = object.via() {
        return on_node(module, &via, standing);
    }
    let chosen = chosen_parent(module, object, standing);
    let chosen = chosen.ok_or_else(|| NoRoute::Nowhere { module: module.clone() })?;
    let first = first_to(&chosen, standing)?;
    Ok(Route { to: chosen, first })
}

/// The member that carries out for an object that names no other node what its parent does.
fn chosen_parent(module: &Name, object: &Object, standing: &impl Standing) -> Option<Name> {
    let is_node = object.key.is_node();
    let parent = is_node.then(|| standing.parent_of_object(object)).flatten();
    standing.with_able(module, |able| {
        parent
            .filter(|parent| able.contains(parent))
            .or_else(|| heaviest(object.uid, able.iter().cloned()))
    })
}

/// The nodes that look at what a parent sees of an object.
pub fn parent_lookers(
    kind: &KindCatalog,
    object: &Object,
    standing: &impl Standing,
) -> BTreeSet<Name> {
    let mut modules: Vec<&Name> = Vec::new();
    for mutation in kind.mutations.iter().filter(|m| m.context == Context::Parent) {
        if !modules.contains(&&mutation.id.module) {
            modules.push(&mutation.id.module);
        }
    }
    let routes = modules.into_iter().map(|module| on_parent(module, object, standing));
    routes.filter_map(|route| Some(route.ok()?.to)).collect()
}

/// The node with the greatest weight for an object; of equal ones the last by name.
pub fn heaviest(uid: Uid, nodes: impl Iterator<Item = Name>) -> Option<Name> {
    let uid = uid.to_bytes();
    let mut bytes = Vec::with_capacity(uid.len() + NAME_BYTES_MAX);
    let mut weight = |node: &Name| {
        bytes.clear();
        bytes.extend_from_slice(&uid);
        bytes.extend_from_slice(node.as_str().as_bytes());
        xxh3_64(&bytes)
    };
    nodes.map(|node| (weight(&node), node)).max().map(|(_, node)| node)
}

/// What a member's fleet says of the nodes, with the members that it can reach. Remembers which of
/// them run a module: one is made to be asked about many objects.
pub struct Seen<'a> {
    fleet: &'a Fleet,
    members: &'a BTreeSet<Name>,
    able: RefCell<BTreeMap<Name, Vec<Name>>>,
}

impl<'a> Seen<'a> {
    /// The standing of nodes in a fleet. `members`: those that are attached to the leader now.
    pub fn new(fleet: &'a Fleet, members: &'a BTreeSet<Name>) -> Self {
        Self { fleet, members, able: RefCell::default() }
    }
}

impl Standing for Seen<'_> {
    fn leader(&self) -> &Name {
        self.fleet.me()
    }

    fn is_member(&self, node: &Name) -> bool {
        node == self.fleet.me() || self.members.contains(node)
    }

    fn members(&self) -> Vec<Name> {
        let me = [self.fleet.me().clone()];
        self.members.iter().cloned().chain(me).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn parent_of(&self, node: &Name) -> Option<Name> {
        self.parent_of_object(self.fleet.node(node)?)
    }

    /// Whoever last said that the link is up, serves it.
    fn parent_of_object(&self, object: &Object) -> Option<Name> {
        Some(up_link(self.fleet.seen(object.uid)?)?.stamp.writer.clone())
    }

    fn with_able<R>(&self, module: &Name, ask: impl FnOnce(&[Name]) -> R) -> R {
        let mut held = self.able.borrow_mut();
        let able = held.entry(module.clone()).or_insert_with(|| {
            self.members().into_iter().filter(|member| self.runs(member, module)).collect()
        });
        ask(able)
    }

    fn runs(&self, node: &Name, module: &Name) -> bool {
        let Some(node) = self.fleet.node(node) else { return false };
        let state = format!("/modules/{module}/state");
        let state = self.fleet.seen(node.uid).and_then(|dsc| dsc.get(&state));
        let state = state.filter(|state| !state.is_remembered());
        state.and_then(|state| state.value.as_ref()?.as_str()) == Some("RUN")
    }
}
