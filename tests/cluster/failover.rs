//! The leading member is killed: writes go on through every other one, and nothing is disturbed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    edge::call,
    measured, wait_until,
    writer::{Writers, registers},
};
use serde_json::{Value as Json, json};

use crate::{
    KRAKEN,
    manifests::{CONVERGED_MAX, web},
};

/// What is promised.
const FAILOVER_MAX: Duration = Duration::from_secs(2);
/// The same where the connections to the leader stay open and are silent.
const SILENT_MAX: Duration = Duration::from_secs(3);
/// How long a member may take to say that it has no leader, or has one again.
const NOTICED_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_within_two_seconds_of_the_leaders_death() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 2)).await?;
    cluster.edge()?.apply(&web("n[1-2]")).await?;
    cluster.converged(&["n1", "n2"], CONVERGED_MAX).await?;
    let services = cluster.services().await?;
    assert_eq!(services.len(), 2);
    let writers = Writers::start(4, |_| cluster.edge())?;
    writers.progress(50, CONVERGED_MAX).await?;

    let leader = cluster.leader().await?;
    let others: Vec<String> =
        cluster.members().into_iter().filter(|member| *member != leader).collect();
    let since = Instant::now();
    cluster.kill9(&leader)?;
    for other in &others {
        let edge = cluster.edge_of(other)?;
        let labelled = json!({ "name": format!("after-{other}") });
        wait_until(&format!("{other} takes a write"), FAILOVER_MAX, async || {
            let answer = edge.ask(call("POST", "/v1/nodes")?.json(&labelled)).await?;
            // A try whose answer was lost may have been carried out.
            ensure!(answer.is_success() || answer.status == 409, "{answer:?}");
            Ok(())
        })
        .await?;
        ensure!(since.elapsed() < FAILOVER_MAX, "{other} took {:?}", since.elapsed());
        measured(
            format!("first write through {other} after kill -9 of the leader"),
            since.elapsed(),
        );
    }
    assert_ne!(cluster.leader().await?, leader);
    writers.progress(50, CONVERGED_MAX).await?;

    cluster.start_node(&leader)?;
    writers.progress(50, CONVERGED_MAX).await?;
    let history = writers.stop().await?;
    assert!(history.len() >= 150);
    history.check(&registers(&cluster.edge()?, "linearizable").await?)?;
    let back = cluster.edge_of(&leader)?;
    wait_until("the killed member has caught up", CONVERGED_MAX, async || {
        history.check(&registers(&back, "stale").await?)
    })
    .await?;
    history.check(&registers(&back, "linearizable").await?)?;

    cluster.ready().await?;
    cluster.converged(&["n1", "n2"], CONVERGED_MAX).await?;
    assert_eq!(cluster.services().await?, services, "no managed process was started again");
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_slept_reads_nothing_stale_and_follows() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 1)).await?;
    cluster.edge()?.apply(&web("n1")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let services = cluster.services().await?;
    let leader = cluster.leader().await?;
    let other = cluster.members().into_iter().find(|member| *member != leader);
    let other = cluster.edge_of(&other.context("there are three")?)?;
    let before = other.apply(&web("n[1-2]")).await?;

    cluster.pause(&leader)?;
    let since = Instant::now();
    let written = other.apply(&web("n[1-3]")).await?;
    measured("first write after SIGSTOP of the leader", since.elapsed());
    assert!(since.elapsed() < SILENT_MAX, "{:?}", since.elapsed());
    assert!(written > before);
    cluster.resume(&leader)?;
    // It still believes that it leads when it is asked; it must not answer by itself.
    let slept = cluster.edge_of(&leader)?;
    assert!(slept.nodes().await?.contains_key("n3"), "a linearizable read went back in time");
    wait_until("it follows", CONVERGED_MAX, async || {
        let quorum = slept.cluster().await?;
        ensure!(quorum.role == "FOLLOWER" && quorum.revision >= written, "{quorum:?}");
        Ok(())
    })
    .await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    assert_eq!(cluster.services().await?, services);
    cluster.pass()
}

/// How long ago a member had word of the quorum, in milliseconds.
async fn assured_ago(cluster: &TestCluster, member: &str) -> Result<u64> {
    let answer = cluster.edge_of(member)?.ask(call("GET", "/v1/debug")?).await?;
    let ago = answer.body.pointer("/state/assuredAgoMs").and_then(Json::as_u64);
    ago.with_context(|| format!("none was heard: {answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn word_of_the_quorum_reaches_every_member_and_none_that_is_alone() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 0)).await?;
    let leader = cluster.leader().await?;
    cluster.kill9(&leader)?;
    cluster.start_node(&leader)?;
    cluster.ready().await?;
    // Nothing is written: what another leader has begun with is no Cfg that could be waited for.
    for member in cluster.members() {
        wait_until(&format!("{member} has word"), CONVERGED_MAX, async || {
            let ago = assured_ago(&cluster, &member).await?;
            ensure!(ago < 3_000, "{ago} ms ago");
            Ok(())
        })
        .await?;
    }
    let alone = cluster.leader().await?;
    let others = cluster.members().into_iter().filter(|member| *member != alone);
    for other in others.collect::<Vec<_>>() {
        cluster.kill9(&other)?;
    }
    wait_until("the last one has no word any more", CONVERGED_MAX, async || {
        let ago = assured_ago(&cluster, &alone).await?;
        ensure!(ago > 5_000, "{ago} ms ago");
        Ok(())
    })
    .await?;
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_majority_is_gone_says_that_it_is_not_ready() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 0)).await?;
    let readiness = async |cluster: &TestCluster| {
        let answer = cluster.edge_of("m1")?.ask_one(0, &call("GET", "/readyz")?).await?;
        anyhow::Ok((answer.status, answer.body["detail"].as_str().unwrap_or_default().to_owned()))
    };
    assert_eq!(readiness(&cluster).await?.0, 200);
    // Whether it leads or follows: what it was told last is no sign that anybody leads.
    for leads in [true, false] {
        let leader = cluster.leader().await?;
        if (leader == "m1") != leads {
            let to = if leads { "m1" } else { "m2" };
            let to = call("POST", "/v1/cluster/leader")?.json(&json!({ "to": to }));
            cluster.edge()?.ask(to).await?;
        }
        wait_until("the lead is where it is to be", NOTICED_MAX, async || {
            let leader = cluster.leader().await?;
            ensure!((leader == "m1") == leads, "{leader}");
            Ok(())
        })
        .await?;
        cluster.kill9("m2")?;
        cluster.kill9("m3")?;
        wait_until("it is not ready", NOTICED_MAX, async || {
            let (status, detail) = readiness(&cluster).await?;
            ensure!(status == 503 && detail.starts_with("no leader"), "{status}: {detail}");
            Ok(())
        })
        .await?;
        let refused = cluster.edge_of("m1")?.ask_one(0, &call("GET", "/v1/nodes")?).await?;
        let detail = refused.body["detail"].as_str().unwrap_or_default();
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(!detail.contains("voters:"), "{detail}");
        cluster.start_node("m2")?;
        cluster.start_node("m3")?;
        cluster.ready().await?;
        wait_until("it is ready", NOTICED_MAX, async || {
            ensure!(readiness(&cluster).await?.0 == 200, "it is not");
            Ok(())
        })
        .await?;
    }
    cluster.pass()
}
