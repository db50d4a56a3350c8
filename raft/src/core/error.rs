//! Why a member cannot be started.

use std::io;

use super::MembershipError;
use crate::{folder::FolderError, log::LogError, machine::StateError};

/// A member cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The runtime's threads cannot be started.
    #[error("cannot start the threads of this member")]
    Runtime(#[source] io::Error),
    /// The address is taken or none of this host.
    #[error("cannot listen for members on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The history cannot be read or begun.
    #[error("history: cannot read or begin it in the data folder")]
    History(#[source] io::Error),
    /// What is held needs a newer release.
    #[error("feature level {held} is in use and this release knows {known}; start a newer one")]
    Level {
        /// The level of what is held.
        held: u32,
        /// The level that this release knows.
        known: u32,
    },
    /// The folder is of nobody who could be recovered.
    #[error("there is no member in {path}; give the data folder of one that belonged to a cluster")]
    Nobody {
        /// The folder.
        path: std::path::PathBuf,
    },
    /// The folder is of a member that was removed.
    #[error("the member in {path} was removed from its cluster; recover another one")]
    Removed {
        /// The folder.
        path: std::path::PathBuf,
    },
    /// The timers contradict each other.
    #[error("the timers do not fit together: {0}")]
    Timers(String),
    /// The core does not start from what the data folder holds.
    #[error("consensus does not start: {0}")]
    Consensus(String),
    /// The cluster could not be founded or joined.
    #[error(transparent)]
    Membership(Box<MembershipError>),
}
