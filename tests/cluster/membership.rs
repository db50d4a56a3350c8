//! Members come and go while clients write: nothing that was answered is lost, and no client sees
//! an error that its library had not met with another try.

use std::time::Duration;

use anyhow::{Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    wait_until,
    writer::{Writers, registers},
};

use crate::KRAKEN;

/// How long writers may take for a few writes on a busy machine.
const WRITES_MAX: Duration = Duration::from_mins(1);
/// How long a member may take to end in good order.
const END_MAX: Duration = Duration::from_secs(20);

async fn leave(cluster: &mut TestCluster, member: &str) -> Result<()> {
    cluster.cli_of("m1")?.run(&["cluster", "remove", member]).await?;
    if cluster.job(member)?.process().is_ok() {
        cluster.kill9(member)?;
    }
    cluster.forget(member)
}

async fn come(cluster: &mut TestCluster) -> Result<String> {
    let member = cluster.add_member("m1")?;
    cluster.start_node(&member)?;
    cluster.ready().await?;
    Ok(member)
}

#[tokio::test(flavor = "multi_thread")]
async fn quorum_grows_to_five_replaces_a_dead_member_and_shrinks_to_one_under_load() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(1, 0)).await?;
    let writers = Writers::start(4, |_| cluster.edge_of("m1"))?;
    for _ in 2..=5 {
        come(&mut cluster).await?;
        writers.progress(20, WRITES_MAX).await?;
    }
    assert_eq!(cluster.members().len(), 5);
    cluster.kill9("m3")?;
    writers.progress(20, WRITES_MAX).await?;
    leave(&mut cluster, "m3").await?;
    assert_eq!(come(&mut cluster).await?, "m6");
    writers.progress(20, WRITES_MAX).await?;
    // The one that leads leaves too, and hands the lead over.
    cluster.cli_of("m1")?.run(&["cluster", "leader", "m6"]).await?;
    for member in ["m6", "m5", "m4", "m2"] {
        wait_until("the lead is taken again", WRITES_MAX, async || {
            ensure!(cluster.edge_of("m1")?.cluster().await?.leader.is_some(), "nobody leads");
            Ok(())
        })
        .await?;
        leave(&mut cluster, member).await?;
        writers.progress(20, WRITES_MAX).await?;
    }
    let last = cluster.cli_of("m1")?.try_run(&["cluster", "remove", "m1"]).await?;
    assert!(last.code == 4 && last.err.contains("last voting member"), "{last:?}");
    let lost = writers.lost();
    let history = writers.stop().await?;
    history.check(&registers(&cluster.edge()?, "linearizable").await?)?;
    assert_eq!(lost, 0, "the client library has tried again by itself");
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_restart_one_after_the_other_without_a_failed_write() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 0)).await?;
    let writers = Writers::start(8, |_| cluster.edge())?;
    writers.progress(50, WRITES_MAX).await?;
    for member in cluster.members() {
        cluster.terminate(&member, END_MAX).await?;
        writers.progress(20, WRITES_MAX).await?;
        cluster.start_node(&member)?;
        cluster.ready().await?;
        writers.progress(20, WRITES_MAX).await?;
    }
    let lost = writers.lost();
    let history = writers.stop().await?;
    for member in cluster.members() {
        let edge = cluster.edge_of(&member)?;
        history.check(&registers(&edge, "linearizable").await?)?;
    }
    assert_eq!(lost, 0, "the client library has tried again by itself");
    cluster.pass()
}
