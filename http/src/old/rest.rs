//! What else the old surface answers: enumerations, where its WebSocket is, freeze and thaw.

use std::{collections::BTreeMap, sync::Arc};

use kraken_actors::quorum::Consistency;
use kraken_engine::{
    command::{Command, Targets},
    store::{Scope, Store},
};
use serde_json::{Value as Json, json};
use warp::{Filter, reply::Response};

use super::{
    answer,
    names::{Enums, url_of},
};
use crate::{
    api::Shared,
    call::{Call, call},
    problem::Problem,
    reply::{json, with_revision},
    routes::Routes,
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let get = || warp::get().and(call(shared));
    let enumerables = warp::path!("enumerables").and(get());
    let enumerables = enumerables.then(|call| answer("old.enumerables", enumerables_of(call)));
    let socket = warp::path!("ws").and(get());
    let socket = socket.then(|call| answer("old.socket", async move { socket_of(&call) }));
    let freeze = warp::path!("sme" / "freeze").and(get());
    let freeze = freeze.then(|call| answer("old.freeze", set_frozen(call, true)));
    let thaw = warp::path!("sme" / "thaw").and(get());
    let thaw = thaw.then(|call| answer("old.thaw", set_frozen(call, false)));
    let frozen = warp::path!("sme" / "frozen").and(get());
    let frozen = frozen.then(|call| answer("old.frozen", is_frozen(call)));
    let moves = freeze.or(thaw).unify().or(frozen).unify();
    enumerables.or(socket).unify().or(moves).unify().boxed()
}

/// Whether a GET of this path changes something: then a HEAD is none.
pub(crate) fn acts(path: &str) -> bool {
    matches!(path, "/sme/freeze" | "/sme/thaw")
}

async fn enumerables_of(call: Call) -> Result<Response, Problem> {
    let catalog = call.read(Consistency::Stale, |store| store.catalog().clone()).await?;
    let enums = Enums::of(&catalog);
    let enumerable = |(path, names): (&str, &[String])| {
        let options: BTreeMap<String, &String> =
            names.iter().enumerate().map(|(number, name)| (number.to_string(), name)).collect();
        let path = kraken_engine::path::Path::new(path).ok()?;
        let (url, name) = (path.as_str().trim_start_matches('/'), url_of(&path));
        let name = name.trim_start_matches('/');
        Some(json!({ "name": name, "url": url, "options": options }))
    };
    let all: Vec<Json> = enums.iter().filter_map(enumerable).collect();
    json(&all)
}

/// Where the WebSocket is, as clients are to connect to it.
fn socket_of(call: &Call) -> Result<Response, Problem> {
    let old = call.shared.old.as_ref().ok_or_else(|| Problem::NoSuchRoute("/ws".to_owned()))?;
    let (host, port) = old.socket.rsplit_once(':').unwrap_or((old.socket.as_str(), ""));
    json(&json!({ "host": host, "port": port, "url": "/ws" }))
}

async fn set_frozen(call: Call, frozen: bool) -> Result<Response, Problem> {
    let targets = Targets::All;
    let command = if frozen { Command::Freeze { targets } } else { Command::Thaw { targets } };
    let done = call.propose(command).await?;
    Ok(with_revision(json(&json!({ "frozen": frozen }))?, done.revision))
}

/// Whether the whole fleet is frozen; single nodes may be, all the same.
async fn is_frozen(call: Call) -> Result<Response, Problem> {
    let read = |store: &Store| {
        let frozen = store.freezes().iter().any(|freeze| freeze.scope == Scope::All);
        (store.revision(), frozen)
    };
    let (revision, frozen) = call.read(Consistency::Linearizable, read).await?;
    Ok(with_revision(json(&json!({ "frozen": frozen }))?, revision))
}
