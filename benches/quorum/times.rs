//! Times that were measured, and what is made of many of them.

use std::time::Duration;

/// Times in microseconds, the shortest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<u32>);

impl Times {
    /// Of these, in any order.
    pub(crate) fn of(mut times: Vec<u32>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub(crate) fn count(&self) -> f64 {
        float(self.0.len() as u64)
    }

    /// The time that so many of a thousand keep to, in microseconds.
    pub(crate) fn quantile(&self, of_thousand: usize) -> f64 {
        let place = self.0.len() * of_thousand / 1_000;
        let last = self.0.len().saturating_sub(1);
        f64::from(self.0.get(place.min(last)).copied().unwrap_or_default())
    }
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// A count among figures.
#[expect(clippy::cast_precision_loss, reason = "a figure needs no more than 52 bits")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
