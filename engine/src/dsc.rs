//! What was seen: one observation a path, merged by last-writer-wins.
//!
//! Merging is commutative, associative and idempotent, so that copies may arrive late, twice or out
//! of order and still agree. `unknown` is a value of its own: seen, and nothing known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    id::Name,
    path::Path,
    state::{STATE_PATHS_MAX, TakeWhileIn},
    time::Millis,
    value::Value,
};

/// When and by whom something was seen: hybrid logical time of the moment the look *began*.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds of the hybrid clock.
    pub ms: u64,
    /// Orders stamps of one millisecond.
    pub counter: u32,
    /// The node that saw it.
    pub writer: Name,
}

/// One observation of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// What was seen; `None` is unknown.
    pub value: Option<Value>,
    /// Orders this observation among all of the path.
    pub stamp: Stamp,
    /// When the value was last seen to hold, by the holder's clock. Not part of equality between
    /// replicas: the same value seen again moves this and nothing else. Zero: not in this life of
    /// the holder, which remembers it from an earlier one.
    #[serde(skip)]
    pub seen_at: Millis,
}

impl Observed {
    /// Whether the holder remembers it from an earlier life and has not heard of it in this one:
    /// it is stale, and told to nobody.
    pub fn is_remembered(&self) -> bool {
        self.seen_at == Millis::ZERO
    }

    /// Whether this observation wins over `other`: the total order of merges. What is only
    /// remembered gives way to whatever is heard, also to what is older: all that have heard the
    /// same shall hold the same, and what nobody says any more counts for nothing beside that.
    fn beats(&self, other: &Self) -> bool {
        let rank = |seen: &Self| !seen.is_remembered();
        (rank(self), &self.stamp, &self.value) > (rank(other), &other.stamp, &other.value)
    }
}

/// A change of Dsc as it travels: the path and what was seen there.
pub type Sighting = (Path, Observed);

/// The discovered state of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dsc(BTreeMap<Path, Observed>);

impl Dsc {
    /// A state in which nothing has been seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an observation if it wins over the one held; tells whether it did. One that would be
    /// path [`STATE_PATHS_MAX`] + 1 is not taken.
    pub fn merge(&mut self, path: Path, observed: Observed) -> bool {
        let full = self.0.len() >= STATE_PATHS_MAX;
        match self.0.get_mut(&path) {
            Some(held) if observed.beats(held) => {
                *held = observed;
                true
            }
            Some(_) => false,
            None if full => false,
            None => {
                self.0.insert(path, observed);
                true
            }
        }
    }

    /// Notes that the value at a path was seen to hold at `now`.
    pub fn confirm(&mut self, path: &Path, now: Millis) {
        if let Some(held) = self.0.get_mut(path) {
            held.seen_at = held.seen_at.max(now);
        }
    }

    /// What was seen at a path, unknown included.
    pub fn get(&self, path: &str) -> Option<&Observed> {
        self.0.get(path)
    }

    /// The value known at a path; `None` for unknown and for never seen.
    pub fn value(&self, path: &str) -> Option<&Value> {
        self.0.get(path)?.value.as_ref()
    }

    /// All observations, in order of path.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Observed)> {
        self.0.iter()
    }

    /// The observations at and below `top`.
    pub fn under<'a>(&'a self, top: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Observed)> {
        self.0.range(top.clone()..).take_while_in(top)
    }

    /// How many paths have been observed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing has been observed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops the observations for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&Path, &Observed) -> bool) {
        self.0.retain(|path, observed| keep(path, observed));
    }

    /// A digest of all observations, independent of the order in which they came. Replicas with
    /// equal digests hold, but for an accident of one in 2^64, the same.
    pub fn digest(&self) -> u64 {
        self.0.iter().fold(0, |digest, (path, observed)| digest ^ sighting_digest(path, observed))
    }
}

/// The part of a digest that one observation gives; xor makes the whole.
pub fn sighting_digest(path: &Path, observed: &Observed) -> u64 {
    // A tuple of plain data always encodes; an empty encoding would only weaken the digest.
    let bytes = rmp_serde::to_vec(&(path, &observed.value, &observed.stamp)).unwrap_or_default();
    xxh3_64(&bytes)
}

/// Hybrid logical clock: never goes back, never falls behind a stamp it was shown.
#[derive(Debug, Clone)]
pub struct HybridClock {
    writer: Name,
    ms: u64,
    counter: u32,
}

impl HybridClock {
    /// A clock that signs with `writer`.
    pub fn new(writer: Name) -> Self {
        Self { writer, ms: 0, counter: 0 }
    }

    /// The next stamp at physical time `now`; later than all before.
    pub fn stamp(&mut self, now: Millis) -> Stamp {
        if now.get() > self.ms {
            self.ms = now.get();
            self.counter = 0;
        } else if self.counter == u32::MAX {
            self.ms += 1;
            self.counter = 0;
        } else {
            self.counter += 1;
        }
        Stamp { ms: self.ms, counter: self.counter, writer: self.writer.clone() }
    }

    /// Moves the clock to at least `ms`, so that later stamps are beyond it.
    pub fn advance_to(&mut self, ms: u64) {
        if ms >= self.ms {
            self.ms = ms.saturating_add(1);
            self.counter = 0;
        }
    }

    /// The highest time the clock has given or been shown.
    pub fn reading(&self) -> u64 {
        self.ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sighting() -> impl Strategy<Value = Sighting> {
        let value = prop::option::of((0..3_i64).prop_map(Value::from));
        // Heard, or only remembered.
        let seen_at = (0..2_u64).prop_map(Millis::new);
        (0..3_u8, value, 0..4_u64, 0..2_u32, 0..2_u8, seen_at).prop_map(
            |(path, value, ms, counter, writer, seen_at)| {
                let stamp = Stamp { ms, counter, writer: Name::new(format!("w{writer}")).unwrap() };
                let path = Path::new(format!("/p{path}")).unwrap();
                (path, Observed { value, stamp, seen_at })
            },
        )
    }

    fn merged<'a>(sightings: impl IntoIterator<Item = &'a Sighting>) -> Dsc {
        let mut dsc = Dsc::new();
        for (path, observed) in sightings {
            dsc.merge(path.clone(), observed.clone());
        }
        dsc
    }

    mod properties {
        use super::*;

        proptest! {
            #[test]
            fn merge_is_commutative_associative_and_idempotent(
                sightings in prop::collection::vec(sighting(), 0..24),
                cut in 0..24_usize,
            ) {
                let forwards = merged(&sightings);
                prop_assert_eq!(&merged(sightings.iter().rev()), &forwards);
                prop_assert_eq!(&merged(sightings.iter().chain(&sightings)), &forwards);
                let cut = cut.min(sightings.len());
                let swapped = merged(sightings[cut..].iter().chain(&sightings[..cut]));
                prop_assert_eq!(swapped.digest(), forwards.digest());
                prop_assert_eq!(swapped, forwards);
            }

            #[test]
            fn stamps_only_grow(times in prop::collection::vec(0..50_u64, 1..40)) {
                let mut clock = HybridClock::new(Name::new("w").unwrap());
                let mut last = None;
                for (index, ms) in times.into_iter().enumerate() {
                    if index % 5 == 4 {
                        clock.advance_to(ms);
                    }
                    let stamp = clock.stamp(Millis::new(ms));
                    prop_assert!(last.as_ref() < Some(&stamp));
                    last = Some(stamp);
                }
            }
        }
    }
}
