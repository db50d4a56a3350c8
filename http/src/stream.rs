//! Streams of lines to one client: newline-delimited JSON, or server-sent events where the client
//! asks for them. Bounded: whoever writes waits for a client that reads, and ends when it has gone.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use warp::{
    Reply,
    http::{
        HeaderMap, HeaderValue,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    },
    reply::Response,
};

use crate::{api::Shared, metrics::Alive, problem::Problem};

/// Most lines that wait for one client.
pub(crate) const STREAM_LINES_MAX: usize = 64;

/// How lines are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Ndjson,
    Sse,
}

/// The writing end of a stream.
pub(crate) struct Lines {
    sender: mpsc::Sender<Bytes>,
    framing: Framing,
    _permit: OwnedSemaphorePermit,
    _alive: Alive,
}

/// The client has gone, or the server stops: whoever writes ends too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// Opens a stream: what is written to the lines goes into the body of the response.
pub(crate) fn open(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
) -> Result<(Lines, Response), Problem> {
    let permit = shared.streams.clone().try_acquire_owned().map_err(|_| {
        let max = shared.limits.streams_max;
        Problem::Overloaded(format!("{max} streams are open, which is the limit"))
    })?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (framing, media_type) = if accept.contains("text/event-stream") {
        (Framing::Sse, "text/event-stream")
    } else {
        (Framing::Ndjson, "application/x-ndjson")
    };
    let (sender, receiver) = mpsc::channel(STREAM_LINES_MAX);
    let body = ReceiverStream::new(receiver).map(Ok::<Bytes, Infallible>);
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let alive = Alive::new("kraken_http_streams");
    Ok((Lines { sender, framing, _permit: permit, _alive: alive }, response))
}

impl Lines {
    /// Writes a line; waits while the client is slow. `position` is what a client that comes back
    /// says to go on from there.
    pub(crate) async fn write(
        &self,
        position: Option<&str>,
        line: &impl Serialize,
    ) -> Result<(), Gone> {
        let json = serde_json::to_string(line).map_err(|_| Gone)?;
        let framed = match (self.framing, position) {
            (Framing::Ndjson, _) => format!("{json}\n"),
            (Framing::Sse, Some(position)) => format!("id: {position}\ndata: {json}\n\n"),
            (Framing::Sse, None) => format!("data: {json}\n\n"),
        };
        self.sender.send(framed.into()).await.map_err(|_| Gone)
    }

    /// Ends when the client has gone.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }
}
