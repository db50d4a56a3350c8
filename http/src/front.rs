//! What comes before the routes and after them, and is the same for all: methods that a path takes,
//! media types that both sides speak, pages of other origins, compression. All of it follows from
//! the table of routes.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use warp::{
    http::{
        HeaderMap, HeaderValue, Method, Request, StatusCode,
        header::{ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, IF_MATCH, IF_NONE_MATCH, ORIGIN},
    },
    reply::Response,
};

use crate::{
    api::Shared,
    gzip, media,
    openapi::table::{self, Operation, Verb},
    origin::{Origin, vary},
    problem::Problem,
    routes::Route,
};

/// What has to be known of a request once its answer is there.
pub(crate) struct Front {
    /// The origin that it comes from, where that is one that may ask.
    origin: Option<Origin>,
    takes_gzip: bool,
}

impl Front {
    /// Remembers a request.
    pub(crate) fn of(headers: &HeaderMap, shared: &Shared) -> Self {
        let asked = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let origin = asked.and_then(|asked| {
            shared.limits.origins.iter().find(|known| known.as_str() == asked).cloned()
        });
        Self { origin, takes_gzip: media::takes_gzip(headers) }
    }

    /// Answers what needs no route; nothing where one has to.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response> {
        let (path, headers) = (request.uri().path(), request.headers());
        if request.method() == Method::OPTIONS {
            return self.options(path);
        }
        let operation = table::find(request.method().as_str(), path)?;
        let problem = check(operation, headers).err()?;
        let mut response = problem.into_response();
        response.extensions_mut().insert(Route(operation.name));
        Some(response)
    }

    /// Tells what may be asked of a path that the table knows.
    fn options(&self, path: &str) -> Option<Response> {
        let methods = allowed(path)?;
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        if let Some(origin) = &self.origin {
            origin.allow_methods(&methods, response.headers_mut());
        }
        response.headers_mut().insert(ALLOW, methods);
        response.extensions_mut().insert(Route("options"));
        Some(response)
    }

    /// Finishes an answer.
    pub(crate) async fn finish(self, response: Response, shared: &Shared) -> Response {
        let mut response = gzip::compress(response, self.takes_gzip).await;
        if shared.limits.origins.is_empty() {
            return response;
        }
        let headers = response.headers_mut();
        vary(headers, &ORIGIN);
        // A route that says itself who may read its answer is let be.
        if let Some(origin) =
            self.origin.filter(|_| !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN))
        {
            origin.allow(headers);
        }
        response
    }
}

/// The methods that a path takes, as `Allow` tells them; nothing where it is none of ours.
pub(crate) fn allowed(path: &str) -> Option<HeaderValue> {
    let mut methods: Vec<&str> = table::at(path).map(|operation| operation.verb.as_str()).collect();
    if methods.is_empty() {
        return None;
    }
    if methods.contains(&Verb::Get.as_str()) {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    HeaderValue::from_str(&methods.join(", ")).ok()
}

/// Reads what is left of a body that nobody wants, up to a limit, so that the client comes to read
/// the answer.
pub(crate) async fn let_go(body: Incoming, shared: &Shared) {
    let limits = &shared.limits;
    let read = async {
        let (mut body, mut bytes) = (body, 0);
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > limits.body_bytes_max {
                break;
            }
        }
    };
    // What comes too slowly is not waited for.
    tokio::time::timeout(limits.body_timeout, read).await.unwrap_or_default();
}

/// Refuses what a route cannot meet.
fn check(operation: &Operation, headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(ACCEPT) {
        let offers = operation.offers();
        if media::wanted(headers, &offers).is_none() {
            return Err(Problem::NotAcceptable { offered: list(&offers) });
        }
    }
    if operation.verb == Verb::Get {
        return Ok(());
    }
    let reads = operation.reads();
    if let Some(found) = media::unreadable(headers, &reads).filter(|_| !reads.is_empty()) {
        let found = found.chars().take(FOUND_SHOWN_MAX).collect();
        return Err(Problem::UnsupportedMediaType { found, readable: list(&reads) });
    }
    // A condition that is not looked at would be taken for one that holds.
    for condition in [IF_MATCH, IF_NONE_MATCH] {
        let is_taken =
            operation.takes.iter().any(|p| p.name.eq_ignore_ascii_case(condition.as_str()));
        if headers.contains_key(&condition) && !is_taken {
            let why = "this write compares nothing; leave it out".to_owned();
            return Err(Problem::BadHeader { name: condition.to_string(), why });
        }
    }
    Ok(())
}

/// Longest media type that is said back, in characters.
const FOUND_SHOWN_MAX: usize = 128;

fn list(media_types: &[&str]) -> String {
    let mut told: Vec<&str> = Vec::new();
    for media_type in media_types {
        if !told.contains(media_type) {
            told.push(media_type);
        }
    }
    told.join(", ")
}
