//! Torture of a quorum: clients write, compare-and-set and read, watchers watch, while members are
//! killed, put to sleep, and made to lead; then everything that was answered is held against one
//! order ([`serial`]).

mod clients;
mod nemesis;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::nemesis::Nemesis;
use self::{clients::Worker, nemesis::Chance};
use crate::{
    cluster::{Shape, TestCluster},
    serial::{self, Checked, Op, Told},
    wait_until,
};

/// Shortest and longest time between two attacks, in milliseconds.
const PAUSE_MS: (u64, u64) = (200, 4_000);
/// How long a cluster may take to serve again after the last attack.
const CALM_MAX: Duration = Duration::from_mins(1);

/// What is tortured, and how.
#[derive(Debug, Clone)]
pub struct Torture {
    /// The program: `kraken`.
    pub program: String,
    /// How many members.
    pub members: usize,
    /// How many clients write and read at a time.
    pub clients: usize,
    /// How many keys they share.
    pub keys: usize,
    /// Draws the attacks: the same seed attacks in the same order.
    pub seed: u64,
    /// For how long.
    pub lasts: Duration,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How much was checked; all of it held.
    pub checked: Checked,
    /// What was done to the cluster, in order.
    pub attacks: Vec<Nemesis>,
}

/// What all clients share.
#[derive(Debug)]
struct Desk {
    began: Instant,
    stop: AtomicBool,
    ops: Mutex<Vec<Op>>,
}

impl Desk {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn put(&self, op: Op) {
        self.ops.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(op);
    }
}

impl Torture {
    /// Runs to the end; an error says which answers no order explains. `tell` is told of attacks.
    pub async fn run(&self, mut tell: impl FnMut(&str)) -> Result<Outcome> {
        let mut cluster = TestCluster::start(&self.program, &Shape::of(self.members, 0)).await?;
        let desk = Arc::new(Desk {
            began: Instant::now(),
            stop: AtomicBool::new(false),
            ops: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let worker = Worker::new(number, self.keys, self.seed, cluster.edge()?, desk.clone());
            clients.spawn(worker.run());
        }
        let enough = CancellationToken::new();
        let mut watches: JoinSet<Result<Vec<Told>>> = JoinSet::new();
        for member in cluster.members() {
            let (edge, enough) = (cluster.edge_of(&member)?, enough.clone());
            watches.spawn(clients::watch(edge, member, enough));
        }
        let attacks = self.attack(&mut cluster, &mut tell).await?;
        desk.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        let told = self.calm(&cluster, watches, enough).await?;
        let ops = std::mem::take(
            &mut *desk.ops.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let checked = serial::check(&ops, &told)
            .with_context(|| format!("seed {} ({} attacks)", self.seed, attacks.len()))?;
        cluster.pass()?;
        Ok(Outcome { checked, attacks })
    }

    async fn attack(
        &self,
        cluster: &mut TestCluster,
        tell: &mut impl FnMut(&str),
    ) -> Result<Vec<Nemesis>> {
        let (mut chance, mut attacks) = (Chance::new(self.seed), Vec::new());
        let began = Instant::now();
        while began.elapsed() < self.lasts {
            chance.rest(PAUSE_MS).await;
            let nemesis = chance.nemesis();
            let done = nemesis.strike(cluster, &mut chance).await?;
            tell(&format!("{:>6} s: {done}", began.elapsed().as_secs()));
            attacks.push(nemesis);
        }
        Ok(attacks)
    }

    /// Waits until all serve again and the watches have told all, then ends the watches.
    async fn calm(
        &self,
        cluster: &TestCluster,
        mut watches: JoinSet<Result<Vec<Told>>>,
        enough: CancellationToken,
    ) -> Result<Vec<Told>> {
        cluster.ready().await?;
        let last = cluster.edge()?.cluster().await?.revision;
        for member in cluster.members() {
            let edge = cluster.edge_of(&member)?;
            wait_until(&format!("{member} holds all of it"), CALM_MAX, async || {
                let held = edge.cluster().await?.revision;
                anyhow::ensure!(held >= last, "{held} of {last}");
                Ok(())
            })
            .await?;
        }
        enough.cancel();
        let mut told = Vec::new();
        while let Some(ended) = watches.join_next().await {
            told.extend(ended??);
        }
        Ok(told)
    }
}
