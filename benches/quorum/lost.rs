//! The loss of a leader: how long until another one leads, and until a write is taken again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use super::{
    Bench,
    pair::{Both, Pair},
    system::{MEMBERS, System, standing},
    wire::{Place, Value, Wire},
};

/// How long it may take until writes are taken.
const WRITE_MAX: Duration = Duration::from_mins(1);
/// How long one try may take.
const TRY_MAX: Duration = Duration::from_secs(10);
/// How often a write is tried: each is another client.
const TRY_INTERVAL: Duration = Duration::from_millis(20);
/// How often is looked who leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How long a system rests before the next loss.
const REST: Duration = Duration::from_secs(2);
/// What is written; a load writes it too.
const WRITTEN: u64 = 0;

/// How a leader is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its process is killed.
    Kill,
    /// Its process is stopped where it is.
    Stop,
}

impl Loss {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "first_write.kill",
            Self::Stop => "first_write.stop",
        }
    }
}

/// Seconds from the loss.
struct Run {
    leader: f64,
    write: f64,
}

/// The losses that are asked for.
pub(crate) fn wanted(bench: &Bench<'_>) -> Vec<Loss> {
    let all = [Loss::Kill, Loss::Stop].into_iter();
    all.filter(|loss| bench.wants(&[loss.name().to_owned()])).collect()
}

/// The rows of one loss.
pub(crate) async fn measure(bench: &mut Bench<'_>, pair: &mut Pair, loss: Loss) -> Result<()> {
    let mut both = Both::new();
    for _ in 0..bench.runs() {
        for system in &mut pair.systems {
            let run = lose(system, loss).await?;
            both.add(system.who(), run);
            sleep(REST).await;
        }
    }
    let name = loss.name();
    bench.take(vec![
        both.figure(name, "s", |run| run.write),
        both.figure(&format!("{name}.leader"), "s", |run| run.leader),
    ]);
    Ok(())
}

async fn lose(system: &mut System, loss: Loss) -> Result<Run> {
    let leader = system.leader().await?;
    let process = system.process(leader)?;
    let others = [1, 2].map(|next| system.place((leader + next) % MEMBERS));
    let since = Instant::now();
    match loss {
        Loss::Kill => system.kill9(leader)?,
        Loss::Stop => process.signal(Signal::SIGSTOP)?,
    }
    let lost = async { tokio::try_join!(first_write(since, others), new_leader(since, others)) };
    let run = timeout(WRITE_MAX, lost).await;
    match loss {
        Loss::Kill => system.start_again(leader)?,
        Loss::Stop => process.signal(Signal::SIGCONT)?,
    }
    let (write, leader) = run.context("no write is taken after the loss of a leader")??;
    system.all_serve().await?;
    Ok(Run { leader, write })
}

/// Tries to write at both others by turns, without waiting for one try before the next.
async fn first_write(since: Instant, others: [Place; 2]) -> Result<f64> {
    let (mut tries, mut ticks) = (JoinSet::<Result<()>>::new(), interval(TRY_INTERVAL));
    let mut places = others.into_iter().cycle();
    loop {
        tokio::select! {
            Some(ended) = tries.join_next() => {
                // A try that failed is no answer; the next one may be.
                if ended?.is_ok() {
                    return Ok(since.elapsed().as_secs_f64());
                }
            }
            _ = ticks.tick() => {
                let place = places.next().context("two places")?;
                tries.spawn(async move {
                    let put = async {
                        let mut wire = Wire::connect(place).await?;
                        wire.put(WRITTEN, &Value::new(0)).await
                    };
                    timeout(TRY_MAX, put).await.context("no answer")?
                });
            }
        }
    }
}

async fn new_leader(since: Instant, others: [Place; 2]) -> Result<f64> {
    loop {
        for place in others {
            if standing(place).await.is_ok_and(|standing| standing.leads) {
                return Ok(since.elapsed().as_secs_f64());
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
}
