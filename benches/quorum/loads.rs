//! Writes, reads and watches under load, all on the same objects, and what follows the loss of a
//! leader, last as it disturbs.

use std::num::NonZero;

use anyhow::Result;
use kraken::Figure;

use super::{
    Bench,
    load::{Ask, Outcome, Plan, run},
    lost,
    pair::{Both, Pair},
    system::{MEMBERS, standing},
    times::float,
    watchers,
    wire::Read,
};

/// How many clients.
const CLIENTS: [usize; 5] = [1, 16, 64, 256, 1_024];
const CLIENTS_QUICK: [usize; 2] = [1, 16];
/// Clients of transactions.
const CLIENTS_TXN: usize = 16;
/// Connections over which an open load goes.
const CLIENTS_OPEN: usize = 256;
/// The row of the open load.
const OPEN: &str = "put.open";
/// How many watch.
const WATCHERS: [usize; 3] = [1, 100, 1_000];
const WATCHERS_QUICK: [usize; 2] = [1, 10];

/// Rows of one load.
struct Group {
    name: String,
    /// Also called that.
    cpu: Option<String>,
    plan: Plan,
}

impl Group {
    fn names(&self) -> Vec<String> {
        [Some(self.name.clone()), self.cpu.clone()].into_iter().flatten().collect()
    }
}

/// All closed loads.
fn groups(bench: &Bench<'_>) -> Vec<Group> {
    let clients = if bench.args.quick { &CLIENTS_QUICK[..] } else { &CLIENTS };
    let (objects, time) = (bench.objects(), bench.time());
    let plan = |ask, clients| Plan { ask, clients, objects, time, rate: None };
    let mut groups = Vec::new();
    for (name, ask) in [
        ("put", Ask::Put),
        ("read_linearizable", Ask::Read(Read::Linearizable)),
        ("read_stale", Ask::Read(Read::Stale)),
    ] {
        groups.extend(clients.iter().map(|&count| Group {
            name: format!("{name}.{count}"),
            cpu: (ask == Ask::Put).then(|| format!("cpu_per_put.{count}")),
            plan: plan(ask, count),
        }));
    }
    groups.push(Group { name: "txn100".to_owned(), cpu: None, plan: plan(Ask::Txn, CLIENTS_TXN) });
    groups
}

/// Measures what is asked for.
pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let mut groups = groups(bench);
    groups.retain(|group| bench.wants(&group.names()));
    let watchers = if bench.args.quick { &WATCHERS_QUICK[..] } else { &WATCHERS };
    let watchers: Vec<usize> =
        watchers.iter().copied().filter(|count| bench.wants(&[format!("watch.{count}")])).collect();
    let open = bench.wants(&[OPEN.to_owned()]);
    let losses = lost::wanted(bench);
    if groups.is_empty() && watchers.is_empty() && losses.is_empty() && !open {
        return Ok(());
    }
    let mut pair = bench.pair().await?;
    pair.fill(bench.objects()).await?;
    let before = terms(&pair).await?;
    for group in groups {
        closed(bench, &pair, &group).await?;
    }
    if open {
        self::open(bench, &pair).await?;
    }
    for count in watchers {
        watchers::measure(bench, &pair, count).await?;
    }
    elections(bench, &pair, &before, "elections").await?;
    for loss in losses {
        lost::measure(bench, &mut pair, loss).await?;
    }
    pair.end()
}

/// The rows of one closed load.
async fn closed(bench: &mut Bench<'_>, pair: &Pair, group: &Group) -> Result<()> {
    let both = by_turns(bench, pair, group.plan).await?;
    let name = &group.name;
    let mut figures = vec![both.figure(name, "per_s", |run| run.per_s)];
    figures.extend(quantiles(&both, name));
    let cpu = group.cpu.clone().unwrap_or_else(|| format!("{name}.cpu"));
    figures.push(both.figure(&cpu, "us", Outcome::cpu_each));
    figures.push(generator(&both, name));
    figures.push(both.figure(&format!("{name}.failed"), "count", |run| float(run.failed)));
    bench.take(figures);
    Ok(())
}

/// Puts at the same rate for both, half of what the slower one of them takes.
pub(crate) async fn half_of_the_slower(bench: &Bench<'_>, pair: &Pair) -> Result<Plan> {
    let (objects, time) = (bench.objects(), bench.time());
    let plan = Plan { ask: Ask::Put, clients: CLIENTS_OPEN, objects, time, rate: None };
    let mut rate = f64::INFINITY;
    for system in &pair.systems {
        rate = rate.min(run(system, plan).await?.per_s / 2.0);
    }
    Ok(Plan { rate: Some(rate.max(1.0)), ..plan })
}

/// The rows of the open load.
async fn open(bench: &mut Bench<'_>, pair: &Pair) -> Result<()> {
    let plan = half_of_the_slower(bench, pair).await?;
    let both = by_turns(bench, pair, plan).await?;
    let mut figures = vec![both.figure(OPEN, "per_s", |run| run.per_s)];
    figures.extend(quantiles(&both, OPEN));
    figures.push(both.figure(&format!("{OPEN}.cpu"), "us", Outcome::cpu_each));
    figures.push(generator(&both, OPEN));
    bench.take(figures);
    Ok(())
}

async fn by_turns(bench: &Bench<'_>, pair: &Pair, plan: Plan) -> Result<Both<Outcome>> {
    let mut both = Both::new();
    for _ in 0..bench.runs() {
        for system in &pair.systems {
            both.add(system.who(), run(system, plan).await?);
        }
    }
    Ok(both)
}

/// The times within which a half, 99 of 100 and 999 of 1,000 were answered.
fn quantiles(both: &Both<Outcome>, name: &str) -> Vec<Figure> {
    let rows = [("p50", 500), ("p99", 990), ("p999", 999)].into_iter();
    let row = |(row, share)| {
        both.figure(&format!("{name}.{row}"), "us", |run: &Outcome| run.times.quantile(share))
    };
    rows.map(row).collect()
}

/// The share of the machine that the generator took.
fn generator(both: &Both<Outcome>, name: &str) -> Figure {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let machine = float(cores as u64);
    both.figure(&format!("{name}.generator"), "share", |run| run.generator / run.seconds / machine)
}

/// The highest term of each system.
pub(crate) async fn terms(pair: &Pair) -> Result<Vec<u64>> {
    let mut terms = Vec::new();
    for system in &pair.systems {
        let mut highest = 0;
        for member in 0..MEMBERS {
            highest = highest.max(standing(system.place(member)).await?.term);
        }
        terms.push(highest);
    }
    Ok(terms)
}

/// How many elections there were since `before` was read.
pub(crate) async fn elections(
    bench: &mut Bench<'_>,
    pair: &Pair,
    before: &[u64],
    name: &str,
) -> Result<()> {
    let mut both = Both::new();
    for ((system, before), after) in pair.systems.iter().zip(before).zip(terms(pair).await?) {
        both.add(system.who(), after.saturating_sub(*before));
    }
    bench.take(vec![both.figure(name, "count", |count| float(*count))]);
    Ok(())
}
