//! Answers: JSON with the revision that was read or written.

use kraken_engine::id::{Epoch, Revision};
use schemars::JsonSchema;
use serde::Serialize;
use warp::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
    },
    reply::Response,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::problem::Problem;

/// The revision that was read, or that a write has.
pub(crate) const REVISION_HEADER: HeaderName = HeaderName::from_static("kraken-revision");

/// The history that revisions belong to: those of different epochs cannot be compared.
pub(crate) const EPOCH_HEADER: HeaderName = HeaderName::from_static("kraken-epoch");

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// The revision of the write.
    pub revision: u64,
    /// How many objects it changed.
    pub changed: usize,
}

/// An answer of JSON.
pub(crate) fn json(body: &impl Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(body)
        .map_err(|error| Problem::Internal(format!("the answer has no JSON form: {error}")))?;
    Ok(typed(bytes, "application/json"))
}

/// An answer of any media type.
pub(crate) fn typed(body: Vec<u8>, media_type: &'static str) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    // What is true now is not true later.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds a status.
pub(crate) fn with_status(mut response: Response, status: StatusCode) -> Response {
    *response.status_mut() = status;
    response
}

/// Adds the revision at which Cfg was read or written.
pub(crate) fn with_revision(mut response: Response, revision: Revision) -> Response {
    response.headers_mut().insert(REVISION_HEADER, HeaderValue::from(revision.get()));
    response
}

/// Adds the epoch to what says a revision.
pub(crate) fn with_epoch(mut response: Response, epoch: impl FnOnce() -> Epoch) -> Response {
    if response.headers().contains_key(REVISION_HEADER) {
        response.headers_mut().insert(EPOCH_HEADER, HeaderValue::from(epoch().get()));
    }
    response
}

/// The answer to who has it already.
pub(crate) fn unchanged() -> Response {
    let mut response = with_status(Response::default(), StatusCode::NOT_MODIFIED);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What tells one answer from another.
pub(crate) fn digest(body: &impl Serialize) -> Result<u64, Problem> {
    let bytes = serde_json::to_vec(body)
        .map_err(|error| Problem::Internal(format!("the answer has no JSON form: {error}")))?;
    Ok(xxh3_64(&bytes))
}

/// Adds a tag as it is.
pub(crate) fn tagged(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Adds the tag with which `If-Match` compares.
pub(crate) fn with_tag(response: Response, epoch: Epoch, revision: Revision) -> Response {
    tagged(response, &tag_of(epoch, revision, None))
}

/// The tag of a revision: its epoch and itself, and a digest where more than Cfg is shown.
/// `If-Match` compares what comes before that.
pub(crate) fn tag_of(epoch: Epoch, revision: Revision, seen: Option<u64>) -> String {
    match seen {
        None => format!("\"{epoch}-{revision}\""),
        Some(seen) => format!("\"{epoch}-{revision}.{seen:016x}\""),
    }
}
