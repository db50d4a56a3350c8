//! What the leader decides for a leaf is carried out on that leaf, once, whatever becomes of the
//! leader meanwhile.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster, text},
    wait_until,
};
use serde_json::Value as Json;

use crate::{KRAKEN, manifests::CONVERGED_MAX};

/// How long the simulated node takes to drain: longer than a new leader takes to begin.
const DRAINS_IN_MS: u64 = 6_000;

/// Three members and a leaf that drains slowly.
async fn slow_leaf() -> Result<TestCluster> {
    let config = format!(
        "[modules.sim.mutations.Drain]\nlatency_min_ms = {DRAINS_IN_MS}\n\
         latency_max_ms = {DRAINS_IN_MS}\n"
    );
    let shape = Shape { config: [("n1".to_owned(), config)].into(), ..Shape::of(3, 1) };
    TestCluster::start(KRAKEN, &shape).await
}

fn asks(state: &str) -> String {
    format!("kind: node\nname: n1\ncfg:\n  drainState: {state}\n")
}

/// How many attempts were made on the simulated node, as its own host counts them.
fn attempts(cluster: &TestCluster, host: &str) -> Result<u64> {
    let file = cluster.folder().join(host).join("data/modules/sim/n1.json");
    if !file.exists() {
        return Ok(0);
    }
    let machine: Json = serde_json::from_slice(&fs::read(file)?)?;
    machine["attempts"].as_u64().context("no attempts")
}

/// Waits until the leaf is at work.
async fn drains(cluster: &TestCluster) -> Result<()> {
    let edge = cluster.edge()?;
    wait_until("the leaf drains", CONVERGED_MAX, async || {
        let view = edge.node("n1").await?;
        let status = view.status.context("nobody decides")?;
        let reason = status.reason.unwrap_or_default();
        ensure!(reason.starts_with("on n1"), "{}: {reason}", status.phase);
        // It is told that the leaf has it a moment before the leaf begins.
        ensure!(attempts(cluster, "n1")? == 1, "the leaf has not begun");
        Ok(())
    })
    .await
}

async fn drained_once(cluster: &TestCluster) -> Result<()> {
    let nodes = cluster.converged(&["n1"], CONVERGED_MAX).await?;
    assert_eq!(text(nodes.get("n1").context("n1")?, "/drainState"), "DRAINED");
    assert_eq!(attempts(cluster, "n1")?, 1);
    for member in cluster.members() {
        assert_eq!(attempts(cluster, &member)?, 0, "{member} did what is n1's");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_leaf_was_told_goes_on_when_the_leader_is_killed() -> Result<()> {
    let mut cluster = slow_leaf().await?;
    cluster.edge()?.apply(&asks("DRAINED")).await?;
    drains(&cluster).await?;
    let leader = cluster.leader().await?;
    cluster.kill9(&leader)?;
    drained_once(&cluster).await?;
    cluster.start_node(&leader)?;
    cluster.ready().await?;
    cluster.edge()?.apply(&asks("ACTIVE")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    assert_eq!(attempts(&cluster, "n1")?, 2);
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_slept_takes_nothing_back_and_repeats_nothing() -> Result<()> {
    let cluster = slow_leaf().await?;
    cluster.edge()?.apply(&asks("DRAINED")).await?;
    drains(&cluster).await?;
    let leader = cluster.leader().await?;
    cluster.pause(&leader)?;
    drained_once(&cluster).await?;
    cluster.resume(&leader)?;
    let slept = cluster.edge_of(&leader)?;
    wait_until("it follows", Duration::from_secs(15), async || {
        let quorum = slept.cluster().await?;
        ensure!(quorum.role == "FOLLOWER", "{quorum:?}");
        Ok(())
    })
    .await?;
    drained_once(&cluster).await?;
    cluster.pass()
}

/// Waits until a leader has the power of the node switched off by an attempt later than another;
/// tells since when.
async fn powers_off(cluster: &TestCluster, after: &str) -> Result<String> {
    wait_until("the power is being switched off", CONVERGED_MAX, async || {
        let view = cluster.edge()?.node("n1").await?;
        let status = view.status.context("nobody decides")?;
        let step = status.step.unwrap_or_default();
        let flies = status.phase == "InFlight" && step == "sim/PowerOff";
        ensure!(
            flies && status.since.as_str() > after,
            "{}: {step}: {:?}",
            status.phase,
            status.reason
        );
        Ok(status.since)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn disruptive_step_of_members_that_were_killed_holds_its_object_no_longer() -> Result<()> {
    // Whichever member looks at the machine sees the same.
    let world = tempfile::tempdir()?;
    let config = format!(
        "[modules.sim]\nworld = {:?}\n[modules.sim.mutations.PowerOff]\n\
         latency_min_ms = 300000\nlatency_max_ms = 300000\n",
        world.path()
    );
    let names = ["m1", "m2", "m3"];
    let config = names.map(|name| (name.to_owned(), config.clone())).into();
    let shape = Shape { config, ..Shape::of(3, 1) };
    let mut cluster = TestCluster::start(KRAKEN, &shape).await?;
    let asks = |state: &str| format!("kind: node\nname: n1\ncfg:\n  physState: {state}\n");
    cluster.edge()?.apply(&asks("POWER_ON")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    cluster.edge()?.apply(&asks("POWER_OFF")).await?;
    let first = powers_off(&cluster, "").await?;
    for name in names {
        cluster.kill9(name)?;
    }
    for name in names {
        cluster.start_node(name)?;
    }
    cluster.ready().await?;
    // The intent of the first attempt would hold it for ten minutes.
    powers_off(&cluster, &first).await?;
    cluster.pass()
}
