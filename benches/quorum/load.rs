//! The load: one generator for both systems. Closed, each client asks again once it was answered;
//! open, requests fall due at a steady rate, and a late answer counts from when it was due.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::process::Process;
use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    system::System,
    times::{Times, float, micros},
    wire::{Place, Read, Value, Wire},
};

/// How long one request may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Objects of one transaction.
pub(crate) const TXN_OBJECTS: u64 = 100;
/// Clients that fill a system.
const FILLERS: usize = 16;
/// The share of the time before anything is counted.
const WARM_UP_PART: u32 = 4;
/// Failures of a client after which there is no use in going on.
const FAILURES_MAX: u64 = 1_000;
/// How long a client waits that was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// One object is put.
    Put,
    /// A hundred are, all or nothing.
    Txn,
    /// One is read.
    Read(Read),
}

/// Who asks what, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) ask: Ask,
    pub(crate) clients: usize,
    /// Objects that are held, of which each request takes any.
    pub(crate) objects: u64,
    pub(crate) time: Duration,
    /// Requests in a second; as fast as they are answered where absent.
    pub(crate) rate: Option<f64>,
}

/// What a load came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Requests that were answered in a second.
    pub(crate) per_s: f64,
    /// Times to their answers.
    pub(crate) times: Times,
    /// Seconds of processor time of all members together.
    pub(crate) cpu: f64,
    /// Seconds of processor time of the generator.
    pub(crate) generator: f64,
    /// Seconds that it took.
    pub(crate) seconds: f64,
    /// Requests that were refused.
    pub(crate) failed: u64,
}

impl Outcome {
    /// Microseconds of the members' processors that one request took.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu / (self.per_s * self.seconds).max(1.0) * 1e6
    }
}

/// Numbers that look like chance and are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// One client at work.
struct Client {
    wire: Wire,
    place: Place,
    chance: Chance,
    plan: Plan,
    asked: u64,
    failed: u64,
}

/// When is counted.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    to: Instant,
}

impl Client {
    async fn new(number: usize, place: Place, plan: Plan) -> Result<Self> {
        let wire = Wire::connect(place).await?;
        let seed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Ok(Self { wire, place, chance: Chance(seed), plan, asked: 0, failed: 0 })
    }

    async fn ask(&mut self) -> Result<()> {
        self.asked += 1;
        let value = Value::new(self.asked);
        let first = self.chance.below(self.plan.objects);
        let asked = async {
            match self.plan.ask {
                Ask::Put => self.wire.put(first, &value).await,
                Ask::Txn => {
                    let keys: Vec<u64> =
                        (first..first + TXN_OBJECTS).map(|key| key % self.plan.objects).collect();
                    self.wire.put_many(&keys, &value).await
                }
                Ask::Read(read) => self.wire.read(first, read).await.map(drop),
            }
        };
        timeout(ANSWER_MAX, asked).await.context("no answer in time")?
    }

    /// Asks until the window is over, and returns how long each answer within it took.
    async fn run(mut self, window: Window, turn: Option<Turn>) -> Result<(Vec<u32>, u64)> {
        let (mut latencies, mut due) = (Vec::new(), turn.map(|turn| turn.first));
        loop {
            let now = Instant::now();
            let since = due.unwrap_or(now);
            if since >= window.to || now >= window.to {
                return Ok((latencies, self.failed));
            }
            // Not where it is due already: a timer takes a millisecond at least.
            if since > now {
                sleep_until(since.into()).await;
            }
            if let Err(error) = self.ask().await {
                self.failed += 1;
                ensure!(self.failed < FAILURES_MAX, error.context("too many refusals"));
                sleep_until((Instant::now() + REFUSED_PAUSE).into()).await;
                self.wire = Wire::connect(self.place).await?;
            } else {
                let now = Instant::now();
                if now >= window.from && now < window.to {
                    latencies.push(micros(now.duration_since(since)));
                }
            }
            due = due.zip(turn).map(|(due, turn)| due + turn.every);
        }
    }
}

/// When a client of an open load is to ask.
#[derive(Debug, Clone, Copy)]
struct Turn {
    first: Instant,
    every: Duration,
}

/// How long a load takes that is counted for a time.
pub(crate) fn with_warm_up(time: Duration) -> Duration {
    time + time / WARM_UP_PART
}

/// Puts a load on a system.
pub(crate) async fn run(system: &System, plan: Plan) -> Result<Outcome> {
    let mut clients = Vec::new();
    // The first client goes to the leader, the others evenly to all.
    let leader = system.leader().await?;
    for number in 0..plan.clients {
        clients.push(Client::new(number, system.place(leader + number), plan).await?);
    }
    let begun = Instant::now();
    let from = begun + plan.time / WARM_UP_PART;
    let window = Window { from, to: from + plan.time };
    let mut tasks = JoinSet::new();
    for (client, number) in clients.into_iter().zip(0_u32..) {
        let turn = plan.rate.map(|rate| {
            let clients = float(plan.clients as u64);
            let every = Duration::from_secs_f64(clients / rate);
            let share = f64::from(number) / clients;
            Turn { first: begun + every.mul_f64(share), every }
        });
        tasks.spawn(client.run(window, turn));
    }
    sleep_until(window.from.into()).await;
    let (members, own) = (cpu_of(system)?, own_cpu()?);
    let counted = Instant::now();
    sleep_until(window.to.into()).await;
    let seconds = counted.elapsed().as_secs_f64();
    let (cpu, generator) = (cpu_of(system)? - members, own_cpu()? - own);
    let (mut latencies, mut failed) = (Vec::new(), 0);
    while let Some(ended) = tasks.join_next().await {
        let (own, refused) = ended??;
        latencies.extend(own);
        failed += refused;
    }
    let times = Times::of(latencies);
    let per_s = times.count() / plan.time.as_secs_f64();
    Ok(Outcome { per_s, times, cpu, generator, seconds, failed })
}

/// Puts that many objects into a system, each once.
pub(crate) async fn fill(system: &System, objects: u64) -> Result<()> {
    let mut tasks = JoinSet::new();
    for filler in 0..FILLERS {
        let place = system.place(filler);
        tasks.spawn(async move {
            let mut wire = Wire::connect(place).await?;
            let starts = (0..objects).step_by(usize::try_from(TXN_OBJECTS)?);
            for first in starts.skip(filler).step_by(FILLERS) {
                let keys: Vec<u64> = (first..objects.min(first + TXN_OBJECTS)).collect();
                let value = Value::new(0);
                let put = wire.put_many(&keys, &value);
                timeout(ANSWER_MAX, put).await.context("no answer in time")??;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Seconds that all members have had of processors.
fn cpu_of(system: &System) -> Result<f64> {
    system.processes()?.iter().map(Process::cpu_seconds).sum()
}

/// Seconds that this process has had of processors.
fn own_cpu() -> Result<f64> {
    let own = Process::of(i32::try_from(std::process::id())?);
    own.context("this process is not in /proc")?.cpu_seconds()
}
