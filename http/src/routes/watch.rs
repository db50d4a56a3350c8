//! Watching: every change of Cfg in order, and what was seen, as it changes.
//!
//! Cfg is ordered and can be resumed from a revision: from the last commits while they are kept,
//! then from the history. Past that the answer is 410, and the client lists again. Dsc is
//! level-triggered: a line tells what an object looks like now, however often it changed. The first
//! line is a bookmark: who lists after it has missed nothing.

mod past;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kraken_actors::dirty::Dirty;
use kraken_engine::{
    catalog::Catalog,
    dsc::Dsc,
    fleet::Fleet,
    history::Replayed,
    id::{Epoch, Name, Revision, Uid},
    object::{Object, ObjectRef},
    selector::Selector,
    store::Change,
};
use schemars::JsonSchema;
use serde::Serialize;
use warp::{Filter, reply::Response, ws::Ws};

use super::{Routes, answered};
use crate::{
    api::Shared,
    call::{Call, call},
    fields::{Chosen, Fields},
    hub::{Next, Position, TooOld},
    problem::Problem,
    query::Which,
    socket,
    stream::{Gone, Lines, open},
    view::{ObjectView, Setting, Shown},
};

/// Most commits that are written to one client at a time.
const COMMITS_BATCH_MAX: usize = 16;
/// Most objects whose Dsc is read at a time.
const OBJECTS_BATCH_MAX: usize = 256;
/// What changes within this time is told once.
const COALESCE: Duration = Duration::from_millis(20);

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    warp::path!("v1" / "watch")
        .and(warp::get())
        .and(socket::upgrade())
        .and(call(shared))
        .then(|socket, call| answered("watch", watch(socket, call)))
        .boxed()
}

/// One line of a watch.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WatchLine")]
pub(crate) struct Line<'a> {
    r#type: Type,
    /// Which state of the object is told of: `cfg` or `dsc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// The revision that the stream has come to.
    #[schemars(with = "u64")]
    revision: Revision,
    /// The history that revisions belong to; told where a stream begins and now and then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    epoch: Option<Epoch>,
    /// The object, as it is now or was last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ObjectView>")]
    object: Option<&'a Chosen>,
}

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(inline)]
enum Type {
    Put,
    Delete,
    Bookmark,
    Lagged,
}

/// What a client wants to see.
struct Wanted {
    kinds: BTreeSet<Name>,
    selector: Option<Selector>,
    names: BTreeSet<Name>,
    cfg: bool,
    dsc: bool,
    fields: Option<Fields>,
}

impl Wanted {
    fn take(call: &mut Call) -> Result<Self, Problem> {
        let names = |parameter: &str, text: String| -> Result<BTreeSet<Name>, Problem> {
            let parse =
                |text: &str| Name::new(text).map_err(|error| Problem::query(parameter, error));
            text.split(',').map(str::trim).map(parse).collect()
        };
        let kinds = call.query.take("kinds").map(|text| names("kinds", text)).transpose()?;
        let states = call.query.take("states").unwrap_or_else(|| "cfg,dsc".to_owned());
        let (mut cfg, mut dsc) = (false, false);
        for state in states.split(',') {
            match state.trim() {
                "cfg" => cfg = true,
                "dsc" => dsc = true,
                other => {
                    return Err(Problem::query("states", format!("{other:?} is not cfg or dsc")));
                }
            }
        }
        let (selector, names) = match call.query.which()? {
            Which::All => (None, BTreeSet::new()),
            Which::Selector(selector) => (Some(selector), BTreeSet::new()),
            Which::Names(names) => (None, names.into_iter().collect()),
        };
        let fields = Fields::take(&mut call.query)?;
        Ok(Self { kinds: kinds.unwrap_or_default(), selector, names, cfg, dsc, fields })
    }

    fn takes(&self, object: &Object) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&object.key.kind);
        let name = self.names.is_empty() || self.names.contains(&object.key.name);
        kind && name && self.selector.as_ref().is_none_or(|s| s.matches(&object.labels))
    }
}

async fn watch(socket: Option<Ws>, mut call: Call) -> Result<Response, Problem> {
    socket::check(socket.as_ref(), &call.headers)?;
    if socket.is_some() {
        // A browser lets every page open one.
        call.check_origin()?;
    }
    let from = call.query.parse::<u64>("from")?.map(Revision::new);
    let of_epoch = call.query.parse::<u64>("epoch")?.map(Epoch::new);
    let wanted = Wanted::take(&mut call)?;
    std::mem::take(&mut call.query).done()?;
    // Marks are gathered from here on: what the client lists after its first line is not missed.
    let state = &call.shared.api.state;
    let dirty = if wanted.dsc { state.watch_objects().await } else { Dirty::new() };
    let hub = &call.shared.hub;
    let now = call.shared.api.quorum.status().revision;
    // All that this server shows has come, or a watch would start with what the hub is about to
    // let go of and lag at once.
    hub.reached(now).await;
    let is_ours = of_epoch.is_none_or(|epoch| epoch == call.shared.api.quorum.epoch());
    if let Some(from) = from.filter(|_| !is_ours) {
        return Err(Problem::Gone { from: from.get(), oldest: now.get() });
    }
    let mut missed = Vec::new();
    let (position, revision) = match from.map(|from| (from, hub.after(from))) {
        None => hub.start_at(now),
        Some((from, Ok(position))) => (position, from),
        Some((from, Err(TooOld { .. }))) => {
            let until;
            (missed, until) = past::since(from, &call).await?;
            let gone =
                |too_old: TooOld| Problem::Gone { from: from.get(), oldest: too_old.oldest.get() };
            (hub.after(until).map_err(gone)?, from)
        }
    };
    let (lines, response) = open(&call.shared, &call.headers, socket)?;
    let shared = call.shared.clone();
    let shutdown = shared.shutdown.clone();
    let watcher = Watcher { shared, wanted, lines, dirty, position, revision };
    tokio::spawn(async move {
        shutdown.run_until_cancelled(watcher.run(missed)).await;
    });
    Ok(response)
}

/// One client that watches.
struct Watcher {
    shared: Arc<Shared>,
    wanted: Wanted,
    lines: Lines,
    dirty: Dirty<Uid>,
    position: Position,
    revision: Revision,
}

impl Watcher {
    async fn run(mut self, missed: Vec<Replayed>) {
        let mut moved = self.shared.hub.moved();
        if self.bookmark().await.is_err() || self.catch_up_with(missed).await.is_err() {
            return;
        }
        loop {
            moved.mark_unchanged();
            if self.catch_up().await.is_err() {
                return;
            }
            tokio::select! {
                () = self.lines.closed() => return,
                changed = moved.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.marked() => {}
                () = tokio::time::sleep(self.shared.limits.heartbeat) => {
                    if self.bookmark().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn lag(&mut self) -> Result<(), Gone> {
        self.write(Type::Lagged, None, None).await?;
        self.lines.flush().await?;
        Err(Gone)
    }

    /// Writes all that has changed.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        self.write_commits().await?;
        self.write_dsc().await?;
        self.lines.flush().await
    }

    /// Waits until something was seen, and a little more for what comes with it.
    async fn marked(&self) {
        self.dirty.marked().await;
        tokio::time::sleep(COALESCE).await;
    }

    async fn bookmark(&mut self) -> Result<(), Gone> {
        self.write(Type::Bookmark, None, None).await?;
        self.lines.flush().await
    }

    async fn write(
        &mut self,
        r#type: Type,
        state: Option<&'static str>,
        object: Option<&Chosen>,
    ) -> Result<(), Gone> {
        self.write_at(self.revision, r#type, state, object).await
    }

    /// Writes a line after which the stream may be resumed from `resume`.
    async fn write_at(
        &mut self,
        resume: Revision,
        r#type: Type,
        state: Option<&'static str>,
        object: Option<&Chosen>,
    ) -> Result<(), Gone> {
        let epoch = object.is_none().then(|| self.shared.api.quorum.epoch());
        let line = Line { r#type, state, revision: self.revision, epoch, object };
        self.lines.write(Some(&resume.to_string()), &line).await
    }

    /// Writes all commits that have come. A watcher that fell behind is told so and ends.
    async fn write_commits(&mut self) -> Result<(), Gone> {
        loop {
            match self.shared.hub.since(self.position, COMMITS_BATCH_MAX) {
                Next::Lagged => return self.lag().await,
                Next::Commits(commits, _) if commits.is_empty() => return Ok(()),
                Next::Commits(commits, next) => {
                    for commit in &commits {
                        self.write_changes(commit.revision, &commit.changes).await?;
                    }
                    self.position = next;
                }
            }
        }
    }

    /// Writes what was missed while nobody watched.
    async fn catch_up_with(&mut self, missed: Vec<Replayed>) -> Result<(), Gone> {
        for Replayed { revision, changes } in missed {
            self.write_changes(revision, &changes).await?;
        }
        self.lines.flush().await
    }

    async fn write_changes(&mut self, revision: Revision, changes: &[Change]) -> Result<(), Gone> {
        // What is kept may run behind what was read: the client has listed this already.
        if revision <= self.revision {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.revision, revision);
        if !self.wanted.cfg {
            return Ok(());
        }
        let changes = changes.iter().filter(|c| self.wanted.takes(c.object()));
        let changes: Vec<&Change> = changes.collect();
        if changes.is_empty() {
            return Ok(());
        }
        let owners = self.owners(changes.iter().filter_map(|c| c.object().owner)).await?;
        let nothing = (Catalog::default(), Dsc::new());
        let now = self.shared.api.clock.wall();
        let setting = Setting { catalog: &nothing.0, shown: Shown::Cfg, now };
        let last = changes.len() - 1;
        for (index, change) in changes.into_iter().enumerate() {
            let object = change.object();
            let owner = object.owner.and_then(|owner| owners.get(&owner));
            let view = ObjectView::of(object, owner, &nothing.1, setting);
            let view = Chosen::of(view, self.wanted.fields.as_ref());
            let r#type = match change {
                Change::Put { .. } => Type::Put,
                Change::Removed(_) => Type::Delete,
            };
            let resume = if index == last { revision } else { before };
            self.write_at(resume, r#type, Some("cfg"), Some(&view)).await?;
        }
        Ok(())
    }

    /// What owners are called.
    async fn owners(
        &self,
        uids: impl Iterator<Item = Uid>,
    ) -> Result<std::collections::BTreeMap<Uid, ObjectRef>, Gone> {
        let uids: BTreeSet<Uid> = uids.collect();
        if uids.is_empty() {
            return Ok(<_>::default());
        }
        let find = move |fleet: &Fleet| {
            let known = uids.iter().filter_map(|uid| Some((*uid, fleet.object(*uid)?.key.clone())));
            known.collect()
        };
        self.shared.api.state.read(find).await.map_err(|_| Gone)
    }

    /// Writes what the marked objects look like now.
    async fn write_dsc(&mut self) -> Result<(), Gone> {
        let marked: Vec<Uid> = self.dirty.take().into_iter().collect();
        for some in marked.chunks(OBJECTS_BATCH_MAX) {
            let some = some.to_vec();
            let look = move |fleet: &Fleet| {
                let found = some.iter().filter_map(|uid| fleet.object(*uid));
                let seen: Vec<(Arc<Object>, Arc<Dsc>)> =
                    found.map(|object| (object.clone(), fleet.dsc(object.uid))).collect();
                (fleet.catalog().clone(), seen)
            };
            let (catalog, seen) = self.shared.api.state.read(look).await.map_err(|_| Gone)?;
            let now = self.shared.api.clock.wall();
            let setting = Setting { catalog: &catalog, shown: Shown::Dsc, now };
            for (object, dsc) in &seen {
                if !self.wanted.takes(object) {
                    continue;
                }
                let view = ObjectView::of(object, None, dsc, setting);
                let view = Chosen::of(view, self.wanted.fields.as_ref());
                self.write(Type::Put, Some("dsc"), Some(&view)).await?;
            }
        }
        Ok(())
    }
}
