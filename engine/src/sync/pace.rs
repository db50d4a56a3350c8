//! How often the two ends of a session tell each other that they live.
//!
//! The node says it in its Hello, by the label [`HEARTBEAT_LABEL`] of its object; an end that is
//! silent for three heartbeats is lost. How long a session is a lease for its child does not depend
//! on it: where the last heartbeat is too old for that, the parent asks for one, see
//! [`super::orders`].

use serde::{Deserialize, Deserializer, Serialize};

use super::{DEAD_AFTER_MS, HEARTBEAT_MS};
use crate::{object::Labels, time::Millis};

/// The label of a node by which it is told apart how soon its loss has to be noticed.
pub const HEARTBEAT_LABEL: &str = "heartbeat";
/// What the label says of nodes of which it need not be noticed soon; whatever else it says counts
/// as `normal`.
pub const BULK: &str = "bulk";
/// What it says of all others, where it says anything.
pub const NORMAL: &str = "normal";
/// Heartbeats of a node that is one of many are so many times further apart.
const BULK_TIMES: u64 = 10;

/// How far apart heartbeats are, in milliseconds: from [`HEARTBEAT_MS`] to ten times that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Pace(u64);

impl Default for Pace {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl Pace {
    /// A heartbeat every second.
    pub const NORMAL: Self = Self(HEARTBEAT_MS);
    /// One every ten seconds.
    pub const BULK: Self = Self(BULK_TIMES * HEARTBEAT_MS);

    /// All that a label can say, the shortest first.
    pub const ALL: [Self; 2] = [Self::NORMAL, Self::BULK];

    /// The pace of a node with these labels.
    pub fn of(labels: &Labels) -> Self {
        let is_bulk =
            labels.iter().any(|(label, value)| label.as_str() == HEARTBEAT_LABEL && value == BULK);
        if is_bulk { Self::BULK } else { Self::NORMAL }
    }

    /// Whether it is the one of a Hello that names none.
    pub fn is_normal(&self) -> bool {
        *self == Self::NORMAL
    }

    /// Between heartbeats, in milliseconds.
    pub const fn heartbeat_ms(self) -> u64 {
        self.0
    }

    /// Silence after which the other end counts as lost, in milliseconds.
    pub const fn dead_after_ms(self) -> u64 {
        self.0 * (DEAD_AFTER_MS / HEARTBEAT_MS)
    }
}

/// How long the other end has been silent. Time in which this end did not listen counts as one
/// heartbeat at most: what came meanwhile waits to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Silence {
    since: Millis,
    /// When it was last looked at the time.
    looked: Millis,
}

impl Silence {
    /// Something is heard.
    pub(super) fn broken(now: Millis) -> Self {
        Self { since: now, looked: now }
    }

    /// Time has passed; says whether the other end counts as lost.
    pub(super) fn is_over(&mut self, now: Millis, pace: Pace) -> bool {
        let missed = now.since_ms(self.looked).saturating_sub(pace.heartbeat_ms());
        self.since = self.since.after_ms(missed);
        self.looked = now;
        now >= self.since.after_ms(pace.dead_after_ms())
    }
}

impl<'de> Deserialize<'de> for Pace {
    /// Whatever a child says, it is heard of now and then, and not all the time.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let said = u64::deserialize(deserializer)?;
        Ok(Self(said.clamp(Self::NORMAL.0, Self::BULK.0)))
    }
}
