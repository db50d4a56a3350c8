//! The surface of the system that came before this one, for the command line and the dashboard
//! that its users have: REST on the main port, events on a WebSocket of its own. A translation and
//! nothing besides: what it writes and reads goes the way of the other routes.
//!
//! [`docs/old.md`](../../docs/old.md) says what is the same there, and what is refused. It is
//! served only where it is configured, because any page of any site may ask it for anything.

mod cfg;
mod dsc;
mod graph;
mod ids;
mod names;
mod news;
mod paths;
mod read;
mod rest;
mod show;
mod socket;
#[cfg(test)]
pub(crate) mod tests;

pub use self::paths::manifest;
pub(crate) use self::{rest::acts, socket::routes as socket_routes};

use std::sync::Arc;

use tokio::sync::Mutex;
use warp::{
    Filter,
    http::{
        HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
        },
    },
    path::Peek,
    reply::Response,
};

use crate::{
    api::Shared,
    problem::Problem,
    routes::{Routes, named, or_unknown},
};

/// What the paths of the old surface begin with.
const ROOTS: [&str; 6] = ["cfg", "dsc", "enumerables", "graph", "sme", "ws"];
/// The methods that pages of other sites may use.
const METHODS: &str = "GET, PUT, POST, DELETE";
/// Where a browser says which headers a page wants to send.
const WANTED_HEADERS: &str = "access-control-request-headers";
/// How long a browser may remember that, in seconds.
const REMEMBERED_S: u64 = 3_600;

/// What a server has of the old surface.
#[derive(Debug)]
pub(crate) struct Old {
    /// Where clients find its WebSocket, `host:port`.
    pub(crate) socket: String,
    /// Held while nodes are created with ids of their clients' choosing.
    pub(crate) creating: Mutex<()>,
}

impl Old {
    /// One whose WebSocket is found there.
    pub(crate) fn at(socket: String) -> Self {
        Self { socket, creating: Mutex::default() }
    }
}

/// The routes of the main port; they answer to nothing where the surface is not served.
pub(crate) fn routes(shared: &Arc<Shared>) -> Routes {
    let is_served = shared.old.is_some();
    let is_ours = warp::path::peek().and_then(move |rest: Peek| {
        let is_ours = is_served && rest.segments().next().is_some_and(|s| ROOTS.contains(&s));
        async move { if is_ours { Ok(()) } else { Err(warp::reject::not_found()) } }
    });
    // A path that nobody knows is not one that is asked in the wrong way.
    let asks = warp::method().and_then(|method: Method| async move {
        if method == Method::OPTIONS { Ok(()) } else { Err(warp::reject::not_found()) }
    });
    let asks = asks.untuple_one().and(warp::header::optional(WANTED_HEADERS)).map(preflight);
    let known = cfg::routes(shared).or(dsc::routes(shared)).unify();
    let known = known.or(graph::routes(shared)).unify().or(rest::routes(shared)).unify();
    let known = or_unknown(known.or(asks).unify().boxed());
    is_ours.untuple_one().and(known).map(from_anywhere).boxed()
}

/// Runs a handler and names its answer. A node that is not there is answered with an empty body.
async fn answer(
    route: &'static str,
    handler: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let answer = handler.await.or_else(|problem| match problem {
        Problem::NoSuchObject(_) => Ok(empty(StatusCode::NOT_FOUND)),
        problem => Err(problem),
    });
    named(route, answer)
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Vec::new().into());
    *response.status_mut() = status;
    response
}

/// Lets pages of any site read an answer.
fn from_anywhere(mut response: Response) -> Response {
    let anyone = HeaderValue::from_static("*");
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, anyone);
    response
}

/// What a browser asks before it sends what is no plain form.
fn preflight(wanted: Option<HeaderValue>) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.extend(wanted.map(|wanted| (ACCESS_CONTROL_ALLOW_HEADERS, wanted)));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(REMEMBERED_S));
    response
}
