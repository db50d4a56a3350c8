//! The past over HTTP: history, blame, revisions, diff, reads at a revision, and the way back.

use hyper::Method;
use kraken_engine::id::Revision;
use serde_json::{Value as Json, json};

use super::kit::{ask, call, fleet};
use crate::client::{Call, Client, TargetsQuery, WriteQuery};

async fn get(client: &Client, path: &str) -> (u16, Json) {
    ask(client, Call::new(Method::GET, path.to_owned())).await
}

/// The revision after the fleet was applied, and after each of some changes.
async fn changed(client: &Client) -> [u64; 4] {
    let (_, list) = get(client, "/v1/nodes").await;
    let begun = list["revision"].as_u64().unwrap();
    let note = WriteQuery { note: Some("more".to_owned()), ..WriteQuery::default() };
    let first = client.patch("node", "n1", &json!({ "slots": 3 }), &note).await.unwrap();
    let second = client.delete("node", "n3", true).await.unwrap();
    let body = json!({ "name": "n9", "cfg": { "slots": 1 } });
    let (status, third) = ask(client, call("POST", "/v1/nodes", &body)).await;
    assert_eq!(status, 201, "{third}");
    [begun, first.revision, second.revision, third["revision"].as_u64().unwrap()]
}

fn names(list: &Json) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_of_an_object_tells_versions_and_blame() {
    let (_fixture, client) = fleet().await;
    let [begun, first, ..] = changed(&client).await;
    let history = client.history("node", "n1", 10).await.unwrap();
    assert_eq!(history.object, "node/n1");
    let told: Vec<_> = history.items.iter().map(|item| item.revision).collect();
    assert_eq!(told, [first, begun]);
    assert_eq!(history.items[0].note.as_deref(), Some("more"));
    assert_eq!(history.items[0].alteration.cfg[0].path, "/slots");
    let blamed: Vec<_> = history.blame.iter().map(|b| (b.path.as_str(), b.revision)).collect();
    assert!(blamed.contains(&("/slots", first)), "{blamed:?}");
    assert!(blamed.contains(&("/physState", begun)), "{blamed:?}");
    let removed = client.history("node", "n3", 1).await.unwrap();
    assert_eq!(removed.items.len(), 1);
    assert!(removed.blame.is_empty());
    let (status, body) = get(&client, "/v1/nodes/never/history").await;
    assert_eq!((status, body["code"].as_str()), (404, Some("no_such_object")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_listed_newest_first_and_in_pages() {
    let (_fixture, client) = fleet().await;
    let [begun, first, second, third] = changed(&client).await;
    let list = client.revisions(10).await.unwrap();
    let told: Vec<u64> = list.items.iter().map(|item| item.revision).collect();
    assert_eq!(told, [third, second, first, begun]);
    assert_eq!(list.items[3].changed, 4);
    assert_eq!(list.r#continue, None);
    let (_, page) = get(&client, "/v1/revisions?limit=2").await;
    assert_eq!(page["continue"], json!(second));
    let (_, page) = get(&client, &format!("/v1/revisions?limit=2&continue={second}")).await;
    assert_eq!(page["items"][0]["revision"], json!(first));
    assert_eq!(page["continue"], Json::Null);
    let one = client.revision(second).await.unwrap();
    assert_eq!(one.objects[0].object, "node/n3");
    assert_eq!(serde_json::to_value(one.objects[0].change).unwrap(), json!("removed"));
    let (status, body) = get(&client, "/v1/revisions/999999").await;
    assert_eq!((status, body["code"].as_str()), (404, Some("no_such_thing")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_read_as_they_were() {
    let (_fixture, client) = fleet().await;
    let [begun, first, second, third] = changed(&client).await;
    for (revision, expected) in [
        (begun, vec!["n1", "n2", "n3", "n4"]),
        (first, vec!["n1", "n2", "n3", "n4"]),
        (second, vec!["n1", "n2", "n4"]),
        (third, vec!["n1", "n2", "n4", "n9"]),
    ] {
        let (status, list) = get(&client, &format!("/v1/nodes?revision={revision}")).await;
        assert_eq!((status, names(&list)), (200, expected), "{revision}");
        assert_eq!(list["revision"], json!(revision));
    }
    let (_, list) = get(&client, &format!("/v1/nodes?revision={begun}&selector=rack%3Dr2")).await;
    assert_eq!(names(&list), ["n3", "n4"]);
    let (_, page) = get(&client, &format!("/v1/nodes?revision={begun}&limit=3")).await;
    assert_eq!((names(&page).len(), page["continue"].as_str()), (3, Some("node/n3")));
    let (_, before) = get(&client, &format!("/v1/nodes/n1?revision={begun}")).await;
    assert_eq!(before["cfg"]["slots"], Json::Null);
    let (_, after) = get(&client, &format!("/v1/nodes/n1?revision={first}")).await;
    assert_eq!(after["cfg"]["slots"], json!(3));
    for (query, status, code) in [
        (format!("/v1/nodes/n9?revision={begun}"), 404, "no_such_object"),
        ("/v1/nodes?revision=999999".to_owned(), 400, "bad_query"),
        (format!("/v1/nodes?revision={begun}&view=dsc"), 400, "bad_query"),
        ("/v1/nodes?revision=x".to_owned(), 400, "bad_query"),
    ] {
        let (found, body) = get(&client, &query).await;
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{query}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diff_tells_what_differs() {
    let (_fixture, client) = fleet().await;
    let [begun, first, second, _] = changed(&client).await;
    let objects = |diff: crate::view::DiffView| -> Vec<String> {
        diff.objects.into_iter().map(|object| object.object).collect()
    };
    let all = client.diff(begun, None, &TargetsQuery::All).await.unwrap();
    assert_eq!(objects(all), ["node/n1", "node/n3", "node/n9"]);
    let some = client.diff(first, Some(second), &TargetsQuery::All).await.unwrap();
    assert_eq!(objects(some), ["node/n3"]);
    let named = TargetsQuery::Names("n1".to_owned());
    assert_eq!(objects(client.diff(begun, None, &named).await.unwrap()), ["node/n1"]);
    for query in ["", "?from=9&to=8", "?from=999999", "?from=0&to=999999"] {
        let (status, body) = get(&client, &format!("/v1/diff{query}")).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("bad_query")), "{query}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_brings_back_what_was_asked() {
    let (_fixture, client) = fleet().await;
    let [begun, ..] = changed(&client).await;
    let all = TargetsQuery::All;
    let planned = client.plan_rollback(begun, &all, &WriteQuery::default()).await;
    let planned = planned.unwrap().whole().await.unwrap();
    assert_eq!(planned.objects.len(), 3);
    let moved = WriteQuery { expect: Some(begun), ..WriteQuery::default() };
    assert!(client.rollback(begun, &all, &moved).await.is_err());
    let one = TargetsQuery::Names("n1".to_owned());
    let written = client.rollback(begun, &one, &WriteQuery::default()).await.unwrap();
    assert_eq!(written.changed, 1);
    let node = client.get("node", "n1").await.unwrap();
    assert_eq!(node.cfg.unwrap()["slots"], Json::Null);
    let written = client.rollback(begun, &all, &WriteQuery::default()).await.unwrap();
    assert_eq!(written.changed, 2);
    let there = client.get("node", "n3").await.unwrap();
    assert_eq!(there.cfg.unwrap()["physState"], json!("POWER_ON"));
    // Nothing has to be done before it may go.
    let gone = client.get("node", "n9").await;
    assert!(gone.is_err() || gone.unwrap().deleting);
    let list = client.revisions(1).await.unwrap();
    assert_eq!(list.items[0].note, Some(format!("rollback to revision {begun}")));
    for body in [json!({ "to": begun }), json!({ "to": 999_999, "all": true }), json!({})] {
        let (status, answer) = ask(&client, call("POST", "/v1/rollback", &body)).await;
        assert_eq!((status, answer["code"].as_str()), (400, Some("bad_body")), "{body}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_remembered_is_said_to_be_gone() {
    let (fixture, client) = fleet().await;
    let [begun, first, ..] = changed(&client).await;
    fixture.quorum.forget(Revision::new(first));
    let rollback = json!({ "to": begun, "all": true });
    for ask_for in [
        Call::new(Method::GET, format!("/v1/nodes?revision={begun}")),
        Call::new(Method::GET, format!("/v1/nodes/n1?revision={begun}")),
        Call::new(Method::GET, format!("/v1/diff?from={begun}")),
        Call::new(Method::GET, format!("/v1/revisions/{begun}")),
        call("POST", "/v1/rollback", &rollback),
    ] {
        let (status, body) = ask(&client, ask_for).await;
        assert_eq!((status, body["code"].as_str()), (410, Some("gone")), "{body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("the oldest is {first}")), "{detail}");
    }
    let list = client.revisions(10).await.unwrap();
    assert_eq!((list.horizon, list.items.len()), (first, 2));
    let history = client.history("node", "n1", 10).await.unwrap();
    assert!(history.items.is_empty() && history.blame.is_empty());
}
