//! What the actors need of the quorum: a port with engine types only. The binary joins it to
//! `kraken_raft`, so that a module author never compiles Raft; tests join it to a store in memory.

#[cfg(any(test, feature = "testing"))]
pub mod memory;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kraken_engine::{
    command::{Outcome, Proposal},
    history::Record,
    id::{ClusterId, Epoch, MemberId, Name, Revision, Term},
    store::{Change, Store},
    time::Millis,
};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, watch};

/// The replicated Cfg, as the rest of a member sees it.
pub trait Quorum: Send + Sync + 'static {
    /// Has a proposal committed and applied; forwarded to the leader from any member.
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Outcome, QuorumError>>;

    /// Runs a function over the store at a consistency. It must be quick: it holds up applying.
    fn with_store<'a>(
        &'a self,
        consistency: Consistency,
        read: Box<dyn FnOnce(&Store) + Send + 'a>,
    ) -> BoxFuture<'a, Result<(), QuorumError>>;

    /// The writes after a revision that this member remembers; all that it has applied before the
    /// call are among them.
    fn history(&self, after: Revision) -> BoxFuture<'_, Result<Box<dyn Records>, QuorumError>>;

    /// What is applied from now on, in order.
    fn commits(&self) -> broadcast::Receiver<Arc<Commit>>;

    /// Who leads; changes are seen as they happen.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// How long ago at most a majority of the members followed this one as their leader; `None`:
    /// it does not lead. By a clock that goes on while the process
    /// is stopped.
    fn followed(&self) -> Option<Duration>;

    /// How the quorum is.
    fn status(&self) -> QuorumStatus;

    /// The history that revisions belong to.
    fn epoch(&self) -> Epoch;

    /// All Cfg as the pieces of a backup; one without its end is not whole.
    fn backup(
        &self,
        consistency: Consistency,
    ) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, QuorumError>>;

    /// Founds a quorum of this one member with what a backup holds, in another epoch.
    fn restore(
        &self,
        pieces: mpsc::Receiver<Bytes>,
    ) -> BoxFuture<'_, Result<MemberId, QuorumError>>;

    /// Founds a cluster of this one member.
    fn init(&self) -> BoxFuture<'_, Result<MemberId, QuorumError>>;

    /// Joins the cluster of which one of these raft addresses is a member.
    ///
    /// A learner does not vote until it is promoted.
    fn join(&self, via: Vec<String>, learner: bool)
    -> BoxFuture<'_, Result<MemberId, QuorumError>>;

    /// Lets a learner vote. Done already where it does.
    fn promote(&self, member: MemberId) -> BoxFuture<'_, Result<(), QuorumError>>;

    /// Removes a member.
    fn remove(&self, member: MemberId) -> BoxFuture<'_, Result<(), QuorumError>>;

    /// Hands leadership to another member.
    fn transfer(&self, to: MemberId) -> BoxFuture<'_, Result<(), QuorumError>>;
}

/// Writes of the past.
pub trait Records: Send {
    /// Hands them over, oldest first, until told to stop. Reads files: not to be called where
    /// waiting for a disk is not allowed.
    fn each(&self, see: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), QuorumError>;
}

/// Writes that were set aside in memory.
impl Records for Vec<Record> {
    fn each(&self, see: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), QuorumError> {
        for record in self {
            if see(record.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads the store with any answer; see [`Quorum::with_store`].
pub async fn read<R: Send>(
    quorum: &dyn Quorum,
    consistency: Consistency,
    read: impl FnOnce(&Store) -> R + Send,
) -> Result<R, QuorumError> {
    let mut answer = None;
    let fill = Box::new(|store: &Store| answer = Some(read(store)));
    quorum.with_store(consistency, fill).await?;
    answer.ok_or(QuorumError::Unavailable("the read was not carried out".to_owned()))
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write acknowledged before it began.
    #[default]
    Linearizable,
    /// What the leader has applied.
    Leader,
    /// What this member has applied.
    Stale,
}

/// What one applied entry did.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The revision after it.
    pub revision: Revision,
    /// Who asked.
    pub author: String,
    /// When, by the proposer's clock.
    pub at: Millis,
    /// The word that was left with it.
    pub note: Option<String>,
    /// What changed.
    pub changes: Vec<Change>,
    /// Whether the catalog changed.
    pub declared: bool,
    /// Everything may have changed: a snapshot was installed.
    pub reset: bool,
}

/// Who leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leadership {
    /// The leading member, if known.
    pub leader: Option<MemberId>,
    /// Whether this member leads.
    pub is_me: bool,
    /// The term.
    pub term: Term,
    /// Whether this leader has applied the first entry of its term: only then may it decide.
    pub is_ready: bool,
}

/// How the quorum is, seen from one member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuorumStatus {
    /// The cluster; absent before it is founded or joined.
    pub cluster: Option<ClusterId>,
    /// This member.
    pub member: Option<MemberId>,
    /// What this member is now: `LEADER`, `FOLLOWER`, `CANDIDATE`, `LEARNER` or `UNINITIALISED`.
    pub role: String,
    /// The term.
    pub term: Term,
    /// The leading member, if known.
    pub leader: Option<MemberId>,
    /// The feature level that is in use: the lowest that any member knows, or knew.
    pub level: u32,
    /// The revision of this member's store.
    pub revision: Revision,
    /// The last log index that is applied here.
    pub applied: u64,
    /// The last log index that is held here.
    pub last_log: u64,
    /// The members, by id.
    pub members: Vec<Member>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its identity in the Raft group.
    pub id: MemberId,
    /// Its node's name.
    pub name: Name,
    /// Where other members reach it.
    pub raft: String,
    /// Where clients reach it.
    pub http: String,
    /// Where leaves attach to it.
    pub sync: String,
    /// The feature level that it knows.
    pub level: u32,
    /// Whether it votes.
    pub voter: bool,
    /// The last log index known to be held there; only the leader knows.
    pub matched: Option<u64>,
}

/// The quorum did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// No leader, no majority, or not founded: nothing was done; trying again may help.
    #[error("the quorum is not available: {0}")]
    Unavailable(String),
    /// The answer did not come in time: whether it was done is not known. Repeating the same
    /// request id is safe.
    #[error("the quorum did not answer in time; whether the write was done is not known")]
    Timeout,
    /// Too many requests wait; trying again later helps.
    #[error("the quorum is overloaded")]
    Overloaded,
    /// The proposal is too large.
    #[error("a proposal of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// What a quorum was to begin with is no backup, or not whole.
    #[error("{0}")]
    BadBackup(String),
    /// A change of membership is refused.
    #[error("{0}")]
    Refused(String),
    /// The past that was asked for is no longer remembered.
    #[error("the history of this member begins after revision {horizon}")]
    Gone {
        /// The oldest revision that can be told.
        horizon: Revision,
    },
}
