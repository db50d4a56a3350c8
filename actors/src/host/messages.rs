//! The messages of the module host. Others send them through a [`HostHandle`](super::HostHandle).

use std::{sync::Arc, time::Duration};

use actix::Message;
use kraken_engine::{
    id::{AttemptId, Name},
    mutation::{Lane, MutationId},
    path::Bindings,
    span::SpanContext,
    time::Millis,
};
use serde::{Deserialize, Serialize};

use super::snapshot::HostSnapshot;
use crate::module::{ConfigureError, ObjectView};

/// Carry out a mutation.
///
/// From the reconciler. Answered at once with whether the attempt was taken; how it ended comes as
/// an [`AttemptEnded`]. Repeatable: an attempt that runs, or has ended of late, is not started
/// again and is answered as before; if it has ended, its end is told again, unless the queue of
/// ends is full, and then the next repetition tells it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Admission")]
pub struct Start {
    /// This try.
    pub attempt: AttemptId,
    /// What to do.
    pub mutation: MutationId,
    /// What the stars of its patterns stand for.
    pub bindings: Bindings,
    /// The object as it is asked for and was last seen.
    pub object: Arc<ObjectView>,
    /// How long it may take; at most [`TIMEOUT_MAX`](super::attempt::TIMEOUT_MAX).
    pub timeout: Duration,
    /// Whether [`Cancel`] has an effect on it.
    pub cancellable: bool,
    /// By when it must have been started, by the node's clock; after that it never is.
    pub start_by: Millis,
    /// Who decided it: an object has one attempt of each lane at a time.
    pub lane: Lane,
    /// The span that it belongs to, where that is recorded.
    pub span: Option<SpanContext>,
}

/// Carry out many mutations: answered in their order with whether each was taken. From the
/// reconciler, which decides for many objects at once.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<Admission>")]
pub(crate) struct Starts(pub(crate) Vec<Start>);

/// Whether an attempt was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Admission {
    /// It runs or has run; its end is told.
    Accepted,
    /// Not now: the module has as many in hand as it may, or is being started. Ask again soon.
    Busy,
    /// Not any more: the time in which it might be started is over.
    Late,
    /// Not here: no module here carries out this mutation, or it was given up with an error.
    NoModule,
}

/// An attempt has ended. Into the bounded queue that the host was given; at its bound the attempt
/// waits and counts as running. May come twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnded {
    /// The attempt.
    pub attempt: AttemptId,
    /// What came of it, in the words of the module or of its host.
    pub outcome: Result<(), AttemptError>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct AttemptError {
    /// What kind of failure it was.
    pub fault: Fault,
    /// In words.
    pub text: String,
    /// Whether trying again without a change of Cfg cannot help.
    pub permanent: bool,
}

/// The kinds of failure of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The module says that it failed.
    Failed,
    /// It was cancelled before its deadline.
    Cancelled,
    /// It was not done by its deadline.
    Deadline,
    /// Its module ended meanwhile.
    ModuleLost,
}

/// Cancel an attempt. From the reconciler; answered with whether one runs that may be cancelled.
/// That it has ended is told as for every attempt.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct Cancel(pub AttemptId);

/// Never start an attempt, unless it runs. From the desk, for a leader that asks what became of it;
/// answered with whether it does not run.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub(crate) struct Bar(pub(crate) AttemptId);

/// Take a changed configuration of one module.
///
/// From the node. A module that takes it live answers itself and keeps the old one if it refuses
/// it; every other is restarted with it, which is not waited for.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), ConfigureError>")]
pub struct SetConfig {
    /// The module.
    pub module: Name,
    /// Its table, null where there is none.
    pub config: serde_json::Value,
}

/// Stop or start one module. From the node; answered with whether there is such a module.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct SetRunning {
    /// The module.
    pub module: Name,
    /// Whether it is to run.
    pub running: bool,
}

/// Show what the host holds. From `/v1/debug` and tests.
#[derive(Debug, Clone, Message)]
#[rtype(result = "HostSnapshot")]
pub struct Observe;

/// End all modules. From the node when it stops; answered when none runs any more, or those that do
/// have been abandoned after `within`. Nothing is started afterwards.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// How long the modules may take for their last work.
    pub within: Duration,
}

/// Objects have changed. From the handle, whenever it was given some; carries no data, because the
/// host reads them anew.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct ObjectsChanged;
