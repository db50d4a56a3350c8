//! What the edge says of itself: the OpenAPI document, and the JSON Schema of manifests.

use std::sync::{Arc, LazyLock};

use kraken_engine::store::Store;
use warp::{Filter, reply::Response};

use super::{Routes, answered};
use crate::{
    api::Shared,
    call::{Call, call},
    manifest_schema,
    media::{self, JSON},
    openapi::{self, table::SCHEMA_JSON},
    problem::Problem,
    reply::{self, typed, with_revision},
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let document_route = warp::path!("openapi.json")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("openapi", std::future::ready(document(call))));
    let schema_route = warp::path!("v1" / "schema")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("schema", schema(call)));
    document_route.or(schema_route).unify().boxed()
}

fn document(mut call: Call) -> Result<Response, Problem> {
    /// It is the same as long as the process lives.
    static DOCUMENT: LazyLock<Vec<u8>> =
        LazyLock::new(|| openapi::document().to_string().into_bytes());
    std::mem::take(&mut call.query).done()?;
    Ok(typed(DOCUMENT.clone(), JSON))
}

async fn schema(mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    std::mem::take(&mut call.query).done()?;
    let held = |store: &Store| (store.revision(), store.catalog().clone());
    let (revision, catalog) = call.read(consistency, held).await?;
    let schema = manifest_schema::of(&catalog);
    let response = match media::wanted(&call.headers, &[SCHEMA_JSON, JSON]) {
        Some(JSON) => reply::json(&schema)?,
        Some(_) | None => typed(schema.to_string().into_bytes(), SCHEMA_JSON),
    };
    Ok(with_revision(response, revision))
}
