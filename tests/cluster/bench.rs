//! The measurement of convergence in a small form, with its leader killed: what it proves must hold
//! however small it is.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use kraken_testkit::{cli::Cli, lock::Lock, ports};
use serde_json::Value as Json;

use crate::KRAKEN;

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
