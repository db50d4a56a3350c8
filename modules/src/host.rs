//! The module `host`: what the machine of a node is made of and how it is, from `/proc` and `/sys`.
//! It changes nothing.
//!
//! # Paths of kind `node`, below `/host`
//!
//! Nobody sets them. Unknown is what the machine does not have or does not tell.
//!
//! | path | type | steps | meaning |
//! |---|---|---|---|
//! | `name` | text | | the kernel's host name |
//! | `arch` | text | | the processor architecture that the agent is built for |
//! | `kernel` | text | | the kernel's release |
//! | `os` | text | | the distribution's name and version |
//! | `bootId` | text | | tells one boot from another |
//! | `bootedMs` | ms since the Unix epoch | 60 s | when it was booted |
//! | `cpu/count` | count | | processors that are online |
//! | `cpu/model` | text | | the first one's model |
//! | `memory/totalBytes` | bytes | | what the kernel manages |
//! | `memory/availableBytes` | bytes | 5 % of total | what programs could still take |
//! | `load/1m` | number | 0.5, or 1/8 of the next power of two | load average of one minute |
//! | `disks/<name>/sizeBytes` | bytes | | its size |
//! | `disks/<name>/model` | text | | its model |
//! | `disks/<name>/rotational` | bool | | whether it turns |
//! | `mounts/<name>/sizeBytes` | bytes | | the size of the file system |
//! | `mounts/<name>/usedPercent` | % | 5 % | how much of it is used, as `df` counts |
//! | `interfaces/<name>/state` | UP, DOWN, ... | | what the kernel says of it |
//! | `interfaces/<name>/mac` | text | | its hardware address |
//! | `interfaces/<name>/mtu` | bytes | | its largest packet |
//! | `interfaces/<name>/speedMbps` | Mbit/s | | the speed of its link |
//! | `temperatures/<name>/celsius` | °C | 5 °C | one sensor |
//! | `skipped` | count | | things left out: a name that fits no path, or beyond a limit |
//!
//! A fleet is told of changes, so what moves all the time is told in steps: a value is kept until
//! the measured one has left it by more than three quarters of a step.
//!
//! It also sees `/arch` and `/platform` (as `debian 12`), which every node has (see
//! [`base`](crate::base())).
//!
//! Disks are the kernel's block devices but loops, memory and drives without a medium. Mounts are
//! file systems of disks, once each under their shortest mount point, whose `/` are written as `:`
//! (`/var/lib` is `:var:lib`, and `/` is `:`), and the root whatever it is. A sensor is named for
//! its chip and its label, or for its thermal zone; a second one of the same name ends in `.2`.
//!
//! The actor is restarted by the module host; what it then forgets is only where within a step a
//! value was. Disks, mounts, interfaces and sensors that are gone turn unknown, also those that an
//! earlier agent has seen.

mod facts;
mod machine;
mod parse;
mod steps;

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_actors::module::{ConfigureError, Kit, Module, Mutate, MutateError, Poll, Reporter};
use kraken_engine::{
    manifest::{Extension, Manifest, PathSpec, Type},
    path::Pattern,
};
use serde::Deserialize;
use tokio::{sync::Mutex, time::timeout};

use self::{facts::Shown, machine::Machine};

/// How often the machine is looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// How long a look is waited for: a disk that hangs must not hold the module.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// What the kernel says of an interface, in our words.
const STATES: [&str; 6] = ["UP", "DOWN", "LOWER_LAYER_DOWN", "DORMANT", "TESTING", "NOT_PRESENT"];

/// What is seen here and declared for every node.
const BASE_PATHS: [&str; 2] = ["/arch", "/platform"];

/// The actor: a mailbox round a machine.
pub struct Host {
    machine: Arc<Machine>,
    reporter: Reporter,
    /// What was reported last; held while a look runs, so that looks that hang do not pile up.
    shown: Arc<Mutex<Shown>>,
    /// What this module may report.
    ours: Arc<[Pattern]>,
}

/// The table `[modules.host]` of a node's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder in which `proc`, `sys` and `etc` are found, and below which file systems are
    /// measured; for an agent in a container that has the machine's own mounted elsewhere.
    /// Default: `/`.
    pub root: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

impl Module for Host {
    type Config = Config;

    fn manifest() -> Manifest {
        let paths = paths();
        paths
            .iter()
            .map(|path| path.path.as_str())
            .chain(BASE_PATHS)
            .fold(Manifest::new("host"), Manifest::discovers)
            .doc("Discovers what a machine is made of and how it is.")
            .extension(Extension { paths, ..Extension::new("host") })
            .poll(POLL_INTERVAL)
    }

    fn build(config: Config, kit: Kit) -> Result<Self, ConfigureError> {
        let proc = config.root.join("proc");
        if !proc.is_dir() {
            return Err(ConfigureError::Start(format!("root: no folder {}", proc.display())));
        }
        let ours = Self::manifest().discovers;
        Ok(Self {
            machine: Arc::new(Machine::new(config.root)),
            reporter: kit.reporter,
            shown: Arc::default(),
            ours: ours.iter().filter_map(|text| Pattern::new(text).ok()).collect(),
        })
    }
}

impl Actor for Host {
    type Context = Context<Self>;
}

impl Handler<Mutate> for Host {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, ask: Mutate, _: &mut Self::Context) -> Self::Result {
        let text = format!("module host has no mutation {}", ask.mutation);
        Box::pin(async { Err(MutateError::permanent(text)) })
    }
}

impl Handler<Poll> for Host {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        // A node hosts itself; only nodes are machines.
        let Some(object) = poll.objects.first().cloned() else { return Box::pin(async {}) };
        let (machine, shown, ours) = (self.machine.clone(), self.shown.clone(), self.ours.clone());
        let look = self.reporter.look();
        Box::pin(async move {
            let Ok(mut shown) = shown.try_lock_owned() else {
                return tracing::warn!("the machine is still being looked at");
            };
            let looking = tokio::task::spawn_blocking(move || {
                for (path, value) in &object.dsc {
                    if ours.iter().any(|pattern| pattern.matches(path).is_some()) {
                        shown.entry(path.clone()).or_insert_with(|| value.clone());
                    }
                }
                let (now, values) = facts::compare(&shown, machine.read(&shown));
                *shown = now;
                (object.uid, values)
            });
            match timeout(LOOK_MAX, looking).await {
                Ok(Ok((uid, values))) => look.saw(uid, values).await,
                Ok(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Ok(Err(_)) => {}
                Err(_) => tracing::warn!("a look at the machine takes more than {LOOK_MAX:?}"),
            }
        })
    }
}

fn paths() -> Vec<PathSpec> {
    let fact = |path: &str, value_type: Type, doc: &str| {
        PathSpec::fact(&format!("/host/{path}"), value_type).doc(doc)
    };
    let text = |path: &str, doc: &str| fact(path, Type::Text, doc);
    let count = |path: &str, unit: &str, doc: &str| fact(path, Type::count(), doc).unit(unit);
    let percent = Type::Int { min: 0, max: 100 };
    let celsius = Type::Int { min: -273, max: 1_000 };
    let state = Type::enum_of(STATES);
    vec![
        text("name", "The kernel's host name."),
        text("arch", "The processor architecture that the agent is built for."),
        text("kernel", "The kernel's release."),
        text("os", "The distribution's name and version."),
        text("bootId", "Tells one boot from another."),
        count("bootedMs", "ms", "When it was booted, since the Unix epoch."),
        fact("cpu/count", Type::count(), "Processors that are online."),
        text("cpu/model", "The model of the first processor."),
        count("memory/totalBytes", "bytes", "The memory that the kernel manages."),
        count("memory/availableBytes", "bytes", "What programs could still take, to 5 %."),
        fact("load/1m", Type::Float, "Load average of one minute, in steps."),
        count("disks/*/sizeBytes", "bytes", "The size of a disk."),
        text("disks/*/model", "The model of a disk."),
        fact("disks/*/rotational", Type::Bool, "Whether a disk turns."),
        count("mounts/*/sizeBytes", "bytes", "The size of a file system."),
        fact("mounts/*/usedPercent", percent, "How much of it is used, to 5 %.").unit("%"),
        fact("interfaces/*/state", state, "What the kernel says of an interface."),
        text("interfaces/*/mac", "The hardware address of an interface."),
        count("interfaces/*/mtu", "bytes", "The largest packet of an interface."),
        count("interfaces/*/speedMbps", "Mbit/s", "The speed of an interface's link."),
        fact("temperatures/*/celsius", celsius, "A sensor's temperature, to 5 °C.").unit("°C"),
        fact("skipped", Type::count(), "Things left out: an odd name, or beyond a limit."),
    ]
}

#[cfg(test)]
mod tests;
