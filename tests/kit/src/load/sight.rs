//! How long it takes until what a leaf has seen can be read at every member, while one leaf in a
//! hundred sees something new in each second.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_http::client::{Client, WatchKind, WatchQuery};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Load, Outcome, SEEN_PATH,
    crew::Crew,
    figure::{Figure, float, quantile, size},
    orders::now,
    system::{System, pass},
};

/// The share of leaves that see something new in a second.
const SHARE: f64 = 0.01;
/// How long what was seen last may take to be everywhere.
const LATE: Duration = Duration::from_secs(3);
/// Signs of watches that stand.
const STANDING_MAX: usize = 16;

/// When what was seen came, by leaf and by when that was.
type Came = BTreeMap<(String, u64), u64>;

/// The rows of what is seen.
pub(super) async fn measure(
    load: &Load,
    crew: &mut Crew,
    system: &System,
    outcome: &mut Outcome,
) -> Result<()> {
    let (mut watches, stop) = (JoinSet::new(), CancellationToken::new());
    let (standing, mut stand) = mpsc::channel(STANDING_MAX);
    let members = system.members();
    for member in &members {
        let client = system.client_of(member)?;
        watches.spawn(watch(client, standing.clone(), stop.clone()));
    }
    for _ in &members {
        stand.recv().await.context("a watch does not stand")?;
    }
    crew.churn(float(load.leaves) * SHARE).await?;
    pass(load.time).await;
    crew.churn(0.0).await?;
    pass(LATE).await;
    stop.cancel();
    let mut all: Vec<Came> = Vec::new();
    while let Some(came) = watches.join_next().await {
        all.push(came??);
    }
    let seen: Vec<&(String, u64)> = all.iter().flat_map(Came::keys).collect();
    let distinct: std::collections::BTreeSet<_> = seen.into_iter().collect();
    let everywhere = |seen: &(String, u64)| {
        let times: Vec<u64> = all.iter().filter_map(|came| came.get(seen).copied()).collect();
        let last = times.iter().max().copied().filter(|_| times.len() == members.len());
        last.map(|last| last.saturating_sub(seen.1))
    };
    let times: Vec<u64> = distinct.iter().filter_map(|seen| everywhere(seen)).collect();
    ensure!(!times.is_empty(), "nothing that a leaf saw came to every member");
    let missed = distinct.len() - times.len();
    let name = format!("fanout.dsc.{}", size(load.leaves));
    let times = outcome.add_times(&name, times);
    let row = |what: &str, share| {
        Figure::new(format!("{name}.{what}"), quantile(&times, share), "us", times.len())
    };
    outcome.figures.extend([
        row("p50", 500),
        row("p99", 990).target(50_000.0),
        row("last", 1_000),
        Figure::new(format!("{name}.missed"), float(missed), "count", distinct.len()),
    ]);
    Ok(())
}

/// Follows what one member knows to be seen.
async fn watch(
    client: Client,
    standing: mpsc::Sender<()>,
    stop: CancellationToken,
) -> Result<Came> {
    let wanted = WatchQuery {
        kinds: Some("node".to_owned()),
        states: Some("dsc".to_owned()),
        ..WatchQuery::default()
    };
    let (mut watch, mut came) = (client.watch(wanted), Came::new());
    loop {
        let line = tokio::select! {
            () = stop.cancelled() => return Ok(came),
            line = watch.next() => line?,
        };
        let at = now();
        if line.r#type == WatchKind::Connected {
            // Who waits for it may have enough already.
            standing.try_send(()).ok();
        }
        let Some(object) = line.object else { continue };
        let seen = object.dsc.as_ref().and_then(|dsc| dsc.pointer(SEEN_PATH)?.as_u64());
        if let Some(seen) = seen {
            came.entry((object.name, seen)).or_insert(at);
        }
    }
}
