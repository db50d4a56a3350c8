//! Streams over WebSockets: the same lines, the same limits, the same refusals.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::Request},
};

use super::kit::{BOUND, exchange, fleet, member, member_with, read_to_end, see};
use crate::{client::WriteQuery, server::Limits, socket::MESSAGE_BYTES_MAX, testing::Fixture};

type Socket = WebSocketStream<TcpStream>;

fn request(fixture: &Fixture, path: &str) -> Request<()> {
    format!("ws://{}{path}", fixture.address).into_client_request().unwrap()
}

async fn try_open(fixture: &Fixture, request: Request<()>) -> Result<Socket, u16> {
    let stream = TcpStream::connect(fixture.address).await.unwrap();
    match timeout(BOUND, client_async(request, stream)).await.expect("an answer in time") {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn open(fixture: &Fixture, path: &str) -> Socket {
    try_open(fixture, request(fixture, path)).await.unwrap()
}

async fn next(socket: &mut Socket) -> Message {
    timeout(BOUND, socket.next()).await.expect("a message in time").unwrap().unwrap()
}

/// The next line that is no sign of life.
async fn next_line(socket: &mut Socket) -> Json {
    loop {
        let message = next(socket).await;
        let line: Json = serde_json::from_str(message.to_text().unwrap()).unwrap();
        if line["type"] != "BOOKMARK" {
            return line;
        }
    }
}

async fn set_slots(client: &crate::client::Client, slots: u64) -> u64 {
    let patch = json!({ "slots": slots });
    client.patch("node", "n1", &patch, &WriteQuery::default()).await.unwrap().revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_over_a_socket_tells_each_change_as_a_message_and_goes_on_from_a_revision() {
    let (fixture, client) = fleet().await;
    let mut socket = open(&fixture, "/v1/watch?states=cfg&fields=cfg/slots").await;
    let first: Json = serde_json::from_str(next(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!((&first["type"], &first["epoch"]), (&json!("BOOKMARK"), &json!(1)));
    let mut revisions = Vec::new();
    for slots in 1..=5 {
        revisions.push(set_slots(&client, slots).await);
    }
    for (slots, revision) in (1..).zip(&revisions) {
        let line = next_line(&mut socket).await;
        assert_eq!((&line["type"], &line["state"]), (&json!("PUT"), &json!("cfg")), "{line}");
        assert_eq!(line["revision"], json!(revision), "{line}");
        assert_eq!(line["object"]["cfg"], json!({ "slots": slots }), "{line}");
        assert_eq!(line["object"]["labels"], Json::Null, "{line}");
    }
    let from = revisions[2];
    let mut again = open(&fixture, &format!("/v1/watch?states=cfg&from={from}")).await;
    for revision in &revisions[3..] {
        assert_eq!(next_line(&mut again).await["revision"], json!(revision));
    }
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into())]).await;
    let mut seen = open(&fixture, "/v1/watch?states=dsc").await;
    next(&mut seen).await;
    see(&fixture, "n1", &[("/physState", "POWER_ON".into())]).await;
    let line = next_line(&mut seen).await;
    assert_eq!(line["object"]["dsc"]["physState"], json!("POWER_ON"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_and_signs_of_life_come() {
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let (fixture, _client) = member_with(limits).await;
    let mut socket = open(&fixture, "/v1/watch").await;
    socket.send(Message::Ping("here?".into())).await.unwrap();
    socket.send(Message::text("what a client says is let go")).await.unwrap();
    let (mut bookmarks, mut is_answered) = (0, false);
    while bookmarks < 3 || !is_answered {
        match next(&mut socket).await {
            Message::Pong(said) => is_answered = said == "here?",
            message => bookmarks += usize::from(message.to_text().unwrap().contains("BOOKMARK")),
        }
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(message)) = timeout(BOUND, socket.next()).await.expect("ends in time") {
        assert!(message.is_text() || message.is_close(), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_watch_is_refused_for_a_socket_is_refused_for() {
    let (fixture, client) = fleet().await;
    set_slots(&client, 1).await;
    fixture.quorum.forget(kraken_engine::id::Revision::new(3));
    for (path, status) in [
        ("/v1/watch?states=x", 400),
        ("/v1/watch?fields=x", 400),
        ("/v1/watch?from=3&epoch=2", 410),
        ("/v1/nodes/n9/events", 404),
    ] {
        assert_eq!(try_open(&fixture, request(&fixture, path)).await.err(), Some(status), "{path}");
    }
    let with = |name: &'static str, value: &str| {
        let mut request = request(&fixture, "/v1/watch");
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let foreign = with("origin", "https://elsewhere.example");
    assert_eq!(try_open(&fixture, foreign).await.err(), Some(403));
    let own = with("origin", &fixture.url());
    assert!(try_open(&fixture, own).await.is_ok());
    let old = with("sec-websocket-version", "8");
    assert_eq!(try_open(&fixture, old).await.err(), Some(400));
}

/// Whether one more connection is taken.
async fn is_served(fixture: &Fixture) -> bool {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    // One that is refused may be closed before it has asked.
    drop(stream.write_all(ask).await);
    read_to_end(&mut stream).await.starts_with("HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_streams_and_connections_and_give_both_back() {
    let limits = Limits { streams_max: 1, connections_max: 2, ..Limits::default() };
    let (fixture, _client) = member_with(limits).await;
    let mut socket = open(&fixture, "/v1/watch").await;
    next(&mut socket).await;
    assert_eq!(try_open(&fixture, request(&fixture, "/v1/watch")).await.err(), Some(429));
    // With one more connection there are as many as there may be, once that is taken which may
    // have come while the one that was refused a stream was still open.
    let mut idle = Vec::new();
    let refused = async {
        while is_served(&fixture).await {
            idle.push(TcpStream::connect(fixture.address).await.unwrap());
        }
    };
    timeout(BOUND, refused).await.expect("the socket counts as a connection");
    drop(socket);
    let freed = async {
        while !is_served(&fixture).await {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, freed).await.expect("it gives its connection back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_ends_the_socket_and_one_at_it_does_not() {
    let (fixture, client) = fleet().await;
    let mut socket = open(&fixture, "/v1/watch?states=cfg").await;
    next(&mut socket).await;
    socket.send(Message::text("x".repeat(MESSAGE_BYTES_MAX))).await.unwrap();
    let revision = set_slots(&client, 1).await;
    assert_eq!(next_line(&mut socket).await["revision"], json!(revision));
    socket.send(Message::text("x".repeat(MESSAGE_BYTES_MAX + 1))).await.unwrap();
    let ended = async { while let Some(Ok(_)) = socket.next().await {} };
    timeout(BOUND, ended).await.expect("ends in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_falls_behind_is_told_so_and_closed() {
    let (fixture, _client) = fleet().await;
    let mut socket = open(&fixture, "/v1/watch?states=cfg").await;
    next(&mut socket).await;
    fixture.quorum.reset();
    assert_eq!(next_line(&mut socket).await["type"], "LAGGED");
    assert!(next(&mut socket).await.is_close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_takes_nothing_is_closed_and_others_see_everything() {
    let stall = Duration::from_millis(50);
    let limits = Limits { write_stall_max: stall, streams_max: 2, ..Limits::default() };
    let (fixture, client) = member_with(limits).await;
    client.apply("kind: node\nname: n1\n", &WriteQuery::default()).await.unwrap();
    let mut other = open(&fixture, "/v1/watch?states=cfg").await;
    next(&mut other).await;
    let mut idle = open(&fixture, "/v1/watch?states=cfg").await;
    next(&mut idle).await;
    let text = "x".repeat(1 << 20);
    for count in 0..20 {
        let args = [count.to_string(), text.clone()];
        let patch = json!({ "services": { "web": { "args": args } } });
        let written = client.patch("node", "n1", &patch, &WriteQuery::default()).await.unwrap();
        assert_eq!(next_line(&mut other).await["revision"], json!(written.revision));
    }
    // There is room for another one only once the idle one is closed.
    let freed = async {
        while try_open(&fixture, request(&fixture, "/v1/watch")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, freed).await.expect("the server closes the idle socket");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_closes_its_sockets() {
    let (fixture, _client) = fleet().await;
    let mut socket = open(&fixture, "/v1/watch").await;
    next(&mut socket).await;
    fixture.shutdown.cancel();
    let closed = async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                return true;
            }
        }
        false
    };
    assert!(timeout(BOUND, closed).await.expect("in time"), "it says that it goes");
    timeout(BOUND, fixture.server.task).await.expect("ends in time").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_over_sockets_too() {
    use kraken_engine::event::{EventKind, Happening};
    let (fixture, _client) = fleet().await;
    let mut socket = open(&fixture, "/v1/events?kind=module").await;
    let (uid, text) = (Some(super::kit::uid(&fixture, "n1")), "one".to_owned());
    let happening = Happening { kind: EventKind::Module, uid, revision: None, attempt: None, text };
    fixture.state.record(happening).await;
    assert_eq!(next_line(&mut socket).await["text"], json!("one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_another_upgrade_is_answered_as_if_it_had_not() {
    let (fixture, _client) = member().await;
    let headers = [("connection", "upgrade"), ("upgrade", "h2c")];
    let said = exchange(&fixture, "GET /healthz", &headers, "").await;
    assert_eq!(said.status, 200);
}
