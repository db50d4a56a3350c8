//! `/graph`: what mutations can make of a node, as the old dashboard draws it.
//!
//! The graph of all: what a mutation starts from and what it leads to, with what it requires and
//! excludes at both. The graph of one node: the states that it can come to, its path in colour.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kraken_actors::quorum::Consistency;
use kraken_engine::{
    catalog::KindCatalog,
    event::steps_done,
    explain::{self, Scene},
    fleet::Fleet,
    graph::{self, GRAPH_NODES_MAX, Graph, Mark},
    id::Name,
    manifest::NODE_KIND,
    mutation::{Change, From, Mutation, To},
    path::Path,
    planner::Planner,
    predicate::{On, Test},
    store::Store,
};
use serde::Serialize;
use warp::{Filter, reply::Response};

use super::{answer, ids, names::url_of, show::text};
use crate::{
    api::Shared,
    aside::aside,
    call::{Call, call},
    problem::Problem,
    reply::{json, with_revision},
    routes::Routes,
};

const GREY: &str = "#848484";
const GREY_INSIDE: &str = "#bfbfbf";
const GREEN: &str = "#62a053";
const GREEN_INSIDE: &str = "#89CA78";
const RED: &str = "#e74c3c";
/// The id of the node of which nothing is known.
const ROOT: &str = "root";
/// How the engine's graphs write what is not known.
const UNKNOWN: &str = "unknown";

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let all = warp::path!("graph" / "json").and(warp::get()).and(call(shared));
    let all = all.then(|call| answer("old.graph", graph_of_all(call)));
    let one = warp::path!("graph" / "node" / String / "json").and(warp::get()).and(call(shared));
    let one = one.then(|id, call| answer("old.graph.node", graph_of_one(id, call)));
    all.or(one).unify().boxed()
}

/// A graph as the dashboard draws it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Drawing {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Node {
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<NodeColor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct NodeColor {
    border: &'static str,
    background: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Edge {
    from: String,
    to: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<EdgeColor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct EdgeColor {
    color: &'static str,
    highlight: &'static str,
}

async fn graph_of_all(call: Call) -> Result<Response, Problem> {
    let store = call.read(Consistency::Stale, Store::clone).await?;
    let revision = store.revision();
    let draw = move || {
        let node = Name::new(NODE_KIND).ok();
        let kind = node.and_then(|node| store.catalog().kind(&node));
        json(&kind.map(Drawing::of_kind).unwrap_or_default())
    };
    Ok(with_revision(aside(draw).await??, revision))
}

async fn graph_of_one(id: String, call: Call) -> Result<Response, Problem> {
    let store = call.read(Consistency::Linearizable, Store::clone).await?;
    let revision = store.revision();
    let object = ids::get(&store, &id)?.clone();
    let state = &call.shared.api.state;
    let dsc = state.read(Fleet::all_dsc).await?;
    let events = state.newest_events(usize::MAX).await?;
    let draw = move || {
        let events = events.iter().map(|(_, event)| event.as_ref());
        let done = steps_done(events, object.uid, object.revision);
        let scene = Scene::new(store, dsc);
        let graph = explain::graph(scene.subject(&object), &mut Planner::new(), &done);
        json(&Drawing::of_graph(&graph))
    };
    Ok(with_revision(aside(draw).await??, revision))
}

/// What must hold at one end of a mutation.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Terms {
    requires: BTreeMap<String, String>,
    excludes: BTreeSet<(String, String)>,
}

impl Terms {
    /// What a mutation asks for besides what it changes.
    fn of(mutation: &Mutation) -> Self {
        let mut terms = Self::default();
        let own = |on: &On| *on == On::Itself;
        for predicate in mutation.requires.iter().filter(|predicate| own(&predicate.on)) {
            let field = field_of(predicate.path.as_str());
            match &predicate.test {
                Test::In(values) if values.len() == 1 => {
                    terms.requires.extend(values.iter().map(|value| (field.clone(), text(value))));
                }
                Test::Not(value) => {
                    terms.excludes.insert((field, text(value)));
                }
                // What is no single value has no words there.
                Test::In(_)
                | Test::Known
                | Test::Below(_)
                | Test::AtMost(_)
                | Test::Above(_)
                | Test::AtLeast(_) => {}
            }
        }
        for predicate in mutation.excludes.iter().filter(|predicate| own(&predicate.on)) {
            if let Test::In(values) = &predicate.test {
                let field = field_of(predicate.path.as_str());
                terms.excludes.extend(values.iter().map(|value| (field.clone(), text(value))));
            }
        }
        terms
    }

    /// The same with what changed paths hold; one of them may hold anything.
    fn with(&self, held: impl Iterator<Item = (String, Option<String>)>) -> Self {
        let mut terms = self.clone();
        for (field, value) in held {
            terms.requires.remove(&field);
            terms.requires.extend(value.map(|value| (field, value)));
        }
        terms
    }

    fn label(&self) -> String {
        let requires = self.requires.iter().map(|(field, value)| format!("{field}: {value}"));
        let excludes = self.excludes.iter().map(|(field, value)| format!("{field}: !{value}"));
        requires.chain(excludes).collect::<Vec<String>>().join("\n")
    }
}

/// A path or pattern as labels name it.
fn field_of(path: &str) -> String {
    let named = Path::new(path).map(|path| url_of(&path));
    // A pattern with stars is no path.
    let named = named.unwrap_or_else(|_| path.to_owned());
    named.trim_start_matches('/').to_owned()
}

/// The values from which a change starts; `None`: from anything, or from what is not known.
fn starts(change: &Change) -> Vec<Option<String>> {
    match &change.from {
        From::Any | From::Unknown => vec![None],
        From::In(values) => values.iter().map(|value| Some(text(value))).collect(),
    }
}

impl Drawing {
    /// What every mutation of a kind starts from and leads to.
    fn of_kind(kind: &KindCatalog) -> Self {
        let mut drawing = Self::default();
        let mut drawn = BTreeSet::new();
        drawing.node(&Terms::default(), &mut drawn);
        for mutation in &kind.mutations {
            let terms = Terms::of(mutation);
            let fields = || mutation.changes.iter().map(|change| field_of(change.path.as_str()));
            let ends = mutation.changes.iter().map(|change| match &change.to {
                To::Cfg => None,
                To::Value(value) => Some(text(value)),
            });
            let to = terms.with(fields().zip(ends));
            for start in product(&mutation.changes) {
                let from = terms.with(fields().zip(start));
                if from == to || drawn.len() + 2 > GRAPH_NODES_MAX {
                    continue;
                }
                let [from, to] = [&from, &to].map(|terms| drawing.node(terms, &mut drawn));
                let id = format!("{} from {from}", mutation.id);
                drawing.edges.push(Edge { from, to, id, color: None });
            }
        }
        drawing.nodes.sort_by(|one, other| one.id.cmp(&other.id));
        drawing.edges.sort();
        drawing
    }

    /// The id of a node, which is drawn where it is not yet.
    fn node(&mut self, terms: &Terms, drawn: &mut BTreeSet<String>) -> String {
        let label = terms.label();
        let id = if label.is_empty() { ROOT.to_owned() } else { label.replace('\n', ", ") };
        if drawn.insert(id.clone()) {
            self.nodes.push(Node { id: id.clone(), label, color: None });
        }
        id
    }

    /// The states of one node, with its path.
    fn of_graph(graph: &Graph) -> Self {
        let is_path = |mark: Mark| matches!(mark, Mark::Done | Mark::InFlight | Mark::ToDo);
        let mut on_path = BTreeSet::new();
        let mut leaves = BTreeSet::new();
        for edge in graph.edges.iter().filter(|edge| is_path(edge.mark)) {
            on_path.extend([edge.from.as_str(), edge.to.as_str()]);
            if edge.mark != Mark::Done {
                leaves.insert(edge.from.as_str());
            }
        }
        let node = |node: &graph::Node| {
            // Where it stands, is wanted to be, and leaves no more.
            let is_end = node.current && node.wanted && !leaves.contains(node.id.as_str());
            let is_on_path = is_end || on_path.contains(node.id.as_str());
            let (border, background) = match (is_end, is_on_path) {
                (true, _) => (RED, GREEN_INSIDE),
                (false, true) => (GREEN, GREEN_INSIDE),
                (false, false) => (GREY, GREY_INSIDE),
            };
            let color = Some(NodeColor { border, background });
            Node { id: node.id.clone(), label: label_of(&node.label), color }
        };
        let edge = |edge: &graph::Edge| {
            let color = match edge.mark {
                Mark::InFlight => RED,
                Mark::Done | Mark::ToDo => GREEN_INSIDE,
                Mark::Possible | Mark::Waits | Mark::Failure => GREY,
            };
            Edge {
                from: edge.from.clone(),
                to: edge.to.clone(),
                id: format!("{} from {}", edge.mutation, edge.from),
                color: Some(EdgeColor { color, highlight: color }),
            }
        };
        Self {
            nodes: graph.nodes.iter().map(node).collect(),
            edges: graph.edges.iter().map(edge).collect(),
        }
    }
}

/// Every way to choose one start for each change, at most as many as a graph has nodes.
fn product(changes: &[Change]) -> Vec<Vec<Option<String>>> {
    let mut ways: Vec<Vec<Option<String>>> = vec![Vec::new()];
    for change in changes {
        let starts = starts(change);
        let longer = ways.iter().flat_map(|way| {
            starts.iter().map(move |start| way.iter().chain([start]).cloned().collect())
        });
        ways = longer.take(GRAPH_NODES_MAX).collect();
    }
    ways
}

/// A label of the engine's graph in the words of the dashboard: what is known, in order of field.
fn label_of(label: &str) -> String {
    let known = label.lines().filter_map(|line| line.split_once(" = "));
    let known = known.filter(|(_, value)| *value != UNKNOWN);
    let mut lines: Vec<String> =
        known.map(|(path, value)| format!("{}: {value}", field_of(path))).collect();
    lines.sort_unstable();
    lines.join("\n")
}
