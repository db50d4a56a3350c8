//! The same with leaves that are whole: `kraken agent` processes, as many as the machine holds.
//!
//! A change is a file that every leaf writes; when it had the change is read from the file.

use std::{
    fmt::Display,
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use kraken_http::client::{TargetsQuery, WriteQuery};
use serde_json::json;

use super::{
    Outcome,
    figure::{Figure, float, median, quantile, size},
    system::{MEMBERS, pass},
};
use crate::{
    cluster::{Shape, TestCluster, text},
    wait_until,
};

/// How long all leaves may take for anything that they do together.
const ALL_MAX: Duration = Duration::from_mins(3);
/// How long all is left alone before it is measured.
const SETTLE: Duration = Duration::from_secs(5);
/// Seconds within which leaves of a lost member should be back.
const BACK_S: f64 = 5.0;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Agents {
    /// The program of members and leaves.
    pub program: String,
    /// Where the data of members lies; exists.
    pub folder: PathBuf,
    /// How many leaves.
    pub leaves: usize,
    /// How many changes concern all.
    pub alls: usize,
    /// How long idle leaves are counted.
    pub time: Duration,
}

/// A running fleet.
struct Fleet<'a> {
    plan: &'a Agents,
    cluster: TestCluster,
    named: String,
    outcome: Outcome,
}

impl Agents {
    /// Measures all of it with one fleet; `note` is told what happens.
    pub async fn run(&self, mut note: impl FnMut(&dyn Display)) -> Result<Outcome> {
        ensure!(self.leaves > 0, "a fleet has a leaf at least");
        let folder = tempfile::Builder::new().prefix("kraken-agents-").tempdir_in(&self.folder)?;
        let mut shape = Shape::of(MEMBERS, self.leaves);
        for name in (1..=MEMBERS).map(|number| format!("m{number}")) {
            shape.data.insert(name.clone(), folder.path().join(name));
        }
        note(&"three members and all agents start");
        let since = Instant::now();
        let cluster = TestCluster::start(&self.program, &shape).await?;
        let named = size(self.leaves);
        let mut fleet = Fleet { plan: self, cluster, named, outcome: Outcome::default() };
        fleet.add("start", since.elapsed().as_secs_f64(), "s", self.leaves);
        note(&"all are idle");
        fleet.idle().await?;
        note(&"changes go down");
        fleet.change().await?;
        note(&"a member that does not lead is killed");
        fleet.lose().await?;
        let Fleet { cluster, outcome, .. } = fleet;
        cluster.pass_within(usize::MAX).context("the fleet")?;
        Ok(outcome)
    }
}

impl Fleet<'_> {
    fn add(&mut self, what: &str, value: f64, unit: &'static str, n: usize) {
        let name = format!("agents.{what}.{}", self.named);
        self.outcome.figures.push(Figure::new(name, value, unit, n));
    }

    /// What leaves and members take while nothing happens.
    async fn idle(&mut self) -> Result<()> {
        pass(SETTLE).await;
        let cpu = |nodes: &[String]| -> Result<f64> {
            nodes.iter().map(|node| self.cluster.job(node)?.process()?.cpu_seconds()).sum()
        };
        let (members, leaves) = (self.cluster.members(), self.cluster.leaves());
        let (before, since) = ((cpu(&members)?, cpu(&leaves)?), Instant::now());
        pass(self.plan.time).await;
        let (after, seconds) = ((cpu(&members)?, cpu(&leaves)?), since.elapsed().as_secs_f64());
        let mut memory = Vec::new();
        for leaf in &leaves {
            let bytes = self.cluster.job(leaf)?.process()?.memory()?;
            memory.push(float(usize::try_from(bytes)?));
        }
        let count = leaves.len();
        self.add("idle.memory", median(memory), "bytes", count);
        self.add("idle.cpu", (after.1 - before.1) / seconds / float(count), "cores", count);
        self.add("idle.members.cpu", (after.0 - before.0) / seconds, "cores", MEMBERS);
        Ok(())
    }

    /// How long after a write was accepted each leaf has written the file that it asks for.
    async fn change(&mut self) -> Result<()> {
        let leaves = self.cluster.leaves();
        let names: Vec<&str> = leaves.iter().map(String::as_str).collect();
        let all = TargetsQuery::Names(format!("n[1-{}]", leaves.len()));
        let client = self.cluster.edge()?.client().clone();
        let (mut every, mut lasts) = (Vec::new(), Vec::new());
        for word in 0..self.plan.alls {
            let file = json!({ "state": "PRESENT", "path": "word", "content": word.to_string() });
            let cfg = json!({ "files": { "word": file } });
            client.patch_nodes(&all, &cfg, &WriteQuery::default()).await?;
            let accepted = SystemTime::now();
            let seen = self.cluster.converged(&names, ALL_MAX).await?;
            let mut times = Vec::new();
            for name in &names {
                let at = text(seen.get(*name).context("a leaf")?, "/files/word/at");
                let content = fs::read_to_string(&at).with_context(|| at.clone())?;
                ensure!(content == word.to_string(), "{at} holds {content}");
                let written = fs::metadata(&at)?.modified()?;
                // It may be there before the answer is.
                let took = written.duration_since(accepted).unwrap_or_default();
                times.push(u64::try_from(took.as_micros())?);
            }
            lasts.push(times.iter().copied().max().unwrap_or_default());
            every.extend(times);
        }
        let n = every.len();
        let every = self.outcome.add_times(&format!("agents.all.{}", self.named), every);
        lasts.sort_unstable();
        self.add("all.p50", quantile(&every, 500), "us", n);
        self.add("all.p99", quantile(&every, 990), "us", n);
        self.add("all.last", quantile(&lasts, 500), "us", lasts.len());
        Ok(())
    }

    /// How long the leaves of a killed member take to attach to the others.
    async fn lose(&mut self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        let other = self.cluster.members().into_iter().find(|member| *member != leader);
        let other = other.context("only one member")?;
        let moved = self.attached(&other).await?;
        let since = Instant::now();
        self.cluster.kill9(&other)?;
        let others = self.cluster.members().into_iter().filter(|member| *member != other);
        let others: Vec<String> = others.collect();
        wait_until("all leaves are attached to the others", ALL_MAX, async || {
            let mut attached = 0;
            for member in &others {
                attached += self.attached(member).await?;
            }
            ensure!(attached == self.plan.leaves, "{attached} of {}", self.plan.leaves);
            Ok(())
        })
        .await?;
        let name = format!("agents.reattach.{}", self.named);
        let figure = Figure::new(name, since.elapsed().as_secs_f64(), "s", moved);
        self.outcome.figures.push(figure.target(BACK_S));
        Ok(())
    }

    /// How many leaves are attached to a member.
    async fn attached(&self, member: &str) -> Result<usize> {
        let shown = self.cluster.edge_of(member)?.client().raw_get("/v1/debug").await?;
        let shown: serde_json::Value = shown.json()?;
        let children = shown.pointer("/sync/downlink/children").and_then(|list| list.as_array());
        let children = children.context("/v1/debug shows no children")?;
        Ok(children.iter().filter(|child| child["role"] == "leaf").count())
    }
}
