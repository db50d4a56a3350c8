//! How often each step of an object has failed, and when it may be tried again.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::{id::Uid, manifest::Retry, time::Millis};

/// A step that is needed again this soon after its success did not last, and counts as failed.
pub const RELAPSE_MS: u64 = 10_000;

/// Failures by step, `module/Name(bindings)`.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(BTreeMap<String, Count>);

/// The failures of one step.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    pub(super) failures: u32,
    pub(super) error: String,
    pub(super) retry_at: Millis,
    succeeded_at: Option<Millis>,
}

impl Counts {
    /// Forgets everything: Cfg has changed, or somebody asked for a retry.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn forget(&mut self, step: &str) {
        self.0.remove(step);
    }

    pub(super) fn get(&self, step: &str) -> Option<&Count> {
        self.0.get(step)
    }

    /// The step is about to be taken at `now`: one that succeeded a moment ago did not last.
    pub(super) fn before(&mut self, step: &str, retry: Retry, uid: Uid, now: Millis) -> Count {
        let Some(count) = self.0.get_mut(step) else { return Count::default() };
        let Some(succeeded_at) = count.succeeded_at.take() else { return count.clone() };
        if now >= succeeded_at.after_ms(RELAPSE_MS) {
            *count = Count::default();
            return Count::default();
        }
        self.fail(step, "what it had reached did not last", retry, uid, now)
    }

    pub(super) fn succeed(&mut self, step: &str, now: Millis) {
        self.0.entry(step.to_owned()).or_default().succeeded_at = Some(now);
    }

    /// Counts a failure and says when to try again: exponential, with jitter that is the same on
    /// every machine, between a half and the whole of the wait.
    pub(super) fn fail(
        &mut self,
        step: &str,
        error: &str,
        retry: Retry,
        uid: Uid,
        now: Millis,
    ) -> Count {
        let count = self.0.entry(step.to_owned()).or_default();
        count.succeeded_at = None;
        count.failures = count.failures.saturating_add(1);
        error.clone_into(&mut count.error);
        let doublings = count.failures.saturating_sub(1).min(20);
        let wait = (retry.backoff_initial_ms << doublings).min(retry.backoff_max_ms);
        let seed = format!("{uid} {step} {}", count.failures);
        let jitter = xxh3_64(seed.as_bytes()) % (wait / 2 + 1);
        count.retry_at = now.after_ms(wait - jitter);
        count.clone()
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

    #[test]
    fn waits_double_up_to_the_longest_with_jitter_of_at_most_a_half() {
        let mut counts = Counts::default();
        for wait in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let count = counts.fail("m/A", "no", RETRY, uid(), Millis::ZERO);
            let waited = count.retry_at.get();
            assert!((wait / 2..=wait).contains(&waited), "{waited} of {wait}");
        }
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
}
