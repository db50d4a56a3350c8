//! What a write would do: carried out on a copy of the store, then every object that it changes is
//! planned for. Nothing is written.

use std::{collections::BTreeMap, sync::Arc};

use kraken_actors::quorum::Consistency;
use kraken_engine::{
    command::{Command, Outcome, Proposal, Txn},
    dsc::Dsc,
    explain::{self, Scene},
    fleet::Fleet,
    id::{Revision, Term, Uid},
    object::Object,
    path::Path,
    planner::Planner,
    store::{Change, Store},
    time::Millis,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use warp::reply::Response;

use crate::{
    aside::aside,
    call::Call,
    json::to_json,
    problem::Problem,
    reply::{json, with_revision},
    routes::check_base,
    view::{ChangeView, PlanView, reference},
};

/// What a write would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// The revision from which it was planned: give it as `expect` to write exactly this.
    pub revision: u64,
    /// Every object that would change, in order of name.
    pub objects: Vec<Planned>,
}

/// What a write would do to one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The object, `kind/name`.
    pub object: String,
    /// What would become of it.
    pub change: Kind,
    /// What its Cfg would lose and gain; null is nothing.
    pub cfg: Vec<ChangeView>,
    /// What would then be done; nothing for an object that is removed at once.
    pub plan: PlanView,
}

/// What would become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// It would be created.
    Create,
    /// It would be changed.
    Update,
    /// It would be marked for removal, or removed.
    Delete,
}

/// Answers what a transaction would do.
pub(crate) async fn answer(
    call: &Call,
    txn: Txn,
    expect: Option<Revision>,
) -> Result<Response, Problem> {
    let store = call.read(Consistency::Linearizable, Store::clone).await?;
    if let Some(expected) = expect {
        check_base(&store, expected)?;
    }
    let revision = store.revision();
    let api = &call.shared.api;
    let dsc = api.state.read(Fleet::all_dsc).await?;
    let now = api.clock.wall();
    let objects = aside(move || dry_run(&store, dsc, txn, now)).await??;
    Ok(with_revision(json(&DryRun { revision: revision.get(), objects })?, revision))
}

fn dry_run(
    before: &Store,
    dsc: BTreeMap<Uid, Arc<Dsc>>,
    txn: Txn,
    at: Millis,
) -> Result<Vec<Planned>, Problem> {
    let mut store = before.clone();
    let next = Revision::new(store.revision().get().saturating_add(1));
    let command = Command::Txn(txn);
    let proposal = Proposal { request: None, author: String::new(), at, command };
    let applied = store.apply(next, Term::default(), &proposal);
    if let Outcome::Refused(refusal) = applied.outcome {
        return Err(refusal.into());
    }
    let scene = Scene::new(store, dsc);
    let mut planner = Planner::new();
    let mut changes = applied.changes;
    changes.sort_by(|a, b| a.object().key.cmp(&b.object().key));
    let planned = |change: &Change| {
        let object = change.object();
        let held = before.object(object.uid);
        let is_removed = matches!(change, Change::Removed(_));
        let plan = if is_removed {
            explain::PlanView::default()
        } else {
            explain::plan(scene.subject(object), &mut planner)
        };
        Planned {
            object: reference(&object.key),
            change: match held {
                None => Kind::Create,
                Some(held) if is_removed || held.deleting != object.deleting => Kind::Delete,
                Some(_) => Kind::Update,
            },
            cfg: cfg_changes(held, Some(object).filter(|_| !is_removed)),
            plan: PlanView::of(&plan),
        }
    };
    Ok(changes.iter().map(planned).collect())
}

/// What a Cfg loses and gains, in order of path.
fn cfg_changes(before: Option<&Arc<Object>>, after: Option<&Arc<Object>>) -> Vec<ChangeView> {
    let mut changes: BTreeMap<&Path, (Json, Json)> = BTreeMap::new();
    for (path, value) in before.iter().flat_map(|object| object.cfg.iter()) {
        changes.entry(path).or_default().0 = to_json(value);
    }
    for (path, value) in after.iter().flat_map(|object| object.cfg.iter()) {
        changes.entry(path).or_default().1 = to_json(value);
    }
    let moved = changes.into_iter().filter(|(_, (from, to))| from != to);
    moved.map(|(path, (from, to))| ChangeView { path: path.to_string(), from, to }).collect()
}
