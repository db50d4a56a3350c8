//! Reads. A linearizable one asks the leader, which asks a quorum, up to where the log was
//! committed when the read began, and then waits until this member has applied as much. Reads that
//! come while one asks share the next asking, so that a thousand of them cost one round.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::{
    LinearizerOption, ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    Core, Node,
    propose::{Missed, Pauses, describe},
};
use crate::transport::{Reply, Request};

/// Reads that may wait for one asking.
pub const READERS_MAX: usize = 65_536;

/// How fresh a read is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Never older than anything that was answered before it began, at whichever member. No clock
    /// is involved.
    #[default]
    Linearizable,
    /// As above as long as clocks run at nearly the same rate: the leader relies on its lease and
    /// asks nobody.
    Leader,
    /// What this member has, at once.
    Stale,
}

/// A read cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed it in time.
    #[error("the quorum is not available: {why}; a stale read is possible")]
    Unavailable {
        /// What the last attempt met.
        why: String,
    },
    /// As many reads as may be wait already.
    #[error("as many reads as may be are under way; try again in a moment")]
    Overloaded,
    /// This member has not applied what the leader has.
    #[error("this member lags behind the leader; ask another one, or read stale")]
    Behind,
    /// The store may be half-way; the process is about to end.
    #[error("this member has stopped")]
    Stopped,
}

impl ReadError {
    /// Whether the same read may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Overloaded | Self::Behind => true,
            Self::Stopped => false,
        }
    }
}

type Answer = Result<u64, ReadError>;

/// Reads that wait for the next asking.
#[derive(Default)]
pub(super) struct Rounds {
    index: Mutex<Round>,
    lease: Mutex<Round>,
}

#[derive(Default)]
struct Round {
    asking: bool,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Rounds {
    fn of(&self, lease: bool) -> std::sync::MutexGuard<'_, Round> {
        let round = if lease { &self.lease } else { &self.index };
        round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Waits until a read of this consistency may be made here.
    pub(crate) async fn ready_to_read(
        self: &Arc<Self>,
        consistency: Consistency,
    ) -> Result<(), ReadError> {
        let lease = match consistency {
            Consistency::Stale => return Ok(()),
            Consistency::Leader => true,
            Consistency::Linearizable => false,
        };
        let deadline = Instant::now() + self.options.timers.request;
        let next = self.join_round(lease).await?;
        let mut applied = self.shared.watch();
        let caught_up = timeout_at(deadline, applied.wait_for(|applied| *applied >= next)).await;
        match caught_up {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ReadError::Stopped),
            Err(_) => Err(ReadError::Behind),
        }
    }

    async fn join_round(self: &Arc<Self>, lease: bool) -> Answer {
        let (answer, waiting) = oneshot::channel();
        let ask = {
            let mut round = self.rounds.of(lease);
            if round.waiting.len() >= READERS_MAX {
                return Err(ReadError::Overloaded);
            }
            round.waiting.push(answer);
            !mem::replace(&mut round.asking, true)
        };
        if ask {
            tokio::spawn(Arc::clone(self).ask_rounds(lease));
        }
        waiting.await.unwrap_or(Err(ReadError::Stopped))
    }

    async fn ask_rounds(self: Arc<Self>, lease: bool) {
        loop {
            let readers = {
                let mut round = self.rounds.of(lease);
                round.asking = !round.waiting.is_empty();
                mem::take(&mut round.waiting)
            };
            if readers.is_empty() {
                return;
            }
            let answer = self.read_index(lease).await;
            for reader in readers {
                // A reader may have given up.
                drop(reader.send(answer.clone()));
            }
        }
    }

    async fn read_index(&self, lease: bool) -> Answer {
        let deadline = Instant::now() + self.options.timers.request;
        let mut pauses = Pauses::new();
        loop {
            let missed = match self.read_index_once(lease, deadline).await {
                Ok(next) => return Ok(next),
                Err(missed) => missed,
            };
            if !pauses.wait(deadline).await {
                return Err(ReadError::Unavailable { why: missed.why });
            }
        }
    }

    async fn read_index_once(&self, lease: bool, deadline: Instant) -> Result<u64, Missed> {
        let node = self.node().ok_or_else(|| Missed::clean("this is no member yet"))?;
        let leader = node.leader().ok_or_else(|| Missed::clean("no leader is known"))?;
        if leader == node.member {
            return node.confirm(lease).await;
        }
        match node.ask_leader(leader, &Request::ReadIndex { lease }, deadline).await? {
            Reply::ReadIndex(next) => Ok(next),
            other => Err(Missed::clean(describe(&other))),
        }
    }
}

impl Node {
    /// As the leader: the index that has to be applied next where a read is made now, at least. By
    /// its lease it says so only where nobody can have followed it yet.
    pub(super) async fn confirm(&self, lease: bool) -> Result<u64, Missed> {
        if lease && !self.may_lead(&self.metrics()) {
            return Err(Missed::clean("the leader gives the lead away"));
        }
        let how = if lease {
            LinearizerOption::new(Some(self.lease), false).with_wait_timeout(Duration::ZERO)
        } else {
            ReadPolicy::ReadIndex.into()
        };
        match self.raft.get_read_log_id(how).await {
            Ok((read, _)) => Ok(read.index() + 1),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
                Err(Missed::clean("the leader changed"))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(few))) => {
                Err(Missed::clean(self.silent(&few.got)))
            }
            Err(error) => Err(Missed::clean(error.to_string())),
        }
    }

    /// That those who answered are no majority, in words.
    fn silent(&self, answered: &BTreeSet<u64>) -> String {
        let metrics = self.metrics();
        let stored = &metrics.membership_config;
        let voters: BTreeSet<u64> = stored.voter_ids().collect();
        let silent = voters.iter().filter(|id| !answered.contains(id) && **id != self.member);
        let silent: Vec<&str> =
            silent.filter_map(|id| Some(stored.get_node(id)?.name.as_str())).collect();
        let (few, all) = (silent.len(), voters.len());
        format!("{few} of {all} members do not answer: {}", silent.join(", "))
    }
}
