//! How a member is started.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use kraken_engine::{id::Name, store::LEVEL};

use crate::history::Retention;

/// What a member is and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder. One process has it at a time.
    pub data: PathBuf,
    /// Where members are listened to; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// The address at which other members find this one, as `host:port`; the bound one by default.
    /// It is written into the membership and stays the same as long as the member is one.
    pub advertise: Option<String>,
    /// The member's name, unique among the members.
    pub name: Name,
    /// What to do when the data folder is empty.
    pub bootstrap: Bootstrap,
    /// This member's HTTP URL, told to others as it is.
    pub http: String,
    /// This member's address for leaves and relays, told to others as it is.
    pub sync: String,
    /// The feature level that this member says it knows. Default [`LEVEL`], what it does know.
    pub level: u32,
    /// Sizes.
    pub limits: Limits,
    /// How much of the past is kept.
    pub retention: Retention,
    /// Times.
    pub timers: Timers,
}

impl Options {
    /// Options with defaults for the rest; waits to be told to found or to join.
    pub fn new(data: impl Into<PathBuf>, listen: SocketAddr, name: Name) -> Self {
        Self {
            data: data.into(),
            listen,
            advertise: None,
            name,
            bootstrap: Bootstrap::Wait,
            http: String::new(),
            sync: String::new(),
            level: LEVEL,
            limits: Limits::default(),
            retention: Retention::default(),
            timers: Timers::default(),
        }
    }
}

/// What to do when the data folder is empty. Ignored when it is a member's already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// Wait for `init` or `join`.
    Wait,
    /// Found a cluster.
    Init,
    /// Join through the members at these addresses.
    Join(Vec<String>),
}

impl Bootstrap {
    /// The addresses to join through.
    pub(crate) fn via(&self) -> Option<Vec<String>> {
        match self {
            Self::Join(via) => Some(via.clone()),
            Self::Wait | Self::Init => None,
        }
    }
}

/// Bytes of the smallest log segment.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// Bytes of the largest one: offsets in it are kept in 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 31;
/// Bytes of a log segment by default.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Entries after which a snapshot is taken, unless the store holds more objects than that.
pub const SNAPSHOT_ENTRIES: u64 = 100_000;
/// Bytes of proposals after which a snapshot is taken, unless the last one was larger.
pub const SNAPSHOT_BYTES: u64 = 64 << 20;
/// Entries that stay in the log behind a snapshot, for members that were away for a while.
pub const KEEP_ENTRIES: u64 = 500_000;
/// Bytes of entries that stay in the log behind a snapshot.
pub const KEEP_BYTES: u64 = 256 << 20;

/// Entries between two notes of what a member holds.
pub const CHECK_ENTRIES: u64 = 1_000;

/// Sizes of the log and when it is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a log segment, from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`]. Default
    /// [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// Default [`SNAPSHOT_ENTRIES`].
    pub snapshot_entries: u64,
    /// Default [`SNAPSHOT_BYTES`].
    pub snapshot_bytes: u64,
    /// Default [`KEEP_ENTRIES`].
    pub keep_entries: u64,
    /// Default [`KEEP_BYTES`].
    pub keep_bytes: u64,
    /// Entries between two notes of what a member holds, by which members compare themselves: the
    /// same for all of them. Default [`CHECK_ENTRIES`].
    pub check_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            snapshot_entries: SNAPSHOT_ENTRIES,
            snapshot_bytes: SNAPSHOT_BYTES,
            keep_entries: KEEP_ENTRIES,
            keep_bytes: KEEP_BYTES,
            check_entries: CHECK_ENTRIES,
        }
    }
}

/// Times. The same on all members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Between signs of life of the leader. Default 100 ms.
    pub heartbeat: Duration,
    /// Shortest time between the end of a silent leader's lease and an election. Default 150 ms.
    pub election_min: Duration,
    /// Longest such time, and the lease itself: how long after its last sign of life followers hold
    /// on to a leader. A lost leader is thus replaced within twice this. Default 700 ms.
    pub election_max: Duration,
    /// Time for a proposal or a read, changes of leader included. Default 5 s.
    pub request: Duration,
    /// Time for a change of the membership. Default 60 s.
    pub membership: Duration,
}

impl Timers {
    /// How long a leader counts on not being followed by another: a tenth less than the others hold
    /// on to it, for a clock here that runs slower than theirs.
    pub fn lease(&self) -> Duration {
        self.election_max * 9 / 10
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(700),
            request: Duration::from_secs(5),
            membership: Duration::from_mins(1),
        }
    }
}
