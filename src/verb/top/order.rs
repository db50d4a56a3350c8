//! In which order nodes are shown, and which of them.

use std::{cmp::Ordering, collections::BTreeSet};

use kraken_engine::{id::Name, object::Labels, selector::Selector};
use kraken_http::view::{ObjectView, StatusView};

use crate::{natural::natural, nodes::Nodes};

/// By what nodes are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// By the attention that they need, most first.
    #[default]
    Attention,
    /// By name, numbers by their value.
    Name,
    /// By how long they stand where they stand, longest first.
    Since,
    /// By the step that they are at.
    Step,
}

impl Sort {
    /// The one after it, round and round.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Attention => Self::Name,
            Self::Name => Self::Since,
            Self::Since => Self::Step,
            Self::Step => Self::Attention,
        }
    }

    /// In a word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Name => "name",
            Self::Since => "since",
            Self::Step => "step",
        }
    }

    /// How two nodes stand to each other; by name where they do not differ.
    pub(super) fn compare(self, one: &ObjectView, other: &ObjectView) -> Ordering {
        let by = match self {
            Self::Attention => rank(one).cmp(&rank(other)),
            Self::Name => Ordering::Equal,
            // What has no status stands there from the beginning.
            Self::Since => since(one).cmp(&since(other)),
            Self::Step => step(one).cmp(&step(other)),
        };
        by.then_with(|| natural(&one.name, &other.name))
    }
}

fn since(node: &ObjectView) -> Option<&str> {
    node.status.as_ref().map(|status| status.since.as_str())
}

/// Those that are at a step before those that are not.
fn step(node: &ObjectView) -> (bool, Option<&str>) {
    let step = node.status.as_ref().and_then(|status| status.step.as_deref());
    (step.is_none(), step)
}

/// The less, the more a person should look at it.
fn rank(node: &ObjectView) -> u8 {
    match phase(node) {
        "Quarantined" => 0,
        "Stuck" => 1,
        "BackingOff" => 2,
        "" => 3,
        "Frozen" => 5,
        "Converged" => 6,
        _ => 4,
    }
}

/// The phase of a node; empty while nobody decides for it.
pub(super) fn phase(node: &ObjectView) -> &str {
    node.status.as_ref().map_or("", |status| status.phase.as_str())
}

/// Why a node stands where it stands: the error before what it waits for.
pub(super) fn reason(status: &StatusView) -> &str {
    let why = status.last_error.as_ref().or(status.reason.as_ref()).or(status.waits_for.as_ref());
    why.map_or("", String::as_str)
}

/// What is searched for: a text, and the nodes that it names, if it is a node set, or if it is a
/// selector with or without its `@`.
pub(super) struct Search {
    text: String,
    names: BTreeSet<Name>,
    selector: Option<Selector>,
}

impl Search {
    /// As it was typed so far.
    pub(super) fn of(typed: &str) -> Self {
        let (names, mut selector) = match typed.parse() {
            Ok(Nodes::Names(names)) => (names.into_iter().collect(), None),
            Ok(Nodes::Selector(selector)) => (BTreeSet::new(), Some(selector)),
            Err(_) => (BTreeSet::new(), None),
        };
        if typed.contains('=') && selector.is_none() {
            selector = typed.parse().ok();
        }
        Self { text: typed.to_lowercase(), names, selector }
    }

    /// Whether it finds a node: it names it, or is in what is shown of it, or in a label; capitals
    /// make no difference there.
    pub(super) fn finds(&self, node: &ObjectView) -> bool {
        let named = |name| self.names.contains(&name);
        is_found(node, &self.text)
            || Name::new(&node.name).is_ok_and(named)
            || self.selector.as_ref().is_some_and(|selector| selector.matches(&labels(node)))
    }
}

fn labels(node: &ObjectView) -> Labels {
    let label = |(label, value): (&String, &String)| Some((Name::new(label).ok()?, value.clone()));
    node.labels.iter().filter_map(label).collect()
}

fn is_found(node: &ObjectView, text: &str) -> bool {
    let status = node.status.iter().flat_map(|status| {
        [status.phase.as_str(), status.step.as_deref().unwrap_or_default(), reason(status)]
    });
    let shown = std::iter::once(node.name.as_str()).chain(status);
    shown.chain([crate::fleet::link(node)]).any(|shown| shown.to_lowercase().contains(text))
        || node
            .labels
            .iter()
            .any(|(label, value)| format!("{label}={value}").to_lowercase().contains(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn node_sets_and_labels_are_searched_for_as_everywhere() {
        let node = |name: &str, rack: &str| -> ObjectView {
            serde_json::from_value(json!({
                "kind": "node", "name": name, "uid": "u", "revision": 1,
                "labels": { "rack": rack, "role": "web" },
            }))
            .unwrap()
        };
        let nodes = [node("n1", "r1"), node("n2", "r2"), node("n10", "r1"), node("gw", "r2")];
        for (typed, expected) in [
            ("", vec!["n1", "n2", "n10", "gw"]),
            ("n1", vec!["n1", "n10"]),
            ("N1", vec!["n1", "n10"]),
            ("n[1-2]", vec!["n1", "n2"]),
            ("n[1-2],gw", vec!["n1", "n2", "gw"]),
            ("n[1", vec![]),
            ("@rack=r1", vec!["n1", "n10"]),
            ("@rack=r1,role=web", vec!["n1", "n10"]),
            ("rack!=r1,role=web", vec!["n2", "gw"]),
            ("ack=r2", vec!["n2", "gw"]),
        ] {
            let search = Search::of(typed);
            let found = nodes.iter().filter(|node| search.finds(node));
            let found: Vec<&str> = found.map(|node| node.name.as_str()).collect();
            assert_eq!(found, expected, "{typed}");
        }
    }
}
