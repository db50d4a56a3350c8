//! Ours and the peer side by side: both stand all the time, and one is measured while the other
//! rests, by turns.

use std::path::Path;

use anyhow::Result;
use kraken::Figure;
use kraken_testkit::etcd;

use super::{
    load,
    system::{System, Who},
};

/// The name under which the peer stands in figures.
pub(crate) const PEER: &str = "etcd";

/// Ours, and the peer where it is installed.
pub(crate) struct Pair {
    pub(crate) systems: Vec<System>,
}

/// What runs of both came to.
#[derive(Debug)]
pub(crate) struct Both<T> {
    ours: Vec<T>,
    peers: Vec<T>,
}

impl Pair {
    pub(crate) async fn start(program: &str, folder: &Path, alone: bool) -> Result<Self> {
        let mut systems = vec![System::start(Who::Kraken, program, folder).await?];
        if !alone && etcd::program().is_some() {
            systems.push(System::start(Who::Etcd, program, folder).await?);
        }
        Ok(Self { systems })
    }

    /// Puts that many objects into both.
    pub(crate) async fn fill(&self, objects: u64) -> Result<()> {
        for system in &self.systems {
            load::fill(system, objects).await?;
            system.all_serve().await?;
        }
        Ok(())
    }

    pub(crate) fn end(self) -> Result<()> {
        self.systems.into_iter().try_for_each(System::end)
    }
}

impl<T> Both<T> {
    pub(crate) fn new() -> Self {
        Self { ours: Vec::new(), peers: Vec::new() }
    }

    pub(crate) fn add(&mut self, who: Who, run: T) {
        match who {
            Who::Kraken => self.ours.push(run),
            Who::Etcd => self.peers.push(run),
        }
    }

    /// A row of what `of` tells of each run.
    pub(crate) fn figure(&self, name: &str, unit: &'static str, of: impl Fn(&T) -> f64) -> Figure {
        let figure = Figure::of(format!("quorum.{name}"), unit, None, self.ours.iter().map(&of));
        figure.beside(PEER, self.peers.iter().map(of))
    }
}
