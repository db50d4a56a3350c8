//! Managed processes that die: seen, started again and put on record; also while nobody leads.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

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

type Services = BTreeMap<(String, String), Process>;

fn web_of(node: &str) -> (String, String) {
    (node.to_owned(), "web".to_owned())
}

fn of(services: &Services, node: &str) -> Result<Process> {
    services.get(&web_of(node)).copied().with_context(|| format!("{node} has no web: {services:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_process_is_seen_started_again_and_on_record() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 2)).await?;
    let edge = cluster.edge()?;
    edge.apply(&web("n[1-2]")).await?;
    cluster.converged(&["n1", "n2"], CONVERGED_MAX).await?;
    let before = cluster.services().await?;
    let events_before = edge.events("n2").await?.len();

    let (killed, since) = (of(&before, "n2")?, Instant::now());
    killed.kill9()?;
    let again = wait_until("n2 tells of another process", CONVERGED_MAX, async || {
        let now = of(&cluster.services().await?, "n2")?;
        ensure!(now != killed, "it tells of the one that was killed");
        Ok(now)
    })
    .await?;
    measured("killed managed process seen, started again and told", since.elapsed());
    assert_eq!(again.command(), "sleep 100000");
    let nodes = cluster.converged(&["n1", "n2"], CONVERGED_MAX).await?;
    let node = nodes.get("n2").context("n2")?;
    assert_eq!(text(node, "/services/web/restarts"), "1");
    assert!(text(node, "/services/web/exit").contains("SIGKILL"), "{:?}", node.dsc);
    assert_eq!(of(&cluster.services().await?, "n1")?, of(&before, "n1")?, "n1 was left alone");

    let kinds = wait_until("the record tells the whole of it", CONVERGED_MAX, async || {
        let events = edge.events("n2").await?;
        let told: Vec<(&str, &str)> =
            events.iter().map(|event| (event.kind.as_str(), event.text.as_str())).collect();
        ensure!(events.len() > events_before, "nothing was added");
        let last = told.iter().rposition(|(_, text)| text.contains("SIGKILL"));
        let last = last.with_context(|| format!("nothing of the kill: {told:#?}"))?;
        let after: Vec<&str> = told.iter().skip(last).map(|(kind, _)| *kind).collect();
        ensure!(after.contains(&"converged"), "after the kill: {after:?}");
        Ok(after.len())
    });
    assert!(kinds.await? >= 2);
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_heal_while_all_members_are_away() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 2)).await?;
    cluster.edge()?.apply(&web("n[1-2]")).await?;
    cluster.converged(&["n1", "n2"], CONVERGED_MAX).await?;
    let before = cluster.services().await?;
    for member in cluster.members() {
        cluster.kill9(&member)?;
    }

    let (killed, since) = (of(&before, "n1")?, Instant::now());
    killed.kill9()?;
    let folder = cluster.folder().join("n1");
    let again = wait_until("n1 runs another process by itself", CONVERGED_MAX, async || {
        let own = Process::within(&folder);
        let web = own.into_iter().find(|process| process.command() == "sleep 100000");
        web.filter(|web| *web != killed).context("there is none")
    })
    .await?;
    measured("killed managed process started again without any member", since.elapsed());

    for member in cluster.members() {
        cluster.start_node(&member)?;
    }
    cluster.ready().await?;
    let nodes = cluster.converged(&["n1", "n2"], CONVERGED_MAX).await?;
    assert_eq!(text(nodes.get("n1").context("n1")?, "/services/web/restarts"), "1");
    let told = wait_until("the members tell what runs", Duration::from_secs(10), async || {
        let told = cluster.services().await?;
        ensure!(of(&told, "n1")? == again, "{told:?}, {again:?} runs");
        Ok(told)
    })
    .await?;
    assert_eq!(of(&told, "n2")?, of(&before, "n2")?, "n2 was left alone");
    members_agree(&cluster).await?;
    cluster.pass()
}

/// Waits until all members tell the same of the services.
async fn members_agree(cluster: &TestCluster) -> Result<()> {
    wait_until("all members tell the same", Duration::from_secs(10), async || {
        let mut told = Vec::new();
        for member in cluster.members() {
            let nodes = cluster.edge_of(&member)?.nodes().await?;
            let of_leaves =
                ["n1", "n2"].map(|leaf| nodes.get(leaf).map(|node| text(node, "/services/web")));
            told.push(format!("{of_leaves:?}"));
        }
        ensure!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:#?}");
        Ok(())
    })
    .await
}
