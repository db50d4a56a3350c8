//! The flap brake: an object that goes back and forth, or never comes to an end, is left alone
//! until somebody has looked.
//!
//! | what is seen | ends in quarantine |
//! |---|---|
//! | a path that steps change came back more than 6 times in 10 min to a value it had had | yes |
//! | three times as many steps were done as the longest plan had, and it has not converged | yes |
//!
//! Only paths that steps of this machine have changed are followed, so that an object for which
//! nothing is done costs nothing. A path that merely passes through many values is not flapping.

use super::counts::Marks;
use crate::{path::Path, time::Millis, value::Value};

/// How often a path may come back to a value within [`FLAP_SPAN_MS`], unless it says otherwise.
pub const FLAPS_MAX: u32 = 6;
/// Over what span of time flaps are counted, in milliseconds.
pub const FLAP_SPAN_MS: u64 = 600_000;
/// So many times as many steps as the longest plan had may be done before the object converges.
pub const WALKED_MAX: u32 = 3;
/// Most changes of one path that are remembered.
const CHANGES_MAX: usize = 64;

/// What an object did since its Cfg changed last.
#[derive(Debug, Default)]
pub(super) struct Brake {
    /// Few, so that looking through all of them is nothing.
    followed: Box<[Path]>,
    /// What they showed, of all together, oldest first.
    changes: Vec<Change>,
    /// Steps done since it converged last, and steps of the longest plan since.
    walked: u32,
    longest: u32,
    /// Why it is to be left alone, and at which values that stands. In a box: it is rare.
    pulled: Option<Box<(String, Marks)>>,
}

/// A path changed to a value: when, and whether it came back to it.
#[derive(Debug)]
struct Change {
    path: Path,
    at: Millis,
    value: Value,
    returned: bool,
}

impl Brake {
    /// Forgets everything: Cfg has changed, or somebody asked for a retry.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A step begins that changes a path, which shows a value now.
    pub(super) fn follow(&mut self, path: Path, seen: Option<&Value>, now: Millis) {
        let is_first = self.changes_of(&path).next().is_none();
        if let Some(value) = seen.filter(|_| is_first) {
            let (path, value) = (path.clone(), value.clone());
            self.changed(Change { path, at: now, value, returned: false });
        }
        if !self.followed.contains(&path) {
            let followed = std::mem::take(&mut self.followed);
            self.followed = followed.into_iter().chain([path]).collect();
        }
    }

    /// Takes a change without room for more: there are few, of very many objects.
    fn changed(&mut self, change: Change) {
        self.changes.reserve_exact(1);
        self.changes.push(change);
    }

    fn changes_of(&self, path: &Path) -> impl DoubleEndedIterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.path == *path)
    }

    /// The paths that are followed.
    pub(super) fn followed(&self) -> impl Iterator<Item = &Path> {
        self.followed.iter()
    }

    /// A followed path shows a value. True where it came back once too often.
    pub(super) fn note(&mut self, path: &Path, value: &Value, most: u32, now: Millis) -> bool {
        let last = self.changes_of(path).next_back();
        if !self.followed.contains(path) || last.is_some_and(|last| last.value == *value) {
            return false;
        }
        self.forget_old(path, now);
        let returned = self.changes_of(path).any(|had| had.value == *value);
        self.changed(Change { path: path.clone(), at: now, value: value.clone(), returned });
        let returns = self.changes_of(path).filter(|change| change.returned).count();
        returned && returns > most as usize
    }

    /// Makes room for one more change of a path, and forgets those that are over; the last stays.
    fn forget_old(&mut self, path: &Path, now: Millis) {
        let mut left = self.changes_of(path).count();
        self.changes.retain(|change| {
            let is_over = change.at.after_ms(FLAP_SPAN_MS) <= now && left > 1;
            let goes = change.path == *path && (is_over || left >= CHANGES_MAX);
            left -= usize::from(goes);
            !goes
        });
    }

    /// A plan of so many steps is to be walked.
    pub(super) fn plan(&mut self, steps: usize) {
        self.longest = self.longest.max(u32::try_from(steps).unwrap_or(u32::MAX));
    }

    /// It has converged.
    pub(super) fn converged(&mut self) {
        if self.is_walked_out() {
            self.pulled = None;
        }
        (self.walked, self.longest) = (0, 0);
    }

    fn is_walked_out(&self) -> bool {
        self.longest > 0 && self.walked > self.longest.saturating_mul(WALKED_MAX)
    }

    /// A step is done. True where so many were that it cannot be on its way.
    pub(super) fn walk(&mut self) -> bool {
        self.walked = self.walked.saturating_add(1);
        self.is_walked_out()
    }

    /// Steps done, and those that the longest plan had.
    pub(super) fn steps(&self) -> (u32, u32) {
        (self.walked, self.longest)
    }

    /// Leaves the object alone. The values that followed paths went through are no news.
    pub(super) fn pull(&mut self, reason: String) {
        let marks = self.followed.iter().map(|path| {
            let values = self.changes_of(path).map(|change| Some(change.value.clone()));
            (path.clone(), values.chain([None]).collect())
        });
        self.pulled = Some(Box::new((reason, marks.collect())));
    }

    /// Why the object is left alone, if it is. News of a path that was followed ends that.
    pub(super) fn pulled(&mut self, seen: impl Fn(&Path) -> Option<Value>) -> Option<String> {
        let (reason, marks) = self.pulled.as_deref()?;
        let news = marks.iter().any(|(path, values)| !values.contains(&seen(path)));
        if !news {
            return Some(reason.clone());
        }
        self.clear();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> Path {
        Path::new("/power").unwrap()
    }

    /// At which of these values, one a minute, the brake is pulled.
    fn pulled_at(values: &[&str], every_ms: u64) -> Option<usize> {
        let mut brake = Brake::default();
        brake.follow(path(), Some(&"A".into()), Millis::ZERO);
        (0..values.len()).find(|place| {
            let now = Millis::new((*place as u64 + 1) * every_ms);
            brake.note(&path(), &values[*place].into(), FLAPS_MAX, now)
        })
    }

    #[test]
    fn a_path_that_goes_back_and_forth_is_stopped_and_one_that_goes_on_is_not() {
        let flapping = ["B", "A", "B", "A", "B", "A", "B", "A", "B"];
        assert_eq!(pulled_at(&flapping, 10_000), Some(7), "the seventh return");
        assert_eq!(pulled_at(&flapping, 200_000), None, "too slow to be flapping");
        let going_on: Vec<String> = (0..40).map(|number| format!("v{number}")).collect();
        let going_on: Vec<&str> = going_on.iter().map(String::as_str).collect();
        assert_eq!(pulled_at(&going_on, 1_000), None);
        assert_eq!(pulled_at(&["B"; 20], 1_000), None, "the same seen again is no change");
    }

    #[test]
    fn more_steps_than_three_times_the_longest_plan_are_too_many() {
        let mut brake = Brake::default();
        brake.plan(2);
        assert_eq!((0..7).map(|_| brake.walk()).position(|pulled| pulled), Some(6));
        brake.converged();
        brake.plan(1);
        assert!(!brake.walk());
    }

    #[test]
    fn a_pulled_brake_is_released_by_a_value_that_was_not_seen_while_flapping() {
        let mut brake = Brake::default();
        brake.follow(path(), Some(&"A".into()), Millis::ZERO);
        brake.note(&path(), &"B".into(), 0, Millis::new(1));
        brake.pull("why".to_owned());
        for (seen, held) in [(Some("A"), true), (Some("B"), true), (None, true), (Some("C"), false)]
        {
            let why = brake.pulled(|_| seen.map(Value::from));
            assert_eq!(why.is_some(), held, "{seen:?}");
        }
    }
}
