//! The disk of a member is full: it says so and ends, the others go on, and with room it is back.

use std::time::Duration;

use anyhow::Result;
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    disk::Tmpfs,
    is_root, measured, needs, wait_until,
    writer::{Writers, registers},
};
use serde_json::json;

use crate::KRAKEN;

/// Room for one segment of the log and not for two, in MiB.
const SMALL_MIB: u32 = 100;
/// Room for all that is written here.
const LARGE_MIB: u32 = 1_024;
/// Bytes of one value; eight of them stand in one write.
const VALUE: usize = 60 << 10;
/// Writes after which a segment is full for certain.
const WRITES_MAX: usize = 2_000;
/// How long a member may take to end, or to come back.
const MEMBER_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn member_with_a_full_disk_ends_and_the_others_go_on() -> Result<()> {
    if !needs("root, to mount a small file system", is_root())? {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let disk = Tmpfs::mount(&place.path().join("disk"), SMALL_MIB)?;
    let mut shape = Shape::of(3, 0);
    shape.data.insert("m3".to_owned(), disk.folder().join("data"));
    let mut cluster = TestCluster::start(KRAKEN, &shape).await?;
    let writers = Writers::start(4, |_| cluster.edge())?;

    let edge = cluster.edge()?;
    let mut writes = 0;
    while cluster.job("m3")?.process().is_ok() && writes < WRITES_MAX {
        let env: serde_json::Map<String, serde_json::Value> =
            (0..8).map(|n| (format!("V{n}"), "x".repeat(VALUE).into())).collect();
        let cfg = json!({ "services": { "big": { "env": env } } });
        // That of the moment at which the member goes may fail; its writers try again.
        drop(edge.apply(&json!({ "kind": "node", "name": "big", "cfg": cfg }).to_string()).await);
        writes += 1;
    }
    let code = cluster.ended("m3", MEMBER_MAX).await?;
    assert_eq!(code, Some(1), "after {writes} writes");
    let words = cluster.job("m3")?.errors();
    assert!(words.contains("No space left on device"), "{words}");
    assert!(words.contains("make room"), "it says what to do: {words}");
    writers.progress(200, MEMBER_MAX).await?;

    // Full is full: it does not pretend to be back.
    cluster.start_node("m3")?;
    let again = cluster.ended("m3", MEMBER_MAX).await;
    assert!(again.is_ok_and(|code| code == Some(1)), "it runs on a full disk");
    writers.progress(200, MEMBER_MAX).await?;

    disk.resize(LARGE_MIB)?;
    let since = std::time::Instant::now();
    cluster.start_node("m3")?;
    writers.progress(50, MEMBER_MAX).await?;
    let history = writers.stop().await?;
    let edge = cluster.edge_of("m3")?;
    wait_until("m3 has caught up", MEMBER_MAX, async || {
        history.check(&registers(&edge, "stale").await?)
    })
    .await?;
    measured("member with room again until caught up", since.elapsed());
    history.check(&registers(&edge, "linearizable").await?)?;
    cluster.pass()
}
