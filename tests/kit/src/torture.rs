//! Torture of a quorum: clients write, compare-and-set, append and read, watchers watch, while
//! members are killed, put to sleep, cut off, removed, and made to lead; then everything that was
//! answered is held against one order ([`serial`]), and all members against one another.

mod asker;
mod calm;
mod clients;
mod nemesis;
mod strike;
mod torn;
mod watcher;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
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
use self::{
    calm::Settled,
    clients::Worker,
    nemesis::Arsenal,
    strike::{Field, Strike},
};
use crate::{
    appends::{self, Append},
    chance::Chance,
    cluster::{Shape, TestCluster},
    disk::Image,
    is_root, needs,
    serial::{self, Checked, Op, Told},
    starve::{self, Hogs},
};

/// Shortest and longest time between two attacks, in milliseconds.
const PAUSE_MS: (u64, u64) = (200, 4_000);
/// How long an attack lasts, in milliseconds: below and beyond an election.
const AWAY_MS: (u64, u64) = (50, 6_000);
/// One attack in so many has another one beside it.
const OVERLAP_IN: u64 = 3;
/// Lines that a node may write to its log in each second.
const LOG_LINES_A_SECOND: u64 = 1_000;
/// Writes after which members take a snapshot.
const SNAPSHOT_ENTRIES: u64 = 200;
/// Writes that stay in their logs behind it.
const KEEP_ENTRIES: u64 = 50;
/// Bytes of one file of their logs.
const SEGMENT_BYTES: u64 = 256 << 10;
/// Room on the disk of each member, in MiB.
const DISK_MIB: u64 = 256;

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
    /// How many threads take the processors away from the members.
    pub hogs: usize,
    /// What is drawn; all that there is where this is empty.
    pub only: Vec<Nemesis>,
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

    /// Waits until they have told all up to a revision, then ends them.
    async fn end(mut self, last: u64) -> Result<Vec<Told>> {
        calm::told(last, &self.reached).await?;
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
            let Self { seed, members, clients, keys, hogs, .. } = self;
            let only: Vec<String> =
                self.only.iter().map(|only| format!("--only '{only}'")).collect();
            format!(
                "after {} attacks; again: kraken-torture --seed {seed} --members {members} \
                 --clients {clients} --keys {keys} --starve {hogs} {}",
                attacks.len(),
                only.join(" "),
            )
        })?;
        Ok(Outcome { checked, appended, served, attacks })
    }

    async fn hurt_and_check(
        &self,
        tell: &mut impl FnMut(&str),
        attacks: &mut Vec<Nemesis>,
    ) -> Result<(Checked, usize, Served)> {
        let root = is_root();
        for lacking in Arsenal::left_out() {
            needs(lacking, false)?;
        }
        let place = tempfile::tempdir()?;
        let disks = if root { self.disks(place.path())? } else { BTreeMap::new() };
        let mut cluster = TestCluster::start(&self.program, &self.shape(&disks)).await?;
        let hogs = Hogs::start(self.hogs)?;
        let desk = Arc::new(Desk::new());
        let clients = self.clients(&cluster, &desk)?;
        let watches = Watches::start(&cluster)?;
        let hurt = BTreeSet::new();
        let mut field = Field { cluster: &mut cluster, disks: &disks, hurt };
        self.attack(&mut field, tell, attacks).await?;
        desk.stop.cancel();
        let served = stopped(clients).await?;
        drop(hogs);
        field.supervise()?;
        let Settled { sets, last } = calm::settle(&cluster, self.keys, &desk).await?;
        let told = watches.end(last).await?;
        let checked = serial::check(&lock(&desk.ops), &told)?;
        let appended = appends::check(&lock(&desk.appends), &sets)?;
        // A leader tells of each heartbeat that another member does not answer, and sends one with
        // every write.
        let lines_max = self.lasts.as_secs().saturating_add(10).saturating_mul(LOG_LINES_A_SECOND);
        cluster.pass_within(usize::try_from(lines_max)?)?;
        Ok((checked, appended, served))
    }

    /// A disk for each member.
    fn disks(&self, place: &Path) -> Result<BTreeMap<String, Image>> {
        let members = (1..=self.members).map(|number| format!("m{number}"));
        members
            .map(|member| {
                let disk = Image::mount(&place.join(&member), DISK_MIB)?;
                Ok((member, disk))
            })
            .collect()
    }

    /// Members that take snapshots and purge their logs all the time.
    fn shape(&self, disks: &BTreeMap<String, Image>) -> Shape {
        let raft = format!(
            "snapshot_entries = {SNAPSHOT_ENTRIES}\nkeep_entries = {KEEP_ENTRIES}\n\
             segment_bytes = {SEGMENT_BYTES}"
        );
        let data = disks.iter().map(|(member, disk)| (member.clone(), disk.folder().join("data")));
        let apart = !disks.is_empty();
        let nice = if self.hogs > 0 { starve::NICE } else { 0 };
        Shape { raft, apart, nice, data: data.collect(), ..Shape::of(self.members, 0) }
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
        field: &mut Field<'_>,
        tell: &mut impl FnMut(&str),
        attacks: &mut Vec<Nemesis>,
    ) -> Result<()> {
        let mut chance = Chance::new(self.seed);
        let arsenal = Arsenal::new(self.members, &self.only);
        let began = Instant::now();
        while began.elapsed() < self.lasts {
            chance.rest(PAUSE_MS).await;
            let mut strikes: Vec<Strike> = Vec::new();
            // Another one comes on top now and then.
            for _ in 0..=u64::from(chance.below(OVERLAP_IN) == 0) {
                let nemesis = arsenal.draw(&mut chance).context("nothing can be done here")?;
                let Some(strike) = field.strike(nemesis, &mut chance).await? else { continue };
                tell(&format!("{:>6} s: {}", began.elapsed().as_secs(), strike.told));
                field.hurt.extend(strike.hurt.iter().cloned());
                attacks.push(nemesis);
                strikes.push(strike);
                chance.rest(AWAY_MS).await;
            }
            while let Some(strike) = strikes.pop() {
                strike.end(field).await?;
            }
            field.hurt.clear();
            field.supervise()?;
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
