//! What a person at a second terminal does, each with an effect on real processes.

use std::time::Duration;

use anyhow::{Result, ensure};
use kraken_testkit::{
    cluster::{Shape, TestCluster},
    process::Process,
    wait_until,
};

use crate::{
    KRAKEN,
    manifests::{CONVERGED_MAX, web},
};

/// How long an effect may take that needs no plan.
const SEEN_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn second_terminal_sees_and_changes_the_fleet() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 4)).await?;
    let (cli, folder) = (cluster.cli(), cluster.folder());
    let mut events = cli.job("events", folder, &["events", "-f"]);
    events.start()?;

    let file = folder.join("web.yaml");
    std::fs::write(&file, web("n[1-4]"))?;
    cli.run(&["apply", "-f", &file.display().to_string()]).await?;
    cli.run(&["wait", "n[1-4]", "--for", "converged", "--timeout", "60s"]).await?;
    let table = cli.run(&["get", "nodes"]).await?;
    for node in 1..=4 {
        let row = table.lines().find(|line| line.starts_with(&format!("n{node} ")));
        assert!(row.is_some_and(|row| row.contains("Converged") && row.contains("UP")), "{table}");
    }
    let running = cluster.services().await?;
    assert_eq!(running.len(), 4, "{running:?}");
    assert!(running.values().all(|process| process.command() == "sleep 100000"));

    cli.run(&["set", "n[1-4]", "services/web/state=STOP"]).await?;
    cli.run(&["wait", "n[1-4]", "--for", "converged", "--timeout", "60s"]).await?;
    let alive: Vec<&Process> = running.values().filter(|process| process.is_alive()).collect();
    assert!(alive.is_empty(), "STOP has converged, and {alive:?} run");

    wait_until("the events tell of it", SEEN_MAX, async || {
        let told = events.output();
        for node in 1..=4 {
            let name = format!("n{node}");
            let lines = told.lines().filter(|line| line.contains(&name));
            let converged = lines.filter(|line| line.to_lowercase().contains("converged")).count();
            ensure!(converged >= 2, "{name} converged {converged} times:\n{told}");
        }
        Ok(())
    })
    .await?;
    cluster.pass()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_tells_what_is_missing_and_wait_gives_up_in_time() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(1, 3)).await?;
    let cli = cluster.cli();
    cluster.edge()?.apply(&web("n[1-3]")).await?;
    cluster.converged(&["n1", "n2", "n3"], CONVERGED_MAX).await?;
    let well = cli.run(&["why", "n3"]).await?;
    assert!(well.contains("Converged"), "{well}");

    cli.run(&["set", "n3", "services/web/command=/no/such/program"]).await?;
    let waited = cli.try_run(&["wait", "n3", "--for", "converged", "--timeout", "3s"]).await?;
    assert_eq!(waited.code, 3, "{waited:?}");
    wait_until("why names the program that is missing", SEEN_MAX, async || {
        let why = cli.run(&["why", "n3"]).await?;
        ensure!(why.contains("/no/such/program") && why.contains("Start"), "{why}");
        Ok(())
    })
    .await?;
    let other = cli.run(&["why", "n2"]).await?;
    assert!(other.contains("Converged"), "{other}");

    cli.run(&["set", "n3", "services/web/command=sleep"]).await?;
    cli.run(&["wait", "n3", "--for", "converged", "--timeout", "60s"]).await?;
    assert_eq!(cluster.services().await?.len(), 3);
    cluster.pass()
}
