//! Modules: what is declared, and what operators add to it and take from it.

use std::sync::Arc;

use bytes::Bytes;
use kraken_actors::quorum::Consistency;
use kraken_engine::{
    catalog::Catalog,
    check::{Finding, Severity, Source, check},
    command::Command,
    manifest::Manifest,
    store::Store,
};
use warp::{Filter, http::StatusCode, reply::Response};

use super::{Routes, answered, write::written};
use crate::{
    api::Shared,
    aside::aside,
    call::{Call, Done, call, call_with_body},
    declaration,
    problem::{FAULTS_MAX, Fault, Problem},
    reply::{self, with_revision},
    view::{List, ModuleView},
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
    let add_route = warp::path!("v1" / "modules")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, body| answered("modules.add", add(call, body)));
    let withdraw_route = warp::path!("v1" / "modules" / String)
        .and(warp::delete())
        .and(call_with_body(shared))
        .then(|name, call, _| answered("modules.withdraw", withdraw(name, call)));
    list_route.or(get_route).unify().or(add_route).unify().or(withdraw_route).unify().boxed()
}

/// Reads the declarations of a body; none where it is empty.
pub(super) fn sources(body: &Bytes) -> Result<Vec<Source>, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::body(format!("the body is not UTF-8: {error}")))?;
    declaration::read(text, None).map_err(Problem::BadBody)
}

/// What is declared now.
pub(super) struct Declared(Vec<Source>);

impl Declared {
    pub(super) fn of(store: &Store) -> Self {
        Self(store.manifests().values().cloned().map(Source::from).collect())
    }

    /// What is found once these are declared too, in place of those of the same module.
    pub(super) fn with(mut self, sources: Vec<Source>) -> Vec<Finding> {
        let is_new =
            |held: &Source| sources.iter().any(|s| s.manifest.module == held.manifest.module);
        self.0.retain(|held| !is_new(held));
        self.0.extend(sources);
        check(&self.0)
    }

    /// The catalog of all of them together; fails with what is wrong.
    fn catalog(mut self, sources: &[Source]) -> Result<Catalog, Problem> {
        let manifests: Vec<Manifest> = sources.iter().map(|s| s.manifest.clone()).collect();
        self.0.retain(|held| !manifests.iter().any(|m| m.module == held.manifest.module));
        let held = self.0.into_iter().map(|source| source.manifest);
        let all: Vec<Manifest> = held.chain(manifests).collect();
        Catalog::build(&all).map_err(|problems| {
            let faults = problems.iter().map(Fault::new);
            Problem::Invalid(faults.take(FAULTS_MAX).collect())
        })
    }
}

/// Checks declarations with their places, for people; the store checks again. Answers with the
/// catalog that they would make.
pub(super) async fn vet(call: &Call, sources: &[Source]) -> Result<Catalog, Problem> {
    let declared = call.read(Consistency::Linearizable, Declared::of).await?;
    let (found, catalog) = {
        let (again, sources) = (Declared(declared.0.clone()), sources.to_vec());
        let both = move || (declared.with(sources.clone()), again.catalog(&sources));
        aside(both).await?
    };
    let errors: Vec<Finding> = found
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .filter(|finding| sources.iter().any(|s| s.manifest.module == finding.module))
        .collect();
    if errors.is_empty() { catalog } else { Err(Problem::Invalid(declaration::faults(&errors))) }
}

/// Declares modules.
pub(super) async fn declare(call: &Call, sources: &[Source]) -> Result<Done, Problem> {
    let manifests = sources.iter().map(|source| source.manifest.clone()).collect();
    call.propose(Command::Add { manifests }).await
}

async fn add(mut call: Call, body: Bytes) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let sources = sources(&body)?;
    if sources.is_empty() {
        return Err(Problem::body("send at least one document of kind module or extension"));
    }
    vet(&call, &sources).await?;
    let done = declare(&call, &sources).await?;
    written(done, StatusCode::OK)
}

async fn withdraw(name: String, mut call: Call) -> Result<Response, Problem> {
    let force = call.query.flag("force")?;
    std::mem::take(&mut call.query).done()?;
    let modules = vec![name.chars().take(128).collect()];
    let done = call.propose(Command::Withdraw { modules, force }).await?;
    written(done, StatusCode::OK)
}

async fn list(mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    std::mem::take(&mut call.query).done()?;
    let held = |store: &Store| {
        let manifests: Vec<Manifest> = store.manifests().values().cloned().collect();
        (store.revision(), manifests, store.added().clone())
    };
    let (revision, manifests, added) = call.read(consistency, held).await?;
    let item = |manifest: &Manifest| ModuleView::of(manifest, added.contains(&manifest.module));
    let items = manifests.iter().map(item).collect();
    let body = List { revision: revision.get(), items, r#continue: None };
    Ok(with_revision(reply::json(&body)?, revision))
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
