//! Writers that count up a register each, as fast as they are answered, and note what they were
//! told.
//!
//! A register is a variable in the Cfg of a node that nobody runs: it means nothing to any module.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kraken_http::{
    client::{Call, ListQuery},
    view::ObjectView,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    edge::{Answer, Edge, call},
    history::{History, Write},
    wait_until,
};

/// How long a write may go without an answer, tries again included.
const ANSWERED_MAX: Duration = Duration::from_secs(30);

/// Writers at work, each on its own register.
#[derive(Debug)]
pub struct Writers {
    tasks: JoinSet<Result<History>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Writers {
    /// Starts `count` writers; each has the edge that `edge` gives it.
    pub fn start(count: usize, edge: impl Fn(usize) -> Result<Edge>) -> Result<Self> {
        let (stop, answered, lost) = (Arc::default(), Arc::default(), Arc::default());
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let writer = Writer {
                register: format!("register{number}"),
                edge: edge(number)?,
                stop: Arc::clone(&stop),
                answered: Arc::clone(&answered),
                lost: Arc::clone(&lost),
            };
            tasks.spawn(writer.run());
        }
        Ok(Self { tasks, stop, answered, lost })
    }

    /// Waits until so many writes more were answered.
    pub async fn progress(&self, writes: u64, bound: Duration) -> Result<()> {
        let wanted = self.answered() + writes;
        wait_until(&format!("{wanted} writes were answered"), bound, async || {
            let answered = self.answered();
            ensure!(answered >= wanted, "{answered} were");
            Ok(())
        })
        .await
    }

    /// How many writes were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How often the client gave up, and a writer had to ask again.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Has all writers end, and returns what they were told.
    pub async fn stop(mut self) -> Result<History> {
        self.stop.store(true, Ordering::Relaxed);
        let mut history = History::default();
        while let Some(ended) = self.tasks.join_next().await {
            history.extend(ended??);
        }
        Ok(history)
    }
}

/// Reads all registers.
pub async fn registers(edge: &Edge, consistency: &str) -> Result<BTreeMap<String, Write>> {
    let wanted = ListQuery {
        view: Some("cfg".to_owned()),
        consistency: Some(consistency.to_owned()),
        ..ListQuery::default()
    };
    let items = edge.client().get_nodes(&wanted).await?.items;
    Ok(items.iter().filter_map(written).collect())
}

/// A register by name and what is written in it; `None` for other nodes.
pub fn written(item: &ObjectView) -> Option<(String, Write)> {
    let value = item.cfg.as_ref()?.pointer("/services/register/env/COUNT")?.as_str()?;
    Some((item.name.clone(), Write { value: value.parse().ok()?, revision: item.revision }))
}

struct Writer {
    register: String,
    edge: Edge,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    async fn run(self) -> Result<History> {
        let mut history = History::default();
        let mut last = None;
        while !self.stop.load(Ordering::Relaxed) {
            let next = self.write(last).await.with_context(|| self.register.clone())?;
            history.add(&self.register, next);
            self.answered.fetch_add(1, Ordering::Relaxed);
            last = Some(next);
        }
        Ok(history)
    }

    /// Writes the next count, until it is known that it is written. Where an answer was lost and
    /// the next try is refused it is looked up: nobody else writes here. A refusal without a lost
    /// answer before it is a defect: either this write was carried out twice, or the one before was
    /// lost.
    async fn write(&self, last: Option<Write>) -> Result<Write> {
        let value = last.map_or(1, |last| last.value + 1);
        let (since, mut was_lost) = (Instant::now(), false);
        loop {
            let answer = self.edge.ask(self.call(last, value)?).await;
            if answer.as_ref().is_ok_and(Answer::is_success) {
                let revision = answer?.revision.context("no revision")?;
                return Ok(Write { value, revision });
            }
            if answer.as_ref().is_ok_and(|answer| answer.status < 500) {
                let read = self.read().await?;
                let ours = read.filter(|read| was_lost && read.value == value);
                return ours.with_context(|| format!("{answer:?}: {read:?} after {last:?}"));
            }
            // The client has waited and tried again already, for as long as its patience lasts.
            was_lost = true;
            self.lost.fetch_add(1, Ordering::Relaxed);
            ensure!(since.elapsed() < ANSWERED_MAX, "no answer: {answer:?}");
        }
    }

    fn call(&self, last: Option<Write>, value: u64) -> Result<Call> {
        let cfg = json!({ "services": { "register": { "env": { "COUNT": value.to_string() } } } });
        let Some(last) = last else {
            let manifest = json!({ "name": self.register, "cfg": cfg });
            return Ok(call("POST", "/v1/nodes")?.json(&manifest));
        };
        let patch = call("PATCH", &format!("/v1/nodes/{}", self.register))?.json(&cfg);
        Ok(patch.header("if-match", format!("\"{}\"", last.revision)))
    }

    async fn read(&self) -> Result<Option<Write>> {
        match self.edge.client().get("node", &self.register).await {
            Ok(item) => Ok(written(&item).map(|(_, write)| write)),
            Err(error) if error.code() == Some("no_such_object") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
