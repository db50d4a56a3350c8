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

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    catalog::KindCatalog,
    fleet::{Fleet, LINK_PATH, Link},
    id::{Name, Uid},
    manifest::NODE_KIND,
    mutation::Context,
    object::Object,
};

/// What is known of the nodes that could carry something out, seen from the leader.
pub trait Standing {
    /// The leader, which asks.
    fn leader(&self) -> &Name;
    /// Whether a node is a member of the quorum that can be reached now, the leader included.
    fn is_member(&self, node: &Name) -> bool;
    /// The members that can be reached now, the leader included.
    fn members(&self) -> Vec<Name>;
    /// The member to which a node is attached; `None`: to nobody that is known.
    fn parent_of(&self, node: &Name) -> Option<Name>;
    /// Whether a module runs on a node.
    fn runs(&self, node: &Name, module: &Name) -> bool;
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
    let parent = standing.parent_of(node).filter(|parent| standing.is_member(parent));
    let parent = parent.ok_or_else(|| NoRoute::NotAttached { node: node.clone() })?;
    Ok(Some(if parent == *standing.leader() { node.clone() } else { parent }))
}

fn on_parent(module: &Name, object: &Object, standing: &impl Standing) -> Result<Route, NoRoute> {
    if let Some(via) = object.via() {
        return on_node(module, &via, standing);
    }
    let able = |member: &Name| standing.is_member(member) && standing.runs(member, module);
    let is_node = object.key.kind.as_str() == NODE_KIND;
    let parent = is_node.then(|| standing.parent_of(&object.key.name)).flatten();
    if let Some(parent) = parent.filter(able) {
        return on_node(module, &parent, standing);
    }
    let able = standing.members().into_iter().filter(|member| standing.runs(member, module));
    let chosen = heaviest(object.uid, able);
    let chosen = chosen.ok_or_else(|| NoRoute::Nowhere { module: module.clone() })?;
    on_node(module, &chosen, standing)
}

/// The nodes that look at what a parent sees of an object.
pub fn parent_lookers(
    kind: &KindCatalog,
    object: &Object,
    standing: &impl Standing,
) -> BTreeSet<Name> {
    let of_parent = kind.mutations.iter().filter(|m| m.context == Context::Parent);
    let modules: BTreeSet<&Name> = of_parent.map(|mutation| &mutation.id.module).collect();
    let routes = modules.into_iter().map(|module| on_parent(module, object, standing));
    routes.filter_map(|route| Some(route.ok()?.to)).collect()
}

/// The node with the greatest weight for an object; of equal ones the last by name.
pub fn heaviest(uid: Uid, nodes: impl Iterator<Item = Name>) -> Option<Name> {
    nodes.max_by_key(|node| {
        let mut bytes = uid.to_bytes().to_vec();
        bytes.extend(node.as_str().as_bytes());
        (xxh3_64(&bytes), node.clone())
    })
}

/// What a member's fleet says of the nodes, with the members that it can reach.
pub struct Seen<'a> {
    fleet: &'a Fleet,
    members: &'a BTreeSet<Name>,
}

impl<'a> Seen<'a> {
    /// The standing of nodes in a fleet. `members`: those that are attached to the leader now.
    pub fn new(fleet: &'a Fleet, members: &'a BTreeSet<Name>) -> Self {
        Self { fleet, members }
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

    /// Whoever last said that the link is up, serves it.
    fn parent_of(&self, node: &Name) -> Option<Name> {
        let dsc = self.fleet.dsc(self.fleet.node(node)?.uid);
        let link = dsc.get(LINK_PATH)?;
        let up = link.value.as_ref().and_then(|value| value.as_str()) == Some(Link::Up.as_str());
        up.then(|| link.stamp.writer.clone())
    }

    fn runs(&self, node: &Name, module: &Name) -> bool {
        let Some(node) = self.fleet.node(node) else { return false };
        let state = format!("/modules/{module}/state");
        let dsc = self.fleet.dsc(node.uid);
        dsc.value(&state).and_then(|value| value.as_str()) == Some("RUN")
    }
}
