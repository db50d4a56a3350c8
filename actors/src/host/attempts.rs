//! The attempts that this node has begun: which run, and which have ended of late, so that an
//! attempt that is asked for twice starts once. Pure but for the cancel tokens.

use std::collections::{BTreeMap, BTreeSet};

use kraken_engine::{
    id::{AttemptId, Name, Uid},
    mutation::{Lane, MutationId},
    order::latest::Latest,
    time::Millis,
};
use tokio_util::sync::CancellationToken;

use super::messages::{Admission, AttemptEnded};

/// Attempts that one module may have in hand; at the bound the sender is answered BUSY. Most wait
/// for their machines and cost little more than their place here.
pub const ATTEMPTS_RUNNING_MAX: usize = 16_384;
/// Refused attempts that are remembered: whoever decided one sends it again for seconds at most.
pub const ATTEMPTS_REFUSED_MAX: usize = 65_536;
/// Ended attempts that are remembered; older ones would be started again if they were asked for.
pub const ATTEMPTS_KEPT_MAX: usize = 65_536;

/// The attempts of a node.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    running: BTreeMap<AttemptId, RunningAttempt>,
    /// Those of the quorum's lane, by object.
    of_quorum: BTreeMap<Uid, BTreeSet<AttemptId>>,
    /// How many run, by module.
    counts: BTreeMap<Name, usize>,
    ended: Latest<AttemptEnded, ATTEMPTS_KEPT_MAX>,
    refused: Latest<Admission, ATTEMPTS_REFUSED_MAX>,
}

/// One attempt that runs.
#[derive(Debug, Clone)]
pub(crate) struct RunningAttempt {
    pub(crate) mutation: MutationId,
    pub(crate) object: Uid,
    pub(crate) since: Millis,
    /// Who decided it.
    pub(crate) lane: Lane,
    pub(crate) cancellable: bool,
    pub(crate) cancel: CancellationToken,
}

/// What is to be done with an attempt that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Start it.
    New,
    /// It runs; nothing is to be done.
    Runs,
    /// It has ended; tell so again, the news may have been lost.
    Ended(AttemptEnded),
    /// Its module has as many in hand as it may.
    Full,
}

impl Attempts {
    /// Looks at an attempt that is asked for.
    pub(crate) fn admit(&self, attempt: &AttemptId, module: &Name) -> Admitted {
        if self.running.contains_key(attempt) {
            Admitted::Runs
        } else if let Some(ended) = self.ended.get(attempt) {
            Admitted::Ended(ended.clone())
        } else if self.running_of(module) >= ATTEMPTS_RUNNING_MAX {
            Admitted::Full
        } else {
            Admitted::New
        }
    }

    /// How an attempt was refused before: it never starts, for whoever decided it has gone on.
    pub(crate) fn refused(&self, attempt: &AttemptId) -> Option<Admission> {
        self.refused.get(attempt).copied()
    }

    /// An attempt is refused.
    pub(crate) fn refuse(&mut self, attempt: AttemptId, how: Admission) {
        self.refused.put(attempt, how);
    }

    /// An attempt is not to start any more; says whether it does not run.
    pub(crate) fn bar(&mut self, attempt: AttemptId) -> bool {
        let runs = self.running.contains_key(&attempt);
        if !runs {
            self.refuse(attempt, Admission::Late);
        }
        !runs
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self, attempt: AttemptId, running: RunningAttempt) {
        let module = running.mutation.module.clone();
        if running.lane == Lane::Quorum {
            self.of_quorum.entry(running.object).or_default().insert(attempt.clone());
        }
        if self.running.insert(attempt, running).is_none() {
            *self.counts.entry(module).or_default() += 1;
        }
    }

    /// An attempt has ended.
    pub(crate) fn end(&mut self, ended: AttemptEnded) {
        let attempt = ended.attempt.clone();
        if let Some(ran) = self.running.remove(&attempt) {
            if let Some(of_object) = self.of_quorum.get_mut(&ran.object) {
                of_object.remove(&attempt);
                if of_object.is_empty() {
                    self.of_quorum.remove(&ran.object);
                }
            }
            if let Some(count) = self.counts.get_mut(&ran.mutation.module) {
                *count = count.saturating_sub(1);
            }
        }
        self.ended.put(attempt, ended);
    }

    /// Cancels an attempt that runs and may be cancelled; tells whether there was one.
    pub(crate) fn cancel(&self, attempt: &AttemptId) -> bool {
        let running = self.running.get(attempt).filter(|running| running.cancellable);
        running.inspect(|running| running.cancel.cancel()).is_some()
    }

    /// Whether another attempt of the quorum's lane runs on an object: one who led before may have
    /// begun it.
    pub(crate) fn has_rival(&self, attempt: &AttemptId, object: Uid) -> bool {
        let mut of_object = self.of_quorum.get(&object).into_iter().flatten();
        of_object.any(|other| other != attempt)
    }

    /// How many attempts a module has in hand.
    pub(crate) fn running_of(&self, module: &Name) -> usize {
        self.counts.get(module).copied().unwrap_or_default()
    }

    /// The attempts that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&AttemptId, &RunningAttempt)> {
        self.running.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(count: usize) -> AttemptId {
        AttemptId::derive(&Name::new("n1").unwrap(), 1, count as u64)
    }

    fn module() -> Name {
        Name::new("lamp").unwrap()
    }

    fn attempt(cancellable: bool) -> RunningAttempt {
        RunningAttempt {
            mutation: MutationId::new(module(), Name::new("SwitchOn").unwrap()),
            object: Uid::from_bytes([1; 16]),
            since: Millis::ZERO,
            lane: Lane::Quorum,
            cancellable,
            cancel: CancellationToken::new(),
        }
    }

    fn ended(count: usize) -> AttemptEnded {
        AttemptEnded { attempt: id(count), outcome: Ok(()) }
    }

    #[test]
    fn an_attempt_starts_once_and_its_end_is_told_again() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.admit(&id(1), &module()), Admitted::New);
        attempts.begin(id(1), attempt(true));
        assert_eq!(attempts.admit(&id(1), &module()), Admitted::Runs);
        attempts.end(ended(1));
        assert_eq!(attempts.admit(&id(1), &module()), Admitted::Ended(ended(1)));
    }

    #[test]
    fn a_refused_attempt_is_refused_again_and_the_oldest_are_forgotten() {
        let mut attempts = Attempts::default();
        for count in 0..ATTEMPTS_REFUSED_MAX {
            attempts.refuse(id(count), Admission::Busy);
            attempts.refuse(id(count), Admission::Busy);
        }
        assert_eq!(attempts.refused(&id(0)), Some(Admission::Busy));
        attempts.refuse(id(ATTEMPTS_REFUSED_MAX), Admission::Late);
        assert_eq!(attempts.refused(&id(0)), None);
        assert_eq!(attempts.refused(&id(1)), Some(Admission::Busy));
    }

    #[test]
    fn what_is_barred_never_starts_and_what_runs_is_not_barred() {
        let mut attempts = Attempts::default();
        attempts.begin(id(1), attempt(true));
        assert!(!attempts.bar(id(1)));
        assert_eq!(attempts.refused(&id(1)), None);
        attempts.end(ended(1));
        assert!(attempts.bar(id(1)) && attempts.bar(id(2)));
        assert_eq!(attempts.refused(&id(1)), Some(Admission::Late));
        assert_eq!(attempts.refused(&id(2)), Some(Admission::Late));
    }

    #[test]
    fn a_module_has_a_bound_of_its_own() {
        let mut attempts = Attempts::default();
        for count in 0..ATTEMPTS_RUNNING_MAX {
            assert_eq!(attempts.admit(&id(count), &module()), Admitted::New);
            attempts.begin(id(count), attempt(true));
        }
        let next = id(ATTEMPTS_RUNNING_MAX);
        assert_eq!(attempts.admit(&next, &module()), Admitted::Full);
        assert_eq!(attempts.admit(&next, &Name::new("other").unwrap()), Admitted::New);
        attempts.end(ended(0));
        assert_eq!(attempts.admit(&next, &module()), Admitted::New);
    }

    #[test]
    fn an_object_has_one_attempt_of_the_quorum_at_a_time() {
        let mut attempts = Attempts::default();
        let object = attempt(true).object;
        attempts.begin(id(1), RunningAttempt { lane: Lane::Itself, ..attempt(true) });
        assert!(!attempts.has_rival(&id(2), object));
        attempts.begin(id(2), attempt(true));
        assert!(attempts.has_rival(&id(3), object) && !attempts.has_rival(&id(2), object));
        assert!(!attempts.has_rival(&id(3), Uid::from_bytes([2; 16])));
        attempts.end(ended(2));
        assert!(!attempts.has_rival(&id(3), object));
    }

    #[test]
    fn the_oldest_ended_attempts_are_forgotten() {
        let mut attempts = Attempts::default();
        for count in 0..ATTEMPTS_KEPT_MAX {
            attempts.end(ended(count));
            attempts.end(ended(count));
        }
        assert_eq!(attempts.admit(&id(0), &module()), Admitted::Ended(ended(0)));
        attempts.end(ended(ATTEMPTS_KEPT_MAX));
        assert_eq!(attempts.admit(&id(0), &module()), Admitted::New);
        assert_eq!(attempts.admit(&id(1), &module()), Admitted::Ended(ended(1)));
    }

    #[test]
    fn only_what_may_be_cancelled_is() {
        let mut attempts = Attempts::default();
        let (may, may_not) = (attempt(true), attempt(false));
        attempts.begin(id(1), may.clone());
        attempts.begin(id(2), may_not.clone());
        assert!(attempts.cancel(&id(1)) && may.cancel.is_cancelled());
        assert!(!attempts.cancel(&id(2)) && !may_not.cancel.is_cancelled());
        assert!(!attempts.cancel(&id(3)));
    }
}
