//! Invariant 5: the same question has the same plan, everywhere.

use std::collections::BTreeMap;

use super::{Broken, Trace, What};

/// 5. The same question has the same plan, whoever asks it, and whatever was asked before.
pub fn plans_are_the_same_everywhere(trace: &Trace) -> Result<(), Broken<'_>> {
    let mut known: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in trace.entries() {
        if let What::Planned { question, plan } = &entry.what
            && known.insert(*question, *plan).is_some_and(|before| before != *plan)
        {
            return Err(Broken(entry, format!("question {question:x} has two answers")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn two_plans_for_one_question_are_found() {
        let planned = |question, plan| What::Planned { question, plan };
        let right = vec![planned(1, 1), planned(2, 1), planned(1, 1)];
        check("plans_are_the_same_everywhere", right, planned(1, 2));
    }
}
