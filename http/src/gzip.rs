//! Answers in gzip, to those who ask for it. Only what is whole and worth it: a stream, whose lines
//! must leave as they come, is never held up by a compressor.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use warp::{
    http::{
        HeaderMap, HeaderValue,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG},
    },
    reply::Response,
};

use crate::{aside::aside, origin::vary};

/// What is smaller gains nothing, in bytes.
pub(crate) const GZIP_BYTES_MIN: u64 = 1_024;
/// What is larger is compressed where that holds up nobody, in bytes.
const GZIP_BYTES_SMALL: usize = 64 << 10;
/// Media types that shrink, by how they begin or end.
const SHRINKING: [&str; 5] =
    ["text/", "application/json", "application/problem", "image/svg", "+json"];

/// Compresses an answer where that is worth it and a client takes it.
pub(crate) async fn compress(response: Response, is_taken: bool) -> Response {
    if !is_worth_it(&response) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    vary(&mut head.headers, &ACCEPT_ENCODING);
    if !is_taken {
        return Response::from_parts(head, body);
    }
    // The whole of it is there, or its size would not be known.
    let Ok(collected) = body.collect().await else {
        return Response::from_parts(head, <_>::default());
    };
    let plain = collected.to_bytes();
    let packed = if plain.len() <= GZIP_BYTES_SMALL {
        pack(&plain).ok()
    } else {
        let plain = plain.clone();
        aside(move || pack(&plain)).await.ok().and_then(Result::ok)
    };
    match packed {
        Some(packed) if packed.len() < plain.len() => {
            tell(&mut head.headers);
            Response::from_parts(head, packed.into())
        }
        Some(_) | None => Response::from_parts(head, plain.into()),
    }
}

fn tell(headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(CONTENT_LENGTH);
    // The same in other bytes: its tag is a weak one.
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(|tag| format!("W/{tag}"));
    if let Some(Ok(weak)) = tag.map(|tag| HeaderValue::from_str(&tag)) {
        headers.insert(ETAG, weak);
    }
}

/// Whether an answer is whole, large enough and of a media type that shrinks.
fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let shrinks = media_type.is_some_and(|media_type| {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        SHRINKING.iter().any(|part| essence.starts_with(part) || essence.ends_with(part))
    });
    let size = response.body().size_hint().exact();
    shrinks && !headers.contains_key(CONTENT_ENCODING) && size.is_some_and(|s| s >= GZIP_BYTES_MIN)
}

fn pack(plain: &[u8]) -> io::Result<Bytes> {
    // The quickest: what is sent is small against what it costs to make.
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish().map(Bytes::from)
}
