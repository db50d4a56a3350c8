//! The graph of a kind: for each path that mutations change, its values and what leads from one to
//! another. Path by path and not as a product, so that it stays as small as what was declared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edge, GRAPH_NODES_MAX, Graph, Mark, Node};
use crate::{
    catalog::KindCatalog,
    mutation::{Change, From, Mutation, To},
    value::Value,
};

/// The node from which a mutation starts that takes any value.
const ANY: &str = "any value";
/// The node of a path that is not known.
const UNKNOWN: &str = "unknown";
/// The node of a path that holds what Cfg says.
const CFG: &str = "as Cfg says";

/// The mutation graph of a kind, without any object.
pub fn of_kind(kind: &KindCatalog) -> Graph {
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut edges = Vec::new();
    for mutation in &kind.mutations {
        for change in &mutation.changes {
            let group = change.path.as_str();
            let named = values.entry(group.to_owned()).or_default();
            for (from, to, mark) in moves(mutation, change) {
                named.extend([from.clone(), to.clone()]);
                edges.push(Edge {
                    from: id(group, &from),
                    to: id(group, &to),
                    mutation: mutation.id.to_string(),
                    context: mutation.context,
                    cost_ms: mutation.cost_ms,
                    disruptive: mutation.disruptive,
                    mark,
                });
            }
        }
    }
    let mut nodes: Vec<Node> = values
        .iter()
        .flat_map(|(group, values)| values.iter().map(move |value| node(group, value)))
        .collect();
    let truncated = nodes.len() > GRAPH_NODES_MAX;
    nodes.truncate(GRAPH_NODES_MAX);
    if truncated {
        let kept: BTreeSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        edges.retain(|edge| kept.contains(edge.from.as_str()) && kept.contains(edge.to.as_str()));
    }
    edges.sort();
    edges.dedup();
    Graph { nodes, edges, truncated }
}

fn id(group: &str, value: &str) -> String {
    format!("{group}={value}")
}

fn node(group: &str, value: &str) -> Node {
    Node {
        id: id(group, value),
        group: group.to_owned(),
        label: value.to_owned(),
        current: false,
        wanted: false,
    }
}

/// From where to where a mutation leads one path, and where a failure leaves it.
fn moves(mutation: &Mutation, change: &Change) -> Vec<(String, String, Mark)> {
    let from: Vec<String> = match &change.from {
        From::Any => vec![ANY.to_owned()],
        From::Unknown => vec![UNKNOWN.to_owned()],
        From::In(values) => values.iter().map(Value::to_string).collect(),
    };
    let to = match &change.to {
        To::Cfg => CFG.to_owned(),
        To::Value(value) => value.to_string(),
    };
    let fails = mutation.fail_to.iter().filter(|(path, _)| *path == change.path);
    let mut moves = Vec::new();
    for from in &from {
        moves.push((from.clone(), to.clone(), Mark::Possible));
        let failed =
            fails.clone().map(|(_, value)| (from.clone(), value.to_string(), Mark::Failure));
        moves.extend(failed);
    }
    moves
}
