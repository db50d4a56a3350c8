//! The WebSocket of the old surface. A client says what it wants to hear of, and hears of it from
//! then on: changes of state, mutations that begin, discoveries.
//!
//! One task a client, which reads what it tells from the same places as `/v1/watch`: Cfg from the
//! last commits, each in order; what is seen as it is now; mutations from the events. What waits
//! for a client is a position and the names of nodes: one that does not read is closed after a
//! while, and one that has fallen behind the last commits too, so that it connects again and lists.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::sync::OwnedSemaphorePermit;
use warp::{
    Filter, Reply,
    reply::Response,
    ws::{Message, WebSocket, Ws},
};

use super::news::{Lagged, News, Notice, Topic};
use crate::{
    api::Shared,
    metrics::Alive,
    problem::Problem,
    routes::{Routes, named, or_unknown},
};

/// Largest message of a client in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Most bytes that are written for one client and that it has not taken: what is over that waits.
/// Room for the largest message, a value of 1 MiB that is told twice in it.
const WRITE_BYTES_MAX: usize = 4 << 20;
/// Why a connection is closed, as RFC 6455 and its registry number it: the server stops.
const GOING_AWAY: u16 = 1_001;
/// The same: connect again.
const TRY_AGAIN: u16 = 1_013;

/// The routes of the WebSocket's own port.
pub(crate) fn routes(shared: &Arc<Shared>) -> Routes {
    let open = {
        let shared = shared.clone();
        warp::path!("ws").and(warp::ws()).map(move |ws| named("old.stream", open(ws, &shared)))
    };
    let plain = warp::path!("ws").and(warp::get()).map(|| {
        let why = "ask for a WebSocket: `upgrade: websocket`".to_owned();
        let problem = Problem::BadHeader { name: "upgrade".to_owned(), why };
        named("old.stream", Err(problem))
    });
    or_unknown(open.or(plain).unify().boxed())
}

fn open(ws: Ws, shared: &Arc<Shared>) -> Result<Response, Problem> {
    let permit = shared.streams.clone().try_acquire_owned().map_err(|_| {
        let max = shared.limits.streams_max;
        Problem::Overloaded(format!("{max} streams are open, which is the limit"))
    })?;
    let shared = shared.clone();
    let ws = ws.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    let ws = ws.max_write_buffer_size(WRITE_BYTES_MAX);
    Ok(ws.on_upgrade(move |socket| Client::serve(socket, shared, permit)).into_response())
}

/// What a client may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    command: Json,
    r#type: Json,
}

/// What it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    subscribe: bool,
    topic: Topic,
}

impl Wish {
    fn read(text: &str) -> Result<Self, String> {
        let Command { command, r#type } =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let subscribe = match (command.as_str(), command.as_u64()) {
            (Some("SUBSCRIBE"), _) | (_, Some(0)) => true,
            (Some("UNSUBSCRIBE"), _) | (_, Some(1)) => false,
            _ => return Err(format!("command {command} is neither SUBSCRIBE nor UNSUBSCRIBE")),
        };
        let topic = Topic::ALL.into_iter().find(|topic| {
            let is_number = r#type.as_u64() == Some(topic.number().into());
            r#type.as_str() == Some(topic.as_str()) || is_number
        });
        let topic = topic.ok_or_else(|| {
            let known = Topic::ALL.map(Topic::as_str).join(", ");
            format!("type {type} is none of {known}")
        })?;
        Ok(Self { subscribe, topic })
    }
}

/// The connection is over.
struct Gone;

/// One client.
struct Client {
    to: SplitSink<WebSocket, Message>,
    shared: Arc<Shared>,
    news: News,
    _permit: OwnedSemaphorePermit,
    _alive: Alive,
}

impl Client {
    async fn serve(socket: WebSocket, shared: Arc<Shared>, permit: OwnedSemaphorePermit) {
        let (to, from) = socket.split();
        let alive = Alive::new("kraken_http_streams");
        let news = News::new(shared.clone());
        let mut client = Self { to, shared, news, _permit: permit, _alive: alive };
        let shutdown = client.shared.shutdown.clone();
        let ended = shutdown.run_until_cancelled(client.run(from)).await;
        if ended.is_none() {
            client.close(GOING_AWAY, "the server stops").await;
        }
    }

    async fn run(&mut self, mut from: SplitStream<WebSocket>) {
        loop {
            let heartbeat = self.shared.limits.heartbeat;
            let done = tokio::select! {
                said = from.next() => self.heard(said).await,
                () = self.news.come() => self.tell().await,
                () = tokio::time::sleep(heartbeat) => self.send(Message::ping(Bytes::new())).await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Takes what the client has said, and says what was wrong with it.
    async fn heard(&mut self, said: Option<Result<Message, warp::Error>>) -> Result<(), Gone> {
        let said = said.ok_or(Gone)?.map_err(|_| Gone)?;
        if said.is_close() {
            return Err(Gone);
        }
        if said.is_ping() || said.is_pong() {
            return Ok(());
        }
        let wish = said.to_str().map_err(|()| "send text".to_owned()).and_then(Wish::read);
        match wish {
            Ok(Wish { subscribe: true, topic }) => self.news.add(topic).await.map_err(|_| Gone),
            Ok(Wish { subscribe: false, topic }) => {
                self.news.remove(topic);
                Ok(())
            }
            Err(why) => self.send(Message::text(Notice::refusal(&why).to_json())).await,
        }
    }

    /// Tells all that has come.
    async fn tell(&mut self) -> Result<(), Gone> {
        loop {
            let notices = match self.news.take().await {
                Ok(Some(notices)) => notices,
                Ok(None) => return self.to.flush().await.map_err(|_| Gone),
                Err(Lagged) => {
                    self.close(TRY_AGAIN, "fell behind: connect again").await;
                    return Err(Gone);
                }
            };
            for notice in notices {
                self.to.feed(Message::text(notice.to_json())).await.map_err(|_| Gone)?;
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        self.to.send(message).await.map_err(|_| Gone)
    }

    /// Closes the connection; where the client has gone already, that is all there is to do.
    async fn close(&mut self, code: u16, why: &'static str) {
        drop(self.to.send(Message::close_with(code, why)).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_types_come_as_names_or_numbers() {
        for (text, subscribe, topic) in [
            (r#"{"command":"SUBSCRIBE","type":"STATE_CHANGE"}"#, true, Topic::Change),
            (r#"{"command":0,"type":"STATE_MUTATION"}"#, true, Topic::Mutation),
            (r#"{"command":1,"type":5}"#, false, Topic::Discovery),
            (r#"{"type":"DISCOVERY","command":"UNSUBSCRIBE"}"#, false, Topic::Discovery),
        ] {
            assert_eq!(Wish::read(text), Ok(Wish { subscribe, topic }), "{text}");
        }
        for text in [
            "",
            "[]",
            r#"{"command":2,"type":"DISCOVERY"}"#,
            r#"{"command":0}"#,
            r#"{"command":0,"type":"WEATHER"}"#,
            r#"{"command":0,"type":3}"#,
            r#"{"command":0,"type":1,"also":1}"#,
        ] {
            assert!(Wish::read(text).is_err(), "{text}");
        }
    }
}
