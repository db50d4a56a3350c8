//! Time as the engine sees it: milliseconds that its caller passes in. The engine never asks a
//! clock.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch where people read it, since some fixed moment of the caller's
/// monotonic clock where only differences matter.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(u64);

impl Millis {
    /// The beginning.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Wraps a number of milliseconds.
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// The number of milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This moment and `duration` more; never past [`Millis::NEVER`].
    pub fn after(self, duration: Duration) -> Self {
        self.after_ms(whole_ms(duration))
    }

    /// This moment and `ms` milliseconds more; never past [`Millis::NEVER`].
    pub const fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How long since `earlier`; zero where that lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.since_ms(earlier))
    }

    /// The same in milliseconds.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The whole milliseconds of a duration; what is longer than `u64` can say is cut.
pub fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
