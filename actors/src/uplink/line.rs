//! The line of a child to its parents: dials, moves frames between the connection and the child,
//! and dials anew whenever the connection ends, whom and when [`Dials`] says.
//!
//! Who has the line holds the [`Child`](kraken_engine::sync::child::Child), has something to say,
//! and does what the child says is to be done beside sending. A node is one; whatever drives many
//! children at once is another. The line must not know which.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kraken_engine::{
    id::Name,
    sync::{
        HEARTBEAT_MS, STALLED_AFTER_MS,
        child::Effect,
        frame::Frame,
        parents::{Dials, Ended, Parent, REDIAL_MAX_MS},
    },
};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, interval, sleep, timeout},
};

use super::messages::Input;
use crate::{
    state::Stopped,
    wire::{self, FrameReader, FrameWriter},
};

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a frame may wait for room before another session is tried.
const SEND_TIMEOUT: Duration = Duration::from_millis(STALLED_AFTER_MS);
/// A session that held for so long was a good one.
const GOOD_AFTER: Duration = Duration::from_millis(REDIAL_MAX_MS);

/// Who has a line.
pub trait Owner {
    /// Something that the owner has to say.
    type Word;

    /// Hands something to the child; answered with what to do.
    fn input(&mut self, input: Input) -> impl Future<Output = Result<Vec<Effect>, Stopped>>;

    /// Waits until there is something to say. Cancel safe.
    fn word(&mut self) -> impl Future<Output = Result<Self::Word, Stopped>>;

    /// Says it to the child; answered with what to do.
    fn say(&mut self, word: Self::Word) -> impl Future<Output = Result<Vec<Effect>, Stopped>>;

    /// Does what is to be done, none of which is to send or to close; what follows from that is to
    /// be done at once.
    fn take(&mut self, effects: Vec<Effect>) -> impl Future<Output = Result<Vec<Effect>, Stopped>>;

    /// How often the child has to be told the time, in milliseconds.
    fn ticks_every_ms(&self) -> u64 {
        HEARTBEAT_MS / 4
    }

    /// The connection has ended, and the child was told. `is_awaited`: the parent has said when to
    /// come back.
    fn cut_off(&mut self, is_awaited: bool) -> impl Future<Output = ()>;
}

/// Bytes that a line has moved since the start, the length before each frame included.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Where a line leads.
#[derive(Debug, Clone)]
pub struct Way {
    /// The node whose line it is: choices and pauses are spread by name.
    pub node: Name,
    /// The parents to try.
    pub parents: Vec<Parent>,
    /// The address to dial from; the kernel's choice where absent.
    pub from: Option<IpAddr>,
}

/// A line and its owner.
pub struct Line<O> {
    owner: O,
    dials: Dials,
    from: Option<IpAddr>,
    traffic: Arc<Traffic>,
}

/// Why a connection is over.
enum Over {
    /// The node stops.
    Stopped,
    /// Dial again.
    Redial(String),
    /// The same, after so many milliseconds.
    Deferred(String, u64),
}

impl From<Stopped> for Over {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl<O: Owner> Line<O> {
    /// A line that is not used yet.
    pub fn new(owner: O, way: Way, traffic: Arc<Traffic>) -> Self {
        let Way { node, parents, from } = way;
        Self { owner, dials: Dials::new(&node, parents), from, traffic }
    }

    /// Who has the line.
    pub fn owner_mut(&mut self) -> &mut O {
        &mut self.owner
    }

    /// Keeps the child attached until its owner stops. Must be called within a set of local tasks,
    /// such as an arbiter. Whoever drops it ends the connection.
    pub async fn keep_attached(mut self) {
        loop {
            let started = Instant::now();
            let (why, deferred) = match self.attach().await {
                Over::Stopped => return,
                Over::Redial(why) => (why, None),
                Over::Deferred(why, ms) => (why, Some(ms)),
            };
            tracing::debug!(%why, "not attached");
            let held = started.elapsed() > GOOD_AFTER;
            let ended = if held { Ended::Lost } else { Ended::Failed };
            let ended = deferred.map_or(ended, Ended::Deferred);
            if self.owner.input(Input::Disconnected).await.is_err() {
                return;
            }
            self.owner.cut_off(deferred.is_some()).await;
            sleep(Duration::from_millis(self.dials.ended(ended))).await;
        }
    }

    async fn attach(&mut self) -> Over {
        let Some(parent) = self.dials.dial().map(str::to_owned) else {
            return Over::Redial("no parent is configured".to_owned());
        };
        let stream = match timeout(CONNECT_TIMEOUT, dial(&parent, self.from)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Over::Redial(format!("{parent}: {error}")),
            Err(_) => return Over::Redial(format!("{parent} does not answer")),
        };
        let (mut reader, writer) = wire::split(stream);
        match self.session(parent, &mut reader, &writer).await {
            Ok(()) => Over::Redial("the parent closed the connection".to_owned()),
            Err(over) => over,
        }
    }

    async fn session(
        &mut self,
        parent: String,
        reader: &mut FrameReader,
        writer: &FrameWriter,
    ) -> Result<(), Over> {
        let hello = self.owner.input(Input::Connected(parent.clone())).await?;
        self.carry_out(hello, writer).await?;
        tracing::debug!(%parent, "connected");
        let mut every_ms = self.owner.ticks_every_ms();
        let mut tick = interval(Duration::from_millis(every_ms));
        loop {
            if every_ms != self.owner.ticks_every_ms() {
                every_ms = self.owner.ticks_every_ms();
                tick = interval(Duration::from_millis(every_ms));
            }
            let effects = tokio::select! {
                frame = reader.next() => match frame {
                    Ok(Some((frame, size))) => {
                        self.traffic.received.fetch_add(size, Ordering::Relaxed);
                        self.owner.input(Input::Frame(Box::new(frame))).await?
                    }
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(Over::Redial(error.to_string())),
                },
                word = self.owner.word() => self.owner.say(word?).await?,
                _ = tick.tick() => self.owner.input(Input::Tick).await?,
            };
            self.carry_out(effects, writer).await?;
        }
    }

    /// Carries effects out in their order: what is sent follows what was done before it.
    async fn carry_out(&mut self, effects: Vec<Effect>, writer: &FrameWriter) -> Result<(), Over> {
        let (mut others, mut over, mut deferred) = (Vec::new(), None, None);
        for effect in effects {
            match effect {
                Effect::Send(frame) => {
                    self.leave(std::mem::take(&mut others), writer).await?;
                    self.send(&frame, writer).await?;
                }
                Effect::Close(why) => over = Some(why),
                Effect::Defer(ms) => deferred = Some(ms),
                other => others.push(other),
            }
        }
        self.leave(others, writer).await?;
        match (over, deferred) {
            (None, _) => Ok(()),
            (Some(why), None) => Err(Over::Redial(why)),
            (Some(why), Some(ms)) => Err(Over::Deferred(why, ms)),
        }
    }

    /// Leaves to the owner what is its own to do, and sends what follows from that.
    async fn leave(&mut self, effects: Vec<Effect>, writer: &FrameWriter) -> Result<(), Over> {
        if effects.is_empty() {
            return Ok(());
        }
        for effect in self.owner.take(effects).await? {
            if let Effect::Send(frame) = effect {
                self.send(&frame, writer).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, frame: &Frame, writer: &FrameWriter) -> Result<(), Over> {
        let size = timeout(SEND_TIMEOUT, writer.send_in_turn(frame)).await;
        let size = size.map_err(|_| Over::Redial("the parent does not read".to_owned()))?;
        let size = size.map_err(|error| Over::Redial(error.to_string()))?;
        self.traffic.sent.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }
}

/// Connects to an address, from one of this machine's own where that is said.
async fn dial(parent: &str, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(parent).await };
    let fits = |address: &SocketAddr| address.is_ipv4() == from.is_ipv4();
    let address = lookup_host(parent).await?.find(fits);
    let address = address.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(address).await
}
