//! Mutation graphs: what may become of a kind's paths, or of one object; and what can be proved of
//! them.

use std::sync::Arc;

use bytes::Bytes;
use kraken_actors::quorum::Consistency;
use kraken_engine::{
    check::Finding,
    event::{Event, steps_done},
    explain::{self, Scene},
    fleet::Fleet,
    graph::{Graph, of_kind},
    id::Name,
    manifest::NODE_KIND,
    planner::Planner,
    store::Store,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use warp::{Filter, http::HeaderMap, reply::Response};

use super::{Routes, answered, family::Family, modules::Declared};
use crate::{
    api::Shared,
    aside::aside,
    call::{Call, call, call_with_body},
    media,
    openapi::foreign,
    problem::Problem,
    reply::{json, typed, with_revision},
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let graph_route = warp::path!("v1" / "graph")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("graph", graph(call)));
    let check_route = warp::path!("v1" / "graph" / "check")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, body| answered("graph.check", checked(call, body)));
    graph_route.or(check_route).unify().boxed()
}

/// What was found in declarations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The revision of what is declared.
    pub revision: u64,
    /// Errors first, then warnings.
    #[schemars(with = "Vec<foreign::Finding>")]
    pub findings: Vec<Finding>,
}

/// Checks declarations together with what is declared; without a body, what is declared.
async fn checked(mut call: Call, body: Bytes) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    let sources = super::modules::sources(&body)?;
    let held = |store: &Store| (store.revision(), Declared::of(store));
    let (revision, declared) = call.read(Consistency::Linearizable, held).await?;
    let findings = aside(move || declared.with(sources)).await?;
    Ok(with_revision(json(&Checked { revision: revision.get(), findings })?, revision))
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, Default)]
enum Format {
    #[default]
    Json,
    Dot,
    Mermaid,
    Svg,
}

/// The media types of graphs that are not JSON.
const DOT: &str = "text/vnd.graphviz";
const PLAIN: &str = "text/plain";
const SVG: &str = "image/svg+xml";

impl Format {
    /// The one that a client wants most that names none.
    fn wanted(headers: &HeaderMap) -> Self {
        match media::wanted(headers, &[media::JSON, DOT, SVG, PLAIN]) {
            Some(DOT) => Self::Dot,
            Some(PLAIN) => Self::Mermaid,
            Some(SVG) => Self::Svg,
            Some(_) | None => Self::Json,
        }
    }
}

async fn graph(mut call: Call) -> Result<Response, Problem> {
    let words = [
        ("json", Format::Json),
        ("dot", Format::Dot),
        ("mermaid", Format::Mermaid),
        ("svg", Format::Svg),
    ];
    let format = call.query.one_of("format", &words)?;
    let format = format.unwrap_or_else(|| Format::wanted(&call.headers));
    let kind = call.query.parse::<Name>("kind")?;
    let node = call.query.take("node");
    std::mem::take(&mut call.query).done()?;
    let store = call.read(Consistency::Stale, Store::clone).await?;
    let revision = store.revision();
    let node_kind = || Name::new(NODE_KIND).map_err(|error| Problem::query("kind", error));
    let kind = kind.map_or_else(node_kind, Ok)?;
    let dsc = match node {
        Some(_) => call.shared.api.state.read(Fleet::all_dsc).await?,
        None => <_>::default(),
    };
    let events = match node {
        Some(_) => call.shared.api.state.newest_events(usize::MAX).await?,
        None => Vec::new(),
    };
    let draw = move || draw(Scene::new(store, dsc), kind, node.as_deref(), &events);
    let graph = aside(draw).await??;
    let response = match format {
        Format::Json => json(&graph)?,
        Format::Dot => typed(graph.to_dot().into_bytes(), "text/vnd.graphviz; charset=utf-8"),
        Format::Svg => typed(graph.to_svg().into_bytes(), "image/svg+xml; charset=utf-8"),
        Format::Mermaid => typed(graph.to_mermaid().into_bytes(), "text/plain; charset=utf-8"),
    };
    Ok(with_revision(response, revision))
}

fn draw(
    scene: Scene,
    kind: Name,
    object: Option<&str>,
    events: &[(u64, Arc<Event>)],
) -> Result<Graph, Problem> {
    let Some(text) = object else {
        let found = scene.store.catalog().kind(&kind);
        let catalog = found.ok_or_else(|| Problem::NoSuchThing(format!("kind {kind}")))?;
        return Ok(of_kind(catalog));
    };
    let (namespace, text) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    let namespace = namespace.map(Name::new).transpose();
    let namespace = namespace.map_err(|error| Problem::query("node", error))?;
    let object = Family { kind, namespace }.get(&scene.store, text)?.clone();
    let events = events.iter().map(|(_, event)| event.as_ref());
    let done = steps_done(events, object.uid, object.revision);
    Ok(explain::graph(scene.subject(&object), &mut Planner::new(), &done))
}
