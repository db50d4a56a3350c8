//! Invariant 1: an acknowledged write is never lost, and reads never go back.

use std::collections::BTreeMap;

use super::{Broken, Trace, What};
use crate::id::Revision;

/// Invariant 1: whoever reads after a write was acknowledged reads it, and no read goes back; who
/// has applied the same entries holds the same.
pub fn acknowledged_writes_stay(trace: &Trace) -> Result<(), Broken<'_>> {
    let mut least = Revision::default();
    let mut states: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in trace.entries() {
        if let What::Acknowledged(revision) = &entry.what {
            least = least.max(*revision);
        }
        if let What::Read(revision) = &entry.what {
            if *revision < least {
                return Err(Broken(entry, format!("{revision} is read after {least}")));
            }
            least = *revision;
        }
        if let What::Applied { entries, digest } = &entry.what
            && states.insert(*entries, *digest).is_some_and(|before| before != *digest)
        {
            return Err(Broken(entry, format!("{entries} entries make two states")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn a_lost_write_and_a_read_that_goes_back_are_found() {
        let acknowledged = What::Acknowledged(revision(5));
        let right = vec![What::Read(revision(4)), acknowledged, What::Read(revision(5))];
        check("acknowledged_writes_stay", right[..2].to_vec(), What::Read(revision(4)));
        check("acknowledged_writes_stay", right, What::Read(revision(4)));
        let applied = |digest| What::Applied { entries: 7, digest };
        check("acknowledged_writes_stay", vec![applied(1), applied(1)], applied(2));
    }
}
