//! Every route's happy path.

use hyper::Method;
use serde_json::json;

use super::kit::{ask, member};
use crate::client::{Call, ListQuery, WriteQuery};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_is_listed() {
    let (fixture, client) = member().await;
    let manifest = "kind: node\nname: n[1-3]\nlabels: {rack: r1}\ncfg:\n  physState: POWER_ON\n";
    let written = client.apply(manifest, &WriteQuery::default()).await.unwrap();
    assert_eq!(written.changed, 3);
    fixture.tell_objects().await;
    let list = client.get_nodes(&ListQuery::default()).await.unwrap();
    let names: Vec<&str> = list.items.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    assert_eq!(list.items[0].cfg, Some(json!({ "physState": "POWER_ON" })));
    let (status, body) = ask(&client, Call::new(Method::GET, "/v1/nodes/n9")).await;
    assert_eq!((status, &body["code"]), (404, &json!("no_such_object")));
}
