//! `kraken server`: a member. Votes, holds all Cfg and the merged Dsc, serves clients over HTTP and
//! leaves over the sync port.
//!
//! A member that belongs to no cluster yet serves all the same and says so, so that it can be told
//! to found one or to join one.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use kraken_actors::{
    module::Factory,
    node::{Node, Role},
    spans::Spans,
};
use kraken_http::{Api, Limits, Server};
use kraken_raft::{Handle, MembershipError};
use sd_notify::NotifyState;
use tokio::{sync::oneshot, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    agent::start_node,
    config::{Config, Listener, OLD_PORT},
    console::Console,
    daemon::{self, Daemon, Endings, keep_watchdog, tell_systemd},
    exit::Failure,
    quorum::RaftQuorum,
    traces::Traces,
};

/// How long after a failure is tried again to found or to join.
const COME_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The folder of Raft below the data folder.
pub(crate) const RAFT_FOLDER: &str = "raft";

/// Runs a member of the quorum
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    daemon: daemon::Args,
}

impl Args {
    /// Serves until told to end.
    pub(crate) fn run(self, factories: Vec<Factory>, console: &Console) -> Result<(), Failure> {
        let Some(daemon) = Daemon::prepare(self.daemon, console)? else { return Ok(()) };
        daemon::run(serve(&daemon, factories))
    }
}

/// Where clients and leaves come in. Bound before anything else, so that it is known what to tell
/// the other members, and so that a port that is taken is told at once.
struct Listeners {
    http: TcpListener,
    old: Option<TcpListener>,
    sync: TcpListener,
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, Failure> {
        let old = if config.serves_old() { Some(bind_old(config)?) } else { None };
        Ok(Self {
            http: bind(&config.http.listener, "http")?,
            old,
            sync: bind(&config.sync, "sync")?,
        })
    }
}

/// Binds the WebSocket of the old surface. Whoever has not said where it is to be may run several
/// members on one machine: clients ask where it is, so that the usual port may be taken.
fn bind_old(config: &Config) -> Result<TcpListener, Failure> {
    let listen = config.old.listen;
    let usual = SocketAddr::from(([127, 0, 0, 1], OLD_PORT));
    match bind(&Listener::at(listen.unwrap_or(usual)), "old") {
        Err(_) if listen.is_none() => {
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let bound = bind(&Listener::at(anywhere), "old")?;
            let instead = address(&bound)?;
            tracing::info!(%usual, %instead, "the WebSocket of the old surface is elsewhere");
            Ok(bound)
        }
        bound => bound,
    }
}

pub(crate) fn bind(listener: &Listener, table: &str) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(listener.listen)
        .and_then(|bound| bound.set_nonblocking(true).map(|()| bound));
    bound.map_err(|error| {
        Failure::failed(format!("cannot listen on {} ({table}.listen): {error}", listener.listen))
            .hint(format!("choose another port: --set {table}.listen=ip:port"))
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    Ok(listener.local_addr().context("a listener has no address")?)
}

async fn serve(daemon: &Daemon, factories: Vec<Factory>) -> Result<(), Failure> {
    let mut endings = daemon.endings()?;
    let listeners = Listeners::bind(&daemon.config)?;
    let http_address = address(&listeners.http)?;
    let raft = start_raft(daemon, &listeners).await?;
    let quorum = RaftQuorum::new(raft.clone());
    let sync = tokio::net::TcpListener::from_std(listeners.sync).context("sync.listen")?;
    let traces = Traces::start(&daemon.config.traces, &daemon.name)?;
    let (role, spans) = (Role::Member { quorum: quorum.clone(), sync }, traces.spans());
    let node = start_node(daemon, factories, role, &spans).await?;
    let api = api(daemon, &node, quorum, spans);
    let edge = Edge::serve(daemon, api, (listeners.http, listeners.old))?;
    keep_watchdog(&node);
    tell_systemd(NotifyState::Ready);
    tracing::info!(node = %daemon.name, http = %http_address, raft = %raft.local_addr(), "serving");
    let outcome = until_the_end(daemon, &raft, &mut endings).await;
    tell_systemd(NotifyState::Stopping);
    outcome?;
    let stop = async {
        edge.stop().await;
        node.stop().await;
        raft.shutdown().await;
        traces.stop().await;
    };
    endings.within(stop).await
}

/// What clients are served of.
fn api(daemon: &Daemon, node: &Node, quorum: Arc<RaftQuorum>, spans: Spans) -> Api {
    Api {
        node: daemon.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        quorum,
        state: node.state().clone(),
        clock: daemon.clock,
        spans,
        observe: node.observer(),
    }
}

/// What serves clients.
struct Edge {
    server: Server,
    shutdown: CancellationToken,
}

impl Edge {
    fn serve(
        daemon: &Daemon,
        api: Api,
        (listener, old): (TcpListener, Option<TcpListener>),
    ) -> Result<Self, Failure> {
        let listener = tokio::net::TcpListener::from_std(listener).context("http.listen")?;
        let old = old.map(tokio::net::TcpListener::from_std).transpose().context("old.listen")?;
        let old = old.map(|old| (old, daemon.config.old.advertise.clone()));
        let shutdown = CancellationToken::new();
        let limits =
            Limits { origins: daemon.config.http.cors_origins.clone(), ..Limits::default() };
        let ending = (shutdown.clone(), limits);
        let server = kraken_http::serve_with_old(listener, old, api, ending);
        let server = server.context("cannot serve clients")?;
        if let Some(old) = server.old_addr {
            tracing::info!(socket = %old, "serving the old surface");
        }
        Ok(Self { server, shutdown })
    }

    /// Answers what is being asked, and ends.
    async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.server.task.await {
            tracing::warn!(%error, "the server did not end well");
        }
    }
}

/// Waits until the process is told to end. An error is one that it cannot go on with.
async fn until_the_end(
    daemon: &Daemon,
    raft: &Handle,
    endings: &mut Endings,
) -> Result<(), Failure> {
    let (refused, refusal) = oneshot::channel();
    let coming = come_to_a_cluster(daemon.config.clone(), raft.clone(), refused);
    let _coming = AbortOnDropHandle::new(tokio::spawn(coming));
    tokio::select! {
        why = endings.next() => {
            tracing::info!(why, "ending");
            Ok(())
        }
        fatal = raft.fatal() => Err(anyhow::Error::new(fatal).into()),
        Ok(refusal) = refusal => Err(anyhow::Error::new(refusal).into()),
    }
}

async fn start_raft(daemon: &Daemon, listeners: &Listeners) -> Result<Handle, Failure> {
    let Config { node, http, raft, sync, .. } = &daemon.config;
    let data = node.data.join(RAFT_FOLDER);
    let mut options = kraken_raft::Options::new(data, raft.listener.listen, daemon.name.clone());
    options.advertise.clone_from(&raft.listener.advertise);
    options.limits.snapshot_entries = raft.snapshot_entries;
    options.limits.keep_entries = raft.keep_entries;
    options.limits.segment_bytes = raft.segment_bytes;
    options.http = format!("http://{}", http.listener.advertised(address(&listeners.http)?));
    options.sync = sync.advertised(address(&listeners.sync)?);
    Ok(Handle::start(options).await.context("cannot start the quorum's part")?)
}

/// Founds or joins as the configuration says, unless this is a member already. Tells a refusal;
/// what may succeed later is tried until it does.
async fn come_to_a_cluster(
    config: Config,
    raft: Handle,
    refused: oneshot::Sender<MembershipError>,
) {
    let cluster = config.cluster;
    while !raft.is_member() && (cluster.init || !cluster.join.is_empty()) {
        let come = if cluster.init {
            raft.init().await
        } else {
            raft.join(cluster.join.clone(), cluster.learner).await
        };
        match come {
            Ok(member) => tracing::info!(%member, "this is a member of the cluster now"),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "not a member yet; trying again");
                sleep(COME_AGAIN_AFTER).await;
            }
            Err(error) => {
                // Where nobody listens any more the process ends anyway.
                drop(refused.send(error));
                return;
            }
        }
    }
}
