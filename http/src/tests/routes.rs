//! Every route's happy path.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::kit::{FLEET, ask, call, fleet, member, see, uid};
use crate::{
    client::{Call, Client, EventsQuery, ListQuery, TargetsQuery, WriteQuery},
    testing::{BACKUP, Fixture},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_choose_by_selector_names_and_page() {
    let (_fixture, client) = fleet().await;
    for (query, expected) in [
        ("", "n1 n2 n3 n4"),
        ("?selector=rack%3Dr1", "n1 n2"),
        ("?selector=rack!%3Dr1", "n3 n4"),
        ("?names=n[4,2,9]", "n2 n4"),
        ("?names=@rack%3Dr2", "n3 n4"),
        ("?limit=3", "n1 n2 n3 +node/n3"),
        ("?limit=3&continue=node/n3", "n4"),
        ("?limit=4", "n1 n2 n3 n4"),
        ("?consistency=stale&view=dsc", "n1 n2 n3 n4"),
    ] {
        let (status, body) =
            ask(&client, Call::new(Method::GET, format!("/v1/nodes{query}"))).await;
        assert_eq!(status, 200, "{query}: {body}");
        let items = body["items"].as_array().unwrap().iter();
        let mut found: Vec<String> =
            items.map(|n| n["name"].as_str().unwrap().to_owned()).collect();
        found.extend(body["continue"].as_str().map(|next| format!("+{next}")));
        assert_eq!(found.join(" "), expected, "{query}");
    }
    let paged = ListQuery { limit: Some(1), ..ListQuery::default() };
    assert_eq!(client.get_nodes(&paged).await.unwrap().items.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_show_what_they_say() {
    let (fixture, client) = fleet().await;
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into())]).await;
    for (view, cfg, dsc, state) in [
        ("both", json!("POWER_ON"), json!("POWER_OFF"), Json::Null),
        ("cfg", json!("POWER_ON"), Json::Null, Json::Null),
        ("dsc", Json::Null, json!("POWER_OFF"), Json::Null),
        ("merged", Json::Null, Json::Null, json!("POWER_OFF")),
    ] {
        let path = format!("/v1/nodes/n1?view={view}");
        let (_, body) = ask(&client, Call::new(Method::GET, path)).await;
        let at = |state: &str| body[state]["physState"].clone();
        assert_eq!((at("cfg"), at("dsc"), at("state")), (cfg, dsc, state), "{view}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_created_replaced_patched_and_deleted() {
    let (fixture, client) = member().await;
    let on = json!({ "physState": "POWER_ON" });
    let steps = [
        ("POST", "/v1/nodes", json!({ "name": "n1", "cfg": on }), 201),
        ("GET", "/v1/nodes/n1", Json::Null, 200),
        ("PATCH", "/v1/nodes/n1", json!({ "slots": 3 }), 200),
        ("PUT", "/v1/nodes/n1", json!({ "labels": { "a": "b" }, "cfg": { "slots": 4 } }), 200),
        ("PUT", "/v1/nodes/n2", json!({ "cfg": on }), 201),
        ("GET", "/v1/objects/node/n2", Json::Null, 200),
        ("DELETE", "/v1/nodes/n2", Json::Null, 202),
        ("DELETE", "/v1/nodes/n2?force=true", Json::Null, 200),
        ("GET", "/v1/nodes/n2", Json::Null, 404),
    ];
    for (method, path, body, expected) in steps {
        let (status, answer) = ask(&client, call(method, path, &body)).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
    let node = client.get("node", "n1").await.unwrap();
    assert_eq!(node.cfg, Some(json!({ "slots": 4 })));
    assert_eq!(node.labels["a"], "b");
    let by_uid = client.get("node", &uid(&fixture, "n1").to_string()).await.unwrap();
    assert_eq!(by_uid.name, "n1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_by_name_asks_the_quorum_for_nothing_else() {
    let (fixture, client) = member().await;
    let (on, off) = ("POWER_ON", "POWER_OFF");
    for (cfg, expected) in [(on, 201), (off, 200), (off, 200)] {
        let body = json!({ "cfg": { "physState": cfg } });
        let (status, answer) = ask(&client, call("PUT", "/v1/nodes/n1", &body)).await;
        assert_eq!(status, expected, "{cfg}: {answer}");
    }
    assert_eq!(fixture.quorum.asked(), 0);
    // Which object has a uid, the quorum has to say.
    let path = format!("/v1/nodes/{}", uid(&fixture, "n1"));
    let body = json!({ "cfg": { "physState": on } });
    let (status, answer) = ask(&client, call("PUT", &path, &body)).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(1)), "{answer}");
    assert_eq!(fixture.quorum.asked(), 1);
    assert_eq!(client.get("node", "n1").await.unwrap().cfg, Some(json!({ "physState": on })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_get_answered_may_be_put_back() {
    let (fixture, client) = fleet().await;
    see(&fixture, "n3", &[("/physState", "POWER_ON".into())]).await;
    let (_, before) = ask(&client, call("GET", "/v1/nodes/n3", &Json::Null)).await;
    assert_eq!(before["owner"], "node/n1");
    let (status, answer) = ask(&client, call("PUT", "/v1/nodes/n3", &before)).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(0)), "{answer}");
    let (status, answer) = ask(&client, call("POST", "/v1/apply", &before)).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(0)), "{answer}");
    let (_, list) = ask(&client, call("GET", "/v1/nodes", &Json::Null)).await;
    let (status, answer) = ask(&client, call("POST", "/v1/apply", &list)).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(0)), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_patched_in_one_write() {
    let (_fixture, client) = fleet().await;
    let patch = json!({ "services": { "web": { "state": "STOP" } } });
    for (targets, changed) in [
        (TargetsQuery::Selector("rack=r1".to_owned()), 2),
        (TargetsQuery::Names("n[3-4]".to_owned()), 2),
        (TargetsQuery::Selector("rack=r1".to_owned()), 0),
    ] {
        let how = WriteQuery { note: Some("why not".to_owned()), ..WriteQuery::default() };
        let written = client.patch_nodes(&targets, &patch, &how).await.unwrap();
        assert_eq!(written.changed, changed, "{targets:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_all_or_nothing() {
    let (_fixture, client) = fleet().await;
    let txn = json!({
        "preconditions": [
            { "kind": "node", "name": "n1", "is": "exists" },
            { "kind": "node", "name": "n9", "is": "absent" },
            { "kind": "node", "name": "n1", "path": "/physState", "value": "POWER_ON" },
            { "kind": "node", "name": "n1", "path": "slots", "is": "absent" },
            { "kind": "node", "name": "n1", "path": "physState", "is": "exists" },
        ],
        "ops": [
            { "op": "put", "kind": "node", "name": "n9", "cfg": { "slots": 1 }, "owner": "n1" },
            { "op": "merge", "kind": "node", "selector": "rack=r2", "cfg": { "slots": 2 } },
            { "op": "unset", "kind": "node", "name": "n1", "path": "/services/web" },
            { "op": "label", "kind": "node", "name": "n1", "labels": { "rack": null, "x": "y" } },
            { "op": "delete", "kind": "node", "name": "n2", "force": true },
        ],
        "note": "all of it",
    });
    let written = client.txn(&txn).await.unwrap();
    assert_eq!(written.changed, 5);
    let n1 = client.get("node", "n1").await.unwrap();
    assert_eq!(n1.cfg, Some(json!({ "physState": "POWER_ON" })));
    assert_eq!(n1.labels.keys().collect::<Vec<_>>(), ["x"]);
    assert_eq!(client.get("node", "n9").await.unwrap().owner.as_deref(), Some("node/n1"));
    let error = client.txn(&txn).await.unwrap_err();
    assert_eq!(error.code(), Some("exists"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_expects_a_revision_fails_closed() {
    let (_fixture, client) = member().await;
    let plan = client.plan(FLEET).await.unwrap().whole().await.unwrap();
    assert_eq!(plan.objects.len(), 4);
    let expecting = WriteQuery { expect: Some(plan.revision), ..WriteQuery::default() };
    client.apply("kind: node\nname: other\n", &WriteQuery::default()).await.unwrap();
    let error = client.apply(FLEET, &expecting).await.unwrap_err();
    assert_eq!(error.code(), Some("base_moved"));
    let plan = client.plan(FLEET).await.unwrap().whole().await.unwrap();
    let expecting = WriteQuery { expect: Some(plan.revision), ..WriteQuery::default() };
    assert_eq!(client.apply(FLEET, &expecting).await.unwrap().changed, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_guard_writes() {
    let (_fixture, client) = fleet().await;
    let answer = client.raw_get("/v1/nodes/n1").await.unwrap();
    let how = WriteQuery { if_match: answer.tag, ..WriteQuery::default() };
    client.patch("node", "n1", &json!({ "slots": 1 }), &how).await.unwrap();
    let error = client.patch("node", "n1", &json!({ "slots": 2 }), &how).await.unwrap_err();
    assert_eq!(error.code(), Some("precondition_failed"));
    let any = WriteQuery { if_match: Some("*".to_owned()), ..WriteQuery::default() };
    let missing = client.put("node", "n9", &json!({}), &any).await.unwrap_err();
    assert_eq!(missing.code(), Some("precondition_failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_reach_their_targets() {
    let (_fixture, client) = fleet().await;
    let rack = TargetsQuery::Selector("rack=r1".to_owned());
    assert_eq!(client.freeze(&rack).await.unwrap().changed, 2);
    let freezes = client.get_freezes().await.unwrap().items;
    let selectors: Vec<_> = freezes.iter().map(|of| of.selector.as_deref()).collect();
    assert_eq!(selectors, [Some("rack=r1")]);
    assert!(freezes.iter().all(|of| !of.all && of.names.is_none() && of.by == "anonymous"));
    let frozen = client.get("node", "n1").await.unwrap().frozen.unwrap();
    assert_eq!((frozen.by.as_str(), frozen.scope.as_str()), ("anonymous", "rack=r1"));
    assert_eq!(client.thaw(&rack).await.unwrap().changed, 2);
    assert_eq!(client.get("node", "n1").await.unwrap().frozen, None);
    assert_eq!(client.retry(&TargetsQuery::Names("n[1-3]".to_owned())).await.unwrap().changed, 3);
    assert_eq!(client.retry(&TargetsQuery::All).await.unwrap().changed, 4);
    let (status, body) = ask(&client, call("POST", "/v1/nodes/n1/retry", &Json::Null)).await;
    assert_eq!((status, &body["changed"]), (200, &json!(1)), "{body}");
    let list = json!({ "names": ["n1", "n[2-3]"] });
    let (status, body) = ask(&client, call("POST", "/v1/freeze", &list)).await;
    assert_eq!((status, &body["changed"]), (200, &json!(3)), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_answers() {
    let (fixture, client) = fleet().await;
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into()), ("/link", "UP".into())]).await;
    for (path, expected) in [
        ("/healthz", "alive"),
        ("/readyz", "ready"),
        ("/metrics", "kraken_nodes_attached 1"),
        ("/metrics", "kraken_raft_is_leader 1"),
        ("/metrics", "kraken_http_requests_total{route=\"healthz\",status=\"200\"}"),
        ("/v1/graph?format=dot", "digraph mutations"),
        ("/v1/graph?format=mermaid&kind=node", "flowchart"),
        ("/v1/graph?node=n1", "sim/PowerOn"),
        ("/v1/modules/sim", "PowerOn"),
        ("/v1/debug", "state"),
        ("/v1/debug/state", "objects"),
        ("/v1/events", "items"),
        ("/v1/nodes/n1/events", "items"),
    ] {
        let answer = client.raw_get(path).await.unwrap();
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(body.contains(expected), "{path}: {body}");
    }
    let head = ask(&client, Call::new(Method::HEAD, "/v1/nodes/n1")).await;
    assert_eq!(head, (200, json!("")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_every_object_of_a_fleet_of_several_pages() {
    let (fixture, client) = fleet().await;
    let more = "kind: node\nname: w[1-9000]\n";
    client.apply(more, &WriteQuery::default()).await.unwrap();
    fixture.tell_objects().await;
    see(&fixture, "w9000", &[("/link", "UP".into())]).await;
    let answer = client.raw_get("/metrics").await.unwrap();
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    let all = fixture.quorum.look(|store| store.objects().count());
    for expected in [
        format!("kraken_objects {all}\n"),
        "kraken_nodes_attached 1\n".to_owned(),
        format!("kraken_objects_in_phase{{phase=\"None\"}} {all}\n"),
    ] {
        assert!(body.contains(&expected), "{expected}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_filtered_and_go_on_after_a_cursor() {
    use kraken_engine::event::{EventKind, Happening};
    let (fixture, client) = fleet().await;
    for (name, kind) in [
        ("n1", EventKind::AttemptStarted),
        ("n2", EventKind::Converged),
        ("n1", EventKind::Converged),
    ] {
        let (uid, text) = (Some(uid(&fixture, name)), format!("{name} {}", kind.as_str()));
        let happening = Happening { kind, uid, revision: None, attempt: None, text };
        fixture.state.record(happening).await;
    }
    let texts = async |wanted: EventsQuery| {
        let list = client.get_events(&wanted).await.unwrap();
        list.items.into_iter().map(|event| event.text).collect::<Vec<_>>()
    };
    let all = client.get_events(&EventsQuery::default()).await.unwrap();
    assert_eq!(all.items.len(), 3);
    assert_eq!(all.items[0].object.as_deref(), Some("node/n1"));
    let of = |object: &str| EventsQuery { object: Some(object.to_owned()), ..<_>::default() };
    assert_eq!(texts(of("n2")).await, ["n2 converged"]);
    assert_eq!(texts(of("node/n1")).await, ["n1 attemptStarted", "n1 converged"]);
    let kind = Some(EventKind::Converged);
    let newest = EventsQuery { kind, limit: Some(1), ..<_>::default() };
    assert_eq!(texts(newest).await, ["n1 converged"]);
    let refused = client.raw_get("/v1/events?kind=convergd").await.unwrap_err().to_string();
    assert!(refused.contains("no event is a \"convergd\"; they are attemptStarted,"), "{refused}");
    let after = Some(all.items[0].cursor.clone());
    let rest = EventsQuery { after, ..<_>::default() };
    assert_eq!(texts(rest).await, ["n2 converged", "n1 converged"]);
    let elsewhere = Some(all.items[2].cursor.replace("m1~", "m2~"));
    let overlapping = EventsQuery { after: elsewhere, ..<_>::default() };
    assert_eq!(texts(overlapping).await.len(), 3, "another server's cursor is a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_founded_once() {
    let fixture = crate::testing::Fixture::start_with(<_>::default()).await.unwrap();
    let client = crate::client::Client::new(&[fixture.url()]).unwrap();
    let (status, body) = ask(&client, call("GET", "/readyz", &Json::Null)).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")), "{body}");
    assert_eq!(client.cluster().await.unwrap().role, "UNINITIALISED");
    assert_eq!(client.cluster_init().await.unwrap(), 1);
    let error = client.cluster_init().await.unwrap_err();
    assert_eq!(error.code(), Some("cluster_refused"));
    let cluster = client.cluster().await.unwrap();
    assert_eq!((cluster.leader, cluster.leader_name.as_deref()), (Some(1), Some("m1")));
    let (status, body) = ask(&client, call("GET", "/readyz", &Json::Null)).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")), "nothing is declared yet");
    fixture.declare(super::kit::manifests()).await;
    assert_eq!(client.ready().await.unwrap().leader, 1);
    client.cluster_leader("m1").await.unwrap();
    let error = client.cluster_remove("1").await.unwrap_err();
    assert_eq!(error.code(), Some("cluster_refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_out_and_begins_a_cluster_elsewhere() {
    let (_fixture, client) = fleet().await;
    let mut backup = client.cluster_save(false).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes, BACKUP.concat());
    let error = client.cluster_restore(pieces(&bytes)).await.unwrap_err();
    assert_eq!(error.code(), Some("cluster_refused"), "it is a member already");

    let fixture = Fixture::start_with(<_>::default()).await.unwrap();
    let client = Client::new(&[fixture.url()]).unwrap();
    let error = client.cluster_restore(pieces(&bytes[1..])).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.status, problem.code.as_ref()), (422, "bad_backup"));
    let restored = client.cluster_restore(pieces(&bytes)).await.unwrap();
    assert_eq!((restored.member, restored.epoch), (1, 1));
}

fn pieces(bytes: &[u8]) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(bytes.len());
    for piece in bytes.chunks(3) {
        sender.try_send(Bytes::copy_from_slice(piece)).unwrap();
    }
    receiver
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_of_another_epoch_are_refused_where_they_are_given() {
    let (_fixture, client) = fleet().await;
    let read = client.raw_get("/v1/nodes/n1").await.unwrap();
    let (tag, revision) = (read.tag.unwrap(), read.revision.unwrap());
    assert!(tag.starts_with("\"1-"), "{tag}");
    let of_another = tag.replace("\"1-", "\"2-");
    for (tag, status) in [(of_another, 412), (tag, 200)] {
        let patch = call("PATCH", "/v1/nodes/n1", &json!({ "slots": 3 })).header("if-match", tag);
        assert_eq!(ask(&client, patch).await.0, status);
    }
    let path = format!("/v1/watch?from={revision}&epoch=2");
    let (status, body) = ask(&client, Call::new(Method::GET, path)).await;
    assert_eq!((status, &body["code"]), (410, &json!("gone")));
}
