//! Every code that a user can see, over HTTP, with its status.

use kraken_actors::quorum::QuorumError;
use serde_json::{Value as Json, json};

use super::kit::{ask, call, fleet};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_comes_with_its_status() {
    let (_fixture, client) = fleet().await;
    let nothing = Json::Null;
    let off = json!({ "physState": "POWER_OFF" });
    let cases: Vec<(&str, &str, Json, u16, &str)> = vec![
        ("GET", "/v1/nowhere", nothing.clone(), 404, "no_such_route"),
        ("PATCH", "/v1/cluster", off.clone(), 405, "method_not_allowed"),
        ("DELETE", "/v1/nodes", nothing.clone(), 405, "method_not_allowed"),
        ("GET", "/v1/nodes?slector=a", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/nodes?limit=x", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/nodes?limit=0", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/nodes?limit=20001", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/nodes?view=x", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/nodes?names=n[", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/nodes?names=n1&selector=a", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/nodes?limit=1&limit=2", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/nodes?continue=x/y/z/w", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/events?limit=1001", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/events?after=x", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/watch?states=x", nothing.clone(), 400, "bad_query"),
        ("GET", "/v1/graph?format=gif", nothing.clone(), 400, "bad_query"),
        ("PATCH", "/v1/nodes", off.clone(), 400, "bad_query"),
        ("POST", "/v1/apply", nothing.clone(), 400, "bad_body"),
        ("POST", "/v1/apply", json!({ "kind": "node" }), 400, "bad_body"),
        ("POST", "/v1/apply", json!({ "kind": "node", "name": "n1", "x": 1 }), 400, "bad_body"),
        ("POST", "/v1/nodes", json!({ "kind": "rack", "name": "r1" }), 400, "bad_body"),
        ("PUT", "/v1/nodes/n1", json!({ "name": "n2" }), 400, "bad_body"),
        ("PATCH", "/v1/nodes/n1", json!([1]), 400, "bad_body"),
        ("POST", "/v1/txn", json!({ "ops": [{ "op": "eat", "kind": "node" }] }), 400, "bad_body"),
        ("POST", "/v1/txn", json!({ "ops": [{ "op": "put", "kind": "node" }] }), 400, "bad_body"),
        ("POST", "/v1/freeze", json!({}), 400, "bad_body"),
        ("POST", "/v1/freeze", json!({ "all": true, "names": "n1" }), 400, "bad_body"),
        ("POST", "/v1/cluster/join", json!({ "via": [] }), 400, "bad_body"),
        ("PATCH", "/v1/nodes/n1", json!({ "physState": "ON" }), 422, "invalid"),
        ("PATCH", "/v1/nodes/n1", json!({ "temperature": 20 }), 422, "invalid"),
        ("PATCH", "/v1/nodes/n1", json!({ "colour": "red" }), 422, "invalid"),
        ("POST", "/v1/nodes", json!({ "name": "n9", "cfg": { "slots": -1 } }), 422, "invalid"),
        ("PUT", "/v1/nodes/n1", json!({ "owner": "n1" }), 422, "invalid"),
        ("GET", "/v1/nodes/n9", nothing.clone(), 404, "no_such_object"),
        ("PATCH", "/v1/nodes/n9", off.clone(), 404, "no_such_object"),
        ("DELETE", "/v1/nodes/n9", nothing.clone(), 404, "no_such_object"),
        ("GET", "/v1/nodes/n9/why", nothing.clone(), 404, "no_such_object"),
        ("GET", "/v1/nodes/n9/events", nothing.clone(), 404, "no_such_object"),
        ("POST", "/v1/freeze", json!({ "names": "n9" }), 404, "no_such_object"),
        ("POST", "/v1/retry", json!({ "names": "n9" }), 404, "no_such_object"),
        ("GET", "/v1/graph?node=n9", nothing.clone(), 404, "no_such_object"),
        ("GET", "/v1/graph?kind=boat", nothing.clone(), 404, "no_such_thing"),
        ("GET", "/v1/modules/boat", nothing.clone(), 404, "no_such_thing"),
        ("GET", "/v1/debug/boat", nothing.clone(), 404, "no_such_thing"),
        ("DELETE", "/v1/cluster/members/9", nothing.clone(), 404, "no_such_thing"),
        ("POST", "/v1/nodes", json!({ "name": "n[1-2]" }), 409, "exists"),
        ("POST", "/v1/thaw", json!({ "names": "n1" }), 409, "not_frozen"),
        ("POST", "/v1/cluster/init", nothing.clone(), 409, "cluster_refused"),
        ("DELETE", "/v1/cluster/members/m1", nothing.clone(), 409, "cluster_refused"),
        ("POST", "/v1/apply?expect=1", json!({ "kind": "node", "name": "x" }), 412, "base_moved"),
        ("DELETE", "/v1/nodes/n2", nothing.clone(), 202, ""),
        ("PATCH", "/v1/nodes/n2", off.clone(), 409, "deleting"),
        ("POST", "/v1/cluster/join", json!({ "via": ["h:1"] }), 503, "unavailable"),
    ];
    for (method, path, body, status, code) in cases {
        let (found, answer) = ask(&client, call(method, path, &body)).await;
        let code_found = answer["code"].as_str().unwrap_or_default();
        assert_eq!((found, code_found), (status, code), "{method} {path} {body}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_exists_is_listed() {
    let (_fixture, client) = fleet().await;
    let body = json!({ "name": "n[4-6]" });
    let error = client.raw_post("/v1/nodes", &body).await.unwrap_err();
    assert_eq!(error.to_string().split(';').next(), Some("already there: node n4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_checked() {
    let (fixture, client) = fleet().await;
    let host = fixture.address;
    for (name, value, status, code) in [
        ("kraken-author", "x".repeat(128), 200, ""),
        ("kraken-author", "x".repeat(129), 400, "bad_header"),
        ("kraken-request-id", "x".repeat(64), 200, ""),
        ("kraken-request-id", "y".repeat(65), 400, "bad_header"),
        ("if-match", "\"1-x\"".to_owned(), 400, "bad_header"),
        ("if-match", "\"1-999\"".to_owned(), 412, "precondition_failed"),
        ("origin", "http://elsewhere.example".to_owned(), 403, "foreign_origin"),
        ("origin", format!("http://{host}"), 200, ""),
    ] {
        let patch = call("PATCH", "/v1/nodes/n1", &json!({ "slots": 1 }));
        let (found, answer) = ask(&client, patch.header(name, value.clone())).await;
        let code_found = answer["code"].as_str().unwrap_or_default();
        assert_eq!((found, code_found), (status, code), "{name}: {value}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn troubles_of_the_quorum_are_told() {
    let (fixture, client) = fleet().await;
    for (fault, status, code) in [
        (QuorumError::Unavailable("no leader".to_owned()), 503, "unavailable"),
        (QuorumError::Timeout, 504, "timeout"),
        (QuorumError::Overloaded, 429, "overloaded"),
        (QuorumError::TooLarge { bytes: 9, limit: 8 }, 413, "body_too_large"),
        (QuorumError::Refused("no".to_owned()), 409, "cluster_refused"),
    ] {
        fixture.quorum.set_fault(Some(fault));
        let patch = call("PATCH", "/v1/nodes/n1", &json!({ "slots": 1 }));
        let (found, answer) = ask(&client, patch).await;
        assert_eq!((found, &answer["code"]), (status, &json!(code)), "{answer}");
        let (status, _) =
            ask(&client, call("GET", "/v1/nodes?consistency=stale", &Json::Null)).await;
        assert_eq!(status, 200, "a stale read needs no quorum");
    }
    fixture.quorum.set_leadership(<_>::default());
    let (status, answer) = ask(&client, call("GET", "/readyz", &Json::Null)).await;
    assert_eq!((status, &answer["code"]), (503, &json!("unavailable")));
}
