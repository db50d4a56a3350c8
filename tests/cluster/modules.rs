//! Kinds of one's own, declared, used and withdrawn at the command line of a running fleet.

use anyhow::Result;
use kraken_testkit::cluster::{Shape, TestCluster};

use crate::KRAKEN;

const RACKS: &str = "\
kind: module
name: racks
discovers: /door
extensions:
  - name: racks
    kind: rack
    paths:
      - { path: /door, type: [SHUT, OPEN], absent: SHUT, seenBy: control }
mutations:
  - name: Open
    kind: rack
    context: control
    changes: { /door: { from: SHUT, to: OPEN } }
  - name: Shut
    kind: rack
    context: control
    changes: { /door: { from: OPEN, to: SHUT } }
---
kind: rack
name: r[1-2]
cfg: { door: OPEN }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_ones_own_lives_and_goes_in_a_running_fleet() -> Result<()> {
    let cluster = TestCluster::start(KRAKEN, &Shape::of(3, 0)).await?;
    let (cli, file) = (cluster.cli(), cluster.folder().join("racks.yaml"));
    let shown = file.display().to_string();
    std::fs::write(&file, RACKS)?;
    cli.run(&["graph", "check", "-f", &shown]).await?;
    cli.run(&["apply", "-f", &shown]).await?;
    assert_eq!(cli.run(&["get", "rack", "-o", "name"]).await?, "rack/r1\nrack/r2\n");
    let graph = cli.run(&["graph", "--kind", "rack", "-o", "svg"]).await?;
    assert!(graph.contains(">racks/Open</text>"), "{graph}");

    // Another leader, with declarations of its own, lets it be.
    let leads = cli.run(&["cluster", "status", "-o", "json"]).await?;
    let leads: serde_json::Value = serde_json::from_str(&leads)?;
    let next = if leads["leader"] == "m1" { "m2" } else { "m1" };
    cli.run(&["cluster", "leader", next]).await?;
    let modules = cli.run(&["module", "list", "-o", "name"]).await?;
    assert!(modules.lines().any(|module| module == "racks"), "{modules}");

    let refused = cli.try_run(&["module", "remove", "racks"]).await?;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("rack r1"), "{refused:?}");
    let refused = cli.try_run(&["module", "remove", "service"]).await?;
    assert_eq!(refused.code, 4, "{refused:?}");
    cli.run(&["delete", "r[1-2]", "--kind", "rack", "--force"]).await?;
    cli.run(&["module", "remove", "racks"]).await?;
    assert_eq!(cli.try_run(&["graph", "--kind", "rack"]).await?.code, 1);
    cluster.pass()
}
