//! What people are told of kinds of their own, whose objects live in namespaces, of kinds that
//! there are not, of labels that nobody has, and of what is frozen. One server, and nodes that
//! never attach.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::wait_until;

use crate::{
    quorum::{Server, Stage},
    transcript::Book,
};

const PAGE: &str = "kinds";
/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_mins(1);
/// Where a kind with namespaces is described.
const DECLARATIONS: &str = include_str!("../../docs/declarations.md");
/// Racks, and nodes that never attach.
const RACKS: &str = "\
kind: rack
namespace: default
name: r[1-2]
cfg: { door: OPEN }
";
const NODES: &str = "\
kind: node
name: w[1-2]
labels: { rack: r1 }
";

/// The kind `rack` as the page has it.
fn racks() -> Result<&'static str> {
    let begun = DECLARATIONS.split("```yaml\n").nth(1).context("no example")?;
    let (example, _) = begun.split_once("```").context("an example without an end")?;
    ensure!(example.contains("name: rack, namespaced: true"), "{example}");
    Ok(example)
}

/// A server that has declared what the release brings, and the files.
async fn begin(stage: &Stage) -> Result<Server> {
    let server = Server::start("a", stage.folder.path()).await?;
    let folder = stage.folder.path().join("a");
    for (name, text) in [("module", racks()?), ("racks", RACKS), ("nodes", NODES)] {
        fs::write(folder.join(format!("{name}.yaml")), text)?;
    }
    let cli = &server.cli;
    cli.run(&["cluster", "init"]).await?;
    server.sees(1).await?;
    wait_until("the release has declared what it brings", BOUND, async || {
        cli.run(&["apply", "-f", "nodes.yaml"]).await
    })
    .await?;
    Ok(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_ones_own() -> Result<()> {
    let stage = Stage::set()?;
    let server = begin(&stage).await?;
    let mut book = Book::new(stage.steady.clone());
    for (line, code) in [
        ("get w1", 1),
        ("get node -o name", 0),
        ("get pods", 1),
        ("get policies", 1),
        ("get module", 1),
        ("why -k pods p1", 1),
        ("delete -k pods p1", 1),
        ("events -k pods", 1),
        ("apply -f module.yaml", 0),
        ("get rack", 0),
        ("get racks", 1),
        ("apply -f racks.yaml", 0),
    ] {
        book.ends(&server.cli, PAGE, line, code).await?;
    }
    wait_until("somebody decides for the racks", BOUND, async || {
        let said = server.cli.run(&["get", "rack", "-o", "json"]).await?;
        ensure!(said.matches("\"phase\"").count() == 2, "{said}");
        Ok(())
    })
    .await?;
    for (line, code) in [
        ("get rack", 0),
        ("get rack -o name", 0),
        ("get rack r1", 1),
        ("get rack default/r[1-2] -o name", 0),
        ("get rack default/r9", 1),
        ("get rack elsewhere/r1", 1),
        ("describe -k rack default/r1", 0),
        ("describe -k rack r1", 1),
        ("why -k rack default/r1", 0),
        ("why -k rack r1", 1),
        ("plan -k rack default/r1", 0),
        ("plan -k rack r9", 1),
        ("label rack/default/r1 row=a", 0),
        ("label rack/r1 row=a", 1),
        ("get rack @row=a -o name", 0),
        ("get rack @row=b", 0),
        ("set rack/default/r1 door=SHUT", 0),
        ("set rack/r1 door=SHUT", 1),
        ("history -k rack default/r1", 0),
        ("edit -k rack r1", 1),
        ("delete -k rack r1", 1),
        ("delete -k rack @row=b", 1),
        ("delete -k rack default/r1", 0),
        ("delete -k rack default/r[1-2] --force", 0),
        ("get rack", 0),
    ] {
        book.ends(&server.cli, PAGE, line, code).await?;
    }
    labels(&server, &mut book).await?;
    book.close()
}

/// Labels that nobody has, and what is frozen.
async fn labels(server: &Server, book: &mut Book) -> Result<()> {
    for (line, code) in [
        ("set @rack=r9 physState=POWER_OFF", 1),
        ("set @rack=r9 physState=POWER_OFF --plan", 1),
        ("label @rack=r1 rack=r1", 0),
        ("label @rack=r9 row=a", 1),
        ("retry @rack=r9", 1),
        ("delete @rack=r9", 1),
        ("wait @rack=r9", 1),
        ("wait @rack=r9 --for deleted", 0),
        ("describe @rack=r9", 0),
        ("freeze --list", 0),
        ("freeze @rack=r9", 0),
        ("freeze w1", 0),
        ("freeze --all", 0),
        ("freeze @rack=r1", 0),
        ("freeze --list -o name", 0),
        ("freeze", 2),
        ("thaw @rack=r9", 0),
        ("thaw w2", 4),
        ("thaw --all", 0),
        ("freeze --list", 0),
        ("delete w1", 0),
        ("delete w2 --force", 0),
    ] {
        book.ends(&server.cli, PAGE, line, code).await?;
    }
    Ok(())
}
