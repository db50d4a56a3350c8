//! A steady load for a long time: whether memory, delays and the leader stay as they are.

use std::time::Duration;

use anyhow::Result;
use kraken::Figure;

use super::{
    Bench,
    load::{Outcome, run, with_warm_up},
    loads::{elections, half_of_the_slower, terms},
    pair::{Both, PEER},
    times::float,
};

/// The row, which is measured only where it is asked for by its name.
const NAME: &str = "endure";
/// How long each of both is counted before it is the other's turn.
const TURN: Duration = Duration::from_secs(16);
/// Parts of the whole time, of which the first and the last are compared.
const PARTS: u64 = 4;

/// One turn.
struct Round {
    load: Outcome,
    /// Bytes of the member that holds the most.
    memory: f64,
}

/// The turns of the first part of the time, and those of the last.
struct Ends {
    first: Both<Round>,
    last: Both<Round>,
}

/// Measures it where it is asked for.
pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<()> {
    if !bench.names(NAME) {
        return Ok(());
    }
    let pair = bench.pair().await?;
    pair.fill(bench.objects()).await?;
    let mut plan = half_of_the_slower(bench, &pair).await?;
    if !bench.args.quick {
        plan.time = TURN;
    }
    let before = terms(&pair).await?;
    let rounds = rounds(bench, pair.systems.len());
    let mut ends = Ends { first: Both::new(), last: Both::new() };
    let mut failed = vec![0; pair.systems.len()];
    for number in 0..rounds {
        for (system, failed) in pair.systems.iter().zip(&mut failed) {
            let load = run(system, plan).await?;
            *failed += load.failed;
            let round = Round { load, memory: system.memory()? };
            if number < rounds / PARTS {
                ends.first.add(system.who(), round);
            } else if number >= rounds - rounds / PARTS {
                ends.last.add(system.who(), round);
            }
        }
    }
    let mut refused = Both::new();
    for (system, failed) in pair.systems.iter().zip(failed) {
        refused.add(system.who(), failed);
    }
    let mut figures = ends.figures("p99", "us", |round| round.load.times.quantile(990));
    figures.extend(ends.figures("memory", "bytes", |round| round.memory));
    figures.push(ends.last.figure(&format!("{NAME}.rate"), "per_s", |round| round.load.per_s));
    figures.push(refused.figure(&format!("{NAME}.failed"), "count", |failed| float(*failed)));
    bench.take(figures);
    elections(bench, &pair, &before, &format!("{NAME}.elections")).await?;
    pair.end()
}

/// How often it is the turn of each.
fn rounds(bench: &Bench<'_>, systems: usize) -> u64 {
    if bench.args.quick {
        return PARTS;
    }
    let all = Duration::from_mins(bench.args.minutes.into());
    let each = with_warm_up(TURN).as_secs() * systems as u64;
    (all.as_secs() / each).max(PARTS)
}

impl Ends {
    /// What was measured at first and at last, and how many times the first the last is.
    fn figures(&self, name: &str, unit: &'static str, of: impl Fn(&Round) -> f64) -> Vec<Figure> {
        let first = self.first.figure(&format!("{NAME}.{name}.first"), unit, &of);
        let last = self.last.figure(&format!("{NAME}.{name}.last"), unit, &of);
        let growth = [last.value() / first.value()];
        let growth = Figure::of(format!("quorum.{NAME}.{name}.growth"), "times", None, growth);
        let peers = last.peer_value().zip(first.peer_value()).map(|(last, first)| last / first);
        vec![growth.beside(PEER, peers), first, last]
    }
}
