//! The first run: `kraken up`, from the first process until nothing of it is left.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kraken_http::view::ObjectView;
use kraken_testkit::{
    cluster::{services, text},
    edge::Edge,
    job::Job,
    lock::Lock,
    measured,
    process::{Process, Sweep},
    wait_until,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::KRAKEN;

const UP_MAX: Duration = Duration::from_secs(90);
const END_MAX: Duration = Duration::from_secs(45);

/// A row of the table that `up` prints.
#[derive(Debug)]
struct Row {
    role: String,
    process: Process,
    address: String,
}

/// `kraken up` in a place of its own.
struct Up {
    job: Job,
    rows: BTreeMap<String, Row>,
    /// How long it took from its start to its table.
    took: Duration,
    _sweep: Sweep,
    place: TempDir,
    _lock: Lock,
}

impl Up {
    /// Starts it, and returns when it has printed its table.
    async fn start(args: &[&str]) -> Result<Self> {
        let lock = Lock::take()?;
        let place = tempfile::Builder::new().prefix("kraken-up-").tempdir()?;
        let temporary = place.path().join("tmp");
        fs::create_dir(&temporary)?;
        let job = Job::new("up", KRAKEN, place.path()).args(["up", "--http", "127.0.0.1:0"]);
        let job = job.args(args).env("TMPDIR", &temporary);
        let sweep = Sweep::of(place.path());
        let mut up = Self {
            job,
            rows: BTreeMap::new(),
            took: Duration::ZERO,
            _sweep: sweep,
            place,
            _lock: lock,
        };
        up.again().await?;
        Ok(up)
    }

    /// Starts it (again), and returns when it has printed its table.
    async fn again(&mut self) -> Result<()> {
        let (before, since) = (self.job.output().len(), Instant::now());
        let process = self.job.start()?;
        self.rows = wait_until("everything has converged", UP_MAX, async || {
            ensure!(process.is_alive(), "up has ended");
            let table = self.job.output().split_off(before);
            ensure!(table.contains("NODE"), "there is no table yet");
            table.lines().skip(1).map(row).collect()
        })
        .await
        .with_context(|| self.job.tail())?;
        self.took = since.elapsed();
        Ok(())
    }

    fn edge(&self) -> Result<Edge> {
        let rows = self.rows.values();
        let members = rows.filter(|row| row.role == "member").map(|row| row.address.clone());
        Edge::new(&members.collect::<Vec<_>>())
    }

    /// Waits until the member that is asked has seen all leaves converge; returns all nodes. It may
    /// be a moment behind the one that `up` asked.
    async fn settled(&self, leaves: usize) -> Result<BTreeMap<String, ObjectView>> {
        let edge = self.edge()?;
        wait_until("a member shows that all leaves have converged", END_MAX, async || {
            let nodes = edge.nodes().await?;
            for leaf in 1..=leaves {
                let node = nodes.get(&format!("n{leaf}")).context("a leaf is no node")?;
                let phase = node.status.as_ref().map(|status| status.phase.as_str());
                let seen = (phase, text(node, "/link"));
                ensure!(seen == (Some("Converged"), "UP".to_owned()), "n{leaf}: {seen:?}");
            }
            Ok(nodes)
        })
        .await
    }

    /// What `up` would leave if it left anything.
    fn left(&self) -> Result<()> {
        let left = Process::within(self.place.path());
        let left: Vec<String> = left.iter().map(Process::command).collect();
        ensure!(left.is_empty(), "left: {left:#?}");
        let folders = entries(&self.place.path().join("tmp"))?;
        ensure!(folders.is_empty(), "left: {folders:?}");
        Ok(())
    }
}

/// Role, node, pid, address and folder.
fn row(line: &str) -> Result<(String, Row)> {
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut next = || words.next().with_context(|| format!("a short row: {line:?}"));
    let (role, node, pid, address) = (next()?, next()?, next()?, next()?);
    let process = Process::of(pid.parse()?).with_context(|| format!("{node} does not run"))?;
    Ok((node, Row { role, process, address }))
}

fn entries(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path().display().to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_run_converges_and_leaves_nothing_behind() -> Result<()> {
    let mut up = Up::start(&[]).await?;
    measured("first run, 3 members and 8 leaves, until converged", up.took);

    let roles = |role: &str| up.rows.values().filter(|row| row.role == role).count();
    assert_eq!((roles("member"), roles("leaf")), (3, 8), "{:#?}", up.rows);
    for (node, row) in &up.rows {
        let verb = if row.role == "member" { "server" } else { "agent" };
        assert!(row.process.command().contains(verb), "{node}: {}", row.process.command());
    }
    let nodes = up.settled(8).await?;
    let managed = services(&nodes)?;
    let of_leaves: std::collections::BTreeSet<&str> =
        managed.keys().map(|(node, _)| node.as_str()).collect();
    assert_eq!(of_leaves.len(), 8, "each leaf keeps something: {managed:?}");
    for ((node, service), process) in &managed {
        assert_eq!(process.variable("KRAKEN_NODE").as_ref(), Some(node), "{service}");
    }

    let since = Instant::now();
    up.job.signal(Signal::SIGINT)?;
    let status = up.job.end_within(END_MAX).await?;
    assert!(status.success(), "{status}: {}", up.job.tail());
    measured("Ctrl-C until everything has ended", since.elapsed());
    for process in up.rows.values().map(|row| row.process).chain(managed.into_values()) {
        assert!(!process.is_alive(), "{process:?} {}", process.command());
    }
    up.left()
}

#[tokio::test(flavor = "multi_thread")]
async fn child_that_dies_is_told_of_and_started_again() -> Result<()> {
    let mut up = Up::start(&["--leaves", "1"]).await?;
    let edge = up.edge()?;
    let managed = services(&up.settled(1).await?)?;
    for node in ["m2", "n1"] {
        up.rows.get(node).context("no such node")?.process.kill9()?;
    }
    wait_until("up tells that both run again", END_MAX, async || {
        let told = up.job.errors();
        for node in ["m2", "n1"] {
            for words in [format!("{node} was killed by SIGKILL"), format!("{node} runs again")] {
                ensure!(told.contains(&words), "no {words:?} in {told}");
            }
        }
        Ok(())
    })
    .await?;
    wait_until("all is as before", END_MAX, async || {
        let voters = edge.cluster().await?.members.iter().filter(|member| member.voter).count();
        let now = services(&edge.nodes().await?)?;
        ensure!(voters == 3 && now == managed, "{voters} vote, {now:?}");
        Ok(())
    })
    .await?;
    up.job.signal(Signal::SIGINT)?;
    assert!(up.job.end_within(END_MAX).await?.success());
    up.left()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_up_takes_everything_with_it() -> Result<()> {
    let mut up = Up::start(&["--leaves", "2"]).await?;
    let managed = services(&up.settled(2).await?)?;
    assert!(managed.len() >= 2, "{managed:?}");
    up.job.kill9()?;
    wait_until("no process is left", END_MAX, async || {
        let left = Process::within(up.place.path());
        ensure!(left.is_empty(), "{:#?}", left.iter().map(Process::command).collect::<Vec<_>>());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn up_is_resumed_with_what_was_asked_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("fleet").display().to_string();
    let mut up = Up::start(&["--leaves", "2", "--data", &data]).await?;
    let late = serde_json::json!({ "state": "RUN", "command": "sleep", "args": ["100000"] });
    let cfg = serde_json::json!({ "services": { "late": late } });
    let revision = up.edge()?.patch("n2", &cfg).await?;
    up.job.signal(Signal::SIGTERM)?;
    let status = up.job.end_within(END_MAX).await?;
    assert!(status.success(), "{status}: {}", up.job.tail());
    up.left()?;

    up.again().await?;
    let edge = up.edge()?;
    let late = wait_until("the late service runs", UP_MAX, async || {
        let nodes = edge.nodes().await?;
        let late = services(&nodes)?.remove(&("n2".to_owned(), "late".to_owned()));
        late.with_context(|| format!("n2: {:?}", nodes.get("n2")))
    });
    assert!(late.await?.is_alive());
    assert!(edge.node("n2").await?.revision >= revision);
    up.job.signal(Signal::SIGTERM)?;
    assert!(up.job.end_within(END_MAX).await?.success());
    up.left()
}
