//! The node's clocks, in one place: everything else is handed one, so that tests can hold time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kraken_engine::{span::Micros, time::Millis};
use tokio::time::Instant;

/// Wall time for people and stamps, monotonic time for deadlines.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    started_wall: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that starts now.
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { started: Instant::now(), started_wall: wall }
    }

    /// Milliseconds since the Unix epoch as they were at the start, moved on by monotonic time: a
    /// step of the machine's clock does not move it.
    pub fn wall(&self) -> Millis {
        Millis::ZERO.after(self.since_epoch())
    }

    /// The same in microseconds.
    pub fn micros(&self) -> Micros {
        Micros::new(u64::try_from(self.since_epoch().as_micros()).unwrap_or(u64::MAX))
    }

    fn since_epoch(&self) -> Duration {
        self.started_wall + self.started.elapsed()
    }
}
