//! A fleet of light leaves, each with a connection of its own, attached to real members: how long
//! changes take down and up, what an idle leaf costs, and how fast leaves come back.
//!
//! Leaves are held by workers and attach to the members, or to relays between. Nothing of the
//! protocol is written here: a light leaf is the child and the line of an agent without its actors.

mod agents;
mod change;
mod crew;
mod echo;
mod figure;
mod idle;
mod leaf;
mod loss;
mod orders;
mod peer;
mod plot;
mod sight;
mod system;
mod worker;

use std::{fmt::Display, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_engine::{
    id::Name,
    object::Labels,
    sync::pace::{BULK, HEARTBEAT_LABEL, NORMAL, Pace},
};

pub use self::{
    agents::Agents,
    crew::Hands,
    echo::serve as echo,
    figure::{Figure, lines, table},
    plot::{Curve, distributions, growth},
    worker::work,
};
use self::{
    crew::Crew,
    figure::{float, size},
    orders::now,
    peer::{PEER, Peer},
    system::System,
};

/// The label by which all leaves are asked.
const LABEL: (&str, &str) = ("load", "on");
/// The path of Cfg by which leaves are asked for a word.
const WORD_PATH: &str = "/load/word";
/// The path of Dsc at which leaves see something.
const SEEN_PATH: &str = "/load/seen";
/// Most leaves of one worker: fewer than a process may have connections.
const WORKER_LEAVES_MAX: usize = 15_000;
/// The fewest workers: more would only take turns on a small machine.
const WORKERS_MIN: usize = 2;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Load {
    /// The program of the members.
    pub program: String,
    /// What workers are.
    pub hands: Hands,
    /// Where the data of members lies; exists.
    pub folder: PathBuf,
    /// How many leaves.
    pub leaves: usize,
    /// How many relays they attach to; 0: to the members.
    pub relays: usize,
    /// Whether watchers of etcd are measured beside, where that is installed.
    pub with_peer: bool,
    /// How often they are heard of.
    pub pace: Pace,
    /// How many changes concern one leaf.
    pub ones: usize,
    /// How many changes concern all.
    pub alls: usize,
    /// How long everything is counted that is counted for a time.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The figures, in the order in which they were measured.
    pub figures: Vec<Figure>,
    /// Distributions of times.
    pub curves: Vec<Curve>,
}

impl Outcome {
    /// Adds times under a name, which are put in order.
    fn add_times(&mut self, name: &str, mut micros: Vec<u64>) -> Vec<u64> {
        micros.sort_unstable();
        self.curves.push(Curve { name: name.to_owned(), micros: micros.clone() });
        micros
    }
}

impl Load {
    /// The labels of the leaves.
    fn labels(&self) -> Result<Labels> {
        let labels = [LABEL, (HEARTBEAT_LABEL, if self.pace.is_normal() { NORMAL } else { BULK })];
        let labels = labels.map(|(label, value)| Ok((Name::new(label)?, value.to_owned())));
        labels.into_iter().collect()
    }

    /// Measures all of it with one fleet; `note` is told what happens.
    pub async fn run(&self, mut note: impl FnMut(&dyn Display)) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let leaves = self.leaves;
        ensure!(leaves > 0, "a fleet has a leaf at least");
        let folder = tempfile::Builder::new().prefix("kraken-load-").tempdir_in(&self.folder)?;
        let named = size(leaves);
        note(&format_args!("three members, and objects for {leaves} leaves"));
        let mut system = System::start(self, folder.path()).await?;
        let mut crew = Crew::start(workers(leaves), &self.hands, folder.path()).await?;
        note(&"bare connections beside");
        let bare = idle::bare(self, &mut crew, folder.path()).await?;
        let before = idle::rest(&system, self.time).await?;
        let mut peer = Peer::start(self, folder.path()).await?;
        if peer.is_some() {
            note(&format_args!("as many watchers of {PEER} beside"));
        }
        note(&"all attach");
        let since = now();
        crew.attach(leaves, &system.parents()?, &self.labels()?).await?;
        let report = crew.attached(leaves, |_| true).await?;
        let took = micros_between(since, report.attached_at);
        let per_s = float(leaves) / took * 1e6;
        let attach = Figure::new(format!("fanout.attach.{named}"), per_s, "per_s", leaves);
        let theirs = peer.as_ref();
        outcome.figures.push(attach.beside(PEER, theirs.map(|peer| peer.attach_per_s)));
        note(&"all are idle");
        let rests = (before, bare, theirs.map(|peer| peer.memory));
        let bytes = idle::measure(self, &mut crew, &system, rests, &mut outcome).await?;
        note(&"changes go down");
        change::one(self, &mut crew, &system, &mut peer, &mut outcome).await?;
        change::all(self, (&mut crew, bytes), &system, &mut peer, &mut outcome).await?;
        drop(peer);
        note(&"changes come up");
        sight::measure(self, &mut crew, &system, &mut outcome).await?;
        if loss::is_survivable(leaves, system.parents()?.len()) {
            note(&"one that they are attached to is killed");
            loss::measure(self, &mut crew, &mut system, &mut outcome).await?;
        } else {
            note(&"nobody is killed: the others could not hold all");
        }
        let strange = crew.report().await?.strange;
        ensure!(strange == 0, "leaves were told {strange} things that nobody should have said");
        drop(crew);
        system.end().context("the members")?;
        Ok(outcome)
    }
}

/// How many workers hold so many.
fn workers(leaves: usize) -> usize {
    leaves.div_ceil(WORKER_LEAVES_MAX).max(WORKERS_MIN)
}

/// Microseconds from one time to another; 0 where it was not later.
fn micros_between(from: u64, to: u64) -> f64 {
    u32::try_from(to.saturating_sub(from)).map_or(f64::MAX, f64::from).max(1.0)
}
