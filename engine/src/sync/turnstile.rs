//! How many children a parent takes in at a time.
//!
//! A child that attaches costs its parent all of its Cfg and Dsc. When another parent dies,
//! thousands come at once: no more than a few are served at a time, so that those who are attached
//! already go on being served, and the rest are told when to come back, each at another moment, as
//! fast as children were taken in of late.

use crate::time::Millis;

/// Children that are taken in at a time.
pub const INSIDE_MAX: usize = 256;
/// The longest time after which a child is told to come back, in milliseconds.
pub const DEFER_MS_MAX: u64 = 2_000;
/// How long a child may take to be through, in milliseconds; after that it is not counted.
pub const INSIDE_MS_MAX: u64 = 3_000;

/// Children taken in in a second, as long as nothing is known.
const FIRST_PER_S: u64 = 5_000;
/// The least and the most that is reckoned with.
const LEAST_PER_S: u64 = 200;
const MOST_PER_S: u64 = 100_000;
/// How long is counted before the rate is reckoned anew, in milliseconds.
const WINDOW_MS: u64 = 100;

/// Who is being taken in, by a clock that may be set, of which only differences count.
#[derive(Debug, Clone)]
pub struct Turnstile {
    inside: usize,
    /// When the last one comes back of those who were told to, in microseconds.
    told_us: u64,
    per_s: u64,
    /// Those who were through since `since`.
    through: u64,
    since: Millis,
    deferred: u64,
}

impl Default for Turnstile {
    fn default() -> Self {
        let (inside, told_us, through, deferred) = (0, 0, 0, 0);
        Self { inside, told_us, per_s: FIRST_PER_S, through, since: Millis::ZERO, deferred }
    }
}

impl Turnstile {
    /// Takes a child in, or says how many milliseconds later it is to come back.
    pub fn pass(&mut self, now: Millis) -> Result<(), u64> {
        if self.inside < INSIDE_MAX {
            if self.inside == 0 {
                // What was counted while there was room says nothing of how many are possible.
                (self.since, self.through) = (now, 0);
            }
            self.inside += 1;
            return Ok(());
        }
        self.deferred += 1;
        let now_us = now.get().saturating_mul(1_000);
        let each = 1_000_000 / self.per_s;
        // Who comes at that moment finds a place, unless one came before that nobody had told.
        let last = now_us.saturating_add(DEFER_MS_MAX * 1_000);
        self.told_us = self.told_us.clamp(now_us, last).saturating_add(each).min(last);
        Err((self.told_us - now_us).div_ceil(1_000))
    }

    /// A child is through, or gone.
    pub fn leave(&mut self, now: Millis) {
        self.inside = self.inside.saturating_sub(1);
        self.through += 1;
        let counted = now.since_ms(self.since);
        if counted < WINDOW_MS {
            return;
        }
        let seen = self.through.saturating_mul(1_000) / counted;
        let waits = self.told_us > now.get().saturating_mul(1_000);
        self.per_s = if waits && self.inside < INSIDE_MAX / 2 {
            // Those who were told to come, come later than they could.
            self.per_s.saturating_mul(2).min(MOST_PER_S)
        } else {
            self.per_s.midpoint(seen).max(LEAST_PER_S)
        };
        (self.since, self.through) = (now, 0);
    }

    /// How often a child was told to come back.
    pub fn deferred(&self) -> u64 {
        self.deferred
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Millis {
        Millis::new(1_000_000 + ms)
    }

    /// What became of children that all come at once to a parent that takes so many in in a second.
    struct Rush {
        most_inside: usize,
        asked: u64,
        took_ms: u64,
    }

    fn rush(children: u64, per_s: u64) -> Rush {
        let mut turnstile = Turnstile::default();
        let mut due: BTreeMap<u64, u64> = [(0, children)].into();
        let (mut inside, mut most_inside, mut asked, mut through) = (0, 0, 0, 0);
        for ms in 0.. {
            for _ in 0..due.remove(&ms).unwrap_or_default() {
                asked += 1;
                match turnstile.pass(at(ms)) {
                    Ok(()) => inside += 1,
                    Err(later) => *due.entry(ms + later).or_default() += 1,
                }
            }
            most_inside = most_inside.max(inside);
            let served = (ms + 1) * per_s / 1_000 - ms * per_s / 1_000;
            for _ in 0..usize::try_from(served).unwrap().min(inside) {
                turnstile.leave(at(ms));
                inside -= 1;
                through += 1;
            }
            if through == children {
                return Rush { most_inside, asked, took_ms: ms };
            }
        }
        unreachable!("it ends once all are through")
    }

    #[test]
    fn a_rush_is_served_as_fast_as_the_parent_can_and_asks_seldom() {
        for (children, per_s) in [(200, 100), (5_000, 500), (10_000, 2_000), (18_000, 20_000)] {
            let Rush { most_inside, asked, took_ms } = rush(children, per_s);
            let rush = format!("{children} at {per_s} a second: asked {asked}, {took_ms} ms");
            assert!(most_inside <= INSIDE_MAX, "{rush}");
            // At first nobody knows how fast the parent is.
            let at_best = (children * 1_000 / per_s).max(children * 1_000 / FIRST_PER_S);
            assert!(took_ms <= at_best * 5 / 4 + 100, "{rush}, at best {at_best}");
            // Who waits longest may be told so more than once.
            let longest = 3 + at_best / DEFER_MS_MAX;
            assert!(asked <= children * longest, "{rush}");
        }
    }

    #[test]
    fn nobody_is_told_to_come_after_the_longest_time() {
        let mut turnstile = Turnstile::default();
        let told: Vec<u64> = (0..60_000).filter_map(|_| turnstile.pass(at(0)).err()).collect();
        assert_eq!((told.iter().min(), told.iter().max()), (Some(&1), Some(&DEFER_MS_MAX)));
        assert_eq!(turnstile.deferred(), told.len() as u64);
    }

    proptest! {
        #[test]
        fn whatever_the_clock_does_a_place_that_is_free_is_given(
            calls in prop::collection::vec((any::<bool>(), 0..5_000_u64), 0..600),
        ) {
            let (mut turnstile, mut inside) = (Turnstile::default(), 0);
            for (comes, ms) in calls {
                if comes {
                    let passed = turnstile.pass(Millis::new(ms));
                    prop_assert_eq!(passed.is_ok(), inside < INSIDE_MAX);
                    inside += usize::from(passed.is_ok());
                    prop_assert!(passed.err() <= Some(DEFER_MS_MAX));
                } else if inside > 0 {
                    turnstile.leave(Millis::new(ms));
                    inside -= 1;
                }
            }
        }
    }
}
