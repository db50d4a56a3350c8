//! How often each step of an object has failed, and when it may be tried again.

use xxhash_rust::xxh3::xxh3_64;

use super::{CLOSE_MS, STUCK_LOOK_MS};
use crate::{
    id::Uid,
    manifest::Retry,
    path::Path,
    status::{PhaseName, Status},
    time::Millis,
    value::Value,
};

/// A step that is needed again this soon after its success did not last, and counts as failed; so
/// does one that leads elsewhere, or ends without a word of how, twice within this time.
pub const RELAPSE_MS: u64 = 10_000;

/// Failures by step, `module/Name(bindings)`: of few steps, for very many objects.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(Vec<(String, Count)>);

/// Paths with the values at which they are no news.
pub(super) type Marks = Vec<(Path, Vec<Option<Value>>)>;

/// The failures of one step.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    pub(super) failures: u32,
    pub(super) error: String,
    pub(super) retry_at: Millis,
    failed_at: Millis,
    /// Trying again cannot help.
    permanent: bool,
    /// What was seen round the last failure: what is seen later and is not among it is news.
    marks: Marks,
    /// How often in a row a success did not last.
    relapses: u32,
    succeeded_at: Option<Millis>,
    strayed_at: Option<Millis>,
}

/// A failure as it is counted.
pub(super) struct Failure<'a> {
    pub(super) step: &'a str,
    pub(super) error: &'a str,
    pub(super) retry: Retry,
    pub(super) uid: Uid,
    pub(super) now: Millis,
}

impl Counts {
    /// Forgets everything: Cfg has changed, or somebody asked for a retry.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn forget(&mut self, step: &str) {
        self.0.retain(|(of, _)| of != step);
    }

    pub(super) fn get(&self, step: &str) -> Option<&Count> {
        self.0.iter().find(|(of, _)| of == step).map(|(_, count)| count)
    }

    /// That of a step, new where there was none.
    fn of(&mut self, step: &str) -> &mut Count {
        let place = self.0.iter().position(|(of, _)| of == step).unwrap_or(self.0.len());
        if place == self.0.len() {
            self.0.reserve_exact(1);
            self.0.push((step.to_owned(), Count::default()));
        }
        &mut self.0[place].1
    }

    /// Takes over what a decider before this one has said, but for waits that only a clock that
    /// runs ahead could have named.
    pub(super) fn resume(&mut self, said: Option<&Status>, now: Millis) {
        let Some(said) = said else { return };
        let Some(step) = said.step.clone().filter(|_| said.attempts > 0) else { return };
        let count = Count {
            failures: said.attempts,
            error: said.last_error.clone().unwrap_or_default(),
            retry_at: said.next_retry.unwrap_or_default().min(now.after_ms(STUCK_LOOK_MS)),
            permanent: said.phase == PhaseName::Quarantined,
            ..Count::default()
        };
        *self.of(&step) = count;
    }

    /// The step is wanted now: one that succeeded a moment ago did not last.
    pub(super) fn before(&mut self, step: &str, retry: Retry, uid: Uid, now: Millis) -> Count {
        let held = self.0.iter_mut().find(|(of, _)| of == step);
        let Some((_, count)) = held else { return Count::default() };
        let Some(succeeded_at) = count.succeeded_at.take() else { return count.clone() };
        if now >= succeeded_at.after_ms(RELAPSE_MS) {
            *count = Count::default();
            return Count::default();
        }
        count.relapses = count.relapses.saturating_add(1);
        count.failures = count.relapses - 1;
        let error = "what it had reached did not last";
        self.fail(&Failure { step, error, retry, uid, now })
    }

    /// The step has succeeded: its failures are forgotten, but not how often it did not last.
    pub(super) fn succeed(&mut self, step: &str, now: Millis) {
        let count = self.of(step);
        *count = Count { relapses: count.relapses, succeeded_at: Some(now), ..Count::default() };
    }

    /// The step ended in a way that is no failure, unless it does so again at once.
    pub(super) fn stray(&mut self, failure: &Failure<'_>) -> Option<Count> {
        let count = self.of(failure.step);
        let before = count.strayed_at.replace(failure.now);
        let again = before.is_some_and(|before| failure.now < before.after_ms(RELAPSE_MS));
        again.then(|| self.fail(failure))
    }

    /// Counts a failure and says when to try again: exponential, with jitter that is the same on
    /// every machine, between a half and the whole of the wait.
    pub(super) fn fail(&mut self, failure: &Failure<'_>) -> Count {
        let Failure { step, error, retry, uid, now } = failure;
        let count = self.of(step);
        count.succeeded_at = None;
        count.failures = count.failures.saturating_add(1);
        (*error).clone_into(&mut count.error);
        let doublings = count.failures.saturating_sub(1).min(20);
        let wait =
            retry.backoff_initial_ms.saturating_mul(1 << doublings).min(retry.backoff_max_ms);
        let seed = format!("{uid} {step} {}", count.failures);
        let jitter = xxh3_64(seed.as_bytes()) % (wait / 2).saturating_add(1);
        count.failed_at = *now;
        count.retry_at = now.after_ms(wait - jitter);
        count.clone()
    }

    /// Trying the step again cannot help, says its module.
    pub(super) fn give_up(&mut self, step: &str) {
        self.of(step).permanent = true;
    }

    /// Notes more of what was seen round a failure.
    pub(super) fn widen(&mut self, step: &str, more: Marks) {
        let marks = &mut self.of(step).marks;
        for (path, values) in more {
            match marks.iter_mut().find(|(marked, _)| *marked == path) {
                Some((_, held)) => held.extend(values),
                None => marks.push((path, values)),
            }
        }
    }

    /// Notes what was seen round a failure, in place of what was noted before.
    pub(super) fn mark(&mut self, step: &str, marks: Marks) {
        self.of(step).marks = marks;
    }
}

impl Count {
    /// Whether the step is not to be tried again as things are.
    pub(super) fn is_spent(&self, retry: Retry) -> bool {
        self.permanent || self.failures >= retry.attempts_max
    }

    /// Why the step is not to be tried again.
    pub(super) fn reason(&self, step: &str) -> String {
        if self.permanent && self.failures <= 1 {
            format!("{step} cannot succeed as things are: {}", self.error)
        } else {
            format!("{step} failed {} times: {}", self.failures, self.error)
        }
    }

    /// Whether what is seen now may still come of the attempt that failed.
    pub(super) fn is_fresh(&self, now: Millis) -> bool {
        self.failures > 0 && now < self.failed_at.after_ms(CLOSE_MS)
    }

    /// Whether something was noted round the last failure.
    pub(super) fn is_marked(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Whether this is not among what was seen round the last failure.
    pub(super) fn is_news(&self, path: &Path, seen: Option<&Value>) -> bool {
        let marks = self.marks.iter().find(|(marked, _)| marked == path);
        marks.is_some_and(|(_, values)| !values.iter().any(|value| value.as_ref() == seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ClusterId, Revision};

    const RETRY: Retry =
        Retry { attempts_max: 3, backoff_initial_ms: 1_000, backoff_max_ms: 10_000 };

    fn uid() -> Uid {
        Uid::derive(ClusterId::new(1), Revision::new(1), 0)
    }

    fn failure(retry: Retry, now: u64) -> Failure<'static> {
        Failure { step: "m/A", error: "no", retry, uid: uid(), now: Millis::new(now) }
    }

    #[test]
    fn waits_double_up_to_the_longest_with_jitter_of_at_most_a_half() {
        let mut counts = Counts::default();
        for wait in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let waited = counts.fail(&failure(RETRY, 0)).retry_at.get();
            assert!((wait / 2..=wait).contains(&waited), "{waited} of {wait}");
        }
    }

    #[test]
    fn waits_that_are_too_long_to_double_are_the_longest() {
        let retry = Retry { backoff_initial_ms: u64::MAX, backoff_max_ms: u64::MAX, ..RETRY };
        let mut counts = Counts::default();
        for _ in 0..30 {
            assert!(counts.fail(&failure(retry, 0)).retry_at.get() >= u64::MAX / 2);
        }
        let none = Retry { backoff_initial_ms: 0, backoff_max_ms: 0, ..RETRY };
        assert_eq!(counts.fail(&failure(none, 7)).retry_at, Millis::new(7));
    }

    #[test]
    fn a_success_that_does_not_last_counts_as_a_failure() {
        let mut counts = Counts::default();
        counts.succeed("m/A", Millis::new(100));
        assert_eq!(counts.before("m/A", RETRY, uid(), Millis::new(200)).failures, 1);
        counts.succeed("m/A", Millis::new(300));
        assert_eq!(counts.before("m/A", RETRY, uid(), Millis::new(400)).failures, 2);
        counts.succeed("m/A", Millis::new(500));
        let later = Millis::new(500 + RELAPSE_MS);
        assert_eq!(counts.before("m/A", RETRY, uid(), later).failures, 0);
    }

    #[test]
    fn a_success_zeroes_the_failures_before_it() {
        let mut counts = Counts::default();
        counts.fail(&failure(RETRY, 0));
        counts.fail(&failure(RETRY, 0));
        counts.succeed("m/A", Millis::new(100));
        assert_eq!(counts.before("m/A", RETRY, uid(), Millis::new(200)).failures, 1);
    }

    #[test]
    fn straying_twice_in_a_row_counts_as_a_failure() {
        let mut counts = Counts::default();
        assert!(counts.stray(&failure(RETRY, 0)).is_none());
        assert!(counts.stray(&failure(RETRY, RELAPSE_MS)).is_none());
        let counted = counts.stray(&failure(RETRY, 2 * RELAPSE_MS - 1));
        assert_eq!(counted.map(|count| count.failures), Some(1));
    }
}
