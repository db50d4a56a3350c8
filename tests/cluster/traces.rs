//! Traces: a write is one trace from the request down to the attempt on the leaf, over all the
//! processes that have a part in it; and nothing waits for whoever collects them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster, text},
    collector::{Collector, Manner, Told},
    edge::call,
    process::Process,
    wait_until,
};
use serde_json::json;

use crate::{KRAKEN, manifests::CONVERGED_MAX};

/// How long after the end of a span it must have been told.
const TOLD_MAX: Duration = Duration::from_secs(20);
/// The span of a client, as Trace Context writes it.
const CALLER: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");

/// Members and a leaf that tell a collector.
async fn told_to(collector: &Collector, members: usize) -> Result<TestCluster> {
    let traces = format!("[traces]\nendpoint = {:?}\ninterval_ms = 100\n", collector.url());
    let nodes = (1..=members).map(|member| format!("m{member}")).chain(["n1".to_owned()]);
    let config: BTreeMap<String, String> = nodes.map(|node| (node, traces.clone())).collect();
    TestCluster::start(KRAKEN, &Shape { config, ..Shape::of(members, 1) }).await
}

/// Waits until spans of these names, or of a way in these lanes, are told of a revision; answers
/// them in that order.
async fn spans<const N: usize>(
    collector: &Collector,
    revision: u64,
    names: [&str; N],
) -> Result<[Told; N]> {
    wait_until("the spans are told", TOLD_MAX, async || {
        let told = collector.spans();
        let root = told.iter().find(|span| {
            span.parent.is_empty()
                && span.attributes.get("kraken.revision") == Some(&revision.to_string())
        });
        let trace = &root.context("no root")?.trace;
        let found = names.map(|name| {
            let lane = |span: &Told| span.attributes.get("kraken.lane").cloned();
            let is_it = |span: &Told| span.name == name || lane(span).as_deref() == Some(name);
            told.iter().find(|span| span.trace == *trace && is_it(span)).cloned()
        });
        for (name, found) in names.iter().zip(&found) {
            ensure!(found.is_some(), "no {name} in {trace}: {told:#?}");
        }
        Ok(found.map(Option::unwrap_or_default))
    })
    .await
}

/// Waits until a collector was sent something so many times.
async fn asked(collector: &Collector, times: u64) -> Result<()> {
    wait_until("it is sent something", TOLD_MAX, async || {
        ensure!(collector.requests() >= times, "{}", collector.requests());
        Ok(())
    })
    .await
}

fn within(inner: &Told, outer: &Told) -> Result<()> {
    ensure!(inner.parent == outer.id, "{inner:?} is not within {outer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_one_trace_down_to_the_attempt_on_the_leaf() -> Result<()> {
    let collector = Collector::start().await?;
    let cluster = told_to(&collector, 3).await?;
    let edge = cluster.edge()?;
    // What the leader decides for a leaf.
    let mut patch = call("PATCH", "/v1/nodes/n1")?.json(&json!({ "drainState": "DRAINED" }));
    patch.headers.push(("traceparent", format!("00-{}-{}-01", CALLER.0, CALLER.1)));
    let answer = edge.ask(patch).await?;
    let revision = answer.revision.with_context(|| format!("{answer:?}"))?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let names = ["PATCH /v1/nodes/{name}", "commit", "quorum", "sim/Drain", "run sim/Drain"];
    let [request, commit, way, attempt, run] = spans(&collector, revision, names).await?;
    within(&commit, &request)?;
    within(&way, &request)?;
    within(&attempt, &way)?;
    within(&run, &attempt)?;
    assert_eq!(attempt.node, cluster.leader().await?);
    assert_eq!((run.node.as_str(), attempt.attributes["kraken.handed_to"].as_str()), ("n1", "n1"));
    assert_eq!(way.attributes["kraken.object"], "node n1");
    assert_eq!(way.attributes["kraken.outcome"], "converged");
    for span in [&request, &commit, &way, &attempt, &run] {
        assert!(span.time_ns.0 <= span.time_ns.1, "{span:?}");
        assert_eq!(span.error, None);
    }
    // Who asked finds it from its own trace, and the other way round.
    let caller = (CALLER.0.to_owned(), CALLER.1.to_owned());
    assert_eq!(request.links, [caller]);
    let told = collector.spans();
    let asked = told.iter().find(|span| span.trace == CALLER.0).context("the caller's")?;
    assert_eq!(asked.parent, CALLER.1);
    assert_eq!(asked.links, [(request.trace.clone(), request.id.clone())]);
    // What the leaf decides itself.
    let service = json!({ "services": { "web": {
        "state": "RUN", "command": "sleep", "args": ["infinity"] } } });
    let revision = edge.patch("n1", &service).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    let names = ["PATCH /v1/nodes/{name}", "service/Start", "run service/Start"];
    let [request, attempt, run] = spans(&collector, revision, names).await?;
    within(&run, &attempt)?;
    assert_eq!((attempt.node.as_str(), run.node.as_str()), ("n1", "n1"));
    assert_eq!(attempt.attributes["kraken.mutation"], "service/Start(web)");
    // What breaks later is mended in a trace of its own, which names the write.
    let node = edge.node("n1").await?;
    let pid = text(&node, "/services/web/pid").parse().context("no pid")?;
    Process::of(pid).context("it does not run")?.kill9()?;
    wait_until("its mending is told", TOLD_MAX, async || {
        let told = collector.spans();
        let upkeep = told.iter().find(|span| span.name == "upkeep" && span.node == "n1");
        let upkeep = upkeep.context("no upkeep")?;
        ensure!(upkeep.trace != request.trace && upkeep.parent.is_empty(), "{upkeep:?}");
        ensure!(upkeep.links == [(request.trace.clone(), request.id.clone())], "{upkeep:?}");
        let again = told.iter().find(|span| {
            span.trace == upkeep.trace && span.name == "service/Start" && span.error.is_none()
        });
        within(again.context("no attempt")?, upkeep)
    })
    .await?;
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_collector_that_hangs_refuses_or_is_gone() -> Result<()> {
    let collector = Collector::start().await?;
    collector.behave(Manner::Hangs);
    let cluster = told_to(&collector, 1).await?;
    let edge = cluster.edge()?;
    let asks = |state: &str| json!({ "drainState": state });
    edge.patch("n1", &asks("DRAINED")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    asked(&collector, 1).await?;
    let before = collector.requests();
    collector.behave(Manner::Refuses);
    edge.patch("n1", &asks("ACTIVE")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    asked(&collector, before + 1).await?;
    assert_eq!(collector.spans(), []);
    collector.behave(Manner::Takes);
    let revision = edge.patch("n1", &asks("DRAINED")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    spans(&collector, revision, ["run sim/Drain"]).await?;
    drop(collector);
    edge.patch("n1", &asks("ACTIVE")).await?;
    cluster.converged(&["n1"], CONVERGED_MAX).await?;
    cluster.pass()
}
