//! A leaf is killed: its link is down within seconds, and its processes live on and are adopted.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster, text},
    edge::call,
    measured, wait_until,
};
use serde_json::json;

use crate::{
    KRAKEN,
    manifests::{CONVERGED_MAX, web},
};

/// Three heartbeats of one second, and time to tell.
const GONE_MAX: Duration = Duration::from_secs(6);
/// The time between two writes of what a member remembers, twice.
const REMEMBERED_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn killed_leaf_is_seen_as_gone_and_adopts_its_processes() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 2)).await?;
    cluster.edge()?.apply(&web("n[1-2]")).await?;
    cluster.converged(&["n1", "n2"], CONVERGED_MAX).await?;
    let before = cluster.services().await?;
    let own = *before.get(&("n1".to_owned(), "web".to_owned())).context("n1 has no web")?;

    cluster.kill9("n1")?;
    let gone = cluster.linked(&["n1"], "DOWN", GONE_MAX).await?;
    measured("killed leaf seen as gone", gone);
    assert!(own.is_alive(), "its process went with it");
    cluster.linked(&["n2"], "UP", Duration::from_secs(1)).await?;

    let since = Instant::now();
    cluster.start_node("n1")?;
    cluster.linked(&["n1"], "UP", CONVERGED_MAX).await?;
    let nodes = cluster.converged(&["n1", "n2"], CONVERGED_MAX).await?;
    measured("killed leaf started again, attached and converged", since.elapsed());
    assert_eq!(text(nodes.get("n1").context("n1")?, "/services/web/state"), "RUN");
    assert_eq!(cluster.services().await?, before, "its process was adopted, not started again");

    // Adopted is kept: what dies now is seen and started again.
    own.kill9()?;
    wait_until("the adopted process is started again", CONVERGED_MAX, async || {
        let now = cluster.services().await?;
        let web = now.get(&("n1".to_owned(), "web".to_owned())).context("none")?;
        ensure!(*web != own, "it tells of the killed one");
        Ok(())
    })
    .await?;
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_leaf_is_gone_and_comes_back_by_itself() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 1)).await?;
    cluster.edge()?.apply(&web("n1")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let before = cluster.services().await?;
    cluster.pause("n1")?;
    let gone = cluster.linked(&["n1"], "DOWN", GONE_MAX).await?;
    measured("paused leaf seen as gone", gone);
    cluster.resume("n1")?;
    cluster.linked(&["n1"], "UP", CONVERGED_MAX).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    assert_eq!(cluster.services().await?, before);
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_were_all_lost_remember_what_they_saw_last_and_say_that_it_is_old()
-> Result<()> {
    const PATH: &str = "/services/web/state";
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 1)).await?;
    cluster.edge()?.apply(&web("n1")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let before = cluster.services().await?;
    for member in cluster.members() {
        let file = cluster.folder().join(&member).join("data/dsc/journal");
        wait_until(&format!("{member} has written down what it saw"), REMEMBERED_MAX, async || {
            let bytes = fs::read(&file)?;
            let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            ensure!(has(PATH.as_bytes()), "{} bytes without {PATH}", bytes.len());
            Ok(())
        })
        .await?;
    }
    cluster.kill9("n1")?;
    let members = cluster.members();
    for member in &members {
        cluster.kill9(member)?;
    }
    for member in &members {
        cluster.start_node(member)?;
    }
    for member in &members {
        let edge = cluster.edge_of(member)?;
        wait_until(&format!("{member} shows n1"), CONVERGED_MAX, async || {
            let n1 = edge.node("n1").await?;
            assert_ne!(text(&n1, "/link"), "UP", "it is attached to nobody");
            ensure!(text(&n1, PATH) == "RUN", "{n1:?}");
            let stale = n1.stale.context("what is stale is told")?;
            assert!(stale.iter().any(|path| path == PATH), "{stale:?}");
            Ok(())
        })
        .await?;
    }
    // Whoever comes back says how it is, and goes on.
    cluster.start_node("n1")?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    for member in &members {
        let edge = cluster.edge_of(member)?;
        wait_until(&format!("nothing of n1 is old at {member}"), CONVERGED_MAX, async || {
            let n1 = edge.node("n1").await?;
            ensure!(text(&n1, PATH) == "RUN" && n1.stale == Some(Vec::new()), "{n1:?}");
            Ok(())
        })
        .await?;
    }
    assert_eq!(cluster.services().await?, before, "nothing was started again");
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_removed_and_made_again_is_that_machine_again() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 1)).await?;
    let edge = cluster.edge()?;
    edge.apply(&web("n1")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let first = edge.node("n1").await?.uid;
    edge.ask(call("DELETE", "/v1/nodes/n1?force=true")?).await?;
    // Its agent runs, and does not make itself a node again.
    wait_until("n1 is gone", CONVERGED_MAX, async || {
        ensure!(!edge.nodes().await?.contains_key("n1"), "it is there");
        Ok(())
    })
    .await?;
    edge.apply(&web("n1")).await?;
    cluster.linked(&["n1"], "UP", CONVERGED_MAX).await?;
    let nodes = cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let node = nodes.get("n1").context("n1")?;
    assert_ne!(node.uid, first);
    assert_eq!(text(node, "/services/web/state"), "RUN");
    // What is asked of it from now on is done.
    edge.patch("n1", &json!({ "services": { "web": { "state": "STOP" } } })).await?;
    let nodes = cluster.converged(&["n1"], CONVERGED_MAX).await?;
    assert_eq!(text(nodes.get("n1").context("n1")?, "/services/web/state"), "STOP");
    cluster.pass()
}
