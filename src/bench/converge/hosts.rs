//! What began at the hosts, as the simulated machines have recorded it: the proof that nothing was
//! begun twice.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;

use crate::exit::Failure;

/// The mutations of simulated machines that interrupt what runs there.
const DISRUPTIVE: [&str; 3] = ["PowerOff", "PowerCycle", "Reset"];

/// What began at the hosts, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Begun {
    /// Attempts that began.
    pub(super) attempts: usize,
    /// Those of disruptive mutations.
    pub(super) disruptive: usize,
    /// Attempt ids that began more than once.
    pub(super) twice: usize,
    /// Machines on which the same disruptive mutation began more than once.
    pub(super) repeated: usize,
}

impl Begun {
    /// Counts the lines of a record: attempt, mutation, machine.
    pub(super) fn read(record: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(record).context("cannot read what began at the hosts")?;
        Ok(Self::of(&text))
    }

    fn of(text: &str) -> Self {
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        let mut disruptions: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (id, mutation) = (words.next().unwrap_or_default(), words.next());
            *ids.entry(id).or_default() += 1;
            if let (Some(mutation), Some(machine)) = (mutation, words.next())
                && DISRUPTIVE.contains(&mutation)
            {
                *disruptions.entry((machine, mutation)).or_default() += 1;
            }
        }
        Self {
            attempts: ids.values().sum(),
            disruptive: disruptions.values().sum(),
            twice: ids.values().filter(|count| **count > 1).count(),
            repeated: disruptions.values().filter(|count| **count > 1).count(),
        }
    }

    /// Adds what began in another run.
    pub(super) fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.disruptive += other.disruptive;
        self.twice += other.twice;
        self.repeated += other.repeated;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_twice_is_found() {
        let text = "a1 PowerOn b1\na2 Reset b2\na3 Boot b1\na3 Boot b1\na4 Reset b2\na5 Reset b3\n";
        let expected = Begun { attempts: 6, disruptive: 3, twice: 1, repeated: 1 };
        assert_eq!(Begun::of(text), expected);
    }
}
