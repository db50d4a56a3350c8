//! Invariant 3: attempts of one object do not overlap, and none starts twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Trace, What};
use crate::{
    id::{AttemptId, Uid},
    mutation::Lane,
};

/// 3. At most one attempt runs an object and lane, one that disrupts an object, and none again.
pub fn attempts_run_one_at_a_time(trace: &Trace) -> Result<(), Broken<'_>> {
    let mut started = BTreeSet::new();
    let mut running: BTreeMap<&AttemptId, (Uid, Lane, bool)> = BTreeMap::new();
    for entry in trace.entries() {
        if let What::Ended(attempt) = &entry.what {
            running.remove(attempt);
        }
        let What::Started { attempt, uid, lane, disruptive } = &entry.what else { continue };
        if !started.insert(attempt) {
            return Err(Broken(entry, format!("{attempt} starts twice")));
        }
        let clash = running.iter().find(|(_, (other, in_lane, disrupts))| {
            other == uid && (in_lane == lane || (*disrupts && *disruptive))
        });
        if let Some((other, _)) = clash {
            return Err(Broken(entry, format!("{attempt} starts while {other} runs")));
        }
        running.insert(attempt, (*uid, *lane, *disruptive));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn attempts_that_overlap_or_start_twice_are_found() {
        use Lane::{Itself, Quorum};
        let right = vec![
            started(1, 1, Itself, false),
            started(2, 1, Quorum, true),
            started(3, 2, Quorum, true),
            What::Ended(attempt(1)),
            started(4, 1, Itself, false),
        ];
        let wrongs = [
            started(1, 3, Itself, false),
            started(5, 1, Itself, false),
            started(5, 1, Quorum, true),
        ];
        for wrong in wrongs {
            check("attempts_run_one_at_a_time", right.clone(), wrong);
        }
    }
}
