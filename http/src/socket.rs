//! A stream of lines as the messages of a WebSocket: the third way to follow, beside lines and
//! server-sent events. The same lines, made and limited by the same writer.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc::Receiver;
use warp::{
    Filter, Reply,
    http::{HeaderMap, header::UPGRADE},
    reply::Response,
    ws::{Message, WebSocket, Ws},
};

use crate::problem::Problem;

/// Largest message of a client in bytes; what it says is read and let go.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4_096;
/// The code with which a stream ends that has come to its end.
const NORMAL: u16 = 1_000;

/// Extracts the wish of a client to go on as a WebSocket; nothing where it has none.
pub(crate) fn upgrade()
-> impl Filter<Extract = (Option<Ws>,), Error = Infallible> + Clone + Send + Sync + 'static {
    warp::ws().map(Some).or(warp::any().map(|| None)).unify()
}

/// Refuses a client that wishes for a WebSocket in a way that cannot be granted.
pub(crate) fn check(wish: Option<&Ws>, headers: &HeaderMap) -> Result<(), Problem> {
    let is_wished =
        headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if wish.is_some() || !is_wished {
        return Ok(());
    }
    let why = "a WebSocket begins with `connection: upgrade`, `sec-websocket-version: 13` and a \
               `sec-websocket-key`";
    Err(Problem::BadHeader { name: "upgrade".to_owned(), why: why.to_owned() })
}

/// The answer that turns the connection into a WebSocket, and sends lines over it from then on.
pub(crate) fn carry(wish: Ws, lines: Receiver<Bytes>) -> Response {
    let wish = wish.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    wish.on_upgrade(move |socket| speak(socket, lines)).into_response()
}

/// Sends lines until there are no more, or until the client leaves. What it says is read, so that
/// its pings are answered.
async fn speak(socket: WebSocket, mut lines: Receiver<Bytes>) {
    let (mut ours, mut theirs) = socket.split();
    let tell = async {
        while let Some(chunk) = lines.recv().await {
            let lines = chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            for line in lines {
                ours.feed(Message::text(String::from_utf8_lossy(line))).await?;
            }
            ours.flush().await?;
        }
        ours.send(Message::close_with(NORMAL, "the stream has ended")).await
    };
    let hear = async {
        while let Some(Ok(message)) = theirs.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    tokio::select! {
        told = tell => {
            if let Err(error) = told {
                tracing::debug!(%error, "a WebSocket ended early");
            }
        }
        () = hear => {}
    }
}
