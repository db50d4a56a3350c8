//! Joins the member of `kraken_raft` to the port of `kraken_actors`: the two rooms do not know each
//! other, so words are translated here, one for one, and nothing is decided.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kraken_actors::quorum::{
    Commit, Consistency, Leadership, Member, Quorum, QuorumError, QuorumStatus, Records,
};
use kraken_engine::{
    command::{Outcome, PROPOSAL_BYTES_MAX, Proposal},
    history::Record,
    id::{ClusterId, Epoch, MemberId, Name, Revision},
    store::Store,
};
use kraken_raft::{
    AppliedEntry, Handle, HistoryError, MembershipError, ProposeError, ReadError, Reading,
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, watch,
};

/// Commits that a follower of them may lag behind before it has to read everything anew.
const COMMITS_MAX: usize = 4_096;

/// A member of the quorum behind the port.
pub(crate) struct RaftQuorum {
    raft: Handle,
    commits: broadcast::Sender<Arc<Commit>>,
    leadership: watch::Receiver<Leadership>,
}

impl RaftQuorum {
    /// Puts a member behind the port. Must be called within a tokio runtime.
    pub(crate) fn new(raft: Handle) -> Arc<Self> {
        let (commits, _) = broadcast::channel(COMMITS_MAX);
        tokio::spawn(forward_commits(raft.clone(), raft.subscribe(), commits.clone()));
        let mut theirs = raft.watch_leadership();
        let (ours, leadership) = watch::channel(translate(*theirs.borrow_and_update()));
        tokio::spawn(forward_leadership(theirs, ours));
        Arc::new(Self { raft, commits, leadership })
    }
}

/// Passes on what is applied until the member ends or nobody is left to follow.
async fn forward_commits(
    raft: Handle,
    mut applied: broadcast::Receiver<Arc<AppliedEntry>>,
    commits: broadcast::Sender<Arc<Commit>>,
) {
    loop {
        let commit = match applied.recv().await {
            Ok(entry) => commit(&entry),
            Err(RecvError::Lagged(_)) => missed(raft.status().revision),
            Err(RecvError::Closed) => return,
        };
        // Nobody following is no fault: who begins to follow reads the store first.
        drop(commits.send(Arc::new(commit)));
    }
}

async fn forward_leadership(
    mut theirs: watch::Receiver<kraken_raft::Leadership>,
    ours: watch::Sender<Leadership>,
) {
    while theirs.changed().await.is_ok() {
        let now = translate(*theirs.borrow_and_update());
        ours.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

fn commit(entry: &AppliedEntry) -> Commit {
    Commit {
        revision: entry.revision,
        author: entry.author.clone(),
        at: entry.at,
        note: entry.note.clone(),
        changes: entry.changes.clone(),
        declared: entry.declared,
        reset: entry.reset,
    }
}

/// Stands for the commits that were missed: everything may have changed.
fn missed(revision: Revision) -> Commit {
    let entry = AppliedEntry {
        revision,
        author: String::new(),
        at: kraken_engine::time::Millis::ZERO,
        note: None,
        changes: Vec::new(),
        declared: true,
        reset: true,
    };
    commit(&entry)
}

fn translate(theirs: kraken_raft::Leadership) -> Leadership {
    Leadership {
        leader: theirs.leader,
        is_me: theirs.is_me,
        term: theirs.term,
        is_ready: theirs.ready,
    }
}

fn propose_error(error: ProposeError) -> QuorumError {
    match error {
        ProposeError::Unavailable { why } => QuorumError::Unavailable(why),
        ProposeError::Overloaded => QuorumError::Overloaded,
        ProposeError::Timeout { .. } => QuorumError::Timeout,
        ProposeError::TooLarge { bytes } => {
            QuorumError::TooLarge { bytes, limit: PROPOSAL_BYTES_MAX }
        }
        ProposeError::Codec { .. } => QuorumError::Refused(error.to_string()),
    }
}

fn read_error(error: ReadError) -> QuorumError {
    match error {
        ReadError::Unavailable { why } => QuorumError::Unavailable(why),
        ReadError::Overloaded => QuorumError::Overloaded,
        ReadError::Behind | ReadError::Stopped => QuorumError::Unavailable(error.to_string()),
    }
}

fn history_error(error: HistoryError) -> QuorumError {
    match error {
        HistoryError::Gone { horizon } => QuorumError::Gone { horizon },
        HistoryError::Stopped | HistoryError::Read(_) => {
            QuorumError::Unavailable(format!("{:#}", anyhow::Error::new(error)))
        }
    }
}

/// Files of the history behind the port.
struct Written(Reading);

impl Records for Written {
    fn each(&self, see: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<(), QuorumError> {
        self.0.each(see).map_err(history_error)
    }
}

fn membership_error(error: MembershipError) -> QuorumError {
    match error {
        MembershipError::Unavailable { why } => QuorumError::Unavailable(why),
        MembershipError::Timeout => QuorumError::Timeout,
        MembershipError::Refused { why } => QuorumError::Refused(why),
        MembershipError::Backup(_) => {
            QuorumError::BadBackup(format!("{:#}", anyhow::Error::new(error)))
        }
        MembershipError::Member { .. } | MembershipError::Folder(_) | MembershipError::Start(_) => {
            QuorumError::Refused(format!("{:#}", anyhow::Error::new(error)))
        }
    }
}

fn consistency(asked: Consistency) -> kraken_raft::Consistency {
    match asked {
        Consistency::Linearizable => kraken_raft::Consistency::Linearizable,
        Consistency::Leader => kraken_raft::Consistency::Leader,
        Consistency::Stale => kraken_raft::Consistency::Stale,
    }
}

fn role(role: kraken_raft::Role) -> &'static str {
    match role {
        kraken_raft::Role::Leader => "LEADER",
        kraken_raft::Role::Follower => "FOLLOWER",
        kraken_raft::Role::Learner => "LEARNER",
        kraken_raft::Role::Candidate => "CANDIDATE",
        kraken_raft::Role::Uninitialised => "UNINITIALISED",
    }
}

/// A member as others see it; `None` where its name is none, which raft does not let in.
fn member(theirs: kraken_raft::Member) -> Option<Member> {
    Some(Member {
        id: theirs.id,
        name: Name::new(theirs.name).ok()?,
        raft: theirs.address,
        http: theirs.http,
        sync: theirs.sync,
        level: theirs.level,
        voter: theirs.voter,
        matched: theirs.matched,
    })
}

impl Quorum for RaftQuorum {
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Outcome, QuorumError>> {
        Box::pin(async move { self.raft.propose(proposal).await.map_err(propose_error) })
    }

    fn with_store<'a>(
        &'a self,
        asked: Consistency,
        read: Box<dyn FnOnce(&Store) + Send + 'a>,
    ) -> BoxFuture<'a, Result<(), QuorumError>> {
        let consistency = consistency(asked);
        Box::pin(async move { self.raft.read_with(consistency, read).await.map_err(read_error) })
    }

    fn history(&self, after: Revision) -> BoxFuture<'_, Result<Box<dyn Records>, QuorumError>> {
        Box::pin(async move {
            let reading = self.raft.history(after).await.map_err(history_error)?;
            Ok(Box::new(Written(reading)) as Box<dyn Records>)
        })
    }

    fn commits(&self) -> broadcast::Receiver<Arc<Commit>> {
        self.commits.subscribe()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn followed(&self) -> Option<Duration> {
        self.raft.followed()
    }

    fn status(&self) -> QuorumStatus {
        let theirs = self.raft.status();
        QuorumStatus {
            cluster: Some(theirs.cluster).filter(|cluster| *cluster != ClusterId::default()),
            member: theirs.member,
            role: role(theirs.role).to_owned(),
            term: theirs.term,
            leader: theirs.leader,
            level: theirs.level,
            revision: theirs.revision,
            applied: theirs.applied,
            last_log: theirs.last_log.unwrap_or_default(),
            members: theirs.members.into_iter().filter_map(member).collect(),
        }
    }

    fn epoch(&self) -> Epoch {
        self.raft.epoch()
    }

    fn backup(
        &self,
        asked: Consistency,
    ) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, QuorumError>> {
        Box::pin(async move { self.raft.backup(consistency(asked)).await.map_err(read_error) })
    }

    fn restore(
        &self,
        pieces: mpsc::Receiver<Bytes>,
    ) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        Box::pin(async move { self.raft.restore(pieces).await.map_err(membership_error) })
    }

    fn init(&self) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        Box::pin(async move { self.raft.init().await.map_err(membership_error) })
    }

    fn join(
        &self,
        via: Vec<String>,
        learner: bool,
    ) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        Box::pin(async move { self.raft.join(via, learner).await.map_err(membership_error) })
    }

    fn remove(&self, member: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        Box::pin(async move { self.raft.remove(member).await.map_err(membership_error) })
    }

    fn promote(&self, member: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        Box::pin(async move { self.raft.promote(member).await.map_err(membership_error) })
    }

    fn transfer(&self, to: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        Box::pin(async move { self.raft.transfer(to).await.map_err(membership_error) })
    }
}
