//! The messages that a module handles. All come from the node's module host.

use std::{collections::BTreeMap, sync::Arc};

use actix::Message;
use kraken_engine::{
    id::{AttemptId, Name, Uid},
    object::{Labels, ObjectRef},
    path::{Bindings, Path},
    state::State,
    value::Value,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Module, read_config, reporter::Reporter};

/// Carry out one mutation on one object.
///
/// From the module host; answered when the work is done or has failed. What the module answers is
/// not believed: the step is done when what it reports says so. May come twice with the same
/// attempt. A handler should be an async one, so that its actor can take other messages meanwhile.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), MutateError>")]
pub struct Mutate {
    /// This try.
    pub attempt: AttemptId,
    /// The mutation's name in the manifest.
    pub mutation: Name,
    /// What the stars of its patterns stand for.
    pub bindings: Bindings,
    /// The object as it is asked for and was last seen.
    pub object: Arc<ObjectView>,
    /// When the attempt is given up.
    pub deadline: Instant,
    /// Cancelled when the attempt is no longer wanted, at the latest at the deadline.
    pub cancel: CancellationToken,
    /// Where progress and observations go.
    pub reporter: Reporter,
}

/// Look at these objects and report what is seen.
///
/// From the module host: all of them on the manifest's interval; those whose Cfg has changed, and
/// those on which a mutation has ended, soon after. The answer says only that looking is done.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Poll {
    /// Objects here that the module discovers paths of.
    pub objects: Vec<Arc<ObjectView>>,
}

/// Take a changed configuration: the module's table as JSON, null where there is none. Read it with
/// [`read`](Self::read).
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), ConfigureError>")]
pub struct Configure(pub serde_json::Value);

impl Configure {
    /// The configuration as the module has it; an absent table is the default one.
    pub fn read<M: Module>(self) -> Result<M::Config, ConfigureError> {
        read_config::<M>(self.0)
    }
}

/// One object as a module sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectView {
    /// Its identity.
    pub uid: Uid,
    /// Kind, namespace and name.
    pub key: ObjectRef,
    /// Its labels.
    pub labels: Labels,
    /// For whom this node looks at it.
    pub lookers: &'static [Looker],
    /// What is asked of it.
    pub cfg: State,
    /// What was last seen of it; unknown paths are absent.
    pub dsc: BTreeMap<Path, Value>,
}

/// For whom a node looks at an object. A module is asked to look only where its paths are to be
/// seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Looker {
    /// The node hosts the object: paths that the host sees.
    Host,
    /// The node leads the quorum: paths that the quorum sees.
    Leader,
    /// The node is the object's parent, or stands in for one: paths that a parent sees.
    Parent,
}

impl ObjectView {
    /// The Cfg value at a path.
    pub fn cfg(&self, path: &str) -> Option<&Value> {
        self.cfg.get(path)
    }

    /// The Cfg text at a path.
    pub fn cfg_text(&self, path: &str) -> Option<&str> {
        self.cfg(path)?.as_str()
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MutateError {
    /// Trying again may help.
    #[error("{0}")]
    Transient(String),
    /// Trying again without a change of Cfg cannot help.
    #[error("{0}")]
    Permanent(String),
    /// The cancel token was honoured.
    #[error("cancelled")]
    Cancelled,
}

impl MutateError {
    /// A failure that may pass.
    pub fn transient(error: impl ToString) -> Self {
        Self::Transient(error.to_string())
    }

    /// A failure that will stay.
    pub fn permanent(error: impl ToString) -> Self {
        Self::Permanent(error.to_string())
    }
}

/// Why a configuration was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureError {
    /// A key or a value is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It can be taken only by starting anew; the module host does so.
    #[error("the module must be restarted to take this configuration")]
    NeedsRestart,
    /// The module could not start; tried again with backoff.
    #[error("{0}")]
    Start(String),
}
