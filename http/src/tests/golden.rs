//! The bodies that clients are written against.

use kraken_engine::{
    mutation::Lane,
    status::{PhaseName, Status},
};
use serde_json::{Value as Json, json};

use super::kit::{FLEET, ask, call, fleet, member, raw, say, see, status, steady};

async fn get(client: &crate::client::Client, path: &str) -> String {
    let (status, body) = ask(client, call("GET", path, &Json::Null)).await;
    assert_eq!(status, 200, "{path}: {body}");
    steady(body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_and_explanations() {
    let (fixture, client) = fleet().await;
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into()), ("/link", "UP".into())]).await;
    see(&fixture, "n1", &[("/services/web/state", "STOP".into())]).await;
    let waiting = Status {
        step: Some("sim/PowerOn".to_owned()),
        waits_for: Some("whoever decides sim/PowerOn".to_owned()),
        ..status(PhaseName::Waiting, 3)
    };
    say(&fixture, "n1", Lane::Itself, &waiting).await;
    let failing = Status {
        step: Some("sim/PowerOn".to_owned()),
        attempts: 2,
        last_error: Some("the switch does not answer".to_owned()),
        next_retry: Some(kraken_engine::time::Millis::new(1_795_176_928_007)),
        ..status(PhaseName::BackingOff, 3)
    };
    say(&fixture, "n1", Lane::Quorum, &failing).await;
    insta::assert_snapshot!("node", get(&client, "/v1/nodes/n1").await);
    insta::assert_snapshot!("list", get(&client, "/v1/nodes?view=cfg&limit=3").await);
    insta::assert_snapshot!("merged", get(&client, "/v1/nodes/n1?view=merged").await);
    insta::assert_snapshot!("why", get(&client, "/v1/nodes/n1/why").await);
    insta::assert_snapshot!("plan", get(&client, "/v1/nodes/n1/plan").await);
    insta::assert_snapshot!("why_unheard_of", get(&client, "/v1/nodes/n4/why").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_and_who_votes() {
    let (_fixture, client) = member().await;
    insta::assert_snapshot!("modules", get(&client, "/v1/modules").await);
    insta::assert_snapshot!("cluster", get(&client, "/v1/cluster").await);
    insta::assert_snapshot!("graph", get(&client, "/v1/graph").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_write_would_do() {
    let (fixture, client) = fleet().await;
    see(&fixture, "n1", &[("/physState", "POWER_ON".into())]).await;
    see(&fixture, "n1", &[("/services/web/state", "STOP".into())]).await;
    let patch = json!({ "services": { "web": null, "db": { "state": "RUN" } }, "slots": 2 });
    let path = "/v1/nodes?names=n1&dryRun=plan";
    let (status, body) = ask(&client, call("PATCH", path, &patch)).await;
    assert_eq!(status, 200, "{body}");
    insta::assert_snapshot!("dry_run", steady(body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_of_a_state_file() {
    let (fixture, client) = member().await;
    let unknown = FLEET.replace("owner: n1", "onwer: n1");
    let invalid = FLEET.replace("  physState: POWER_ON", "  physState: poweron\n  slots: many");
    for (name, manifest) in [("unknown_key", unknown), ("invalid_value", invalid)] {
        let post = format!(
            "POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            manifest.len()
        );
        let answer = raw(&fixture, format!("{post}{manifest}").as_bytes()).await;
        assert!(answer.contains("content-type: application/problem+json"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        insta::assert_snapshot!(name, steady(serde_json::from_str(body).unwrap()));
    }
    let (_, body) = ask(&client, call("GET", "/v1/nodes", &Json::Null)).await;
    assert_eq!(body["items"], json!([]), "nothing was changed");
}
