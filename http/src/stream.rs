//! Streams of lines to one client: newline-delimited JSON, or server-sent events or the messages of
//! a WebSocket where the client asks for them. Bounded: whoever writes waits for a client that
//! reads, and ends when it has gone.

use std::{convert::Infallible, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::{
    OwnedSemaphorePermit,
    mpsc::{self, Receiver},
};
use tokio_stream::wrappers::ReceiverStream;
use warp::{
    Reply,
    http::{
        HeaderMap, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    reply::Response,
    ws::Ws,
};

use crate::{
    api::Shared,
    media::{self, NDJSON, SSE},
    metrics::Alive,
    problem::Problem,
    socket::carry,
};

/// Lines are gathered until they are so many bytes, or until there is no other.
pub(crate) const STREAM_CHUNK_BYTES: usize = 64 << 10;
/// Most chunks that wait for one client. A chunk is at most one line over its size.
pub(crate) const STREAM_CHUNKS_MAX: usize = 4;

/// How lines are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Ndjson,
    Sse,
}

/// The writing end of a stream.
pub(crate) struct Lines {
    sender: mpsc::Sender<Bytes>,
    gathered: BytesMut,
    framing: Framing,
    _permit: OwnedSemaphorePermit,
    _alive: Alive,
}

/// The client has gone, or the server stops: whoever writes ends too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// Opens a stream: what is written to the lines goes into the body of the response, or into the
/// messages of a WebSocket.
pub(crate) fn open(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    socket: Option<Ws>,
) -> Result<(Lines, Response), Problem> {
    let permit = shared.streams.clone().try_acquire_owned().map_err(|_| {
        let max = shared.limits.streams_max;
        Problem::Overloaded(format!("{max} streams are open, which is the limit"))
    })?;
    let (sender, receiver) = mpsc::channel(STREAM_CHUNKS_MAX);
    let (framing, response) = match (socket, media::wanted(headers, &[NDJSON, SSE])) {
        (Some(socket), _) => (Framing::Ndjson, carry(socket, receiver)),
        (None, Some(SSE)) => (Framing::Sse, body(receiver, SSE)),
        (None, Some(_) | None) => (Framing::Ndjson, body(receiver, NDJSON)),
    };
    let alive = Alive::new("kraken_http_streams");
    let gathered = BytesMut::new();
    Ok((Lines { sender, gathered, framing, _permit: permit, _alive: alive }, response))
}

/// An answer whose body goes on as chunks come.
fn body(chunks: Receiver<Bytes>, media_type: &'static str) -> Response {
    let body = ReceiverStream::new(chunks).map(Ok::<Bytes, Infallible>);
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Lines {
    /// Writes a line, which leaves with the next flush at the latest; waits for a slow client.
    /// `position` is what a client that comes back says to go on from there.
    pub(crate) async fn write(
        &mut self,
        position: Option<&str>,
        line: &impl Serialize,
    ) -> Result<(), Gone> {
        self.frame(position, line)?;
        if self.gathered.len() < STREAM_CHUNK_BYTES { Ok(()) } else { self.flush().await }
    }

    /// The same without a position, for a thread that may block.
    pub(crate) fn write_blocking(&mut self, line: &impl Serialize) -> Result<(), Gone> {
        self.frame(None, line)?;
        if self.gathered.len() < STREAM_CHUNK_BYTES { Ok(()) } else { self.flush_blocking() }
    }

    fn frame(&mut self, position: Option<&str>, line: &impl Serialize) -> Result<(), Gone> {
        let json = serde_json::to_string(line).map_err(|_| Gone)?;
        match (self.framing, position) {
            (Framing::Ndjson, _) => self.gather(&[&json, "\n"]),
            (Framing::Sse, Some(at)) => self.gather(&["id: ", at, "\ndata: ", &json, "\n\n"]),
            (Framing::Sse, None) => self.gather(&["data: ", &json, "\n\n"]),
        }
        Ok(())
    }

    fn gather(&mut self, texts: &[&str]) {
        for text in texts {
            self.gathered.extend_from_slice(text.as_bytes());
        }
    }

    /// Sends what was gathered; waits while the client is slow.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = self.gathered.split().freeze();
        self.sender.send(chunk).await.map_err(|_| Gone)
    }

    /// The same for a thread that may block.
    pub(crate) fn flush_blocking(&mut self) -> Result<(), Gone> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let chunk = self.gathered.split().freeze();
        self.sender.blocking_send(chunk).map_err(|_| Gone)
    }

    /// Ends when the client has gone.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }
}
