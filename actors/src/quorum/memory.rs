//! A quorum of one in memory, for tests: commits at once, keeps nothing, may be told not to answer.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kraken_engine::{
    command::{Command, Outcome, Proposal},
    history::{Changed, Record},
    id::{ClusterId, Epoch, MemberId, Name, Revision, Term},
    store::{LEVEL, Store},
    time::Millis,
};
use tokio::sync::{broadcast, mpsc, watch};

use super::{Commit, Consistency, Leadership, Member, Quorum, QuorumError, QuorumStatus, Records};

/// Commits that a receiver may lag behind.
const COMMITS_MAX: usize = 1_024;
const TERM: Term = Term::new(1);

/// The quorum in memory. It is founded from the start, and leads.
pub struct MemoryQuorum {
    store: Mutex<Store>,
    member: Member,
    commits: broadcast::Sender<Arc<Commit>>,
    leadership: watch::Sender<Leadership>,
    down: AtomicBool,
    /// All writes.
    history: Mutex<Vec<Record>>,
}

impl MemoryQuorum {
    /// A quorum whose only member is `name`.
    pub fn new(name: Name) -> Arc<Self> {
        let id = MemberId::new(1);
        let leadership = Leadership { leader: Some(id), is_me: true, term: TERM, is_ready: true };
        let member = Member {
            id,
            name,
            raft: String::new(),
            http: String::new(),
            sync: String::new(),
            level: LEVEL,
            voter: true,
            matched: None,
        };
        let quorum = Self {
            store: Mutex::new(Store::new()),
            member,
            commits: broadcast::channel(COMMITS_MAX).0,
            leadership: watch::channel(leadership).0,
            down: AtomicBool::new(false),
            history: Mutex::default(),
        };
        quorum.commit(&Proposal {
            request: None,
            author: "test".to_owned(),
            at: Millis::ZERO,
            command: Command::Found { cluster: ClusterId::new(7) },
        });
        Arc::new(quorum)
    }

    /// Whether it answers from now on.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Says who leads from now on.
    pub fn set_leadership(&self, leadership: Leadership) {
        self.leadership.send_replace(leadership);
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, proposal: &Proposal) -> Outcome {
        let mut store = self.store();
        let index = Revision::new(store.revision().get() + 1);
        let applied = store.apply(index, TERM, proposal);
        let note = match &proposal.command {
            Command::Txn(txn) => txn.note.clone(),
            _ => None,
        };
        let changes: Vec<Changed> = applied.changes.iter().map(Changed::of).collect();
        if !changes.is_empty() {
            self.records().push(Record {
                revision: store.revision(),
                at: proposal.at,
                author: proposal.author.clone(),
                note: note.clone(),
                changes,
            });
        }
        let commit = Commit {
            revision: store.revision(),
            author: proposal.author.clone(),
            at: proposal.at,
            note,
            changes: applied.changes,
            declared: applied.declared,
            reset: false,
        };
        // Fails only while nobody listens.
        self.commits.send(Arc::new(commit)).ok();
        applied.outcome
    }

    fn check(&self) -> Result<(), QuorumError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(QuorumError::Unavailable("told to be away".to_owned()));
        }
        Ok(())
    }
}

impl Quorum for MemoryQuorum {
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Outcome, QuorumError>> {
        Box::pin(async move {
            self.check()?;
            Ok(self.commit(&proposal))
        })
    }

    fn with_store<'a>(
        &'a self,
        consistency: Consistency,
        read: Box<dyn FnOnce(&Store) + Send + 'a>,
    ) -> BoxFuture<'a, Result<(), QuorumError>> {
        Box::pin(async move {
            if consistency != Consistency::Stale {
                self.check()?;
            }
            read(&self.store());
            Ok(())
        })
    }

    fn history(&self, after: Revision) -> BoxFuture<'_, Result<Box<dyn Records>, QuorumError>> {
        let records = self.records().clone();
        Box::pin(async move {
            let later = records.into_iter().filter(|record| record.revision > after);
            Ok(Box::new(later.collect::<Vec<Record>>()) as Box<dyn Records>)
        })
    }

    fn commits(&self) -> broadcast::Receiver<Arc<Commit>> {
        self.commits.subscribe()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn followed(&self) -> Option<Duration> {
        let leads = self.leadership.borrow().is_me && self.check().is_ok();
        leads.then_some(Duration::ZERO)
    }

    fn status(&self) -> QuorumStatus {
        let store = self.store();
        let leadership = *self.leadership.borrow();
        QuorumStatus {
            cluster: Some(store.cluster()),
            member: Some(self.member.id),
            role: if leadership.is_me { "LEADER" } else { "FOLLOWER" }.to_owned(),
            term: leadership.term,
            leader: leadership.leader,
            level: store.level(),
            revision: store.revision(),
            applied: store.revision().get(),
            last_log: store.revision().get(),
            members: vec![self.member.clone()],
        }
    }

    fn epoch(&self) -> Epoch {
        self.store().epoch()
    }

    fn backup(&self, _: Consistency) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, QuorumError>> {
        Box::pin(async { Err(QuorumError::Refused("there is no backup of memory".to_owned())) })
    }

    fn restore(&self, _: mpsc::Receiver<Bytes>) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        Box::pin(async { Err(QuorumError::Refused("founded already".to_owned())) })
    }

    fn init(&self) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        Box::pin(async { Err(QuorumError::Refused("founded already".to_owned())) })
    }

    fn join(&self, _: Vec<String>, _: bool) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        Box::pin(async { Err(QuorumError::Refused("a member already".to_owned())) })
    }

    fn remove(&self, _: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        Box::pin(async { Err(QuorumError::Refused("the last member stays".to_owned())) })
    }

    fn promote(&self, _: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        Box::pin(async { Ok(()) })
    }

    fn transfer(&self, _: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        Box::pin(async { Err(QuorumError::Refused("there is no other member".to_owned())) })
    }
}
