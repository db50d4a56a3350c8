//! The driver of an uplink: dials, moves frames between the connection and the child, and tells the
//! node what came.

use std::{collections::BTreeSet, time::Duration};

use actix::Addr;
use kraken_engine::{
    id::Uid,
    path::Path,
    sync::{
        ANSWERS_FRAME_MAX, BATCH_MS, EVENTS_FRAME_MAX, HEARTBEAT_MS, STALLED_AFTER_MS,
        child::Effect, frame::Frame,
    },
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Uplink, UplinkOptions,
    messages::{Input, Sent},
};
use crate::{
    dirty::Dirty,
    orders::{self, Up},
    state::{Stopped, leases::Cfg},
    wire::{self, FrameReader, FrameWriter},
};

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a frame may wait for room before another session is tried.
const SEND_TIMEOUT: Duration = Duration::from_millis(STALLED_AFTER_MS);
/// The first pause before dialling again.
const REDIAL_MIN: Duration = Duration::from_millis(100);
/// The longest pause before dialling again.
const REDIAL_MAX: Duration = Duration::from_secs(5);

/// Starts the driver on the present arbiter, once it is sure to miss no change.
pub(super) async fn spawn(address: Addr<Uplink>, options: UplinkOptions) {
    let dirty = options.state.watch_paths().await;
    let arrivals = options.state.arrivals();
    let up = options.orders.ways().parent(options.toward.clone());
    let driver = Driver { address, dirty, arrivals, up, taken: 0, dialled: 0, options };
    actix_rt::spawn(driver.run());
}

struct Driver {
    address: Addr<Uplink>,
    dirty: Dirty<(Uid, Path)>,
    arrivals: watch::Receiver<u64>,
    up: mpsc::Receiver<Up>,
    /// The number of the last event taken.
    taken: u64,
    /// Dials so far; chooses the next address.
    dialled: usize,
    options: UplinkOptions,
}

/// Why a connection is over.
enum Over {
    /// The node stops.
    Stopped,
    /// Dial again.
    Redial(String),
}

impl From<Stopped> for Over {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Driver {
    async fn run(mut self) {
        let stop = self.options.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_attached() => {}
        }
    }

    async fn keep_attached(&mut self) {
        let mut pause = REDIAL_MIN;
        loop {
            let started = Instant::now();
            match self.attach().await {
                Over::Stopped => return,
                Over::Redial(why) => {
                    tracing::debug!(%why, "not attached");
                }
            }
            if self.input(Input::Disconnected).await.is_err() {
                return;
            }
            if self.is_of_leaf() {
                self.options.state.set_cut_off(true).await;
            }
            // A session that held for a while was a good one: the next is tried at once.
            pause = if started.elapsed() > REDIAL_MAX { REDIAL_MIN } else { pause };
            tokio::time::sleep(self.jittered(pause)).await;
            pause = (pause * 2).min(REDIAL_MAX);
        }
    }

    /// Between a half and the whole of a pause, by name and dial, so that children spread.
    fn jittered(&self, pause: Duration) -> Duration {
        let name = self.options.identity.node.as_str();
        let seed =
            name.bytes().fold(self.dialled, |seed, b| seed.wrapping_mul(31) + usize::from(b));
        let share = u32::try_from(seed % 512).unwrap_or_default();
        pause / 2 + pause / 1_024 * share
    }

    /// The next address. The first is chosen by name, so that leaves spread over their parents.
    fn next_parent(&mut self) -> Option<String> {
        let name = self.options.identity.node.as_str();
        let start = name.bytes().fold(0_usize, |sum, b| sum.wrapping_mul(31) + usize::from(b));
        let parents = &self.options.parents;
        let index = start.wrapping_add(self.dialled).checked_rem(parents.len())?;
        self.dialled += 1;
        parents.get(index).cloned()
    }

    async fn attach(&mut self) -> Over {
        let Some(parent) = self.next_parent() else {
            return Over::Redial("no parent is configured".to_owned());
        };
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(&parent)).await {
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
        let hello = self.input(Input::Connected(parent.clone())).await?;
        self.carry_out(hello, writer).await?;
        tracing::debug!(%parent, "connected");
        let mut tick = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS / 4));
        let mut flush_at = Instant::now();
        loop {
            let effects = tokio::select! {
                frame = reader.next() => match frame {
                    Ok(Some(frame)) => self.input(Input::Frame(Box::new(frame))).await?,
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(Over::Redial(error.to_string())),
                },
                () = gather(&self.dirty, flush_at) => {
                    flush_at = Instant::now() + Duration::from_millis(BATCH_MS);
                    let paths = self.dirty.take();
                    self.seen(paths).await?
                }
                changed = self.arrivals.changed() => {
                    changed.map_err(|_| Over::Stopped)?;
                    self.happened().await?
                }
                Some(up) = self.up.recv() => self.hand_up(up).await?,
                _ = tick.tick() => self.input(Input::Tick).await?,
            };
            self.carry_out(effects, writer).await?;
        }
    }

    /// Takes what goes up, answers as many at once as wait.
    async fn hand_up(&mut self, up: Up) -> Result<Vec<Effect>, Over> {
        let mut answers = match up {
            Up::Holds(holds) => return self.input(Input::Holds(holds)).await,
            Up::Answers(answers) => answers,
        };
        while answers.len() < ANSWERS_FRAME_MAX {
            match self.up.try_recv() {
                Ok(Up::Answers(more)) => answers.extend(more),
                Ok(Up::Holds(holds)) => {
                    let mut effects = self.input(Input::Answers(answers)).await?;
                    effects.extend(self.input(Input::Holds(holds)).await?);
                    return Ok(effects);
                }
                Err(_) => break,
            }
        }
        self.input(Input::Answers(answers)).await
    }

    async fn seen(&mut self, paths: BTreeSet<(Uid, Path)>) -> Result<Vec<Effect>, Over> {
        let toward = self.options.toward.clone();
        let spoken = self.options.state.read(move |f| f.spoken_at(&paths, toward.as_ref()));
        let changes = spoken.await?;
        let mut effects = self.input(Input::Seen(changes)).await?;
        effects.extend(self.input(Input::Tick).await?);
        Ok(effects)
    }

    /// Sends on the events that were written here. What came from others is theirs to tell.
    async fn happened(&mut self) -> Result<Vec<Effect>, Over> {
        let new = self.options.state.events_since(self.taken, EVENTS_FRAME_MAX).await?;
        let Some((last, _)) = new.last() else { return Ok(Vec::new()) };
        self.taken = *last;
        let (me, attached) = self
            .options
            .state
            .read(|fleet| (fleet.me().clone(), fleet.attached().cloned().collect::<BTreeSet<_>>()))
            .await?;
        let spoken = new.into_iter().map(|(_, event)| event);
        let spoken = spoken.filter(|e| e.id.node == me || attached.contains(&e.id.node));
        let events = spoken.map(|event| (*event).clone()).collect();
        self.arrivals.mark_changed();
        self.input(Input::Happened(events)).await
    }

    async fn carry_out(&mut self, effects: Vec<Effect>, writer: &FrameWriter) -> Result<(), Over> {
        let (mut cfg, mut over) = (Cfg::default(), None);
        for effect in effects {
            let is_cfg =
                matches!(effect, Effect::Assured(..) | Effect::SetCfg(_) | Effect::DropCfg(_));
            if !is_cfg {
                self.take_cfg(std::mem::take(&mut cfg)).await;
            }
            match effect {
                Effect::Send(frame) => self.send(&frame, writer).await?,
                Effect::Close(why) => over = Some(Over::Redial(why)),
                Effect::Attached(welcome) => {
                    self.options.state.stamps().advance_to(welcome.hybrid_ms);
                    tracing::info!(cluster = %welcome.cluster, "attached");
                    if self.is_of_leaf() {
                        self.options.state.set_cut_off(false).await;
                    }
                }
                Effect::Advance(ms) => self.options.state.stamps().advance_to(ms),
                Effect::Assured(at, revision) => cfg.assured = Some((at, revision)),
                Effect::Reborn => self.options.state.restamp().await,
                Effect::SendAll => {
                    let toward = self.options.toward.clone();
                    let spoken = self.options.state.spoken_to(toward).await?;
                    let more = self.input(Input::Seen(spoken)).await?;
                    for effect in more {
                        if let Effect::Send(frame) = effect {
                            self.send(&frame, writer).await?;
                        }
                    }
                }
                Effect::Carry(order, start_by) => {
                    self.options.orders.tell(orders::Input::Carry(order, start_by)).await;
                }
                Effect::Recall(recall) => {
                    self.options.orders.tell(orders::Input::Recall(recall, None)).await;
                }
                Effect::LookAt(look) => {
                    self.options.orders.tell(orders::Input::Look(look, None)).await;
                }
                Effect::SetCfg(objects) => cfg.set = objects,
                Effect::SetViews(delta) => self.options.state.set_views(delta).await,
                Effect::Declare(catalog) => {
                    tracing::info!(digest = %catalog.word(), "takes over what is declared");
                    self.options.state.set_catalog(catalog).await;
                    self.options.state.say_catalog().await;
                }
                Effect::Undeclared(why) => {
                    tracing::warn!(%why, "goes on with the declarations that it has");
                }
                Effect::DropCfg(uids) => cfg.gone = uids,
                Effect::Gone => {
                    tracing::warn!("this node's object was removed: it decides no more");
                    if let Some(reconciler) = &self.options.reconciler {
                        reconciler.release().await;
                    }
                }
            }
        }
        self.take_cfg(cfg).await;
        over.map_or(Ok(()), Err)
    }

    /// Has the state take what came of Cfg, all at once.
    async fn take_cfg(&self, cfg: Cfg) {
        let is_told = !cfg.set.is_empty();
        if is_told || !cfg.gone.is_empty() || cfg.assured.is_some() {
            self.options.state.take_cfg(cfg).await;
        }
        if is_told {
            self.options.state.say_catalog().await;
        }
    }

    /// Whether this is the one uplink of a leaf.
    fn is_of_leaf(&self) -> bool {
        self.options.toward.is_none()
    }

    async fn send(&self, frame: &Frame, writer: &FrameWriter) -> Result<(), Over> {
        let size = timeout(SEND_TIMEOUT, writer.send_in_turn(frame)).await;
        let size = size.map_err(|_| Over::Redial("the parent does not read".to_owned()))?;
        let size = size.map_err(|error| Over::Redial(error.to_string()))?;
        self.address.send(Sent(size)).await.map_err(|_| Over::Stopped)
    }

    async fn input(&self, input: Input) -> Result<Vec<Effect>, Over> {
        self.address.send(input).await.map_err(|_| Over::Stopped)
    }
}

/// Waits until something is marked, and until the last batch is long enough ago.
async fn gather<K: Ord>(dirty: &Dirty<K>, at: Instant) {
    dirty.marked().await;
    sleep_until(at).await;
}
