//! In which order nodes are shown, and which of them.

use std::cmp::Ordering;

use kraken_http::view::{ObjectView, StatusView};

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

/// Whether a text is in what is shown of a node, or in a label; capitals make no difference.
pub(super) fn is_found(node: &ObjectView, text: &str) -> bool {
    let text = text.to_lowercase();
    let status = node.status.iter().flat_map(|status| {
        [status.phase.as_str(), status.step.as_deref().unwrap_or_default(), reason(status)]
    });
    let shown = std::iter::once(node.name.as_str()).chain(status);
    shown.chain([crate::fleet::link(node)]).any(|shown| shown.to_lowercase().contains(&text))
        || node
            .labels
            .iter()
            .any(|(label, value)| format!("{label}={value}").to_lowercase().contains(&text))
}

/// Names as people order them: `n2` before `n10`.
pub(super) fn natural(one: &str, other: &str) -> Ordering {
    parts(one).cmp(parts(other)).then_with(|| one.cmp(other))
}

/// A name in turns of what is no number and of a number, which longer ones are greater than.
fn parts(name: &str) -> impl Iterator<Item = (&str, usize, &str)> {
    let mut rest = name;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let word = rest.find(|char: char| char.is_ascii_digit()).unwrap_or(rest.len());
        let (before, after) = rest.split_at(word);
        let end = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
        let (number, left) = after.split_at(end);
        rest = left;
        let number = number.trim_start_matches('0');
        Some((before, number.len(), number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_their_value() {
        let mut names = ["n10", "n2", "m1", "n2-a", "n02", "gw", "n18446744073709551617", "n"];
        names.sort_by(|one, other| natural(one, other));
        assert_eq!(names, ["gw", "m1", "n", "n02", "n2", "n2-a", "n10", "n18446744073709551617"]);
    }
}
