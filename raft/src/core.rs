//! The member behind the handle: it owns the folder, the log, the store, the links and openraft's
//! core, and takes them from nothing to a member and back.
//!
//! Everything in here runs on the member's own runtime.

mod change;
mod check;
mod error;
mod lead;
mod propose;
mod read;
mod restore;
mod serve;
mod tend;

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use kraken_engine::{
    command::{Command, Proposal},
    id::{ClusterId, MemberId},
    time::{Millis, whole_ms},
};
use openraft::{
    Config, RaftMetrics, ServerState, SnapshotPolicy, async_runtime::watch::WatchReceiver,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::propose::prepare;
pub use self::{
    change::{MEMBERS_MAX, MembershipError},
    error::StartError,
    propose::ProposeError,
    read::{Consistency, READERS_MAX, ReadError},
    restore::BACKUP_BYTES_MAX,
};
use self::{read::Rounds, tend::Heard};
use crate::{
    disk::Disk,
    entropy,
    fatal::Fatal,
    folder::{Folder, Identity, Phase},
    history::{History, Shelf},
    log::{Log, Site, WriterThread},
    machine::{Machine, Notes, Shared, Snapshots},
    options::{Bootstrap, Options},
    status::{Leadership, Status},
    transport::{Factory, Links, accept},
    types::{Data, Peer, Raft, Types},
};

/// The founder's id. The first entries are the membership and the leader's first one, so that no
/// entry that gives out an id has this index.
const FOUNDER: u64 = 1;
/// Proposals of this process that are under way, and their bytes together in KiB.
pub const PROPOSALS_MAX: usize = 2_048;
const PROPOSALS_KIB_MAX: usize = 256 << 10;
/// Proposals of other members that are under way at the leader.
const FORWARDED_MAX: usize = 2 * PROPOSALS_MAX;

/// One member of the quorum, or somebody about to become one.
pub(crate) struct Core {
    pub(crate) options: Options,
    /// This member as others are told.
    peer: Peer,
    folder: Mutex<Option<Folder>>,
    pub(crate) fatal: Fatal,
    pub(crate) shared: Arc<Shared>,
    node: OnceLock<Arc<Node>>,
    becoming: tokio::sync::Mutex<()>,
    pub(crate) leadership: Arc<watch::Sender<Leadership>>,
    proposals: Semaphore,
    proposed_kib: Semaphore,
    /// For what other members pass on.
    forwarded: Semaphore,
    rounds: Rounds,
    pub(crate) ended: CancellationToken,
}

/// What there is once this is a member.
pub(crate) struct Node {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
    pub(crate) raft: Raft,
    log: Log,
    links: Arc<Links>,
    snapshots: Arc<Snapshots>,
    writer: Mutex<Option<WriterThread>>,
    leadership: Arc<watch::Sender<Leadership>>,
    /// The last term in which this member gave the lead away.
    resigned: AtomicU64,
    changes: Changes,
    /// What members say that they hold, while this one leads.
    notes: Mutex<Notes>,
    shared: Arc<Shared>,
    /// When a leader was heard of last.
    heard: Heard,
    /// How long after its last sign of life, as a majority answered it, this leader counts on not
    /// being followed by another.
    lease: Duration,
}

/// The changes of the membership that are under way here.
#[derive(Default)]
struct Changes(Arc<()>);

impl Changes {
    /// One begins, and lasts as long as what is given is held.
    fn begin(&self) -> Arc<()> {
        Arc::clone(&self.0)
    }

    fn any(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Node {
    /// What openraft says now.
    pub(crate) fn metrics(&self) -> RaftMetrics<Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// The address of a member.
    fn address(&self, member: u64) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.get_node(&member).map(|peer| peer.address.clone())
    }

    /// The leader that this member knows of.
    fn leader(&self) -> Option<u64> {
        self.raft.metrics().borrow_watched().current_leader
    }

    /// Waits until what openraft says fits.
    async fn until(
        &self,
        deadline: Instant,
        fits: impl Fn(&RaftMetrics<Types>) -> bool,
    ) -> Option<RaftMetrics<Types>> {
        let mut metrics = self.raft.metrics();
        loop {
            let now = metrics.borrow_and_update().clone();
            if fits(&now) {
                return Some(now);
            }
            timeout_at(deadline, metrics.changed()).await.ok()?.ok()?;
        }
    }
}

impl Core {
    /// Opens the folder, listens, and becomes what the folder or the options say.
    pub(crate) async fn start(
        options: Options,
    ) -> Result<(Arc<Self>, std::net::SocketAddr), StartError> {
        let folder = Folder::open(&options.data)?;
        let listen = |source| StartError::Listen { address: options.listen.to_string(), source };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let peer = Peer {
            name: options.name.to_string(),
            address: options.advertise.clone().unwrap_or_else(|| local.to_string()),
            http: options.http.clone(),
            sync: options.sync.clone(),
            level: options.level,
        };
        let identity = folder.sound_identity()?;
        let shared = Arc::new(Shared::new(options.level, options.limits.check_entries));
        let core = Arc::new(Self {
            options,
            peer,
            folder: Mutex::new(Some(folder)),
            fatal: Fatal::new(),
            shared,
            node: OnceLock::new(),
            becoming: tokio::sync::Mutex::default(),
            leadership: Arc::default(),
            proposals: Semaphore::new(PROPOSALS_MAX),
            proposed_kib: Semaphore::new(PROPOSALS_KIB_MAX),
            forwarded: Semaphore::new(FORWARDED_MAX),
            rounds: Rounds::default(),
            ended: CancellationToken::new(),
        });
        if let Some(identity) = &identity {
            core.open_node(identity).await?;
        }
        tokio::spawn(accept(listener, Arc::clone(&core), core.ended.clone()));
        match core.bootstrap(identity).await {
            Ok(()) => Ok((core, local)),
            Err(error) => {
                core.shutdown().await;
                Err(error)
            }
        }
    }

    async fn bootstrap(self: &Arc<Self>, identity: Option<Identity>) -> Result<(), StartError> {
        let become_member = match (identity.map(|identity| identity.phase), &self.options.bootstrap)
        {
            (Some(Phase::Member), _) => return self.resume().await,
            (Some(Phase::Founding), _) => self.found().await,
            (Some(Phase::Joining(via)), bootstrap) => {
                self.be_admitted(bootstrap.via().unwrap_or(via), false).await
            }
            (Some(Phase::JoiningAsLearner(via)), bootstrap) => {
                self.be_admitted(bootstrap.via().unwrap_or(via), true).await
            }
            (None, Bootstrap::Wait) => return Ok(()),
            (None, Bootstrap::Init) => self.init().await.map(|_| ()),
            (None, Bootstrap::Join(via)) => self.join(via.clone(), false).await.map(|_| ()),
        };
        become_member.map_err(|error| StartError::Membership(Box::new(error)))
    }

    /// Goes on as a member. Who is alone has nobody to wait for; who is to be found elsewhere than
    /// the others were told says so.
    async fn resume(self: &Arc<Self>) -> Result<(), StartError> {
        let Some(node) = self.node() else { return Ok(()) };
        let consensus =
            |error: openraft::errors::Fatal<Types>| StartError::Consensus(error.to_string());
        // Asked of the core: what it tells on the side may not have begun yet.
        let membership =
            node.raft.with_raft_state(|state| Arc::clone(state.membership_state.effective()));
        let membership = membership.await.map_err(consensus)?;
        if membership.voter_ids().eq([node.member]) {
            node.raft.trigger().elect(false).await.map_err(consensus)?;
        }
        if membership.get_node(&node.member).is_some_and(|told| *told != self.peer) {
            let (core, ended) = (Arc::clone(self), self.ended.clone());
            tokio::spawn(async move { ended.run_until_cancelled(core.describe()).await });
        }
        Ok(())
    }

    /// What there is once this is a member.
    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.node.get()
    }

    /// What this member says of itself.
    pub(crate) fn status(&self) -> Status {
        let Some(node) = self.node() else { return Status::uninitialised() };
        let applied = self.shared.applied().map_or(0, |id| id.index);
        let said = self
            .shared
            .with(|store| ((store.cluster(), store.epoch()), (store.revision(), store.level())));
        let ((cluster, epoch), (revision, level)) = said.unwrap_or_default();
        // Before the entry that says it is applied, a founder's own is the cluster's.
        let is_known = cluster != ClusterId::default();
        let cluster = if is_known { cluster } else { ClusterId::new(node.cluster) };
        let metrics = node.metrics();
        let leader = node.standing_leader(&metrics).map(MemberId::new);
        let said = Status::from_metrics(cluster, applied, &metrics);
        Status { epoch, leader, level, revision, ..said }
    }

    /// How long ago at most a majority followed this member as its leader.
    pub(crate) fn followed(&self) -> Option<Duration> {
        let node = self.node()?;
        let metrics = node.metrics();
        (metrics.state == ServerState::Leader).then(|| node.majority_age(&metrics)).flatten()
    }

    /// Founds a cluster of one.
    pub(crate) async fn init(self: &Arc<Self>) -> Result<MemberId, MembershipError> {
        let _becoming = self.becoming.lock().await;
        if let Some(Identity { member, phase: Phase::Founding, .. }) = self.identity()? {
            self.found().await?;
            return Ok(member);
        }
        self.expect_nobody()?;
        self.clear_folder()?;
        let cluster = ClusterId::new(entropy::number());
        let identity = Identity::new(cluster, MemberId::new(FOUNDER), Phase::Founding);
        self.set_identity(&identity)?;
        self.open_node(&identity).await.map_err(MembershipError::start)?;
        self.found().await?;
        Ok(identity.member)
    }

    fn expect_nobody(&self) -> Result<(), MembershipError> {
        match self.node() {
            None => Ok(()),
            Some(node) => Err(MembershipError::Member { member: MemberId::new(node.member) }),
        }
    }

    /// Removes what an attempt to begin from a backup has left.
    fn clear_folder(&self) -> Result<(), MembershipError> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folder.as_ref().ok_or_else(MembershipError::stopped)?;
        Ok(folder.clear()?)
    }

    /// Who this is by its folder; nobody before it founds or joins, or where that went no further.
    fn identity(&self) -> Result<Option<Identity>, MembershipError> {
        let Some(node) = self.node() else { return Ok(None) };
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folder.as_ref().ok_or_else(MembershipError::stopped)?;
        let identity = folder.identity()?;
        Ok(identity.filter(|identity| identity.member.get() == node.member))
    }

    /// Whether founding or joining is done.
    pub(crate) fn is_member(&self) -> bool {
        let identity = self.identity().ok().flatten();
        identity.is_some_and(|identity| identity.phase == Phase::Member)
    }

    fn set_identity(&self, identity: &Identity) -> Result<(), MembershipError> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folder.as_ref().ok_or_else(MembershipError::stopped)?;
        Ok(folder.set_identity(identity)?)
    }

    /// Does what is left to do of founding; each step may have been done before a crash.
    async fn found(&self) -> Result<(), MembershipError> {
        let node = self.node().ok_or_else(MembershipError::stopped)?;
        let deadline = Instant::now() + self.options.timers.membership;
        let unavailable = |why: String| MembershipError::Unavailable { why };
        if node.raft.is_initialized().await.map_err(|error| unavailable(error.to_string()))? {
            let elect = node.raft.trigger().elect(false).await;
            elect.map_err(|error| unavailable(error.to_string()))?;
        } else {
            let members = std::collections::BTreeMap::from([(node.member, self.peer.clone())]);
            let founded = node.raft.initialize(members).await;
            founded.map_err(|error| unavailable(error.to_string()))?;
        }
        node.until(deadline, |metrics| metrics.current_leader == Some(node.member))
            .await
            .ok_or(MembershipError::Timeout)?;
        let cluster = ClusterId::new(node.cluster);
        let proposal = Proposal {
            request: None,
            author: self.peer.name.clone(),
            at: Millis::ZERO,
            command: Command::Found { cluster },
        };
        let data = Data::encode(proposal).map_err(|error| unavailable(error.to_string()))?;
        // Refused where an earlier attempt got as far as this, which is as good.
        let founded = node.raft.client_write(data).await;
        founded.map_err(|error| unavailable(error.to_string()))?;
        let member = MemberId::new(node.member);
        self.set_identity(&Identity::new(cluster, member, Phase::Member))
    }

    async fn open_node(self: &Arc<Self>, identity: &Identity) -> Result<(), StartError> {
        let (cluster, member) = (identity.cluster.get(), identity.member.get());
        let (log_folder, state_folder) = {
            let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
            let closed = || StartError::Consensus("it was shut down".to_owned());
            let folder = folder.as_ref().ok_or_else(closed)?;
            (folder.log(), folder.state())
        };
        let retention = self.options.retention;
        let shelf = Shelf { folder: state_folder.join("history"), cluster, retention };
        let segment_bytes = self.options.limits.segment_bytes;
        let site =
            Site { folder: log_folder, cluster, member, segment_bytes, disk: Disk::default() };
        let fatal = self.fatal.clone();
        let may_begin = identity.phase != Phase::Member;
        let known = self.options.level;
        let open = move || {
            let (snapshots, newest) = Snapshots::open(Disk::default(), state_folder, cluster)?;
            let (log, writer) = Log::open(site, may_begin, fatal)?;
            snapshots.check_reaches(newest.as_ref().map(|(meta, _)| meta), log.purged())?;
            let held = newest.as_ref().map_or(0, |(_, store)| store.level());
            if held > known {
                return Err(StartError::Level { held, known });
            }
            let begins = newest.as_ref().map(|(_, store)| store.revision()).unwrap_or_default();
            let history = History::open(shelf, begins).map_err(StartError::History)?;
            Ok::<_, StartError>(((snapshots, newest), (log, writer), history))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let ((snapshots, newest), (log, writer), history) =
            opened.map_err(|error| StartError::Consensus(error.to_string()))??;
        self.shared.keep(history);
        let snapshots = Arc::new(snapshots);
        let links = Arc::new(Links::new(cluster, member));
        let consensus = |why: String| StartError::Consensus(why);
        let machine = Machine::new(Arc::clone(&self.shared), Arc::clone(&snapshots), newest)
            .map_err(|error| consensus(error.to_string()))?;
        let config = Arc::new(self.config().map_err(StartError::Timers)?);
        let factory = Factory(Arc::clone(&links));
        let raft = Raft::new(member, config, factory, log.clone(), machine)
            .await
            .map_err(|error| consensus(error.to_string()))?;
        let writer = Mutex::new(Some(writer));
        let leadership = Arc::clone(&self.leadership);
        let resigned = AtomicU64::new(0);
        let node = Arc::new(Node {
            cluster,
            member,
            raft,
            log,
            links,
            snapshots,
            writer,
            leadership,
            resigned,
            changes: Changes::default(),
            notes: Mutex::default(),
            heard: Heard::default(),
            shared: Arc::clone(&self.shared),
            lease: self.options.timers.lease(),
        });
        if self.node.set(Arc::clone(&node)).is_err() {
            return Err(consensus("it was started before".to_owned()));
        }
        self.tend(&node);
        Ok(())
    }

    fn config(&self) -> Result<Config, String> {
        let timers = &self.options.timers;
        Config {
            cluster_name: "kraken".to_owned(),
            heartbeat_interval: whole_ms(timers.heartbeat),
            election_timeout_min: whole_ms(timers.election_min),
            election_timeout_max: whole_ms(timers.election_max),
            install_snapshot_timeout: whole_ms(timers.membership),
            max_payload_entries: 512,
            replication_lag_threshold: 1024,
            // When to take a snapshot and what to purge is decided by bytes, in `tend`.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 256,
            enable_pre_vote: Some(true),
            // The store is in memory: a leader that restarts has to be elected anew.
            enable_leader_restore: Some(false),
            ..Config::default()
        }
        .validate()
        .map_err(|error| error.to_string())
    }

    /// Ends everything; the folder is free afterwards.
    pub(crate) async fn shutdown(&self) {
        if let Some(node) = self.node() {
            node.resign().await;
        }
        self.ended.cancel();
        if let Some(node) = self.node() {
            if let Err(error) = node.raft.shutdown().await {
                tracing::warn!(%error, "consensus did not end well");
            }
            let writer = node.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(writer) = writer {
                writer.stop().await;
            }
            node.links.retain(|_| false);
        }
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
