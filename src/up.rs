//! `kraken up`: three members and a number of leaves as real processes on this machine, to learn
//! with and to try things out. What it runs is what runs on many machines; only the configuration
//! files are its own.
//!
//! It keeps its children running, tells what happens to them, and takes everything down with it.

pub(crate) mod child;
pub(crate) mod layout;
mod ports;
mod stage;
mod takedown;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    child::{Happened, Keeping, RESTART_AFTER},
    layout::{Layout, Node, Role, Wanted},
    stage::{Stage, State},
};
use crate::{
    console::Console,
    daemon::Endings,
    exit::{Exit, Failure},
    table,
};

/// Most leaves of one machine.
const LEAVES_MAX: u64 = 1_000;
/// Happenings that wait to be told; at the bound the children's keepers wait.
const HAPPENED_MAX: usize = 256;

/// Starts three members and leaves here, as real processes, and keeps them running
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many leaves [default: 8, or as many as before]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=LEAVES_MAX))]
    leaves: Option<u64>,
    /// The state to ask for [default: examples/first-run.yaml, or what was asked for before]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Keep everything in this folder, and go on from it [default: a fresh temporary one]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Where the first member serves HTTP; port 0: any free one [default: 127.0.0.1:3141]
    #[arg(long, value_name = "IP:PORT")]
    http: Option<SocketAddr>,
    /// Leave children that die dead, and say how to start them
    #[arg(long)]
    no_restart: bool,
}

/// The folder of everything, which goes with us where it is ours alone.
enum Home {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Home {
    fn open(data: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(data) = data else {
            let folder = tempfile::Builder::new().prefix("kraken-").tempdir();
            return Ok(Self::Temporary(folder.context("cannot make a temporary folder")?));
        };
        let named = format!("cannot use the folder {}", data.display());
        std::fs::create_dir_all(&data).with_context(|| named.clone())?;
        Ok(Self::Kept(data.canonicalize().context(named)?))
    }

    fn path(&self) -> &std::path::Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// Removes what is ours alone.
    fn close(self) -> Result<(), Failure> {
        match self {
            Self::Kept(_) => Ok(()),
            Self::Temporary(folder) => {
                Ok(folder.close().context("cannot remove the temporary folder")?)
            }
        }
    }
}

impl Args {
    /// Runs until told to end.
    pub(crate) async fn run(self, console: &Console) -> Result<(), Failure> {
        let state = self.state()?;
        let home = Home::open(self.data)?;
        let is_new = !Layout::is_kept_in(home.path());
        let _lock = crate::daemon::lock(home.path())?;
        let wanted = Wanted {
            leaves: self.leaves.and_then(|leaves| usize::try_from(leaves).ok()),
            http: self.http,
        };
        let layout = Layout::resolve(home.path(), &wanted)?;
        let nodes = layout.nodes(home.path());
        layout.write_configs(&nodes)?;
        let leaves = leaf_names(&nodes);
        let state = state.or_else(|| is_new.then(|| stage::first_run(&leaves)).flatten());
        let stage = Stage { servers: layout.servers(), leaves, state };
        let ended = Processes::start(nodes.clone(), !self.no_restart, console)?.run(&stage).await;
        let cleared = takedown::clear(&nodes, ended.is_err(), console).await;
        ended.and(cleared)?;
        home.close()?;
        console.note("everything has ended");
        Ok(())
    }

    fn state(&self) -> Result<Option<State>, Failure> {
        let read = |file: &PathBuf| {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("cannot read {}", file.display()))?;
            Ok::<_, anyhow::Error>(State { file: file.display().to_string(), text })
        };
        let text = self.state.as_ref().map(read).transpose();
        text.map_err(|error| Failure::from(error).exiting(Exit::Usage))
    }
}

fn leaf_names(nodes: &[Node]) -> Vec<String> {
    let leaves = nodes.iter().filter(|node| node.role == Role::Leaf);
    leaves.map(|node| node.name.clone()).collect()
}

/// The processes of all nodes, and who watches over them.
struct Processes {
    nodes: Vec<Node>,
    pids: Vec<Option<u32>>,
    keeping: Keeping,
    happened: mpsc::Receiver<Happened>,
    keepers: TaskTracker,
    console: Console,
}

impl Processes {
    fn start(nodes: Vec<Node>, restarts: bool, console: &Console) -> Result<Self, Failure> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let (tx, happened) = mpsc::channel(HAPPENED_MAX);
        let (end, end_now) = (CancellationToken::new(), CancellationToken::new());
        let keeping = Keeping { program, restarts, end, end_now, happened: tx };
        let keepers = TaskTracker::new();
        for (place, node) in nodes.iter().enumerate() {
            keepers.spawn(keeping.clone().keep(place, node.clone()));
        }
        keepers.close();
        let pids = vec![None; nodes.len()];
        Ok(Self { nodes, pids, keeping, happened, keepers, console: console.clone() })
    }

    /// Brings the fleet to its state, then watches over it until told to end. An error is one that
    /// was met on the way, or that the end was forced.
    async fn run(mut self, stage: &Stage) -> Result<(), Failure> {
        let mut endings = Endings::listen(false)?;
        let console = self.console.clone();
        let staged = {
            let mut staging = Box::pin(stage.run(&console));
            loop {
                tokio::select! {
                    staged = &mut staging => break staged.map(|()| None),
                    Some(happened) = self.happened.recv() => self.tell(happened),
                    why = endings.next() => break Ok(Some(why)),
                }
            }
        };
        let why = match staged {
            Ok(Some(why)) => Ok(why),
            Ok(None) => self.stay(stage, &mut endings).await,
            Err(failure) => Err(failure),
        };
        self.end(why, &mut endings).await
    }

    async fn stay(
        &mut self,
        stage: &Stage,
        endings: &mut Endings,
    ) -> Result<&'static str, Failure> {
        self.console.print(self.table())?;
        self.console.note(self.old_sockets());
        self.console.note(stage.next_commands());
        loop {
            tokio::select! {
                Some(happened) = self.happened.recv() => self.tell(happened),
                why = endings.next() => return Ok(why),
            }
        }
    }

    /// Ends all processes in good order; at once where one is told to end a second time.
    async fn end(
        &mut self,
        why: Result<&'static str, Failure>,
        endings: &mut Endings,
    ) -> Result<(), Failure> {
        match &why {
            Ok(why) => self.console.note(format!("{why}: ending all processes")),
            Err(_) => self.console.note("ending all processes"),
        }
        self.keeping.end.cancel();
        let mut forced = None;
        loop {
            tokio::select! {
                () = self.keepers.wait() => break,
                Some(_) = self.happened.recv() => {}
                why = endings.next(), if forced.is_none() => {
                    forced = Some(format!("{why} again: everything was ended at once"));
                    self.keeping.end_now.cancel();
                }
            }
        }
        why?;
        forced.map_or(Ok(()), |words| Err(Failure::failed(words)))
    }

    /// Tells what happened to a child.
    fn tell(&mut self, happened: Happened) {
        match happened {
            Happened::Started { node, pid } => {
                let before = self.pids.get_mut(node).and_then(|before| before.replace(pid));
                if let (Some(_), Some(node)) = (before, self.nodes.get(node)) {
                    self.console.note(format!("{} runs again, pid {pid}", node.name));
                }
            }
            Happened::Died { node, how } => {
                let Some(node) = self.nodes.get(node) else { return };
                let next = if self.keeping.restarts {
                    format!("it is started again in {} s", RESTART_AFTER.as_secs())
                } else {
                    format!("start it with: {}", self.command(node))
                };
                self.console.note(format!("{} {how}; {next}", node.name));
            }
        }
    }

    fn command(&self, node: &Node) -> String {
        let (program, config) = (self.keeping.program.display(), node.config());
        format!("{program} {} --config {}", node.role.verb(), config.display())
    }

    /// Where the dashboard of the system that came before finds its events.
    fn old_sockets(&self) -> String {
        let at = |node: &Node| Some(format!("{} ws://{}/ws", node.name, node.old?));
        let all: Vec<String> = self.nodes.iter().filter_map(at).collect();
        format!("WebSocket of the old surface (docs/old.md): {}", all.join(", "))
    }

    fn table(&self) -> String {
        let mut rows = table::table(["ROLE", "NODE", "PID", "ADDRESS", "FOLDER"]);
        for (node, pid) in self.nodes.iter().zip(&self.pids) {
            let pid = pid.map(|pid| pid.to_string()).unwrap_or_default();
            let folder = node.folder.display().to_string();
            let role = node.role.as_str();
            rows.row([role, &node.name, &pid, &node.address(), &folder].map(table::text));
        }
        rows.render(self.console.look())
    }
}
