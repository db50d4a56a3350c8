//! What is measured, in which order, and under which names.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, header::ACCEPT_ENCODING};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use kraken::Figure;
use kraken_testkit::cluster::{Shape, TestCluster};
use tempfile::TempDir;

/// Members that serve.
const MEMBERS: usize = 3;
/// Objects of one write, which is as many as one may have.
const BATCH: usize = 10_000;
/// A path that nobody decides about: what is measured is the edge.
const EXTENSION: &str = "\
kind: extension
name: measured
paths:
  - { path: /measured/turn, type: count, seenBy: nobody }
  - { path: /measured/text, type: text, seenBy: nobody }
";

/// Measures what the edge gives out and takes in at once
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Only these rows, such as list or edge.stream
    pub(crate) rows: Vec<String>,
    /// One row a line as an object
    #[arg(long)]
    pub(crate) json: bool,
    /// How often each row is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) runs: u16,
    /// A small form: a tenth of the objects, once
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where the data lies; below the build by default
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub(crate) folder: PathBuf,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// Whether a row is asked for.
    fn wants(&self, row: &str) -> bool {
        let asked = |asked: &String| {
            let short = asked.strip_prefix("edge.").unwrap_or(asked);
            short.split('.').next() == Some(row)
        };
        self.rows.is_empty() || self.rows.iter().any(asked)
    }

    fn runs(&self) -> u16 {
        if self.quick { 1 } else { self.runs }
    }

    /// As many as the whole measurement has, or a tenth of that.
    fn count(&self, whole: usize) -> usize {
        if self.quick { whole / 10 } else { whole }
    }

    /// A figure in seconds of so many objects; the target is that of the whole measurement.
    fn figure(&self, row: &str, (whole, target): (usize, f64), runs: Vec<f64>) -> Figure {
        let name = format!("edge.{row}.{}k", self.count(whole) / 1_000);
        Figure::of(name, "s", Some(target).filter(|_| !self.quick), runs)
    }
}

/// Measures what is asked for. All that was started has ended when this returns or is dropped.
pub(crate) async fn measure(
    args: &Args,
    program: &str,
    take: &mut dyn FnMut(Figure),
) -> Result<()> {
    let named = || format!("cannot make {}", args.folder.display());
    fs::create_dir_all(&args.folder).with_context(named)?;
    let edge = Edge::start(program, args).await?;
    edge.send("POST", "/v1/apply", EXTENSION).await?;
    let (listed, streamed, patched) = (20_000, 100_000, 10_000);
    let half = args.count(patched);
    if args.wants("list") || args.wants("patch") {
        edge.create("a", half).await?;
        edge.create("b", args.count(listed) - half).await?;
    }
    if args.wants("list") {
        let (mut plain, mut packed) = (Vec::new(), Vec::new());
        for _ in 0..args.runs() {
            plain.push(edge.list(args.count(listed), None).await?);
            packed.push(edge.list(args.count(listed), Some("gzip")).await?);
        }
        take(args.figure("list", (listed, 0.2), plain));
        take(Figure::of(
            format!("edge.list.{}k.gzip", args.count(listed) / 1_000),
            "s",
            None,
            packed,
        ));
    }
    if args.wants("patch") {
        let mut runs = Vec::new();
        for turn in 1..=args.runs() {
            runs.push(edge.patch(turn, half).await?);
        }
        take(args.figure("patch", (patched, 0.5), runs));
    }
    if args.wants("stream") {
        let from = edge.revision().await?;
        edge.create("c", args.count(streamed)).await?;
        let mut runs = Vec::new();
        for _ in 0..args.runs() {
            runs.push(edge.stream(from, args.count(streamed)).await?);
        }
        take(args.figure("stream", (streamed, 2.0), runs));
    }
    edge.cluster.pass_within(usize::MAX)
}

/// Three members, of which the leader is asked.
struct Edge {
    url: String,
    pool: Pool<HttpConnector, Full<Bytes>>,
    /// Before the folder, which goes only after its users.
    cluster: TestCluster,
    _folder: TempDir,
}

impl Edge {
    async fn start(program: &str, args: &Args) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kraken-bench-").tempdir_in(&args.folder)?;
        let at = |number| {
            let name = format!("m{number}");
            (name.clone(), folder.path().join(name))
        };
        let data: BTreeMap<String, PathBuf> = (1..=MEMBERS).map(at).collect();
        let cluster = TestCluster::start(program, &Shape { data, ..Shape::of(MEMBERS, 0) }).await?;
        let url = cluster.url(&cluster.leader().await?)?;
        let pool = Pool::builder(TokioExecutor::new()).build_http();
        Ok(Self { url, pool, cluster, _folder: folder })
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let what = request.uri().to_string();
        let response = self.pool.request(request).await.with_context(|| what.clone())?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::bail!("{what}: {status}: {}", String::from_utf8_lossy(&body))
    }

    fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(format!("{}{path}", self.url))
    }

    /// Sends a request and waits for the whole of its answer.
    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        let request = self.request(method, path).body(Full::new(body.into()))?;
        Ok(self.ask(request).await?.into_body().collect().await?.to_bytes())
    }

    async fn revision(&self) -> Result<u64> {
        let body: serde_json::Value =
            serde_json::from_slice(&self.send("GET", "/v1/cluster", "").await?)?;
        body["revision"].as_u64().context("a member tells its revision")
    }

    /// Creates nodes of a label, with a text of the size that values have elsewhere.
    async fn create(&self, label: &str, count: usize) -> Result<()> {
        let text = "x".repeat(200);
        for first in (1..=count).step_by(BATCH) {
            let last = (first + BATCH - 1).min(count);
            let manifest = serde_json::json!({
                "kind": "node",
                "name": format!("{label}[{first}-{last}]"),
                "labels": { "part": label },
                "cfg": { "measured": { "turn": 0, "text": text } },
            });
            self.send("POST", "/v1/apply", manifest.to_string()).await?;
        }
        Ok(())
    }

    /// All nodes of the two parts, whose names come first, in one call, to the last byte.
    async fn list(&self, count: usize, coding: Option<&str>) -> Result<f64> {
        let mut request = self.request("GET", &format!("/v1/nodes?limit={count}"));
        if let Some(coding) = coding {
            request = request.header(ACCEPT_ENCODING, coding);
        }
        let request = request.body(Full::default())?;
        let since = Instant::now();
        let body = self.ask(request).await?.into_body().collect().await?.to_bytes();
        let took = since.elapsed().as_secs_f64();
        if coding.is_none() {
            let list: serde_json::Value = serde_json::from_slice(&body)?;
            let found = list["items"].as_array().map_or(0, Vec::len);
            ensure!(found == count, "{found} nodes were listed, not {count}");
        }
        Ok(took)
    }

    /// One patch of all nodes with a label, until it is committed.
    async fn patch(&self, turn: u16, count: usize) -> Result<f64> {
        let patch = serde_json::json!({ "measured": { "turn": turn } }).to_string();
        let since = Instant::now();
        let answer = self.send("PATCH", "/v1/nodes?selector=part%3Da", patch).await?;
        let took = since.elapsed().as_secs_f64();
        let written: serde_json::Value = serde_json::from_slice(&answer)?;
        ensure!(written["changed"] == count, "{written}, not {count} nodes");
        Ok(took)
    }

    /// All changes after a revision, until the last of so many has come.
    async fn stream(&self, from: u64, count: usize) -> Result<f64> {
        let path = format!("/v1/watch?states=cfg&from={from}");
        let request = self.request("GET", &path).body(Full::default())?;
        let since = Instant::now();
        let mut body = self.ask(request).await?.into_body();
        // The first line tells that the stream has begun.
        let (mut lines, wanted) = (0, count + 1);
        while lines < wanted {
            let frame = body.frame().await.context("the stream goes on")??;
            let piece = frame.data_ref().map_or(&[][..], |piece| &piece[..]);
            lines += piece.split(|byte| *byte == b'\n').count() - 1;
        }
        Ok(since.elapsed().as_secs_f64())
    }
}
