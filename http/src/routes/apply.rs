//! Apply: manifests of any kinds, many documents, created or updated in one transaction or not at
//! all. Declarations of modules among them are committed first, once everything is known to fit.

use std::sync::Arc;

use bytes::Bytes;
use kraken_actors::quorum::Consistency;
use kraken_engine::{
    catalog::Catalog,
    command::{OPS_MAX, Txn},
    explain::change::CHANGE_OPS_MAX,
    store::Store,
};
use warp::{Filter, http::StatusCode, reply::Response};

use super::{
    Routes, answered,
    modules::{declare, vet},
    objects::puts_within,
    write::{Wish, written},
};
use crate::{
    api::Shared,
    aside::aside,
    call::{Call, call_with_body},
    document::{self, Defaults, Document},
    problem::{FAULTS_MAX, Fault, Problem},
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    warp::path!("v1" / "apply")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, body| answered("apply", apply(call, body)))
        .boxed()
}

async fn apply(mut call: Call, body: Bytes) -> Result<Response, Problem> {
    let mut wish = Wish::of_many(&mut call)?;
    std::mem::take(&mut call.query).done()?;
    let defaults = Defaults::default();
    let whole = {
        let body = body.clone();
        aside(move || document::read_all(&body, &Defaults::default())).await??
    };
    let (sources, documents) = (whole.sources, whole.documents);
    if sources.is_empty() {
        check(&call, &body, &documents, &defaults).await?;
        let txn = txn(documents, wish.is_dry()).await?;
        return wish.write(&call, txn, StatusCode::OK).await;
    }
    let catalog = vet(&call, &sources).await?;
    let faults = faults(&catalog, &documents);
    if !faults.is_empty() {
        return Err(Problem::Invalid(faults));
    }
    let mut txn = txn(documents, wish.is_dry()).await?;
    if wish.is_dry() {
        let manifests = sources.into_iter().map(|source| source.manifest).collect();
        return wish.plan(&call, manifests, txn).await;
    }
    call.part = OBJECTS;
    if let Some(done) = call.earlier().await? {
        return written(done, StatusCode::OK);
    }
    call.part = "";
    wish.pin(&call, &mut txn).await?;
    let declared = declare(&call, &sources).await?;
    if txn.ops.is_empty() {
        return written(declared, StatusCode::OK);
    }
    call.part = OBJECTS;
    wish.write(&call, txn, StatusCode::OK).await
}

/// The part of a request that writes objects, after declarations.
const OBJECTS: &str = " objects";

/// What writes the objects of documents. More can be planned than can be written at once.
async fn txn(documents: Vec<Document>, is_dry: bool) -> Result<Txn, Problem> {
    let limit = if is_dry { CHANGE_OPS_MAX } else { OPS_MAX };
    let ops = aside(move || puts_within(&documents, limit)).await??;
    Ok(Txn { preconditions: Vec::new(), ops, note: None })
}

/// Bodies up to so many bytes are read at once.
const BODY_BYTES_SMALL: usize = 64 << 10;

/// Reads manifests; large ones where that holds up nobody.
pub(super) async fn read(body: &Bytes, defaults: &Defaults) -> Result<Vec<Document>, Problem> {
    if body.len() <= BODY_BYTES_SMALL {
        return document::read(body, defaults);
    }
    let (body, defaults) = (body.clone(), defaults.clone());
    aside(move || document::read(&body, &defaults)).await?
}

/// Checks documents against what is declared, and says all that is wrong with the places where it
/// stands. The store checks again; this is for people.
pub(super) async fn check(
    call: &Call,
    body: &Bytes,
    documents: &[Document],
    defaults: &Defaults,
) -> Result<(), Problem> {
    let of = |store: &Store| store.catalog().clone();
    let held = call.read(Consistency::Stale, of).await?;
    if faults(&held, documents).is_empty() {
        return Ok(());
    }
    // What this member holds may be older than what is declared: nobody is told a fault by it.
    let catalog = call.read(Consistency::Linearizable, of).await?;
    if catalog.kinds().next().is_none() {
        let why = "the members have not declared their modules yet";
        return Err(Problem::Unavailable(why.to_owned()));
    }
    let faults = faults(&catalog, documents);
    if faults.is_empty() {
        return Ok(());
    }
    // JSON is read without places; now they are worth a second reading.
    let text = std::str::from_utf8(body).unwrap_or_default();
    match document::read_placed(text, defaults) {
        Ok(placed) => Err(Problem::Invalid(self::faults(&catalog, &placed))),
        Err(_) => Err(Problem::Invalid(faults)),
    }
}

fn faults(catalog: &Catalog, documents: &[Document]) -> Vec<Fault> {
    let of = |document| faults_of(catalog, document);
    documents.iter().flat_map(of).take(FAULTS_MAX).collect()
}

fn faults_of(catalog: &Catalog, document: &Document) -> Vec<Fault> {
    let Some(object) = document.keys().next() else { return Vec::new() };
    let Some(kind) = catalog.kind(&document.kind) else {
        let why = format!("no extension declares objects of kind {}", document.kind);
        return vec![Fault { document: Some(document.index), ..Fault::at("kind", why) }];
    };
    let wrong = document.cfg.iter().filter_map(|(path, value)| {
        let why = kind.schema.check_set(path, value).err()?;
        Some(document.fault(&object, path.as_str(), why))
    });
    wrong.collect()
}
