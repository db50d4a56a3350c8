//! How simulated machines behave, and the draw that decides it: the same for the same seed,
//! machine, mutation and count, whatever else goes on.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::LATENCY_MS_MAX;

/// The table `[modules.sim]` of a node's configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder that holds the machines; default: the module's own.
    pub world: Option<PathBuf>,
    /// Keeps machines in memory and not in files.
    pub in_memory: bool,
    /// A file to which each attempt that begins is added, one a line.
    pub record: Option<PathBuf>,
    /// Draws latencies and faults.
    pub seed: u64,
    /// How every mutation goes that is not named in `mutations`.
    pub every: Conduct,
    /// How mutations go, by name.
    pub mutations: BTreeMap<String, Conduct>,
}

/// How attempts of a mutation go.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conduct {
    /// The shortest time that an attempt takes, in milliseconds; default 10.
    pub latency_min_ms: u64,
    /// The longest, in milliseconds; default 50, at most [`LATENCY_MS_MAX`].
    pub latency_max_ms: u64,
    /// The share of attempts that end with an error, from 0 to 1.
    pub fail: f64,
    /// The share of attempts that do not end by themselves, from 0 to 1.
    pub hang: f64,
    /// The share of attempts that claim success and do nothing, from 0 to 1.
    pub lie: f64,
}

/// How one attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Succeeds,
    Fails,
    Hangs,
    Lies,
}

/// A value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}: {why}")]
pub(super) struct Invalid {
    table: String,
    why: String,
}

impl Default for Conduct {
    fn default() -> Self {
        Self { latency_min_ms: 10, latency_max_ms: 50, fail: 0.0, hang: 0.0, lie: 0.0 }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        if self.in_memory && self.world.is_some() {
            let why = "machines in memory are in no folder: give one of the two".to_owned();
            return Err(Invalid { table: "in_memory".to_owned(), why });
        }
        let named = self.mutations.iter().map(|(name, conduct)| (name.as_str(), conduct));
        for (table, conduct) in std::iter::once(("every", &self.every)).chain(named) {
            let known = table == "every" || super::change_of(table).is_some();
            let checked =
                if known { conduct.check() } else { Err("there is no such mutation".to_owned()) };
            checked.map_err(|why| Invalid { table: table.to_owned(), why })?;
        }
        Ok(())
    }

    /// How the `count`-th attempt on a machine goes if it is of this mutation.
    pub(super) fn draw(&self, machine: &str, mutation: &str, count: u64) -> (Duration, Fate) {
        let conduct = self.mutations.get(mutation).unwrap_or(&self.every);
        let texts = machine.bytes().chain([0]).chain(mutation.bytes());
        let mut state = texts.fold(mix(self.seed), |state, byte| mix(state ^ u64::from(byte)));
        state = mix(state ^ count);
        let span = conduct.latency_max_ms.saturating_sub(conduct.latency_min_ms);
        let latency = conduct.latency_min_ms + state % span.saturating_add(1);
        (Duration::from_millis(latency), conduct.fate(share(mix(state))))
    }
}

impl Conduct {
    fn check(&self) -> Result<(), String> {
        if self.latency_min_ms > self.latency_max_ms {
            return Err("latency_min_ms is above latency_max_ms".to_owned());
        }
        if self.latency_max_ms > LATENCY_MS_MAX {
            return Err(format!("latency_max_ms is above {LATENCY_MS_MAX}"));
        }
        let shares = [("fail", self.fail), ("hang", self.hang), ("lie", self.lie)];
        if let Some((key, _)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("{key} is a share, from 0 to 1"));
        }
        if self.fail + self.hang + self.lie > 1.0 {
            return Err("fail, hang and lie are together more than 1".to_owned());
        }
        Ok(())
    }

    fn fate(&self, drawn: f64) -> Fate {
        if drawn < self.fail {
            Fate::Fails
        } else if drawn < self.fail + self.hang {
            Fate::Hangs
        } else if drawn < self.fail + self.hang + self.lie {
            Fate::Lies
        } else {
            Fate::Succeeds
        }
    }
}

/// One step of `SplitMix64` (Steele, Lea, Flood 2014): enough to scatter faults, no secret.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number from 0 up to but not 1.
fn share(bits: u64) -> f64 {
    // 32 bits are exact in a float and fine enough for a share.
    let high = u32::try_from(bits >> 32).unwrap_or_default();
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> Config {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_does_not() {
        let conduct = serde_json::json!({ "latency_max_ms": 1_000, "fail": 0.5 });
        let draws = |seed: u64| -> Vec<(Duration, Fate)> {
            let config = config(serde_json::json!({ "seed": seed, "every": conduct }));
            (0..32).map(|count| config.draw("n1", "Boot", count)).collect()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        let config = config(serde_json::json!({ "seed": 7, "every": conduct }));
        let other: Vec<_> = (0..32).map(|count| config.draw("n2", "Boot", count)).collect();
        assert_ne!(draws(7), other);
    }

    #[test]
    fn shares_and_latencies_are_kept() {
        let config = config(serde_json::json!({
            "every": { "latency_min_ms": 5, "latency_max_ms": 9,
                       "fail": 0.2, "hang": 0.1, "lie": 0.1 }
        }));
        let mut counts = [0_u32; 4];
        for count in 0..10_000 {
            let (latency, fate) = config.draw("n1", "Boot", count);
            assert!((5..=9).contains(&latency.as_millis()));
            counts[fate as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([6_000, 2_000, 1_000, 1_000_u32]) {
            assert!(count.abs_diff(expected) < 300, "{counts:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        for (json, expected) in [
            (serde_json::json!({}), Ok(())),
            (serde_json::json!({ "mutations": { "Boot": { "fail": 1.0 } } }), Ok(())),
            (
                serde_json::json!({ "mutations": { "Boott": {} } }),
                Err("Boott: there is no such mutation"),
            ),
            (
                serde_json::json!({ "every": { "fail": 1.5 } }),
                Err("every: fail is a share, from 0 to 1"),
            ),
            (
                serde_json::json!({ "every": { "fail": 0.6, "lie": 0.6 } }),
                Err("every: fail, hang and lie are together more than 1"),
            ),
            (
                serde_json::json!({ "every": { "latency_min_ms": 51 } }),
                Err("every: latency_min_ms is above latency_max_ms"),
            ),
            (serde_json::json!({ "every": { "latency_max_ms": LATENCY_MS_MAX } }), Ok(())),
            (
                serde_json::json!({ "every": { "latency_max_ms": LATENCY_MS_MAX + 1 } }),
                Err("every: latency_max_ms is above 600000"),
            ),
        ] {
            let checked = config(json).check().map_err(|error| error.to_string());
            assert_eq!(checked, expected.map_err(str::to_owned));
        }
    }
}
