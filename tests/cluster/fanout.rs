//! The load of light leaves in small: all of its figures come, with and without relays. How large
//! they are says nothing on a machine that does other things.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kraken_engine::sync::pace::Pace;
use kraken_testkit::{
    etcd,
    load::{Agents, Hands, Load, Outcome, lines},
    needs,
};
use serde_json::Value as Json;

use crate::KRAKEN;

/// Leaves of the fleet.
const LEAVES: usize = 40;
/// How long everything is counted that is counted for a time.
const TIME: Duration = Duration::from_secs(1);
/// What is measured of every fleet.
const FIGURES: [&str; 9] = [
    "fanout.attach.40",
    "fanout.idle.memory.40",
    "fanout.idle.bytes.40",
    "fanout.idle.cpu.40",
    "fanout.one.40.p99",
    "fanout.all.40.last",
    "fanout.change.bytes.40",
    "fanout.dsc.40.p99",
    "fanout.reattach.40",
];
/// What etcd is measured for beside.
const BESIDE_ETCD: [&str; 5] = [
    "fanout.attach.40",
    "fanout.idle.memory.40",
    "fanout.one.40.p99",
    "fanout.all.40.last",
    "fanout.all.40.sent.last",
];
/// What is measured of real agents.
const AGENTS_FIGURES: [&str; 7] = [
    "agents.start.4",
    "agents.idle.memory.4",
    "agents.idle.cpu.4",
    "agents.idle.members.cpu.4",
    "agents.all.p50.4",
    "agents.all.last.4",
    "agents.reattach.4",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_small_fleet_is_measured_with_and_without_relays() -> Result<()> {
    for relays in [0, 2] {
        let folder = tempfile::tempdir()?;
        let load = Load {
            program: KRAKEN.to_owned(),
            hands: Hands::Threads,
            folder: folder.path().to_owned(),
            leaves: LEAVES,
            pace: if relays == 0 { Pace::NORMAL } else { Pace::BULK },
            relays,
            with_peer: true,
            ones: 10,
            alls: 3,
            time: TIME,
        };
        let outcome = load.run(|what| println!("{relays} relays: {what}")).await?;
        let figures = found(&outcome, &FIGURES)?;
        let missed = figures.iter().find(|figure| figure["name"] == "fanout.dsc.40.missed");
        assert_eq!(missed.and_then(|missed| missed["value"].as_f64()), Some(0.0), "{figures:?}");
        if relays == 0 && needs("etcd, to stand beside us", etcd::program().is_some())? {
            for name in BESIDE_ETCD {
                let figure = figures.iter().find(|figure| figure["name"] == name);
                let figure = figure.context(name)?;
                ensure!(figure["peer"] == "etcd" && figure["peer_value"].is_f64(), "{figure}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_real_agents_are_measured() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (program, folder) = (KRAKEN.to_owned(), folder.path().to_owned());
    let agents = Agents { program, folder, leaves: 4, alls: 3, time: TIME };
    let outcome = agents.run(|what| println!("{what}")).await?;
    found(&outcome, &AGENTS_FIGURES).map(drop)
}

/// All figures, of which these must be there.
fn found(outcome: &Outcome, names: &[&str]) -> Result<Vec<Json>> {
    let printed = lines(&outcome.figures)?;
    let figures = printed.lines().map(serde_json::from_str);
    let figures = figures.collect::<Result<Vec<Json>, _>>()?;
    for name in names {
        let found = figures.iter().find(|figure| figure["name"] == *name);
        let found = found.with_context(|| format!("{name}: {printed}"))?;
        let value = found["value"].as_f64().context("a value")?;
        ensure!(value >= 0.0 && value.is_finite(), "{found}");
    }
    Ok(figures)
}
