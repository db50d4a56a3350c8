//! Conditions and choices of single requests: tags, and fields.

use serde_json::{Value as Json, json};

use super::kit::{ask, call, exchange, fleet, see};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_already_is_not_sent_again() {
    let (fixture, _client) = fleet().await;
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into())]).await;
    for path in ["/v1/nodes/n1", "/v1/nodes/n1?view=cfg", "/v1/nodes/n1?fields=dsc"] {
        let line = format!("GET {path}");
        let first = exchange(&fixture, &line, &[], "").await;
        let tag = first.header("etag").to_owned();
        let weak = format!("\"0-1\", W/{tag}");
        for held in [tag.as_str(), weak.as_str(), "*"] {
            let again = exchange(&fixture, &line, &[("if-none-match", held)], "").await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {held}");
            assert_eq!(again.header("etag"), tag, "{path}");
            assert_eq!(again.header("kraken-revision"), first.header("kraken-revision"));
        }
        let other = exchange(&fixture, &line, &[("if-none-match", "\"1-1\"")], "").await;
        assert_eq!((other.status, other.header("etag")), (200, tag.as_str()), "{path}");
        let missing = exchange(&fixture, "GET /v1/nodes/n9", &[("if-none-match", "*")], "").await;
        assert_eq!(missing.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_tells_what_was_seen_too_and_guards_what_is_asked() {
    let (fixture, client) = fleet().await;
    let tag = async |view: &str| {
        let said = exchange(&fixture, &format!("GET /v1/nodes/n1?view={view}"), &[], "").await;
        said.header("etag").to_owned()
    };
    let (both, cfg) = (tag("both").await, tag("cfg").await);
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into())]).await;
    assert_ne!(tag("both").await, both, "what was seen has changed");
    assert_eq!(tag("cfg").await, cfg, "what is asked has not");
    // Either guards a write, which is about what is asked.
    let (mut slots, mut stale) = (0, Vec::new());
    for view in ["both", "cfg", "dsc", "merged"] {
        let held = tag(view).await;
        slots += 1;
        let patch = call("PATCH", "/v1/nodes/n1", &json!({ "slots": slots }));
        let (status, answer) = ask(&client, patch.header("if-match", held.clone())).await;
        assert_eq!(status, 200, "{view}: {answer}");
        stale.push(held);
    }
    for held in stale {
        let patch = call("PATCH", "/v1/nodes/n1", &json!({ "slots": 9 }));
        assert_eq!(ask(&client, patch.header("if-match", held)).await.0, 412);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_may_ask_that_nothing_be_there() {
    let (_fixture, client) = fleet().await;
    for (name, held, status, code) in [
        ("n8", "*", 201, ""),
        ("n8", "*", 412, "precondition_failed"),
        ("n8", "\"1-1\"", 400, "bad_header"),
    ] {
        let put = call("PUT", &format!("/v1/nodes/{name}"), &json!({ "cfg": { "slots": 1 } }));
        let (found, answer) = ask(&client, put.header("if-none-match", held)).await;
        let said = answer["code"].as_str().unwrap_or_default();
        assert_eq!((found, said), (status, code), "{name} {held}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_many_compare_cfg_as_a_whole() {
    let (fixture, client) = fleet().await;
    let list = async || {
        let said = exchange(&fixture, "GET /v1/nodes?view=cfg", &[], "").await;
        (said.header("etag").to_owned(), said.json()["revision"].as_u64().unwrap())
    };
    let (old, _) = list().await;
    let slots = |slots: u64| json!({ "slots": slots });
    let manifest = json!({ "kind": "node", "name": "n1", "cfg": slots(5) });
    let new = json!({ "name": "n7" });
    let merge = json!({ "op": "merge", "kind": "node", "name": "n1", "cfg": slots(6) });
    let txn = json!({ "ops": [merge] });
    let back = json!({ "to": list().await.1, "all": true });
    for (method, path, body, status) in [
        ("PATCH", "/v1/nodes?names=n[1-2]", slots(4), 200),
        ("POST", "/v1/apply", manifest, 200),
        ("POST", "/v1/nodes", new, 201),
        ("POST", "/v1/txn", txn, 200),
        ("POST", "/v1/rollback", back, 200),
    ] {
        let (tag, revision) = list().await;
        let asked = |path: &str| call(method, path, &body);
        if tag != old {
            let (found, answer) = ask(&client, asked(path).header("if-match", old.as_str())).await;
            assert_eq!((found, &answer["code"]), (412, &json!("base_moved")), "{path}: {answer}");
        }
        let separator = if path.contains('?') { '&' } else { '?' };
        let both = format!("{path}{separator}expect={}", revision + 1);
        let (found, answer) = ask(&client, asked(&both).header("if-match", tag.as_str())).await;
        assert_eq!((found, &answer["code"]), (400, &json!("bad_header")), "{path}: {answer}");
        let (found, answer) = ask(&client, asked(path).header("if-match", tag)).await;
        assert_eq!(found, status, "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_choose_what_is_shown_of_each_object() {
    let (fixture, client) = fleet().await;
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into())]).await;
    let path = "/v1/nodes?names=n1&fields=cfg/services/web/state,dsc,labels";
    let (status, list) = ask(&client, call("GET", path, &Json::Null)).await;
    assert_eq!(status, 200, "{list}");
    let mut node = list["items"][0].as_object().unwrap().clone();
    for member in ["kind", "name", "uid", "revision"] {
        assert!(node.remove(member).is_some(), "{member}");
    }
    let expected = json!({
        "cfg": { "services": { "web": { "state": "RUN" } } },
        "dsc": { "physState": "POWER_OFF" },
        "labels": { "rack": "r1" },
    });
    assert_eq!(Json::Object(node), expected);
    let (_, one) = ask(&client, call("GET", "/v1/nodes/n1?fields=labels", &Json::Null)).await;
    assert_eq!(one.as_object().unwrap().len(), 5, "{one}");
    let (_, merged) =
        ask(&client, call("GET", "/v1/nodes/n1?fields=state&view=merged", &Json::Null)).await;
    assert_eq!(merged["state"]["physState"], "POWER_OFF");
    let (status, past) =
        ask(&client, call("GET", "/v1/nodes?revision=3&fields=labels", &Json::Null)).await;
    assert_eq!(status, 200, "{past}");
    let (status, wrong) = ask(&client, call("GET", "/v1/nodes?fields=labls", &Json::Null)).await;
    assert_eq!((status, &wrong["code"]), (400, &json!("bad_query")));
}
