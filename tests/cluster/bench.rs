//! Measurements in a small form. That of convergence, with its leader killed: what it proves must
//! hold however small it is. That of the quorum beside its peer: each row is there, for both.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use kraken::Figure;
use kraken_testkit::{cli::Cli, lock::Lock, needs, ports};
use serde_json::Value as Json;

use crate::{
    KRAKEN, edge,
    quorum::{Args, etcd_program, measure},
};

/// A row of each sort, in the small form.
const ROWS: [&str; 8] = [
    "put.16",
    "read_linearizable.16",
    "read_stale.1",
    "txn100",
    "watch.10",
    "first_write.kill",
    "restart.1k",
    "endure",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_twice_when_a_leader_is_killed_amid_a_measurement() -> Result<()> {
    let _lock = Lock::take()?;
    let cli = Cli::new(KRAKEN, &[format!("http://{}", ports::free()?)]);
    let printed =
        cli.run(&["bench", "converge", "--nodes", "40", "--kill-leader", "--json"]).await?;
    let mut figures = BTreeMap::new();
    for line in printed.lines() {
        let figure: Json = serde_json::from_str(line)?;
        let name = figure["name"].as_str().context("a figure has a name")?.to_owned();
        figures.insert(name, figure["value"].as_f64().context("a figure has a value")?);
    }
    let of = |what: &str| figures.get(&format!("converge.40_leader_killed{what}")).copied();
    assert_eq!(of(".started_twice"), Some(0.0), "{figures:?}");
    assert_eq!(of(".disruptive_repeated"), Some(0.0), "{figures:?}");
    // Two runs; each takes every machine two steps, and some of them a disruptive one.
    assert!(of(".attempts") >= Some(160.0), "{figures:?}");
    assert!(of(".disruptive") >= Some(8.0), "{figures:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quorum_is_measured_beside_etcd() -> Result<()> {
    if !needs("etcd", etcd_program().is_some())? {
        return Ok(());
    }
    let args = Args::try_parse_from(["quorum", "--quick"].into_iter().chain(ROWS))?;
    let mut figures: Vec<Figure> = Vec::new();
    measure(&args, KRAKEN, &mut |rows| figures.extend(rows)).await?;
    for row in ROWS {
        let name = format!("quorum.{row}");
        let below = |figure: &&Figure| figure.name().starts_with(&name);
        let figure = figures.iter().find(below).with_context(|| format!("no {name}"))?;
        assert!(figure.value() > 0.0 && figure.peer_value() > Some(0.0), "{figure:?}");
    }
    let cpu = figures.iter().find(|figure| figure.name() == "quorum.cpu_per_put.16");
    assert!(cpu.is_some_and(|figure| figure.unit() == "us"), "{cpu:?}");
    let failed = figures.iter().filter(|figure| figure.name().ends_with(".failed"));
    assert!(failed.clone().count() > 0);
    for figure in failed {
        assert_eq!((figure.value(), figure.peer_value()), (0.0, Some(0.0)), "{figure:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_is_measured() -> Result<()> {
    let args = edge::Args::try_parse_from(["edge", "--quick"])?;
    let mut figures: Vec<Figure> = Vec::new();
    edge::measure(&args, KRAKEN, &mut |figure| figures.push(figure)).await?;
    let names: Vec<&str> = figures.iter().map(Figure::name).collect();
    assert_eq!(names, ["edge.list.2k", "edge.list.2k.gzip", "edge.patch.1k", "edge.stream.10k"]);
    assert!(
        figures.iter().all(|figure| figure.value() > 0.0 && figure.unit() == "s"),
        "{figures:?}"
    );
    Ok(())
}
