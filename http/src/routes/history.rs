//! The past: what was written, how objects were, what differs, and the way back.
//!
//! The store is copied at the moment of asking (it shares its objects) and the records of the past
//! are laid over it, aside from those who serve everybody.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use kraken_actors::quorum::{Consistency, QuorumError, Records};
use kraken_engine::{
    command::Targets,
    history::{self, Past, Record, Versions},
    id::Revision,
    object::Object,
    selector::Selector,
    store::Store,
};
use schemars::JsonSchema;
use serde::Deserialize;
use warp::{Filter, http::StatusCode, reply::Response};

use super::{
    Routes, answered,
    family::{Family, family},
    operations::{Names, TargetsBody},
    write::Wish,
};
use crate::{
    api::Shared,
    aside::aside,
    call::{Call, call, call_with_body},
    problem::Problem,
    query::Which,
    reply::{json, with_revision},
    view::{DiffView, HistoryView, RevisionList, RevisionView},
};

/// Most items of a page of the history; also how many there are unless `limit` says less.
pub(crate) const HISTORY_ITEMS_MAX: usize = 1_000;

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let of_object = family()
        .and(warp::path::param::<String>())
        .and(warp::path("history"))
        .and(warp::path::end())
        .and(warp::get())
        .and(call(shared))
        .then(|family, name, call| answered("objects.history", of_object(family, name, call)));
    let list = warp::path!("v1" / "revisions")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("revisions.list", list(call)));
    let one = warp::path!("v1" / "revisions" / String)
        .and(warp::get())
        .and(call(shared))
        .then(|revision, call| answered("revisions.get", one(revision, call)));
    let diff = warp::path!("v1" / "diff")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("diff", diff(call)));
    let rollback = warp::path!("v1" / "rollback")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, body| answered("rollback", rollback(call, body)));
    of_object.or(list).unify().or(one).unify().or(diff).unify().or(rollback).unify().boxed()
}

/// The store as it is, and the writes after a revision, as far as that store has them.
pub(super) struct Time {
    pub(super) store: Store,
    records: Box<dyn Records>,
}

impl Time {
    /// Reads both.
    pub(super) async fn since(
        after: Revision,
        consistency: Consistency,
        call: &Call,
    ) -> Result<Self, Problem> {
        // The store first: the history then holds all that the store has.
        let store = call.read(consistency, Store::clone).await?;
        let quorum = &call.shared.api.quorum;
        let records = quorum.history(after).await.map_err(|error| gone(error, after))?;
        Ok(Self { store, records })
    }

    /// What it takes to tell how objects were at a revision that Cfg has reached.
    pub(super) async fn at(
        revision: Revision,
        consistency: Consistency,
        call: &Call,
    ) -> Result<Self, Problem> {
        let time = Self::since(revision, consistency, call).await?;
        check_reached("revision", revision, &time.store)?;
        Ok(time)
    }

    /// The same from as far back as is remembered, and how far that is.
    async fn all(consistency: Consistency, call: &Call) -> Result<(Self, Revision), Problem> {
        let store = call.read(consistency, Store::clone).await?;
        let quorum = &call.shared.api.quorum;
        let mut horizon = Revision::default();
        // Retention may move the horizon between the two questions; it does so rarely.
        for _ in 0..HORIZON_TRIES {
            match quorum.history(horizon).await {
                Ok(records) => return Ok((Self { store, records }, horizon)),
                Err(QuorumError::Gone { horizon: now }) => horizon = now,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::Unavailable("the history moves on too fast".to_owned()))
    }

    fn each(&self, mut see: impl FnMut(Record) -> ControlFlow<()>) -> Result<(), Problem> {
        let last = self.store.revision();
        let seen = &mut |record: Record| {
            if record.revision > last { ControlFlow::Break(()) } else { see(record) }
        };
        Ok(self.records.each(seen)?)
    }

    /// How objects were at a revision, which may not lie before the one that was asked for.
    pub(super) fn past(&self, at: Revision) -> Result<Past, Problem> {
        let mut past = Past::at(at);
        self.each(|record| {
            past.see(&record);
            ControlFlow::Continue(())
        })?;
        Ok(past)
    }
}

/// How often the horizon may move while it is asked for.
const HORIZON_TRIES: usize = 4;

fn gone(error: QuorumError, from: Revision) -> Problem {
    match error {
        QuorumError::Gone { horizon } => Problem::Gone { from: from.get(), oldest: horizon.get() },
        error => error.into(),
    }
}

/// A revision that is asked for and that Cfg has not reached.
fn check_reached(name: &str, revision: Revision, store: &Store) -> Result<(), Problem> {
    let now = store.revision();
    if revision <= now {
        return Ok(());
    }
    Err(Problem::query(name, format!("Cfg is at revision {now}, {revision} is yet to come")))
}

fn limit(call: &mut Call) -> Result<usize, Problem> {
    let limit = call.query.parse::<usize>("limit")?.unwrap_or(HISTORY_ITEMS_MAX);
    if limit == 0 || limit > HISTORY_ITEMS_MAX {
        return Err(Problem::query("limit", format!("it must be from 1 to {HISTORY_ITEMS_MAX}")));
    }
    Ok(limit)
}

async fn of_object(family: Family, name: String, mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    let limit = limit(&mut call)?;
    std::mem::take(&mut call.query).done()?;
    let (time, horizon) = Time::all(consistency, &call).await?;
    let revision = time.store.revision();
    let view = aside(move || {
        let found = family.find(&time.store, &name).map(|object| object.key.clone());
        let key = match (found, kraken_engine::id::Name::new(&name)) {
            (Some(key), _) => key,
            (None, Ok(name)) => family.key(name),
            (None, Err(_)) => return Err(family.missing(&name)),
        };
        let mut versions = Versions::of(key.clone());
        time.each(|record| {
            versions.see(&record);
            ControlFlow::Continue(())
        })?;
        let now = time.store.find(&key);
        let versions = versions.finish(now);
        // One that was removed may have a past; one without either was never there.
        if now.is_none() && versions.is_empty() {
            return Err(family.missing(&name));
        }
        Ok(HistoryView::of(&key, &versions, limit, horizon, &time.store))
    });
    let view = view.await??;
    Ok(with_revision(json(&view)?, revision))
}

async fn list(mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    let limit = limit(&mut call)?;
    let before = call.query.parse::<u64>("continue")?.map(Revision::new);
    std::mem::take(&mut call.query).done()?;
    let (time, horizon) = Time::all(consistency, &call).await?;
    let revision = time.store.revision();
    let list = aside(move || {
        let mut newest: VecDeque<Record> = VecDeque::with_capacity(limit + 1);
        time.each(|record| {
            if before.is_some_and(|before| record.revision >= before) {
                return ControlFlow::Break(());
            }
            if newest.len() > limit {
                newest.pop_front();
            }
            newest.push_back(record);
            ControlFlow::Continue(())
        })?;
        Ok::<_, Problem>(RevisionList::of(newest.into(), limit, revision, horizon))
    });
    let list = list.await??;
    Ok(with_revision(json(&list)?, revision))
}

async fn one(at: String, mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    let shown: String = at.chars().take(32).collect();
    let at = at.parse().map(Revision::new);
    let at = at.map_err(|_| Problem::NoSuchThing(format!("revision {shown:?}")))?;
    std::mem::take(&mut call.query).done()?;
    let before = Revision::new(at.get().saturating_sub(1));
    let time = Time::since(before, consistency, &call).await?;
    let revision = time.store.revision();
    let view = aside(move || {
        let (mut found, mut after) = (None, Past::at(at));
        time.each(|record| {
            after.see(&record);
            if record.revision == at {
                found = Some(record);
            }
            ControlFlow::Continue(())
        })?;
        let none = || Problem::NoSuchThing(format!("write of objects at revision {at}"));
        Ok::<_, Problem>(RevisionView::of(&found.ok_or_else(none)?, &after, &time.store))
    });
    let view = view.await??;
    Ok(with_revision(json(&view)?, revision))
}

/// Takes `selector` or `names`, as a test of nodes; every object where there is neither.
fn wanted(call: &mut Call) -> Result<impl Fn(&Object) -> bool + Send + 'static, Problem> {
    let which = call.query.which()?;
    Ok(move |object: &Object| match &which {
        Which::All => true,
        Which::Selector(selector) => selector.matches(&object.labels),
        Which::Names(names) => object.key.is_node() && names.contains(&object.key.name),
    })
}

async fn diff(mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    let from = call.query.parse::<u64>("from")?.map(Revision::new);
    let from = from.ok_or_else(|| Problem::query("from", "say from which revision"))?;
    let to = call.query.parse::<u64>("to")?.map(Revision::new);
    let wanted = wanted(&mut call)?;
    std::mem::take(&mut call.query).done()?;
    let to_or_from = to.unwrap_or(from);
    if to_or_from < from {
        return Err(Problem::query("to", "it must not lie before `from`"));
    }
    let time = Time::since(from, consistency, &call).await?;
    let revision = time.store.revision();
    check_reached("from", from, &time.store)?;
    let to = to.unwrap_or(revision);
    check_reached("to", to, &time.store)?;
    let view = aside(move || {
        let (mut before, mut after) = (Past::at(from), Past::at(to));
        time.each(|record| {
            before.see(&record);
            after.see(&record);
            ControlFlow::Continue(())
        })?;
        let mut changes = history::diff(&before, &after, &time.store);
        changes.retain(|change| {
            change.after.as_ref().or(change.before.as_ref()).is_some_and(|o| wanted(o))
        });
        Ok::<_, Problem>(DiffView::of(&changes, from, to, &time.store))
    });
    let view = view.await??;
    Ok(with_revision(json(&view)?, revision))
}

/// Where to go back to, and with which objects: exactly one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Rollback")]
pub(crate) struct RollbackBody {
    /// The revision to go back to.
    to: u64,
    /// Nodes of these names.
    #[serde(default)]
    names: Option<Names>,
    /// Objects whose labels it selects.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    selector: Option<Selector>,
    /// All objects.
    #[serde(default)]
    all: bool,
}

async fn rollback(mut call: Call, body: Bytes) -> Result<Response, Problem> {
    let wish = Wish::of_many(&mut call)?;
    std::mem::take(&mut call.query).done()?;
    let body: RollbackBody = serde_json::from_slice(&body).map_err(Problem::body)?;
    let RollbackBody { to, names, selector, all } = body;
    let (to, targets) = (Revision::new(to), TargetsBody { names, selector, all }.read()?);
    let time = Time::since(to, Consistency::Linearizable, &call).await?;
    if to > time.store.revision() {
        let now = time.store.revision();
        return Err(Problem::body(format!("Cfg is at revision {now}, {to} is yet to come")));
    }
    let txn = aside(move || {
        let wanted = |object: &Object| match &targets {
            Targets::All => true,
            Targets::Selector(selector) => selector.matches(&object.labels),
            Targets::Names(names) => object.key.is_node() && names.contains(&object.key.name),
        };
        let txn = history::rollback(&time.past(to)?, &time.store, wanted);
        txn.map_err(|history::Unrestorable::TooMany { limit, .. }| Problem::TooMany {
            what: "objects to bring back; choose some by names or by a selector: objects"
                .to_owned(),
            limit: limit as u64,
        })
    });
    let mut txn = txn.await??;
    if wish.note().is_none() {
        txn.note = Some(format!("rollback to revision {to}"));
    }
    wish.write(&call, txn, StatusCode::OK).await
}
