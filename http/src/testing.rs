//! A member in memory: the port of the quorum over a store, and a state actor beside it, so that
//! the edge can be tried without a network, a disk or a vote.

use std::time::Duration;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use kraken_actors::{
    clock::Clock,
    module::reporter::Stamps,
    quorum::{Commit, Consistency, Leadership, Member, Quorum, QuorumError, QuorumStatus, Records},
    spans::Spans,
    state::StateHandle,
};
use kraken_engine::{
    catalog::Catalog,
    command::{Command, Outcome, PROPOSAL_BYTES_MAX, Proposal},
    history::{Changed, Record},
    id::{ClusterId, Epoch, MemberId, Name, Revision, Term},
    manifest::Manifest,
    store::{LEVEL, Store},
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{broadcast, mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Api,
    server::{Limits, ServeError, Server, serve_with_old},
};

/// What stands for a backup.
pub const BACKUP: [&[u8]; 2] = [b"all of ", b"it"];
/// Commits that a watcher of the port may be behind.
const COMMITS_MAX: usize = 256;

/// A quorum of one member in memory.
#[derive(Debug)]
pub struct MemoryQuorum {
    store: Mutex<Store>,
    index: AtomicU64,
    commits: broadcast::Sender<Arc<Commit>>,
    leadership: watch::Sender<Leadership>,
    founded: Mutex<Option<Member>>,
    /// What every call answers instead of doing anything.
    fault: Mutex<Option<QuorumError>>,
    /// How many reads had to ask the quorum.
    asked: AtomicU64,
    /// The writes after a revision.
    history: Mutex<(Revision, Vec<Record>)>,
    name: Name,
}

impl MemoryQuorum {
    /// A quorum that is not founded yet.
    pub fn new(name: Name) -> Self {
        Self {
            store: Mutex::new(Store::new()),
            index: AtomicU64::new(0),
            commits: broadcast::channel(COMMITS_MAX).0,
            leadership: watch::channel(Leadership::default()).0,
            founded: Mutex::new(None),
            fault: Mutex::new(None),
            asked: AtomicU64::new(0),
            history: Mutex::default(),
            name,
        }
    }

    /// Has every call fail from now on, or no longer.
    pub fn set_fault(&self, fault: Option<QuorumError>) {
        *lock(&self.fault) = fault;
    }

    /// How many reads so far took a round of the quorum, which costs as much as a write.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Forgets what was written up to a revision.
    pub fn forget(&self, upto: Revision) {
        let mut history = lock(&self.history);
        history.0 = upto;
        history.1.retain(|record| record.revision > upto);
    }

    /// Says who leads.
    pub fn set_leadership(&self, leadership: Leadership) {
        self.leadership.send_replace(leadership);
    }

    /// Founds the cluster.
    pub fn found(&self) -> MemberId {
        let member = Member {
            id: MemberId::new(1),
            name: self.name.clone(),
            raft: "127.0.0.1:1".to_owned(),
            http: "127.0.0.1:2".to_owned(),
            sync: "127.0.0.1:3".to_owned(),
            level: LEVEL,
            voter: true,
            matched: None,
        };
        let id = member.id;
        *lock(&self.founded) = Some(member);
        self.apply(&proposal(Command::Found { cluster: ClusterId::new(7) }));
        let term = Term::new(1);
        self.set_leadership(Leadership { leader: Some(id), is_me: true, term, is_ready: true });
        id
    }

    /// Applies a proposal and tells the watchers.
    pub fn apply(&self, proposal: &Proposal) -> Outcome {
        let mut store = lock(&self.store);
        let index = self.index.fetch_add(1, Ordering::Relaxed) + 1;
        let before = store.revision();
        let applied = store.apply(Revision::new(index), Term::new(1), proposal);
        if store.revision() > before {
            let changes: Vec<Changed> = applied.changes.iter().map(Changed::of).collect();
            let note =
                if let Command::Txn(txn) = &proposal.command { txn.note.clone() } else { None };
            if !changes.is_empty() {
                lock(&self.history).1.push(Record {
                    revision: store.revision(),
                    at: proposal.at,
                    author: proposal.author.clone(),
                    note: note.clone(),
                    changes,
                });
            }
            // Without watchers nobody has to know.
            drop(self.commits.send(Arc::new(Commit {
                revision: store.revision(),
                author: proposal.author.clone(),
                at: proposal.at,
                note,
                changes: applied.changes,
                declared: applied.declared,
                reset: false,
            })));
        }
        applied.outcome
    }

    /// Looks at the store.
    pub fn look<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(&lock(&self.store))
    }

    /// Tells the watchers that everything may have changed.
    pub fn reset(&self) {
        let revision = self.look(Store::revision);
        drop(self.commits.send(Arc::new(Commit {
            revision,
            author: String::new(),
            at: <_>::default(),
            note: None,
            changes: Vec::new(),
            declared: false,
            reset: true,
        })));
    }

    fn check(&self) -> Result<(), QuorumError> {
        if let Some(fault) = lock(&self.fault).clone() {
            return Err(fault);
        }
        if lock(&self.founded).is_none() {
            let why = "this member belongs to no cluster";
            return Err(QuorumError::Unavailable(why.to_owned()));
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn proposal(command: Command) -> Proposal {
    Proposal { request: None, author: "test".to_owned(), at: Clock::new().wall(), command }
}

impl Quorum for MemoryQuorum {
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Outcome, QuorumError>> {
        async move {
            self.check()?;
            let bytes = serde_json::to_vec(&proposal).map_or(0, |bytes| bytes.len());
            if bytes > PROPOSAL_BYTES_MAX {
                return Err(QuorumError::TooLarge { bytes, limit: PROPOSAL_BYTES_MAX });
            }
            Ok(self.apply(&proposal))
        }
        .boxed()
    }

    fn with_store<'a>(
        &'a self,
        consistency: Consistency,
        read: Box<dyn FnOnce(&Store) + Send + 'a>,
    ) -> BoxFuture<'a, Result<(), QuorumError>> {
        async move {
            if consistency != Consistency::Stale {
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.check()?;
            }
            self.look(read);
            Ok(())
        }
        .boxed()
    }

    fn history(&self, after: Revision) -> BoxFuture<'_, Result<Box<dyn Records>, QuorumError>> {
        async move {
            self.check()?;
            let (horizon, records) = lock(&self.history).clone();
            if after < horizon {
                return Err(QuorumError::Gone { horizon });
            }
            let later = records.into_iter().filter(|record| record.revision > after);
            Ok(Box::new(later.collect::<Vec<Record>>()) as Box<dyn Records>)
        }
        .boxed()
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
        let leadership = *self.leadership.borrow();
        let index = self.index.load(Ordering::Relaxed);
        let founded = lock(&self.founded).clone();
        QuorumStatus {
            cluster: founded.as_ref().map(|_| ClusterId::new(7)),
            member: founded.as_ref().map(|member| member.id),
            role: match founded {
                None => "UNINITIALISED",
                Some(_) if leadership.is_me => "LEADER",
                Some(_) => "FOLLOWER",
            }
            .to_owned(),
            term: leadership.term,
            leader: leadership.leader,
            level: self.look(Store::level),
            revision: self.look(Store::revision),
            applied: index,
            last_log: index,
            members: founded.into_iter().collect(),
        }
    }

    fn epoch(&self) -> Epoch {
        self.look(Store::epoch)
    }

    fn backup(
        &self,
        consistency: Consistency,
    ) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, QuorumError>> {
        async move {
            if consistency != Consistency::Stale {
                self.check()?;
            }
            let (pieces, taken) = mpsc::channel(BACKUP.len());
            for piece in BACKUP {
                // There is room for all of them.
                drop(pieces.try_send(Bytes::from_static(piece)));
            }
            Ok(taken)
        }
        .boxed()
    }

    fn restore(
        &self,
        mut pieces: mpsc::Receiver<Bytes>,
    ) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        async move {
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.recv().await {
                bytes.extend_from_slice(&piece);
            }
            if bytes != BACKUP.concat() {
                return Err(QuorumError::BadBackup("the backup is damaged at byte 0".to_owned()));
            }
            self.init().await
        }
        .boxed()
    }

    fn init(&self) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        async move {
            if lock(&self.founded).is_some() {
                let why = "this member belongs to a cluster already";
                return Err(QuorumError::Refused(why.to_owned()));
            }
            Ok(self.found())
        }
        .boxed()
    }

    fn join(&self, via: Vec<String>, _: bool) -> BoxFuture<'_, Result<MemberId, QuorumError>> {
        async move { Err(QuorumError::Unavailable(format!("no member at {}", via.join(", ")))) }
            .boxed()
    }

    fn remove(&self, _: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        async move { Err(QuorumError::Refused("the last member cannot be removed".to_owned())) }
            .boxed()
    }

    fn promote(&self, _: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        async move { Ok(()) }.boxed()
    }

    fn transfer(&self, to: MemberId) -> BoxFuture<'_, Result<(), QuorumError>> {
        let known = lock(&self.founded).as_ref().is_some_and(|member| member.id == to);
        let refused = QuorumError::Refused(format!("{to} is no voter"));
        let answer = if known { Ok(()) } else { Err(refused) };
        async move { answer }.boxed()
    }
}

/// A server over a member in memory.
pub struct Fixture {
    /// The member's quorum.
    pub quorum: Arc<MemoryQuorum>,
    /// What it was told of the fleet.
    pub state: StateHandle,
    /// Where it listens.
    pub address: SocketAddr,
    /// Cancelled when it is to stop.
    pub shutdown: CancellationToken,
    /// The running server.
    pub server: Server,
    _stop: oneshot::Sender<()>,
}

impl Fixture {
    /// A founded member `m1` that knows these modules.
    pub async fn start(manifests: Vec<Manifest>) -> Result<Self, ServeError> {
        let fixture = Self::start_with(Limits::default()).await?;
        fixture.quorum.found();
        fixture.declare(manifests).await;
        Ok(fixture)
    }

    /// A member `m1` that is not founded, with limits of its own.
    pub async fn start_with(limits: Limits) -> Result<Self, ServeError> {
        Self::start_named("m1", limits).await
    }

    /// A member that is not founded, with a name and limits of its own.
    pub async fn start_named(name: &str, limits: Limits) -> Result<Self, ServeError> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let bind = |source| ServeError::Bind { listen, source };
        let old = TcpListener::bind(listen).await.map_err(bind)?;
        Self::start_beside(name, limits, Some(old)).await
    }

    /// The same with the old surface's WebSocket at that listener, or without that surface.
    pub async fn start_beside(
        name: &str,
        limits: Limits,
        old: Option<TcpListener>,
    ) -> Result<Self, ServeError> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let refused = |why: &str| ServeError::Bind { listen, source: std::io::Error::other(why) };
        let name = Name::new(name).map_err(|_| refused("that is no name"))?;
        let quorum = Arc::new(MemoryQuorum::new(name.clone()));
        let clock = Clock::new();
        let (state, stop) =
            start_state(name.clone(), clock).await.ok_or_else(|| refused("no state actor"))?;
        let shutdown = CancellationToken::new();
        let observe = Arc::new(|| async { json!({ "state": { "objects": 0 } }) }.boxed());
        let (version, port) = ("0.0.0-test", quorum.clone());
        let (state_handle, spans) = (state.clone(), Spans::default());
        let api =
            Api { node: name, version, quorum: port, state: state_handle, clock, spans, observe };
        let bind = |source| ServeError::Bind { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(bind)?;
        let old = old.map(|old| (old, None));
        let server = serve_with_old(listener, old, api, (shutdown.clone(), limits))?;
        let address = server.local_addr;
        Ok(Self { quorum, state, address, shutdown, server, _stop: stop })
    }

    /// Declares modules, to the quorum and to the state actor.
    pub async fn declare(&self, manifests: Vec<Manifest>) {
        self.quorum.apply(&proposal(Command::Declare { manifests }));
        let catalog = self.quorum.look(|store| store.catalog().clone());
        self.state.set_catalog(catalog).await;
    }

    /// Tells the state actor of every object, as a member does by itself.
    pub async fn tell_objects(&self) {
        let objects = self.quorum.look(|store| store.objects().cloned().collect());
        self.state.follow(Revision::default(), objects, Vec::new()).await;
    }

    /// The address as a client wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Starts a state actor on a thread of its own, which ends with the sender.
async fn start_state(name: Name, clock: Clock) -> Option<(StateHandle, oneshot::Sender<()>)> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, starting) = oneshot::channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let stamps = Stamps::new(name.clone(), clock);
            let state = StateHandle::start(name, Arc::new(Catalog::default()), clock, stamps);
            if started.send(state).is_ok() {
                // An error says that the fixture is gone, which is what this waits for.
                stopped.await.unwrap_or_default();
            }
        });
    });
    Some((starting.await.ok()?, stop))
}
