//! Invariant 3: attempts of one object do not overlap, and none starts twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Trace, What};
use crate::{
    id::{AttemptId, Name, Uid},
    mutation::Lane,
    time::Millis,
};

/// One attempt that runs, until a moment at the latest.
struct Running<'a> {
    uid: Uid,
    node: &'a Name,
    lane: Lane,
    reign: u64,
    disruptive: bool,
    until: Millis,
    /// Whether no way leads to it any more.
    lost: bool,
}

/// Invariant 3: at most one attempt runs of an object and lane in one term of a leader or one life
/// of a node, but for those to which no way leads any more; at most one that disrupts an object at
/// all; and none starts again, or acts when it is over.
pub fn attempts_run_one_at_a_time(trace: &Trace) -> Result<(), Broken<'_>> {
    let mut started = BTreeSet::new();
    let mut running: BTreeMap<&AttemptId, Running<'_>> = BTreeMap::new();
    for entry in trace.entries() {
        if let What::Ended(attempt) = &entry.what {
            running.remove(attempt);
        }
        if let What::Lost(attempt) = &entry.what
            && let Some(runs) = running.get_mut(attempt)
        {
            runs.lost = true;
        }
        if let What::Acted(attempt) = &entry.what
            && running.get(attempt).is_none_or(|runs| runs.until <= entry.at)
        {
            return Err(Broken(entry, format!("{attempt} acts and does not run")));
        }
        let What::Started { attempt, uid, lane, reign, disruptive, until } = &entry.what else {
            continue;
        };
        if !started.insert(attempt) {
            return Err(Broken(entry, format!("{attempt} starts twice")));
        }
        let clash = running.iter().find(|(_, other)| {
            // Lives are counted by each node for itself.
            let one_decider = *lane == Lane::Quorum || *other.node == entry.node;
            let same = one_decider && (other.lane, other.reign) == (*lane, *reign) && !other.lost;
            let disrupts = other.disruptive && *disruptive;
            other.uid == *uid && other.until > entry.at && (same || disrupts)
        });
        if let Some((other, _)) = clash {
            return Err(Broken(entry, format!("{attempt} starts while {other} runs")));
        }
        let runs = Running {
            uid: *uid,
            node: &entry.node,
            lane: *lane,
            reign: *reign,
            disruptive: *disruptive,
            until: *until,
            lost: false,
        };
        running.insert(attempt, runs);
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
            What::Acted(attempt(2)),
            What::Ended(attempt(1)),
            started(4, 1, Itself, false),
            started(7, 4, Quorum, false),
            What::Lost(attempt(7)),
            started(8, 4, Quorum, false),
            What::Lost(attempt(3)),
            in_reign(2, started(6, 1, Quorum, false)),
        ];
        let wrongs = [
            started(1, 3, Itself, false),
            started(5, 1, Itself, false),
            started(5, 1, Quorum, true),
            in_reign(3, started(5, 1, Quorum, true)),
            started(9, 4, Quorum, false),
            started(9, 2, Quorum, true),
            What::Acted(attempt(1)),
        ];
        for wrong in wrongs {
            check("attempts_run_one_at_a_time", right.clone(), wrong);
        }
    }
}
