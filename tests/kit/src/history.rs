//! What was answered to writers, held against what is read later.
//!
//! A writer counts up a register of its own, each write under the precondition that the register is
//! as the writer left it. Nobody else writes there, so that a write that was lost shows as a gap,
//! and one that was carried out twice as a refusal of the second or as a revision that nobody was
//! told.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// All writes whose outcome is known, of all writers.
#[derive(Debug, Default)]
pub struct History {
    registers: BTreeMap<String, Vec<Write>>,
}

/// A value and the revision at which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write {
    /// The count that was written.
    pub value: u64,
    /// The revision that was answered.
    pub revision: u64,
}

impl History {
    /// Adds a write that was answered with success.
    pub fn add(&mut self, register: &str, write: Write) {
        self.registers.entry(register.to_owned()).or_default().push(write);
    }

    /// Adds all of another history.
    pub fn extend(&mut self, other: Self) {
        for (register, writes) in other.registers {
            self.registers.entry(register).or_default().extend(writes);
        }
    }

    /// How many writes were answered.
    pub fn len(&self) -> usize {
        self.registers.values().map(Vec::len).sum()
    }

    /// The revision of the last of them; 0 where there is none.
    pub fn last_revision(&self) -> u64 {
        self.registers.values().flatten().map(|write| write.revision).max().unwrap_or_default()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds the registers as they are read now against what was answered.
    pub fn check(&self, found: &BTreeMap<String, Write>) -> Result<()> {
        let mut given: BTreeMap<u64, &str> = BTreeMap::new();
        for (register, writes) in &self.registers {
            for (write, expected) in writes.iter().zip(1..) {
                let Write { value, revision } = *write;
                ensure!(
                    value == expected,
                    "{register}: {value} was answered where {expected} is next"
                );
                let other = given.insert(revision, register);
                ensure!(
                    other.is_none(),
                    "revision {revision} was answered to {register} and to {other:?}"
                );
            }
            let forward = writes.is_sorted_by_key(|write| write.revision);
            ensure!(forward, "{register}: revisions went back: {writes:?}");
            let (last, read) = (writes.last(), found.get(register));
            ensure!(read == last, "{register}: {last:?} was answered, {read:?} is read");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(writes: &[(&str, u64, u64)]) -> History {
        let mut history = History::default();
        for (register, value, revision) in writes {
            history.add(register, Write { value: *value, revision: *revision });
        }
        history
    }

    #[test]
    fn what_was_answered_and_is_read_passes() {
        let history = history(&[("a", 1, 5), ("b", 1, 6), ("a", 2, 9)]);
        let found = [
            ("a".to_owned(), Write { value: 2, revision: 9 }),
            ("b".to_owned(), Write { value: 1, revision: 6 }),
        ];
        history.check(&found.into()).unwrap();
        assert_eq!(history.len(), 3);
    }

    #[test]
    fn lost_doubled_and_strange_writes_are_found() {
        let answered = [("a", 1, 5), ("a", 2, 7)];
        for (writes, found, expected) in [
            (&answered[..], Some((1, 5)), "is read"),
            (&answered[..], None, "None is read"),
            (&answered[..], Some((2, 8)), "revision: 8"),
            (&[("a", 1, 5), ("a", 3, 7)][..], Some((3, 7)), "3 was answered where 2 is next"),
            (&[("a", 1, 5), ("b", 1, 5)][..], Some((1, 5)), "revision 5 was answered to b"),
            (&[("a", 1, 5), ("a", 2, 4)][..], Some((2, 4)), "revisions went back"),
        ] {
            let found = found.map(|(value, revision)| ("a".to_owned(), Write { value, revision }));
            let told = history(writes).check(&found.into_iter().collect()).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
    }
}
