//! What the module host shows of itself.

use kraken_engine::{
    id::{AttemptId, Name, Uid},
    mutation::MutationId,
    path::Path,
    time::Millis,
};
use serde::Serialize;

use super::supervision::ModuleState;

/// The module host as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSnapshot {
    /// The modules, in order of name.
    pub modules: Vec<ModuleSnapshot>,
    /// The attempts that run, in order of id.
    pub attempts: Vec<AttemptSnapshot>,
    /// How many objects modules here look at.
    pub objects: u64,
    /// How many modules were ended without their thread coming to an end.
    pub abandoned: u64,
    /// Whether the host is being stopped.
    pub stopping: bool,
}

/// One module as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleSnapshot {
    /// Its name.
    pub module: Name,
    /// Whether it runs.
    pub state: ModuleState,
    /// Why it does not, if it failed.
    pub error: Option<String>,
    /// How often it was started again.
    pub restarts: u64,
    /// Attempts that it has in hand.
    pub attempts: u64,
    /// How often it was asked to look.
    pub polls: u64,
    /// Observations that were refused because it does not declare their paths.
    pub refused: u64,
    /// Some of those paths.
    pub refused_paths: Vec<Path>,
}

/// One attempt that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptSnapshot {
    /// Its id.
    pub attempt: AttemptId,
    /// What is done.
    pub mutation: MutationId,
    /// To which object.
    pub object: Uid,
    /// Since when.
    pub since: Millis,
}
