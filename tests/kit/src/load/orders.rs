//! What the desk of a load and its workers tell each other, one JSON object a line.

use std::{collections::BTreeMap, time::SystemTime};

use anyhow::{Context as _, Result};
use kraken_engine::object::Labels;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// From the desk to a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Order {
    /// Attach leaves with these labels.
    Attach { share: Share, labels: Labels },
    /// Say when so many leaves have this word in their Cfg.
    Expect { word: i64, leaves: usize },
    /// Have so many leaves see something new in a second; 0 ends that.
    Churn { per_second: f64 },
    /// Have as many watchers of etcd watch.
    Watch { share: Share },
    /// Say how all is.
    Report,
    /// Keep bare connections that send so many bytes in so many milliseconds.
    Beat { share: Share, bytes: usize, period_ms: u64 },
    /// End all connections.
    Leave,
}

/// The part of a worker, and where it attaches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Share {
    /// The number of its first leaf.
    pub(super) first: usize,
    /// How many it has.
    pub(super) count: usize,
    /// Where parents are.
    pub(super) parents: Vec<String>,
}

/// From a worker to the desk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Told {
    /// The leaves have this word, each since one of these times.
    Applied { word: i64, times: Vec<u64> },
    /// How all is.
    Report(Report),
    /// All connections have ended.
    Left,
}

/// How a worker is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// Leaves that are attached, by parent.
    pub(super) attached: BTreeMap<String, usize>,
    /// When the last one was.
    pub(super) attached_at: u64,
    /// Bytes that all of them have sent, the length before each frame included.
    pub(super) sent: u64,
    /// Bytes that all of them have received.
    pub(super) received: u64,
    /// Sessions that began.
    pub(super) sessions: u64,
    /// What a leaf was told to do and nobody should have.
    pub(super) strange: u64,
    /// In words, which leaves lack what is waited for.
    pub(super) lacking: Vec<String>,
}

impl Report {
    /// Bytes that all of them have moved.
    pub(super) fn moved(&self) -> u64 {
        self.sent + self.received
    }

    /// This one and another one together.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (parent, count) in other.attached {
            *self.attached.entry(parent).or_default() += count;
        }
        self.attached_at = self.attached_at.max(other.attached_at);
        self.sent += other.sent;
        self.received += other.received;
        self.sessions += other.sessions;
        self.strange += other.strange;
        self.lacking.extend(other.lacking);
        self
    }
}

/// Microseconds since 1970 by the clock of the machine, which all processes share.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// The reading half of a connection between desk and worker.
pub(super) struct Listener(Lines<BufReader<OwnedReadHalf>>);

/// The writing half.
pub(super) struct Speaker(OwnedWriteHalf);

/// The two halves.
pub(super) fn halves(stream: TcpStream) -> Result<(Listener, Speaker)> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok((Listener(BufReader::new(read).lines()), Speaker(write)))
}

impl Listener {
    /// What comes next; nothing at the end. Cancel safe.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(line) = self.0.next_line().await? else { return Ok(None) };
        serde_json::from_str(&line).map(Some).with_context(|| line)
    }
}

impl Speaker {
    /// Says something.
    pub(super) async fn say(&mut self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        Ok(self.0.write_all(&line).await?)
    }
}
