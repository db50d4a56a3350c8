//! Which nodes a verb means, as people who run clusters write it: `n1`, `n[1-64,70]`, `@rack=r1`.

use std::{fmt, str::FromStr};

use kraken_engine::{id::Name, nodeset, selector::Selector};

/// Nodes by name or by label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nodes {
    /// These.
    Names(Vec<Name>),
    /// Those whose labels match.
    Selector(Selector),
}

/// A text that does not say which nodes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotNodes {
    /// It is no node set.
    #[error(transparent)]
    Set(#[from] nodeset::InvalidNodeSet),
    /// What follows the `@` is no selector.
    #[error(transparent)]
    Selector(#[from] kraken_engine::selector::InvalidSelector),
}

impl FromStr for Nodes {
    type Err = NotNodes;

    fn from_str(text: &str) -> Result<Self, NotNodes> {
        match text.strip_prefix('@') {
            Some(selector) => Ok(Self::Selector(selector.parse()?)),
            None => Ok(Self::Names(nodeset::expand(text)?)),
        }
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(names) => f.write_str(&nodeset::fold(names.iter().map(Name::as_str))),
            Self::Selector(selector) => write!(f, "@{selector}"),
        }
    }
}

impl Nodes {
    /// How many were asked for by name; `None` where by label.
    pub(crate) fn named(&self) -> Option<usize> {
        match self {
            Self::Names(names) => Some(names.len()),
            Self::Selector(_) => None,
        }
    }

    /// Of the names that were asked for, those that `there` does not hold.
    pub(crate) fn missing<'a>(&self, there: impl IntoIterator<Item = &'a str>) -> Vec<&Name> {
        let there: std::collections::BTreeSet<&str> = there.into_iter().collect();
        match self {
            Self::Names(names) => {
                names.iter().filter(|name| !there.contains(name.as_str())).collect()
            }
            Self::Selector(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_selectors_are_told_apart_and_kept_short() {
        for (text, expected) in [
            ("n1", "n1"),
            ("n[1-3],n4,gw", "gw,n[1-4]"),
            ("@rack=r1,role!=gw", "@rack=r1,role!=gw"),
        ] {
            assert_eq!(text.parse::<Nodes>().unwrap().to_string(), expected);
        }
        assert!("n[1".parse::<Nodes>().is_err());
        assert!("@=r1".parse::<Nodes>().is_err());
    }

    #[test]
    fn names_that_are_not_there_are_found() {
        let nodes: Nodes = "n[1-3]".parse().unwrap();
        let missing: Vec<&str> = nodes.missing(["n1", "n3"]).iter().map(|n| n.as_str()).collect();
        assert_eq!(missing, ["n2"]);
        assert!("@rack".parse::<Nodes>().unwrap().missing([]).is_empty());
    }
}
