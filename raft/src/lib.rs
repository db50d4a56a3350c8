//! The replicated Cfg under the engine: a quorum of members that agree on one sequence of
//! proposals, and a [`Store`](kraken_engine::store::Store) on each that has applied them.
//!
//! openraft does the consensus and is hidden behind [`Handle`]: no type of it is in this crate's
//! interface, so that it can be replaced and is compiled here only. The log, the snapshots and the
//! transport are our own. This crate knows nothing of actors, HTTP or leaves.

mod background;
mod backup;
mod core;
mod disk;
mod entropy;
mod fatal;
mod folder;
mod genesis;
mod handle;
mod history;
mod log;
mod machine;
mod options;
mod recover;
mod status;
mod transport;
mod types;

pub use self::{
    backup::{BackupError, BackupHeader, Verified, verify},
    core::{
        BACKUP_BYTES_MAX, Consistency, MEMBERS_MAX, MembershipError, PROPOSALS_MAX, ProposeError,
        READERS_MAX, ReadError, StartError,
    },
    fatal::FatalError,
    folder::FolderError,
    genesis::REVISIONS_BEYOND,
    handle::Handle,
    history::{HISTORY_AGE, HISTORY_BYTES, HISTORY_REVISIONS, HistoryError, Reading, Retention},
    log::LogError,
    machine::{AppliedEntry, EVENTS_MAX, StateError},
    options::{
        Bootstrap, CHECK_ENTRIES, KEEP_BYTES, KEEP_ENTRIES, Limits, Options, SEGMENT_BYTES,
        SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SNAPSHOT_BYTES, SNAPSHOT_ENTRIES, Timers,
    },
    recover::{Recovered, recover},
    status::{Leadership, Member, Role, Status, Which},
};
