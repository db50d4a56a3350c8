//! What every test of the routes needs: modules to declare, a member, and ways to ask it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::{client::legacy::Client as Pool, rt::TokioExecutor};
use kraken_engine::{
    id::{Name, Revision, Uid},
    manifest::{Context, Extension, Manifest, MutationSpec, PathSpec, Type},
    mutation::Lane,
    object::ObjectRef,
    path::Path,
    status::{PhaseName, Status},
    time::Millis,
    value::Value,
};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::{Answer, Call, Client, WriteQuery},
    server::Limits,
    testing::Fixture,
    time,
};

/// How long a test waits for what must happen.
pub(super) const BOUND: Duration = Duration::from_secs(20);

/// Machines with power and services.
pub(super) fn manifests() -> Vec<Manifest> {
    let power = ["POWER_OFF", "POWER_ON"];
    let sim = Manifest::new("sim")
        .doc("Machines that are not there.")
        .extension(
            Extension::new("power")
                .path(PathSpec::new("/physState", Type::enum_of(power)).absent("POWER_OFF"))
                .path(PathSpec::fact("/temperature", Type::Float).unit("°C"))
                .path(PathSpec::new("/slots", Type::count())),
        )
        .discovers("/physState")
        .discovers("/temperature")
        .mutation(MutationSpec::new("PowerOn").context(Context::Parent).disruptive().changes(
            "/physState",
            "POWER_OFF",
            "POWER_ON",
        ));
    let service = Manifest::new("service")
        .doc("Processes.")
        .extension(
            Extension::new("services")
                .path(PathSpec::new("/services/*/state", Type::enum_of(["RUN", "STOP"])))
                .path(PathSpec::input("/services/*/args", Type::Texts)),
        )
        .discovers("/services/*/state")
        .mutation(
            MutationSpec::new("Start")
                .changes("/services/*/state", "STOP", "RUN")
                .requires("/physState = POWER_ON"),
        );
    vec![sim, service]
}

/// A member that knows [`manifests`], and a client of it.
pub(super) async fn member() -> (Fixture, Client) {
    member_with(Limits::default()).await
}

/// The same with limits of its own.
pub(super) async fn member_with(limits: Limits) -> (Fixture, Client) {
    let fixture = Fixture::start_with(limits).await.unwrap();
    fixture.quorum.found();
    fixture.declare(manifests()).await;
    let client = Client::new(&[fixture.url()]).unwrap();
    (fixture, client)
}

/// Two racks of two nodes.
pub(super) const FLEET: &str = "\
kind: node
name: n[1-2]
labels: {rack: r1}
cfg: {physState: POWER_ON, services: {web: {state: RUN, args: [-p, '80']}}}
---
kind: node
name: n[3-4]
labels: {rack: r2}
owner: n1
cfg:
  physState: POWER_ON
";

/// A member with [`FLEET`] in its Cfg.
pub(super) async fn fleet() -> (Fixture, Client) {
    let (fixture, client) = member().await;
    client.apply(FLEET, &WriteQuery::default()).await.unwrap();
    fixture.tell_objects().await;
    (fixture, client)
}

/// The uid of a node.
pub(super) fn uid(fixture: &Fixture, name: &str) -> Uid {
    let (kind, name) = (Name::new("node").unwrap(), Name::new(name).unwrap());
    let key = ObjectRef { kind, namespace: None, name };
    fixture.quorum.look(|store| store.find(&key).map(|object| object.uid)).unwrap()
}

/// Has values be seen of an object of any kind.
pub(super) async fn see_object(
    fixture: &Fixture,
    (kind, namespace, of): (&str, Option<&str>, &str),
    values: &[(&str, Value)],
) {
    let name = |text: &str| Name::new(text).unwrap();
    let key = ObjectRef { kind: name(kind), namespace: namespace.map(name), name: name(of) };
    let uid = fixture.quorum.look(|store| store.find(&key).map(|object| object.uid)).unwrap();
    let values = values.iter().map(|(path, value)| (Path::new(path).unwrap(), Some(value.clone())));
    fixture.state.say_all(vec![(uid, values.collect())], Vec::new()).await;
}

/// Has values be seen of a node.
pub(super) async fn see(fixture: &Fixture, name: &str, values: &[(&str, Value)]) {
    let values = values.iter().map(|(path, value)| (Path::new(path).unwrap(), Some(value.clone())));
    let words = vec![(uid(fixture, name), values.collect())];
    fixture.state.say_all(words, Vec::new()).await;
}

/// Has a lane say something of a node.
pub(super) async fn say(fixture: &Fixture, name: &str, lane: Lane, status: &Status) {
    let words = vec![(uid(fixture, name), status.to_values(lane))];
    fixture.state.say_all(words, Vec::new()).await;
}

/// A status with nothing to it.
pub(super) fn status(phase: PhaseName, revision: u64) -> Status {
    Status {
        phase,
        revision: Revision::new(revision),
        step: None,
        reason: None,
        waits_for: None,
        since: Millis::new(1_795_176_918_007),
        attempts: 0,
        last_error: None,
        next_retry: None,
    }
}

/// Sends once and answers with status and body, problems included.
pub(super) async fn ask(client: &Client, call: Call) -> (u16, Json) {
    match client.send_to(0, &call).await {
        Ok(answer) => (answer.status, body(&answer)),
        Err(error) => {
            let problem = error.problem().unwrap_or_else(|| panic!("{error}"));
            (problem.status, serde_json::to_value(problem).unwrap())
        }
    }
}

/// A whole answer, as it came.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Said {
    /// A header's text; empty where it is absent.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The media type, without its parameters.
    pub(super) fn media_type(&self) -> &str {
        self.header("content-type").split(';').next().unwrap_or_default()
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a request as it is, `GET /v1/nodes`, and reads the whole answer.
pub(super) async fn exchange(
    fixture: &Fixture,
    line: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Said {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(format!("{}{path}", fixture.url()));
    let request =
        headers.iter().fold(request, |request, (name, text)| request.header(*name, *text));
    let request = request.body(Full::new(body.into())).unwrap();
    let client = Pool::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    let body = timeout(BOUND, body.collect()).await.expect("ends in time").unwrap().to_bytes();
    Said { status: head.status.as_u16(), headers: head.headers, body }
}

fn body(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| Json::from(String::from_utf8_lossy(&answer.body).into_owned()))
}

/// A request, with a body of JSON unless it is null.
pub(super) fn call(method: &str, path: &str, body: &Json) -> Call {
    let call = Call::new(Method::from_bytes(method.as_bytes()).unwrap(), path);
    if body.is_null() { call } else { call.json(body) }
}

/// Sends bytes as they are, and reads until the server closes.
pub(super) async fn raw(fixture: &Fixture, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

/// Reads until the server closes.
pub(super) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has been closed too.
    let read = timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("closes in time");
    drop(read);
    String::from_utf8_lossy(&answer).into_owned()
}

/// JSON in which nothing changes from run to run.
pub(super) fn steady(mut json: Json) -> String {
    steady_in(&mut json);
    serde_json::to_string_pretty(&json).unwrap()
}

fn steady_in(json: &mut Json) {
    match json {
        Json::Object(map) => {
            for (key, value) in map.iter_mut() {
                match key.as_str() {
                    "dscAgeMs" => *value = "[age]".into(),
                    "cursor" | "continue" if value.is_string() => *value = "[cursor]".into(),
                    _ => steady_in(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(steady_in),
        Json::String(text) if time::parse(text).is_some() => *json = "[time]".into(),
        Json::String(_) | Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
