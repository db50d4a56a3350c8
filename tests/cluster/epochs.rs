//! Another epoch: a quorum begins with a backup, or with what its last member holds.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    edge::call,
    wait_until,
    writer::{Writers, registers},
};

use crate::{
    KRAKEN,
    manifests::{CONVERGED_MAX, web},
};

/// How long members may take to come back.
const BACK_MAX: Duration = Duration::from_secs(30);

/// Has all members but the first join it anew.
fn rejoin(cluster: &mut TestCluster, first: &str) -> Result<()> {
    for member in cluster.members().into_iter().filter(|member| member != first) {
        cluster.wipe(&member)?;
        cluster.comes_by(&member, Some(first))?;
        cluster.start_node(&member)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn quorum_restored_from_a_backup_is_followed_by_leaves_and_clients_list_again() -> Result<()>
{
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 1)).await?;
    cluster.edge()?.apply(&web("n1")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let services = cluster.services().await?;
    let file = cluster.folder().join("all.backup");
    let file = file.to_str().context("a path")?;
    let said = cluster.cli().run(&["cluster", "snapshot", "save", file]).await?;
    assert!(said.contains("epoch 1,"), "{said}");
    assert_eq!(cluster.cli().run(&["cluster", "snapshot", "verify", file]).await?, said);
    let again = cluster.cli().try_run(&["cluster", "snapshot", "save", file]).await?;
    assert!(again.code == 1 && again.err.contains("is there already"), "{again:?}");
    let lost = cluster.edge()?.apply(&web("n2")).await?;
    let tag = cluster.edge()?.client().raw_get("/v1/nodes/n1").await?.tag.context("a tag")?;

    for member in cluster.members() {
        cluster.kill9(&member)?;
        cluster.wipe(&member)?;
    }
    cluster.comes_by("m1", None)?;
    cluster.start_node("m1")?;
    let cli = cluster.cli_of("m1")?;
    let torn = format!("{file}.torn");
    let whole = fs::read(file)?;
    fs::write(&torn, &whole[..whole.len() - 9])?;
    let refused = cli.try_run(&["cluster", "snapshot", "restore", &torn]).await?;
    assert!(refused.code == 1 && refused.err.contains("ends at byte"), "{refused:?}");
    wait_until("the backup is restored", BACK_MAX, async || {
        cli.run(&["cluster", "snapshot", "restore", file]).await
    })
    .await?;
    let again = cli.try_run(&["cluster", "snapshot", "restore", file]).await?;
    assert!(again.code != 0 && again.err.contains("already"), "{again:?}");
    rejoin(&mut cluster, "m1")?;
    cluster.ready().await?;

    let nodes = cluster.converged(&["n1"], CONVERGED_MAX).await?;
    assert!(!nodes.contains_key("n2"), "it was written after the backup");
    assert_eq!(cluster.services().await?, services, "no managed process was started again");
    let edge = cluster.edge()?;
    let quorum = edge.cluster().await?;
    ensure!(quorum.epoch > 1 && quorum.revision > lost + 1_000_000, "{quorum:?}");
    let patch = call("PATCH", "/v1/nodes/n1")?.json(&serde_json::json!({ "services": {} }));
    let refused = edge.ask(patch.clone().header("if-match", tag)).await?;
    assert_eq!(refused.status, 412, "{refused:?}");
    let from = quorum.revision;
    for (epoch, status) in [(1, 410), (quorum.epoch, 200)] {
        let path = format!("/v1/watch?from={from}&epoch={epoch}&states=cfg");
        let mut lines = first_bytes(&cluster, &path).await?;
        lines.truncate(12);
        assert_eq!(lines, format!("HTTP/1.1 {status}"), "epoch {epoch}");
    }
    cluster.pass()
}

/// The first bytes of an answer that does not end.
async fn first_bytes(cluster: &TestCluster, path: &str) -> Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let url = cluster.url("m1")?;
    let host = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut first = [0; 12];
    stream.read_exact(&mut first).await?;
    Ok(String::from_utf8_lossy(&first).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn last_member_goes_on_alone_and_others_come_anew() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, 1)).await?;
    cluster.edge()?.apply(&web("n1")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let services = cluster.services().await?;
    let writers = Writers::start(2, |_| cluster.edge())?;
    writers.progress(100, CONVERGED_MAX).await?;
    let history = writers.stop().await?;
    let last = cluster.edge()?.cluster().await?.revision;
    let survivor = cluster.edge_of("m2")?;
    wait_until("m2 holds all", CONVERGED_MAX, async || {
        ensure!(survivor.cluster().await?.revision >= last, "not yet");
        Ok(())
    })
    .await?;

    for member in ["m1", "m3"] {
        cluster.kill9(member)?;
        cluster.wipe(member)?;
    }
    let file = cluster.folder().join("stale.backup");
    let file = file.to_str().context("a path")?;
    let cli = cluster.cli_of("m2")?;
    let said = cli.run(&["cluster", "snapshot", "save", "--stale", file]).await?;
    assert!(said.contains("objects at revision"), "{said}");
    let data = cluster.data("m2")?;
    let data = data.to_str().context("a path")?;
    let recover = ["cluster", "recover", "--data", data, "--others-are-lost"];
    let in_use = cli.try_run(&recover).await?;
    assert!(in_use.code == 1 && in_use.err.contains("in use"), "{in_use:?}");
    cluster.terminate("m2", BACK_MAX).await?;
    let guarded = cli.try_run(&recover[..4]).await?;
    assert!(guarded.code == 4 && guarded.err.contains("--others-are-lost"), "{guarded:?}");
    let said = cli.run(&recover).await?;
    assert!(said.contains("goes on in epoch"), "{said}");
    cluster.start_node("m2")?;
    rejoin(&mut cluster, "m2")?;
    cluster.ready().await?;

    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    assert_eq!(cluster.services().await?, services, "no managed process was started again");
    history.check(&registers(&cluster.edge()?, "linearizable").await?)?;
    let written = cluster.edge()?.apply(&web("n[1-2]")).await?;
    assert!(written > last + 1_000_000);
    cluster.pass()
}
