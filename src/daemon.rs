//! What `server` and `agent` have in common: arguments, configuration, the lock of the data folder,
//! the log, the actor system, and the ways in which a process is told to end.

use std::{
    fs::{self, File, TryLockError},
    future::Future,
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use kraken_actors::{clock::Clock, node::Node};
use kraken_engine::id::Name;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{interval, timeout},
};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{Config, ConfigError, LogFormat, Overrides, load},
    console::Console,
    exit::{Exit, Failure},
};

/// Other people's crates whose ordinary news are no news, unless `log.level` names them.
const QUIET: &str = "openraft=error";
/// The file that is locked as long as a process uses the data folder.
const LOCK_FILE: &str = "lock";

/// How a process that serves is configured.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The configuration file; examples/kraken.toml documents each key
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The node's name (node.name)
    #[arg(long)]
    name: Option<String>,
    /// The data folder (node.data)
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Sets one key of the configuration; may be given many times
    #[arg(short, long, value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Shows the configuration that results, and ends
    #[arg(long)]
    print_config: bool,
    /// Ends in good order when standard input is closed
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

/// A process that is about to serve: it is configured, logs, and has its data folder to itself.
pub(crate) struct Daemon {
    /// The configuration.
    pub(crate) config: Config,
    /// The node's name.
    pub(crate) name: Name,
    /// The node's clock.
    pub(crate) clock: Clock,
    exit_with_parent: bool,
    _lock: File,
}

impl Daemon {
    /// Makes ready to serve; `None` where only the configuration was asked for.
    pub(crate) fn prepare(args: Args, console: &Console) -> Result<Option<Self>, Failure> {
        let mut overrides = Overrides::from_environment(std::env::vars_os().filter_map(text));
        for (flag, key, value) in
            [("--name", "node.name", &args.name), ("--data", "node.data", &args.data)]
        {
            if let Some(value) = value {
                overrides.push(flag, key, value);
            }
        }
        for typed in &args.set {
            overrides.push_typed("--set", typed).map_err(misconfigured)?;
        }
        let mut config = load(args.config.as_deref(), overrides).map_err(misconfigured)?;
        let name = config.name().map_err(misconfigured)?;
        if args.print_config {
            config.old.serve = Some(config.serves_old());
            config.node.name = Some(name);
            console.print(config.to_string())?;
            return Ok(None);
        }
        let lock = lock(&config.node.data)?;
        start_log(&config)?;
        let (clock, exit_with_parent) = (Clock::new(), args.exit_with_parent);
        Ok(Some(Self { config, name, clock, exit_with_parent, _lock: lock }))
    }

    /// Begins to listen for requests to end.
    pub(crate) fn endings(&self) -> Result<Endings, Failure> {
        Endings::listen(self.exit_with_parent)
    }
}

/// Runs a future within an actor system on many threads.
pub(crate) fn run<T>(serve: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("kraken")
        .enable_all()
        .build()
        .context("cannot start threads")?;
    actix_rt::System::with_tokio_rt(move || runtime).block_on(serve)
}

/// A mistake of who started this process, like one on the command line.
fn misconfigured(error: ConfigError) -> Failure {
    Failure::from(anyhow::Error::new(error)).exiting(Exit::Usage)
}

/// A variable of the environment, if it is text.
fn text((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

/// Makes a data folder and takes it for this process alone, as long as the file is open. The file
/// names the process.
pub(crate) fn lock(data: &Path) -> Result<File, Failure> {
    let named = || format!("cannot use the data folder {}", data.display());
    fs::create_dir_all(data).with_context(named)?;
    let file = File::options().create(true).append(true).open(data.join(LOCK_FILE));
    let mut file = file.with_context(named)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Failure::failed(format!(
                "the data folder {} is in use by another process",
                data.display()
            ))
            .hint("end that process first, or take another folder with --data"));
        }
        Err(TryLockError::Error(error)) => {
            return Err(anyhow::Error::new(error).context(named()).into());
        }
    }
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.with_context(named)?;
    Ok(file)
}

/// The process that has a data folder to itself, if one has.
pub(crate) fn holder(data: &Path) -> Option<i32> {
    let file = File::open(data.join(LOCK_FILE)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(data.join(LOCK_FILE)).ok()?.parse().ok();
            // Smaller numbers mean whole groups of processes to a signal.
            pid.filter(|pid| *pid > 1)
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Sends the log to standard error.
fn start_log(config: &Config) -> Result<(), Failure> {
    let level = format!("{QUIET},{}", config.log.level);
    let level = EnvFilter::try_new(level).context("log.level")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match config.log.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| Failure::failed(format!("cannot start the log: {error}")))
}

/// The ways in which a process is told to end in good order.
pub(crate) struct Endings {
    terminate: Signal,
    interrupt: Signal,
    orphaned: oneshot::Receiver<()>,
    /// Kept where nothing else could raise it, so that it is never taken for raised.
    _unraised: Option<oneshot::Sender<()>>,
}

impl Endings {
    /// Takes SIGTERM and SIGINT and, where asked to, watches standard input.
    pub(crate) fn listen(with_parent: bool) -> Result<Self, Failure> {
        let (gone, orphaned) = oneshot::channel();
        let unraised = if with_parent {
            // A thread of its own: tokio's would hold up the end of the runtime.
            std::thread::Builder::new()
                .name("parent".to_owned())
                .spawn(move || {
                    await_end_of_input();
                    gone.send(()).ok();
                })
                .context("cannot start a thread")?;
            None
        } else {
            Some(gone)
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot take SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot take SIGINT")?,
            orphaned,
            _unraised: unraised,
        })
    }

    /// Waits until one of them happens and says which. Cancel safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = &mut self.orphaned, if !self.orphaned.is_terminated() => "the parent is gone",
        }
    }

    /// Does the last work, unless one is told a second time.
    pub(crate) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            why = self.next() => Err(Failure::failed(format!("ended at once: {why} again"))),
        }
    }
}

fn await_end_of_input() {
    let (mut input, mut byte) = (std::io::stdin().lock(), [0]);
    loop {
        match input.read(&mut byte) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Tells systemd, if it has started this process. What it cannot be told is no reason to end.
pub(crate) fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}

/// Answers systemd's watchdog, if there is one, as long as the node's actors answer.
pub(crate) fn keep_watchdog(node: &Node) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let beat = (limit / 3).max(Duration::from_millis(100));
    let observe = node.observer();
    tokio::spawn(async move {
        let mut beats = interval(beat);
        loop {
            beats.tick().await;
            if timeout(beat, observe()).await.is_ok() {
                tell_systemd(NotifyState::Watchdog);
            } else {
                tracing::warn!("the actors do not answer");
            }
        }
    });
}
