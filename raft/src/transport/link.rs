//! A link: the way to one member for one purpose. It connects when it is used, tells answers apart
//! by their number, backs off when nobody is there, and drops a connection that has gone silent.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_util::{
    codec::{FramedRead, FramedWrite},
    sync::CancellationToken,
};

use super::wire::{
    self, Channel, FRAME_BYTES_MAX, Greeting, HELLO_BYTES_MAX, Hello, codec, decode, encode,
};

/// Requests that may be under way on one link.
pub(crate) const IN_FLIGHT_MAX: usize = 1024;
/// Time for a connection to stand and be greeted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// First pause after a failed connection; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// A request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nobody answers at the address.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address.
        address: String,
        #[source]
        source: io::Error,
    },
    /// The last attempt failed a moment ago.
    #[error("{address} did not answer a moment ago")]
    Backoff {
        /// The address.
        address: String,
    },
    /// The peer does not want this connection.
    #[error("{address} refuses: {why}")]
    Refused {
        /// The address.
        address: String,
        /// Why.
        why: String,
    },
    /// Too much is under way.
    #[error("too many requests to {address} are under way")]
    Full {
        /// The address.
        address: String,
    },
    /// The connection ended before the answer.
    #[error("the connection to {address} ended")]
    Closed {
        /// The address.
        address: String,
    },
    /// No answer in time.
    #[error("no answer from {address} in time")]
    Timeout {
        /// The address.
        address: String,
    },
    /// A message that this release does not understand or cannot build.
    #[error("a message to or from {address} cannot be read: {why}")]
    Codec {
        /// The address.
        address: String,
        /// What is wrong.
        why: String,
    },
}

impl LinkError {
    /// Whether the request certainly did not reach the peer.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Backoff { .. }
            | Self::Refused { .. }
            | Self::Full { .. } => true,
            Self::Closed { .. } | Self::Timeout { .. } | Self::Codec { .. } => false,
        }
    }
}

type Pending = BTreeMap<u64, (Instant, oneshot::Sender<BytesMut>)>;

/// An answer that will come.
pub(crate) type Answer = oneshot::Receiver<BytesMut>;

/// The way to one member for one purpose.
pub(crate) struct Link {
    address: String,
    hello: Hello,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Link {
    /// A link that is not connected yet.
    pub(crate) fn new(address: String, hello: Hello) -> Self {
        Self { address, hello, state: tokio::sync::Mutex::default() }
    }

    /// The address that it connects to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks and waits for the answer. When it is dropped or times out, the peer may still do what
    /// was asked.
    pub(crate) async fn call(&self, body: Bytes, limit: Duration) -> Result<BytesMut, LinkError> {
        let ask = async {
            let connection = self.connection().await?;
            let answer = connection.enqueue(&body).ok_or_else(|| self.full())?;
            answer.await.map_err(|_| self.closed())
        };
        timeout(limit, ask)
            .await
            .unwrap_or_else(|_| Err(LinkError::Timeout { address: self.address.clone() }))
    }

    pub(crate) fn full(&self) -> LinkError {
        LinkError::Full { address: self.address.clone() }
    }

    pub(crate) fn closed(&self) -> LinkError {
        LinkError::Closed { address: self.address.clone() }
    }

    /// The connection, a new one where there is none that works.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, LinkError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            if connection.is_alive(stall_limit(self.hello.channel)) {
                return Ok(Arc::clone(connection));
            }
            connection.ended.cancel();
            state.connection = None;
        }
        if state.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(LinkError::Backoff { address: self.address.clone() });
        }
        match self.connect().await {
            Ok(connection) => {
                *state = State { connection: Some(Arc::clone(&connection)), ..State::default() };
                Ok(connection)
            }
            Err(error) => {
                let pause = BACKOFF_MIN.saturating_mul(1 << state.failures.min(8));
                state.failures = state.failures.saturating_add(1);
                state.retry_at = Some(Instant::now() + pause.min(BACKOFF_MAX));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Arc<Connection>, LinkError> {
        let failed = |source| LinkError::Connect { address: self.address.clone(), source };
        let greet = async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            let (read, write) = stream.into_split();
            let mut read = FramedRead::new(read, codec(HELLO_BYTES_MAX));
            let mut write = FramedWrite::new(write, codec(FRAME_BYTES_MAX));
            write.send(encode(&self.hello).map_err(io::Error::other)?).await?;
            let greeting = read.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
            let greeting = decode::<Greeting>(&greeting).map_err(io::Error::other)?;
            read.decoder_mut().set_max_frame_length(FRAME_BYTES_MAX);
            Ok((read, write, greeting))
        };
        let (read, write, greeting) = timeout(CONNECT_TIMEOUT, greet)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(failed)?;
        match greeting {
            Greeting::Welcome => Ok(Connection::start(read, write)),
            Greeting::Refused(why) => {
                Err(LinkError::Refused { address: self.address.clone(), why })
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(connection) = &self.state.get_mut().connection {
            connection.ended.cancel();
        }
    }
}

/// How long the oldest request may wait with nothing coming in before the connection counts as
/// dead.
fn stall_limit(channel: Channel) -> Duration {
    match channel {
        Channel::Append | Channel::Heartbeat | Channel::Vote => Duration::from_secs(1),
        Channel::Forward => Duration::from_secs(5),
        Channel::Snapshot => Duration::from_mins(1),
        Channel::Membership => Duration::from_mins(2),
    }
}

/// One TCP connection with its reader and writer.
pub(crate) struct Connection {
    outgoing: mpsc::Sender<Bytes>,
    pending: Arc<Mutex<Pending>>,
    sequence: AtomicU64,
    /// When something last came in.
    heard: Arc<Mutex<Instant>>,
    ended: CancellationToken,
}

impl Connection {
    fn start(
        read: FramedRead<OwnedReadHalf, tokio_util::codec::LengthDelimitedCodec>,
        write: FramedWrite<OwnedWriteHalf, tokio_util::codec::LengthDelimitedCodec>,
    ) -> Arc<Self> {
        let (outgoing, waiting) = mpsc::channel(IN_FLIGHT_MAX);
        let connection = Self {
            outgoing,
            pending: Arc::default(),
            sequence: AtomicU64::new(1),
            heard: Arc::new(Mutex::new(Instant::now())),
            ended: CancellationToken::new(),
        };
        let (pending, heard) = (Arc::clone(&connection.pending), Arc::clone(&connection.heard));
        let ended = connection.ended.clone();
        tokio::spawn(async move {
            let _ = ended.run_until_cancelled(receive(read, &pending, &heard)).await;
            ended.cancel();
            lock(&pending).clear();
        });
        let ended = connection.ended.clone();
        tokio::spawn(async move {
            let _ = ended.run_until_cancelled(send(write, waiting)).await;
            ended.cancel();
        });
        Arc::new(connection)
    }

    /// Puts a request on its way; `None` where too much is under way or the connection has ended.
    /// Requests arrive in the order of these calls.
    pub(crate) fn enqueue(&self, body: &[u8]) -> Option<Answer> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let (answer, waiting) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            if pending.len() >= IN_FLIGHT_MAX {
                pending.retain(|_, (_, answer)| !answer.is_closed());
            }
            if pending.len() >= IN_FLIGHT_MAX {
                return None;
            }
            pending.insert(sequence, (Instant::now(), answer));
        }
        if self.ended.is_cancelled() || self.outgoing.try_send(wire::frame(sequence, body)).is_err()
        {
            lock(&self.pending).remove(&sequence);
            return None;
        }
        Some(waiting)
    }

    fn is_alive(&self, stall_limit: Duration) -> bool {
        let oldest = lock(&self.pending).first_key_value().map(|(_, (since, _))| *since);
        let silent = oldest.is_some_and(|since| {
            since.elapsed() > stall_limit && lock(&self.heard).elapsed() > stall_limit
        });
        !silent && !self.ended.is_cancelled()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing under these locks panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(
    mut read: FramedRead<OwnedReadHalf, tokio_util::codec::LengthDelimitedCodec>,
    pending: &Mutex<Pending>,
    heard: &Mutex<Instant>,
) {
    while let Some(Ok(mut frame)) = read.next().await {
        *lock(heard) = Instant::now();
        let Some((sequence, _)) = wire::split(&frame) else { return };
        let body = frame.split_off(size_of::<u64>());
        if let Some((_, answer)) = lock(pending).remove(&sequence) {
            // Who asked may have given up.
            drop(answer.send(body));
        }
    }
}

async fn send(
    mut write: FramedWrite<OwnedWriteHalf, tokio_util::codec::LengthDelimitedCodec>,
    mut waiting: mpsc::Receiver<Bytes>,
) -> Option<()> {
    while let Some(frame) = waiting.recv().await {
        write.feed(frame).await.ok()?;
        while let Ok(frame) = waiting.try_recv() {
            write.feed(frame).await.ok()?;
        }
        SinkExt::<Bytes>::flush(&mut write).await.ok()?;
    }
    Some(())
}
