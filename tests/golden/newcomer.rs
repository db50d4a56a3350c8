//! The first mistakes of a newcomer: each is answered with what happened, where, and what to do
//! next.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cli::Cli,
    cluster::{Shape, TestCluster},
    wait_until,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use crate::{
    KRAKEN,
    steady::Steady,
    transcript::{Book, cli},
};

const PAGE: &str = "first_mistakes";
/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_mins(1);
/// Most bytes of a request that are read.
const REQUEST_BYTES_MAX: usize = 4_096;
/// What is asked for at first, and lamps that nothing switches.
const STATE: &str = "kind: module
module: lamp
doc: Lamps that only people switch.
extensions:
- name: lamp
  paths:
  - path: /lamp
    type: { enum: [OFF, ON] }
discovers: [/lamp]
---
kind: node
name: n[1-3]
cfg: { services: { web: { state: RUN, command: sleep, args: [\"100000\"] } } }
";

/// Somebody else's server: it answers each connection so, or never.
async fn stranger(answer: Option<&'static str>) -> Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serve = async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if let Some(answer) = answer {
                let mut request = [0; REQUEST_BYTES_MAX];
                if stream.read(&mut request).await.is_ok() {
                    drop(stream.write_all(answer.as_bytes()).await);
                }
            }
            open.push(stream);
        }
    };
    Ok((url, tokio::spawn(serve)))
}

#[tokio::test]
async fn what_answers_is_no_member() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut book = Book::new(Steady::new()?);
    let page = "HTTP/1.1 404 Not Found\r\ncontent-length: 35\r\nconnection: close\r\n\r\n\
                <html>\n<title>404</title>\n</html>\n  ";
    let site = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<html>hi</html>";
    for (answer, code) in
        [(Some(page), 1), (Some(site), 1), (Some("SSH-2.0-OpenSSH_9.2\r\n"), 1), (None, 3)]
    {
        let (url, serving) = stranger(answer).await?;
        let cli = cli(folder.path(), &url)?;
        let line = "get nodes --request-timeout 300ms";
        book.ends(&cli, "not_a_member", line, code).await?;
        serving.abort();
    }
    book.close()
}

/// A fleet, and who makes mistakes in it.
struct Class {
    cluster: TestCluster,
    cli: Cli,
    book: Book,
}

impl Class {
    async fn begin() -> Result<Self> {
        let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 3)).await?;
        let folder = cluster.folder().join("desk");
        fs::create_dir(&folder)?;
        let steady = Steady::new()?.also(cluster.folder().display().to_string(), "<folder>");
        let cli = cli(&folder, &cluster.url("m1")?)?;
        cluster.edge()?.apply(STATE).await?;
        cluster.converged(&["n1", "n2", "n3"], BOUND).await?;
        Ok(Self { cluster, cli, book: Book::new(steady) })
    }

    async fn ends(&mut self, line: &str, code: i32) -> Result<()> {
        self.book.ends(&self.cli, PAGE, line, code).await.map(drop)
    }

    async fn phase(&self, name: &str, phase: &str) -> Result<()> {
        let edge = self.cluster.edge_of("m1")?;
        wait_until(&format!("{name} is {phase}"), BOUND, async || {
            let node = edge.node(name).await?;
            let status = node.status.as_ref().context("nobody decides")?;
            let is_there = status.phase == phase && status.revision >= node.revision;
            ensure!(is_there, "it is at {}: {status:?}", node.revision);
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_mistakes() -> Result<()> {
    let mut class = Class::begin().await?;
    // A path, a value, a node that are not there.
    class.ends("set n1 servces/web/state=STOP", 1).await?;
    class.ends("set n1 services/web/state=STOPP", 1).await?;
    class.ends("set n9 services/web/state=STOP", 1).await?;
    // What is frozen does not do what it is asked for.
    class.ends("freeze n1", 0).await?;
    class.ends("set n1 services/web/state=STOP", 0).await?;
    class.phase("n1", "Frozen").await?;
    class.ends("wait n1 --timeout 1s", 3).await?;
    class.ends("why n1", 0).await?;
    class.ends("thaw @rack=r1", 4).await?;
    // What failed for good is left alone until a person has mended it.
    class.ends("set n2 services/web/command=/no/such/program", 0).await?;
    class.phase("n2", "Quarantined").await?;
    class.ends("wait n2 --timeout 1s", 3).await?;
    class.ends("why n2", 0).await?;
    // What nothing leads to.
    class.ends("set n3 lamp=ON --plan", 0).await?;
    class.ends("set n3 lamp=ON", 0).await?;
    class.phase("n3", "Stuck").await?;
    class.ends("wait n3 --timeout 1s", 3).await?;
    class.ends("why n3", 0).await?;
    // A write after somebody else's.
    class.ends("set n3 lamp- --expect 1", 4).await?;
    // Without a majority nothing is written, and what is held can still be read.
    class.cli.run(&["cluster", "leader", "m3"]).await?;
    for member in ["m2", "m3"] {
        class.cluster.kill9(member)?;
    }
    class.ends("set n3 lamp=OFF", 1).await?;
    class.ends("cluster status", 0).await?;
    for member in ["m2", "m3"] {
        class.cluster.start_node(member)?;
    }
    class.cluster.ready().await?;
    class.book.close()?;
    class.cluster.pass()
}
