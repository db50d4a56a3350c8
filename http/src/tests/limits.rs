//! Limits, each at the limit and one beyond, and what becomes of clients that do not keep up.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::kit::{BOUND, FLEET, ask, call, fleet, member, member_with, raw, read_to_end};
use crate::{
    client::{Call, WriteQuery},
    routes::{EVENTS_PAGE_MAX, HISTORY_ITEMS_MAX, LIST_ITEMS_MAX, NOTE_BYTES_MAX, VIA_MAX},
    server::{HEAD_BYTES_MAX, HEADERS_MAX, Limits},
};

/// A manifest of exactly so many bytes.
fn manifest(bytes: usize) -> String {
    let head = "kind: node\nname: n1\n#";
    format!("{head}{}", "x".repeat(bytes - head.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_hold_their_limit_whether_or_not_they_say_their_length() {
    const LIMIT: usize = 4_096;
    let (fixture, client) =
        member_with(Limits { body_bytes_max: LIMIT, ..Limits::default() }).await;
    for (bytes, status) in [(LIMIT, 200), (LIMIT + 1, 413), (3 * LIMIT, 413)] {
        let post = Call::new(hyper::Method::POST, "/v1/apply").body("text/yaml", manifest(bytes));
        let (found, body) = ask(&client, post).await;
        assert_eq!(found, status, "{bytes} bytes: {body}");
        let chunked = format!(
            "POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n{bytes:x}\r\n{}\r\n0\r\n\r\n",
            manifest(bytes)
        );
        let answer = raw(&fixture, chunked.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes} chunked: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_body_is_cut_off() {
    let (fixture, _client) =
        member_with(Limits { body_bytes_max: 4_096, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let head = "POST /v1/apply HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let endless = async { while stream.write_all(chunk.as_bytes()).await.is_ok() {} };
    timeout(BOUND, endless).await.expect("the server stops listening");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_closed() {
    let short = Duration::from_millis(50);
    let limits = Limits { head_timeout: short, body_timeout: short, ..Limits::default() };
    let (fixture, _client) = member_with(limits).await;
    let answer = raw(&fixture, b"GET /healthz HTTP/1.1\r\nhost:").await;
    assert!(!answer.contains("200 OK"), "{answer}");
    let head =
        "POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\nk";
    let answer = raw(&fixture, head.as_bytes()).await;
    assert!(answer.contains("body_too_slow"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_over_the_limit_is_refused() {
    let (fixture, _client) = member().await;
    let head = |bytes: usize| {
        let (head, tail) = ("GET /healthz HTTP/1.1\r\nconnection: close\r\nx: ", "\r\n\r\n");
        format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
    };
    let answer = raw(&fixture, head(HEAD_BYTES_MAX).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // What comes with the last bytes below the limit is taken too, as it is there already.
    let answer = raw(&fixture, head(2 * HEAD_BYTES_MAX).as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = |count: usize| {
        let fields = "x: x\r\n".repeat(count - 1);
        format!("GET /healthz HTTP/1.1\r\nconnection: close\r\n{fields}\r\n")
    };
    for (count, status) in [(HEADERS_MAX, 200), (HEADERS_MAX + 1, 431)] {
        let answer = raw(&fixture, many(count).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{count}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_planned_may_be_larger_and_is_limited_too() {
    let limits = Limits { body_bytes_max: 1_024, plan_bytes_max: 4_096, ..Limits::default() };
    let (_fixture, client) = member_with(limits).await;
    for (query, bytes, status) in [
        ("", 1_025, 413),
        ("?dryRun=none", 1_025, 413),
        ("?dryRun=plan", 4_096, 200),
        ("?dryRun=plan", 4_097, 413),
    ] {
        let post = Call::new(hyper::Method::POST, format!("/v1/apply{query}"));
        let (found, body) = ask(&client, post.body("text/yaml", manifest(bytes))).await;
        assert_eq!(found, status, "{query} {bytes}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_and_texts_of_requests_are_taken_up_to_their_limits() {
    let (_fixture, client) = fleet().await;
    let (via, note) = (|count: usize| json!({ "via": vec!["h:1"; count] }), |b| "n".repeat(b));
    let nothing = Json::Null;
    for (method, path, body, status) in [
        ("GET", format!("/v1/nodes?limit={LIST_ITEMS_MAX}"), nothing.clone(), 200),
        ("GET", format!("/v1/nodes?limit={}", LIST_ITEMS_MAX + 1), nothing.clone(), 400),
        ("GET", format!("/v1/events?limit={EVENTS_PAGE_MAX}"), nothing.clone(), 200),
        ("GET", format!("/v1/events?limit={}", EVENTS_PAGE_MAX + 1), nothing.clone(), 400),
        ("GET", format!("/v1/revisions?limit={HISTORY_ITEMS_MAX}"), nothing.clone(), 200),
        ("GET", format!("/v1/revisions?limit={}", HISTORY_ITEMS_MAX + 1), nothing.clone(), 400),
        ("GET", format!("/v1/nodes/n1/history?limit={HISTORY_ITEMS_MAX}"), nothing.clone(), 200),
        ("GET", format!("/v1/nodes/n1/history?limit={}", HISTORY_ITEMS_MAX + 1), nothing, 400),
        ("PATCH", format!("/v1/nodes/n1?note={}", note(NOTE_BYTES_MAX)), json!({}), 200),
        ("PATCH", format!("/v1/nodes/n1?note={}", note(NOTE_BYTES_MAX + 1)), json!({}), 400),
        ("POST", "/v1/txn".to_owned(), json!({ "note": note(NOTE_BYTES_MAX) }), 200),
        ("POST", "/v1/txn".to_owned(), json!({ "note": note(NOTE_BYTES_MAX + 1) }), 400),
        // There is nobody to join here.
        ("POST", "/v1/cluster/join".to_owned(), via(VIA_MAX), 503),
        ("POST", "/v1/cluster/join".to_owned(), via(VIA_MAX + 1), 400),
    ] {
        let (found, answer) = ask(&client, call(method, &path, &body)).await;
        let shown: String = path.chars().take(64).collect();
        assert_eq!(found, status, "{method} {shown}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_closed_and_holds_up_nobody() {
    let limits = Limits { write_stall_max: Duration::from_millis(50), ..Limits::default() };
    let (fixture, client) = member_with(limits).await;
    let text = "x".repeat(1 << 20);
    for name in ["n1", "n2", "n3", "n4", "n5", "n6", "n7"] {
        let cfg = json!({ "services": { "web": { "args": [text.clone()] } } });
        client.put("node", name, &json!({ "cfg": cfg }), &WriteQuery::default()).await.unwrap();
    }
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    // Ten answers of seven megabytes: no socket holds that much for a client that does not read.
    let asks = "GET /v1/nodes?consistency=stale HTTP/1.1\r\nhost: x\r\n\r\n".repeat(10);
    stream.write_all(asks.as_bytes()).await.unwrap();
    let closed = async {
        while !client.raw_get("/metrics").await.is_ok_and(|answer| {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            text.contains("kraken_http_requests_total{route=\"objects.list\"")
        }) {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, closed).await.expect("the request arrives");
    // The server gives up within the stall; all that it had sent by then can still be read.
    let answer = drain_slowly(&mut stream).await;
    assert!(answer < 70 << 20, "the whole answer came: {answer}");
    assert!(client.get("node", "n1").await.is_ok());
}

/// Reads nothing until the server has closed, then all that is left; returns how much that was.
async fn drain_slowly(stream: &mut TcpStream) -> usize {
    use tokio::io::Interest;
    let closed = async {
        loop {
            let ready = stream.ready(Interest::WRITABLE | Interest::READABLE).await.unwrap();
            if ready.is_write_closed() || stream.try_write(b"x").is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, closed).await.expect("the server closes");
    read_to_end(stream).await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_streams_hold_their_limits() {
    let limits = Limits { connections_max: 2, streams_max: 1, ..Limits::default() };
    let (fixture, client) = member_with(limits).await;
    let mut watch = client.watch(<_>::default());
    watch.next().await.unwrap();
    let (status, body) = ask(&client, call("GET", "/v1/watch", &Json::Null)).await;
    assert_eq!((status, &body["code"]), (429, &json!("overloaded")), "{body}");
    let answer = raw(&fixture, b"").await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    drop(watch);
    let freed = async {
        while client.watch(<_>::default()).next().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, freed).await.expect("both are given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_holds_so_many_objects_and_no_more() {
    let (_fixture, client) = member().await;
    for (names, status) in [("a[1-10000]", 200), ("b[1-10001]", 413), ("c[1-100001]", 400)] {
        let body = json!({ "kind": "node", "name": names });
        let (found, answer) = ask(&client, call("POST", "/v1/apply", &body)).await;
        assert_eq!(found, status, "{names}: {answer}");
    }
    let (_, body) =
        ask(&client, call("GET", "/v1/nodes?view=cfg&consistency=stale", &Json::Null)).await;
    assert_eq!(body["items"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(body["continue"], Json::Null);
    // A page of a list holds more than one write does.
    for (names, count, next) in
        [("d[1-10000]", 20_000, Json::Null), ("e1", 20_000, json!("node/d9999"))]
    {
        let body = json!({ "kind": "node", "name": names });
        assert_eq!(ask(&client, call("POST", "/v1/apply", &body)).await.0, 200);
        let path = "/v1/nodes?view=cfg&consistency=stale&fields=name";
        let (_, body) = ask(&client, call("GET", path, &Json::Null)).await;
        assert_eq!(body["items"].as_array().map(Vec::len), Some(count), "{names}");
        assert_eq!(body["continue"], next, "{names}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_done_once() {
    let (fixture, client) = fleet().await;
    let patch = || {
        let patch = call("PATCH", "/v1/nodes/n1", &json!({ "slots": 7 }));
        patch.header("kraken-request-id", "once")
    };
    let (_, first) = ask(&client, patch()).await;
    let other = call("PATCH", "/v1/nodes/n1", &json!({ "slots": 8 }));
    ask(&client, other).await;
    // The same id elsewhere is that of another request.
    let elsewhere = call("PATCH", "/v1/nodes/n2", &json!({ "slots": 9 }));
    let (_, answer) = ask(&client, elsewhere.header("kraken-request-id", "once")).await;
    assert_eq!(answer["changed"], 1, "{answer}");
    let (_, again) = ask(&client, patch()).await;
    assert_eq!(first, again);
    let slots = fixture
        .quorum
        .look(|store| store.objects().next().and_then(|n1| n1.cfg.get("/slots").cloned()));
    assert_eq!(slots, Some(8.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_that_expects_a_revision_is_answered_as_before() {
    let (fixture, client) = fleet().await;
    let revision = fixture.quorum.look(|store| store.revision().get());
    let patch = || {
        let path = format!("/v1/nodes/n1?expect={revision}");
        let patch = call("PATCH", &path, &json!({ "slots": 7 }));
        patch.header("kraken-request-id", "once")
    };
    let (status, first) = ask(&client, patch()).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(ask(&client, patch()).await, (200, first), "it moved the revision itself");
    let path = format!("/v1/nodes/n1?expect={revision}");
    let (status, other) = ask(&client, call("PATCH", &path, &json!({ "slots": 8 }))).await;
    assert_eq!((status, &other["code"]), (412, &json!("base_moved")), "{other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_ends_its_streams_and_closes() {
    let (fixture, client) = fleet().await;
    assert!(FLEET.contains("n[1-2]"));
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(b"GET /v1/watch HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    client.get("node", "n1").await.unwrap();
    fixture.shutdown.cancel();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200"), "{answer}");
    timeout(BOUND, fixture.server.task).await.expect("ends in time").unwrap();
}
