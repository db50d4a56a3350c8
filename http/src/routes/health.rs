//! Whether the process lives, and whether it can serve.

use std::sync::Arc;

use kraken_actors::quorum::Consistency;
use kraken_engine::store::Store;
use warp::{Filter, reply::Response};

use super::{Routes, answered};
use crate::{
    api::Shared,
    call::{Call, call},
    problem::Problem,
    reply,
    view::{HealthView, ReadyView},
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let health = warp::path!("healthz")
        .and(warp::get())
        .and(call(shared))
        .then(|call: Call| answered("healthz", std::future::ready(health(call))));
    let ready = warp::path!("readyz")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("readyz", ready(call)));
    health.or(ready).unify().boxed()
}

fn health(mut call: Call) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let api = &call.shared.api;
    reply::json(&HealthView {
        status: "alive".to_owned(),
        node: api.node.to_string(),
        version: api.version.to_owned(),
    })
}

async fn ready(mut call: Call) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let api = &call.shared.api;
    let look = |store: &Store| (store.revision(), store.catalog().kinds().next().is_some());
    let (revision, is_declared) = call.read(Consistency::Stale, look).await?;
    if api.quorum.status().cluster.is_none() {
        let why = "this member belongs to no cluster yet; found one with cluster init, or join one";
        return Err(Problem::Unavailable(why.to_owned()));
    }
    let leadership = *api.quorum.leadership().borrow();
    let Some(leader) = leadership.leader else {
        return Err(Problem::Unavailable("no leader is known".to_owned()));
    };
    if !is_declared {
        let why = "the members have not declared their modules yet";
        return Err(Problem::Unavailable(why.to_owned()));
    }
    if call.shared.shutdown.is_cancelled() {
        return Err(Problem::Unavailable("the server is stopping".to_owned()));
    }
    reply::json(&ReadyView {
        status: "ready".to_owned(),
        leader: leader.get(),
        revision: revision.get(),
    })
}
