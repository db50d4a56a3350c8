//! Invariant 2: nothing is dispatched whose requirements do not hold in what was decided from.

use super::{Broken, Dispatched, Trace, What};

/// 2. What a dispatch requires holds in the Dsc from which it was decided.
pub fn dispatches_are_justified(trace: &Trace) -> Result<(), Broken<'_>> {
    for entry in trace.entries() {
        let What::Dispatched(dispatched) = &entry.what else { continue };
        let Dispatched { attempt, unmet, disruptive, intended, .. } = dispatched;
        if let Some(unmet) = unmet {
            return Err(Broken(entry, format!("{attempt} requires what does not hold: {unmet}")));
        }
        if *disruptive && !intended {
            return Err(Broken(entry, format!("{attempt} disrupts without an open intent")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;

    #[test]
    fn an_unjustified_dispatch_is_found() {
        let right = vec![
            dispatched(|_| {}),
            dispatched(|d| {
                d.disruptive = true;
                d.intended = true;
            }),
        ];
        let unmet = dispatched(|d| d.unmet = Some("/power = ON".to_owned()));
        check("dispatches_are_justified", right.clone(), unmet);
        check("dispatches_are_justified", right, dispatched(|d| d.disruptive = true));
    }
}
