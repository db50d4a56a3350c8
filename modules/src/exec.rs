//! The module `exec`: commands that bring a node to a state, run once or whenever a check fails.
//!
//! # Paths of kind `node`, below `/execs/<name>`
//!
//! A name starts with a letter or digit, then letters, digits, `_`, `.` or `-`.
//!
//! | path | type | set | seen | default | meaning |
//! |---|---|---|---|---|---|
//! | `state` | DONE, PENDING, FAILED | DONE | yes | | what it is to be; what it is |
//! | `check` | texts | yes | | none | a command that ends with 0 where nothing is to be done |
//! | `apply` | texts | yes | | needed to run | the command that does it |
//! | `env/<NAME>` | text | yes | | see below | the environment of both |
//! | `folder` | text | yes | | its own | where both run; relative to its own |
//! | `timeoutMs` | 1 to 3,600,000 ms | yes | | 60,000 | how long `apply` may take |
//! | `spec` | text | | yes | | digest of `check`, `apply`, `env`, `folder` as they are done |
//! | `exitCode` | number | | yes | | how the last run of `apply` ended, where it did by itself |
//! | `error` | text | | yes | | why it is FAILED |
//! | `output` | text | | yes | | the end of what the failed command printed, at most 4 KiB |
//! | `ranAtMs` | ms since the Unix epoch | | yes | | when `apply` was last begun |
//!
//! Commands are a program and its arguments; for a script write `["sh", "-c", "..."]`. They may use
//! `${node.name}`, `${exec.name}` and `${exec.data}`, the folder that is the exec's own. Their
//! environment is PATH, LANG, HOME (and TZ where the agent has one), then `env`, then KRAKEN_NODE
//! and KRAKEN_EXEC, and for `apply` the mark of its run: nothing else of the agent's. They read
//! nothing, and run in a process group that is killed when their time is over or the attempt is
//! cancelled. What they leave in the background when they end by themselves is left alone; a
//! process that is to be kept is a service.
//!
//! A node carries out one mutation of its own at a time: while `apply` runs, nothing else is begun
//! there. What takes long should be started by `apply` and waited for by `check`.
//!
//! # With a check
//!
//! The check decides, and nothing else: an exec whose check passes is DONE, whoever did it. It runs
//! with every look, so that what drifts is done again, and once more after `apply`. It must change
//! nothing, and end within 60 s, or `timeoutMs` if that is less.
//!
//! | the check | last run of `apply` for this spec | state |
//! |---|---|---|
//! | passes | any | DONE |
//! | ends with another code, or there is no such program | failed, or did not help | FAILED |
//! | the same | none, cut short, or good in its time | PENDING |
//! | does not end, is killed, or cannot be run | any | FAILED: nothing is applied on a guess |
//!
//! # Without
//!
//! `apply` is run once for each spec; a change of `env` has it run again, and so does a failure,
//! until the engine gives it up. What was done is on record (see `record`) and known to the next
//! agent, also after the exec was taken out of Cfg and put back.
//!
//! | on record | state |
//! |---|---|
//! | nothing, or a run for another spec | PENDING |
//! | a run for this spec that ended with 0 | DONE |
//! | one that ended otherwise, or could not be begun | FAILED |
//! | one that was cut short: cancelled, or its agent was killed | PENDING |
//! | something that cannot be read | FAILED until it is removed: it may have been done |
//!
//! Before `apply` is run again, what is left of a run that did not end by itself is killed: every
//! process that carries its mark. So it may be run more than once, but never twice at a time, and
//! never again after it ended with 0.
//!
//! # Mutations
//!
//! | mutation | from | to |
//! |---|---|---|
//! | Apply | any `state`, unknown too; any `spec` | `state` DONE, `spec` as Cfg says |
//!
//! From DONE because a changed spec is planned before the module has looked at it; from unknown
//! because Apply looks first by itself. Without `state = DONE` in Cfg nothing is applied, and the
//! check reports drift only. An exec that is gone from Cfg turns unknown; its folder stays.
//!
//! The actor is restarted by the module host; the commands that it ran are then killed.

mod orphan;
mod record;
mod runner;
mod sight;
mod wish;

use std::{sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, ResponseFuture};
use kraken_actors::module::{ConfigureError, Kit, Module, Mutate, MutateError, Poll};
use kraken_engine::manifest::{Extension, From, Manifest, MutationSpec, PathSpec, To, Type};
use serde::Deserialize;
use tokio_util::sync::DropGuard;

use self::runner::Runner;

/// How long a command may take unless Cfg says otherwise, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u64 = 60_000;
/// The longest that Cfg may say, in milliseconds.
pub const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// How often all checks are run.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// The longest time of a check.
const CHECK_MAX: Duration = Duration::from_mins(1);
/// What an attempt may take beside its commands.
const SLACK: Duration = Duration::from_secs(30);
/// What is run, below `/execs/*`: the inputs of `spec`.
const SPEC_INPUTS: [&str; 4] = ["check", "apply", "env/*", "folder"];

/// The actor: a mailbox round a `Runner`. Restarted by the module host; loses what it runs.
pub struct Exec {
    runner: Arc<Runner>,
    /// Ends what still runs when the actor ends.
    _ending: DropGuard,
}

/// The table `[modules.exec]` of a node's configuration. There is nothing to say yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Module for Exec {
    type Config = Config;

    fn manifest() -> Manifest {
        let limit = Duration::from_millis(TIMEOUT_MS_MAX) + CHECK_MAX * 2 + SLACK;
        let apply = MutationSpec::new("Apply")
            .changes("/execs/*/state", From::Any, "DONE")
            .changes("/execs/*/spec", From::Any, To::Cfg)
            .timeout(limit)
            .cancellable();
        let discoveries = discoveries();
        discoveries
            .paths
            .iter()
            .fold(Manifest::new("exec"), |manifest, path| manifest.discovers(&path.path))
            .doc("Runs commands once, or whenever a check fails.")
            .extension(inputs())
            .extension(discoveries)
            .mutation(apply)
            .poll(POLL_INTERVAL)
    }

    fn build(_: Config, kit: Kit) -> Result<Self, ConfigureError> {
        let runner = Runner::new(kit)
            .map_err(|error| ConfigureError::Start(format!("cannot find its folder: {error}")))?;
        Ok(Self { _ending: runner.ending().drop_guard(), runner: Arc::new(runner) })
    }
}

impl Actor for Exec {
    type Context = Context<Self>;
}

impl Handler<Mutate> for Exec {
    type Result = ResponseFuture<Result<(), MutateError>>;

    fn handle(&mut self, ask: Mutate, _: &mut Self::Context) -> Self::Result {
        let runner = self.runner.clone();
        Box::pin(async move { runner.mutate(&ask).await })
    }
}

impl Handler<Poll> for Exec {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let runner = self.runner.clone();
        Box::pin(async move {
            // A node hosts itself; only nodes run commands.
            if let Some(object) = poll.objects.first() {
                runner.poll(object).await;
            }
        })
    }
}

fn inputs() -> Extension {
    let input =
        |path: &str, value_type: Type, doc: &str| PathSpec::input(path, value_type).doc(doc);
    let max = i64::try_from(TIMEOUT_MS_MAX).unwrap_or(i64::MAX);
    let timeout = Type::Int { min: 1, max };
    Extension::new("exec")
        .path(input("/execs/*/check", Type::Texts, "Ends with 0 where nothing is to be done."))
        .path(input("/execs/*/apply", Type::Texts, "The command that does it."))
        .path(input("/execs/*/env/*", Type::Text, "One variable of the commands' environment."))
        .path(input("/execs/*/folder", Type::Text, "Where the commands run; by default its own."))
        .path(input("/execs/*/timeoutMs", timeout, "How long apply may take.").unit("ms"))
}

fn discoveries() -> Extension {
    let state = Type::enum_of(["DONE", "PENDING", "FAILED"]);
    let failed = "/execs/*/state = FAILED";
    let inputs = SPEC_INPUTS.map(|input| format!("/execs/*/{input}"));
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let fact = |path: &str, value_type, doc: &str| PathSpec::fact(path, value_type).doc(doc);
    let code = Type::Int { min: 0, max: 255 };
    Extension::new("execs")
        .path(PathSpec::new("/execs/*/state", state).doc("Whether it is done; set it to DONE."))
        .path(
            fact("/execs/*/spec", Type::Text, "The digest of what is done.")
                .digest_of(&inputs)
                .known_while("/execs/*/state = DONE"),
        )
        .path(fact("/execs/*/exitCode", code, "The exit code of the last run of apply."))
        .path(fact("/execs/*/error", Type::Text, "Why it is FAILED.").known_while(failed))
        .path(
            fact("/execs/*/output", Type::Text, "The end of what the failed command printed.")
                .known_while(failed),
        )
        .path(
            fact("/execs/*/ranAtMs", Type::count(), "When apply was begun, since the Unix epoch.")
                .unit("ms"),
        )
}

#[cfg(test)]
mod tests;
