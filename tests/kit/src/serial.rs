//! Linearizability, checked by the revisions that are answered.
//!
//! Every write is answered with the revision that it has, every read with the revision at which it
//! was read, so that the order in which operations are said to have happened is known and need not
//! be searched for. What is checked is that this order explains all answers: that it agrees with
//! real time (what had been answered before something was asked comes before it), that each read
//! shows the last write at or before its revision, that a compare-and-set replaced just what it
//! compared with and was not carried out where it was refused, that nothing is absent that had been
//! written, and that a watch tells each write once and in order. If all of it holds, the order is a
//! linearization (Herlihy and Wing, 1990), of all keys together.

use std::{collections::BTreeMap, ops::Bound};

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
        /// For a compare-and-set: the revision that was to be replaced, 0 where the key was to be
        /// absent.
        over: Option<u64>,
        /// What became of it.
        fate: Fate,
    },
    /// The key was read.
    Read {
        /// What it held, and since which revision; `None` where it was not there.
        found: Option<(String, u64)>,
        /// The revision at which it was read.
        revision: u64,
    },
    /// The key was read and was not there, at a revision that was not answered.
    Absent,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was answered with this revision.
    Written(u64),
    /// It was answered that it was not carried out, because of what was written before.
    Refused,
    /// It reached nobody, and was not carried out.
    Unsent,
    /// Nobody knows.
    Unknown,
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
    /// Writes that were refused.
    pub refused: usize,
    /// Writes whose outcome was not answered.
    pub unknown: usize,
    /// Of these, those that turned out to have been written.
    pub found: usize,
    /// Reads.
    pub reads: usize,
    /// Of these, those that found nothing.
    pub absent: usize,
    /// Writes that were told to watchers.
    pub told: usize,
}

/// Everything that is known to have been written: key to revision to value.
type Written = BTreeMap<String, BTreeMap<u64, String>>;

/// Writes that were not answered with a revision, by key and value.
type Others<'a> = BTreeMap<(String, String), &'a Op>;

/// An operation, and the revision at which it happened.
type Placed<'a> = (&'a Op, u64);

/// Checks everything that clients and watchers were told.
pub fn check(ops: &[Op], told: &[Told]) -> Result<Checked> {
    let mut checked = Checked::default();
    let (mut written, others) = answered(ops, &mut checked)?;
    let mut placed = placed(ops);
    for (key, value, revision) in shown(ops, told) {
        let known = written.entry(key.clone()).or_default();
        if let Some(held) = known.get(&revision) {
            ensure!(
                *held == value,
                "{key}: {value} is shown for revision {revision}, at which {held} was written"
            );
            continue;
        }
        let asked = others.get(&(key.clone(), value.clone())).copied();
        let asked = asked.with_context(|| {
            format!("{key}: {value} of revision {revision} is shown, and nobody wrote it then")
        })?;
        ensure!(
            matches!(asked.what, What::Write { fate: Fate::Unknown, .. }),
            "{key}: {value} is shown for revision {revision}, and was refused: {asked:?}"
        );
        known.insert(revision, value);
        placed.push((asked, revision));
        checked.found += 1;
    }
    check_once(&written)?;
    check_reads(ops, &written, &mut checked)?;
    check_absences(ops, &mut checked)?;
    check_compared(&placed, &written)?;
    check_refused(ops, &placed)?;
    check_real_time(placed)?;
    for told in told {
        check_told(told, &written).with_context(|| format!("the watch of {}", told.by))?;
        checked.told += told.writes.len();
    }
    Ok(checked)
}

/// What was answered to have been written, and what was not.
fn answered<'a>(ops: &'a [Op], checked: &mut Checked) -> Result<(Written, Others<'a>)> {
    let (mut written, mut others) = (Written::new(), Others::new());
    for op in ops {
        let What::Write { value, fate, .. } = &op.what else { continue };
        let revision = match fate {
            Fate::Written(revision) => revision,
            Fate::Refused | Fate::Unsent | Fate::Unknown => {
                checked.refused += usize::from(*fate == Fate::Refused);
                checked.unknown += usize::from(*fate == Fate::Unknown);
                others.insert((op.key.clone(), value.clone()), op);
                continue;
            }
        };
        checked.writes += 1;
        let other = written.entry(op.key.clone()).or_default().insert(*revision, value.clone());
        ensure!(
            other.is_none(),
            "{}: revision {revision} was answered for {value} and for {other:?}",
            op.key
        );
    }
    Ok((written, others))
}

/// The operations whose revision was answered.
fn placed(ops: &[Op]) -> Vec<Placed<'_>> {
    let at = |op: &Op| match op.what {
        What::Write { fate: Fate::Written(revision), .. } | What::Read { revision, .. } => {
            Some(revision)
        }
        What::Write { fate: Fate::Refused | Fate::Unsent | Fate::Unknown, .. } | What::Absent => {
            None
        }
    };
    ops.iter().filter_map(|op| Some((op, at(op)?))).collect()
}

/// Every write that a read or a watch has shown.
fn shown(ops: &[Op], told: &[Told]) -> Vec<(String, String, u64)> {
    let read = ops.iter().filter_map(|op| match &op.what {
        What::Read { found: Some((value, revision)), .. } => {
            Some((op.key.clone(), value.clone(), *revision))
        }
        What::Read { found: None, .. } | What::Write { .. } | What::Absent => None,
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

/// No key is absent once it is known to have been written: none is deleted here.
fn check_absences(ops: &[Op], checked: &mut Checked) -> Result<()> {
    let mut there: BTreeMap<&str, u64> = BTreeMap::new();
    for op in ops {
        let (What::Write { fate: Fate::Written(_), .. } | What::Read { found: Some(_), .. }) =
            &op.what
        else {
            continue;
        };
        let Some(answered) = op.answered else { continue };
        let first = there.entry(&op.key).or_insert(answered);
        *first = answered.min(*first);
    }
    for op in ops.iter().filter(|op| op.what == What::Absent) {
        checked.reads += 1;
        checked.absent += 1;
        let since = there.get(op.key.as_str());
        ensure!(
            since.is_none_or(|since| *since >= op.asked),
            "{}: nothing was found by {op:?}, and it was there at {since:?}",
            op.key
        );
    }
    Ok(())
}

fn check_compared(placed: &[Placed<'_>], written: &Written) -> Result<()> {
    for (op, revision) in placed {
        let What::Write { value, over: Some(over), .. } = &op.what else { continue };
        let writes = written.get(&op.key).context("a write that was answered or shown")?;
        let before = writes.range(..revision).next_back().map_or(0, |(revision, _)| *revision);
        ensure!(
            before == *over,
            "{}: {value} was to replace revision {over}, and replaced {before}",
            op.key
        );
    }
    Ok(())
}

/// A compare-and-set is refused only where something else was there: what it compared with was
/// replaced by a write that had been asked for before the refusal was answered.
fn check_refused(ops: &[Op], placed: &[Placed<'_>]) -> Result<()> {
    // By key: the revision of each write, and since when it may have been there.
    let mut since: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for (op, revision) in placed {
        if matches!(op.what, What::Write { .. }) {
            since.entry(&op.key).or_default().push((*revision, op.asked));
        }
    }
    for op in ops {
        // What nobody was told of, and nobody has seen, may have been there as well.
        if let What::Write { fate: Fate::Unknown, .. } = op.what {
            since.entry(&op.key).or_default().push((u64::MAX, op.asked));
        }
    }
    for op in ops {
        let What::Write { value, over: Some(over), fate: Fate::Refused } = &op.what else {
            continue;
        };
        let answered = op.answered.context("a refusal is an answer")?;
        let others = since.get(op.key.as_str()).into_iter().flatten();
        let is_due = others.into_iter().any(|(revision, at)| revision > over && *at < answered);
        ensure!(is_due, "{}: {value} was refused, and revision {over} was there: {op:?}", op.key);
    }
    Ok(())
}

/// What was answered before something was asked comes before it, even where nobody was told that
/// the latter was written.
fn check_real_time(mut placed: Vec<Placed<'_>>) -> Result<()> {
    let ended = placed.iter().filter_map(|(op, revision)| Some((op.answered?, *revision)));
    let mut ended: Vec<(u64, u64)> = ended.collect();
    ended.sort_unstable();
    placed.sort_by_key(|(op, _)| op.asked);
    let (mut ended, mut floor) = (ended.into_iter().peekable(), 0);
    for (op, revision) in placed {
        while let Some((_, ended)) = ended.next_if(|(answered, _)| *answered < op.asked) {
            floor = floor.max(ended);
        }
        let is_right = match op.what {
            What::Write { .. } => revision > floor,
            What::Read { .. } | What::Absent => revision >= floor,
        };
        ensure!(
            is_right,
            "{op:?} is of revision {revision}, before {floor}, which was answered before it"
        );
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
    let back = writes.windows(2).find(|pair| pair[0].0 > pair[1].0);
    ensure!(back.is_none(), "revisions went back: {back:?} between {after} and {upto}");
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

    fn op(asked: u64, answered: Option<u64>, what: What) -> Op {
        Op { client: 1, asked, answered, key: "k".to_owned(), what }
    }

    fn write(asked: u64, answered: u64, value: &str, over: Option<u64>, revision: u64) -> Op {
        let (value, fate) = (value.to_owned(), Fate::Written(revision));
        op(asked, Some(answered), What::Write { value, over, fate })
    }

    fn lost(asked: u64, value: &str) -> Op {
        lost_over(asked, value, None)
    }

    fn lost_over(asked: u64, value: &str, over: Option<u64>) -> Op {
        let value = value.to_owned();
        op(asked, None, What::Write { value, over, fate: Fate::Unknown })
    }

    fn refused(asked: u64, answered: u64, value: &str, over: u64) -> Op {
        let (value, over) = (value.to_owned(), Some(over));
        op(asked, Some(answered), What::Write { value, over, fate: Fate::Refused })
    }

    fn absent(asked: u64, answered: u64) -> Op {
        op(asked, Some(answered), What::Absent)
    }

    fn read(asked: u64, answered: u64, found: Option<(&str, u64)>, revision: u64) -> Op {
        let found = found.map(|(value, revision)| (value.to_owned(), revision));
        op(asked, Some(answered), What::Read { found, revision })
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
            // Asked while the first write was under way.
            absent(4, 6),
            refused(13, 14, "e", 4),
            lost_over(15, "f", Some(7)),
            read(17, 18, Some(("f", 10)), 10),
        ];
        let watched = [told(0, 9, &[(3, "a"), (4, "b"), (7, "c")]), told(3, 5, &[(4, "b")])];
        let checked = check(&ops, &watched).unwrap();
        let (writes, refused, unknown, found) = (2, 1, 3, 2);
        let (reads, absent, told) = (4, 1, 4);
        let expected = Checked { writes, refused, unknown, found, reads, absent, told };
        assert_eq!(checked, expected);
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
            tells(&ops, &watched, expected);
        }
    }

    fn tells(ops: &[Op], watched: &[Told], expected: &str) {
        let text = format!("{:#}", check(ops, watched).unwrap_err());
        assert!(text.contains(expected), "{text}, expected {expected}");
    }

    #[test]
    fn absence_after_an_answered_write_is_told() {
        tells(&[write(1, 2, "a", None, 3), absent(3, 4)], &[], "nothing was found");
        // What was read had been written.
        let read = read(3, 4, Some(("a", 3)), 3);
        tells(&[lost(1, "a"), read, absent(5, 6)], &[], "nothing was found");
        check(&[write(1, 3, "a", None, 3), absent(2, 4)], &[]).unwrap();
    }

    #[test]
    fn refusal_of_what_was_there_is_told() {
        let ops = [write(1, 2, "a", None, 3), refused(3, 4, "b", 3)];
        tells(&ops, &[], "b was refused, and revision 3 was there");
        tells(&[refused(1, 2, "b", 0), write(3, 4, "a", None, 3)], &[], "revision 0 was there");
        let other = write(3, 6, "c", None, 5);
        check(&[ops[0].clone(), ops[1].clone(), other], &[]).unwrap();
        check(&[ops[0].clone(), ops[1].clone(), lost(3, "c")], &[]).unwrap();
    }

    #[test]
    fn refused_compare_that_was_written_is_told() {
        let ops = [write(1, 2, "a", None, 3), write(3, 9, "c", None, 4), refused(3, 4, "b", 3)];
        check(&ops, &[]).unwrap();
        tells(&ops, &[told(0, 9, &[(3, "a"), (4, "c"), (5, "b")])], "and was refused");
    }

    #[test]
    fn unknown_compare_over_another_revision_is_told() {
        let ops = [
            write(1, 2, "a", None, 3),
            write(3, 4, "b", None, 4),
            lost_over(3, "c", Some(3)),
            read(7, 8, Some(("c", 5)), 5),
        ];
        tells(&ops, &[], "was to replace revision 3, and replaced 4");
    }

    #[test]
    fn creation_over_something_is_told() {
        check(&[write(1, 2, "a", Some(0), 3)], &[]).unwrap();
        let ops = [write(1, 2, "a", None, 3), write(3, 4, "b", Some(0), 5)];
        tells(&ops, &[], "was to replace revision 0, and replaced 3");
        let ops = [write(1, 2, "a", None, 3), lost_over(3, "b", Some(0))];
        tells(&ops, &[told(0, 5, &[(3, "a"), (5, "b")])], "was to replace revision 0");
    }

    #[test]
    fn unknown_write_from_before_it_was_asked_is_told() {
        let ops = [write(1, 2, "a", None, 3), lost(3, "b"), write(1, 4, "c", None, 4)];
        tells(&ops, &[told(0, 4, &[(2, "b"), (3, "a"), (4, "c")])], "before 3");
        check(&ops, &[told(0, 9, &[(3, "a"), (4, "c"), (5, "b")])]).unwrap();
    }
}
