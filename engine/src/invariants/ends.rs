//! Invariant 9: when faults have stopped, every object ends somewhere, with a reason.

use super::{Broken, Trace, What};

/// 9. Every object ends somewhere, and where that is not its goal, says why, or for what it waits.
pub fn objects_settle(trace: &Trace) -> Result<(), Broken<'_>> {
    use crate::status::PhaseName as Phase;
    for entry in trace.entries() {
        let What::Settled { uid, status, reached } = &entry.what else { continue };
        let Some(status) = status else {
            return Err(Broken(entry, format!("nobody says where {uid} stands")));
        };
        let explained = status.reason.is_some() || status.waits_for.is_some();
        match status.phase {
            Phase::Converged if *reached => {}
            Phase::Converged => {
                return Err(Broken(entry, format!("{uid} is said to be converged and is not")));
            }
            Phase::InFlight => {
                return Err(Broken(entry, format!("{uid} is still on its way: {status:?}")));
            }
            Phase::Waiting
            | Phase::BackingOff
            | Phase::Stuck
            | Phase::Quarantined
            | Phase::Frozen
                if explained => {}
            Phase::Waiting
            | Phase::BackingOff
            | Phase::Stuck
            | Phase::Quarantined
            | Phase::Frozen => {
                return Err(Broken(entry, format!("{uid} is {} without a reason", status.phase)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn an_object_that_does_not_settle_or_does_not_say_why_is_found() {
        let right = vec![
            settled(PhaseName::Converged, None),
            settled(PhaseName::Quarantined, Some("it failed")),
        ];
        let nobody = What::Settled { uid: uid(1), status: None, reached: true };
        let mut untrue = settled(PhaseName::Converged, None);
        if let What::Settled { reached, .. } = &mut untrue {
            *reached = false;
        }
        for wrong in
            [nobody, untrue, settled(PhaseName::InFlight, None), settled(PhaseName::Stuck, None)]
        {
            check("objects_settle", right.clone(), wrong);
        }
    }
}
