//! Invariant 6: replicas of Dsc that have seen the same are equal, whatever the order.

use std::collections::BTreeMap;

use super::{Broken, Trace, What};
use crate::id::{Name, Uid};

/// 6. With nothing on its way, all that hold what a writer wrote of an object hold the same.
///
/// What members only remember from earlier lives is left out: it is stale, and told to nobody.
pub fn replicas_agree(trace: &Trace) -> Result<(), Broken<'_>> {
    let mut known: BTreeMap<(Uid, &Name), (&Name, u64)> = BTreeMap::new();
    for entry in trace.entries() {
        if let What::Replica { uid, writer, digest } = &entry.what {
            let (other, held) = *known.entry((*uid, writer)).or_insert((&entry.node, *digest));
            if held != *digest {
                let why = format!("of {uid} it knows otherwise than {other} what {writer} wrote");
                return Err(Broken(entry, why));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;

    #[test]
    fn replicas_that_differ_are_found() {
        check("replicas_agree", vec![replica(1), replica(1)], replica(2));
    }
}
