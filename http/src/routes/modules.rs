//! Modules: what is declared.

use std::sync::Arc;

use kraken_engine::{manifest::Manifest, store::Store};
use serde_json::json;
use warp::{Filter, reply::Response};

use super::{Routes, answered};
use crate::{
    api::Shared,
    call::{Call, call},
    problem::Problem,
    reply::{self, with_revision},
    view::List,
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let list_route = warp::path!("v1" / "modules")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("modules.list", list(call)));
    let get_route = warp::path!("v1" / "modules" / String)
        .and(warp::get())
        .and(call(shared))
        .then(|name, call| answered("modules.get", get(name, call)));
    list_route.or(get_route).unify().boxed()
}

async fn list(mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    std::mem::take(&mut call.query).done()?;
    let held = |store: &Store| {
        let manifests: Vec<Manifest> = store.manifests().values().cloned().collect();
        (store.revision(), manifests)
    };
    let (revision, manifests) = call.read(consistency, held).await?;
    let items = manifests.iter().map(summary).collect();
    let body = List { revision: revision.get(), items, r#continue: None };
    Ok(with_revision(reply::json(&body)?, revision))
}

/// A module in a few words; the whole manifest is one call away.
fn summary(manifest: &Manifest) -> serde_json::Value {
    let kinds: std::collections::BTreeSet<&str> = manifest
        .extensions
        .iter()
        .map(|extension| extension.kind.as_str())
        .chain(manifest.mutations.iter().map(|mutation| mutation.kind.as_str()))
        .collect();
    let paths = manifest.extensions.iter().flat_map(|extension| &extension.paths);
    let mutations = manifest.mutations.iter();
    json!({
        "name": manifest.module,
        "doc": manifest.doc,
        "kinds": kinds,
        "paths": paths.map(|path| path.path.as_str()).collect::<Vec<_>>(),
        "discovers": manifest.discovers,
        "mutations": mutations.map(|mutation| mutation.name.as_str()).collect::<Vec<_>>(),
        "pollMs": manifest.poll_ms,
    })
}

async fn get(name: String, mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    std::mem::take(&mut call.query).done()?;
    let held = |store: &Store| (store.revision(), store.manifests().get(&name).cloned());
    let (revision, manifest) = call.read(consistency, held).await?;
    let shown: String = name.chars().take(128).collect();
    let manifest = manifest.ok_or_else(|| Problem::NoSuchThing(format!("module {shown}")))?;
    Ok(with_revision(reply::json(&manifest)?, revision))
}
