//! Circles of waits: mutations that wait for other objects, whose mutations wait for others in
//! turn. Which objects meet is not known here, only which paths of which kinds, so that this can
//! only warn. A circle by one relation alone is let be: parents and owners never form circles, and
//! whether named objects do is not to be seen from declarations.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::{
    algo::tarjan_scc,
    graph::{DiGraph, NodeIndex},
};

use super::{Code, Findings, Severity};
use crate::{
    catalog::{Catalog, KindCatalog, overlap},
    id::Name,
    manifest::NODE_KIND,
    mutation::Mutation,
    path::Pattern,
    predicate::On,
};

/// A path of a kind.
type Place<'a> = (&'a Name, &'a Pattern);

/// What leads from a path to one that it waits for; `None`: a path of the same object.
type Wait<'a> = (Option<&'a On>, &'a Mutation);

pub(super) fn check(catalog: &Catalog, findings: &mut Findings<'_>) {
    let graph = graph(catalog);
    for members in tarjan_scc(&graph) {
        let inside: BTreeSet<NodeIndex> = members.iter().copied().collect();
        let edges = graph.edge_indices().filter(|edge| {
            let ends = graph.edge_endpoints(*edge);
            ends.is_some_and(|(from, to)| inside.contains(&from) && inside.contains(&to))
        });
        let waits: Vec<Wait<'_>> = edges.map(|edge| graph[edge]).collect();
        let relations: BTreeSet<&On> = waits.iter().filter_map(|(on, _)| *on).collect();
        let Some((_, mutation)) = waits.iter().find(|(on, _)| on.is_some()) else { continue };
        if relations.len() < 2 {
            continue;
        }
        let mut names: Vec<String> = inside
            .iter()
            .map(|node| format!("{} of kind {}", graph[*node].1, graph[*node].0))
            .collect();
        names.sort();
        let text = format!(
            "objects may wait for each other in a circle: {}; break it by requiring less of one \
             of them",
            names.join(", ")
        );
        let at: &[&str] = &["requires"];
        findings.mutation(Severity::Warning, Code::WaitCycle, (mutation, at), text);
    }
}

fn graph(catalog: &Catalog) -> DiGraph<Place<'_>, Wait<'_>> {
    let mut graph = DiGraph::new();
    let mut nodes: BTreeMap<Place<'_>, NodeIndex> = BTreeMap::new();
    for (name, kind) in catalog.kinds() {
        for rule in kind.schema.rules() {
            let place = (name, &rule.pattern);
            nodes.insert(place, graph.add_node(place));
        }
    }
    for (name, kind) in catalog.kinds() {
        for mutation in &kind.mutations {
            let from = mutation.changes.iter();
            let from: Vec<NodeIndex> =
                from.flat_map(|change| places(&nodes, name, kind, &change.path)).collect();
            for predicate in &mutation.requires {
                let on = (predicate.on != On::Itself).then_some(&predicate.on);
                let to = kinds(catalog, name, &predicate.on)
                    .flat_map(|(other, kind)| places(&nodes, other, kind, &predicate.path));
                let edges = to.flat_map(|to| from.iter().map(move |from| (*from, to)));
                for (from, to) in edges {
                    graph.add_edge(from, to, (on, &**mutation));
                }
            }
        }
    }
    graph
}

/// The kinds of which an object that `on` names may be.
fn kinds<'a>(
    catalog: &'a Catalog,
    own: &'a Name,
    on: &'a On,
) -> impl Iterator<Item = (&'a Name, &'a KindCatalog)> {
    catalog.kinds().filter(move |(name, _)| match on {
        On::Itself => *name == own,
        On::Owner => true,
        On::Parent | On::NamedBy(_) => name.as_str() == NODE_KIND,
    })
}

fn places(
    nodes: &BTreeMap<Place<'_>, NodeIndex>,
    name: &Name,
    kind: &KindCatalog,
    pattern: &Pattern,
) -> Vec<NodeIndex> {
    let rules = kind.schema.rules().filter(|rule| overlap(&rule.pattern, pattern));
    rules.filter_map(|rule| nodes.get(&(name, &rule.pattern)).copied()).collect()
}
