//! Writes while members are killed: none that was answered is lost, and none is carried out twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use kraken_http::client::{WatchKind, WatchQuery};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    edge::Edge,
    torture::Torture,
    wait_until,
    writer::{Writers, registers, written},
};
use tokio_util::sync::CancellationToken;

use crate::KRAKEN;

/// Seeds that are tortured with each time, beside a fresh one.
const TORTURE_SEEDS: [u64; 3] = [1, 2, 3];
/// How long each of them lasts.
const TORTURE_LASTS: Duration = Duration::from_secs(6);
/// Writers at a time.
const WRITERS: usize = 50;
/// Writes that are answered between one kill and the next.
const WRITES_BETWEEN: u64 = 350;
/// How long they may take.
const WRITES_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn no_answered_write_is_lost_or_doubled_while_each_member_is_killed() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 0)).await?;
    let (told, stop) = (Arc::default(), CancellationToken::new());
    let watcher = stop.clone().run_until_cancelled_owned(watch(cluster.edge()?, Arc::clone(&told)));
    let watcher = tokio::spawn(watcher);
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
    let mut pasts = Vec::new();
    for member in cluster.members() {
        pasts.push(cluster.edge_of(&member)?.client().revisions(1_000).await?.items);
    }
    assert!(pasts[0].len() >= 1_000, "{} writes are remembered", pasts[0].len());
    assert!(pasts.iter().all(|past| *past == pasts[0]), "members remember different pasts");
    wait_until("the watch has told of the last write", WRITES_MAX, async || {
        let (told, last) = (told.load(Ordering::Relaxed), history.last_revision());
        ensure!(told >= last, "it has told up to {told} of {last}");
        Ok(())
    })
    .await?;
    stop.cancel();
    watcher.await?.transpose()?;

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

/// Watches all writes over every change of member, and holds what is told to its order: revisions
/// never go back, each register counts up, and no count is left out unless the watch says that it
/// has lagged. Never ends by itself; `told` is how far it is.
async fn watch(edge: Edge, told: Arc<AtomicU64>) -> Result<()> {
    let wanted = WatchQuery { states: Some("cfg".to_owned()), ..WatchQuery::default() };
    let (mut lines, mut counts) = (edge.client().watch(wanted), BTreeMap::new());
    loop {
        let line = match lines.next().await {
            Ok(line) => line,
            // The members that are there hold less than what was missed.
            Err(error) if error.code() == Some("gone") => {
                counts.clear();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let before = told.fetch_max(line.revision, Ordering::Relaxed);
        match line.r#type {
            WatchKind::Lagged => counts.clear(),
            WatchKind::Put => {
                ensure!(line.revision >= before, "{} after {before}", line.revision);
                let Some((name, write)) = line.object.as_deref().and_then(written) else {
                    continue;
                };
                let last = counts.insert(name.clone(), write.value);
                let in_order = last.is_none_or(|last| write.value == last + 1);
                ensure!(in_order, "{name}: {} was told after {last:?}", write.value);
            }
            WatchKind::Connected | WatchKind::Delete | WatchKind::Bookmark => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_under_attack_is_explained_by_one_order() -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    // A failure tells the seed, and how to torture with it for longer.
    for seed in TORTURE_SEEDS.into_iter().chain([now.as_secs()]) {
        let torture = Torture {
            program: KRAKEN.to_owned(),
            members: 3,
            clients: 9,
            keys: 4,
            seed,
            lasts: TORTURE_LASTS,
            hogs: 0,
            only: Vec::new(),
        };
        let outcome = torture.run(|done| println!("{done}")).await?;
        println!("seed {seed}: {outcome:?}");
        let checked = outcome.checked;
        assert!(checked.writes > 30 && checked.reads > 30 && checked.told > 30, "{checked:?}");
        assert!(outcome.appended > 0, "nothing was appended");
    }
    Ok(())
}
