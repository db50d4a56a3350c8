//! The web page: plain files that are part of the binary, so that it is there wherever a member is
//! and asks nobody else for anything.

use std::{future::ready, sync::Arc};

use warp::{
    Filter,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    reply::Response,
};
use xxhash_rust::xxh3::xxh3_64;

use super::{Routes, answered};
use crate::{api::Shared, problem::Problem};

/// Nothing but what this server itself serves, and nobody else's frame round it.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The file that `/` answers with.
const FIRST: &str = "index.html";

/// A file by its name.
macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../page/", $name)))
    };
}

/// Every file of the page.
const FILES: [(&str, &str); 27] = [
    file!("index.html"),
    file!("icon.svg"),
    file!("theme.css"),
    file!("page.css"),
    file!("fleet.css"),
    file!("theme.js"),
    file!("main.js"),
    file!("act.js"),
    file!("api.js"),
    file!("board.js"),
    file!("cells.js"),
    file!("dom.js"),
    file!("events.js"),
    file!("filter.js"),
    file!("fleet.js"),
    file!("graph.js"),
    file!("hash.js"),
    file!("history.js"),
    file!("list.js"),
    file!("live.js"),
    file!("node.js"),
    file!("nodeset.js"),
    file!("notice.js"),
    file!("plan.js"),
    file!("quorum.js"),
    file!("stream.js"),
    file!("words.js"),
];

pub(super) fn routes(_shared: &Arc<Shared>) -> Routes {
    let first = warp::path::end().map(|| FIRST.to_owned());
    let other = warp::path!("page" / String);
    first
        .or(other)
        .unify()
        .and(warp::get())
        .and(warp::header::headers_cloned())
        .then(|name: String, headers: HeaderMap| answered("page", ready(serve(&name, &headers))))
        .boxed()
}

fn serve(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(known, _)| *known == name);
    let (_, text) = found.ok_or_else(|| Problem::NoSuchRoute(format!("/page/{name}")))?;
    let tag = format!("\"{:016x}\"", xxh3_64(text.as_bytes()));
    let mut response = Response::new((*text).into());
    if knows(headers, &tag) {
        response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let held = response.headers_mut();
    held.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    held.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    held.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    held.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Another release has other files under the same names: a browser asks whether it is so.
    held.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        held.insert(ETAG, tag);
    }
    Ok(response)
}

/// Whether a browser has a file already.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get(IF_NONE_MATCH).and_then(|given| given.to_str().ok());
    given
        .is_some_and(|given| given.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}
