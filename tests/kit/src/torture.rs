//! Torture of a quorum: clients write, compare-and-set, append and read, watchers watch, while
//! members are killed, put to sleep, and made to lead; then everything that was answered is held
//! against one order ([`serial`]), and all members against one another.

mod asker;
mod calm;
mod chance;
mod clients;
mod nemesis;
mod watcher;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::{
    asker::{Answers, Served},
    nemesis::Nemesis,
};
use self::{chance::Chance, clients::Worker};
use crate::{
    appends::{self, Append},
    cluster::{Shape, TestCluster},
    serial::{self, Checked, Op, Told},
};

/// Shortest and longest time between two attacks, in milliseconds.
const PAUSE_MS: (u64, u64) = (200, 4_000);

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
    /// How many appends were answered, all of which are there.
    pub appended: usize,
    /// Which members have answered how much.
    pub served: Served,
    /// What was done to the cluster, in order.
    pub attacks: Vec<Nemesis>,
}

/// What all clients share.
#[derive(Debug)]
struct Desk {
    began: Instant,
    stop: CancellationToken,
    ops: Mutex<Vec<Op>>,
    appends: Mutex<Vec<Append>>,
}

impl Desk {
    fn new() -> Self {
        let (ops, appends) = (Mutex::default(), Mutex::default());
        Self { began: Instant::now(), stop: CancellationToken::new(), ops, appends }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn put(&self, op: Op) {
        lock(&self.ops).push(op);
    }

    fn append(&self, append: Append) {
        lock(&self.appends).push(append);
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All watches of a run.
struct Watches {
    tasks: JoinSet<Result<Vec<Told>>>,
    reached: Vec<(String, Arc<AtomicU64>)>,
    enough: CancellationToken,
}

impl Watches {
    fn start(cluster: &TestCluster) -> Result<Self> {
        let (mut tasks, mut reached) = (JoinSet::new(), Vec::new());
        let enough = CancellationToken::new();
        for member in cluster.members() {
            let (url, here) = (cluster.url(&member)?, Arc::<AtomicU64>::default());
            reached.push((member.clone(), here.clone()));
            tasks.spawn(watcher::watch((member, url), here, enough.clone()));
        }
        Ok(Self { tasks, reached, enough })
    }

    /// Waits until they have told all, then ends them.
    async fn end(mut self, cluster: &TestCluster) -> Result<Vec<Told>> {
        calm::told(cluster, &self.reached).await?;
        self.enough.cancel();
        let mut told = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            told.extend(ended??);
        }
        Ok(told)
    }
}

impl Torture {
    /// Runs to the end; an error says which answers no order explains, and how to do it again.
    /// `tell` is told of attacks.
    pub async fn run(&self, mut tell: impl FnMut(&str)) -> Result<Outcome> {
        let mut attacks = Vec::new();
        let outcome = self.hurt_and_check(&mut tell, &mut attacks).await;
        let (checked, appended, served) = outcome.with_context(|| {
            let Self { seed, members, clients, keys, .. } = self;
            format!(
                "after {} attacks; again: kraken-torture --seed {seed} --members {members} \
                 --clients {clients} --keys {keys}",
                attacks.len()
            )
        })?;
        Ok(Outcome { checked, appended, served, attacks })
    }

    async fn hurt_and_check(
        &self,
        tell: &mut impl FnMut(&str),
        attacks: &mut Vec<Nemesis>,
    ) -> Result<(Checked, usize, Served)> {
        let mut cluster = TestCluster::start(&self.program, &Shape::of(self.members, 0)).await?;
        let desk = Arc::new(Desk::new());
        let clients = self.clients(&cluster, &desk)?;
        let watches = Watches::start(&cluster)?;
        self.attack(&mut cluster, tell, attacks).await?;
        desk.stop.cancel();
        let served = stopped(clients).await?;
        let sets = calm::settle(&cluster, self.keys, &desk).await?;
        let told = watches.end(&cluster).await?;
        let checked = serial::check(&lock(&desk.ops), &told)?;
        let appended = appends::check(&lock(&desk.appends), &sets)?;
        cluster.pass()?;
        Ok((checked, appended, served))
    }

    fn clients(&self, cluster: &TestCluster, desk: &Arc<Desk>) -> Result<JoinSet<Result<Served>>> {
        let named = cluster.members().into_iter();
        let members = named.map(|member| Ok((member.clone(), cluster.url(&member)?)));
        let members = members.collect::<Result<Vec<(String, String)>>>()?;
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let worker = Worker::new(number, self.keys, self.seed, &members, desk.clone())?;
            clients.spawn(worker.run());
        }
        Ok(clients)
    }

    async fn attack(
        &self,
        cluster: &mut TestCluster,
        tell: &mut impl FnMut(&str),
        attacks: &mut Vec<Nemesis>,
    ) -> Result<()> {
        let mut chance = Chance::new(self.seed);
        let began = Instant::now();
        while began.elapsed() < self.lasts {
            chance.rest(PAUSE_MS).await;
            let nemesis = nemesis::draw(&mut chance);
            let done = nemesis.strike(cluster, &mut chance).await?;
            tell(&format!("{:>6} s: {done}", began.elapsed().as_secs()));
            attacks.push(nemesis);
        }
        Ok(())
    }
}

/// Waits until all clients have ended, and adds up who answered them.
async fn stopped(mut clients: JoinSet<Result<Served>>) -> Result<Served> {
    let mut all = Served::new();
    while let Some(ended) = clients.join_next().await {
        for (member, Answers { reads, writes }) in ended?? {
            let sum = all.entry(member).or_default();
            sum.reads += reads;
            sum.writes += writes;
        }
    }
    Ok(all)
}
