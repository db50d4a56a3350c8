//! The module `service`: keeps processes running on a node as its Cfg says.
//!
//! # Paths of kind `node`, below `/services/<name>`
//!
//! A name starts with a letter or digit, then letters, digits, `_`, `.` or `-`.
//!
//! | path | type | set | seen | default | meaning |
//! |---|---|---|---|---|---|
//! | `state` | see below | yes | yes | `STOP` is absent | what it is to do; what it does |
//! | `command` | text | yes | | needed to run | the program: a name on PATH, or a file |
//! | `args` | texts | yes | | none | its arguments |
//! | `env/<NAME>` | text | yes | | see below | its environment |
//! | `folder` | text | yes | | its own, `${service.data}` | where it runs; relative to its own |
//! | `user` | text | yes | | the agent's | login name or number; only root may change it |
//! | `restart` | ALWAYS, ON_FAILURE, NEVER | yes | | ALWAYS | when it has ended by itself |
//! | `ready/exec` | texts | yes | | | ready when this command ends with 0 |
//! | `ready/tcp` | text | yes | | | ready when `host:port` takes connections |
//! | `ready/http` | text | yes | | | ready when a GET of the URL answers below 400 |
//! | `ready/timeoutMs` | 1 to 300,000 ms | yes | | 30,000 | how long readiness may take |
//! | `ready/intervalMs` | 10 to 60,000 ms | yes | | 250 | the longest wait between two tries |
//! | `stop/signal` | a signal | yes | | SIGTERM | the first signal of a stop |
//! | `stop/graceMs` | 0 to 120,000 ms | yes | | 10,000 | then SIGKILL |
//! | `log/bytesMax` | 1 KiB to 1 GiB | yes | | 10 MiB | when the output is rotated |
//! | `log/files` | 0 to 100 | yes | | 4 | rotated files that are kept |
//! | `spec` | text | | yes | | digest of `command`, `args`, `env`, `folder`, `user` as started |
//! | `pid` | number | | yes | | the process |
//! | `sinceMs` | ms since the Unix epoch | | yes | | when it was started |
//! | `restarts` | count | | yes | 0 | starts after ends of its own, since the last stop |
//! | `held` | bool | | yes | | it has ended and `restart` says to leave it |
//! | `exit` | text | | yes | | how its last process ended |
//! | `error` | text | | yes | | why it is FAILED |
//!
//! Of several probes the first of `exec`, `tcp`, `http` counts; without one a service is ready when
//! it has lived for 100 ms. One try of a probe takes at most 10 s.
//!
//! `command`, `args`, `env`, `folder`, `user` and the probes may use `${node.name}`,
//! `${service.name}` and `${service.data}`, the folder that is the service's own. Its environment
//! is PATH, LANG, HOME (and TZ where the agent has one; USER and LOGNAME where `user` is set), then
//! `env`, then KRAKEN_NODE, KRAKEN_SERVICE and KRAKEN_RUN: nothing else of the agent's.
//!
//! # States
//!
//! | state | meaning | which mutation leaves it |
//! |---|---|---|
//! | STOP | no process, and nothing is wrong | Start |
//! | INIT | a process that was not seen to be ready yet, found by a restarted agent | Start, Stop |
//! | RUN | a process that was ready and has not ended | Stop |
//! | DONE | it has ended by itself with code 0 | Start unless `held`; Stop |
//! | FAILED | it was killed, ended with another code, or could not be started | the same |
//!
//! `Look` finds out what is unknown. A changed spec makes the engine plan Stop, then Start. RUN and
//! STOP are what Cfg can be made to reach.
//!
//! # Restart policy
//!
//! | `restart` | ended with code 0 | ended otherwise |
//! |---|---|---|
//! | ALWAYS | DONE, started again | FAILED, started again |
//! | ON_FAILURE | DONE, held | FAILED, started again |
//! | NEVER | DONE, held | FAILED, held |
//!
//! Held is of one spec: a change of what is started, of the policy, or a stop and a start by Cfg
//! starts it anew; so does a boot of the machine. How a process ended that was adopted from an
//! earlier agent is not told by the kernel: it counts as FAILED.
//!
//! # Processes
//!
//! Each has its own session, its output goes straight to a file (see `log`), its record survives
//! the agent (see `record`). The actor is restarted by the module host on a panic and on a change
//! of its configuration; nothing is lost by that: what runs is found by its record and adopted, by
//! pid, start time and boot id. It takes no process down with it: see [`Config::on_shutdown`] and
//! [`stop_all`].

mod keeper;
mod log;
mod probe;
mod process;
mod record;
mod shim;
mod slot;
mod spawn;
mod spec;
mod stop_all;

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture};
use kraken_actors::module::{ConfigureError, Kit, Module, Mutate, MutateError, Poll, Stopping};
use kraken_engine::manifest::{Extension, From, Manifest, MutationSpec, PathSpec, To, Type};
use serde::Deserialize;

use self::keeper::Keeper;
pub use self::{
    shim::{SHIM_ARGUMENT, exec_shim},
    stop_all::{StopAllError, stop_all},
};

/// How long readiness may take unless Cfg says otherwise, in milliseconds.
pub const READY_TIMEOUT_MS_DEFAULT: u64 = 30_000;
/// The longest that Cfg may say, in milliseconds.
pub const READY_TIMEOUT_MS_MAX: u64 = 300_000;
/// The wait between two tries of a probe unless Cfg says otherwise, in milliseconds.
pub const READY_INTERVAL_MS_DEFAULT: u64 = 250;
/// The longest that Cfg may say, in milliseconds.
pub const READY_INTERVAL_MS_MAX: u64 = 60_000;
/// How long a stop may take before SIGKILL unless Cfg says otherwise, in milliseconds.
pub const STOP_GRACE_MS_DEFAULT: u64 = 10_000;
/// The longest that Cfg may say, in milliseconds.
pub const STOP_GRACE_MS_MAX: u64 = 120_000;
/// The size at which output is rotated unless Cfg says otherwise, in bytes.
pub const LOG_BYTES_DEFAULT: u64 = 10 << 20;
/// How many rotated files are kept unless Cfg says otherwise.
pub const LOG_FILES_DEFAULT: u64 = 4;

/// How often all services are looked at. Ends are seen at once, by watching.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long a service has to end with its agent before SIGKILL: the module host waits but little
/// longer.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);
/// What a process is started with, below `/services/*`: the inputs of `spec`.
const SPEC_INPUTS: [&str; 5] = ["command", "args", "env/*", "folder", "user"];

/// The actor: a mailbox round a `Keeper`. Restarted by the module host; loses nothing.
pub struct Service {
    keeper: Arc<Keeper>,
    on_shutdown: OnShutdown,
}

/// The table `[modules.service]` of a node's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What becomes of the services when the agent is shut down in order; default `leave`.
    pub on_shutdown: OnShutdown,
    /// The command that calls [`exec_shim`]: a program and its arguments. Default: this program
    /// with [`SHIM_ARGUMENT`].
    pub shim: Option<Vec<String>>,
}

/// What becomes of the services when the agent is shut down in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnShutdown {
    /// They run on and are adopted by the next agent.
    #[default]
    Leave,
    /// They are stopped; after 3 s by SIGKILL.
    Stop,
}

impl Module for Service {
    type Config = Config;

    fn manifest() -> Manifest {
        let states = ["STOP", "INIT", "DONE", "FAILED"];
        let start = MutationSpec::new("Start")
            .changes("/services/*/state", From::one_of(states), "RUN")
            .changes("/services/*/spec", From::Any, To::Cfg)
            .excludes("/services/*/held = true")
            .timeout(Duration::from_millis(READY_TIMEOUT_MS_MAX + STOP_GRACE_MS_MAX + 30_000))
            .cancellable();
        let stop = MutationSpec::new("Stop")
            .changes("/services/*/state", From::one_of(["RUN", "INIT", "DONE", "FAILED"]), "STOP")
            .timeout(Duration::from_millis(STOP_GRACE_MS_MAX + 30_000))
            .cost(Duration::from_millis(500))
            .cancellable();
        let look = MutationSpec::new("Look")
            .changes("/services/*/state", From::Unknown, "STOP")
            .timeout(Duration::from_secs(10))
            .cost(Duration::from_millis(50));
        let facts = ["state", "spec", "pid", "sinceMs", "restarts", "held", "exit", "error"];
        facts
            .iter()
            .fold(Manifest::new("service"), |manifest, fact| {
                manifest.discovers(&format!("/services/*/{fact}"))
            })
            .doc("Keeps processes running as Cfg says.")
            .extension(inputs())
            .extension(discoveries())
            .mutation(start)
            .mutation(stop)
            .mutation(look)
            .poll(POLL_INTERVAL)
    }

    fn build(config: Config, kit: Kit) -> Result<Self, ConfigureError> {
        if config.shim.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigureError::Invalid("shim: name a program".to_owned()));
        }
        let keeper = Keeper::new(kit, config.shim)
            .map_err(|error| ConfigureError::Start(format!("cannot use its folder: {error}")))?;
        Ok(Self { keeper: Arc::new(keeper), on_shutdown: config.on_shutdown })
    }

    fn shutdown(&mut self, why: Stopping) -> ResponseFuture<()> {
        let keeper = self.keeper.clone();
        let stops = self.on_shutdown == OnShutdown::Stop && why == Stopping::Node;
        Box::pin(async move {
            if stops {
                keeper.shut_down(SHUTDOWN_GRACE).await;
            }
        })
    }
}

impl Actor for Service {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.keeper.adopt();
        ctx.run_interval(log::ROTATE_INTERVAL, |service, _| {
            let keeper = service.keeper.clone();
            drop(tokio::task::spawn_blocking(move || keeper.rotate()));
        });
    }
}

impl Handler<Mutate> for Service {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, ask: Mutate, _: &mut Self::Context) -> Self::Result {
        let keeper = self.keeper.clone();
        Box::pin(async move { keeper.mutate(&ask).await })
    }
}

impl Handler<Poll> for Service {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let keeper = self.keeper.clone();
        Box::pin(async move {
            // A node hosts itself; only nodes have services.
            if let Some(object) = poll.objects.first() {
                keeper.poll(object).await;
            }
        })
    }
}

fn inputs() -> Extension {
    let ms = |path: &str, min: i64, max: u64, doc: &str| {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        PathSpec::input(path, Type::Int { min, max }).unit("ms").doc(doc)
    };
    let restart = Type::enum_of(["ALWAYS", "ON_FAILURE", "NEVER"]);
    let signal =
        Type::enum_of(["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL"]);
    let bytes = Type::Int { min: 1 << 10, max: 1 << 30 };
    let files = Type::Int { min: 0, max: 100 };
    let text = |path: &str, doc: &str| PathSpec::input(path, Type::Text).doc(doc);
    let texts = |path: &str, doc: &str| PathSpec::input(path, Type::Texts).doc(doc);
    Extension::new("service")
        .path(text("/services/*/command", "The program: a name on PATH, or a file."))
        .path(texts("/services/*/args", "Its arguments."))
        .path(text("/services/*/env/*", "One variable of its environment."))
        .path(text("/services/*/folder", "Where it runs; its own folder by default."))
        .path(text("/services/*/user", "Whom it runs as; the agent's user by default."))
        .path(
            PathSpec::input("/services/*/restart", restart).doc(
                "Whether it is started again after it has ended by itself; ALWAYS by default.",
            ),
        )
        .path(texts("/services/*/ready/exec", "It is ready when this command ends with 0."))
        .path(text("/services/*/ready/tcp", "It is ready when this host:port takes connections."))
        .path(text("/services/*/ready/http", "It is ready when this URL answers below 400."))
        .path(ms("/services/*/ready/timeoutMs", 1, READY_TIMEOUT_MS_MAX, "How long that may take."))
        .path(ms("/services/*/ready/intervalMs", 10, READY_INTERVAL_MS_MAX, "Between two tries."))
        .path(PathSpec::input("/services/*/stop/signal", signal).doc("The first signal of a stop."))
        .path(ms("/services/*/stop/graceMs", 0, STOP_GRACE_MS_MAX, "How long before SIGKILL."))
        .path(
            PathSpec::input("/services/*/log/bytesMax", bytes)
                .unit("bytes")
                .doc("The size at which its output is rotated; 10 MiB by default."),
        )
        .path(
            PathSpec::input("/services/*/log/files", files)
                .doc("How many rotated files are kept; 4 by default."),
        )
}

fn discoveries() -> Extension {
    let state = Type::enum_of(["RUN", "STOP", "INIT", "DONE", "FAILED"]);
    let up = "/services/*/state in {RUN, INIT}";
    let inputs = SPEC_INPUTS.map(|input| format!("/services/*/{input}"));
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let fact = |path: &str, value_type, doc: &str| PathSpec::fact(path, value_type).doc(doc);
    Extension::new("services")
        .path(
            PathSpec::new("/services/*/state", state)
                .absent("STOP")
                .doc("What it is to do, RUN or STOP; what it does."),
        )
        .path(
            fact("/services/*/spec", Type::Text, "The digest of what it was started with.")
                .digest_of(&inputs)
                .known_while(up),
        )
        .path(fact("/services/*/pid", Type::count(), "Its process.").known_while(up))
        .path(
            fact(
                "/services/*/sinceMs",
                Type::count(),
                "When it was started, since the Unix epoch.",
            )
            .unit("ms")
            .known_while(up),
        )
        .path(fact("/services/*/restarts", Type::count(), "Starts after ends of its own."))
        .path(fact("/services/*/held", Type::Bool, "It has ended and is to be left like that."))
        .path(fact("/services/*/exit", Type::Text, "How its last process ended."))
        .path(
            fact("/services/*/error", Type::Text, "Why it is FAILED.")
                .known_while("/services/*/state = FAILED"),
        )
}

#[cfg(test)]
mod tests;
