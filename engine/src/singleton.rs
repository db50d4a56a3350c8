//! Objects that must never run twice: how long a host goes on with one, and when another may begin.
//!
//! A kind may be declared a singleton, with a lease. Its host stops such an object (drives it to
//! the absent state of its kind) once it has had no word of the quorum for that long, and begins
//! again when it has. A word is an [`Assurance`]: that at a certain moment a majority followed this
//! leader, and what Cfg it had. It comes with the Cfg that was committed before that moment, so
//! that a host which counts its lease from it knows of every earlier write.
//!
//! Cfg that names another host does not give the object to that one yet. The store keeps the former
//! host with the object ([`Tenure`](crate::object::Tenure)), which hosts it on, with the goal to be
//! absent. The leader gives it to the heir ([`Handovers`]) once the former host says that it is
//! absent, or is away for so long that its lease was over and it has stopped:
//!
//! ```text
//! former host:  assured .. a write names another .. lease over, stops .. stopped at the latest
//! leader:                  sees the write, host away ................... gives it away
//! ```
//!
//! The leader counts from when it sees the write, in its own reign; no assurance from before that
//! write is younger than it. So nothing rests on when a link was thought to be up or down. Clocks
//! are assumed to run at rates at most a tenth apart.

mod assured;
mod handover;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::{
    assured::{Assurance, Assured, Lease},
    handover::{Handovers, Held, Release},
};

/// The shortest lease, in milliseconds: several heartbeats, and an election, must fit into it.
pub const LEASE_MS_MIN: u64 = 5_000;
/// The longest lease, in milliseconds: a day.
pub const LEASE_MS_MAX: u64 = 86_400_000;

/// What is declared of a kind whose objects must never run twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Singleton {
    /// How long a host goes on without word of the quorum, in milliseconds.
    pub lease_ms: u64,
    /// How long it then takes at most until it has stopped, in milliseconds: an attempt that runs
    /// has ended, and the next one has.
    pub stop_ms: u64,
}

impl Singleton {
    /// How long a host must be away before another may have the object, in milliseconds, by a clock
    /// that runs a tenth faster than that of the host.
    pub fn away_ms(self) -> u64 {
        let bound = self.lease_ms.saturating_add(self.stop_ms);
        bound.saturating_add(bound / 10)
    }
}
