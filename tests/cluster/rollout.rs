//! Everything is stopped in the middle of a change, and started again with the same folders.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    process::Process,
    wait_until,
};

use crate::{KRAKEN, manifests::CONVERGED_MAX};

/// How long a node may take to end in good order.
const END_MAX: Duration = Duration::from_secs(40);
const LEAVES: usize = 4;

/// A service of a version. It takes a while to end, n1 less so than the others: the middle of the
/// rollout lasts.
fn versioned(version: u32) -> String {
    let service = |nodes: &str, seconds: f32| {
        let script = format!("trap 'sleep {seconds}; exit 0' TERM; while :; do sleep 0.1; done");
        format!(
            "kind: node\nname: {nodes}\ncfg:\n  services:\n    web:\n      state: RUN\n      \
             command: sh\n      args: [\"-c\", \"{script}\"]\n      env:\n        \
             VERSION: \"{version}\"\n"
        )
    };
    format!("{}---\n{}", service("n1", 0.1), service(&format!("n[2-{LEAVES}]"), 4.0))
}

/// The versions that a leaf's shells run, read from the machine.
fn versions(cluster: &TestCluster, leaf: &str) -> Vec<String> {
    let own = Process::within(&cluster.folder().join(leaf));
    let shells = own.into_iter().filter(|process| process.command().starts_with("sh -c trap"));
    let mut versions: Vec<String> = shells.filter_map(|shell| shell.variable("VERSION")).collect();
    versions.sort_unstable();
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_that_was_stopped_in_the_middle_is_completed() -> Result<()> {
    let mut cluster = TestCluster::start(KRAKEN, &Shape::of(3, LEAVES)).await?;
    let leaves = cluster.leaves();
    let names: Vec<&str> = leaves.iter().map(String::as_str).collect();
    cluster.edge()?.apply(&versioned(1)).await?;
    cluster.converged(&names, CONVERGED_MAX).await?;

    cluster.edge()?.apply(&versioned(2)).await?;
    wait_until("n1 is done and the others are not", CONVERGED_MAX, async || {
        let first = versions(&cluster, "n1");
        ensure!(first == ["2"], "n1 runs {first:?}");
        Ok(())
    })
    .await?;
    let others: Vec<Vec<String>> = names.iter().skip(1).map(|n| versions(&cluster, n)).collect();
    assert!(others.iter().any(|versions| *versions != ["2"]), "too late: {others:?}");
    // The members first: what the leaves do then is theirs alone.
    for node in cluster.members().into_iter().chain(leaves.clone()) {
        cluster.terminate(&node, END_MAX).await?;
    }

    for node in cluster.members().into_iter().chain(leaves.clone()) {
        cluster.start_node(&node)?;
    }
    cluster.ready().await?;
    cluster.converged(&names, CONVERGED_MAX).await?;
    wait_until("each leaf runs the new version once and no old one", CONVERGED_MAX, async || {
        for leaf in &names {
            let versions = versions(&cluster, leaf);
            if versions != ["2"] {
                bail!("{leaf} runs {versions:?}");
            }
        }
        Ok(())
    })
    .await?;
    let services = cluster.services().await?;
    assert_eq!(services.len(), LEAVES, "{services:?}");
    let edge = cluster.edge()?;
    for leaf in &names {
        let status = edge.node(leaf).await?.status.context("nobody decides")?;
        assert_eq!((status.phase.as_str(), status.attempts), ("Converged", 0), "{leaf}");
    }
    for member in cluster.members() {
        let status = edge.node(&member).await?.status.context("nobody decides")?;
        assert_eq!(status.phase, "Converged", "{member}: {:?}", status.reason);
    }
    cluster.pass()
}
