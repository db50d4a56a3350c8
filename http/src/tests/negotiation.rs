//! What both sides speak: methods, media types, codings, and pages of other origins.

use std::io::Read as _;

use flate2::read::GzDecoder;
use kraken_actors::quorum::QuorumError;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::kit::{BOUND, exchange, fleet, manifests, member, member_with, see};
use crate::{gzip::GZIP_BYTES_MIN, openapi::table, server::Limits, testing::Fixture};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_a_path_does_not_take_is_told_which_it_does() {
    let (fixture, _client) = member().await;
    for (line, allowed) in [
        ("DELETE /v1/nodes", "GET, POST, PATCH, HEAD, OPTIONS"),
        ("POST /v1/nodes/n1", "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        ("PUT /v1/namespaces/a/objects/b", "GET, POST, PATCH, HEAD, OPTIONS"),
        ("GET /v1/apply", "POST, OPTIONS"),
        ("HEAD /v1/apply", "POST, OPTIONS"),
        ("POST /healthz/", "GET, HEAD, OPTIONS"),
        ("BREW /v1/cluster/snapshot", "GET, POST, HEAD, OPTIONS"),
    ] {
        let said = exchange(&fixture, line, &[], "").await;
        assert_eq!((said.status, said.header("allow")), (405, allowed), "{line}");
        if !line.starts_with("HEAD") {
            assert_eq!(said.json()["code"], "method_not_allowed", "{line}");
        }
        let (_, path) = line.split_once(' ').unwrap();
        let asked = exchange(&fixture, &format!("OPTIONS {path}"), &[], "").await;
        assert_eq!((asked.status, asked.header("allow")), (204, allowed), "{path}");
    }
    for line in ["GET /v1/nowhere", "OPTIONS /v1/nowhere", "POST /v1/nodes/n1/why/not"] {
        let said = exchange(&fixture, line, &[], "").await;
        assert_eq!((said.status, said.header("allow")), (404, ""), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_answered_as_get_is_without_a_body() {
    let (fixture, _client) = fleet().await;
    for path in ["/v1/nodes/n1?view=cfg", "/openapi.json", "/v1/nodes/n9", "/readyz", "/v1/schema"]
    {
        let get = exchange(&fixture, &format!("GET {path}"), &[], "").await;
        let head = exchange(&fixture, &format!("HEAD {path}"), &[], "").await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        for name in ["content-type", "content-length", "etag", "kraken-revision", "kraken-epoch"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_media_type_that_nobody_speaks_is_refused() {
    let (fixture, _client) = fleet().await;
    for (line, accept, status) in [
        ("GET /v1/nodes", "application/json", 200),
        ("GET /v1/nodes", "text/html, */*;q=0.1", 200),
        ("GET /v1/nodes", "text/html", 406),
        ("GET /v1/nodes", "application/json;q=0", 406),
        ("GET /v1/watch", "application/xml", 406),
        ("GET /metrics", "text/plain;version=0.0.4;q=0.3", 200),
        ("GET /v1/cluster/snapshot", "application/octet-stream", 200),
        ("GET /v1/cluster/snapshot", "application/json", 406),
    ] {
        let said = exchange(&fixture, line, &[("accept", accept)], "").await;
        assert_eq!(said.status, status, "{line} {accept}: {said:?}");
        if status == 406 {
            assert_eq!(said.json()["code"], "not_acceptable");
            assert_eq!(said.media_type(), "application/problem+json");
        }
    }
    for (accept, media_type) in [
        ("image/svg+xml", "image/svg+xml"),
        ("text/vnd.graphviz, */*;q=0.1", "text/vnd.graphviz"),
        ("*/*", "application/json"),
    ] {
        let said = exchange(&fixture, "GET /v1/graph", &[("accept", accept)], "").await;
        assert_eq!((said.status, said.media_type()), (200, media_type), "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_a_type_or_in_a_coding_that_is_not_read_is_refused() {
    let (fixture, _client) = fleet().await;
    let patch = |media_type: &'static str| ("PATCH /v1/nodes/n1", ("content-type", media_type));
    for ((line, header), status) in [
        (patch("application/merge-patch+json"), 200),
        (patch("application/merge-patch+json; charset=utf-8"), 200),
        (patch("application/json"), 200),
        (patch("application/yaml"), 200),
        (patch("application/x-www-form-urlencoded"), 200),
        (patch("application/json-patch+json"), 415),
        (patch("multipart/form-data; boundary=x"), 415),
        (("PATCH /v1/nodes/n1", ("content-encoding", "gzip")), 415),
        (("PATCH /v1/nodes/n1", ("content-encoding", "identity")), 200),
        (("POST /v1/txn", ("content-type", "application/yaml")), 415),
        (("DELETE /v1/nodes/n4", ("content-type", "image/png")), 202),
    ] {
        let said = exchange(&fixture, line, &[header], r#"{"slots": 2}"#).await;
        assert_eq!(said.status, status, "{line} {header:?}: {said:?}");
        if status == 415 {
            assert_eq!(said.json()["code"], "unsupported_media_type");
        }
    }
    // The client comes to read the answer although nobody wanted what it sent.
    let large = "x".repeat(4 << 20);
    let said = exchange(&fixture, "POST /v1/apply", &[("content-type", "text/csv")], large).await;
    assert_eq!(said.status, 415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_repeated_is_told_when() {
    let (fixture, _client) = fleet().await;
    for (fault, status, after) in [
        (QuorumError::Unavailable("no leader".to_owned()), 503, "1"),
        (QuorumError::Overloaded, 429, "1"),
        (QuorumError::Timeout, 504, ""),
    ] {
        fixture.quorum.set_fault(Some(fault));
        let said = exchange(&fixture, "PATCH /v1/nodes/n1", &[], "{}").await;
        assert_eq!((said.status, said.header("retry-after")), (status, after));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_answers_are_in_gzip_for_who_asks() {
    let (fixture, client) = fleet().await;
    let how = crate::client::WriteQuery::default();
    client.apply("kind: node\nname: n[5-9]\n", &how).await.unwrap();
    let path = "GET /v1/nodes";
    let plain = exchange(&fixture, path, &[], "").await;
    assert!(plain.body.len() as u64 >= GZIP_BYTES_MIN, "{}", plain.body.len());
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    let packed = exchange(&fixture, path, &[("accept-encoding", "gzip")], "").await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"));
    assert_eq!(packed.header("vary"), "accept-encoding");
    assert_eq!(packed.header("content-length"), packed.body.len().to_string());
    assert_eq!(packed.header("etag"), format!("W/{}", plain.header("etag")));
    let mut unpacked = Vec::new();
    GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    let one = exchange(&fixture, "GET /openapi.json", &[("accept-encoding", "gzip")], "").await;
    assert!(one.body.len() < 64 << 10, "{}", one.body.len());
    let refused = [("accept-encoding", "gzip;q=0, br")];
    assert_eq!(exchange(&fixture, path, &refused, "").await.body, plain.body);
    let small = exchange(&fixture, "GET /healthz", &[("accept-encoding", "gzip")], "").await;
    assert_eq!((small.header("content-encoding"), small.header("vary")), ("", ""));
    let tag = packed.header("etag");
    let guarded = exchange(&fixture, "PATCH /v1/nodes?names=n1", &[("if-match", tag)], "{}").await;
    assert_eq!(guarded.status, 200, "the tag of what is packed guards a write too: {guarded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_in_gzip_from_the_limit_on() {
    let (fixture, client) = member().await;
    let limit = usize::try_from(GZIP_BYTES_MIN).unwrap();
    let empty = json!({ "services": { "web": { "args": [""] } } });
    let how = crate::client::WriteQuery::default();
    client.put("node", "n1", &json!({ "cfg": empty }), &how).await.unwrap();
    let path = "GET /v1/nodes/n1?view=cfg&fields=cfg";
    let base = exchange(&fixture, path, &[], "").await.body.len();
    for (bytes, coding) in [(limit - 1, ""), (limit, "gzip")] {
        let text = "x".repeat(bytes - base);
        let cfg = json!({ "services": { "web": { "args": [text] } } });
        client.put("node", "n1", &json!({ "cfg": cfg }), &how).await.unwrap();
        let plain = exchange(&fixture, path, &[], "").await;
        assert_eq!(plain.body.len(), bytes);
        let said = exchange(&fixture, path, &[("accept-encoding", "gzip")], "").await;
        assert_eq!(said.header("content-encoding"), coding, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_never_held_up_by_gzip() {
    let (fixture, _client) = fleet().await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let ask = "GET /v1/watch?states=dsc HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut seen = Vec::new();
    let mut is_seen = false;
    while !is_seen {
        let line = timeout(BOUND, lines.next_line()).await.expect("in time").unwrap().unwrap();
        if line.contains("BOOKMARK") {
            see(&fixture, "n1", &[("/physState", "POWER_OFF".into())]).await;
        }
        is_seen = line.contains("POWER_OFF");
        seen.push(line);
    }
    assert!(!seen.iter().any(|line| line.starts_with("content-encoding")), "{seen:?}");
}

const CONSOLE: &str = "https://console.example";

async fn with_origins(origins: &[&str]) -> Fixture {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    let (fixture, client) = member_with(Limits { origins, ..Limits::default() }).await;
    let how = crate::client::WriteQuery::default();
    client.apply("kind: node\nname: n1\n", &how).await.unwrap();
    fixture.declare(manifests()).await;
    fixture
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_may_ask_only_where_that_is_configured() {
    let (of_none, _client) = fleet().await;
    let of_one = with_origins(&[CONSOLE]).await;
    let other = "https://other.example";
    for (fixture, origin, allowed) in
        [(&of_none, CONSOLE, ""), (&of_one, CONSOLE, CONSOLE), (&of_one, other, "")]
    {
        let read = exchange(fixture, "GET /v1/nodes/n1", &[("origin", origin)], "").await;
        assert_eq!(read.status, 200);
        assert_eq!(read.header("access-control-allow-origin"), allowed, "{origin}");
        let write = exchange(fixture, "PATCH /v1/nodes/n1", &[("origin", origin)], "{}").await;
        assert_eq!(write.status, if allowed.is_empty() { 403 } else { 200 }, "{origin}");
        assert_eq!(write.header("access-control-allow-origin"), allowed, "{origin}");
        let asked = [("origin", origin), ("access-control-request-method", "PATCH")];
        let said = exchange(fixture, "OPTIONS /v1/nodes/n1", &asked, "").await;
        assert_eq!(said.status, 204);
        assert_eq!(said.header("access-control-allow-origin"), allowed, "{origin}");
        assert_eq!(
            said.header("access-control-allow-methods").contains("PATCH"),
            !allowed.is_empty()
        );
    }
    let read = exchange(&of_one, "GET /v1/nodes/n9", &[("origin", CONSOLE)], "").await;
    assert_eq!((read.status, read.header("access-control-allow-origin")), (404, CONSOLE));
    assert_eq!(read.header("vary"), "origin");
    assert!(read.header("access-control-expose-headers").contains("kraken-revision"));
    assert_eq!(read.header("access-control-allow-credentials"), "");
    let own = exchange(&of_none, "GET /v1/nodes/n1", &[("origin", CONSOLE)], "").await;
    assert!(!own.header("vary").contains("origin"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_write_does_not_compare_it_does_not_take() {
    let (fixture, _client) = fleet().await;
    let mut refused = 0;
    for operation in table::all().filter(|operation| operation.verb != table::Verb::Get) {
        for (_, path) in operation.paths() {
            let path = path.replace("{name}", "n1").replace("{kind}", "node");
            let path = path.replace("{id}", "7").replace("{module}", "x");
            let path = path.replace("{namespace}", "a");
            for header in ["If-Match", "If-None-Match"] {
                if operation.takes.iter().any(|parameter| parameter.name == header) {
                    continue;
                }
                let line = format!("{} {path}", operation.verb.as_str());
                let said = exchange(&fixture, &line, &[(header, "\"1-1\"")], "").await;
                assert_eq!(
                    (said.status, &said.json()["code"]),
                    (400, &json!("bad_header")),
                    "{line}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
}
