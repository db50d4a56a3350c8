//! What a node does with its line: tells its parent what is seen and what happens here, and tells
//! the node what came.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use kraken_engine::{
    catalog::Catalog,
    id::{SessionEpoch, Uid},
    path::Path,
    sync::{ANSWERS_FRAME_MAX, BATCH_MS, EVENTS_FRAME_MAX, child::Effect, frame::Left, kept::Kept},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    UplinkActor, UplinkOptions,
    line::{Line, Owner, Traffic, Way},
    messages::{Input, ToKeep},
};
use crate::{
    above::{self, Ask, Unasked},
    dirty::Dirty,
    orders::{self, Down, Up},
    state::{Stopped, leases::Cfg},
};

/// Starts the driver on the present arbiter, once it is sure to miss no change.
pub(super) async fn spawn(
    address: Addr<UplinkActor>,
    options: UplinkOptions,
    kept: Option<Kept>,
    traffic: Arc<Traffic>,
) {
    if options.above.is_some() {
        options.state.begin_below().await;
    }
    let dirty = options.state.watch_paths().await;
    let arrivals = options.state.arrivals();
    let up = options.orders.ways().parent(options.toward.clone());
    let (node, parents) = (options.identity.node.clone(), options.parents.clone());
    let stop = options.stop.clone();
    let flush_at = Instant::now();
    let driver =
        Driver { address, dirty, arrivals, up, taken: 0, flush_at, kept, tried: 0, options };
    let line = Line::new(driver, Way { node, parents, from: None }, traffic);
    actix_rt::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = line.keep_attached() => {}
        }
    });
}

struct Driver {
    address: Addr<UplinkActor>,
    dirty: Dirty<(Uid, Path)>,
    arrivals: watch::Receiver<u64>,
    up: mpsc::Receiver<Up>,
    /// The number of the last event taken.
    taken: u64,
    /// When what is seen is gathered again.
    flush_at: Instant,
    /// What was kept of an earlier life, as long as no parent has told anything.
    kept: Option<Kept>,
    /// How often it was in vain to look for a parent.
    tried: usize,
    options: UplinkOptions,
}

/// What a node has to say.
enum Word {
    /// What was seen.
    Seen,
    /// What happened.
    Happened,
    /// What became of orders.
    Up(Up),
    /// Who comes and goes below this relay.
    Below(Ask),
}

impl Owner for Driver {
    type Word = Word;

    async fn input(&mut self, input: Input) -> Result<Vec<Effect>, Stopped> {
        self.hand(input).await
    }

    async fn word(&mut self) -> Result<Word, Stopped> {
        tokio::select! {
            () = gather(&self.dirty, self.flush_at) => Ok(Word::Seen),
            changed = self.arrivals.changed() => {
                changed.map(|()| Word::Happened).map_err(|_| Stopped)
            }
            Some(up) = self.up.recv() => Ok(Word::Up(up)),
            Some(ask) = above::next(&mut self.options.above) => Ok(Word::Below(ask)),
        }
    }

    async fn say(&mut self, word: Word) -> Result<Vec<Effect>, Stopped> {
        match word {
            Word::Seen => self.seen().await,
            Word::Happened => self.happened().await,
            Word::Up(up) => self.hand_up(up).await,
            Word::Below(ask) => self.ask_above(ask).await,
        }
    }

    async fn take(&mut self, effects: Vec<Effect>) -> Result<Vec<Effect>, Stopped> {
        let (mut cfg, mut more) = (Cfg::default(), Vec::new());
        self.keep(&effects).await?;
        for effect in effects {
            match effect {
                Effect::Assured(at, revision) => cfg.assured = Some((at, revision)),
                Effect::SetCfg(objects) => cfg.set = objects,
                Effect::DropCfg(uids) => cfg.gone = uids,
                Effect::Whole(nodes) => cfg.whole = nodes,
                Effect::Reached(revision) => cfg.reached = Some(revision),
                Effect::SendAll => {
                    self.take_cfg(std::mem::take(&mut cfg)).await;
                    let toward = self.options.toward.clone();
                    let spoken = self.options.state.spoken_to(toward).await?;
                    more.extend(self.hand(Input::Seen(spoken)).await?);
                }
                Effect::Admitted(admitted) => {
                    let above = self.options.above.as_mut();
                    match above.and_then(|above| above.answered(*admitted)) {
                        None => {}
                        Some(Unasked::Gone(left)) => {
                            more.extend(self.hand(Input::Leaves(left)).await?);
                        }
                        Some(Unasked::Outdated(left, newest)) => self.expel(left, newest),
                    }
                }
                other => {
                    self.take_cfg(std::mem::take(&mut cfg)).await;
                    self.take_one(other).await;
                }
            }
        }
        self.take_cfg(cfg).await;
        Ok(more)
    }

    async fn cut_off(&mut self, is_awaited: bool) {
        if let Some(above) = &mut self.options.above {
            above.cut_off();
        }
        if self.is_of_leaf() {
            self.options.state.set_cut_off(true).await;
        }
        // A parent that is busy is there, and has newer Cfg.
        self.tried += usize::from(!is_awaited);
        if self.tried >= self.options.parents.len()
            && let Some(kept) = self.kept.take()
        {
            self.resume(kept).await;
        }
    }
}

impl Driver {
    async fn hand(&self, input: Input) -> Result<Vec<Effect>, Stopped> {
        self.address.send(input).await.map_err(|_| Stopped)
    }

    /// Asks the parent about a node below, or tells that it has left.
    async fn ask_above(&mut self, ask: Ask) -> Result<Vec<Effect>, Stopped> {
        match ask {
            Ask::Arrives(below, answer) => {
                let asks = self.hand(Input::Arrives(below.clone())).await?;
                // Where there is nobody to ask, whoever waits sees that nobody will answer.
                if let Some(above) = self.options.above.as_mut().filter(|_| !asks.is_empty()) {
                    above.waits(&below, answer);
                }
                Ok(asks)
            }
            Ask::Leaves(left) => {
                // What was seen of it last goes first: it may not be said later.
                let mut effects = self.seen().await?;
                effects.extend(self.hand(Input::Leaves(left)).await?);
                Ok(effects)
            }
        }
    }

    /// A node below has a newer session elsewhere: the one here ends.
    fn expel(&self, left: Left, newest: SessionEpoch) {
        let node = left.node.clone();
        let told = self.options.orders.ways().down(&node, Down::Expel(left, newest));
        // Otherwise it has gone, or so much waits for it that its session ends by that.
        if let Err(why) = told {
            tracing::debug!(%node, ?why, "an outdated session is not told to end");
        }
    }

    /// Keeps what the child holds now, before it is taken and acknowledged.
    async fn keep(&mut self, effects: &[Effect]) -> Result<(), Stopped> {
        let Some(keep) = self.options.keep.clone() else { return Ok(()) };
        let is_gone = effects.iter().any(|effect| matches!(effect, Effect::Gone));
        let changes = effects.iter().any(|effect| match effect {
            // What is below a relay is kept there.
            Effect::SetCfg(objects) => {
                objects.iter().any(|object| object.is_in_charge_of(&self.options.identity.node))
            }
            Effect::DropCfg(_) | Effect::Declare(_) => true,
            _ => false,
        });
        if !changes && !is_gone {
            return Ok(());
        }
        // What a parent has told takes the place of what was kept.
        self.kept = None;
        let kept = self.address.send(ToKeep).await.map_err(|_| Stopped)?;
        let write = move || match kept.filter(|_| !is_gone) {
            Some(kept) => keep.keep(&kept),
            None => keep.remove(),
        };
        // It fails only where it panicked; what is on the disk is as it was or gone then.
        drop(tokio::task::spawn_blocking(write).await);
        Ok(())
    }

    /// Goes on with what was kept: no parent answers.
    async fn resume(&self, kept: Kept) {
        let Kept { cluster, revision, objects, manifests, .. } = kept;
        let catalog = match Catalog::build(&manifests) {
            Ok(catalog) => Arc::new(catalog),
            Err(problems) => {
                let problem = problems.first().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(problem, "what was declared is not understood any more");
                return;
            }
        };
        tracing::info!(%revision, "no parent answers: goes on with the Cfg that it held last");
        self.options.spans.belongs_to(cluster);
        self.options.state.set_catalog(catalog).await;
        self.take_cfg(Cfg { set: objects, ..Cfg::default() }).await;
    }

    /// Takes what goes up, answers as many at once as wait.
    async fn hand_up(&mut self, up: Up) -> Result<Vec<Effect>, Stopped> {
        let mut answers = match up {
            Up::Holds(holds) => return self.hand(Input::Holds(holds)).await,
            Up::Answers(answers) => answers,
        };
        while answers.len() < ANSWERS_FRAME_MAX {
            match self.up.try_recv() {
                Ok(Up::Answers(more)) => answers.extend(more),
                Ok(Up::Holds(holds)) => {
                    let mut effects = self.hand(Input::Answers(answers)).await?;
                    effects.extend(self.hand(Input::Holds(holds)).await?);
                    return Ok(effects);
                }
                Err(_) => break,
            }
        }
        self.hand(Input::Answers(answers)).await
    }

    async fn seen(&mut self) -> Result<Vec<Effect>, Stopped> {
        self.flush_at = Instant::now() + Duration::from_millis(BATCH_MS);
        let paths = self.dirty.take();
        let toward = self.options.toward.clone();
        let spoken = self.options.state.read(move |f| f.spoken_at(&paths, toward.as_ref()));
        let changes = spoken.await?;
        let mut effects = self.hand(Input::Seen(changes)).await?;
        effects.extend(self.hand(Input::Tick).await?);
        Ok(effects)
    }

    /// Sends on the events that were written here. What came from others is theirs to tell.
    async fn happened(&mut self) -> Result<Vec<Effect>, Stopped> {
        let spoken = self.options.state.spoken_since(self.taken, EVENTS_FRAME_MAX).await?;
        let Some((last, events)) = spoken else { return Ok(Vec::new()) };
        self.taken = last;
        self.arrivals.mark_changed();
        self.hand(Input::Happened(events)).await
    }

    /// Does one thing that is not of Cfg.
    async fn take_one(&mut self, effect: Effect) {
        match effect {
            Effect::Attached(welcome) => {
                self.options.state.stamps().advance_to(welcome.hybrid_ms);
                tracing::info!(cluster = %welcome.cluster, "attached");
                self.options.spans.belongs_to(welcome.cluster);
                if let Some(reconciler) = &self.options.reconciler {
                    reconciler.resume().await;
                }
                if self.is_of_leaf() {
                    self.options.state.set_cut_off(false).await;
                }
                if let Some(above) = &mut self.options.above {
                    self.options.state.begin_below().await;
                    above.attached(welcome.cluster, welcome.cfg_epoch);
                }
            }
            Effect::Advance(ms) => self.options.state.stamps().advance_to(ms),
            Effect::Reborn => self.options.state.restamp().await,
            Effect::Carry(order, start_by) => {
                self.options.orders.tell(orders::Input::Carry(order, start_by)).await;
            }
            Effect::Recall(recall) => {
                self.options.orders.tell(orders::Input::Recall(recall, None)).await;
            }
            Effect::LookAt(look) => {
                self.options.orders.tell(orders::Input::Look(look, None)).await;
            }
            Effect::SetViews(delta) => self.options.state.set_views(delta).await,
            Effect::Declare(catalog) => {
                tracing::info!(digest = %catalog.word(), "takes over what is declared");
                self.options.state.set_catalog(catalog).await;
                self.options.state.say_catalog().await;
            }
            Effect::Undeclared(why) => {
                tracing::warn!(%why, "goes on with the declarations that it has");
            }
            Effect::Gone => {
                tracing::warn!("this node's object was removed: it decides no more");
                if let Some(reconciler) = &self.options.reconciler {
                    reconciler.release().await;
                }
            }
            // The line sends and closes, and the rest was taken before.
            Effect::Send(_)
            | Effect::Close(_)
            | Effect::Defer(_)
            | Effect::Admitted(_)
            | Effect::SendAll
            | Effect::Assured(..)
            | Effect::SetCfg(_)
            | Effect::DropCfg(_)
            | Effect::Whole(_)
            | Effect::Reached(_) => {}
        }
    }

    /// Has the state take what came of Cfg, all at once.
    async fn take_cfg(&self, cfg: Cfg) {
        let is_told = !cfg.set.is_empty();
        let is_more = cfg.assured.is_some() || cfg.reached.is_some();
        if is_told || !cfg.gone.is_empty() || is_more {
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
}

/// Waits until something is marked, and until the last batch is long enough ago.
async fn gather<K: Ord>(dirty: &Dirty<K>, at: Instant) {
    dirty.marked().await;
    sleep_until(at).await;
}
