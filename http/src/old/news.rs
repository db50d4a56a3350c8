//! What a client of the WebSocket hears of: changes of Cfg and Dsc, mutations that begin, and
//! discoveries, each in the words of the old surface.
//!
//! It begins where the client begins to listen, and tells nothing of what was before. What is seen
//! is compared with what the client was told last: a value that has come and gone in between is
//! not told.

mod notice;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kraken_actors::{dirty::Dirty, state::Stopped};
use kraken_engine::{
    catalog::{Catalog, is_engine_path},
    dsc::Dsc,
    event::{Event, EventKind},
    fleet::Fleet,
    id::{Name, Uid},
    object::Object,
    path::Path,
    store::Change,
    value::Value,
    view::shown,
};
use tokio::sync::watch;

pub(super) use self::notice::{Notice, Topic, Word};
use super::{ids::id_of, names::Enums};
use crate::{
    api::Shared,
    hub::{Next, Position},
};

/// Most commits, nodes or events that are looked at before what they say is sent.
const BATCH_MAX: usize = 256;
/// What changes within this time is told at once.
const COALESCE: Duration = Duration::from_millis(20);

/// Some of what was to be told is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lagged;

/// What one client has not heard of yet.
pub(super) struct News {
    shared: Arc<Shared>,
    topics: Vec<Topic>,
    /// Where it is among the commits, while it wants changes.
    commits: Option<(Position, watch::Receiver<kraken_engine::id::Revision>)>,
    /// What it was told of what is seen, while it wants changes or discoveries.
    sights: Option<Sights>,
    /// Where it is among the events, while it wants mutations.
    events: Option<(u64, watch::Receiver<u64>)>,
}

/// What was told of what is seen, and the nodes of which there may be more to tell.
struct Sights {
    dirty: Dirty<Uid>,
    told: BTreeMap<Uid, Arc<Dsc>>,
}

impl News {
    /// None, until something is asked for.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, topics: Vec::new(), commits: None, sights: None, events: None }
    }

    /// Begins to tell of a topic.
    pub(super) async fn add(&mut self, topic: Topic) -> Result<(), Stopped> {
        if self.topics.contains(&topic) {
            return Ok(());
        }
        let api = &self.shared.api;
        if topic == Topic::Mutation {
            let mut arrivals = api.state.arrivals();
            let last = *arrivals.borrow_and_update();
            self.events = Some((last, arrivals));
        }
        if topic == Topic::Change {
            let hub = &self.shared.hub;
            let mut moved = hub.moved();
            moved.mark_unchanged();
            let now = api.quorum.status().revision;
            hub.reached(now).await;
            self.commits = Some((hub.start_at(now).0, moved));
        }
        if topic != Topic::Mutation && self.sights.is_none() {
            let dirty = api.state.watch_objects().await;
            let told = api.state.read(Fleet::all_dsc).await?;
            self.sights = Some(Sights { dirty, told });
        }
        self.topics.push(topic);
        Ok(())
    }

    /// Tells of a topic no more.
    pub(super) fn remove(&mut self, topic: Topic) {
        self.topics.retain(|held| *held != topic);
        let wants = |topic| self.topics.contains(&topic);
        if !wants(Topic::Mutation) {
            self.events = None;
        }
        if !wants(Topic::Change) {
            self.commits = None;
            if !wants(Topic::Discovery) {
                self.sights = None;
            }
        }
    }

    /// Waits until there may be something to tell. Cancel safe.
    pub(super) async fn come(&mut self) {
        let Self { commits, sights, events, .. } = self;
        tokio::select! {
            () = moved(commits.as_mut().map(|(_, moved)| moved)) => {}
            () = moved(events.as_mut().map(|(_, arrivals)| arrivals)) => {}
            () = marked(sights.as_ref()) => {}
        }
    }

    /// Some of what has come, of which perhaps nothing is to be told; `None`: that was all.
    pub(super) async fn take(&mut self) -> Result<Option<Vec<Notice>>, Lagged> {
        let mut notices = Vec::new();
        let gone = |Stopped| Lagged;
        let came = [
            self.take_commits(&mut notices).await?,
            self.take_sights(&mut notices).await.map_err(gone)?,
            self.take_events(&mut notices).await.map_err(gone)?,
        ];
        let wants = |topic: Topic| self.topics.contains(&topic);
        notices.retain(|notice| notice.topic().is_some_and(wants));
        Ok(came.contains(&true).then_some(notices))
    }

    /// Tells whether there were any.
    async fn take_commits(&mut self, notices: &mut Vec<Notice>) -> Result<bool, Lagged> {
        let Some((position, _)) = &mut self.commits else { return Ok(false) };
        let Next::Commits(commits, next) = self.shared.hub.since(*position, BATCH_MAX) else {
            return Err(Lagged);
        };
        *position = next;
        let changes = commits.iter().flat_map(|commit| &commit.changes);
        let changes: Vec<&Change> =
            changes.filter(|change| change.object().key.is_node()).collect();
        if !changes.is_empty() {
            let read = self.shared.api.state.read(|fleet| fleet.catalog().clone()).await;
            let catalog = read.map_err(|Stopped| Lagged)?;
            let enums = Enums::of(&catalog);
            for change in changes {
                changed(change, &enums, notices);
            }
        }
        Ok(!commits.is_empty())
    }

    /// Tells whether anything was marked.
    async fn take_sights(&mut self, notices: &mut Vec<Notice>) -> Result<bool, Stopped> {
        let Some(sights) = &mut self.sights else { return Ok(false) };
        let mut marked: Vec<Uid> = sights.dirty.take().into_iter().collect();
        let later = marked.split_off(marked.len().min(BATCH_MAX));
        sights.dirty.mark(later);
        if marked.is_empty() {
            return Ok(false);
        }
        let look = move |fleet: &Fleet| {
            let seen = |uid: Uid| (uid, fleet.object(uid).cloned(), fleet.dsc(uid));
            let seen: Vec<_> = marked.into_iter().map(seen).collect();
            (fleet.catalog().clone(), seen)
        };
        let (catalog, seen) = self.shared.api.state.read(look).await?;
        let enums = Enums::of(&catalog);
        for (uid, object, dsc) in seen {
            let Some(object) = object else {
                sights.told.remove(&uid);
                continue;
            };
            let before = sights.told.insert(uid, dsc.clone()).unwrap_or_default();
            if object.key.is_node() {
                sighted(&object, (&before, &dsc), (&catalog, &enums), notices);
            }
        }
        Ok(true)
    }

    /// Tells whether there were any.
    async fn take_events(&mut self, notices: &mut Vec<Notice>) -> Result<bool, Stopped> {
        let Some((after, _)) = &mut self.events else { return Ok(false) };
        let state = &self.shared.api.state;
        let page = state.events_since(*after, BATCH_MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(false) };
        *after = *last;
        let started = |event: &&Arc<Event>| event.kind == EventKind::AttemptStarted;
        let started: Vec<Arc<Event>> =
            page.iter().map(|(_, event)| event).filter(started).cloned().collect();
        if started.is_empty() {
            return Ok(true);
        }
        let named = move |fleet: &Fleet| {
            let named = started.into_iter().filter_map(|event| {
                let object = fleet.object(event.uid?).filter(|object| object.key.is_node())?;
                Some((id_of(object), event))
            });
            named.collect::<Vec<_>>()
        };
        for (id, event) in state.read(named).await? {
            // The text of such an event begins with the step.
            let step = event.text.split_whitespace().next().unwrap_or_default();
            let (module, mutation) = step.split_once('/').unwrap_or(("", step));
            notices.push(Notice::mutation(id, module, mutation));
        }
        Ok(true)
    }
}

/// Waits for a change of what is watched, and for ever where nothing is.
async fn moved<T>(watched: Option<&mut watch::Receiver<T>>) {
    let over = match watched {
        Some(watched) => watched.changed().await.is_err(),
        None => true,
    };
    if over {
        // What told of it has stopped, and the server stops with it.
        std::future::pending::<()>().await;
    }
}

/// Waits until something was seen, and a little more for what comes with it.
async fn marked(sights: Option<&Sights>) {
    match sights {
        Some(sights) => {
            sights.dirty.marked().await;
            tokio::time::sleep(COALESCE).await;
        }
        None => std::future::pending().await,
    }
}

/// Tells of one change of Cfg.
fn changed(change: &Change, enums: &Enums, notices: &mut Vec<Notice>) {
    let id = id_of(change.object());
    match (change, change.before()) {
        (Change::Removed(_), _) => notices.push(Notice::node(Word::Delete, id)),
        (Change::Put { .. }, None) => notices.push(Notice::node(Word::Create, id)),
        (Change::Put { object, .. }, Some(before)) => {
            let values = |object: &'_ Object| -> BTreeMap<Path, Value> {
                object.cfg.iter().map(|(path, value)| (path.clone(), value.clone())).collect()
            };
            for (path, value) in differences(&values(before), &values(object)) {
                notices.push(Notice::change(Word::CfgUpdate, id, &path, value.as_ref(), enums));
            }
        }
    }
}

/// Tells of what is seen anew of one node.
fn sighted(
    object: &Object,
    (before, after): (&Dsc, &Dsc),
    (catalog, enums): (&Catalog, &Enums),
    notices: &mut Vec<Notice>,
) {
    let id = id_of(object);
    let kind = catalog.kind(&object.key.kind);
    let values = |dsc: &Dsc| -> BTreeMap<Path, Value> {
        let paths = dsc.iter().map(|(path, _)| path).filter(|path| !is_engine_path(path));
        let seen = paths.filter_map(|path| {
            let value = match kind {
                Some(kind) => shown(kind, dsc, path),
                None => dsc.value(path.as_str()),
            };
            Some((path.clone(), value?.clone()))
        });
        seen.collect()
    };
    for (path, value) in differences(&values(before), &values(after)) {
        let rule = kind.and_then(|kind| kind.schema.rule_at(&path));
        let finder: Option<&Name> = rule.filter(|rule| rule.discovered).map(|rule| &rule.module);
        if let (Some(finder), Some(value)) = (finder, &value) {
            notices.push(Notice::discovery(id, finder.as_str(), &path, value));
        }
        notices.push(Notice::change(Word::Update, id, &path, value.as_ref(), enums));
    }
}

/// Every path at which two states differ, with what stands there after.
fn differences(
    before: &BTreeMap<Path, Value>,
    after: &BTreeMap<Path, Value>,
) -> Vec<(Path, Option<Value>)> {
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let gone = gone.map(|path| (path.clone(), None));
    let new = after.iter().filter(|(path, value)| before.get(*path) != Some(*value));
    let new = new.map(|(path, value)| (path.clone(), Some(value.clone())));
    gone.chain(new).collect()
}
