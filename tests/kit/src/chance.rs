//! A small generator, so that a seed tells what is done and for how long.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::wait_until;

/// How much later than it should a rest may end.
const SPARE: Duration = Duration::from_secs(1);

/// A small generator: the same seed draws the same.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// A number below a limit (xorshift64*, Vigna 2016).
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit.max(1)
    }

    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(all.len() as u64)).ok()?;
        all.get(index)
    }

    /// Lets a time pass that is part of the attack.
    pub(crate) async fn rest(&mut self, (least, most): (u64, u64)) {
        let rest = Duration::from_millis(least + self.below(most - least));
        let since = Instant::now();
        let over = async || {
            ensure!(since.elapsed() >= rest, "not yet");
            Ok(())
        };
        // It holds when its time has come.
        drop(wait_until("the attack has lasted", rest + SPARE, over).await);
    }
}
