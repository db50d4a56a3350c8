//! Answers: JSON with the revision that was read or written.

use kraken_engine::id::{Epoch, Revision};
use serde::Serialize;
use warp::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG},
    },
    reply::Response,
};

use crate::problem::Problem;

/// The revision that was read, or that a write has.
pub(crate) const REVISION_HEADER: HeaderName = HeaderName::from_static("kraken-revision");

/// The history that revisions belong to: those of different epochs cannot be compared.
pub(crate) const EPOCH_HEADER: HeaderName = HeaderName::from_static("kraken-epoch");

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
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

/// Adds the tag with which `If-Match` compares.
pub(crate) fn with_tag(mut response: Response, epoch: Epoch, revision: Revision) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&tag(epoch, revision)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The tag of a revision: its epoch and itself.
pub(crate) fn tag(epoch: Epoch, revision: Revision) -> String {
    format!("\"{epoch}-{revision}\"")
}
