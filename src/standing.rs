//! How far nodes are on their way to a condition, and what keeps the others.

use std::{cmp::Reverse, collections::BTreeMap, time::SystemTime};

use kraken_engine::nodeset;
use kraken_http::view::ObjectView;

use crate::{age, fleet::is_attached};

/// Phases that end by an act of somebody, not by themselves.
const RESTING: [&str; 3] = ["Frozen", "Quarantined", "Stuck"];

/// How far nodes are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many are there.
    pub(crate) done: usize,
    /// How many are waited for.
    pub(crate) total: usize,
    /// How many of those that are not there rest where they are until somebody acts.
    pub(crate) resting: usize,
    /// Those that are not there, by what keeps them.
    open: BTreeMap<String, Vec<String>>,
    /// What can be done for those that are not there, once for each thing that may keep them.
    advice: BTreeMap<&'static str, String>,
    /// Of those that are not there the one that stands longest where it stands.
    slowest: Option<Slowest>,
}

/// A node that takes long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Slowest {
    /// Since when it stands there, RFC 3339.
    since: String,
    name: String,
    keeps: String,
}

impl Standing {
    /// How far these are, being there where the condition holds.
    pub(crate) fn of(nodes: &[ObjectView], holds: impl Fn(&ObjectView) -> bool) -> Self {
        let mut standing = Self { total: nodes.len(), ..Self::default() };
        for node in nodes {
            if holds(node) {
                standing.done += 1;
            } else {
                standing.resting += usize::from(rests(node));
                standing.open.entry(keeps(node)).or_default().push(node.name.clone());
                let (keeper, advice) = advice(node);
                standing.advice.entry(keeper).or_insert(advice);
                standing.slowest = slower(standing.slowest.take(), node);
            }
        }
        standing
    }

    /// Counts as there those of so many that are there no more.
    pub(crate) fn gone(&mut self, before: usize) {
        self.done += before.saturating_sub(self.total);
        self.total = self.total.max(before);
    }

    /// Whether all are there.
    pub(crate) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// What keeps most of those that are not there.
    pub(crate) fn worst(&self) -> String {
        self.reasons().into_iter().next().unwrap_or_default()
    }

    /// Which one stands longest where it stands, and why; what keeps most where none has said.
    pub(crate) fn slowest(&self, now: SystemTime) -> String {
        match &self.slowest {
            Some(Slowest { since, name, keeps }) => {
                format!("{name} for {}: {keeps}", age::since(since, now))
            }
            None => self.worst(),
        }
    }

    /// What keeps the others, then what can be done for them.
    pub(crate) fn told(&self) -> String {
        let mut lines = self.reasons();
        lines.extend(self.advice.values().cloned());
        lines.join("\n")
    }

    /// What keeps the others, that which keeps most of them first.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<(&String, &Vec<String>)> = self.open.iter().collect();
        reasons.sort_by_key(|(_, names)| Reverse(names.len()));
        let line = |(reason, names): (&String, &Vec<String>)| {
            let set = nodeset::fold(names.iter().map(String::as_str));
            format!("{set}: {reason}")
        };
        reasons.into_iter().map(line).collect()
    }
}

fn rests(node: &ObjectView) -> bool {
    node.status.as_ref().is_some_and(|status| {
        status.revision >= node.revision && RESTING.contains(&status.phase.as_str())
    })
}

/// The slower one of a node and the slowest so far.
fn slower(slowest: Option<Slowest>, node: &ObjectView) -> Option<Slowest> {
    let status = node.status.as_ref();
    let this = status.map(|status| Slowest {
        since: status.since.clone(),
        name: node.name.clone(),
        keeps: keeps(node),
    });
    slowest.into_iter().chain(this).min()
}

/// What keeps a node, in a word, and what can be done about it.
fn advice(node: &ObjectView) -> (&'static str, String) {
    let name = &node.name;
    let phase = node.status.as_ref().map(|status| status.phase.as_str());
    match (phase, &node.frozen) {
        (Some("Frozen"), Some(frozen)) => {
            let which = match frozen.scope.as_str() {
                "all" => "--all".to_owned(),
                scope if scope == name => scope.to_owned(),
                scope => format!("@{scope}"),
            };
            ("frozen", format!("to let it go on: kraken thaw {which}"))
        }
        (Some("Quarantined"), _) => {
            ("quarantined", format!("once its cause is mended: kraken retry {name}"))
        }
        (None, _) => {
            ("unattached", format!("start its agent; see who is attached: kraken get nodes {name}"))
        }
        (Some(_), _) => {
            ("waiting", format!("what it waits for, and who must act: kraken why {name}"))
        }
    }
}

/// What keeps a node from being where it is asked to be.
fn keeps(node: &ObjectView) -> String {
    let Some(status) = &node.status else {
        return "it was never attached, so nobody decides for it".to_owned();
    };
    if status.revision < node.revision && status.phase == "Converged" {
        let link = if is_attached(node) { "" } else { "; it is not attached" };
        return format!("it has not seen the last change yet{link}");
    }
    let why = status.last_error.as_ref().or(status.waits_for.as_ref()).or(status.reason.as_ref());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let step = status.step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
    format!("{}{step}{why}", status.phase)
}
