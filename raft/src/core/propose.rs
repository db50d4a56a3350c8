//! Proposals: to the leader, wherever it is, until it has answered or the time is up. A repeated
//! one carries the same request id and is applied once.

use std::{sync::Arc, time::Duration};

use kraken_engine::command::{Outcome, PROPOSAL_BYTES_MAX, Proposal};
use openraft::{
    RaftMetrics,
    errors::{ClientWriteError, RaftError},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Core, Node};
use crate::{
    entropy,
    transport::{Channel, LinkError, Reply, Request, decode, encoded},
    types::{Data, Types},
};

/// Time for the leader to answer before it is asked, or looked for, again.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);
/// First pause before another attempt; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No leader took it; it was not applied.
    #[error("the quorum is not available: {why}")]
    Unavailable {
        /// What the last attempt met.
        why: String,
    },
    /// As many proposals as may be are under way, here or at the leader; it was not applied.
    #[error("as many proposals as may be are under way; try again in a moment")]
    Overloaded,
    /// The time was up before the answer; it may be applied. Repeat it with the same request id.
    #[error("no answer in time; the proposal may or may not have been applied: {why}")]
    Timeout {
        /// What the last attempt met.
        why: String,
    },
    /// Larger than a proposal may be.
    #[error("a proposal of {bytes} bytes is larger than {PROPOSAL_BYTES_MAX}; split it")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It cannot be encoded.
    #[error("the proposal cannot be encoded: {why}")]
    Codec {
        /// Why not.
        why: String,
    },
}

impl ProposeError {
    /// Whether the same proposal may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Overloaded | Self::Timeout { .. } => true,
            Self::TooLarge { .. } | Self::Codec { .. } => false,
        }
    }
}

/// An attempt without outcome.
pub(super) struct Missed {
    /// Whether it may be applied all the same.
    pub(super) unknown: bool,
    /// Whether there is too much to do already.
    pub(super) full: bool,
    pub(super) why: String,
}

impl Missed {
    pub(super) fn clean(why: impl Into<String>) -> Self {
        Self { unknown: false, full: false, why: why.into() }
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self { unknown: true, ..Self::clean(why) }
    }

    pub(super) fn full(why: impl Into<String>) -> Self {
        Self { full: true, ..Self::clean(why) }
    }

    /// What a link met.
    pub(super) fn link(error: &LinkError) -> Self {
        let unknown = !error.is_unsent();
        let full = matches!(error, LinkError::Full { .. });
        Self { unknown, full, why: error.to_string() }
    }

    /// A reply that is no outcome.
    fn reply(reply: &Reply) -> Self {
        match reply {
            Reply::Unknown(why) => Self::unknown(why.as_str()),
            Reply::Overloaded => Self::full(describe(reply)),
            other => Self::clean(describe(other)),
        }
    }
}

/// Pauses that grow.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(PAUSE_MIN)
    }

    /// Waits; false when the time is up.
    pub(super) async fn wait(&mut self, deadline: Instant) -> bool {
        let now = Instant::now();
        if now >= deadline {
            return false;
        }
        sleep(self.0.min(deadline - now)).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
        true
    }
}

/// Encodes a proposal, with a request id of its own where it has none.
pub(crate) fn prepare(mut proposal: Proposal) -> Result<Data, ProposeError> {
    proposal.request.get_or_insert_with(entropy::request);
    let data =
        Data::encode(proposal).map_err(|error| ProposeError::Codec { why: error.to_string() })?;
    match data.bytes().len() {
        bytes if bytes > PROPOSAL_BYTES_MAX => Err(ProposeError::TooLarge { bytes }),
        _ => Ok(data),
    }
}

impl Core {
    /// Proposes until there is an outcome or the time is up.
    pub(crate) async fn propose(&self, data: Data) -> Result<Outcome, ProposeError> {
        let deadline = Instant::now() + self.options.timers.request;
        // Who has to wait here would wait without a bound: it is told at once.
        let _permit = self.proposals.try_acquire().map_err(|_| ProposeError::Overloaded)?;
        let kib = u32::try_from(data.bytes().len().div_ceil(1_024)).unwrap_or(u32::MAX);
        let room = self.proposed_kib.try_acquire_many(kib);
        let _room = room.map_err(|_| ProposeError::Overloaded)?;
        let (mut pauses, mut unknown) = (Pauses::new(), false);
        loop {
            let missed = match self.propose_once(&data, deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(missed) => missed,
            };
            unknown |= missed.unknown;
            if missed.full && !unknown {
                return Err(ProposeError::Overloaded);
            }
            if !pauses.wait(deadline).await {
                let why = missed.why;
                return Err(if unknown {
                    ProposeError::Timeout { why }
                } else {
                    ProposeError::Unavailable { why }
                });
            }
        }
    }

    async fn propose_once(&self, data: &Data, deadline: Instant) -> Result<Outcome, Missed> {
        let node = self.node().ok_or_else(|| Missed::clean("this is no member yet"))?;
        match node.leader() {
            Some(leader) if leader == node.member => node.write(data.clone(), deadline).await,
            Some(leader) => node.forward(leader, data, deadline).await,
            None => Err(Missed::clean("no leader is known")),
        }
    }
}

impl Node {
    /// Writes as the leader.
    pub(super) async fn write(&self, data: Data, deadline: Instant) -> Result<Outcome, Missed> {
        let written = timeout_at(deadline, self.raft.client_write(data)).await;
        match written.map_err(|_| Missed::unknown("the quorum did not answer"))? {
            Ok(response) => {
                response.data.0.ok_or_else(|| Missed::clean("the entry was no proposal"))
            }
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                Err(Missed::unknown("the leader changed"))
            }
            Err(RaftError::APIError(error)) => Err(Missed::clean(error.to_string())),
            Err(RaftError::Fatal(error)) => Err(Missed::unknown(error.to_string())),
        }
    }

    async fn forward(
        &self,
        leader: u64,
        data: &Data,
        deadline: Instant,
    ) -> Result<Outcome, Missed> {
        let request = Request::Propose(data.clone());
        match self.ask_leader(leader, &request, deadline).await? {
            Reply::Outcome(outcome) => Ok(outcome),
            other => Err(Missed::reply(&other)),
        }
    }

    /// Asks the leader once. What was asked of one that leads no longer may never be answered, so
    /// that it counts as missed as soon as another one is known.
    pub(super) async fn ask_leader(
        &self,
        leader: u64,
        request: &Request,
        deadline: Instant,
    ) -> Result<Reply, Missed> {
        let limit = FORWARD_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let is_replaced =
            |now: &RaftMetrics<Types>| now.current_leader.is_some_and(|another| another != leader);
        tokio::select! {
            reply = self.ask(leader, Channel::Forward, request, limit) => reply,
            Some(_) = self.until(deadline, is_replaced) => {
                Err(Missed::unknown("the leader changed"))
            }
        }
    }

    /// Asks another member once.
    pub(super) async fn ask(
        &self,
        member: u64,
        channel: Channel,
        request: &Request,
        limit: Duration,
    ) -> Result<Reply, Missed> {
        let address = self.address(member).ok_or_else(|| Missed::clean("the leader is gone"))?;
        let link: Arc<_> = self.links.get(member, &address, channel);
        let body = encoded(request).map_err(|error| Missed::clean(error.to_string()))?;
        let reply = link.call(body, limit).await;
        let reply = reply.map_err(|error| Missed::link(&error))?;
        decode(&reply).map_err(|error| Missed::unknown(error.to_string()))
    }
}

/// Why a reply is not the one that was wanted.
pub(super) fn describe(reply: &Reply) -> String {
    match reply {
        Reply::NotLeader(_) => "the leader changed".to_owned(),
        Reply::Overloaded => "the leader has too much to do".to_owned(),
        Reply::Unavailable(why) | Reply::Unknown(why) | Reply::Refused(why) => why.clone(),
        Reply::Append(_)
        | Reply::Vote(_)
        | Reply::Transferred(_)
        | Reply::Received
        | Reply::Installed(_)
        | Reply::Outcome(_)
        | Reply::ReadIndex(_)
        | Reply::Joined { .. }
        | Reply::Judged(_)
        | Reply::Done => "the peer answered to something else".to_owned(),
    }
}
