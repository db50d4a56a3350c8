//! Mutation graphs for people: what may become of a kind's paths, or of one object.
//!
//! Graphs are data; they serialize as they are, [`Graph::to_dot`] and [`Graph::to_mermaid`] write
//! what drawing programs read, and [`Graph::to_svg`] draws by itself. Ids are made of what they
//! name and are the same in every run.

mod kind;
mod layout;
mod object;
mod svg;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

pub use self::{
    kind::of_kind,
    object::{Progress, of_object},
};
use crate::{mutation::Context, path::Path, value::Value};

/// Most nodes of one graph.
pub const GRAPH_NODES_MAX: usize = 2_000;

/// Nodes and the mutations that lead from one to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// States, or values of single paths; those of one group stand together.
    pub nodes: Vec<Node>,
    /// Mutations, in order of nodes and names.
    pub edges: Vec<Edge>,
    /// Whether nodes beyond [`GRAPH_NODES_MAX`] were left out.
    pub truncated: bool,
}

/// A state of some paths, or a value of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The same in every run and in every graph that holds this node.
    pub id: String,
    /// The paths that it speaks of.
    pub group: String,
    /// What it stands for, one line a path.
    pub label: String,
    /// Whether the object is there now.
    pub current: bool,
    /// Whether everything wanted holds there.
    pub wanted: bool,
}

/// A mutation between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// The id of the node that it leaves.
    pub from: String,
    /// The id of the node that it leads to.
    pub to: String,
    /// `module/Name`, with what its stars stand for.
    pub mutation: String,
    /// Where it runs.
    #[serde(serialize_with = "as_word")]
    pub context: Context,
    /// The expected time, in milliseconds.
    pub cost_ms: u64,
    /// Whether it interrupts what runs on the object.
    pub disruptive: bool,
    /// What it is to the object's plan.
    pub mark: Mark,
}

/// What an edge is to a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    /// It could be done.
    #[default]
    Possible,
    /// It could be done if other objects were as it needs them.
    Waits,
    /// It is what a failure leads to.
    Failure,
    /// It was done.
    Done,
    /// It is being done.
    InFlight,
    /// The plan has it ahead.
    ToDo,
}

impl Mark {
    /// How an edge is drawn, in Graphviz's words.
    fn style(self) -> &'static str {
        match self {
            Self::Possible => "color=gray60",
            Self::Waits => "color=gray60, style=dotted",
            Self::Failure => "color=red, style=dashed",
            Self::Done => "color=darkgreen, penwidth=2",
            Self::InFlight => "color=orange, penwidth=3",
            Self::ToDo => "color=blue, penwidth=2",
        }
    }
}

impl Graph {
    /// The graph in Graphviz's language.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph mutations {\n  rankdir=LR;\n  node [shape=box];\n");
        let groups = self.nodes.chunk_by(|a, b| a.group == b.group);
        for (place, nodes) in groups.enumerate() {
            let group = nodes.first().map_or("", |node| &node.group);
            line(&mut dot, format_args!("  subgraph cluster_{place} {{"));
            line(&mut dot, format_args!("    label={};", quoted(group)));
            for node in nodes {
                let label = quoted(&node.label);
                let id = quoted(&node.id);
                line(&mut dot, format_args!("    {id} [label={label}{}];", node.style()));
            }
            line(&mut dot, format_args!("  }}"));
        }
        for edge in &self.edges {
            let (from, to) = (quoted(&edge.from), quoted(&edge.to));
            let (label, style) = (quoted(&edge.mutation), edge.mark.style());
            line(&mut dot, format_args!("  {from} -> {to} [label={label}, {style}];"));
        }
        dot.push_str("}\n");
        dot
    }

    /// The graph in Mermaid's language.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let place = |id: &str| self.nodes.iter().position(|node| node.id == id).unwrap_or_default();
        for (place, node) in self.nodes.iter().enumerate() {
            let label = node.label.replace('"', "'").replace('\n', "<br>");
            line(&mut text, format_args!("  n{place}[\"{label}\"]"));
        }
        for edge in &self.edges {
            let arrow = match edge.mark {
                Mark::Possible => "-->",
                Mark::Waits | Mark::Failure => "-.->",
                Mark::Done | Mark::InFlight | Mark::ToDo => "==>",
            };
            let (from, to) = (place(&edge.from), place(&edge.to));
            let label = edge.mutation.replace('"', "'");
            line(&mut text, format_args!("  n{from} {arrow}|\"{label}\"| n{to}"));
        }
        text
    }
}

impl Node {
    fn style(&self) -> &'static str {
        match (self.current, self.wanted) {
            (true, true) => ", style=filled, fillcolor=palegreen, penwidth=2",
            (true, false) => ", style=filled, fillcolor=khaki, penwidth=2",
            (false, true) => ", style=filled, fillcolor=palegreen",
            (false, false) => "",
        }
    }
}

/// Writing to a text cannot fail.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn as_word<S: Serializer>(context: &Context, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(context.as_str())
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{content}");
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

/// The id of a state: made of its paths and values.
fn state_id(paths: &[Path], values: &[Option<Value>]) -> String {
    // Plain data always encodes.
    let bytes = rmp_serde::to_vec(&(paths, values)).unwrap_or_default();
    format!("s{:016x}", xxh3_64(&bytes))
}
