//! A node: its actors, put together. The one place that knows who is handed what.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use kraken_engine::{
    check::{Finding, sound},
    event::{EventKind, Happening},
    id::Name,
    manifest::Manifest,
    object::Labels,
    sync::{child::Identity, frame::Role as ChildRole, parents::Parent},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    above::{AboveEnd, above},
    clock::Clock,
    downlink::{Door, DownlinkHandle, DownlinkOptions},
    feed::{self, FeedOptions, Peers},
    host::{self, AttemptEnded, HostError, HostHandle, HostOptions},
    journal,
    module::{
        Factory, Home, Report,
        reporter::{REPORTS_MAX, Stamps},
    },
    orders::{self, DeskOptions, Orders},
    quorum::Quorum,
    reconciler::{ANSWERS_MAX, ReconcilerHandle, ReconcilerOptions},
    spans::Spans,
    state::StateHandle,
    uplink::{Keep, UplinkHandle, UplinkOptions},
};

/// Ended attempts that wait to be taken; at the bound they count as running.
pub const ENDS_MAX: usize = 1_024;
/// How long modules may take for their last work when the node stops.
pub const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Where a leaf keeps the Cfg that it holds, below its data folder.
const CFG_FOLDER: &str = "sync";

/// Where a member keeps what was seen last, below its data folder.
const DSC_FOLDER: &str = "dsc";

/// Shows all actors of a node as they are.
pub type Observer = Arc<dyn Fn() -> BoxFuture<'static, serde_json::Value> + Send + Sync>;

/// What a node is made of.
pub struct NodeOptions {
    /// Its name, unique in the fleet.
    pub name: Name,
    /// What it is in the fleet.
    pub role: Role,
    /// Its data folder. Exists.
    pub data: PathBuf,
    /// The labels that it is registered with when it first attaches.
    pub labels: Labels,
    /// The modules that run on it.
    pub factories: Vec<Factory>,
    /// Their configurations, by module.
    pub module_configs: BTreeMap<String, serde_json::Value>,
    /// Manifests without a module, such as the base extensions.
    pub base: Vec<Manifest>,
    /// Its clock.
    pub clock: Clock,
    /// The way of its spans.
    pub spans: Spans,
}

/// What a node is in the fleet.
pub enum Role {
    /// Votes, holds all Cfg and the merged Dsc, serves children.
    Member {
        /// The quorum that it is a member of, or will be.
        quorum: Arc<dyn Quorum>,
        /// Where children connect; bound already.
        sync: TcpListener,
    },
    /// Runs modules on itself.
    Leaf {
        /// Where parents are reached.
        parents: Vec<Parent>,
    },
    /// Does the same, and serves children in the place of members.
    Relay {
        /// Where parents are reached.
        parents: Vec<Parent>,
        /// Where children connect; bound already.
        sync: TcpListener,
    },
}

/// A node that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The manifests do not fit together.
    #[error("the modules' manifests do not fit together: {}", list(.0))]
    Manifests(Vec<Finding>),
    /// The modules cannot be hosted.
    #[error("the module host cannot start")]
    Host(#[source] HostError),
    /// The listener cannot be used.
    #[error("the sync listener cannot be used")]
    Listen(#[source] std::io::Error),
}

fn list(problems: &[Finding]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A running node. Its actors run on the arbiter on which it was started.
pub struct Node {
    handles: Handles,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Handles {
    state: StateHandle,
    host: HostHandle,
    reconciler: ReconcilerHandle,
    side: Side,
}

#[derive(Clone)]
enum Side {
    Leaf(UplinkHandle),
    Relay { uplink: UplinkHandle, downlink: DownlinkHandle },
    Member { downlink: DownlinkHandle, peers: Peers },
}

impl Node {
    /// Starts a node. Must be called within an actix system.
    pub async fn start(options: NodeOptions) -> Result<Self, StartError> {
        let stop = CancellationToken::new();
        let mut manifests = options.base.clone();
        manifests.push(host::manifest());
        manifests.extend(options.factories.iter().map(|factory| factory.manifest().clone()));
        // As the store has them.
        manifests.sort_by(|one, other| one.module.cmp(&other.module));
        let catalog = Arc::new(sound(&manifests).map_err(StartError::Manifests)?);
        let (name, clock) = (options.name.clone(), options.clock);
        let stamps = Stamps::new(name.clone(), clock);
        let state = StateHandle::start(name.clone(), catalog, clock, stamps.clone());
        let (host, ends, reported) = start_host(&options, stamps).await?;
        let quorum = match &options.role {
            Role::Member { quorum, .. } => Some(quorum.clone()),
            Role::Leaf { .. } | Role::Relay { .. } => None,
        };
        let (orders, inputs) = Orders::new();
        let (told, tells) = mpsc::channel(ANSWERS_MAX);
        let (own_ends, own_ended) = mpsc::channel(ENDS_MAX);
        let desk = DeskOptions {
            node: name.clone(),
            state: state.clone(),
            host: host.clone(),
            quorum: quorum.clone(),
            clock,
            ends: own_ends,
            told,
            stop: stop.clone(),
        };
        orders::start(orders.clone(), inputs, ends, desk);
        let reconciler = ReconcilerHandle::start(ReconcilerOptions {
            node: name,
            state: state.clone(),
            host: host.clone(),
            orders: orders.clone(),
            told: tells,
            ends: own_ended,
            quorum,
            clock,
            spans: options.spans.clone(),
            stop: stop.clone(),
        });
        let reconciler = reconciler.await;
        actix_rt::spawn(take_reports(reported, state.clone(), reconciler.clone(), orders.clone()));
        let parts =
            Parts { state: &state, reconciler: &reconciler, orders, manifests, stop: &stop };
        let side = start_side(options, parts).await?;
        Ok(Self { handles: Handles { state, host, reconciler, side }, stop })
    }

    /// What the node knows.
    pub fn state(&self) -> &StateHandle {
        &self.handles.state
    }

    /// Its modules.
    pub fn host(&self) -> &HostHandle {
        &self.handles.host
    }

    /// Where children reach it; `None` on a leaf.
    pub fn sync_addr(&self) -> Option<SocketAddr> {
        match &self.handles.side {
            Side::Leaf(_) => None,
            Side::Member { downlink, .. } | Side::Relay { downlink, .. } => {
                Some(downlink.local_addr())
            }
        }
    }

    /// A function that shows all actors as they are, for `/v1/debug` and tests.
    pub fn observer(&self) -> Observer {
        let handles = self.handles.clone();
        Arc::new(move || Box::pin(observe(handles.clone())))
    }

    /// Ends sessions and modules. What modules leave running goes on.
    pub async fn stop(self) {
        self.stop.cancel();
        self.handles.host.stop(STOP_WITHIN).await;
    }
}

async fn observe(handles: Handles) -> serde_json::Value {
    let side = match &handles.side {
        Side::Leaf(uplink) => json!({ "uplink": uplink.observe().await }),
        Side::Relay { uplink, downlink } => {
            json!({ "uplink": uplink.observe().await, "downlink": downlink.observe().await })
        }
        Side::Member { downlink, peers } => {
            json!({ "downlink": downlink.observe().await, "uplinks": peers.observe().await })
        }
    };
    json!({
        "host": handles.host.observe().await,
        "reconciler": handles.reconciler.observe().await,
        "state": handles.state.observe().await,
        "sync": side,
    })
}

async fn start_host(
    options: &NodeOptions,
    stamps: Stamps,
) -> Result<(HostHandle, mpsc::Receiver<AttemptEnded>, mpsc::Receiver<Report>), StartError> {
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let (ends_tx, ends) = mpsc::channel(ENDS_MAX);
    let seed = options
        .name
        .as_str()
        .bytes()
        .fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let host = HostHandle::start(HostOptions {
        node: options.name.clone(),
        data: options.data.join("modules"),
        factories: options.factories.clone(),
        configs: options.module_configs.clone(),
        clock: options.clock,
        stamps,
        reports,
        ends: ends_tx,
        home: Home::Own,
        seed,
        spans: options.spans.clone(),
    });
    let host = host.await.map_err(StartError::Host)?;
    Ok((host, ends, reported))
}

/// Takes what modules report into the state: what has come meanwhile at once, in its order.
async fn take_reports(
    mut reports: mpsc::Receiver<Report>,
    state: StateHandle,
    reconciler: ReconcilerHandle,
    orders: Orders,
) {
    let mut batch = Vec::new();
    while reports.recv_many(&mut batch, REPORTS_MAX).await > 0 {
        let mut seen = Vec::new();
        for report in batch.drain(..) {
            match report {
                Report::Seen(sighted) => seen.push((sighted.uid, sighted.stamp, sighted.values)),
                Report::Progress { attempt, text } => {
                    if let Some(uid) = reconciler.object_of(attempt.clone()).await {
                        let (kind, attempt) = (EventKind::AttemptProgressed, Some(attempt.clone()));
                        let (uid, text) = (Some(uid), text.clone());
                        state.record(Happening { kind, uid, revision: None, attempt, text }).await;
                    }
                    orders.tell(orders::Input::Progress(attempt, text)).await;
                }
                Report::Event { uid, text } => {
                    let (kind, uid) = (EventKind::Module, Some(uid));
                    let happening = Happening { kind, uid, revision: None, attempt: None, text };
                    tracing::info!("{}", happening.text);
                    state.record(happening).await;
                }
            }
        }
        if !seen.is_empty() {
            state.see_all(seen).await;
        }
    }
}

struct Parts<'a> {
    state: &'a StateHandle,
    reconciler: &'a ReconcilerHandle,
    orders: Orders,
    manifests: Vec<Manifest>,
    stop: &'a CancellationToken,
}

/// Starts the uplink of a node that is below another one.
async fn start_uplink(
    options: &NodeOptions,
    role: ChildRole,
    parents: Vec<Parent>,
    above: Option<AboveEnd>,
    parts: Parts<'_>,
) -> UplinkHandle {
    let Parts { state, reconciler, orders, manifests, stop } = parts;
    let labels = options.labels.clone();
    let uplink = UplinkHandle::start(UplinkOptions {
        identity: Identity { node: options.name.clone(), role, labels },
        parents,
        state: state.clone(),
        reconciler: Some(reconciler.clone()),
        orders,
        toward: None,
        manifests: Some(manifests),
        keep: Some(Keep::new(options.data.join(CFG_FOLDER))),
        above,
        clock: options.clock,
        spans: options.spans.clone(),
        stop: stop.clone(),
    });
    uplink.await
}

async fn start_side(options: NodeOptions, parts: Parts<'_>) -> Result<Side, StartError> {
    match options.role {
        Role::Leaf { ref parents } => {
            let parents = parents.clone();
            Ok(Side::Leaf(start_uplink(&options, ChildRole::Leaf, parents, None, parts).await))
        }
        Role::Relay { parents, sync } => {
            let (above, end) = above();
            let downlink = DownlinkOptions {
                node: options.name.clone(),
                state: parts.state.clone(),
                door: Door::Above(above),
                orders: parts.orders.clone(),
                clock: options.clock,
                stop: parts.stop.clone(),
            };
            let downlink = DownlinkHandle::start(sync, downlink).await;
            let downlink = downlink.map_err(StartError::Listen)?;
            let rest = NodeOptions { role: Role::Leaf { parents: Vec::new() }, ..options };
            let uplink = start_uplink(&rest, ChildRole::Relay, parents, Some(end), parts).await;
            Ok(Side::Relay { uplink, downlink })
        }
        Role::Member { quorum, sync } => {
            let Parts { state, orders, manifests, stop, .. } = parts;
            journal::start(options.data.join(DSC_FOLDER), state.clone(), stop.clone()).await;
            let peers = feed::start(FeedOptions {
                node: options.name.clone(),
                labels: options.labels,
                manifests,
                state: state.clone(),
                quorum: quorum.clone(),
                orders: orders.clone(),
                clock: options.clock,
                stop: stop.clone(),
            });
            let peers = peers.await;
            let downlink = DownlinkHandle::start(
                sync,
                DownlinkOptions {
                    node: options.name,
                    state: state.clone(),
                    door: Door::Quorum(quorum),
                    orders,
                    clock: options.clock,
                    stop: stop.clone(),
                },
            );
            let downlink = downlink.await.map_err(StartError::Listen)?;
            Ok(Side::Member { downlink, peers })
        }
    }
}
