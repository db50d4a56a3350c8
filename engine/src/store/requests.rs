//! The answers given lately, so that a request that comes again is answered and not applied again.

use std::collections::{BTreeMap, VecDeque};

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

/// Answers by request; the oldest go first.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    /// In order, each with the time of its entry; those of a release that wrote no times have
    /// none, and go by their number alone.
    order: VecDeque<(RequestId, Option<Millis>)>,
    outcomes: BTreeMap<RequestId, Outcome>,
    uids: usize,
    /// The latest time in any entry. Clocks of proposers differ, this does not go back.
    now: Millis,
}

impl Requests {
    /// The answer given to a request, while it is kept.
    pub(super) fn answer(&self, request: &RequestId) -> Option<&Outcome> {
        self.outcomes.get(request)
    }

    /// Keeps an answer to an entry of a time, and lets go of what is too old or too much.
    pub(super) fn keep(&mut self, request: RequestId, outcome: Outcome, at: Millis) {
        self.pass_time(at);
        self.push(request, outcome, Some(self.now));
        while self.is_over() {
            let oldest = self.order.pop_front();
            let oldest = oldest.and_then(|(oldest, _)| self.outcomes.remove(&oldest));
            self.uids -= oldest.as_ref().map_or(0, uids);
        }
    }

    /// Goes on to the time of an entry. Of a jump only so much counts: the rest is added to the
    /// times of all that is kept.
    fn pass_time(&mut self, at: Millis) {
        let jump = at.since_ms(self.now).saturating_sub(REQUESTS_GAP_MS);
        if jump > 0 {
            let times = self.order.iter_mut().filter_map(|(_, at)| at.as_mut());
            times.for_each(|at| *at = at.after_ms(jump));
        }
        self.now = self.now.max(at);
    }

    fn push(&mut self, request: RequestId, outcome: Outcome, at: Option<Millis>) {
        self.uids += uids(&outcome);
        self.order.push_back((request.clone(), at));
        self.outcomes.insert(request, outcome);
    }

    fn is_over(&self) -> bool {
        let is_old = |at: Millis| at.after_ms(REQUESTS_AGE_MS) < self.now;
        self.order.len() > REQUESTS_MAX
            || (self.uids > REQUESTS_UIDS_MAX && self.order.len() > 1)
            || self.order.front().is_some_and(|(_, at)| at.is_some_and(is_old))
    }

    /// Request and answer, oldest first, and the times of their entries.
    pub(super) fn into_parts(mut self) -> (Vec<(RequestId, Outcome)>, Vec<Option<Millis>>) {
        let kept = self.order.into_iter();
        let kept = kept.filter_map(|(id, at)| Some(((id.clone(), self.outcomes.remove(&id)?), at)));
        kept.unzip()
    }

    /// What was kept, with as many times as were written.
    pub(super) fn from_parts(pairs: Vec<(RequestId, Outcome)>, times: &[Option<Millis>]) -> Self {
        let mut requests = Self::default();
        for (index, (request, outcome)) in pairs.into_iter().enumerate() {
            let at = times.get(index).copied().flatten();
            requests.now = requests.now.max(at.unwrap_or_default());
            requests.push(request, outcome, at);
        }
        requests
    }
}

fn uids(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Applied { changed, .. } => changed.len(),
        Outcome::Refused(_) => 0,
    }
}
