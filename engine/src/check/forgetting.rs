//! Circles of forgetting: paths whose being known depends on themselves, by way of others.

use std::collections::BTreeSet;

use petgraph::{algo::tarjan_scc, graph::DiGraph};

use crate::{catalog::overlap, path::Pattern, schema::Schema};

/// The paths of a schema that lie on a circle of `known_while`.
pub(crate) fn circular(schema: &Schema) -> BTreeSet<Pattern> {
    let rules: Vec<_> = schema.rules().collect();
    let mut graph: DiGraph<&Pattern, ()> = DiGraph::new();
    let nodes: Vec<_> = rules.iter().map(|rule| graph.add_node(&rule.pattern)).collect();
    for (rule, node) in rules.iter().zip(&nodes) {
        for condition in &rule.known_while {
            for (cause, other) in rules.iter().zip(&nodes) {
                if overlap(&cause.pattern, &condition.pattern) {
                    graph.update_edge(*node, *other, ());
                }
            }
        }
    }
    let circles = tarjan_scc(&graph).into_iter().filter(|members| match members.as_slice() {
        [alone] => graph.contains_edge(*alone, *alone),
        _ => true,
    });
    circles.flatten().map(|node| graph[node].clone()).collect()
}
