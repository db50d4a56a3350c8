//! What every test of the routes needs: modules to declare, and a client.

use kraken_engine::manifest::{Context, Extension, Manifest, MutationSpec, PathSpec, Type};
use serde_json::Value as Json;

use crate::{
    client::{Answer, Call, Client},
    testing::Fixture,
};

/// Machines with power and services.
pub(super) fn manifests() -> Vec<Manifest> {
    let power = ["POWER_OFF", "POWER_ON"];
    let sim = Manifest::new("sim")
        .doc("Machines that are not there.")
        .extension(
            Extension::new("power")
                .path(PathSpec::new("/physState", Type::enum_of(power)))
                .path(PathSpec::fact("/temperature", Type::Float).unit("°C")),
        )
        .discovers("/physState")
        .mutation(MutationSpec::new("PowerOn").context(Context::Parent).changes(
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
    let fixture = Fixture::start(manifests()).await.unwrap();
    let client = client(&fixture);
    (fixture, client)
}

pub(super) fn client(fixture: &Fixture) -> Client {
    Client::new(&[fixture.url()]).unwrap()
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

fn body(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| Json::from(String::from_utf8_lossy(&answer.body).into_owned()))
}
