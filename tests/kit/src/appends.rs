//! Appends, checked by what is there in the end: each adds an item of its own to a set, beside
//! others that do so at the same time, so that one that was lost is missing and one that was
//! refused and carried out all the same is too much.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use crate::serial::Fate;

/// One append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The set.
    pub set: String,
    /// The item; no two appends of a run add the same.
    pub item: String,
    /// What became of it.
    pub fate: Fate,
}

/// What was found in each set.
pub type Sets = BTreeMap<String, BTreeSet<String>>;

/// Holds what is found against what was answered; returns how many appends had been.
pub fn check(appends: &[Append], found: &Sets) -> Result<usize> {
    let is_there = |set: &str, item: &str| found.get(set).is_some_and(|set| set.contains(item));
    let (mut known, mut answered) = (BTreeSet::new(), 0);
    for append in appends {
        let Append { set, item, fate } = append;
        known.insert((set.as_str(), item.as_str()));
        match fate {
            Fate::Written(revision) => {
                answered += 1;
                ensure!(
                    is_there(set, item),
                    "{item} was added to {set} at revision {revision}, and is not there"
                );
            }
            Fate::Refused | Fate::Unsent => {
                ensure!(!is_there(set, item), "{item} was not to be added to {set}, and is there");
            }
            Fate::Unknown => {}
        }
    }
    for (set, items) in found {
        let stranger = items.iter().find(|item| !known.contains(&(set.as_str(), item.as_str())));
        ensure!(stranger.is_none(), "{stranger:?} is in {set}, and nobody added it");
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(item: &str, fate: Fate) -> Append {
        Append { set: "s".to_owned(), item: item.to_owned(), fate }
    }

    fn found(items: &[&str]) -> Sets {
        [("s".to_owned(), items.iter().map(|item| (*item).to_owned()).collect())].into()
    }

    #[test]
    fn all_that_was_answered_and_some_of_the_unknown_is_there() {
        let appends = [
            append("a", Fate::Written(1)),
            append("b", Fate::Written(2)),
            append("c", Fate::Unknown),
            append("d", Fate::Refused),
        ];
        for there in [&["a", "b"][..], &["a", "b", "c"]] {
            assert_eq!(check(&appends, &found(there)).unwrap(), 2);
        }
        for (there, expected) in [
            (&["a", "c"][..], "b was added to s at revision 2, and is not there"),
            (&["a", "b", "d"], "d was not to be added"),
            (&["a", "b", "e"], "nobody added it"),
        ] {
            let told = check(&appends, &found(there)).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
        assert!(check(&appends, &Sets::new()).is_err());
    }
}
