//! The JSON Schema of manifests: it takes what the edge takes, and refuses what it would refuse.

use boon::{Compiler, Schemas};
use serde_json::{Value as Json, json};

use super::kit::{FLEET, ask, call, exchange, fleet};
use crate::client::{Client, WriteQuery};

const AT: &str = "http://localhost/v1/schema";

/// Racks, which are no nodes and live in namespaces.
const RACKS: &str = "\
kind: module
name: racks
discovers: [/door]
kinds: [{ name: rack, namespaced: true }]
extensions:
  - name: racks
    kind: rack
    paths:
      - { path: /door, type: [SHUT, OPEN], absent: SHUT, seenBy: control, doc: The door. }
      - { path: /fans, type: share, seenBy: nobody }
      - { path: /load, type: float, seenBy: nobody, unit: kW }
      - { path: /locked, type: bool, seenBy: nobody }
      - { path: /slots/*/of, type: text, seenBy: nobody }
      - { path: /bays, type: { int: { min: 1, max: 4 } }, seenBy: nobody }
mutations:
  - { name: Open, kind: rack, context: control, changes: { /door: { from: SHUT, to: OPEN } } }
  - { name: Shut, kind: rack, context: control, changes: { /door: { from: OPEN, to: SHUT } } }
";

async fn schema(client: &Client) -> Json {
    let (status, schema) = ask(client, call("GET", "/v1/schema", &Json::Null)).await;
    assert_eq!(status, 200, "{schema}");
    schema
}

fn takes(schema: &Json, manifest: &Json) -> Result<(), String> {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.add_resource(AT, schema.clone()).unwrap();
    let compiled = compiler.compile(AT, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    schemas.validate(manifest, compiled).map_err(|error| format!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_of_manifests_takes_what_is_taken_and_refuses_what_is_refused() {
    let (_fixture, client) = fleet().await;
    client.add_modules(RACKS).await.unwrap();
    let schema = schema(&client).await;
    let rack = |cfg: Json| json!({ "kind": "rack", "namespace": "lab", "name": "r1", "cfg": cfg });
    let node = |cfg: Json| json!({ "kind": "node", "name": "n7", "cfg": cfg });
    for (manifest, is_taken) in [
        (node(json!({ "physState": "POWER_ON", "slots": 3 })), true),
        (node(json!({ "services": { "web": { "state": "RUN", "args": ["-p", "80"] } } })), true),
        (node(json!({ "services": { "web": { "state": "RUNS" } } })), false),
        (node(json!({ "services": { "web": { "stat": "RUN" } } })), false),
        (node(json!({ "physState": "ON" })), false),
        (node(json!({ "temperature": 20 })), false),
        (node(json!({ "slots": -1 })), false),
        (json!({ "kind": "node", "name": "n[7-8]", "labels": { "rack": 1 } }), true),
        (json!({ "kind": "node", "name": "n7", "owner": "n1", "onDelete": "cascade" }), true),
        (json!({ "kind": "node", "name": "n7", "owner": "n1", "onDelete": "keep" }), false),
        (json!({ "kind": "node", "nam": "n7" }), false),
        (json!({ "kind": "boat", "name": "b1" }), false),
        (json!({ "name": "n7" }), false),
        (rack(json!({ "door": "OPEN", "fans": "50%", "load": 2, "locked": true })), true),
        (rack(json!({ "fans": 2, "load": 0.5, "slots": { "3": { "of": "n7" } } })), true),
        (rack(json!({ "fans": "half" })), false),
        (rack(json!({ "locked": "yes" })), false),
        (rack(json!({ "bays": 5 })), false),
        (rack(json!({ "slots": { "3": { "off": "n7" } } })), false),
        (json!({ "kind": "rack", "name": "r1" }), false),
    ] {
        let found = takes(&schema, &manifest);
        assert_eq!(found.is_ok(), is_taken, "{manifest}: {found:?}");
        let applied = client.apply(manifest.to_string(), &WriteQuery::default()).await;
        assert_eq!(applied.is_ok(), is_taken, "{manifest}: {applied:?}");
    }
    let door = &schema["$defs"]["rack"]["properties"]["door"];
    assert_eq!(door["enum"], json!(["SHUT", "OPEN"]));
    assert_eq!(door["description"], "The door. Declared by module racks.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_and_what_declares_is_taken_by_the_schema_too() {
    let (fixture, client) = fleet().await;
    let schema = schema(&client).await;
    let (_, read) = ask(&client, call("GET", "/v1/nodes/n3", &Json::Null)).await;
    for manifest in [read, serde_saphyr::from_str(RACKS).unwrap()] {
        takes(&schema, &manifest).unwrap_or_else(|why| panic!("{manifest}: {why}"));
    }
    let first = FLEET.split("---").next().unwrap();
    takes(&schema, &serde_saphyr::from_str(first).unwrap()).unwrap();
    let said = exchange(&fixture, "GET /v1/schema", &[("accept", "application/json")], "").await;
    assert_eq!((said.status, said.media_type()), (200, "application/json"));
    assert_eq!(said.json(), schema);
}
