//! Operations: freeze, thaw and retry; and what is frozen.

use std::sync::Arc;

use bytes::Bytes;
use kraken_actors::quorum::Consistency;
use kraken_engine::{
    command::{Command, Targets},
    id::Name,
    manifest::NODE_KIND,
    nodeset,
    selector::Selector,
    store::Store,
};
use schemars::JsonSchema;
use serde::Deserialize;
use warp::{Filter, http::StatusCode, reply::Response};

use super::{
    Routes, answered,
    family::{Family, family},
    write::written,
};
use crate::{
    api::Shared,
    call::{Call, call, call_with_body},
    problem::{Fault, Problem},
    reply::{json, with_revision},
    view::{FreezeView, List},
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let freezes = warp::path!("v1" / "freeze")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("freezes.list", freezes(call)));
    let freeze = warp::path!("v1" / "freeze").and(warp::post()).and(call_with_body(shared)).then(
        |call, body| {
            let command = |targets| Command::Freeze { targets };
            answered("freeze", operate(call, body, command))
        },
    );
    let thaw = warp::path!("v1" / "thaw").and(warp::post()).and(call_with_body(shared)).then(
        |call, body| {
            let command = |targets| Command::Thaw { targets };
            answered("thaw", operate(call, body, command))
        },
    );
    let retry = warp::path!("v1" / "retry").and(warp::post()).and(call_with_body(shared)).then(
        |call, body| {
            let command = |targets| Command::Retry { targets };
            answered("retry", operate(call, body, command))
        },
    );
    let retry_one = family()
        .and(warp::path::param::<String>())
        .and(warp::path("retry"))
        .and(warp::path::end())
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|family, name, call, _| answered("objects.retry", retry_one(family, name, call)));
    let writes = freeze.or(thaw).unify().or(retry).unify().or(retry_one).unify();
    freezes.or(writes).unify().boxed()
}

/// Which objects are meant: exactly one of these.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Targets")]
pub(crate) struct TargetsBody {
    /// Nodes of these names.
    pub(super) names: Option<Names>,
    /// Objects whose labels it selects.
    #[schemars(with = "Option<String>")]
    pub(super) selector: Option<Selector>,
    /// All objects.
    pub(super) all: bool,
}

/// A node set, or a list of node sets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Names {
    Set(String),
    List(Vec<String>),
}

impl TargetsBody {
    pub(super) fn read(self) -> Result<Targets, Problem> {
        match (self.names, self.selector, self.all) {
            (Some(names), None, false) => Ok(Targets::Names(names.read()?)),
            (None, Some(selector), false) => Ok(Targets::Selector(selector)),
            (None, None, true) => Ok(Targets::All),
            _ => Err(Problem::body("give exactly one of `names`, `selector` and `all: true`")),
        }
    }
}

impl Names {
    fn read(self) -> Result<Vec<Name>, Problem> {
        let text = match self {
            Self::Set(text) => text,
            Self::List(texts) => texts.join(","),
        };
        nodeset::expand(&text).map_err(|error| Problem::BadBody(vec![Fault::at("names", error)]))
    }
}

async fn operate(
    call: Call,
    body: Bytes,
    command: impl FnOnce(Targets) -> Command,
) -> Result<Response, Problem> {
    let body: TargetsBody = serde_json::from_slice(&body).map_err(Problem::body)?;
    let targets = body.read()?;
    finish(call, command(targets)).await
}

/// The freezes in force.
async fn freezes(mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    std::mem::take(&mut call.query).done()?;
    let held =
        |store: &Store| (store.revision(), store.freezes().iter().map(FreezeView::of).collect());
    let (revision, items) = call.read(consistency, held).await?;
    let list: List<FreezeView> = List { revision: revision.get(), items, r#continue: None };
    Ok(with_revision(json(&list)?, revision))
}

async fn retry_one(family: Family, name: String, call: Call) -> Result<Response, Problem> {
    let find = |store: &Store| family.get(store, &name).map(|object| object.key.clone());
    let key = call.read(Consistency::Linearizable, find).await??;
    if key.kind.as_str() != NODE_KIND {
        return Err(Problem::body("only nodes are retried by name"));
    }
    finish(call, Command::Retry { targets: Targets::Names(vec![key.name]) }).await
}

async fn finish(mut call: Call, command: Command) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let done = call.propose(command).await?;
    written(done, StatusCode::OK)
}
