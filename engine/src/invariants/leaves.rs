//! Invariant 7: Cfg at a leaf is always of some revision, and never goes back.

use std::collections::BTreeMap;

use super::{Broken, Trace, What};
use crate::id::{Name, Revision};

/// 7. What a leaf holds is its own Cfg as of the revision that it names, and that never goes back.
pub fn leaves_hold_their_cfg(trace: &Trace) -> Result<(), Broken<'_>> {
    let mut written: BTreeMap<&Name, BTreeMap<Revision, Option<u64>>> = BTreeMap::new();
    let mut held: BTreeMap<&Name, Revision> = BTreeMap::new();
    for entry in trace.entries() {
        if let What::Written { revision, of, digest } = &entry.what {
            written.entry(of).or_default().insert(*revision, *digest);
        }
        let What::Holds { revision, digest } = &entry.what else { continue };
        let before = held.insert(&entry.node, *revision).unwrap_or_default();
        if before > *revision {
            return Err(Broken(entry, format!("{revision} is held after {before}")));
        }
        let then = written.get(&entry.node).and_then(|w| w.range(..=*revision).next_back());
        if then.and_then(|(_, digest)| *digest) != *digest {
            return Err(Broken(entry, format!("what is held was not so at {revision}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn cfg_of_no_revision_and_cfg_that_goes_back_are_found() {
        let right = vec![
            What::Holds { revision: revision(1), digest: None },
            written("n1", 2, 22),
            written("n2", 3, 33),
            holds(3, 22),
            written("n1", 4, 44),
            holds(5, 44),
        ];
        check("leaves_hold_their_cfg", right.clone(), holds(3, 22));
        check("leaves_hold_their_cfg", right.clone(), holds(6, 22));
        let nothing = What::Holds { revision: revision(6), digest: None };
        check("leaves_hold_their_cfg", right, nothing);
    }
}
