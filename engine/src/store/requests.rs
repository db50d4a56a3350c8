//! The answers given lately, so that a request that comes again is answered and not applied again.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::{
    command::{Outcome, RequestId},
    time::Millis,
};

/// Answers kept for repeated requests.
pub const REQUESTS_MAX: usize = 200_000;
/// How long an answer is kept by the times of entries, in milliseconds: longer than any client goes
/// on trying.
pub const REQUESTS_AGE_MS: u64 = 120_000;
/// Most time that counts as passed between two entries, in milliseconds: more may be the clock of
/// one proposer, set to what it should be or should not be.
pub const REQUESTS_GAP_MS: u64 = 10_000;
/// Changed objects that all kept answers name together.
pub const REQUESTS_UIDS_MAX: usize = 1_000_000;

/// An answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) request: RequestId,
    pub(super) outcome: Arc<Outcome>,
    /// The time of its entry; that of a release which wrote no times has none, and goes by its
    /// number alone.
    pub(super) at: Option<Millis>,
}

/// Answers by request; the oldest go first. Copies share what neither has changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    /// In order.
    order: Vector<Kept>,
    outcomes: OrdMap<RequestId, Arc<Outcome>>,
    uids: usize,
    /// The latest time in any entry. Clocks of proposers differ, this does not go back.
    now: Millis,
}

impl Requests {
    /// The answer given to a request, while it is kept.
    pub(super) fn answer(&self, request: &RequestId) -> Option<&Outcome> {
        self.outcomes.get(request).map(Arc::as_ref)
    }

    /// Keeps an answer to an entry of a time, and lets go of what is too old or too much.
    pub(super) fn keep(&mut self, request: RequestId, outcome: Outcome, at: Millis) {
        self.pass_time(at);
        self.push(Kept { request, outcome: Arc::new(outcome), at: Some(self.now) });
        while self.is_over() {
            let Some(oldest) = self.order.pop_front() else { return };
            self.outcomes.remove(&oldest.request);
            self.uids -= uids(&oldest.outcome);
        }
    }

    /// Goes on to the time of an entry. Of a jump only so much counts: the rest is added to the
    /// times of all that is kept.
    fn pass_time(&mut self, at: Millis) {
        let jump = at.since_ms(self.now).saturating_sub(REQUESTS_GAP_MS);
        if jump > 0 {
            let times = self.order.iter_mut().filter_map(|kept| kept.at.as_mut());
            times.for_each(|at| *at = at.after_ms(jump));
        }
        self.now = self.now.max(at);
    }

    fn push(&mut self, kept: Kept) {
        self.uids += uids(&kept.outcome);
        self.outcomes.insert(kept.request.clone(), kept.outcome.clone());
        self.order.push_back(kept);
    }

    fn is_over(&self) -> bool {
        let is_old = |at: Millis| at.after_ms(REQUESTS_AGE_MS) < self.now;
        self.order.len() > REQUESTS_MAX
            || (self.uids > REQUESTS_UIDS_MAX && self.order.len() > 1)
            || self.order.front().is_some_and(|kept| kept.at.is_some_and(is_old))
    }

    /// What is kept, oldest first.
    pub(super) fn kept(&self) -> impl ExactSizeIterator<Item = &Kept> {
        self.order.iter()
    }
}

impl FromIterator<Kept> for Requests {
    fn from_iter<I: IntoIterator<Item = Kept>>(all: I) -> Self {
        let mut requests = Self::default();
        for kept in all {
            requests.now = requests.now.max(kept.at.unwrap_or_default());
            requests.push(kept);
        }
        requests
    }
}

#[cfg(test)]
impl Requests {
    /// How many answers stand in leaves that a copy does not share; each is held twice anyhow.
    pub(super) fn unshared(&self) -> usize {
        self.outcomes.values().filter(|outcome| Arc::strong_count(outcome) > 2).count()
    }
}

fn uids(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Applied { changed, .. } => changed.len(),
        Outcome::Refused(_) => 0,
    }
}
