//! What a member does for its node with the quorum: feeds committed Cfg into the state, declares
//! the manifests it was built with while it leads, registers its own node, and keeps an uplink to
//! every other member.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kraken_engine::{
    command::{Command, Outcome, Proposal, engine_at},
    id::{Name, Uid},
    manifest::Manifest,
    object::{Labels, Object},
    store::{Change, Store},
    sync::{child::Identity, frame::Role, parents::Parent},
    time::{Millis, whole_ms},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    orders::Orders,
    quorum::{Commit, Consistency, Member, Quorum, QuorumError, read},
    registration::Registration,
    spans::Spans,
    state::StateHandle,
    uplink::{UplinkHandle, UplinkOptions, messages::UplinkSnapshot},
};

/// How often a member looks whether something is left to do for the quorum.
const UPKEEP: Duration = Duration::from_millis(500);

/// What the member's tasks are made of.
#[derive(Clone)]
pub(crate) struct FeedOptions {
    pub(crate) node: Name,
    pub(crate) labels: Labels,
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) state: StateHandle,
    pub(crate) quorum: Arc<dyn Quorum>,
    pub(crate) orders: Orders,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
}

/// Starts all tasks on the present arbiter. Returns once what is committed so far is known.
pub(crate) async fn start(options: FeedOptions) -> Peers {
    let commits = options.quorum.commits();
    reread(&options).await;
    let peers = Peers::default();
    actix_rt::spawn(feed(options.clone(), commits));
    actix_rt::spawn(assure(options.clone()));
    actix_rt::spawn(upkeep(options, peers.clone()));
    peers
}

/// Feeds commits into the state, in order; after a gap, everything.
async fn feed(options: FeedOptions, mut commits: Receiver<Arc<Commit>>) {
    loop {
        let commit = tokio::select! {
            () = options.stop.cancelled() => return,
            commit = commits.recv() => commit,
        };
        match commit {
            Ok(commit) if !commit.reset && !commit.declared => apply(&options, &commit).await,
            Ok(_) | Err(RecvError::Lagged(_)) => reread(&options).await,
            Err(RecvError::Closed) => return,
        }
    }
}

async fn apply(options: &FeedOptions, commit: &Commit) {
    let (mut set, mut removed) = (Vec::new(), Vec::new());
    for change in &commit.changes {
        match change {
            Change::Put { object, .. } => set.push(object.clone()),
            Change::Removed(object) => removed.push(object.uid),
        }
    }
    options.state.follow(commit.revision, set, removed).await;
}

/// Reads the whole store. What was committed meanwhile comes again as a commit, and changes
/// nothing.
async fn reread(options: &FeedOptions) {
    let all = read(&*options.quorum, Consistency::Stale, |store| {
        let objects = store.objects().cloned().collect::<Vec<Arc<Object>>>();
        (store.catalog().clone(), store.revision(), objects)
    });
    let Ok((catalog, revision, objects)) = all.await else { return };
    let now: BTreeSet<Uid> = objects.iter().map(|object| object.uid).collect();
    let held = options.state.read(|fleet| fleet.objects().map(|o| o.uid).collect::<Vec<_>>());
    let gone = held.await.unwrap_or_default().into_iter().filter(|uid| !now.contains(uid));
    options.state.set_catalog(catalog).await;
    options.state.follow(revision, objects, gone.collect()).await;
}

/// While a majority follows this member, what it holds is the quorum's Cfg.
async fn assure(options: FeedOptions) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = options.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // In this order: its moment is no later than the answers of the majority, and all that was
        // committed before it, in earlier terms too, is among what is waited for.
        let now = options.clock.wall();
        let ready = options.quorum.leadership().borrow().is_ready;
        let Some(ago) = options.quorum.followed().filter(|_| ready) else { continue };
        let ago = whole_ms(ago);
        let at = Millis::new(now.get().saturating_sub(ago));
        let revision = read(&*options.quorum, Consistency::Stale, Store::revision).await;
        if let Ok(revision) = revision {
            options.state.assure(at, revision).await;
        }
    }
}

/// Does what is left to do, again and again: each step looks first, so that repeating it is free.
async fn upkeep(options: FeedOptions, peers: Peers) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = options.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let status = options.quorum.status();
        if options.quorum.leadership().borrow().is_ready
            && let Err(error) = declare(&options).await
        {
            tracing::warn!(%error, "the modules' manifests are not declared");
        }
        if status.leader.is_some() {
            register(&options).await;
        }
        peers.follow(&status.members, &options).await;
    }
}

/// Declares the manifests that this member was built with, where they differ from what is declared.
async fn declare(options: &FeedOptions) -> Result<(), QuorumError> {
    let manifests = read(&*options.quorum, Consistency::Stale, |store| {
        let differs = |m: &&Manifest| store.manifests().get(&m.module) != Some(*m);
        options.manifests.iter().filter(differs).cloned().collect::<Vec<_>>()
    });
    let manifests = manifests.await?;
    if manifests.is_empty() {
        return Ok(());
    }
    let proposal = Proposal {
        request: None,
        author: engine_at(&options.node),
        at: options.clock.wall(),
        command: Command::Declare { manifests },
    };
    match options.quorum.propose(proposal).await? {
        Outcome::Applied { .. } => Ok(()),
        Outcome::Refused(refusal) => Err(QuorumError::Refused(refusal.to_string())),
    }
}

async fn register(options: &FeedOptions) {
    let me = options.node.clone();
    let known = options.state.read(move |fleet| {
        let declared = fleet.catalog().kinds().next().is_some();
        fleet.node(&me).is_some() || !declared
    });
    if known.await.unwrap_or(true) {
        return;
    }
    let author = engine_at(&options.node);
    let asked = Registration { node: &options.node, labels: &options.labels, author };
    if let Err(error) = asked.propose(&*options.quorum, options.clock).await {
        tracing::debug!(%error, "this member's node is not registered yet");
    }
}

/// The uplinks to the other members.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<tokio::sync::Mutex<BTreeMap<Name, Peer>>>);

struct Peer {
    address: String,
    uplink: UplinkHandle,
    stop: CancellationToken,
}

impl Peers {
    /// Starts uplinks to members that are new or have moved, ends those to members that are gone.
    async fn follow(&self, members: &[Member], options: &FeedOptions) {
        let mut held = self.0.lock().await;
        let wanted: BTreeMap<&Name, &String> = members
            .iter()
            .filter(|member| member.name != options.node && !member.sync.is_empty())
            .map(|member| (&member.name, &member.sync))
            .collect();
        held.retain(|name, peer| {
            let keep = wanted.get(name).is_some_and(|address| **address == peer.address);
            if !keep {
                peer.stop.cancel();
            }
            keep
        });
        for (name, address) in wanted {
            if !held.contains_key(name) {
                held.insert(name.clone(), peer(name, address.clone(), options).await);
            }
        }
    }

    /// The uplinks as they are, by member.
    pub(crate) async fn observe(&self) -> BTreeMap<Name, Option<UplinkSnapshot>> {
        let mut seen = BTreeMap::new();
        for (name, peer) in self.0.lock().await.iter() {
            seen.insert(name.clone(), peer.uplink.observe().await);
        }
        seen
    }
}

async fn peer(toward: &Name, address: String, options: &FeedOptions) -> Peer {
    let stop = options.stop.child_token();
    let identity =
        Identity { node: options.node.clone(), role: Role::Member, labels: options.labels.clone() };
    let uplink = UplinkHandle::start(UplinkOptions {
        identity,
        parents: vec![Parent::at(&address)],
        state: options.state.clone(),
        reconciler: None,
        orders: options.orders.clone(),
        toward: Some(toward.clone()),
        manifests: None,
        keep: None,
        above: None,
        clock: options.clock,
        spans: Spans::default(),
        stop: stop.clone(),
    });
    Peer { address, uplink: uplink.await, stop }
}
