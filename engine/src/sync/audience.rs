//! Of whom a child is told: of itself and, where it is a relay, of all nodes below it. Each of them
//! is to know the objects in its charge, and what its predicates name elsewhere.
//!
//! With a hundred nodes behind a relay, or ten thousand, what is told is gathered anew only of
//! those that a change concerns.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::views::Sights;
use crate::{
    fleet::{Elsewhere, Fleet},
    id::{Name, Revision, SessionEpoch, Uid},
    object::Object,
};

/// The nodes of which a child is told, and what it was told of each.
#[derive(Debug, Default)]
pub struct Audience {
    /// By name, with their objects.
    nodes: BTreeMap<Name, Uid>,
    told: BTreeMap<Name, Told>,
    /// The nodes that have an object in their charge.
    charged: BTreeMap<Uid, BTreeSet<Name>>,
    /// The nodes for which an object elsewhere counts.
    rested: BTreeMap<Uid, BTreeSet<Name>>,
    /// Nodes for which something is lacking.
    lacking: BTreeSet<Name>,
    left_out: usize,
    /// Nodes of which nothing was told yet, or what was told is to be gathered in any case.
    due: BTreeSet<Name>,
    /// What was in the charge of nodes that have left.
    left: BTreeSet<Uid>,
}

/// What is told of one node.
#[derive(Debug, Default)]
struct Told {
    charges: BTreeSet<Uid>,
    rests_on: BTreeSet<Uid>,
    left_out: usize,
}

/// What is to be told: of these objects, and of no others, something may have changed.
#[derive(Debug, Default)]
pub struct Change {
    /// The revision up to which this makes all of what the child is to hold.
    pub revision: Revision,
    /// Objects as they are now.
    pub set: Vec<Arc<Object>>,
    /// Objects that are no longer in the charge of any of the nodes.
    pub gone: BTreeSet<Uid>,
    /// What counts elsewhere for objects; for one that is named here with nothing, nothing does.
    pub sights: Sights,
    /// What was heard of the sessions of the nodes that this concerns, by their objects.
    pub newest: Vec<(Uid, SessionEpoch)>,
}

impl Audience {
    /// It is told of a node from now on: of all that is the node's.
    pub fn add(&mut self, node: Name, uid: Uid) {
        self.nodes.insert(node.clone(), uid);
        self.due.insert(node);
    }

    /// It is told of a node no longer.
    pub fn remove(&mut self, node: &Name) {
        self.nodes.remove(node);
        self.due.remove(node);
        self.lacking.remove(node);
        let Some(told) = self.told.remove(node) else { return };
        self.left_out -= told.left_out;
        for uid in &told.charges {
            withdraw(&mut self.charged, *uid, node);
            // Another may be the one that decides of it by now.
            self.due.extend(self.charged.get(uid).into_iter().flatten().cloned());
        }
        for uid in &told.rests_on {
            withdraw(&mut self.rested, *uid, node);
        }
        self.left.extend(told.charges);
    }

    /// All is to be gathered anew.
    pub fn renew(&mut self) {
        self.due.extend(self.nodes.keys().cloned());
    }

    /// Whether an object that predicates name is not known to this parent: it may come to be.
    pub fn lacks(&self) -> bool {
        !self.lacking.is_empty()
    }

    /// What lacks something is to be gathered anew.
    pub fn look_for_lacking(&mut self) {
        self.due.extend(self.lacking.iter().cloned());
    }

    /// Of how many objects nothing is told, because their predicates lead to too many others.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether anything can be gathered though no object has changed.
    pub fn is_due(&self, fleet: &Fleet) -> bool {
        !self.left.is_empty() || self.due.iter().any(|node| fleet.is_whole(node))
    }

    /// The objects of which the child is told, and those that count for them.
    pub fn rests_on(&self) -> BTreeSet<Uid> {
        self.charged.keys().chain(self.rested.keys()).copied().collect()
    }

    /// What is to be told, `changed` being all objects that have changed since this was asked last.
    pub fn gather(&mut self, fleet: &Fleet, changed: &BTreeSet<Uid>) -> Change {
        let mut change = Change { revision: fleet.revision(), ..Change::default() };
        let mut dropped = std::mem::take(&mut self.left);
        let (mut nodes, mut done) = (self.concerned(fleet, changed), BTreeSet::new());
        while let Some(node) = nodes.pop_first() {
            let Some(uid) = self.nodes.get(&node).copied() else { continue };
            if !fleet.is_whole(&node) {
                self.due.insert(node);
                continue;
            }
            change.newest.push((uid, fleet.link_epoch(uid)));
            let objects = charges(fleet, uid, &node);
            let Elsewhere { mut sights, rests_on, lacks, left_out } = fleet.elsewhere_of(&node);
            let own = objects.iter().filter(|object| self.decides(fleet, &node, object));
            let own = own.map(|o| (o.uid, sights.remove(&o.uid).unwrap_or_default()));
            change.sights.extend(own);
            let charges = objects.iter().map(|object| object.uid).collect();
            change.set.extend(objects);
            done.insert(node.clone());
            if lacks {
                self.lacking.insert(node.clone());
            } else {
                self.lacking.remove(&node);
            }
            for uid in self.take(node, Told { charges, rests_on, left_out }) {
                let others = self.charged.get(&uid).into_iter().flatten();
                nodes.extend(others.filter(|other| !done.contains(*other)).cloned());
                dropped.insert(uid);
            }
        }
        dropped.retain(|uid| !self.charged.contains_key(uid));
        change.gone = dropped;
        change
    }

    /// Whether a node is the one by whose decisions it goes what is told of elsewhere for an object
    /// in its charge: its host, where that is among the nodes.
    fn decides(&self, fleet: &Fleet, node: &Name, object: &Object) -> bool {
        let is_here = |node: &Name| {
            self.nodes.get(node).is_some_and(|uid| fleet.node(node).map(|o| o.uid) == Some(*uid))
        };
        match object.host().filter(is_here) {
            Some(host) => host == *node,
            None => object.charges().filter(is_here).min().as_ref() == Some(node),
        }
    }

    /// The nodes of which what is told may have changed.
    fn concerned(&mut self, fleet: &Fleet, changed: &BTreeSet<Uid>) -> BTreeSet<Name> {
        let mut nodes = std::mem::take(&mut self.due);
        for uid in changed {
            let told = [self.charged.get(uid), self.rested.get(uid)];
            nodes.extend(told.into_iter().flatten().flatten().cloned());
            let Some(object) = fleet.object(*uid) else { continue };
            let charged = object.charges().chain(object.host());
            nodes.extend(charged.filter(|node| self.nodes.contains_key(node)));
        }
        nodes
    }

    /// Notes what is told of a node; says what was in its charge before and is no longer.
    fn take(&mut self, node: Name, told: Told) -> Vec<Uid> {
        let before = self.told.remove(&node).unwrap_or_default();
        self.left_out = self.left_out - before.left_out + told.left_out;
        for uid in &told.charges {
            self.charged.entry(*uid).or_default().insert(node.clone());
        }
        for uid in &told.rests_on {
            self.rested.entry(*uid).or_default().insert(node.clone());
        }
        let dropped: Vec<Uid> = before.charges.difference(&told.charges).copied().collect();
        for uid in &dropped {
            withdraw(&mut self.charged, *uid, &node);
        }
        for uid in before.rests_on.difference(&told.rests_on) {
            withdraw(&mut self.rested, *uid, &node);
        }
        self.told.insert(node, told);
        dropped
    }
}

fn withdraw(of: &mut BTreeMap<Uid, BTreeSet<Name>>, uid: Uid, node: &Name) {
    if let Some(nodes) = of.get_mut(&uid) {
        nodes.remove(node);
        if nodes.is_empty() {
            of.remove(&uid);
        }
    }
}

/// The objects that a node may see: itself, what it hosts and what is reached through it; nothing
/// more once it is removed, also where another has its name by now.
fn charges(fleet: &Fleet, uid: Uid, node: &Name) -> Vec<Arc<Object>> {
    match fleet.node(node) {
        Some(own) if own.uid == uid => fleet.charges_of(node).cloned().collect(),
        _ => fleet.object(uid).cloned().into_iter().collect(),
    }
}
