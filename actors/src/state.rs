//! The state actor: the one holder of what a node knows of the fleet, and of its events.
//!
//! Restarted by: nobody; it holds no connection and does no I/O, so that a panic in it is a defect
//! that ends the node, whose supervisor starts it again. Then all observations are made anew.
//!
//! Everybody else reads through `StateHandle::read` and is woken through `Dirty` sets.

mod events;
pub(crate) mod leases;
mod messages;

use std::{collections::BTreeSet, sync::Arc};

use actix::{Actor, Addr, Context};
use kraken_engine::{
    catalog::{CATALOG_PATH, Catalog},
    dsc::{Sighting, Stamp},
    event::{Event, EventId, EventLog, Happening},
    fleet::{Fleet, Link, Touched, latest_ms},
    id::{Name, Revision, SessionEpoch, Uid},
    journal::Remembered,
    object::Object,
    path::Path,
    sync::views::ViewDelta,
    value::Value,
};
use tokio::sync::watch;

use self::messages::{Ask, Tell};
use crate::{clock::Clock, dirty::Dirty, module::reporter::Stamps};

/// Messages that wait for the state actor; at the bound senders wait.
pub const STATE_MAILBOX_MAX: usize = 4_096;

/// Where a node's modules are told of.
const MODULES_PATH: &str = "/modules/";

/// What the state actor holds.
pub struct State {
    fleet: Fleet,
    events: EventLog,
    event_count: u64,
    boot: u64,
    clock: Clock,
    arrivals: watch::Sender<u64>,
    by_object: Vec<Watcher>,
    by_path: Vec<Dirty<(Uid, Path)>>,
}

/// Who is told of changed objects.
struct Watcher {
    dirty: Dirty<Uid>,
    /// Whether it is told of what this node's own deciders say, too.
    takes_own_words: bool,
}

/// What is seen at paths; `None`: nothing any more.
pub type Values = Vec<(Path, Option<Value>)>;

/// What one look at one object saw: the object, when the look began, and the values.
pub type Seen = (Uid, Stamp, Values);

/// The actor round [`State`].
struct StateActor(State);

impl Actor for StateActor {
    type Context = Context<Self>;
}

/// The way to the state actor. Cheap to clone.
#[derive(Clone)]
pub struct StateHandle {
    address: Addr<StateActor>,
    arrivals: watch::Receiver<u64>,
    stamps: Stamps,
}

/// The state actor is gone: the node stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopped;

impl StateHandle {
    /// Starts the state actor of `me` on the present arbiter.
    pub fn start(me: Name, catalog: Arc<Catalog>, clock: Clock, stamps: Stamps) -> Self {
        let (sender, arrivals) = watch::channel(0);
        let state = State {
            fleet: Fleet::new(me, catalog),
            events: EventLog::new(),
            event_count: 0,
            boot: clock.wall().get(),
            clock,
            arrivals: sender,
            by_object: Vec::new(),
            by_path: Vec::new(),
        };
        let address = StateActor::create(|context| {
            context.set_mailbox_capacity(STATE_MAILBOX_MAX);
            StateActor(state)
        });
        Self { address, arrivals, stamps }
    }

    /// Runs a function over the state, after all that this caller has told it before.
    pub async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut State) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        self.address.send(Ask::new(ask)).await.map_err(|_| Stopped)
    }

    /// Reads the fleet.
    pub async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&Fleet) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        self.ask(|state| read(&state.fleet)).await
    }

    /// Has the state changed; waits while its mailbox is full.
    async fn tell(&self, tell: impl FnOnce(&mut State) + Send + 'static) {
        if self.address.send(Tell::new(tell)).await.is_err() {
            tracing::debug!("told the state after the node has stopped");
        }
    }

    /// This node saw values in a look that began at `stamp`; `None`: not known any more.
    pub async fn see(&self, uid: Uid, stamp: Stamp, values: Vec<(Path, Option<Value>)>) {
        self.tell(move |state| state.see(uid, &stamp, values)).await;
    }

    /// The same of many looks, in their order.
    pub async fn see_all(&self, seen: Vec<Seen>) {
        self.tell(move |state| {
            for (uid, stamp, values) in seen {
                state.see(uid, &stamp, values);
            }
        })
        .await;
    }

    /// The deciders of this node say something about objects, and something happened besides. The
    /// reconciler, whose words these are, is not woken by them.
    pub async fn say_all(&self, words: Vec<(Uid, Values)>, happened: Vec<Happening>) {
        let words: Vec<Seen> =
            words.into_iter().map(|(uid, values)| (uid, self.stamps.next(), values)).collect();
        self.tell(move |state| state.say(words, happened)).await;
    }

    /// A child tells what it and others saw.
    pub async fn merge(&self, teller: Name, changes: Vec<(Uid, Vec<Sighting>)>) {
        self.stamps.advance_to(latest_ms(changes.iter().flat_map(|(_, sightings)| sightings)));
        self.tell(move |state| state.merge(&teller, changes)).await;
    }

    /// What this node held of objects when its last life ended.
    pub async fn recall(&self, remembered: Remembered) {
        self.stamps.advance_to(latest_ms(remembered.values().flatten()));
        self.tell(move |state| {
            let mut touched = Touched::default();
            for (uid, sightings) in remembered {
                touched.paths.extend(state.fleet.recall(uid, sightings).paths);
            }
            state.mark_touched(&touched, false);
        })
        .await;
    }

    /// All writes of Cfg up to `revision` are known, and have made objects so, or removed them.
    pub async fn follow(&self, revision: Revision, set: Vec<Arc<Object>>, removed: Vec<Uid>) {
        self.pass_floors(&set);
        self.tell(move |state| {
            state.remove_objects(removed);
            state.set_objects(set);
            let regained = state.fleet.set_revision(revision, state.clock.wall());
            state.mark(regained, false);
        })
        .await;
    }

    /// What can be declared and done has changed.
    pub async fn set_catalog(&self, catalog: Arc<Catalog>) {
        self.tell(move |state| state.set_catalog(catalog)).await;
    }

    /// What this leaf's decisions need of elsewhere has changed.
    pub async fn set_views(&self, delta: ViewDelta) {
        let seen = delta.objects.iter().flat_map(|(_, sight)| &sight.seen);
        self.stamps.advance_to(latest_ms(seen));
        self.tell(move |state| {
            let changed = state.fleet.set_views(delta, state.clock.wall());
            state.mark(changed, false);
        })
        .await;
    }

    /// This node says with which declarations it decides.
    pub async fn say_catalog(&self) {
        let stamp = self.stamps.next();
        self.tell(move |state| {
            let fleet = &state.fleet;
            let Some(uid) = fleet.node(fleet.me()).map(|own| own.uid) else { return };
            let Ok(path) = Path::new(CATALOG_PATH) else { return };
            let word = fleet.catalog().word();
            let touched = state.fleet.see(
                uid,
                &stamp,
                vec![(path, Some(word.as_str().into()))],
                state.clock.wall(),
            );
            state.touched(touched, true);
        })
        .await;
    }

    /// This leaf is attached, or no longer: what it was told of elsewhere grows old.
    pub async fn set_cut_off(&self, cut_off: bool) {
        self.tell(move |state| {
            let since = cut_off.then(|| state.clock.wall());
            state.fleet.set_cut_off(since);
        })
        .await;
    }

    /// The link of a node changed.
    pub async fn set_link(&self, uid: Uid, epoch: SessionEpoch, link: Link) {
        self.tell(move |state| state.set_link(uid, epoch, link)).await;
    }

    /// A node is attached here from now on, or no longer.
    pub async fn set_attached(&self, node: Name, attached: bool) {
        self.tell(move |state| {
            let told_again = state.fleet.set_attached(&node, attached);
            state.touched(told_again, true);
        })
        .await;
    }

    /// A member has been lost for long, or has attached here.
    pub async fn set_lost(&self, member: Name, lost: bool) {
        self.tell(move |state| {
            let told = state.fleet.set_lost(&member, lost);
            state.touched(told, true);
        })
        .await;
    }

    /// All that this node has to tell whoever it has attached to.
    pub async fn spoken_to(
        &self,
        parent: Option<Name>,
    ) -> Result<Vec<(Uid, Vec<Sighting>)>, Stopped> {
        self.ask(move |state| state.fleet.spoken_to(parent.as_ref())).await
    }

    /// Who is there has changed: everything is to be looked at again.
    pub async fn look_again(&self) {
        self.tell(|state| {
            let all: Vec<Uid> = state.fleet.objects().map(|object| object.uid).collect();
            state.mark(all, false);
        })
        .await;
    }

    /// What this node sees of an object from now on is told afresh, once.
    pub async fn renew(&self, uid: Uid) {
        let stamp = self.stamps.next();
        self.tell(move |state| state.fleet.renew(uid, &stamp)).await;
    }

    /// What this node has seen in this life counts as seen now: it has lived before, with a clock
    /// that was ahead.
    pub async fn restamp(&self) {
        let stamp = self.stamps.next();
        self.tell(move |state| {
            let touched = state.fleet.restamp(&stamp);
            state.touched(touched, true);
        })
        .await;
    }

    /// Something happened here.
    pub async fn record(&self, happening: Happening) {
        self.tell(move |state| state.record(vec![happening])).await;
    }

    /// A set in which every object is marked whose Cfg or Dsc changes from now on. Dropping it ends
    /// that.
    pub async fn watch_objects(&self) -> Dirty<Uid> {
        self.watch(true).await
    }

    /// The same without what this node's own deciders say.
    pub(crate) async fn watch_for_deciders(&self) -> Dirty<Uid> {
        self.watch(false).await
    }

    async fn watch(&self, takes_own_words: bool) -> Dirty<Uid> {
        let dirty = Dirty::new();
        let watcher = Watcher { dirty: dirty.clone(), takes_own_words };
        self.tell(move |state| state.by_object.push(watcher)).await;
        dirty
    }

    /// A set in which every path is marked whose observation changes from now on, where this node
    /// speaks for it.
    pub async fn watch_paths(&self) -> Dirty<(Uid, Path)> {
        let dirty = Dirty::new();
        let watching = dirty.clone();
        self.tell(move |state| state.by_path.push(watching)).await;
        dirty
    }

    /// The node's stamps.
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }
}

impl State {
    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn see(&mut self, uid: Uid, stamp: &Stamp, values: Vec<(Path, Option<Value>)>) {
        let touched = self.fleet.see(uid, stamp, values, self.clock.wall());
        self.touched(touched, false);
    }

    fn say(&mut self, words: Vec<Seen>, happened: Vec<Happening>) {
        let now = self.clock.wall();
        let mut touched = Touched::default();
        for (uid, stamp, values) in words {
            touched.paths.extend(self.fleet.say(uid, &stamp, values, now).paths);
        }
        self.touched(touched, true);
        self.record(happened);
    }

    fn merge(&mut self, teller: &Name, changes: Vec<(Uid, Vec<Sighting>)>) {
        let now = self.clock.wall();
        let mut touched = Touched::default();
        for (uid, sightings) in changes {
            touched.paths.extend(self.fleet.merge(uid, sightings, now).paths);
        }
        self.mark_spoken(&touched, teller);
        self.mark_touched(&touched, false);
    }

    fn set_link(&mut self, uid: Uid, epoch: SessionEpoch, link: Link) {
        let touched = self.fleet.set_link(uid, epoch, link, self.clock.wall());
        self.touched(touched, false);
    }

    fn set_objects(&mut self, objects: Vec<Arc<Object>>) {
        let uids: Vec<Uid> = objects.iter().map(|object| object.uid).collect();
        // What was said of one before it was known, as that it is attached, is told now.
        let mut said_early = Touched::default();
        for object in objects {
            said_early.paths.extend(self.fleet.set_object(object).paths);
        }
        self.touched(said_early, false);
        self.mark(uids, false);
    }

    fn remove_objects(&mut self, uids: Vec<Uid>) {
        for uid in &uids {
            self.fleet.remove_object(*uid);
        }
        self.mark(uids, false);
    }

    fn set_catalog(&mut self, catalog: Arc<Catalog>) {
        self.fleet.set_catalog(catalog);
        let all: Vec<Uid> = self.fleet.objects().map(|object| object.uid).collect();
        self.mark(all, false);
    }

    fn record(&mut self, happened: Vec<Happening>) {
        let events = happened.into_iter().map(|happening| self.event(happening)).collect();
        self.keep(events);
    }

    fn event(&mut self, happening: Happening) -> Event {
        self.event_count += 1;
        let object = happening.uid.and_then(|uid| self.fleet.object(uid));
        Event {
            id: EventId {
                node: self.fleet.me().clone(),
                boot: self.boot,
                sequence: self.event_count,
            },
            time: self.clock.wall(),
            kind: happening.kind,
            uid: happening.uid,
            object: object.map(|object| object.key.clone()),
            revision: happening.revision,
            attempt: happening.attempt,
            text: happening.text,
        }
    }

    fn keep(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        for event in events {
            self.events.push(event);
        }
        self.arrivals.send_replace(self.events.last());
    }

    fn touched(&mut self, touched: Touched, are_own_words: bool) {
        self.by_path.retain(Dirty::is_shared);
        for dirty in &self.by_path {
            dirty.mark(touched.paths.iter().cloned());
        }
        self.mark_touched(&touched, are_own_words);
    }

    /// Marks the paths that others have seen where this node speaks for those.
    fn mark_spoken(&mut self, touched: &Touched, teller: &Name) {
        self.by_path.retain(Dirty::is_shared);
        if self.by_path.is_empty() {
            return;
        }
        let spoken = self.fleet.spoken_of(touched, teller);
        for dirty in &self.by_path {
            dirty.mark(spoken.iter().cloned());
        }
    }

    fn mark_touched(&mut self, touched: &Touched, are_own_words: bool) {
        if !touched.paths.is_empty() {
            let mut uids: BTreeSet<Uid> = touched.paths.iter().map(|(uid, _)| *uid).collect();
            uids.extend(self.moved_by_modules(touched));
            self.mark(uids, are_own_words);
        }
    }

    /// The objects in the charge of nodes on which a module came or went: what can be done for them
    /// has changed.
    fn moved_by_modules(&self, touched: &Touched) -> Vec<Uid> {
        let of_modules = touched.paths.iter().filter(|(_, path)| {
            path.as_str().starts_with(MODULES_PATH) && path.as_str().ends_with("/state")
        });
        let nodes = of_modules.filter_map(|(uid, _)| self.fleet.object(*uid));
        nodes.flat_map(|node| self.fleet.charges_of(&node.key.name)).map(|o| o.uid).collect()
    }

    fn mark(&mut self, uids: impl IntoIterator<Item = Uid> + Clone, are_own_words: bool) {
        self.by_object.retain(|watcher| watcher.dirty.is_shared());
        let told = self.by_object.iter().filter(|w| w.takes_own_words || !are_own_words);
        for watcher in told {
            watcher.dirty.mark(uids.clone());
        }
    }
}
