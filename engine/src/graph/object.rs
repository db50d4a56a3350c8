//! The graph of one object: the states it can come to from where it is, with its plan marked. Paths
//! that do not touch each other are drawn apart, so that the graph is a sum and not a product.

use std::collections::BTreeMap;

use super::{Edge, GRAPH_NODES_MAX, Graph, Mark, Node, shown, state_id};
use crate::{
    mutation::Instance,
    path::Path,
    planner::{Part, Question, Step, explore},
    value::Value,
};

/// How far an object is on its way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress<'a> {
    /// What was done lately, oldest first.
    pub done: &'a [Step],
    /// What is being done.
    pub in_flight: Option<&'a Instance>,
    /// The plan from here.
    pub to_do: &'a [Step],
}

/// The states that one object can come to, from where it is towards what is wanted of it.
pub fn of_object(question: &Question<'_>, progress: &Progress<'_>) -> Graph {
    let plan: Vec<Instance> = progress.to_do.iter().map(|step| step.instance.clone()).collect();
    let mut graph = Graph::default();
    for part in explore(question, &plan, GRAPH_NODES_MAX) {
        graph.truncated |= part.truncated;
        let mut drawing = Drawing::new(&part);
        drawing.plan(&plan, progress.in_flight);
        drawing.history(progress.done);
        graph.nodes.extend(drawing.nodes);
        graph.edges.extend(drawing.edges.into_values());
    }
    graph
}

/// One part in the making.
struct Drawing<'a> {
    part: &'a Part,
    group: String,
    nodes: Vec<Node>,
    /// By from, to and mutation.
    edges: BTreeMap<(String, String, String), Edge>,
}

impl<'a> Drawing<'a> {
    fn new(part: &'a Part) -> Self {
        let paths: Vec<&str> = part.paths.iter().map(Path::as_str).collect();
        let mut drawing =
            Self { part, group: paths.join(", "), nodes: Vec::new(), edges: BTreeMap::new() };
        for (place, state) in part.states.iter().enumerate() {
            let node = drawing.node(state, place == 0);
            drawing.nodes.push(node);
        }
        for step in &part.moves {
            let mark = if step.met { Mark::Possible } else { Mark::Waits };
            drawing.edge(step.from, step.to, &step.instance, mark);
        }
        drawing
    }

    fn node(&self, state: &[Option<Value>], current: bool) -> Node {
        let line =
            |(path, value): (&Path, &Option<Value>)| format!("{path} = {}", shown(value.as_ref()));
        let lines: Vec<String> = self.part.paths.iter().zip(state).map(line).collect();
        let mut pairs = self.part.wanted.iter().zip(state);
        Node {
            id: state_id(&self.part.paths, state),
            group: self.group.clone(),
            label: lines.join("\n"),
            current,
            wanted: pairs.all(|(wanted, held)| wanted.is_none() || wanted == held),
        }
    }

    fn edge(&mut self, from: usize, to: usize, instance: &Instance, mark: Mark) {
        let (from, to) = (self.nodes[from].id.clone(), self.nodes[to].id.clone());
        let mutation = instance.to_string();
        let edge = Edge {
            from: from.clone(),
            to: to.clone(),
            mutation: mutation.clone(),
            context: instance.mutation.context,
            cost_ms: instance.mutation.cost_ms,
            disruptive: instance.mutation.disruptive,
            mark,
        };
        self.edges.insert((from, to, mutation), edge);
    }

    /// Marks the steps of the plan, and the one in flight.
    fn plan(&mut self, plan: &[Instance], in_flight: Option<&Instance>) {
        let mut now = 0;
        for step in plan {
            if let Some(next) = self.leads(now, step) {
                let mark =
                    if now == 0 && in_flight == Some(step) { Mark::InFlight } else { Mark::ToDo };
                self.edge(now, next, step, mark);
                now = next;
            }
        }
        // What is in flight may be no step of the plan any more: Cfg has moved meanwhile.
        if let Some(step) = in_flight
            && let Some(next) = self.leads(0, step)
        {
            self.edge(0, next, step, Mark::InFlight);
        }
    }

    fn leads(&self, from: usize, step: &Instance) -> Option<usize> {
        let is_step = |held: &&crate::planner::Move| held.from == from && held.instance == *step;
        self.part.moves.iter().find(is_step).map(|held| held.to)
    }

    /// Draws what was done, backwards from the present state.
    fn history(&mut self, done: &[Step]) {
        let Some(mut state) = self.part.states.first().cloned() else { return };
        let mut to = 0;
        for step in done.iter().rev() {
            let mut before = state.clone();
            for change in &step.changes {
                let place = self.part.paths.iter().position(|path| *path == change.path);
                // A step after which something else was seen is no way to here.
                if let Some(place) = place.filter(|place| state[*place] == change.to) {
                    before[place].clone_from(&change.from);
                }
            }
            if before == state {
                continue;
            }
            let from = self.place(&before);
            self.edge(from, to, &step.instance, Mark::Done);
            (state, to) = (before, from);
        }
    }

    /// The place of a state, drawn where it is not yet.
    fn place(&mut self, state: &[Option<Value>]) -> usize {
        let node = self.node(state, false);
        let held = self.nodes.iter().position(|held| held.id == node.id);
        held.unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }
}
