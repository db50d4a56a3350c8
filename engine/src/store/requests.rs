//! The answers given lately, so that a request that comes again is answered and not applied again.

use std::collections::{BTreeMap, VecDeque};

use crate::command::{Outcome, RequestId};

/// Answers kept for repeated requests.
pub const REQUESTS_MAX: usize = 10_000;
/// Changed objects that all kept answers name together.
pub const REQUESTS_UIDS_MAX: usize = 1_000_000;

/// Answers by request; the oldest go first.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    order: VecDeque<RequestId>,
    outcomes: BTreeMap<RequestId, Outcome>,
    uids: usize,
}

impl Requests {
    /// The answer given to a request, while it is kept.
    pub(super) fn answer(&self, request: &RequestId) -> Option<&Outcome> {
        self.outcomes.get(request)
    }

    /// Keeps an answer, and lets go of the oldest while there are too many.
    pub(super) fn keep(&mut self, request: RequestId, outcome: Outcome) {
        self.uids += uids(&outcome);
        self.order.push_back(request.clone());
        self.outcomes.insert(request, outcome);
        while self.order.len() > REQUESTS_MAX
            || (self.uids > REQUESTS_UIDS_MAX && self.order.len() > 1)
        {
            let oldest = self.order.pop_front().and_then(|oldest| self.outcomes.remove(&oldest));
            self.uids -= oldest.as_ref().map_or(0, uids);
        }
    }

    /// Request and answer, oldest first.
    pub(super) fn into_pairs(mut self) -> Vec<(RequestId, Outcome)> {
        let pairs = self.order.into_iter();
        pairs.filter_map(|id| Some((id.clone(), self.outcomes.remove(&id)?))).collect()
    }
}

impl FromIterator<(RequestId, Outcome)> for Requests {
    fn from_iter<I: IntoIterator<Item = (RequestId, Outcome)>>(pairs: I) -> Self {
        let mut requests = Self::default();
        for (request, outcome) in pairs {
            requests.keep(request, outcome);
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
