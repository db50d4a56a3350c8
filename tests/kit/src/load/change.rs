//! How long a change of Cfg takes down to the one leaf that it concerns, and to all; beside it, by
//! turns, to watchers of etcd.

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use super::{
    Load, Outcome,
    crew::Crew,
    figure::{Figure, float, median, quantile, size},
    micros_between,
    peer::{PEER, Peer},
    system::System,
};

/// Words that all leaves are asked for come after these.
const ALL_WORDS: i64 = 1 << 32;
/// A step through all leaves that looks like chance: leaves that follow each other are far apart.
const STEP: usize = 7_919;

/// What changes of one leaf took, in microseconds.
#[derive(Default)]
struct Ones {
    accepted: Vec<u64>,
    sent: Vec<u64>,
}

impl Ones {
    fn add(&mut self, [sent_at, accepted_at, applied_at]: [u64; 3]) {
        self.accepted.push(applied_at.saturating_sub(accepted_at));
        self.sent.push(applied_at.saturating_sub(sent_at));
    }
}

/// What changes of all took, in microseconds.
#[derive(Default)]
struct Alls {
    every: Vec<u64>,
    lasts: Vec<f64>,
    sent_lasts: Vec<f64>,
}

impl Alls {
    fn add(&mut self, leaves: usize, change: (u64, u64, Vec<u64>)) -> Result<()> {
        let (sent_at, accepted_at, times) = change;
        ensure!(times.len() == leaves, "{} of {leaves} leaves", times.len());
        let last = times.iter().copied().max().unwrap_or_default();
        self.lasts.push(micros_between(accepted_at, last));
        self.sent_lasts.push(micros_between(sent_at, last));
        self.every.extend(times.iter().map(|at| at.saturating_sub(accepted_at)));
        Ok(())
    }
}

/// The rows of a change of one leaf.
pub(super) async fn one(
    load: &Load,
    crew: &mut Crew,
    system: &System,
    peer: &mut Option<Peer>,
    outcome: &mut Outcome,
) -> Result<()> {
    let (mut ours, mut peers) = (Ones::default(), Ones::default());
    for (round, word) in (0..load.ones).zip(1_i64..) {
        let leaf = round * STEP % load.leaves;
        crew.expect_one(leaf, word).await?;
        let (sent_at, accepted_at) = system.ask_one(leaf, word).await?;
        ours.add([sent_at, accepted_at, crew.applied_by_one(leaf, word).await?]);
        if let Some(peer) = peer {
            peers.add(peer.tell_one(leaf, word).await?);
        }
    }
    let name = format!("fanout.one.{}", size(load.leaves));
    let n = ours.accepted.len();
    let mut times = |what: &str, ours, peers: Vec<u64>| {
        let ours = outcome.add_times(&format!("{name}{what}"), ours);
        let theirs = peer.as_ref().map(|_| outcome.add_times(&peers_name(&name, what), peers));
        (ours, theirs)
    };
    let accepted = times("", ours.accepted, peers.accepted);
    let sent = times(".sent", ours.sent, peers.sent);
    let row = |what: &str, (ours, theirs): &(Vec<u64>, Option<Vec<u64>>), share| {
        let theirs = theirs.as_ref().map(|theirs| quantile(theirs, share));
        Figure::new(format!("{name}.{what}"), quantile(ours, share), "us", n).beside(PEER, theirs)
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

/// How times of the peer are called.
fn peers_name(name: &str, what: &str) -> String {
    format!("{name}{what}.{PEER}")
}

/// The rows of a change of all, where there is to be one. An idle leaf moves so many bytes in a
/// second.
pub(super) async fn all(
    load: &Load,
    (crew, idle_bytes): (&mut Crew, f64),
    system: &System,
    peer: &mut Option<Peer>,
    outcome: &mut Outcome,
) -> Result<()> {
    if load.alls == 0 {
        return Ok(());
    }
    let (mut ours, mut peers) = (Alls::default(), Alls::default());
    let (before, since) = (crew.report().await?, Instant::now());
    for word in (ALL_WORDS..).take(load.alls) {
        crew.expect_all(word).await?;
        let (sent_at, accepted_at) = system.ask_all(word).await?;
        let times = crew.applied_by_all(word).await?;
        ours.add(load.leaves, (sent_at, accepted_at, times))?;
        if let Some(peer) = peer {
            peers.add(load.leaves, peer.tell_all(word).await?)?;
        }
    }
    let (after, leaves) = (crew.report().await?, float(load.leaves));
    let idle = idle_bytes * leaves * since.elapsed().as_secs_f64();
    let bytes = u32::try_from(after.moved() - before.moved()).context("bytes of changes")?;
    let bytes = (f64::from(bytes) - idle) / leaves / float(load.alls);
    let name = format!("fanout.all.{}", size(load.leaves));
    let every = outcome.add_times(&name, ours.every);
    let theirs = peer.as_ref().map(|_| {
        let every = outcome.add_times(&peers_name(&name, ""), peers.every);
        (every, median(peers.lasts), median(peers.sent_lasts))
    });
    let quantile_of = |what: &str, share| {
        let theirs = theirs.as_ref().map(|(every, ..)| quantile(every, share));
        let value = quantile(&every, share);
        Figure::new(format!("{name}.{what}"), value, "us", every.len()).beside(PEER, theirs)
    };
    let last = Figure::new(format!("{name}.last"), median(ours.lasts), "us", load.alls)
        .beside(PEER, theirs.as_ref().map(|(_, last, _)| *last));
    let sent = median(ours.sent_lasts);
    outcome.figures.extend([
        quantile_of("p50", 500),
        quantile_of("p99", 990),
        match last_target(load.leaves) {
            Some(target) => last.target(target),
            None => last,
        },
        Figure::new(format!("{name}.sent.last"), sent, "us", load.alls)
            .beside(PEER, theirs.as_ref().map(|(.., sent)| *sent)),
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
