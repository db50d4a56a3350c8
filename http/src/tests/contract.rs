//! The document and the edge say the same: every route has a row, every operation is asked, and
//! what comes back has a status, a media type and a form that the document tells of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use boon::{Compiler, Schemas};
use kraken_actors::quorum::QuorumError;
use kraken_engine::id::Revision;
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::kit::{BOUND, Said, exchange, fleet, member_with, see};
use crate::{
    openapi::{self, problems, table},
    problem::Problem,
    server::Limits,
    testing::{BACKUP, Fixture},
};

/// The document as those have it who have no server at hand.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
/// Where the document is, for what refers to its parts.
const BASE: &str = "http://localhost/openapi.json";

#[test]
fn the_document_is_the_golden_file() {
    let ours = format!("{:#}\n", openapi::document());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(GOLDEN, &ours).unwrap();
    }
    let golden = fs::read_to_string(GOLDEN).unwrap_or_default();
    let differs = ours.lines().zip(golden.lines()).find(|(ours, golden)| ours != golden);
    assert!(
        ours == golden,
        "docs/openapi.json is not what the code says; INSTA_UPDATE=always writes it: {differs:?}"
    );
}

/// The names of routes in the sources below a folder, as they are answered with.
fn routes_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes_in(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("answered(") {
            let rest = text[at + "answered(".len()..].trim_start();
            let name = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
            found.extend(name.map(str::to_owned));
        }
    }
}

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let mut routes = BTreeSet::new();
    routes_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/routes"), &mut routes);
    // The page is for people, and no part of the interface.
    routes.remove("page");
    let rows: BTreeSet<String> = table::all().map(|row| row.name.to_owned()).collect();
    assert_eq!(routes, rows);
}

/// What the document says, and what of it was asked for.
struct Contract {
    document: Json,
    compiler: Compiler,
    schemas: Schemas,
    /// Operations by name with the statuses that they came to.
    exercised: BTreeMap<String, BTreeSet<u16>>,
    codes: BTreeSet<String>,
}

impl Contract {
    fn new() -> Self {
        let document = openapi::document();
        let mut compiler = Compiler::new();
        compiler.add_resource(BASE, document.clone()).unwrap();
        let (exercised, codes) = (BTreeMap::new(), BTreeSet::new());
        Self { document, compiler, schemas: Schemas::new(), exercised, codes }
    }

    /// Holds something against the part of the document that a pointer leads to.
    fn hold(&mut self, pointer: &str, body: &Json, what: &str) {
        let at = format!("{BASE}#{pointer}");
        let compiled = self.compiler.compile(&at, &mut self.schemas);
        let schema = compiled.unwrap_or_else(|error| panic!("{at}: {error:#}"));
        let held = self.schemas.validate(body, schema);
        assert!(held.is_ok(), "{what}: {:#}\n{body:#}", held.unwrap_err());
    }

    /// The pointer to the operation that a request is for.
    fn pointer(&self, line: &str) -> (String, String) {
        let (method, target) = line.split_once(' ').unwrap();
        let path = target.split('?').next().unwrap_or_default();
        let operation = table::find(method, path).unwrap_or_else(|| panic!("{line}: no row"));
        let (name, template) = operation.at(path).unwrap();
        let (escaped, method) = (template.replace('/', "~1"), method.to_ascii_lowercase());
        let pointer = format!("/paths/{escaped}/{method}");
        assert_eq!(self.document.pointer(&pointer).unwrap()["operationId"], name.as_str());
        (name, pointer)
    }

    /// Checks what was answered; what was asked too, where it was granted.
    fn check(&mut self, line: &str, asked: &[u8], said: &Said) {
        let (name, operation) = self.pointer(line);
        let pointer_to = |rest: &str| format!("{operation}{rest}");
        let status = said.status;
        let told = format!("/responses/{status}");
        let answer = self.document.pointer(&pointer_to(&told)).cloned();
        let answer = answer.unwrap_or_else(|| panic!("{line}: {status} is not told of: {said:?}"));
        // What all have in common stands elsewhere.
        let shared = answer["$ref"].as_str().map(|at| at.trim_start_matches('#').to_owned());
        let pointer = shared.clone().unwrap_or_else(|| pointer_to(&told));
        let answer = self.document.pointer(&pointer).cloned().unwrap();
        self.exercised.entry(name).or_default().insert(status);
        // What is only planned has no tag.
        let is_done = !line.contains("dryRun=plan");
        let headers = answer["headers"].as_object().filter(|_| is_done);
        for header in headers.into_iter().flat_map(|headers| headers.keys()) {
            assert_ne!(said.header(header), "", "{line}: {status} without {header}");
        }
        if said.body.is_empty() {
            assert!(answer["content"].is_null(), "{line}: {status} has a body");
            return;
        }
        let media_type = said.media_type();
        assert!(answer["content"][media_type].is_object(), "{line}: {status} {media_type}");
        let form = format!("{pointer}/content/{}/schema", media_type.replace('/', "~1"));
        if media_type.ends_with("x-ndjson") {
            for text in said.body.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
                self.hold(&form, &serde_json::from_slice(text).unwrap(), line);
            }
        } else if media_type.ends_with("json") {
            self.hold(&form, &said.json(), line);
        }
        if status >= 400 {
            self.codes.insert(said.json()["code"].as_str().unwrap().to_owned());
        } else if let Ok(asked) = serde_json::from_slice(asked) {
            self.hold(
                &format!("{operation}/requestBody/content/application~1json/schema"),
                &asked,
                line,
            );
        }
    }

    async fn ask(&mut self, fixture: &Fixture, line: &str, body: &Json, status: u16) -> Said {
        self.ask_with(fixture, (line, &[]), body, status).await
    }

    async fn ask_with(
        &mut self,
        fixture: &Fixture,
        (line, headers): (&str, &[(&str, &str)]),
        body: &Json,
        status: u16,
    ) -> Said {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let said = exchange(fixture, line, headers, bytes.clone()).await;
        assert_eq!(said.status, status, "{line}: {said:?}");
        self.check(line, &bytes, &said);
        said
    }

    /// Takes the first lines of a stream and checks them.
    async fn follow(&mut self, fixture: &Fixture, line: &str, media_type: &str, count: usize) {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nhost: x\r\naccept: {media_type}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let mut body = String::new();
        while body.lines().count() < count {
            let text = timeout(BOUND, lines.next_line()).await.expect("in time").unwrap().unwrap();
            if text.starts_with('{') {
                body.push_str(&text);
                body.push('\n');
            }
        }
        let headers = [("content-type".parse().unwrap(), media_type.parse().unwrap())];
        let headers = headers.into_iter().collect();
        self.check(line, b"", &Said { status: 200, headers, body: body.into() });
    }
}

/// What every kind's objects are asked, below the path of a family with nodes named n1 to n4.
async fn ask_family(contract: &mut Contract, fixture: &Fixture, root: &str) {
    let none = Json::Null;
    let slots = json!({ "slots": 2 });
    for (line, body, status) in [
        (format!("GET {root}"), none.clone(), 200),
        (format!("GET {root}?fields=labels,cfg/slots&limit=2"), none.clone(), 200),
        (format!("GET {root}?view=merged&selector=rack=r1"), none.clone(), 200),
        (format!("POST {root}"), json!([{ "name": "x[1-2]" }]), 201),
        (format!("POST {root}?dryRun=plan"), json!({ "name": "x3" }), 200),
        (format!("PATCH {root}?names=n[1-2]"), slots.clone(), 200),
        (format!("PATCH {root}?names=n[1-2]&dryRun=plan"), json!({ "slots": 3 }), 200),
        (format!("GET {root}/n1"), none.clone(), 200),
        (format!("GET {root}/n1?view=dsc"), none.clone(), 200),
        (format!("PUT {root}/n1"), json!({ "cfg": { "slots": 4 } }), 200),
        (format!("PUT {root}/x9"), json!({ "labels": { "a": "b" } }), 201),
        (format!("PATCH {root}/n1"), slots, 200),
        (format!("DELETE {root}/x1"), none.clone(), 202),
        (format!("DELETE {root}/x2?force=true"), none.clone(), 200),
        (format!("DELETE {root}/x9?force=true"), none.clone(), 200),
        (format!("GET {root}/n1/why"), none.clone(), 200),
        (format!("GET {root}/n1/plan"), none.clone(), 200),
        (format!("GET {root}/n1/events"), none.clone(), 200),
        (format!("GET {root}/n1/history?limit=3"), none.clone(), 200),
        (format!("GET {root}/n9"), none.clone(), 404),
    ] {
        contract.ask(fixture, &line, &body, status).await;
    }
    let tag = contract.ask(fixture, &format!("GET {root}/n1"), &none, 200).await;
    let held = [("if-none-match", tag.header("etag"))];
    contract.ask_with(fixture, (&format!("GET {root}/n1"), &held), &none, 304).await;
}

async fn ask_all(contract: &mut Contract, fixture: &Fixture) {
    let none = Json::Null;
    let plan = [("accept", "application/x-ndjson")];
    let node = json!({ "kind": "node", "name": "n[1-4]", "cfg": { "slots": 5 } });
    contract.ask_with(fixture, ("POST /v1/apply?dryRun=plan", &plan), &node, 200).await;
    let merge = json!({ "op": "merge", "kind": "node", "name": "n1", "cfg": { "slots": 6 } });
    let holds = json!({ "kind": "node", "name": "n1", "is": "exists" });
    let txn = json!({ "preconditions": [holds], "ops": [merge], "note": "why" });
    let colour = json!({
        "kind": "extension", "name": "colour",
        "paths": [{ "path": "/colour", "type": ["RED", "BLUE"], "seenBy": "nobody" }],
    });
    for (line, body, status) in [
        ("POST /v1/nodes/n1/retry", none.clone(), 200),
        ("POST /v1/objects/node/n1/retry", none.clone(), 200),
        ("POST /v1/apply", node, 200),
        ("POST /v1/txn", txn, 200),
        ("POST /v1/freeze", json!({ "names": ["n1", "n2"] }), 200),
        ("GET /v1/freeze", none.clone(), 200),
        ("POST /v1/thaw", json!({ "names": "n[1-2]" }), 200),
        ("POST /v1/retry", json!({ "selector": "rack=r1" }), 200),
        ("GET /v1/events", none.clone(), 200),
        ("GET /v1/revisions?limit=2", none.clone(), 200),
        ("GET /v1/revisions/4", none.clone(), 200),
        ("GET /v1/diff?from=3", none.clone(), 200),
        ("POST /v1/rollback?dryRun=plan", json!({ "to": 3, "all": true }), 200),
        ("POST /v1/rollback", json!({ "to": 3, "names": "n1" }), 200),
        ("GET /v1/graph", none.clone(), 200),
        ("GET /v1/graph?node=n1", none.clone(), 200),
        ("GET /v1/graph?format=svg", none.clone(), 200),
        ("GET /v1/graph?format=dot", none.clone(), 200),
        ("GET /v1/graph?format=mermaid", none.clone(), 200),
        ("POST /v1/graph/check", none.clone(), 200),
        ("POST /v1/modules", colour, 200),
        ("GET /v1/modules", none.clone(), 200),
        ("GET /v1/modules/sim", none.clone(), 200),
        ("GET /v1/modules/colour", none.clone(), 200),
        ("DELETE /v1/modules/colour", none.clone(), 200),
        ("GET /v1/cluster", none.clone(), 200),
        ("POST /v1/cluster/promote", json!({ "member": 1 }), 200),
        ("POST /v1/cluster/leader", json!({ "to": "m1" }), 200),
        ("GET /v1/cluster/snapshot", none.clone(), 200),
        ("GET /healthz", none.clone(), 200),
        ("GET /readyz", none.clone(), 200),
        ("GET /metrics", none.clone(), 200),
        ("GET /v1/debug", none.clone(), 200),
        ("GET /v1/debug/state", none.clone(), 200),
        ("GET /openapi.json", none.clone(), 200),
        ("GET /v1/schema", none.clone(), 200),
    ] {
        contract.ask(fixture, line, &body, status).await;
    }
    contract.follow(fixture, "GET /v1/events?follow=true", "application/x-ndjson", 1).await;
    contract.follow(fixture, "GET /v1/watch?from=3", "application/x-ndjson", 4).await;
    let socket = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    contract.ask_with(fixture, ("GET /v1/watch", &socket), &none, 101).await;
}

/// A kind whose objects live in namespaces.
const GUESTS: &str = r#"[
    {"kind": "module", "name": "guests", "discovers": ["/slots"],
     "kinds": [{"name": "guest", "namespaced": true}],
     "extensions": [{"name": "guests", "kind": "guest", "paths": [
        {"path": "/slots", "type": "count", "absent": 0, "seenBy": "control"}]}],
     "mutations": [{"name": "Slot", "kind": "guest", "context": "control",
        "changes": {"/slots": {"from": "any", "to": "cfg"}}}]}
]"#;

/// Has each sort of trouble happen that a client can cause or come upon.
async fn ask_amiss(contract: &mut Contract, fixture: &Fixture) {
    let none = Json::Null;
    let off = json!({ "physState": "POWER_OFF" });
    for (line, headers, body, status) in [
        ("GET /v1/nodes?limit=x", vec![], none.clone(), 400),
        ("GET /v1/nodes", vec![("accept", "text/html")], none.clone(), 406),
        ("PATCH /v1/nodes/n1", vec![("if-match", "x")], off.clone(), 400),
        ("PATCH /v1/nodes/n1", vec![("if-match", "\"1-999\"")], off.clone(), 412),
        ("PATCH /v1/nodes/n1?expect=1", vec![], off.clone(), 412),
        ("PATCH /v1/nodes/n1", vec![("content-type", "text/xml")], off.clone(), 415),
        ("PATCH /v1/nodes/n1", vec![("origin", "http://elsewhere")], off.clone(), 403),
        ("PATCH /v1/nodes/n1", vec![], json!([1]), 400),
        ("PATCH /v1/nodes/n1", vec![], json!({ "physState": "ON" }), 422),
        ("PATCH /v1/nodes/n9", vec![], off.clone(), 404),
        ("POST /v1/apply", vec![], json!({ "kind": "node", "name": "b[1-10001]" }), 413),
        ("POST /v1/nodes", vec![], json!({ "name": "n1" }), 409),
        ("POST /v1/thaw", vec![], json!({ "names": "n1" }), 409),
        ("GET /v1/modules/boat", vec![], none.clone(), 404),
        ("DELETE /v1/modules/sim", vec![], none.clone(), 409),
        ("DELETE /v1/modules/guests", vec![], none.clone(), 409),
        ("POST /v1/cluster/init", vec![], none.clone(), 409),
        // What is to be off first is marked and stays.
        ("PATCH /v1/nodes/n2", vec![], json!({ "physState": "POWER_ON" }), 200),
        ("DELETE /v1/nodes/n2", vec![], none.clone(), 202),
        ("PATCH /v1/nodes/n2", vec![], off.clone(), 409),
    ] {
        contract.ask_with(fixture, (line, &headers), &body, status).await;
    }
    fixture.quorum.forget(Revision::new(5));
    contract.ask(fixture, "GET /v1/watch?from=1&epoch=2", &none, 410).await;
    contract.ask(fixture, "GET /v1/diff?from=3", &none, 410).await;
    for (fault, status) in [
        (QuorumError::Unavailable("no leader".to_owned()), 503),
        (QuorumError::Overloaded, 429),
        (QuorumError::Timeout, 504),
        (QuorumError::TooLarge { bytes: 9, limit: 8 }, 413),
    ] {
        fixture.quorum.set_fault(Some(fault));
        contract.ask(fixture, "PATCH /v1/nodes/n1", &off, status).await;
    }
    fixture.quorum.set_fault(None);
}

/// What comes of bodies that are too slow, which takes a server of little patience.
async fn ask_slowly(contract: &mut Contract) {
    let limits = Limits { body_timeout: Duration::from_millis(20), ..Limits::default() };
    let (fixture, _client) = member_with(limits).await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let head =
        "POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\nk";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = super::kit::read_to_end(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 408"), "{answer}");
    let media_type = "application/problem+json".parse().unwrap();
    let headers = [("content-type".parse().unwrap(), media_type)].into_iter().collect();
    let said = Said { status: 408, headers, body: body.to_owned().into() };
    contract.check("POST /v1/apply", b"", &said);
}

/// What a member is asked that belongs to no cluster yet.
async fn ask_at_the_beginning(contract: &mut Contract) {
    let none = Json::Null;
    let alone = Fixture::start_with(Limits::default()).await.unwrap();
    contract.ask(&alone, "GET /readyz", &none, 503).await;
    contract.ask(&alone, "POST /v1/cluster/join", &json!({ "via": ["h:1"] }), 503).await;
    contract.ask(&alone, "POST /v1/cluster/init", &none, 201).await;
    let other = Fixture::start_with(Limits::default()).await.unwrap();
    for (bytes, status) in [(BACKUP.concat()[1..].to_vec(), 422), (BACKUP.concat(), 201)] {
        let said = exchange(&other, "POST /v1/cluster/snapshot", &[], bytes).await;
        assert_eq!(said.status, status, "{said:?}");
        contract.check("POST /v1/cluster/snapshot", b"", &said);
    }
}

/// What takes two members; `tests/cluster` has them.
const NEEDS_TWO_MEMBERS: [&str; 2] = ["cluster.join", "cluster.remove"];
/// Codes that no request of a client comes to: of defects, of leaders that no longer lead, and of
/// what must never run twice, which takes a decider; and those of no operation.
const NOT_ASKED_FOR: [&str; 5] =
    ["internal", "stale_term", "has_guest", "no_such_route", "method_not_allowed"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_and_every_error_is_as_the_document_says() {
    let mut contract = Contract::new();
    let (fixture, _client) = fleet().await;
    see(&fixture, "n1", &[("/physState", "POWER_OFF".into()), ("/link", "UP".into())]).await;
    ask_family(&mut contract, &fixture, "/v1/nodes").await;
    ask_family(&mut contract, &fixture, "/v1/objects/node").await;
    let guests = exchange(&fixture, "POST /v1/modules", &[], GUESTS).await;
    assert_eq!(guests.status, 200, "{guests:?}");
    let root = "/v1/namespaces/lab/objects/guest";
    let four = json!([{ "name": "n[1-4]", "labels": { "rack": "r1" } }]);
    contract.ask(&fixture, &format!("POST {root}"), &four, 201).await;
    fixture.tell_objects().await;
    ask_family(&mut contract, &fixture, root).await;
    contract.ask(&fixture, &format!("POST {root}/n1/retry"), &Json::Null, 400).await;
    ask_all(&mut contract, &fixture).await;
    ask_amiss(&mut contract, &fixture).await;
    ask_slowly(&mut contract).await;
    ask_at_the_beginning(&mut contract).await;
    check_covered(&contract);
}

/// Checks that nothing that the document tells of was left out.
fn check_covered(contract: &Contract) {
    let mut missed = Vec::new();
    for operation in table::all() {
        for (name, _) in operation.paths() {
            let reached = contract.exercised.get(&name);
            let granted = operation.answers.iter().map(|answer| answer.status);
            let left = granted.filter(|status| !reached.is_some_and(|r| r.contains(status)));
            missed.extend(left.map(|status| (name.clone(), status)));
        }
    }
    missed.retain(|(name, status)| {
        let is_retried = name == "namespaced.retry" || NEEDS_TWO_MEMBERS.contains(&name.as_str());
        !(is_retried && *status == 200)
    });
    assert_eq!(missed, [], "operations that were not asked");
    let every = problems::every();
    let codes = every.iter().map(Problem::code).filter(|code| !NOT_ASKED_FOR.contains(code));
    let missed: Vec<&str> = codes.filter(|code| !contract.codes.contains(*code)).collect();
    assert_eq!(missed, [""; 0], "codes that were not come upon");
}
