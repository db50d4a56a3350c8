//! Watchers of one object, each on a connection of its own, and one writer that writes again once
//! all of them were told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

use super::{
    Bench,
    pair::{Both, Pair},
    system::{System, sign},
    times::{Times, float, micros},
    wire::{Value, Watch, Wire},
};

/// The object that is watched; no load writes it.
const WATCHED: u64 = 9_999_998;
/// How long one change may take to reach all.
const ROUND_MAX: Duration = Duration::from_secs(20);

/// What all watchers of a run have in common.
struct Desk {
    begun: Instant,
    /// When the change in hand was sent, in microseconds.
    sent: AtomicU32,
    /// How many were told of it.
    told: AtomicUsize,
    watchers: usize,
    all_told: Notify,
}

/// What a run came to.
struct Run {
    /// From when a change was sent until a watcher had it.
    delays: Times,
    delivered_per_s: f64,
}

impl Desk {
    fn now(&self) -> u32 {
        micros(self.begun.elapsed())
    }

    /// Follows a watch until its task is dropped or the watch fails.
    async fn follow(self: Arc<Self>, mut watch: Watch, delays: Arc<Delays>) -> Result<()> {
        loop {
            watch.next().await?;
            delays.add(self.now().saturating_sub(self.sent.load(Ordering::Acquire)));
            if self.told.fetch_add(1, Ordering::AcqRel) + 1 == self.watchers {
                self.all_told.notify_one();
            }
        }
    }
}

/// Delays of one watcher.
#[derive(Default)]
struct Delays(std::sync::Mutex<Vec<u32>>);

impl Delays {
    fn add(&self, delay: u32) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(delay);
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The rows of so many watchers.
pub(crate) async fn measure(bench: &mut Bench<'_>, pair: &Pair, watchers: usize) -> Result<()> {
    let mut both = Both::new();
    for _ in 0..bench.runs() {
        for system in &pair.systems {
            both.add(system.who(), run(system, watchers, bench.time()).await?);
        }
    }
    let name = format!("watch.{watchers}");
    bench.take(vec![
        both.figure(&format!("{name}.delay_p50"), "us", |run: &Run| run.delays.quantile(500)),
        both.figure(&format!("{name}.delay_p99"), "us", |run| run.delays.quantile(990)),
        both.figure(&format!("{name}.delivered"), "per_s", |run| run.delivered_per_s),
    ]);
    Ok(())
}

async fn run(system: &System, watchers: usize, time: Duration) -> Result<Run> {
    let leader = system.leader().await?;
    let mut writer = Wire::connect(system.place(leader)).await?;
    // It has to be there before it can be watched.
    writer.put(WATCHED, &Value::new(sign())).await?;
    let desk = Arc::new(Desk {
        begun: Instant::now(),
        sent: AtomicU32::new(0),
        told: AtomicUsize::new(0),
        watchers,
        all_told: Notify::new(),
    });
    let (mut tasks, mut kept) = (JoinSet::new(), Vec::new());
    for number in 0..watchers {
        let wire = Wire::connect(system.place(leader + number)).await?;
        let watch = timeout(ROUND_MAX, wire.watch(WATCHED)).await.context("no watch in time")??;
        let delays = Arc::new(Delays::default());
        kept.push(Arc::clone(&delays));
        tasks.spawn(Arc::clone(&desk).follow(watch, delays));
    }
    let (begun, mut rounds) = (Instant::now(), 0_u32);
    while begun.elapsed() < time {
        desk.told.store(0, Ordering::Release);
        desk.sent.store(desk.now(), Ordering::Release);
        let round = async {
            writer.put(WATCHED, &Value::new(sign())).await?;
            desk.all_told.notified().await;
            anyhow::Ok(())
        };
        tokio::select! {
            done = timeout(ROUND_MAX, round) => done.context("a change did not reach all")??,
            Some(ended) = tasks.join_next() => ended??,
        }
        rounds += 1;
    }
    let delivered_per_s =
        float(watchers as u64) * f64::from(rounds) / begun.elapsed().as_secs_f64();
    let delays = Times::of(kept.iter().flat_map(|delays| delays.take()).collect());
    Ok(Run { delays, delivered_per_s })
}
