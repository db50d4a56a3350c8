//! What the actors of the node say of themselves.

use std::sync::Arc;

use warp::{Filter, reply::Response};

use super::{Routes, answered};
use crate::{
    api::Shared,
    call::{Call, call},
    problem::Problem,
    reply,
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let all_route = warp::path!("v1" / "debug")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("debug.all", all(call)));
    let one_route = warp::path!("v1" / "debug" / String)
        .and(warp::get())
        .and(call(shared))
        .then(|part, call| answered("debug.one", one(part, call)));
    all_route.or(one_route).unify().boxed()
}

async fn all(mut call: Call) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    reply::json(&(call.shared.api.observe)().await)
}

async fn one(part: String, mut call: Call) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let all = (call.shared.api.observe)().await;
    let shown: String = part.chars().take(128).collect();
    let found = all.get(&part).ok_or_else(|| Problem::NoSuchThing(format!("part {shown}")))?;
    reply::json(found)
}
