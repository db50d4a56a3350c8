//! `kraken agent`: a leaf. Runs the modules that act on this machine, and attaches to whichever
//! member or relay answers; goes on healing while none does. May be a relay itself.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kraken_actors::{
    module::Factory,
    node::{Node, NodeOptions, Role},
    spans::Spans,
};
use kraken_engine::sync::parents::Parent;
use sd_notify::NotifyState;
use tokio::net::TcpListener;

use crate::{
    console::Console,
    daemon::{self, Daemon, keep_watchdog, tell_systemd},
    exit::Failure,
    server,
    traces::Traces,
};

/// The module that keeps processes, and the folder of a node's modules.
const SERVICE: &str = "service";
const MODULES_FOLDER: &str = "modules";

/// Runs a leaf: the modules that act on this machine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    daemon: daemon::Args,
}

impl Args {
    /// Serves until told to end.
    pub(crate) fn run(self, factories: Vec<Factory>, console: &Console) -> Result<(), Failure> {
        let Some(daemon) = Daemon::prepare(self.daemon, console)? else { return Ok(()) };
        if daemon.config.agent.parents.is_empty() {
            return Err(Failure::usage("agent.parents is empty: a leaf attaches to a member")
                .hint("name sync addresses of members: agent.parents = [\"m1:3144\"]"));
        }
        daemon::run(serve(&daemon, factories))
    }
}

async fn serve(daemon: &Daemon, factories: Vec<Factory>) -> Result<(), Failure> {
    let mut endings = daemon.endings()?;
    let parents = daemon.config.agent.parents.clone();
    let role = if daemon.config.agent.relay {
        Role::Relay { parents, sync: listen(daemon)? }
    } else {
        Role::Leaf { parents }
    };
    let traces = Traces::start(&daemon.config.traces, &daemon.name)?;
    let node = start_node(daemon, factories, role, &traces.spans()).await?;
    keep_watchdog(&node);
    tell_systemd(NotifyState::Ready);
    let (sync, parents) = (node.sync_addr(), daemon.config.agent.parents.iter());
    let parents: Vec<String> = parents.map(Parent::to_string).collect();
    tracing::info!(node = %daemon.name, ?parents, relay = ?sync, "serving");
    let why = endings.next().await;
    tracing::info!(why, "ending");
    tell_systemd(NotifyState::Stopping);
    let stop = async {
        node.stop().await;
        traces.stop().await;
    };
    endings.within(stop).await
}

/// Where leaves attach to a relay.
fn listen(daemon: &Daemon) -> Result<TcpListener, Failure> {
    let listener = server::bind(&daemon.config.sync, "sync")?;
    Ok(TcpListener::from_std(listener).context("sync.listen")?)
}

/// Starts the node of a process, with all its modules.
pub(crate) async fn start_node(
    daemon: &Daemon,
    factories: Vec<Factory>,
    role: Role,
    spans: &Spans,
) -> Result<Node, Failure> {
    let mut factories = factories;
    factories.extend(kraken_modules::on_request().into_iter().filter(|factory| {
        let module = factory.manifest().module.as_str();
        daemon.config.modules.keys().any(|configured| configured.as_str() == module)
    }));
    let options = NodeOptions {
        name: daemon.name.clone(),
        role,
        data: daemon.config.node.data.clone(),
        labels: daemon.config.node.labels.clone(),
        factories,
        module_configs: daemon.config.modules().context("modules")?,
        base: vec![
            kraken_modules::base(),
            kraken_engine::policy::manifest(),
            kraken_http::old::manifest(),
        ],
        clock: daemon.clock,
        spans: spans.clone(),
    };
    Ok(Node::start(options).await.context("cannot start the node")?)
}

/// Where the module `service` of a node keeps its records, below the node's data folder.
pub(crate) fn service_folder(data: &Path) -> PathBuf {
    data.join(MODULES_FOLDER).join(SERVICE)
}
