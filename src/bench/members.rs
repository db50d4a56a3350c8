//! The three members that a measurement runs against: real processes of this very program, as `up`
//! starts them, in a temporary folder. They end with their holder, however that ends.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use kraken_http::client::{Client, Settings};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, ChildStdin},
    time::{Instant, sleep, timeout},
};

use crate::{
    exit::Failure,
    fleet::author,
    up::{
        child,
        layout::{Layout, Node, Wanted},
    },
};

/// How long three members may take to be ready.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How long a member may take to end before it is killed.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How often, and how many times, is looked whether a killed member has ended.
const DROP_LOOK_INTERVAL: Duration = Duration::from_millis(10);
const DROP_LOOKS_MAX: usize = 500;
/// How often is looked whether they are ready.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Three running members.
pub(super) struct Members {
    nodes: Vec<Node>,
    /// Before the folder, which goes only after its users.
    running: Vec<Running>,
    folder: TempDir,
    client: Client,
}

/// A member's process. Its standard input is held open, as it ends when that is closed.
struct Running {
    name: String,
    child: Child,
    _lifeline: Option<ChildStdin>,
}

impl Members {
    /// Starts three members with these lines, as of a configuration file, for their modules. What
    /// `prepare` puts into the folder that it is given is there before they start.
    pub(super) async fn start(
        modules: impl Fn(&Path) -> String,
        prepare: impl Fn(&Path) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("kraken-bench-").tempdir();
        let folder = folder.context("cannot make a temporary folder")?;
        let anywhere = ([127, 0, 0, 1], 0).into();
        let wanted = Wanted { leaves: Some(0), http: Some(anywhere) };
        let layout = Layout::resolve(folder.path(), &wanted)?;
        let nodes = layout.nodes(folder.path());
        layout.write_configs(&nodes)?;
        for node in &nodes {
            configure(&node.config(), &modules(folder.path()))?;
        }
        prepare(folder.path())?;
        let settings = Settings {
            author: author(),
            patience: Duration::from_secs(30),
            unreachable_patience: Duration::from_secs(30),
            ..Settings::default()
        };
        let client = Client::with(&layout.servers(), settings)?;
        let mut members = Self { folder, nodes, running: Vec::new(), client };
        let program = std::env::current_exe().context("cannot find this program")?;
        for node in &members.nodes {
            let mut child = child::start(&program, node)?;
            let lifeline = child.stdin.take();
            members.running.push(Running { name: node.name.clone(), child, _lifeline: lifeline });
        }
        members.until_ready().await?;
        Ok(members)
    }

    /// A client of all three.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The folder of everything.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    async fn until_ready(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            if self.is_ready().await {
                return Ok(());
            }
            if begun.elapsed() > READY_WITHIN {
                let secs = READY_WITHIN.as_secs();
                return Err(Failure::failed(format!("three members do not stand after {secs} s")));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether all vote and every member's own node is registered, converged and known.
    async fn is_ready(&self) -> bool {
        let Ok(cluster) = self.client.cluster().await else { return false };
        let voters = cluster.members.iter().filter(|member| member.voter).count();
        let total = self.nodes.len();
        voters == total
            && cluster.leader.is_some()
            && super::converge::converged(&self.client).await.is_ok_and(|count| count == total)
    }

    /// Kills the leader, and tells its name.
    pub(super) async fn kill_leader(&mut self) -> Result<String, Failure> {
        let cluster = self.client.cluster().await?;
        let leader = cluster.leader_name.context("no leader is known")?;
        let member = self.running.iter_mut().find(|member| member.name == leader);
        let member = member.context("the leader is none of ours")?;
        member.child.kill().await.context("cannot kill the leader")?;
        Ok(leader)
    }

    /// Ends all processes, and removes everything.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        for member in &self.running {
            let pid = member.child.id().and_then(|pid| i32::try_from(pid).ok());
            // It may have died meanwhile, which is as good.
            pid.map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).ok());
        }
        for member in &mut self.running {
            if timeout(END_WITHIN, member.child.wait()).await.is_err() {
                member.child.kill().await.context("cannot kill a member")?;
            }
        }
        self.running.clear();
        Ok(self.folder.close().context("cannot remove the temporary folder")?)
    }
}

impl Drop for Running {
    /// For one that was not ended before.
    fn drop(&mut self) {
        // One that has ended already is as good.
        drop(self.child.start_kill());
        for _ in 0..DROP_LOOKS_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(DROP_LOOK_INTERVAL);
        }
    }
}

/// Puts these tables of modules into a configuration file, in the place of those that it has.
fn configure(file: &Path, modules: &str) -> Result<(), Failure> {
    let named = || format!("cannot configure {}", file.display());
    let text = fs::read_to_string(file).with_context(named)?;
    let mut config: toml::Table = text.parse().with_context(named)?;
    let more: toml::Table = modules.parse().with_context(named)?;
    let held = config.entry("modules").or_insert_with(|| toml::Table::new().into());
    if let (Some(held), Some(more)) =
        (held.as_table_mut(), more.get("modules").and_then(toml::Value::as_table))
    {
        held.extend(more.clone());
    }
    let text = toml::to_string(&config).with_context(named)?;
    Ok(fs::write(file, text).with_context(named)?)
}
