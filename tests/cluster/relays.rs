//! Leaves behind relays: they are told and seen like any other, a relay that dies costs them their
//! parent and nothing else, and while the members are away they go on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster, text},
    measured,
    process::Process,
    wait_until,
};

use crate::{
    KRAKEN,
    manifests::{CONVERGED_MAX, web},
};

/// The leaves.
const LEAVES: [&str; 4] = ["n1", "n2", "n3", "n4"];
/// How long a leaf may take to find another parent, and others to hear of it.
const MOVED_MAX: Duration = Duration::from_secs(15);

/// Which relay says that a leaf is attached to it, by leaf.
async fn parents(cluster: &TestCluster) -> Result<Vec<(String, String)>> {
    let edge = cluster.edge()?;
    let events = edge.client().get_events(&<_>::default()).await?;
    let relays = cluster.relays();
    let attached = LEAVES.iter().filter_map(|leaf| {
        let said =
            events.items.iter().rev().find(|event| event.text.starts_with(&format!("{leaf} att")));
        let relay = relays.iter().find(|relay| said.is_some_and(|e| e.text.ends_with(*relay)));
        Some(((*leaf).to_owned(), relay?.clone()))
    });
    Ok(attached.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_of_a_relay_that_dies_move_on_and_start_nothing_twice() -> Result<()> {
    let shape = Shape { relays: 2, ..Shape::of(3, LEAVES.len()) };
    let mut cluster = TestCluster::start(KRAKEN, &shape).await?;
    cluster.edge()?.apply(&web("n[1-4]")).await?;
    cluster.converged(&LEAVES, CONVERGED_MAX).await?;
    let before = cluster.services().await?;
    let attached = parents(&cluster).await?;
    ensure!(attached.len() == LEAVES.len(), "all are behind relays: {attached:?}");
    let (_, relay) = attached.first().context("n1 is attached")?;

    let since = Instant::now();
    cluster.kill9(relay)?;
    cluster.linked(&[relay.as_str()], "DOWN", MOVED_MAX).await?;
    wait_until("all are attached to the other one", MOVED_MAX, async || {
        let now = parents(&cluster).await?;
        ensure!(now.iter().all(|(_, parent)| parent != relay), "{now:?}");
        Ok(())
    })
    .await?;
    cluster.linked(&LEAVES, "UP", MOVED_MAX).await?;
    measured("leaves of a killed relay attached to another one", since.elapsed());
    assert_eq!(cluster.services().await?, before, "nothing was started again");

    // What is asked for now goes by the other relay; the one that died is back.
    cluster.start_node(relay)?;
    cluster.linked(&[relay.as_str()], "UP", MOVED_MAX).await?;
    let stop = "kind: node\nname: n[1-4]\ncfg: {services: {web: {state: STOP}}}\n";
    cluster.edge()?.client().apply(stop, &<_>::default()).await?;
    let nodes = cluster.converged(&LEAVES, CONVERGED_MAX).await?;
    for leaf in LEAVES {
        let view = nodes.get(leaf).context("a leaf")?;
        assert_eq!(text(view, "/services/web/state"), "STOP", "{leaf}");
    }
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_restarts_behind_a_relay_without_members_keeps_its_services() -> Result<()> {
    let shape = Shape { relays: 1, ..Shape::of(1, 1) };
    let mut cluster = TestCluster::start(KRAKEN, &shape).await?;
    cluster.edge()?.apply(&web("n1")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let before = cluster.services().await?;
    let web = *before.values().next().context("n1 keeps a process")?;

    // The only member and the leaf die; the leaf comes back alone, and what it keeps dies then.
    cluster.kill9("m1")?;
    cluster.kill9("n1")?;
    cluster.start_node("n1")?;
    web.kill9()?;
    let folder = cluster.folder().join("n1");
    wait_until("the leaf has started it again", CONVERGED_MAX, async || {
        let kept = Process::within(&folder);
        let kept: Vec<String> = kept.iter().map(Process::command).collect();
        ensure!(kept.iter().any(|command| command == "sleep 100000"), "{kept:?}");
        Ok(())
    })
    .await?;
    cluster.start_node("m1")?;
    cluster.linked(&["n1"], "UP", CONVERGED_MAX).await?;
    wait_until("its new process is told", CONVERGED_MAX, async || {
        let now = cluster.services().await?;
        let now = now.values().next().context("none is told")?;
        ensure!(*now != web, "the old one is told");
        Ok(())
    })
    .await?;
    cluster.pass()
}
