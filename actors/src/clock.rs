//! The node's clocks, in one place: everything else is handed one, so that tests can hold time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kraken_engine::time::Millis;
use tokio::time::Instant;

/// Wall time for people and stamps, monotonic time for deadlines.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    started_wall: Millis,
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
        Self { started: Instant::now(), started_wall: Millis::ZERO.after(wall) }
    }

    /// Milliseconds since the Unix epoch as they were at the start, moved on by monotonic time: a
    /// step of the machine's clock does not move it.
    pub fn wall(&self) -> Millis {
        self.started_wall.after(self.started.elapsed())
    }
}
