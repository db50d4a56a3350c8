//! The old surface as its clients use it: every shape, what is merged and kept, what is refused,
//! and the WebSocket over a real socket.

mod socket;

use kraken_engine::{
    event::{EventKind, Happening},
    id::Revision,
    mutation::Lane,
    status::PhaseName,
};
use serde_json::{Value as Json, json};

use super::kit::{raw, say, see, status, uid};
use crate::{old::tests::manifests, server::Limits, testing::Fixture};

const N1: &str = "123e4567-e89b-12d3-a456-426655440001";
const N2: &str = "123e4567-e89b-12d3-a456-426655440002";
const NOBODY: &str = "123e4567-e89b-12d3-a456-426655440099";

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    fn revision(&self) -> u64 {
        let mut lines = self.head.lines();
        let line = lines.find_map(|line| line.strip_prefix("kraken-revision: "));
        line.unwrap_or_else(|| panic!("{self:?}")).parse().unwrap()
    }
}

async fn member_with(limits: Limits) -> Fixture {
    let fixture = Fixture::start_with(limits).await.unwrap();
    fixture.quorum.found();
    fixture.declare(manifests()).await;
    fixture
}

async fn send(fixture: &Fixture, method: &str, path: &str, body: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\norigin: http://elsewhere\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(fixture, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

async fn get(fixture: &Fixture, path: &str) -> Answer {
    send(fixture, "GET", path, "").await
}

async fn put(fixture: &Fixture, path: &str, body: &Json) -> Answer {
    send(fixture, "PUT", path, &body.to_string()).await
}

async fn post(fixture: &Fixture, path: &str, body: &Json) -> Answer {
    send(fixture, "POST", path, &body.to_string()).await
}

/// A node of which everything is said, in the ways in which it may be said.
fn full() -> Json {
    json!({
        "id": N1,
        "nodename": "n1",
        "run_state": 2,
        "physState": "POWER_ON",
        "arch": "aarch64",
        "platform": "test",
        "parent_id": N2,
        "busy": 1,
        "services": [{
            "id": "rest",
            "module": "type.googleapis.com/proto.RestAPI",
            "state": "RUN",
            "config": { "@type": "type.googleapis.com/proto.RestConfig", "port": 3141 },
            "error_msg": "none",
        }],
        "extensions": [
            {
                "@type": "type.googleapis.com/IPv4.IPv4OverEthernet",
                "ifaces": { "kraken": {
                    "eth": {
                        "iface": "lo", "mac": "aa:bb:cc:00:11:22", "mtu": 65536, "control": true,
                    },
                    "ip": { "ip": "127.0.0.1", "subnet": "255.0.0.0" },
                } },
                "routes": [],
                "dns_nameservers": [{ "hostname": "ns" }],
                "dnsDomains": ["example"],
                "hostname": { "hostname": "n1", "domainname": "" },
            },
            { "@type": "type.googleapis.com/proto.Strange", "is_kept": [1, { "as": null }] },
        ],
    })
}

fn pair() -> Json {
    json!({ "nodes": [full(), { "id": N2, "nodename": "n2", "physState": "POWER_OFF" }] })
}

/// A member with two nodes of the old surface.
async fn fleet() -> Fixture {
    let fixture = member_with(Limits::default()).await;
    let made = post(&fixture, "/cfg/nodes", &pair()).await;
    assert_eq!(made.status, 200, "{made:?}");
    fixture.tell_objects().await;
    fixture
}

fn pretty(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    serde_json::to_string_pretty(&answer.json()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_has_its_shape() {
    let fixture = fleet().await;
    insta::assert_snapshot!("cfg_node", pretty(&get(&fixture, &format!("/cfg/node/{N1}")).await));
    insta::assert_snapshot!("cfg_nodes", pretty(&get(&fixture, "/cfg/nodes").await));
    let put_one = put(&fixture, &format!("/cfg/node/{N2}"), &json!({ "physState": 2 })).await;
    insta::assert_snapshot!("cfg_put", pretty(&put_one));
    let deleted = send(&fixture, "DELETE", &format!("/cfg/node/{N2}"), "").await;
    assert_eq!(deleted.json(), put_one.json(), "a removal answers with the node as it was");
    let empty = member_with(Limits::default()).await;
    assert_eq!(get(&empty, "/cfg/nodes").await.body, "{}");
    assert_eq!(get(&empty, "/dsc/nodes").await.body, "{}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seen_has_its_shape() {
    let fixture = fleet().await;
    see(&fixture, "n1", &[("/physState", "POWER_ON".into()), ("/runState", "INIT".into())]).await;
    see(&fixture, "n1", &[("/arch", "x86_64".into()), ("/busy", "FREE".into())]).await;
    see(&fixture, "n1", &[("/modules/sim/state", "RUN".into())]).await;
    see(&fixture, "n1", &[("/modules/bad/state", "ERROR".into())]).await;
    see(&fixture, "n1", &[("/modules/bad/error", "no such file".into())]).await;
    insta::assert_snapshot!("dsc_node", pretty(&get(&fixture, &format!("/dsc/node/{N1}")).await));
    insta::assert_snapshot!("dsc_nodes", pretty(&get(&fixture, "/dsc/nodes").await));
    // What is seen may be said again, and nothing else may be said.
    let all = get(&fixture, "/dsc/nodes").await;
    assert_eq!(put(&fixture, "/dsc/nodes", &all.json()).await.json(), all.json());
    let part = json!({ "id": N1, "physState": "POWER_ON" });
    assert_eq!(put(&fixture, "/dsc/node", &part).await.status, 200);
    let other = json!({ "physState": "POWER_OFF" });
    let refused = put(&fixture, &format!("/dsc/node/{N1}"), &other).await;
    assert_eq!((refused.status, refused.json()["code"].clone()), (422, json!("invalid")));
    let none = json!({ "nodes": [{ "id": NOBODY }] });
    assert_eq!(put(&fixture, "/dsc/nodes", &none).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_has_its_shape() {
    let fixture = fleet().await;
    insta::assert_snapshot!("enumerables", pretty(&get(&fixture, "/enumerables").await));
    let port = fixture.server.old_addr.unwrap().port().to_string();
    let socket = get(&fixture, "/ws").await.json();
    assert_eq!(socket, json!({ "host": "127.0.0.1", "port": port, "url": "/ws" }));
    for (path, expected) in [
        ("/sme/frozen", false),
        ("/sme/freeze", true),
        ("/sme/frozen", true),
        ("/sme/thaw", false),
        ("/sme/frozen", false),
    ] {
        assert_eq!(get(&fixture, path).await.body, json!({ "frozen": expected }).to_string());
    }
    let head = send(&fixture, "HEAD", "/sme/freeze", "").await;
    assert_eq!(head.status, 405, "only asking for the head freezes nothing");
    assert_eq!(get(&fixture, "/sme/frozen").await.json()["frozen"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphs_have_their_shape() {
    let fixture = fleet().await;
    insta::assert_snapshot!("old_graph", pretty(&get(&fixture, "/graph/json").await));
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into())]).await;
    let path = format!("/graph/node/{N1}/json");
    say(&fixture, "n1", Lane::Quorum, &flying()).await;
    insta::assert_snapshot!("old_graph_on_the_way", pretty(&get(&fixture, &path).await));
    let n1 = uid(&fixture, "n1");
    let revision = fixture.quorum.look(|store| store.object(n1).unwrap().revision);
    done(&fixture, revision, "sim/PowerOn done in 1 s").await;
    done(&fixture, revision, "sim/Boot done in 1 s").await;
    see(&fixture, "n1", &[("/physState", "POWER_ON".into()), ("/runState", "SYNC".into())]).await;
    say(&fixture, "n1", Lane::Quorum, &status(PhaseName::Converged, 3)).await;
    insta::assert_snapshot!("old_graph_done", pretty(&get(&fixture, &path).await));
}

fn flying() -> kraken_engine::status::Status {
    let step = Some("sim/PowerOn".to_owned());
    kraken_engine::status::Status { step, ..status(PhaseName::InFlight, 3) }
}

async fn done(fixture: &Fixture, revision: Revision, text: &str) {
    let happening = Happening {
        kind: EventKind::StepDone,
        uid: Some(uid(fixture, "n1")),
        revision: Some(revision),
        attempt: None,
        text: text.to_owned(),
    };
    fixture.state.record(happening).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_can_be_put_back_and_writes_nothing() {
    let fixture = fleet().await;
    for path in ["/cfg/nodes".to_owned(), format!("/cfg/node/{N1}"), format!("/cfg/node/{N2}")] {
        let read = get(&fixture, &path).await;
        let written = put(&fixture, &path, &read.json()).await;
        assert_eq!(written.json(), read.json());
        assert_eq!(written.revision(), read.revision(), "{path}: nothing is written");
    }
    let whole = get(&fixture, &format!("/cfg/node/{N1}")).await;
    assert_eq!(put(&fixture, "/cfg/node", &whole.json()).await.revision(), whole.revision());
    assert_eq!(put(&fixture, "/cfg/node", &full()).await.revision(), whole.revision());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_changes_that_part_alone() {
    let fixture = fleet().await;
    let one = format!("/cfg/node/{N1}");
    // Also what the old surface does not show is not wiped.
    let drain = json!({ "drainState": "ACTIVE" }).to_string();
    let native = format!("/v1/nodes/{}", uid(&fixture, "n1"));
    let patched = raw(
        &fixture,
        format!(
            "PATCH {native} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n\
             {drain}",
            drain.len()
        )
        .as_bytes(),
    )
    .await;
    assert!(patched.starts_with("HTTP/1.1 200"), "{patched}");
    let mut expected = get(&fixture, &one).await.json();
    for (part, place, now) in [
        (json!({ "physState": "POWER_OFF" }), "/physState", json!("POWER_OFF")),
        (json!({ "services": [], "extensions": [], "arch": null }), "/arch", json!("aarch64")),
        (
            json!({ "services": [{ "id": "rest", "state": "STOP" }] }),
            "/services/0/state",
            json!("STOP"),
        ),
        (
            json!({ "extensions": [{
                "@type": "type.googleapis.com/IPv4.IPv4OverEthernet",
                "ifaces": { "kraken": { "eth": { "mtu": 1500 } } },
            }] }),
            "/extensions/0/ifaces/kraken/eth/mtu",
            json!(1500),
        ),
    ] {
        let written = put(&fixture, &one, &part).await;
        assert_eq!(written.status, 200, "{written:?}");
        *expected.pointer_mut(place).unwrap() = now;
        assert_eq!(written.json(), expected, "{part}");
    }
    let unset = put(&fixture, &one, &json!({ "physState": "PHYS_UNKNOWN" })).await.json();
    assert_eq!(unset["physState"], Json::Null);
    let native = get(&fixture, &native).await.json();
    assert_eq!(native["cfg"]["drainState"], "ACTIVE");
    assert_eq!(native["cfg"]["ipv4"]["ifaces"]["kraken"]["ip"]["ip"], "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_changed_all_or_none() {
    let fixture = fleet().await;
    let before = get(&fixture, "/cfg/nodes").await;
    let some = json!({ "nodes": [{ "id": N1, "physState": 1 }, { "id": NOBODY, "physState": 1 }] });
    let refused = put(&fixture, "/cfg/nodes", &some).await;
    assert_eq!((refused.status, refused.body.as_str()), (404, ""));
    let there = json!({ "nodes": [{ "id": NOBODY, "nodename": "n9" }, { "nodename": "n2" }] });
    assert_eq!(post(&fixture, "/cfg/nodes", &there).await.status, 409);
    assert_eq!(get(&fixture, "/cfg/nodes").await.json(), before.json(), "nothing was changed");
    let both = json!({ "nodes": [{ "id": N1, "physState": 1 }, { "id": N2, "arch": "x" }] });
    let changed = put(&fixture, "/cfg/nodes", &both).await;
    assert_eq!(changed.revision(), before.revision() + 1, "one transaction");
    assert_eq!(changed.json(), get(&fixture, "/cfg/nodes").await.json());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_a_reason() {
    let fixture = fleet().await;
    let one = format!("/cfg/node/{N1}");
    let nobody = format!("/cfg/node/{NOBODY}");
    let renamed = json!({ "nodename": "other" }).to_string();
    let (same_id, same_name) = (json!({ "id": N1, "nodename": "x" }), json!({ "nodename": "n1" }));
    let other_id = json!({ "id": N2 }).to_string();
    for (method, path, body, status, code) in [
        ("GET", nobody.as_str(), "", 404, ""),
        ("GET", "/cfg/node/n1", "", 404, ""),
        ("DELETE", &nobody, "", 404, ""),
        ("PUT", &nobody, "{}", 404, ""),
        ("GET", "/graph/node/n1/json", "", 404, ""),
        ("PUT", &one, "{", 400, "bad_body"),
        ("PUT", &one, "", 400, "bad_body"),
        ("PUT", &one, r#"{"colour":"red"}"#, 400, "bad_body"),
        ("PUT", &one, r#"{"physState":"ON"}"#, 400, "bad_body"),
        ("PUT", &one, r#"{"physState":99}"#, 400, "bad_body"),
        ("PUT", &one, &other_id, 400, "bad_body"),
        ("PUT", &one, &renamed, 422, "invalid"),
        ("PUT", "/cfg/node", "{}", 400, "bad_body"),
        ("PUT", "/cfg/nodes", "[]", 400, "bad_body"),
        ("POST", "/cfg/node", "{}", 400, "bad_body"),
        ("POST", "/cfg/node", &same_id.to_string(), 409, "exists"),
        ("POST", "/cfg/node", &same_name.to_string(), 409, "exists"),
        ("DELETE", "/cfg/node", "{}", 400, "bad_body"),
        ("DELETE", "/cfg/nodes", "", 405, "method_not_allowed"),
        ("POST", "/dsc/nodes", "{}", 405, "method_not_allowed"),
        ("PUT", "/sme/freeze", "", 405, "method_not_allowed"),
        ("GET", "/cfg", "", 404, "no_such_route"),
    ] {
        let answer = send(&fixture, method, path, body).await;
        let found =
            if answer.body.is_empty() { Json::from("") } else { answer.json()["code"].clone() };
        assert_eq!((answer.status, found), (status, code.into()), "{method} {path} {body}");
        let anyone = "access-control-allow-origin: *";
        assert!(answer.head.contains(anyone), "{method} {path}: {}", answer.head);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_and_go_and_may_come_again() {
    let fixture = fleet().await;
    let (plain, named) = (json!({ "nodename": "n3" }), json!({ "id": NOBODY }));
    let made = post(&fixture, "/cfg/node", &plain).await.json();
    assert_eq!(made["id"], uid(&fixture, "n3").to_string(), "without one it has its uid");
    let made = post(&fixture, &format!("/cfg/node/{NOBODY}"), &json!({})).await.json();
    assert_eq!(made, json!({ "id": NOBODY, "nodename": NOBODY }), "without a name it has its id");
    let body = named.to_string();
    assert_eq!(send(&fixture, "DELETE", "/cfg/node", &body).await.status, 200);
    assert_eq!(send(&fixture, "DELETE", "/cfg/node", &body).await.status, 404);
    assert_eq!(post(&fixture, "/cfg/node", &named).await.status, 200);
    // By itself the node that answers.
    let own = post(&fixture, "/cfg/node", &json!({ "nodename": "m1" })).await;
    assert_eq!(get(&fixture, "/cfg/node").await.json(), own.json());
    assert_eq!(get(&fixture, "/dsc/node").await.json()["nodename"], "m1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_creations_of_an_id_succeeds() {
    let fixture = member_with(Limits::default()).await;
    let body = |name: String| json!({ "id": N1, "nodename": name });
    let bodies: Vec<Json> = (0..8).map(|count| body(format!("n{count}"))).collect();
    let posts = bodies.iter().map(|body| post(&fixture, "/cfg/node", body));
    let answers = futures_util::future::join_all(posts).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(get(&fixture, "/cfg/nodes").await.json()["nodes"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_any_site_may_ask_here_and_nowhere_else() {
    let fixture = fleet().await;
    let ask = |path: &str| {
        format!(
            "OPTIONS {path} HTTP/1.1\r\nhost: x\r\norigin: http://elsewhere\r\n\
             connection: close\r\naccess-control-request-method: PUT\r\n\
             access-control-request-headers: content-type\r\n\r\n"
        )
    };
    let answer = raw(&fixture, ask("/cfg/nodes").as_bytes()).await.to_lowercase();
    for line in [
        "http/1.1 204",
        "access-control-allow-origin: *",
        "access-control-allow-methods: get, put, post, delete",
        "access-control-allow-headers: content-type",
    ] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    let answer = raw(&fixture, ask("/v1/nodes").as_bytes()).await.to_lowercase();
    assert!(!answer.contains("access-control"), "{answer}");
    let native = send(&fixture, "POST", "/v1/nodes", "kind: node\nname: x\n").await;
    assert_eq!(native.status, 403, "{native:?}");
    assert!(!native.head.contains("access-control"), "{native:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_is_not_served_nothing_answers() {
    let fixture = Fixture::start_beside("m1", Limits::default(), None).await.unwrap();
    fixture.quorum.found();
    fixture.declare(manifests()).await;
    assert_eq!(fixture.server.old_addr, None);
    for path in ["/cfg/nodes", "/dsc/nodes", "/graph/json", "/enumerables", "/ws", "/sme/freeze"] {
        let answer = get(&fixture, path).await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("no_such_route")));
        assert!(!answer.head.contains("access-control"), "{answer:?}");
    }
}
