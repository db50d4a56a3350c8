//! The end of a torture: all is healed, and every member must come to tell the same.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kraken_http::{
    client::ListQuery,
    view::{List, ObjectView},
};

use super::{Desk, clients};
use crate::{
    appends::Sets,
    cluster::TestCluster,
    edge::Edge,
    serial::{Op, What},
    wait_until,
};

/// How long a cluster may take to serve again after the last attack, and then to be of one mind.
const CALM_MAX: Duration = Duration::from_mins(1);

/// All objects that a member tells of, by name: at which revision each was written, and its Cfg.
type Seen = BTreeMap<String, (u64, Option<serde_json::Value>)>;

/// What all agree on in the end.
pub(super) struct Settled {
    /// What was appended.
    pub(super) sets: Sets,
    /// The revision of the last write.
    pub(super) last: u64,
}

/// Waits until all members serve and tell the same, by reads of either kind; what the linearizable
/// ones were answered is noted on the desk like any other client's.
pub(super) async fn settle(cluster: &TestCluster, keys: usize, desk: &Desk) -> Result<Settled> {
    cluster.ready().await?;
    let last = cluster.edge()?.cluster().await?.revision;
    for member in cluster.members() {
        let edge = cluster.edge_of(&member)?;
        wait_until(&format!("{member} holds all of it"), CALM_MAX, async || {
            let held = edge.cluster().await?.revision;
            ensure!(held >= last, "{held} of {last}");
            Ok(())
        })
        .await?;
    }
    wait_until("all members tell the same", CALM_MAX, async || {
        let mut first: Option<(Seen, Sets)> = None;
        for member in cluster.members() {
            let edge = cluster.edge_of(&member)?;
            let (strict, sets) = read_all(&edge, keys, desk).await?;
            let (stale, _) = list(&edge, "stale").await?;
            let (agreed, _) = first.get_or_insert_with(|| (strict.clone(), sets));
            let at = |seen: &Seen| agreed.iter().find(|(name, is)| seen.get(*name) != Some(*is));
            ensure!(strict == *agreed, "{member} tells other things of {:?}", at(&strict));
            ensure!(stale == *agreed, "{member} shows other things of {:?}", at(&stale));
        }
        let (seen, sets) = first.context("no member")?;
        let last = seen.values().map(|(revision, _)| *revision).max().unwrap_or_default();
        Ok(Settled { sets, last })
    })
    .await
}

/// Waits until each watch has told what was written last.
pub(super) async fn told(last: u64, watches: &[(String, Arc<AtomicU64>)]) -> Result<()> {
    for (member, reached) in watches {
        wait_until(&format!("the watch of {member} tells all of it"), CALM_MAX, async || {
            let reached = reached.load(Ordering::Relaxed);
            ensure!(reached >= last, "{reached} of {last}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn list(edge: &Edge, consistency: &str) -> Result<(Seen, List<ObjectView>)> {
    let (view, consistency) = (Some("cfg".to_owned()), Some(consistency.to_owned()));
    let wanted = ListQuery { view, consistency, ..ListQuery::default() };
    let list = edge.client().get_nodes(&wanted).await?;
    let one = |item: &ObjectView| (item.name.clone(), (item.revision, item.cfg.clone()));
    Ok((list.items.iter().map(one).collect(), list))
}

/// A linearizable read of everything.
async fn read_all(edge: &Edge, keys: usize, desk: &Desk) -> Result<(Seen, Sets)> {
    let asked = desk.now();
    let (seen, List { revision, items, .. }) = list(edge, "linearizable").await?;
    let answered = Some(desk.now());
    for key in (0..keys as u64).map(clients::key) {
        let found = items.iter().find(|item| item.name == key).and_then(clients::held);
        let what = What::Read { found, revision };
        desk.put(Op { client: usize::MAX, asked, answered, key, what });
    }
    let sets = items.into_iter().filter_map(|item| {
        let found = clients::items(&item).filter(|_| item.name.starts_with("set"))?;
        Some((item.name, found.into_iter().collect()))
    });
    Ok((seen, sets.collect()))
}
