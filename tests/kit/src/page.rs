//! The page with a large fleet in it that changes all the time: how long it works for a frame, and
//! how much memory that takes. The members are real, the machines simulated by modules on them.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kraken_engine::nodeset;
use serde_json::{Value as Json, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    browser::{Browser, Frames, Page, Trace},
    cluster::{Shape, TestCluster},
    edge::{Edge, call},
    load::Figure,
    wait_until,
};

/// Machines of one rack.
const RACK_NODES: usize = 64;
/// Machines of one request.
const BATCH_NODES: usize = 1_000;
/// Writes a second among which the changes are spread.
const WRITES_PER_S: usize = 10;
/// What scripts and layout may take for a frame, in microseconds.
const FRAME_US_MAX: f64 = 8_000.0;
/// What the page may take for itself, in bytes.
const MEMORY_BYTES_MAX: f64 = 200e6;
/// How long a fleet may take until all of it is shown as it was asked to be.
const CALM_MAX: Duration = Duration::from_mins(5);
/// Machines without latencies to speak of, which whoever looks sees alike.
fn sim(world: &Path) -> String {
    let world = Json::from(world.to_string_lossy());
    format!(
        "[modules.sim]\nworld = {world}\n\
         every = {{ latency_min_ms = 20, latency_max_ms = 200 }}\n"
    )
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct PageLoad {
    /// The program of the members.
    pub program: String,
    /// How many machines.
    pub nodes: usize,
    /// How many of them are asked for something else each second.
    pub changes_per_s: usize,
    /// How long frames are counted.
    pub time: Duration,
    /// Where pictures of it are put.
    pub pictures: Option<PathBuf>,
}

impl PageLoad {
    /// Measures; `note` is told what happens.
    pub async fn run(&self, mut note: impl FnMut(&dyn Display)) -> Result<Vec<Figure>> {
        note(&"three members");
        let world = tempfile::tempdir()?;
        let shape = Shape { more: sim(world.path()), ..Shape::of(3, 0) };
        let cluster = TestCluster::start(&self.program, &shape).await?;
        let edge = cluster.edge()?;
        note(&format_args!("{} machines", self.nodes));
        for batch in (1..=self.nodes).collect::<Vec<_>>().chunks(BATCH_NODES) {
            let body: Json = batch.iter().map(|number| machine(*number)).collect();
            let answer = edge.ask(call("POST", "/v1/nodes")?.json(&body)).await?;
            ensure!(answer.is_success(), "{answer:?}");
        }
        let browser = Browser::start().await?;
        let page = browser.page().await?;
        page.size((1_440, 900), false).await?;
        note(&"all are shown and have converged");
        let all = self.nodes + cluster.members().len();
        page.go(&format!("{}/#/fleet?by=rack", cluster.url("m1")?)).await?;
        calm(&page, all).await?;
        let opened = Instant::now();
        page.reload().await?;
        calm(&page, all).await?;
        let shown = opened.elapsed();
        note(&format_args!("{} of them change each second", self.changes_per_s));
        let end = CancellationToken::new();
        let changing = tokio::spawn(changes(edge, self.clone(), end.clone()));
        let frames = self.frames(&page).await?;
        if let Some(folder) = &self.pictures {
            self.pictures(&page, folder).await?;
        }
        end.cancel();
        let changed = changing.await??;
        ensure!(changed > 0, "nothing changed");
        let memory = browser.memory().await?;
        let complaints = page.complaints();
        ensure!(complaints.is_empty(), "{complaints:?}");
        cluster.pass()?;
        Ok(self.figures(&frames, memory, shown))
    }

    async fn frames(&self, page: &Page) -> Result<Frames> {
        let trace = Trace::begin(page).await?;
        let mut seconds = interval(self.time);
        seconds.tick().await;
        seconds.tick().await;
        trace.end().await
    }

    async fn pictures(&self, page: &Page, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for dark in [false, true] {
            page.dark(dark).await?;
            let theme = if dark { "dark" } else { "light" };
            page.picture(&folder.join(format!("fleet-{}-{theme}.png", self.nodes))).await?;
        }
        Ok(())
    }

    fn figures(&self, frames: &Frames, memory: u64, shown: Duration) -> Vec<Figure> {
        let size = match self.nodes {
            nodes if nodes.is_multiple_of(1_000) => format!("{}k", nodes / 1_000),
            nodes => nodes.to_string(),
        };
        let name = |what: &str| format!("edge.page.{size}.{what}");
        let float = |number: u64| u32::try_from(number).map_or(f64::MAX, f64::from);
        let n = frames.count();
        vec![
            Figure::new(name("frame.p50"), float(frames.work(500)), "us", n).target(FRAME_US_MAX),
            Figure::new(name("frame.p99"), float(frames.work(990)), "us", n),
            Figure::new(name("frame.all.p50"), float(frames.all(500)), "us", n),
            Figure::new(name("memory"), float(memory), "bytes", 1).target(MEMORY_BYTES_MAX),
            Figure::new(name("shown"), shown.as_secs_f64() * 1e6, "us", 1),
        ]
    }
}

/// Waits until the page shows that all have converged.
async fn calm(page: &Page, all: usize) -> Result<()> {
    let number = "Number(document.querySelector('.key[data-phase=Converged] .number')\
                  ?.textContent.replaceAll(',', ''))";
    wait_until("all are shown as converged", CALM_MAX, async || {
        let shown = page.eval(number).await?;
        ensure!(shown == all, "{shown} of {all} are");
        Ok(())
    })
    .await
}

fn name(number: usize) -> String {
    format!("c{number:05}")
}

fn machine(number: usize) -> Json {
    let rack = (number - 1) / RACK_NODES + 1;
    json!({
        "name": name(number), "labels": { "rack": format!("r{rack:03}") },
        "cfg": { "physState": "POWER_ON" },
    })
}

/// Asks for machines to be off, and later on again, until told to end; how many were asked.
async fn changes(edge: Edge, load: PageLoad, end: CancellationToken) -> Result<usize> {
    let share = load.changes_per_s.div_ceil(WRITES_PER_S);
    let pause = Duration::from_secs(1) / u32::try_from(WRITES_PER_S)?;
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut next, mut asked) = (0, 0);
    while end.run_until_cancelled(ticks.tick()).await.is_some() {
        // Far apart, so that many racks change.
        let chosen = (0..share).map(|step| (next + step * 97) % load.nodes + 1);
        let names: Vec<String> = chosen.map(name).collect();
        let set = nodeset::fold(names.iter().map(String::as_str));
        let is_off = (next / load.nodes).is_multiple_of(2);
        let state = if is_off { "POWER_OFF" } else { "POWER_ON" };
        let query = format!("/v1/nodes?names={set}");
        let patch = call("PATCH", &query)?.json(&json!({ "physState": state }));
        let answer = edge.ask(patch).await.context("a change")?;
        ensure!(answer.is_success(), "{answer:?}");
        asked += share;
        next += share * 97;
    }
    Ok(asked)
}
