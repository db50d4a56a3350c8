//! The turnstile of a node, as its sessions share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kraken_engine::{
    sync::turnstile::{INSIDE_MS_MAX, Turnstile},
    time::Millis,
};

use crate::clock::Clock;

/// Where leaves come in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Gate {
    turnstile: Arc<Mutex<Turnstile>>,
    clock: Clock,
}

/// A leaf that is being taken in, until dropped.
pub(super) struct Place {
    gate: Gate,
    since: Millis,
}

impl Gate {
    pub(super) fn new(clock: Clock) -> Self {
        Self { turnstile: Arc::default(), clock }
    }

    fn turnstile(&self) -> MutexGuard<'_, Turnstile> {
        self.turnstile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a leaf in, or says how many milliseconds later it is to come back.
    pub(super) fn pass(&self) -> Result<Place, u64> {
        let since = self.clock.wall();
        self.turnstile().pass(since).map(|()| Place { gate: self.clone(), since })
    }

    /// How often a leaf was told to come back.
    pub(super) fn deferred(&self) -> u64 {
        self.turnstile().deferred()
    }
}

impl Place {
    /// Whether it has had the place for as long as it may.
    pub(super) fn is_overdue(&self) -> bool {
        self.gate.clock.wall().since_ms(self.since) > INSIDE_MS_MAX
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.gate.clock.wall();
        self.gate.turnstile().leave(now);
    }
}
