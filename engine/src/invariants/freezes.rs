//! Invariant 4: a frozen object is left alone.

use super::{Broken, Dispatched, Trace, What};

/// 4. For an object that is frozen in the decider's Cfg nothing is dispatched and nothing presumed.
pub fn frozen_objects_are_left_alone(trace: &Trace) -> Result<(), Broken<'_>> {
    for entry in trace.entries() {
        if let What::Dispatched(Dispatched { attempt, frozen: true, .. }) = &entry.what {
            return Err(Broken(entry, format!("{attempt} is dispatched for a frozen object")));
        }
        if let What::Presumed { uid, frozen: true } = &entry.what {
            return Err(Broken(entry, format!("something is presumed of {uid}, frozen")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn a_frozen_object_that_is_not_left_alone_is_found() {
        let right = vec![dispatched(|_| {}), What::Presumed { uid: uid(1), frozen: false }];
        let invariant = "frozen_objects_are_left_alone";
        check(invariant, right.clone(), dispatched(|d| d.frozen = true));
        check(invariant, right, What::Presumed { uid: uid(1), frozen: true });
    }
}
