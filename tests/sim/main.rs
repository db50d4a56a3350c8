//! Many worlds: the real engine under seeded faults, without sockets. First safety, then liveness.
//!
//! `KRAKEN_SIM_SEED=7 cargo test --test sim` runs one world again; a failure names its seed.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use kraken_engine::world::Options;
use kraken_testkit::worlds::{Run, check, check_as};

/// The worlds that are run every time. Past 99: worlds that once found a defect.
const SEEDS: [u64; 46] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    102,
    105,
    133,
    294,
    348,
    483,
    666,
    1013,
    1019,
    1026,
    1030,
    1033,
    1078,
    1096,
    1176,
    1786,
    2025,
    1_001_453,
    1_002_959,
    7_710_342_715_246_075_813,
    1_795_902_309_006_526_956,
    1_795_903_208_643_081_353,
    1_795_904_437_590_121_340,
    1_795_905_560_538_050_930,
    7_713_352_370_704_082_048,
    1_795_906_750_157_781_125,
];
/// How long new worlds are run, each time others.
const FRESH: Duration = Duration::from_secs(20);
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The seed that was asked for, if one was.
fn asked() -> anyhow::Result<Option<u64>> {
    match std::env::var("KRAKEN_SIM_SEED") {
        Err(_) => Ok(None),
        Ok(text) => Ok(Some(text.parse().context("KRAKEN_SIM_SEED is not a number")?)),
    }
}

#[test]
fn known_worlds_hold_every_invariant_and_come_to_rest() -> anyhow::Result<()> {
    let seeds = asked()?.map_or(SEEDS.to_vec(), |seed| vec![seed]);
    for seed in seeds {
        for unruly in [false, true] {
            check_as(seed, Options { unruly, ..Options::drawn(seed) })?;
        }
    }
    Ok(())
}

#[test]
fn new_worlds_hold_every_invariant_and_come_to_rest() -> anyhow::Result<()> {
    if asked()?.is_some() {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let run = Run::from(now.as_secs() << 32 | u64::from(now.subsec_nanos()));
    let started = Instant::now();
    run.go(u64::MAX, 1, |_| {
        thread::park_timeout(LOOK);
        started.elapsed() < FRESH
    });
    match run.into_broken().pop() {
        Some(broken) => Err(broken.into()),
        None => Ok(()),
    }
}

#[test]
fn a_world_is_the_same_again() -> anyhow::Result<()> {
    let (one, other) = (check(7)?, check(7)?);
    ensure!(one.trace == other.trace, "two runs of one seed differ");
    Ok(())
}
