//! Modules come and go at run time, and kinds with them.

use serde_json::{Value as Json, json};

use super::kit::{ask, call, member, see_object};
use crate::client::WriteQuery;

/// Racks, which are no nodes: a door, and a bay in each.
const RACKS: &str = "\
kind: module
name: racks
discovers: [/door]
kinds: [{ name: rack, namespaced: true }]
extensions:
  - name: racks
    kind: rack
    paths:
      - { path: /door, type: [SHUT, OPEN, JAMMED], absent: SHUT, seenBy: control }
mutations:
  - name: Open
    kind: rack
    context: control
    changes: { /door: { from: SHUT, to: OPEN } }
  - name: Shut
    kind: rack
    context: control
    changes: { /door: { from: [OPEN, JAMMED], to: SHUT } }
";
const RACK: &str = "kind: rack\nnamespace: lab\nname: r1\ncfg: { door: OPEN }\n";
const R1: &str = "/v1/namespaces/lab/objects/rack/r1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_of_ones_own_is_declared_used_and_withdrawn() {
    let (fixture, client) = member().await;
    let refused = client.apply(RACK, &WriteQuery::default()).await.unwrap_err();
    assert_eq!(refused.code(), Some("invalid"), "{refused}");
    // One file may declare a kind and objects of it.
    let both = format!("{RACKS}---\n{RACK}");
    assert_eq!(client.apply(both, &WriteQuery::default()).await.unwrap().changed, 1);
    let modules = client.get_modules().await.unwrap();
    let added = modules.items.iter().find(|module| module["name"] == "racks").unwrap();
    assert_eq!(added["added"], true);

    fixture.tell_objects().await;
    see_object(&fixture, ("rack", Some("lab"), "r1"), &[("/door", "SHUT".into())]).await;
    let (status, plan) = ask(&client, call("GET", &format!("{R1}/plan"), &Json::Null)).await;
    assert_eq!((status, &plan["steps"][0]["step"]), (200, &json!("racks/Open")), "{plan}");
    let graph = client.graph(Some("rack"), None, "svg").await.unwrap();
    assert!(graph.contains(">racks/Open</text>"), "{graph}");

    let (status, refused) = ask(&client, call("DELETE", "/v1/modules/racks", &Json::Null)).await;
    assert_eq!((status, &refused["code"]), (409, &json!("in_use")), "{refused}");
    assert_eq!(refused["faults"][0]["object"], "rack lab/r1");
    let (status, marked) = ask(&client, call("DELETE", R1, &Json::Null)).await;
    assert_eq!(status, 202, "{marked}");
    let (_, shown) = ask(&client, call("GET", R1, &Json::Null)).await;
    assert_eq!(shown["deleting"], true, "its door has to be shut first");
    ask(&client, call("DELETE", &format!("{R1}?force=true"), &Json::Null)).await;
    client.withdraw_module("racks", false).await.unwrap();
    let refused = client.graph(Some("rack"), None, "json").await;
    assert_eq!(refused.unwrap_err().code(), Some("no_such_thing"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_declares_is_planned_and_expects_as_everything_else_does() {
    let (_fixture, client) = member().await;
    let both = format!("{RACKS}---\n{RACK}");
    let planned = client.plan(both.clone()).await.unwrap().whole().await.unwrap();
    let objects: Vec<&str> = planned.objects.iter().map(|object| object.object.as_str()).collect();
    assert_eq!(objects, ["rack/lab/r1"]);
    let modules = client.get_modules().await.unwrap();
    assert!(modules.items.iter().all(|module| module["name"] != "racks"), "nothing is done");

    let expecting = |revision| WriteQuery { expect: Some(revision), ..WriteQuery::default() };
    let moved = client.apply(both.clone(), &expecting(planned.revision - 1)).await.unwrap_err();
    assert_eq!(moved.code(), Some("base_moved"), "{moved}");
    let modules = client.get_modules().await.unwrap();
    assert!(modules.items.iter().all(|module| module["name"] != "racks"), "all or nothing");
    let written = client.apply(both, &expecting(planned.revision)).await.unwrap();
    assert_eq!(written.changed, 1);
    let wrong = format!("{}---\n{RACK}", RACKS.replace("to: OPEN", "to: AJAR"));
    assert_eq!(client.plan(wrong).await.map(drop).unwrap_err().code(), Some("invalid"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_in_namespaces_are_named_with_them() {
    let (fixture, client) = member().await;
    let both = format!("{RACKS}---\n{RACK}");
    client.apply(both, &WriteQuery::default()).await.unwrap();
    fixture.tell_objects().await;
    see_object(&fixture, ("rack", Some("lab"), "r1"), &[("/door", "SHUT".into())]).await;
    assert_eq!(client.plan_of("rack", "lab/r1").await.unwrap().object, "rack/lab/r1");
    assert_eq!(client.why("rack", "lab/r1").await.unwrap().object, "rack/lab/r1");
    let graph = client.graph(Some("rack"), Some("lab/r1"), "dot").await.unwrap();
    assert!(graph.contains("racks/Open"), "{graph}");
    let shut = json!({ "door": "SHUT" });
    let written = client.patch("rack", "lab/r1", &shut, &WriteQuery::default()).await.unwrap();
    assert_eq!(written.changed, 1);
    for missing in ["r1", "other/r1"] {
        assert_eq!(client.why("rack", missing).await.unwrap_err().code(), Some("no_such_object"));
        let graph = client.graph(Some("rack"), Some(missing), "dot").await;
        assert_eq!(graph.unwrap_err().code(), Some("no_such_object"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_is_read_as_its_path_is_declared() {
    let (_fixture, client) = member().await;
    client.apply("kind: node\nname: a\n", &WriteQuery::default()).await.unwrap();
    let texts = RACKS.replace(
        "kind: rack\n    paths:",
        "kind: rack\n    paths:\n      \
        - { path: /label, type: text, seenBy: nobody }\n      \
        - { path: /bays, type: count, seenBy: nobody }",
    );
    client.apply(format!("{texts}---\n{RACK}"), &WriteQuery::default()).await.unwrap();
    let how = WriteQuery { typed: true, ..WriteQuery::default() };
    let patch = json!({ "label": "1", "bays": "4" });
    client.patch("rack", "lab/r1", &patch, &how).await.unwrap();
    let (_, shown) = ask(&client, call("GET", R1, &Json::Null)).await;
    assert_eq!((&shown["cfg"]["label"], &shown["cfg"]["bays"]), (&json!("1"), &json!(4)));
    let refused = client.patch("rack", "lab/r1", &json!({ "bays": "many" }), &how).await;
    assert_eq!(refused.unwrap_err().code(), Some("invalid"));
    let nodes = crate::client::TargetsQuery::Names("a".to_owned());
    client.patch_nodes(&nodes, &json!({ "slots": "4" }), &how).await.unwrap();
    let (_, shown) = ask(&client, call("GET", "/v1/nodes/a", &Json::Null)).await;
    assert_eq!(shown["cfg"]["slots"], json!(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declarations_are_refused_with_the_line_at_fault() {
    let (_fixture, client) = member().await;
    let trap = RACKS.replace("from: [OPEN, JAMMED]", "from: OPEN").replace(
        "    changes: { /door: { from: SHUT",
        "    failTo: { /door: JAMMED }\n    changes: { /door: { from: SHUT",
    );
    let checked = client.check(trap.clone()).await.unwrap();
    assert_eq!(checked.findings[0].line, Some(14), "{checked:?}");
    for path in ["/v1/modules", "/v1/apply"] {
        let request = crate::client::Call::new(hyper::Method::POST, path);
        let (status, body) = ask(&client, request.body("application/yaml", trap.clone())).await;
        assert_eq!((status, &body["code"]), (422, &json!("invalid")), "{path}: {body}");
        let fault = &body["faults"][0];
        assert_eq!((&fault["line"], &fault["object"]), (&json!(14), &json!("module racks")));
        assert!(fault["why"].as_str().unwrap().starts_with("fail_to_kept: "), "{fault}");
    }
    assert!(client.check("").await.unwrap().findings.iter().all(|f| f.module != "racks"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_release_brings_is_not_replaced() {
    let (_fixture, client) = member().await;
    let theirs = RACKS.replace("name: racks\ndisc", "name: sim\ndisc");
    let request = client.add_modules(theirs).await.unwrap_err();
    assert!(matches!(request.code(), Some("built_in" | "invalid")), "{request}");
    let refused = client.withdraw_module("sim", false).await.unwrap_err();
    assert_eq!(refused.code(), Some("built_in"));
    assert_eq!(client.withdraw_module("x", false).await.unwrap_err().code(), Some("no_such_thing"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_are_said_with_what_their_deletion_means() {
    let (_fixture, client) = member().await;
    let owned = "kind: node\nname: a\n---\nkind: node\nname: b\nowner: a\nonDelete: cascade\n";
    client.apply(owned, &WriteQuery::default()).await.unwrap();
    let (_, shown) = ask(&client, call("GET", "/v1/nodes/b", &Json::Null)).await;
    assert_eq!((&shown["owner"], &shown["onDelete"]), (&json!("node/a"), &json!("cascade")));
    let (status, again) = ask(&client, call("PUT", "/v1/nodes/b", &shown)).await;
    assert_eq!(status, 200, "what was read may be put back: {again}");
    ask(&client, call("DELETE", "/v1/nodes/a", &Json::Null)).await;
    let (status, _) = ask(&client, call("GET", "/v1/nodes/b", &Json::Null)).await;
    assert_eq!(status, 404);
    let orphan = "kind: node\nname: c\nonDelete: cascade\n";
    let refused = client.apply(orphan, &WriteQuery::default()).await.unwrap_err();
    assert_eq!(refused.code(), Some("bad_body"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_apply_with_declarations_is_done_once() {
    let (fixture, client) = member().await;
    let apply = || {
        let door = json!({ "path": "/door", "type": ["SHUT", "OPEN"], "absent": "SHUT" });
        let open = json!({ "/door": { "from": "SHUT", "to": "OPEN" } });
        let shut = json!({ "/door": { "from": "OPEN", "to": "SHUT" } });
        let body = json!([
            {
                "kind": "module", "name": "racks", "discovers": ["/door"],
                "extensions": [{ "name": "racks", "kind": "node", "paths": [door] }],
                "mutations": [
                    { "name": "Open", "changes": open }, { "name": "Shut", "changes": shut },
                ],
            },
            { "kind": "node", "name": "n1", "cfg": { "door": "OPEN" } },
        ]);
        call("POST", "/v1/apply", &body).header("kraken-request-id", "i".repeat(64))
    };
    let (status, first) = ask(&client, apply()).await;
    assert_eq!(status, 200, "{first}");
    let (status, _) = ask(&client, call("PATCH", "/v1/nodes/n1", &json!({ "door": "SHUT" }))).await;
    assert_eq!(status, 200);
    assert_eq!(ask(&client, apply()).await, (200, first));
    let door = fixture.quorum.look(|store| {
        let found = store.objects().find(|object| object.key.name.as_str() == "n1");
        found.and_then(|n1| n1.cfg.get("/door").cloned())
    });
    assert_eq!(door, Some("SHUT".into()), "what was written since stands");
}
