//! A client that watches and stops reading: it costs the others nothing, the member little, and is
//! cut off.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    edge::call,
    measured, wait_until,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::KRAKEN;

/// The receive buffer of the client that stops reading, in bytes.
const BUFFER: u32 = 4 << 10;
/// Bytes of one value that is written.
const VALUE: usize = 32 << 10;
/// Writes that each watcher is told of.
const WRITES: u64 = 600;
/// How much a member may grow by for a client that does not read, in bytes. All that was written is
/// ten times as much.
const GROWTH_MAX: u64 = 64 << 20;
/// How long the member may hold on to such a client.
const CUT_OFF_MAX: Duration = Duration::from_secs(40);

/// Opens a watch and sends the request for it.
async fn open(url: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(BUFFER)?;
    let mut stream = socket.connect(url.trim_start_matches("http://").parse()?).await?;
    let request = "GET /v1/watch?states=cfg HTTP/1.1\r\nhost: m1\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Streams that the member has open.
async fn streams(cluster: &TestCluster) -> Result<u64> {
    let answer = cluster.edge_of("m1")?.client().raw_get("/metrics").await?;
    let text = String::from_utf8(answer.body.into())?;
    let line = text.lines().find_map(|line| line.strip_prefix("kraken_http_streams "));
    let count = line.context("no such metric")?.trim();
    Ok(count.trim_end_matches(".0").parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_stops_reading_slows_nobody_and_is_cut_off() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 0)).await?;
    let (url, edge) = (cluster.url("m1")?, cluster.edge_of("m1")?);
    let process = cluster.job("m1")?.process()?;
    let created = edge.ask(call("POST", "/v1/nodes")?.json(&json!({ "name": "w" })));
    assert_eq!(created.await?.status, 201);
    let mut stuck = open(&url).await?;
    wait_until("the stream is open", Duration::from_secs(5), async || {
        ensure!(streams(&cluster).await? == 1, "it is not");
        Ok(())
    })
    .await?;
    let reader = tokio::spawn(count_lines(open(&url).await?));
    let memory = process.memory()?;

    let since = Instant::now();
    let mut slowest = Duration::ZERO;
    for write in 0..WRITES {
        let begun = Instant::now();
        let value = format!("{write}-{}", "x".repeat(VALUE));
        edge.patch("w", &json!({ "services": { "w": { "env": { "BIG": value } } } })).await?;
        slowest = slowest.max(begun.elapsed());
    }
    let told = reader.await??;
    measured(format!("{WRITES} writes of {VALUE} bytes beside a stuck watcher"), since.elapsed());
    measured("the slowest of them", slowest);
    assert!(told >= WRITES, "the other watcher was told of {told}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let growth = process.memory()?.saturating_sub(memory);
    assert!(growth < GROWTH_MAX, "the member grew by {growth} bytes");

    wait_until("the member has let go of the stuck one", CUT_OFF_MAX, async || {
        ensure!(streams(&cluster).await? == 0, "it has not");
        Ok(())
    })
    .await?;
    measured("stuck watcher cut off after its last line", since.elapsed());
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stuck.read_to_end(&mut rest)).await;
    ended.context("the connection is still open")?.ok();
    let lines = rest.split(|byte| *byte == b'\n').count();
    assert!(u64::try_from(lines)? < WRITES, "it was told everything: {lines}");
    cluster.pass()
}

/// Reads a watch until it has told of all writes; returns of how many.
async fn count_lines(mut stream: TcpStream) -> Result<u64> {
    let (mut told, mut buffer, mut text) = (0, vec![0; 256 << 10], Vec::new());
    while told < WRITES {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "the watch has ended after {told}");
        text.extend_from_slice(buffer.get(..read).unwrap_or_default());
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            ensure!(!line.contains("LAGGED"), "it lagged after {told}");
            told += u64::from(line.contains("\"PUT\"") && line.contains("BIG"));
        }
    }
    Ok(told)
}
