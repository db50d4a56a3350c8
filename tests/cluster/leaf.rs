//! A leaf is killed: its link is down within seconds, and its processes live on and are adopted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster, text},
    measured, wait_until,
};

use crate::{
    KRAKEN,
    manifests::{CONVERGED_MAX, web},
};

/// Three heartbeats of one second, and time to tell.
const GONE_MAX: Duration = Duration::from_secs(6);

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
