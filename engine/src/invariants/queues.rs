//! Invariant 8: every queue has a bound.

use super::{Broken, Trace, What};

/// 8. No queue holds more than it may.
pub fn queues_hold_their_bounds(trace: &Trace) -> Result<(), Broken<'_>> {
    for entry in trace.entries() {
        if let What::Queued { queue, held, most } = &entry.what
            && held > most
        {
            return Err(Broken(entry, format!("{queue} holds {held} of {most}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn a_queue_past_its_bound_is_found() {
        let queued = |held| What::Queued { queue: "events", held, most: 5 };
        check("queues_hold_their_bounds", vec![queued(5)], queued(6));
    }
}
