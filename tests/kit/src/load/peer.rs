//! The peer of a fleet: watchers of an etcd, as many as there are leaves and each on a connection
//! of its own. One watches a key of its own, as a leaf has an object, and one that all of them
//! watch.

use std::{net::SocketAddr, path::Path, rc::Rc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{net::TcpStream, time::timeout};

use super::{
    Load,
    crew::Crew,
    figure::float,
    leaf::{Hub, name},
    micros_between,
    orders::now,
    system::pass,
    worker::Here,
};
use crate::{
    etcd::{self, Etcd, Grpc},
    wait_until,
};

/// The name under which it stands in figures.
pub(super) const PEER: &str = "etcd";
/// The most watchers: each takes about a quarter of a mebibyte there.
const WATCHERS_MAX: usize = 10_000;
/// The key that all of them watch.
const ALL_KEY: &str = "/load/all";
/// How long it may take until it serves.
const READY_MAX: Duration = Duration::from_mins(1);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How long it is left alone before it is measured.
const SETTLE: Duration = Duration::from_secs(3);

/// Three etcd and their watchers.
pub(super) struct Peer {
    etcd: Etcd,
    crew: Crew,
    /// To the one that is written to.
    writer: Grpc,
    /// Watchers a second that began to watch.
    pub(super) attach_per_s: f64,
    /// Bytes that all three hold for one of them.
    pub(super) memory: f64,
}

impl Peer {
    /// Starts one, where etcd is installed and leaves are no more than it can have watchers.
    pub(super) async fn start(load: &Load, folder: &Path) -> Result<Option<Self>> {
        let is_wanted = load.with_peer && load.relays == 0 && load.leaves <= WATCHERS_MAX;
        if !is_wanted || etcd::program().is_none() {
            return Ok(None);
        }
        let etcd = Etcd::start(folder)?;
        let at: Vec<SocketAddr> = (0..etcd::MEMBERS).map(|member| etcd.address(member)).collect();
        let mut writer = None;
        for at in &at {
            let serves = async || {
                let mut grpc = Grpc::connect(*at).await?;
                grpc.put(ALL_KEY, "0").await?;
                Ok(grpc)
            };
            let serves = async || timeout(LOOK_MAX, serves()).await.context("no answer")?;
            writer = Some(wait_until("etcd serves", READY_MAX, serves).await?);
        }
        let writer = writer.context("nobody to write to")?;
        let crew = Crew::start(super::workers(load.leaves), &load.hands, folder).await?;
        let mut peer = Self { etcd, crew, writer, attach_per_s: 0.0, memory: 0.0 };
        let before = peer.memory().await?;
        let since = now();
        peer.crew.watch(load.leaves, &at).await?;
        let report = peer.crew.attached(load.leaves, |_| true).await?;
        peer.attach_per_s = float(load.leaves) / micros_between(since, report.attached_at) * 1e6;
        peer.memory = (peer.memory().await? - before).max(0.0) / float(load.leaves);
        Ok(Some(peer))
    }

    /// Bytes that all three hold, once they are left alone.
    async fn memory(&self) -> Result<f64> {
        pass(SETTLE).await;
        let mut kibibytes = 0;
        for member in 0..etcd::MEMBERS {
            kibibytes += self.etcd.process(member)?.memory()? >> 10;
        }
        Ok(f64::from(u32::try_from(kibibytes)?) * 1_024.0)
    }

    async fn put(&mut self, key: &str, word: i64) -> Result<(u64, u64)> {
        let sent = now();
        self.writer.put(key, &word.to_string()).await?;
        Ok((sent, now()))
    }

    /// Has one watcher told a word: when that was sent and accepted, and when the watcher had it.
    pub(super) async fn tell_one(&mut self, watcher: usize, word: i64) -> Result<[u64; 3]> {
        self.crew.expect_one(watcher, word).await?;
        let (sent, accepted) = self.put(&key(watcher), word).await?;
        Ok([sent, accepted, self.crew.applied_by_one(watcher, word).await?])
    }

    /// Has all of them told a word: when that was sent and accepted, and when each had it.
    pub(super) async fn tell_all(&mut self, word: i64) -> Result<(u64, u64, Vec<u64>)> {
        self.crew.expect_all(word).await?;
        let (sent, accepted) = self.put(ALL_KEY, word).await?;
        Ok((sent, accepted, self.crew.applied_by_all(word).await?))
    }
}

/// The key of one watcher.
fn key(watcher: usize) -> String {
    format!("/load/{}", name(watcher))
}

/// Watches as one watcher, on the side of a worker.
pub(super) async fn watch(
    stream: TcpStream,
    etcd: SocketAddr,
    watcher: usize,
    hub: Rc<Hub>,
    here: Here,
) -> Result<()> {
    let mut watch = Grpc::over(stream, etcd).await?.watch(&[&key(watcher), ALL_KEY]).await?;
    here();
    loop {
        let word = watch.next().await?;
        hub.applied(watcher, std::str::from_utf8(&word)?.parse()?);
    }
}
