//! One node as a process of this very program: started, watched, started again when it dies, ended.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::layout::Node;
use crate::exit::Failure;

/// How long after its death a node is started again.
pub(super) const RESTART_AFTER: Duration = Duration::from_secs(3);
/// How long a node may take to end in good order, its modules' last work included.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Variables by which our own starter speaks to us and not to our children.
const NOT_INHERITED: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// The end of a log in which the reason of a death is looked for, in bytes.
const LAST_WORDS_BYTES_MAX: usize = 4_096;

/// What happened to a node's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happened {
    /// It was started.
    Started {
        /// The node, by its place.
        node: usize,
        /// Its process.
        pid: u32,
    },
    /// It has died, or could not be started.
    Died {
        /// The node, by its place.
        node: usize,
        /// How, in words.
        how: String,
    },
}

/// How nodes are run.
#[derive(Debug, Clone)]
pub(super) struct Keeping {
    /// This program.
    pub(super) program: PathBuf,
    /// Whether the dead are started again.
    pub(super) restarts: bool,
    /// Asks all to end in good order.
    pub(super) end: CancellationToken,
    /// Asks all to end at once.
    pub(super) end_now: CancellationToken,
    /// Where it is told what happens.
    pub(super) happened: mpsc::Sender<Happened>,
}

impl Keeping {
    /// Keeps a node running until all are asked to end. Returns when it has ended.
    pub(super) async fn keep(self, place: usize, node: Node) {
        while !self.end.is_cancelled() {
            let how = match start(&self.program, &node) {
                Ok(child) => self.live(place, &node, child).await,
                Err(failure) => failure.words(),
            };
            let Some(how) = how else { return };
            self.tell(Happened::Died { node: place, how }).await;
            if !self.restarts {
                return;
            }
            tokio::select! {
                () = sleep(RESTART_AFTER) => {}
                () = self.end.cancelled() => {}
            }
        }
    }

    /// Waits until a process has ended; tells how it died where it was not asked to end.
    async fn live(&self, place: usize, node: &Node, mut child: Child) -> Option<String> {
        // Held here, as waiting for a child would close it, which would end the child.
        let _lifeline = child.stdin.take();
        if let Some(pid) = child.id() {
            self.tell(Happened::Started { node: place, pid }).await;
        }
        tokio::select! {
            status = child.wait() => Some(describe(status, node)),
            () = self.end.cancelled() => {
                self.see_off(&mut child).await;
                None
            }
        }
    }

    async fn see_off(&self, child: &mut Child) {
        signal(child, Signal::SIGTERM);
        let ended = tokio::select! {
            ended = timeout(END_WITHIN, child.wait()) => ended.is_ok(),
            () = self.end_now.cancelled() => false,
        };
        if !ended {
            signal(child, Signal::SIGKILL);
            drop(child.wait().await);
        }
    }

    async fn tell(&self, happened: Happened) {
        // Nobody listens any more only when all is about to end.
        drop(self.happened.send(happened).await);
    }
}

/// Starts the process of a node in a process group of its own, so that Ctrl-C reaches only us.
/// The pipe to its standard input is closed with us, however we end.
pub(crate) fn start(program: &Path, node: &Node) -> Result<Child, Failure> {
    let log = File::options().create(true).append(true).open(node.log());
    let log = log.with_context(|| format!("cannot write {}", node.log().display()))?;
    let errors = log.try_clone().context("cannot share the log")?;
    let mut command = Command::new(program);
    command
        .arg(node.role.verb())
        .arg("--config")
        .arg(node.config())
        .arg("--exit-with-parent")
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(errors)
        .process_group(0);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"KRAKEN_") {
            command.env_remove(name);
        }
    }
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    let started = command.spawn();
    Ok(started.with_context(|| format!("cannot run {}", program.display()))?)
}

/// Signals a child that was not waited for yet, so that its pid is still its own.
fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // It may have died meanwhile, which is as good.
        kill(Pid::from_raw(pid), signal).ok();
    }
}

/// How a process ended, with its last words where it ended by itself.
fn describe(status: std::io::Result<ExitStatus>, node: &Node) -> String {
    let status = match status {
        Ok(status) => status,
        Err(error) => return format!("is lost: {error}"),
    };
    match (status.signal(), status.code()) {
        (Some(number), _) => {
            let name = Signal::try_from(number).map_or("signal", Signal::as_str);
            format!("was killed by {name} ({number})")
        }
        (None, code) => {
            let code = code.unwrap_or_default();
            let words = last_words(node).map(|words| format!(": {words}")).unwrap_or_default();
            format!("ended with code {code}{words}")
        }
    }
}

/// The last line that a node wrote.
fn last_words(node: &Node) -> Option<String> {
    let bytes = fs::read(node.log()).ok()?;
    let tail = bytes.get(bytes.len().saturating_sub(LAST_WORDS_BYTES_MAX)..)?;
    let text = String::from_utf8_lossy(tail);
    text.lines()
        .map(str::trim)
        .rfind(|line| line.starts_with("kraken: "))
        .map(|line| line.trim_start_matches("kraken: ").to_owned())
}
