//! Seeded jitter: spreads what many nodes do at once, and repeats exactly under the same seed.

use std::time::Duration;

use kraken_engine::time::whole_ms;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A duration within a tenth of `around`, chosen by the seed and a number that changes each time.
pub(crate) fn jittered(around: Duration, seed: u64, count: u64) -> Duration {
    let ms = whole_ms(around);
    let spread = ms / 5;
    let drawn = xxh3_64_with_seed(&count.to_be_bytes(), seed) % spread.saturating_add(1);
    Duration::from_millis((ms - spread / 2).saturating_add(drawn))
}

/// The seed of one module of a node.
pub(crate) fn seed_of(seed: u64, module: &str) -> u64 {
    xxh3_64_with_seed(module.as_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth_and_repeats() {
        let around = Duration::from_secs(10);
        let drawn: Vec<Duration> = (0..100).map(|count| jittered(around, 3, count)).collect();
        assert!(drawn.iter().all(|d| (9_000..=11_000).contains(&d.as_millis())));
        assert!(drawn.iter().any(|d| *d < around) && drawn.iter().any(|d| *d > around));
        assert_eq!(drawn, (0..100).map(|count| jittered(around, 3, count)).collect::<Vec<_>>());
        assert_eq!(jittered(Duration::ZERO, 3, 1), Duration::ZERO);
        assert!(jittered(Duration::MAX, 3, 1) > Duration::from_secs(1));
    }
}
