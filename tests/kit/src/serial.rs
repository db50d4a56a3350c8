//! Linearizability, checked by the revisions that are answered.
//!
//! Every write is answered with the revision that it has, every read with the revision at which it
//! was read, so that the order in which operations are said to have happened is known and need not
//! be searched for. What is checked is that this order explains all answers: that it agrees with
//! real time (what had been answered before something was asked comes before it), that each read
//! shows the last write at or before its revision, that a compare-and-set replaced just what it
//! compared with, and that a watch tells each write once and in order. If all of it holds, the
//! order is a linearization (Herlihy and Wing, 1990), of all keys together.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use anyhow::{Context as _, Result, bail, ensure};

/// One thing that a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Who asked.
    pub client: usize,
    /// When it was asked, in nanoseconds of one clock of all clients.
    pub asked: u64,
    /// When it was answered; `None` where no answer came.
    pub answered: Option<u64>,
    /// The key.
    pub key: String,
    /// What was asked and answered.
    pub what: What,
}

/// What was asked and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A value was written.
    Write {
        /// The value; no two writes of a run write the same.
        value: String,
        /// For a compare-and-set: the revision that was to be replaced.
        over: Option<u64>,
        /// The revision that was answered; `None` where nobody knows whether it was written.
        revision: Option<u64>,
    },
    /// The key was read.
    Read {
        /// What it held, and since which revision; `None` where it was not there.
        found: Option<(String, u64)>,
        /// The revision at which it was read.
        revision: u64,
    },
}

/// What one watch told without a break: everything between two revisions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Who told.
    pub by: String,
    /// Writes after this revision are told.
    pub after: u64,
    /// Writes up to this revision have been told.
    pub upto: u64,
    /// Revision, key and value, in the order in which they came.
    pub writes: Vec<(u64, String, String)>,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Writes that were answered.
    pub writes: usize,
    /// Writes whose outcome was not answered.
    pub unknown: usize,
    /// Of these, those that turned out to have been written.
    pub found: usize,
    /// Reads.
    pub reads: usize,
    /// Writes that were told to watchers.
    pub told: usize,
}

/// Everything that is known to have been written: key to revision to value.
type Written = BTreeMap<String, BTreeMap<u64, String>>;

/// Keys and values of which nobody knows whether they were written.
type Unknown = BTreeSet<(String, String)>;

/// Checks everything that clients and watchers were told.
pub fn check(ops: &[Op], told: &[Told]) -> Result<Checked> {
    let mut checked = Checked::default();
    let (mut written, unknown) = answered(ops, &mut checked)?;
    for (key, value, revision) in shown(ops, told) {
        let known = written.entry(key.clone()).or_default();
        if let Some(held) = known.get(&revision) {
            ensure!(
                *held == value,
                "{key}: {value} is shown for revision {revision}, at which {held} was written"
            );
            continue;
        }
        ensure!(
            unknown.contains(&(key.clone(), value.clone())),
            "{key}: {value} of revision {revision} is shown, and nobody wrote it then"
        );
        known.insert(revision, value);
        checked.found += 1;
    }
    check_once(&written)?;
    check_reads(ops, &written, &mut checked)?;
    check_compared(ops, &written)?;
    check_real_time(ops)?;
    for told in told {
        check_told(told, &written).with_context(|| format!("the watch of {}", told.by))?;
        checked.told += told.writes.len();
    }
    Ok(checked)
}

/// What was answered to have been written, and what may have been.
fn answered(ops: &[Op], checked: &mut Checked) -> Result<(Written, Unknown)> {
    let (mut written, mut unknown) = (Written::new(), Unknown::new());
    for op in ops {
        let What::Write { value, revision, .. } = &op.what else { continue };
        match revision {
            None => {
                checked.unknown += 1;
                unknown.insert((op.key.clone(), value.clone()));
            }
            Some(revision) => {
                checked.writes += 1;
                let known = written.entry(op.key.clone()).or_default();
                let other = known.insert(*revision, value.clone());
                ensure!(
                    other.is_none(),
                    "{}: revision {revision} was answered for {value} and for {other:?}",
                    op.key
                );
            }
        }
    }
    Ok((written, unknown))
}

/// Every write that a read or a watch has shown.
fn shown(ops: &[Op], told: &[Told]) -> Vec<(String, String, u64)> {
    let read = ops.iter().filter_map(|op| match &op.what {
        What::Read { found: Some((value, revision)), .. } => {
            Some((op.key.clone(), value.clone(), *revision))
        }
        What::Read { found: None, .. } | What::Write { .. } => None,
    });
    let watched = told.iter().flat_map(|told| &told.writes);
    let watched = watched.map(|(revision, key, value)| (key.clone(), value.clone(), *revision));
    read.chain(watched).collect()
}

/// No value was written twice: a repeated request is carried out once.
fn check_once(written: &Written) -> Result<()> {
    for (key, revisions) in written {
        let mut values: BTreeMap<&str, u64> = BTreeMap::new();
        for (revision, value) in revisions {
            if let Some(other) = values.insert(value, *revision) {
                bail!("{key}: {value} was written twice, at {other} and at {revision}");
            }
        }
    }
    Ok(())
}

fn check_reads(ops: &[Op], written: &Written, checked: &mut Checked) -> Result<()> {
    let none = BTreeMap::new();
    for op in ops {
        let What::Read { found, revision } = &op.what else { continue };
        checked.reads += 1;
        let writes = written.get(&op.key).unwrap_or(&none);
        let last = writes.range(..=revision).next_back();
        let last = last.map(|(revision, value)| (value.clone(), *revision));
        ensure!(
            *found == last,
            "{}: {found:?} was read at revision {revision}, where {last:?} had been written",
            op.key
        );
    }
    Ok(())
}

fn check_compared(ops: &[Op], written: &Written) -> Result<()> {
    for op in ops {
        let What::Write { value, over: Some(over), revision: Some(revision) } = &op.what else {
            continue;
        };
        let writes = written.get(&op.key).context("a write that was answered")?;
        let before = writes.range(..revision).next_back().map(|(revision, _)| *revision);
        ensure!(
            before == Some(*over),
            "{}: {value} was to replace revision {over}, and replaced {before:?}",
            op.key
        );
    }
    Ok(())
}

/// What was answered before something was asked comes before it.
fn check_real_time(ops: &[Op]) -> Result<()> {
    let at = |op: &Op| match &op.what {
        What::Write { revision, .. } => *revision,
        What::Read { revision, .. } => Some(*revision),
    };
    let mut asked: Vec<&Op> = ops.iter().filter(|op| at(op).is_some()).collect();
    asked.sort_by_key(|op| op.asked);
    let mut ended: Vec<(u64, u64)> =
        ops.iter().filter_map(|op| Some((op.answered?, at(op)?))).collect();
    ended.sort_unstable();
    let (mut ended, mut floor) = (ended.into_iter().peekable(), 0);
    for op in asked {
        while let Some((_, revision)) = ended.next_if(|(answered, _)| *answered < op.asked) {
            floor = floor.max(revision);
        }
        let revision = at(op).unwrap_or_default();
        let is_right = match op.what {
            What::Write { .. } => revision > floor,
            What::Read { .. } => revision >= floor,
        };
        ensure!(is_right, "{op:?} is of a revision before {floor}, which was answered before it");
    }
    Ok(())
}

fn check_told(told: &Told, written: &Written) -> Result<()> {
    let Told { after, upto, writes, .. } = told;
    let range = (Bound::Excluded(*after), Bound::Included(*upto.max(after)));
    let expected = written.iter().flat_map(|(key, writes)| {
        let between = writes.range::<u64, _>(range);
        between.map(|(revision, value)| (*revision, key.clone(), value.clone()))
    });
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    let forward = writes.is_sorted_by_key(|(revision, ..)| *revision);
    ensure!(forward, "revisions went back");
    let mut sorted = writes.clone();
    sorted.sort();
    for (told, expected) in sorted.iter().zip(&expected) {
        ensure!(told == expected, "{told:?} is told where {expected:?} is next");
    }
    let (found, due) = (sorted.len(), expected.len());
    ensure!(found == due, "{found} writes are told of {due} between {after} and {upto}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(asked: u64, answered: u64, value: &str, over: Option<u64>, revision: u64) -> Op {
        let what = What::Write { value: value.to_owned(), over, revision: Some(revision) };
        Op { client: 1, asked, answered: Some(answered), key: "k".to_owned(), what }
    }

    fn lost(asked: u64, value: &str) -> Op {
        let what = What::Write { value: value.to_owned(), over: None, revision: None };
        Op { client: 2, asked, answered: None, key: "k".to_owned(), what }
    }

    fn read(asked: u64, answered: u64, found: Option<(&str, u64)>, revision: u64) -> Op {
        let found = found.map(|(value, revision)| (value.to_owned(), revision));
        let what = What::Read { found, revision };
        Op { client: 3, asked, answered: Some(answered), key: "k".to_owned(), what }
    }

    fn told(after: u64, upto: u64, writes: &[(u64, &str)]) -> Told {
        let write =
            |(revision, value): &(u64, &str)| (*revision, "k".to_owned(), (*value).to_owned());
        Told { by: "m1".to_owned(), after, upto, writes: writes.iter().map(write).collect() }
    }

    #[test]
    fn what_an_order_explains_passes() {
        let ops = [
            write(1, 5, "a", None, 3),
            // Asked and answered while the write was under way: before it.
            read(2, 3, None, 2),
            write(6, 9, "b", Some(3), 4),
            lost(7, "c"),
            // The lost one turns out to have been written.
            read(10, 11, Some(("c", 7)), 8),
            lost(12, "d"),
        ];
        let watched = [told(0, 9, &[(3, "a"), (4, "b"), (7, "c")]), told(3, 5, &[(4, "b")])];
        let checked = check(&ops, &watched).unwrap();
        assert_eq!(checked, Checked { writes: 2, unknown: 2, found: 1, reads: 2, told: 4 });
    }

    #[test]
    fn what_no_order_explains_is_told() {
        let one = || write(1, 2, "a", None, 3);
        for (ops, watched, expected) in [
            (vec![one(), read(3, 4, None, 5)], vec![], "None was read"),
            (vec![one(), read(3, 4, None, 2)], vec![], "before 3"),
            (vec![one(), read(3, 4, Some(("z", 4)), 5)], vec![], "nobody wrote it"),
            (vec![one(), read(3, 4, Some(("z", 3)), 5)], vec![], "at which a was written"),
            (
                vec![one(), write(3, 4, "b", None, 5), read(5, 6, Some(("a", 3)), 6)],
                vec![],
                "was read at revision 6",
            ),
            (vec![one(), write(3, 4, "b", None, 2)], vec![], "before 3"),
            (vec![one(), write(1, 2, "b", None, 3)], vec![], "answered for b and for"),
            (vec![one(), write(3, 4, "b", Some(2), 5)], vec![], "was to replace revision 2"),
            (
                vec![lost(1, "a"), read(3, 4, Some(("a", 2)), 2), read(5, 6, Some(("a", 4)), 4)],
                vec![],
                "written twice",
            ),
            (vec![one()], vec![told(0, 5, &[])], "0 writes are told of 1"),
            (vec![one()], vec![told(0, 5, &[(3, "a"), (3, "a")])], "2 writes are told of 1"),
            (
                vec![one(), write(3, 4, "b", None, 5)],
                vec![told(0, 5, &[(5, "b"), (3, "a")])],
                "revisions went back",
            ),
        ] {
            let error = check(&ops, &watched).unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains(expected), "{text}, expected {expected}");
        }
    }
}
