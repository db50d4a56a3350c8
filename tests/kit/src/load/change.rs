//! How long a change of Cfg takes down to the one leaf that it concerns, and to all.

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use super::{
    Load, Outcome,
    crew::Crew,
    figure::{Figure, float, median, quantile, size},
    micros_between,
    system::System,
};

/// Words that all leaves are asked for come after these.
const ALL_WORDS: i64 = 1 << 32;
/// A step through all leaves that looks like chance: leaves that follow each other are far apart.
const STEP: usize = 7_919;

/// The rows of a change of one leaf.
pub(super) async fn one(
    load: &Load,
    crew: &mut Crew,
    system: &System,
    outcome: &mut Outcome,
) -> Result<()> {
    let (mut accepted, mut sent) = (Vec::new(), Vec::new());
    for (round, word) in (0..load.ones).zip(1_i64..) {
        let leaf = round * STEP % load.leaves;
        crew.expect_one(leaf, word).await?;
        let (sent_at, accepted_at) = system.ask_one(leaf, word).await?;
        let applied_at = crew.applied_by_one(leaf, word).await?;
        accepted.push(applied_at.saturating_sub(accepted_at));
        sent.push(applied_at.saturating_sub(sent_at));
    }
    let name = format!("fanout.one.{}", size(load.leaves));
    let n = accepted.len();
    let accepted = outcome.add_times(&name, accepted);
    let sent = outcome.add_times(&format!("{name}.sent"), sent);
    let row = |what: &str, times: &[u64], share| {
        Figure::new(format!("{name}.{what}"), quantile(times, share), "us", n)
    };
    outcome.figures.extend([
        row("p50", &accepted, 500).target(5_000.0),
        row("p99", &accepted, 990).target(20_000.0),
        row("last", &accepted, 1_000),
        row("sent.p50", &sent, 500),
        row("sent.p99", &sent, 990),
    ]);
    Ok(())
}

/// The rows of a change of all, where there is to be one. An idle leaf moves so many bytes in a
/// second.
pub(super) async fn all(
    load: &Load,
    crew: &mut Crew,
    system: &System,
    idle_bytes: f64,
    outcome: &mut Outcome,
) -> Result<()> {
    if load.alls == 0 {
        return Ok(());
    }
    let (mut every, mut lasts, mut sent_lasts) = (Vec::new(), Vec::new(), Vec::new());
    let (before, since) = (crew.report().await?, Instant::now());
    for word in (ALL_WORDS..).take(load.alls) {
        crew.expect_all(word).await?;
        let (sent_at, accepted_at) = system.ask_all(word).await?;
        let times = crew.applied_by_all(word).await?;
        ensure!(times.len() == load.leaves, "{} of {} leaves", times.len(), load.leaves);
        let last = times.iter().copied().max().unwrap_or_default();
        lasts.push(micros_between(accepted_at, last));
        sent_lasts.push(micros_between(sent_at, last));
        every.extend(times.iter().map(|at| at.saturating_sub(accepted_at)));
    }
    let (after, leaves) = (crew.report().await?, float(load.leaves));
    let idle = idle_bytes * leaves * since.elapsed().as_secs_f64();
    let bytes = u32::try_from(after.moved() - before.moved()).context("bytes of changes")?;
    let bytes = (f64::from(bytes) - idle) / leaves / float(load.alls);
    let name = format!("fanout.all.{}", size(load.leaves));
    let every = outcome.add_times(&name, every);
    let last = Figure::new(format!("{name}.last"), median(lasts), "us", load.alls);
    outcome.figures.extend([
        Figure::new(format!("{name}.p50"), quantile(&every, 500), "us", every.len()),
        Figure::new(format!("{name}.p99"), quantile(&every, 990), "us", every.len()),
        match last_target(load.leaves) {
            Some(target) => last.target(target),
            None => last,
        },
        Figure::new(format!("{name}.sent.last"), median(sent_lasts), "us", load.alls),
        Figure::new(
            format!("fanout.change.bytes.{}", size(load.leaves)),
            bytes,
            "bytes",
            load.alls,
        )
        .target(150.0),
    ]);
    Ok(())
}

/// Within how many microseconds the last one of so many leaves should have a change.
fn last_target(leaves: usize) -> Option<f64> {
    let targets = [(1_000, 15e3), (10_000, 160e3), (45_000, 900e3), (100_000, 2e6)];
    targets.into_iter().find(|(count, _)| *count == leaves).map(|(_, target)| target)
}
