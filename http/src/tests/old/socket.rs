//! The WebSocket, over a real socket.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use kraken_engine::event::{EventKind, Happening};
use serde_json::{Value as Json, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, protocol::CloseFrame},
};

use super::{N1, N2, fleet, member_with, post, put, send};
use crate::{
    server::Limits,
    testing::Fixture,
    tests::kit::{BOUND, raw, see, uid},
};

/// A client as the dashboard is one.
struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn open(fixture: &Fixture) -> Self {
        Self::try_open(fixture.server.old_addr.unwrap()).await.unwrap()
    }

    async fn try_open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.unwrap();
        Ok(Self(client_async(format!("ws://{address}/ws"), stream).await?.0))
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Subscribes, or the opposite, and returns when that is so: what is said after it and cannot
    /// be read is answered.
    async fn command(&mut self, command: &Json) {
        self.say(&command.to_string()).await;
        self.say("?").await;
        let answer = self.next().await;
        assert_eq!(answer["type"], 0, "{answer}");
    }

    /// The next message; nothing once the connection is closed.
    async fn next_or_close(&mut self) -> Result<Json, Option<CloseFrame>> {
        loop {
            match timeout(BOUND, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(None),
            }
        }
    }

    async fn next(&mut self) -> Json {
        self.next_or_close().await.expect("a message")
    }

    /// So many messages, in order of what they say.
    async fn some(&mut self, count: usize) -> Vec<Json> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.next().await);
        }
        all.sort_by_key(|message| message["data"].to_string());
        all
    }
}

fn change(data: &str, node: &str, url: &str, value: &str) -> Json {
    json!({ "type": 1, "url": url, "data": data, "nodeid": node, "value": value })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_mutations_and_discoveries_are_told_to_those_who_ask() {
    let fixture = fleet().await;
    let mut client = Client::open(&fixture).await;
    client.command(&json!({ "command": "SUBSCRIBE", "type": "STATE_CHANGE" })).await;

    put(&fixture, &format!("/cfg/node/{N1}"), &json!({ "physState": "POWER_OFF" })).await;
    let data = format!("(CFG_UPDATE) {N1}:/PhysState = POWER_OFF");
    assert_eq!(client.next().await, change(&data, N1, "/PhysState", "POWER_OFF"));
    put(&fixture, &format!("/cfg/node/{N1}"), &json!({ "physState": 0 })).await;
    let data = format!("(CFG_UPDATE) {N1}:/PhysState = PHYS_UNKNOWN");
    assert_eq!(client.next().await, change(&data, N1, "/PhysState", "PHYS_UNKNOWN"));

    see(&fixture, "n1", &[("/physState", "POWER_ON".into())]).await;
    let data = format!("(UPDATE) {N1}:/PhysState = POWER_ON");
    assert_eq!(client.next().await, change(&data, N1, "/PhysState", "POWER_ON"));

    client.command(&json!({ "command": 0, "type": "DISCOVERY" })).await;
    client.command(&json!({ "command": 1, "type": "STATE_CHANGE" })).await;
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into()), ("/arch", "x".into())]).await;
    let found = format!("(sim) {N1}:/PhysState == POWER_OFF");
    let (url, value) = ("/PhysState", "POWER_OFF");
    let expected = json!({ "type": 5, "url": url, "data": found, "nodeid": N1, "value": value });
    assert_eq!(client.next().await, expected);

    client.command(&json!({ "command": "UNSUBSCRIBE", "type": "DISCOVERY" })).await;
    client.command(&json!({ "command": "SUBSCRIBE", "type": "STATE_MUTATION" })).await;
    see(&fixture, "n1", &[("/physState", "POWER_ON".into())]).await;
    for (kind, text) in [
        (EventKind::Module, "sim/PowerOn is told of, not started"),
        (EventKind::AttemptStarted, "sim/PowerOff started"),
    ] {
        let (uid, text) = (Some(uid(&fixture, "n1")), text.to_owned());
        let (revision, attempt) = (None, None);
        fixture.state.record(Happening { kind, uid, revision, attempt, text }).await;
    }
    let data = format!("(MUTATE) {N1} : sim -> PowerOff");
    let expected = json!({ "type": 2, "url": "", "data": data, "nodeid": N1, "value": "PowerOff" });
    assert_eq!(client.next().await, expected, "and of nothing that it no longer asks for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_come_and_go_are_told_of() {
    let fixture = fleet().await;
    let mut client = Client::open(&fixture).await;
    client.command(&json!({ "command": "SUBSCRIBE", "type": "STATE_CHANGE" })).await;
    send(&fixture, "DELETE", &format!("/cfg/node/{N2}"), "").await;
    let gone = client.next().await;
    let node = format!("Node<{N2}>");
    assert_eq!(gone, change(&format!("(DELETE) {N2}: = {node}"), N2, "", &node));
    post(&fixture, "/cfg/node", &json!({ "id": N2, "nodename": "n2", "arch": "x" })).await;
    let made = client.next().await;
    assert_eq!(made, change(&format!("(CREATE) {N2}: = {node}"), N2, "", &node));
    let both = json!({ "nodes": [{ "id": N1, "arch": "y" }, { "id": N2, "arch": "y" }] });
    put(&fixture, "/cfg/nodes", &both).await;
    let urls: Vec<Json> = client.some(2).await.iter().map(|told| told["url"].clone()).collect();
    assert_eq!(urls, ["/Arch", "/Arch"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_commands_are_answered_and_end_nothing() {
    let fixture = fleet().await;
    let mut client = Client::open(&fixture).await;
    for bad in ["", "{}", "[1]", r#"{"command":"SHOUT","type":"DISCOVERY"}"#] {
        client.say(bad).await;
        let answer = client.next().await;
        assert_eq!((&answer["type"], &answer["nodeid"]), (&json!(0), &json!("")), "{bad}");
        assert!(answer["data"].as_str().unwrap().starts_with("(REFUSED) "), "{answer}");
    }
    client.command(&json!({ "command": 0, "type": 1 })).await;
    put(&fixture, &format!("/cfg/node/{N1}"), &json!({ "arch": "z" })).await;
    assert_eq!(client.next().await["value"], "z");
    // One that is too long is not even read.
    client.say(&" ".repeat(5_000)).await;
    assert!(client.next_or_close().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_missed_something_is_sent_away_to_connect_again() {
    let fixture = fleet().await;
    let mut client = Client::open(&fixture).await;
    client.command(&json!({ "command": 0, "type": "STATE_CHANGE" })).await;
    fixture.quorum.reset();
    let frame = client.next_or_close().await.unwrap_err().expect("a word of why");
    assert_eq!(u16::from(frame.code), 1_013, "{frame:?}");
    let mut client = Client::open(&fixture).await;
    client.command(&json!({ "command": 0, "type": "STATE_CHANGE" })).await;
    fixture.shutdown.cancel();
    let frame = client.next_or_close().await.unwrap_err().expect("a word of why");
    assert_eq!(u16::from(frame.code), 1_001, "{frame:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_is_cut_off_and_others_hear_all() {
    let limits =
        Limits { write_stall_max: Duration::from_millis(50), streams_max: 2, ..Limits::default() };
    let fixture = member_with(limits).await;
    post(&fixture, "/cfg/node", &json!({ "id": N1, "nodename": "n1" })).await;
    let (mut idle, mut other) = (Client::open(&fixture).await, Client::open(&fixture).await);
    for client in [&mut idle, &mut other] {
        client.command(&json!({ "command": 0, "type": "STATE_CHANGE" })).await;
    }
    let full = Client::try_open(fixture.server.old_addr.unwrap()).await.err().expect("no room");
    assert!(matches!(&full, Error::Http(answer) if answer.status() == 429), "{full}");
    let text = "x".repeat(1 << 19);
    for count in 0..40 {
        let arch = format!("{count}{text}");
        put(&fixture, &format!("/cfg/node/{N1}"), &json!({ "arch": arch })).await;
        assert_eq!(other.next().await["value"], arch, "{count}");
    }
    // Its place is free again, though it has not read a word of that.
    let again = async {
        while Client::try_open(fixture.server.old_addr.unwrap()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, again).await.expect("the server closes the idle stream");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_of_life_are_sent_and_plain_requests_are_refused() {
    let limits = Limits { heartbeat: Duration::from_millis(20), ..Limits::default() };
    let fixture = member_with(limits).await;
    let mut client = Client::open(&fixture).await;
    let ping = timeout(BOUND, client.0.next()).await.expect("a sign of life").unwrap().unwrap();
    assert!(ping.is_ping(), "{ping:?}");
    let address = fixture.server.old_addr.unwrap();
    for (path, expected) in [("/ws", "400"), ("/cfg/nodes", "404"), ("/v1/nodes", "404")] {
        let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, ask.as_bytes()).await.unwrap();
        let answer = crate::tests::kit::read_to_end(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {answer}");
    }
    let main = raw(&fixture, b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(main.starts_with("HTTP/1.1 200"), "{main}");
}
