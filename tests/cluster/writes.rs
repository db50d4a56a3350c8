//! Writes while members are killed: none that was answered is lost, and none is carried out twice.

use std::time::Duration;

use anyhow::{Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    wait_until,
    writer::{Writers, registers},
};

use crate::KRAKEN;

/// Writers at a time.
const WRITERS: usize = 50;
/// Writes that are answered between one kill and the next.
const WRITES_BETWEEN: u64 = 350;
/// How long they may take.
const WRITES_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn no_answered_write_is_lost_or_doubled_while_each_member_is_killed() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 0)).await?;
    let writers = Writers::start(WRITERS, |_| cluster.edge())?;
    for member in cluster.members() {
        writers.progress(WRITES_BETWEEN, WRITES_MAX).await?;
        cluster.kill9(&member)?;
        writers.progress(WRITES_BETWEEN, WRITES_MAX).await?;
        cluster.start_node(&member)?;
        let (edge, written) = (cluster.edge_of(&member)?, cluster.edge()?.cluster().await?);
        wait_until(&format!("{member} has caught up"), WRITES_MAX, async || {
            let held = edge.cluster().await?.revision;
            ensure!(held >= written.revision, "it is at {held} of {}", written.revision);
            Ok(())
        })
        .await?;
    }
    let history = writers.stop().await?;
    assert!(history.len() >= 1_000, "{} writes", history.len());
    history.check(&registers(&cluster.edge()?, "linearizable").await?)?;
    for member in cluster.members() {
        let edge = cluster.edge_of(&member)?;
        wait_until(&format!("{member} holds all of it"), WRITES_MAX, async || {
            history.check(&registers(&edge, "stale").await?)
        })
        .await?;
    }

    // And all of it is on the disks: nobody has it in memory only.
    for member in cluster.members() {
        cluster.kill9(&member)?;
    }
    for member in cluster.members() {
        cluster.start_node(&member)?;
    }
    cluster.ready().await?;
    history.check(&registers(&cluster.edge()?, "linearizable").await?)?;
    cluster.pass()
}
