//! The contract under fire: schemathesis makes requests out of the document that a member answers,
//! sound ones and others, and holds every answer against it.
//!
//! What goes on for ever is left out: watches, and events that are followed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    edge::call,
    needs,
};
use serde_json::{Map, Value as Json};
use tokio::{process::Command, time::timeout};

use crate::KRAKEN;

/// The program; `.ci/run` puts it below the build.
const PROGRAM: &str = "schemathesis";
/// The document as it is given to it.
const DOCUMENT: &str = "openapi.json";
/// Requests of each sort to each operation.
const EXAMPLES: &str = "8";
/// How long the whole of it may take.
const RUN_MAX: Duration = Duration::from_mins(10);
/// What every answer is held against.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method,\
                      allow_header_conformance";
/// Objects and a past for it to come upon.
const FLEET: &str = "\
kind: node
name: n[1-4]
labels: {rack: r1}
cfg: {services: {web: {state: STOP}}}
";

/// Where the program is, if it is anywhere.
fn program() -> Option<PathBuf> {
    let below_build = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain([below_build]);
    folders.find_map(|folder| Some(folder.join(PROGRAM)).filter(|file| file.is_file()))
}

/// The document without what goes on for ever.
fn ending(mut document: Json) -> Result<Json> {
    let paths = document["paths"].as_object_mut().context("the document has paths")?;
    paths.remove("/v1/watch").context("a watch is among them")?;
    for operation in paths.values_mut().filter_map(Json::as_object_mut).flat_map(Map::values_mut) {
        let parameters = operation.get_mut("parameters").and_then(Json::as_array_mut);
        let follows = |parameter: &Json| {
            parameter["$ref"].as_str().is_some_and(|pointer| pointer.ends_with("/follow"))
        };
        if let Some(known) = parameters {
            known.retain(|parameter| !follows(parameter));
        }
    }
    Ok(document)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_can_be_asked_is_answered_but_as_the_document_says() -> Result<()> {
    let program = program();
    if !needs(PROGRAM, program.is_some())? {
        return Ok(());
    }
    let program = program.context("it was found")?;
    let cluster = TestCluster::start(KRAKEN, &Shape::of(1, 0)).await?;
    cluster.edge()?.apply(FLEET).await?;
    // It leaves files in the folder in which it runs.
    let folder = tempfile::tempdir()?;
    let document = cluster.edge()?.ask(call("GET", "/openapi.json")?).await?.body;
    fs::write(folder.path().join(DOCUMENT), ending(document)?.to_string())?;
    let run = Command::new(program)
        .args(["run", DOCUMENT, "--url", &cluster.url("m1")?])
        .args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS])
        // The same requests in each run.
        .args(["--max-examples", EXAMPLES, "--generation-deterministic"])
        .args(["--request-timeout", "30", "--no-color", "--warnings", "off"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(RUN_MAX, run).await.context("it takes too long")??;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\n{errors}");
    cluster.pass()
}
