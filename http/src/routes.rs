//! The routes, one file a resource. Each is a name, a filter and a handler; every answer, problems
//! included, carries the name of its route for the metrics.

mod apply;
mod cluster;
mod debug;
mod document;
mod events;
mod explain;
mod family;
mod graph;
mod health;
mod history;
mod metrics;
mod modules;
mod objects;
mod operations;
mod page;
mod snapshot;
mod txn;
mod watch;
mod write;

#[cfg(test)]
pub(crate) use self::cluster::VIA_MAX;
pub(crate) use self::{
    cluster::{JoinBody, LeaderBody, PromoteBody},
    events::EVENTS_PAGE_MAX,
    history::{HISTORY_ITEMS_MAX, RollbackBody},
    objects::LIST_ITEMS_MAX,
    operations::TargetsBody,
    txn::TxnBody,
    watch::Line as WatchLine,
    write::{NOTE_BYTES_MAX, check_base},
};
pub use self::{explain::ObjectPlan, graph::Checked};

use std::{convert::Infallible, sync::Arc};

use warp::{
    Filter, Rejection,
    filters::BoxedFilter,
    http::{Method, StatusCode, header::ALLOW},
    path::FullPath,
    reject::{InvalidQuery, MethodNotAllowed},
    reply::Response,
};

use crate::{api::Shared, front, old, openapi::table, problem::Problem, reply::with_epoch};

/// The name of the route that answered, among the extensions of a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route(pub(crate) &'static str);

/// The routes of one resource.
pub(crate) type Routes = BoxedFilter<(Response,)>;

/// All routes.
pub(crate) fn all(shared: &Arc<Shared>) -> Routes {
    let known = objects::routes(shared)
        .or(explain::routes(shared))
        .unify()
        .or(events::routes(shared))
        .unify()
        .or(apply::routes(shared))
        .unify()
        .or(txn::routes(shared))
        .unify()
        .or(watch::routes(shared))
        .unify()
        .or(operations::routes(shared))
        .unify()
        .or(history::routes(shared))
        .unify()
        .or(graph::routes(shared))
        .unify()
        .or(modules::routes(shared))
        .unify()
        .or(cluster::routes(shared))
        .unify()
        .or(snapshot::routes(shared))
        .unify()
        .or(health::routes(shared))
        .unify()
        .or(metrics::routes(shared))
        .unify()
        .or(debug::routes(shared))
        .unify()
        .or(page::routes(shared))
        .unify()
        .or(document::routes(shared))
        .unify()
        .boxed();
    let quorum = shared.api.quorum.clone();
    let answers = old::routes(shared).or(or_unknown(known)).unify();
    answers.map(move |response| with_epoch(response, || quorum.epoch())).boxed()
}

/// These routes, and a problem for all that they do not take.
pub(crate) fn or_unknown(known: Routes) -> Routes {
    let unknown = warp::path::full().and(warp::method()).and_then(
        |path: FullPath, method: Method| async move {
            let (whole, path) = (path.as_str().to_owned(), shorten(path.as_str()));
            Err::<Response, _>(warp::reject::custom(Asked { whole, path, method }))
        },
    );
    known.or(unknown).unify().recover(recover).unify().boxed()
}

/// What was asked for and not found; only to be said back.
#[derive(Debug)]
struct Asked {
    /// The whole path, to be looked up.
    whole: String,
    path: String,
    method: Method,
}

impl warp::reject::Reject for Asked {}

/// Longest path that is said back, in characters.
const PATH_SHOWN_MAX: usize = 256;

fn shorten(path: &str) -> String {
    path.chars().take(PATH_SHOWN_MAX).collect()
}

/// Turns what no route took into a problem.
async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    let asked = rejection.find::<Asked>();
    let path = || asked.map(|asked| asked.path.clone()).unwrap_or_default();
    let is_asked_otherwise =
        |asked: &&Asked| table::find(asked.method.as_str(), &asked.whole).is_none();
    let allowed = asked.filter(is_asked_otherwise).and_then(|asked| front::allowed(&asked.whole));
    let problem = if let Some(problem) = rejection.find::<Problem>() {
        problem.clone()
    } else if rejection.find::<InvalidQuery>().is_some() {
        Problem::query("query", "it cannot be read; write name=value&name=value")
    } else if allowed.is_some() || rejection.find::<MethodNotAllowed>().is_some() {
        let method = asked.map(|asked| asked.method.to_string()).unwrap_or_default();
        Problem::MethodNotAllowed { method, path: path() }
    } else {
        Problem::NoSuchRoute(path())
    };
    let is_method = matches!(problem, Problem::MethodNotAllowed { .. });
    let mut response = problem.into_response();
    if let Some(allowed) = allowed.filter(|_| is_method) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    Ok(named("none", Ok(response)))
}

/// Runs a handler and names its answer.
async fn answered(
    route: &'static str,
    handler: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    named(route, handler.await)
}

/// Names an answer.
pub(crate) fn named(route: &'static str, answer: Result<Response, Problem>) -> Response {
    let mut response = answer.unwrap_or_else(|problem| {
        if problem.status() == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(route, %problem, "a request met a defect");
        }
        problem.into_response()
    });
    response.extensions_mut().insert(Route(route));
    response
}
