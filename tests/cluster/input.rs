//! What comes in and cannot be taken: nothing is changed by it, and the member lives.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kraken_http::{
    client::ListQuery,
    view::{List, ObjectView},
};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    edge::call,
    job::Job,
    lock::Lock,
    process::{Process, Sweep},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{KRAKEN, manifests::web};

/// More than any body may have, in bytes.
const OVERSIZED: usize = 9 << 20;
/// How long `up` may take until it gives up.
const UP_MAX: Duration = Duration::from_mins(1);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// All Cfg of the fleet, for comparison.
async fn cfg(cluster: &TestCluster) -> Result<List<ObjectView>> {
    let wanted = ListQuery { view: Some("cfg".to_owned()), ..ListQuery::default() };
    Ok(cluster.edge()?.client().get_nodes(&wanted).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_state_file_is_refused_with_line_and_key_and_changes_nothing() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(1, 1)).await?;
    let (cli, file) = (cluster.cli(), cluster.folder().join("state.yaml"));
    cluster.edge()?.apply(&web("n1")).await?;
    let before = cfg(&cluster).await?;
    // Each follows a document that is right, and that must not be carried out for itself.
    let good = web("other");
    let lines = good.lines().count();
    for (bad, line, key) in [
        ("kind: node\nname: n1\ncfgg: {}\n", 3, "cfgg"),
        ("kind: node\nname: n1\ncfg:\n  services:\n    web:\n      state: WALK\n", 6, "state"),
        ("kind: node\nname: n1\ncfg:\n  services:\n    web:\n      comand: x\n", 6, "comand"),
        ("kind: node\nname: \"n[1-\"\n", 2, "name"),
        ("kind: node\nname: n1\ncfg:\n  services: [\n", 4, ""),
    ] {
        std::fs::write(&file, format!("{good}---\n{bad}"))?;
        let said = cli.try_run(&["apply", "-f", &file.display().to_string()]).await?;
        assert!(matches!(said.code, 1 | 2), "{said:?}");
        let place = format!("line {}", lines + 1 + line);
        assert!(said.err.contains(&place), "{bad:?}: no {place:?} in {}", said.err);
        assert!(said.err.contains(key), "{bad:?}: no {key:?} in {}", said.err);
        assert_eq!(cfg(&cluster).await?, before, "{bad:?} changed something");
    }
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn up_with_a_bad_state_file_says_where_and_leaves_nothing() -> Result<()> {
    let (_lock, place) = (Lock::take()?, tempfile::tempdir()?);
    let (_sweep, file) = (Sweep::of(place.path()), place.path().join("state.yaml"));
    let temporary = place.path().join("tmp");
    std::fs::create_dir(&temporary)?;
    std::fs::write(
        &file,
        "kind: node\nname: n1\ncfg:\n  services:\n    web:\n      state: WALK\n",
    )?;
    let up = Job::new("up", KRAKEN, place.path()).env("TMPDIR", &temporary);
    let mut up = up.args(["up", "--http", "127.0.0.1:0", "--leaves", "1", "--state"]).args([&file]);
    up.start()?;
    let status = up.end_within(UP_MAX).await?;
    let told = up.errors();
    assert_eq!(status.code(), Some(1), "{told}");
    for words in ["state.yaml", "line 6", "services.web.state", "WALK", "RUN"] {
        assert!(told.contains(words), "no {words:?} in {told}");
    }
    assert_eq!(Process::within(place.path()), []);
    assert_eq!(std::fs::read_dir(&temporary)?.count(), 0, "it left its folder");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_body_is_refused_and_the_member_lives() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(1, 0)).await?;
    let (edge, process) = (cluster.edge()?, cluster.job("m1")?.process()?);
    edge.apply(&web("n1")).await?;
    let before = cfg(&cluster).await?;
    let body = format!("{}# {}\n", web("n2"), "x".repeat(OVERSIZED));

    let said = edge.ask(call("POST", "/v1/apply")?.body("application/yaml", body.clone())).await?;
    assert_eq!(said.status, 413, "{said:?}");
    assert_eq!(said.body.get("code").and_then(|code| code.as_str()), Some("body_too_large"));
    // Neither is one that does not say how long it is.
    let head = "POST /v1/apply HTTP/1.1\r\nhost: m1\r\ntransfer-encoding: chunked\r\n\r\n";
    let status = send_in_chunks(&cluster.url("m1")?, head, body.as_bytes()).await?;
    assert!(status.starts_with("HTTP/1.1 413"), "{status}");
    // Nor a head.
    let head = format!("GET /v1/nodes HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let status = send_in_chunks(&cluster.url("m1")?, &head, b"").await;
    assert!(!status.is_ok_and(|status| status.contains(" 200 ")), "a head of 1 MiB was taken");

    assert_eq!(cfg(&cluster).await?, before);
    assert!(process.is_alive());
    edge.apply(&web("n3")).await?;
    cluster.pass()
}

/// Sends a request in chunks of 64 KiB, as far as the other side takes it; returns the first line
/// of the answer.
async fn send_in_chunks(url: &str, head: &str, body: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
    let mut sent = stream.write_all(head.as_bytes()).await;
    for chunk in body.chunks(64 << 10) {
        if sent.is_err() {
            break;
        }
        let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        sent = stream.write_all(&framed).await;
    }
    if sent.is_ok() && !body.is_empty() {
        drop(stream.write_all(b"0\r\n\r\n").await);
    }
    let mut answer = [0_u8; 64];
    let read = timeout(ANSWER_MAX, stream.read(&mut answer)).await.context("no answer")??;
    ensure!(read > 0, "closed without an answer");
    let text = String::from_utf8_lossy(answer.get(..read).unwrap_or_default()).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
