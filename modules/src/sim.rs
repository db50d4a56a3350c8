//! The module `sim`: machines that do not exist, with power, boot and run states, latencies and
//! faults. For trying states and plans before hardware, and for tests.
//!
//! A node is simulated if its Cfg asks for `/physState`, `/runState` or `/drainState`; load this
//! module or one that controls real machines, not both.
//!
//! # Paths of kind `node`, seen by the parent
//!
//! | path | values | meaning |
//! |---|---|---|
//! | `/physState` | POWER_OFF, POWER_ON, POWER_CYCLE, PHYS_HANG, PHYS_ERROR | the machine's power |
//! | `/runState` | INIT, SYNC, ERROR; known while POWER_ON | how far its system is |
//!
//! # Paths of kind `node`, seen by the node itself
//!
//! | path | values | meaning |
//! |---|---|---|
//! | `/drainState` | ACTIVE, DRAINED | whether the node takes work |
//!
//! # Mutations, decided by the leader
//!
//! The first two are carried out on the node, the others by its parent.
//!
//! | mutation | changes | disruptive | when it fails |
//! |---|---|---|---|
//! | Drain | drainState: ACTIVE to DRAINED | | |
//! | Resume | drainState: DRAINED to ACTIVE | | |
//! | Look | physState: unknown to POWER_OFF (whatever is seen) | | |
//! | LookInside | runState: unknown to INIT, while POWER_ON | | |
//! | PowerOn | physState: POWER_OFF to POWER_ON; runState to INIT | | PHYS_HANG |
//! | PowerOff | physState: POWER_ON to POWER_OFF | yes | PHYS_HANG |
//! | PowerCycle | physState: PHYS_HANG, PHYS_ERROR to POWER_ON; runState INIT | yes | PHYS_ERROR |
//! | AwaitCycle | physState: POWER_CYCLE to POWER_ON; runState to INIT | | PHYS_HANG |
//! | Boot | runState: INIT to SYNC, while POWER_ON | | ERROR |
//! | Reset | runState: ERROR to INIT, while POWER_ON | yes | |
//!
//! # Configuration, `[modules.sim]`
//!
//! `world`: the folder that holds the machines, one file each; by default the module's own. Agents
//! that share it see the same machines, as they would see the same hardware. `in_memory`: true
//! keeps the machines of this agent in its memory, as new when it starts again. `record`: a file to
//! which each attempt that begins is added, a line with its id, mutation and machine. `seed`: draws
//! latencies and faults; the n-th try of a mutation on a machine is always the same for a seed.
//! `every`, and by name `mutations`, give for an attempt: `latency_min_ms` and `latency_max_ms` (at
//! most 600,000; default 10 and 50), `fail`, `hang` and `lie`: the shares, from 0 to 1, of attempts
//! that end with an error, that do not end, and that claim success without having done anything.
//!
//! Restarted by the module host on a panic and on a changed configuration; nothing is lost by that.

mod config;
mod machine;

use std::{fs::File, io::Write, path::PathBuf, sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_actors::module::{
    ConfigureError, Kit, Looker, Module, Mutate, MutateError, ObjectView, Poll, Reporter,
};
use kraken_engine::{
    id::Name,
    manifest::{
        Context as Lane, Extension, From, GoalSpec, Manifest, MutationSpec, PathSpec, SeenBy, Type,
    },
    path::Path as StatePath,
    value::Value,
};

pub use self::config::{Conduct, Config};
use self::{
    config::Fate,
    machine::{Machine, Phys, Run, World},
};

/// The longest latency that may be configured, in milliseconds.
pub const LATENCY_MS_MAX: u64 = 600_000;

/// How often all machines are looked at. What happens to one through this module is seen at once.
const POLL_INTERVAL: Duration = Duration::from_secs(15);
/// An attempt that takes so long says so.
const LONG: Duration = Duration::from_secs(1);
/// Longest attempt: the longest latency and time to spare.
const TIMEOUT: Duration = Duration::from_millis(LATENCY_MS_MAX + 30_000);

const PHYS: &str = "/physState";
const RUN: &str = "/runState";
const DRAIN: &str = "/drainState";

/// The actor. All that lasts is in the world's files.
pub struct Sim {
    simulation: Arc<Simulation>,
}

struct Simulation {
    config: Config,
    world: World,
    record: Option<File>,
    reporter: Reporter,
}

impl Module for Sim {
    type Config = Config;

    fn manifest() -> Manifest {
        let phys = ["POWER_OFF", "POWER_ON", "POWER_CYCLE", "PHYS_HANG", "PHYS_ERROR"];
        let extension = Extension::new("sim")
            .path(
                PathSpec::new(PHYS, Type::enum_of(phys))
                    .seen_by(SeenBy::Parent)
                    .doc("The machine's power."),
            )
            .path(
                PathSpec::new(RUN, Type::enum_of(["INIT", "SYNC", "ERROR"]))
                    .seen_by(SeenBy::Parent)
                    .known_while("/physState = POWER_ON")
                    .doc("How far the machine's system is."),
            )
            .path(
                PathSpec::new(DRAIN, Type::enum_of(["ACTIVE", "DRAINED"]))
                    .doc("Whether the node takes work."),
            );
        let serving = GoalSpec::new("serving")
            .doc("The machine is up and takes work.")
            .value(PHYS, "POWER_ON")
            .value(RUN, "SYNC")
            .value(DRAIN, "ACTIVE");
        mutations()
            .into_iter()
            .fold(Manifest::new("sim"), Manifest::mutation)
            .doc("Machines that do not exist, for trying and for tests.")
            .extension(extension)
            .goal(serving)
            .discovers(PHYS)
            .discovers(RUN)
            .discovers(DRAIN)
            .poll(POLL_INTERVAL)
    }

    fn build(config: Config, kit: Kit) -> Result<Self, ConfigureError> {
        config.check().map_err(|error| ConfigureError::Invalid(error.to_string()))?;
        let world = if config.in_memory {
            World::in_memory()
        } else {
            let folder = config.world.clone().unwrap_or(kit.data);
            World::open(folder).map_err(|error| ConfigureError::Start(error.to_string()))?
        };
        let open = |path: &PathBuf| File::options().create(true).append(true).open(path);
        let record = config.record.as_ref().map(open).transpose();
        let record = record.map_err(|error| ConfigureError::Start(format!("record: {error}")))?;
        let reporter = kit.reporter;
        Ok(Self { simulation: Arc::new(Simulation { config, world, record, reporter }) })
    }
}

impl Actor for Sim {
    type Context = Context<Self>;
}

impl Handler<Mutate> for Sim {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, ask: Mutate, _: &mut Self::Context) -> Self::Result {
        let simulation = self.simulation.clone();
        Box::pin(async move { simulation.mutate(&ask).await })
    }
}

impl Handler<Poll> for Sim {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let simulation = self.simulation.clone();
        Box::pin(async move {
            for object in poll.objects.iter().filter(|object| is_simulated(object)) {
                simulation.report(object).await;
            }
        })
    }
}

impl Simulation {
    async fn mutate(&self, ask: &Mutate) -> Result<(), MutateError> {
        let Some(change) = change_of(ask.mutation.as_str()) else {
            let text = format!("module sim has no mutation {}", ask.mutation);
            return Err(MutateError::permanent(text));
        };
        let outcome = tokio::select! {
            // What is cancelled has not happened: a change is made at once, at its end.
            biased;
            () = ask.cancel.cancelled() => Err(MutateError::Cancelled),
            outcome = self.carry_out(ask, change) => outcome,
        };
        match outcome {
            Ok(machine) => {
                let look = self.reporter.look();
                look.saw(ask.object.uid, values(&machine, &ask.object)).await;
                Ok(())
            }
            Err(error) => {
                self.report(&ask.object).await;
                Err(error)
            }
        }
    }

    /// Carries a mutation out, and tells how the machine is then.
    async fn carry_out(&self, ask: &Mutate, change: Change) -> Result<Machine, MutateError> {
        let name = &ask.object.key.name;
        let machine = self.world.count(name).map_err(MutateError::transient)?;
        let count = machine.attempts();
        let (latency, fate) = self.config.draw(name.as_str(), ask.mutation.as_str(), count);
        self.record(ask);
        if latency >= LONG {
            let text = format!("simulated, takes {} ms", latency.as_millis());
            ask.reporter.progress(&ask.attempt, text).await;
        }
        if change == Change::Cycle && fate == Fate::Succeeds {
            self.change(name, |machine| machine.phys = Phys::Cycling)?;
            self.report(&ask.object).await;
        }
        if latency.is_zero() && change == Change::Nothing && fate == Fate::Succeeds {
            return Ok(machine);
        }
        tokio::time::sleep(latency).await;
        match fate {
            Fate::Hangs => std::future::pending().await,
            Fate::Fails => {
                self.change(name, |machine| change.fail(machine))?;
                Err(MutateError::transient("the simulated machine did not do it"))
            }
            Fate::Lies => self.change(name, |_| {}),
            Fate::Succeeds => self.change(name, |machine| change.apply(machine)),
        }
    }

    fn change(
        &self,
        name: &Name,
        change: impl FnOnce(&mut Machine),
    ) -> Result<Machine, MutateError> {
        self.world.change(name, change).map_err(MutateError::transient)
    }

    /// Writes down that an attempt begins, where that is asked for.
    fn record(&self, ask: &Mutate) {
        let Some(record) = &self.record else { return };
        let line = format!("{} {} {}\n", ask.attempt, ask.mutation, ask.object.key.name);
        // By one call, so that lines of several processes do not mix.
        if let Err(error) = (&*record).write_all(line.as_bytes()) {
            tracing::error!(%error, "an attempt cannot be recorded");
        }
    }

    async fn report(&self, object: &ObjectView) {
        let look = self.reporter.look();
        match self.world.machine(&object.key.name) {
            Ok(machine) => look.saw(object.uid, values(&machine, object)).await,
            Err(error) => {
                tracing::error!(node = %object.key.name, %error, "a machine cannot be seen");
            }
        }
    }
}

/// What a mutation does to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    On,
    Off,
    Cycle,
    Boot,
    Reset,
    Drain,
    Resume,
}

impl Change {
    /// Repeating a change that is done does nothing.
    fn apply(self, machine: &mut Machine) {
        match (self, machine.phys) {
            (Self::On | Self::Cycle, Phys::On) => {}
            (Self::On | Self::Cycle, _) => *machine = machine.powered_on(),
            (Self::Off, _) => machine.phys = Phys::Off,
            (Self::Boot, Phys::On) => machine.run = Run::Sync,
            (Self::Reset, Phys::On) if machine.run == Run::Error => machine.run = Run::Init,
            (Self::Drain, _) => machine.drained = true,
            (Self::Resume, _) => machine.drained = false,
            (Self::Boot | Self::Reset | Self::Nothing, _) => {}
        }
    }
}

impl Change {
    /// A system that does not come up says so; power that does not come says nothing.
    fn fail(self, machine: &mut Machine) {
        if self == Self::Boot && machine.phys == Phys::On {
            machine.run = Run::Error;
        }
    }
}

fn change_of(mutation: &str) -> Option<Change> {
    match mutation {
        "Look" | "LookInside" => Some(Change::Nothing),
        "PowerOn" | "AwaitCycle" => Some(Change::On),
        "PowerOff" => Some(Change::Off),
        "PowerCycle" => Some(Change::Cycle),
        "Boot" => Some(Change::Boot),
        "Reset" => Some(Change::Reset),
        "Drain" => Some(Change::Drain),
        "Resume" => Some(Change::Resume),
        _ => None,
    }
}

fn mutations() -> Vec<MutationSpec> {
    let mutation = |name: &str| MutationSpec::new(name).context(Lane::Parent).timeout(TIMEOUT);
    let on = |name: &str, from: From| {
        mutation(name).changes(PHYS, from, "POWER_ON").changes(RUN, From::Any, "INIT")
    };
    let inside = |name: &str, from: From, to: &str| {
        mutation(name).changes(RUN, from, to).requires("/physState = POWER_ON")
    };
    let on_node = |name: &str, from: &str, to: &str| {
        mutation(name).context(Lane::Node).changes(DRAIN, from, to).cancellable()
    };
    vec![
        on_node("Drain", "ACTIVE", "DRAINED"),
        on_node("Resume", "DRAINED", "ACTIVE"),
        mutation("Look").changes(PHYS, From::Unknown, "POWER_OFF").cancellable(),
        inside("LookInside", From::Unknown, "INIT").cancellable(),
        on("PowerOn", "POWER_OFF".into()).fail_to(PHYS, "PHYS_HANG").cancellable(),
        mutation("PowerOff")
            .changes(PHYS, "POWER_ON", "POWER_OFF")
            .fail_to(PHYS, "PHYS_HANG")
            .disruptive(),
        on("PowerCycle", From::one_of(["PHYS_HANG", "PHYS_ERROR"]))
            .via(PHYS, "POWER_CYCLE")
            .fail_to(PHYS, "PHYS_ERROR")
            .cost(Duration::from_secs(5))
            .disruptive(),
        on("AwaitCycle", "POWER_CYCLE".into()).fail_to(PHYS, "PHYS_HANG").cancellable(),
        inside("Boot", "INIT".into(), "SYNC").fail_to(RUN, "ERROR").cancellable(),
        inside("Reset", "ERROR".into(), "INIT").disruptive(),
    ]
}

fn is_simulated(object: &ObjectView) -> bool {
    [PHYS, RUN, DRAIN].iter().any(|path| object.cfg(path).is_some())
}

/// What is to be seen of a machine from here. Its system is seen only while it has power.
fn values(machine: &Machine, object: &ObjectView) -> Vec<(StatePath, Option<Value>)> {
    let run = (machine.phys == Phys::On).then(|| machine.run.as_str().into());
    let drain = if machine.drained { "DRAINED" } else { "ACTIVE" };
    let of_parent = [(PHYS, Some(machine.phys.as_str().into())), (RUN, run)];
    let of_node = [(DRAIN, Some(drain.into()))];
    let looks = |looker: Looker, paths: &[&str]| {
        object.lookers.contains(&looker) && paths.iter().any(|path| object.cfg(path).is_some())
    };
    let as_parent = looks(Looker::Parent, &[PHYS, RUN]).then_some(of_parent);
    let as_node = looks(Looker::Host, &[DRAIN]).then_some(of_node);
    as_parent
        .into_iter()
        .flatten()
        .chain(as_node.into_iter().flatten())
        .filter_map(|(path, value)| Some((StatePath::new(path).ok()?, value)))
        .collect()
}

#[cfg(test)]
mod tests;
