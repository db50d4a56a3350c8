//! What needs no fleet: help, the configuration of what serves, and a fleet that is not there.

use std::{fs, path::Path};

use anyhow::Result;
use kraken_testkit::{cli::Said, ports};
use tempfile::TempDir;

use crate::{
    steady::Steady,
    transcript::{Book, cli},
};

/// A configuration with a mistake in line 5.
const MISTAKEN: &str = "[node]\nname = \"m1\"\n\n[http]\nlisen = \"127.0.0.1:3141\"\n";
/// One that says little.
const SMALL: &str = "[node]\nname = \"n1\"\n[agent]\nparents = [\"m1:3144\", \"m2:3144\"]\n";

fn folder() -> Result<(TempDir, Steady)> {
    let folder = tempfile::tempdir()?;
    let steady = Steady::new()?.also(folder.path().display().to_string(), "<folder>");
    Ok((folder, steady))
}

/// A server that does not run.
fn nobody() -> Result<String> {
    Ok(format!("http://{}", ports::free()?))
}

#[tokio::test]
async fn help() -> Result<()> {
    let (folder, steady) = folder()?;
    let (cli, mut book) = (cli(folder.path(), &nobody()?)?, Book::new(steady));
    let help = book.ends(&cli, "help", "--help", 0).await?;
    book.ends(&cli, "help", "", 2).await?;
    book.ends(&cli, "help", "--version", 0).await?;
    let verbs = help.out.lines().skip_while(|line| *line != "Commands:").skip(1);
    // What is said of a verb may go on in a line that begins further in.
    let own = |line: &&str| line.is_empty() || !line.starts_with("   ");
    for verb in verbs.filter(own).map_while(|line| line.split_whitespace().next()) {
        if !matches!(verb, "help" | "cluster" | "context" | "debug" | "module") {
            book.ends(&cli, "help", &format!("{verb} --help"), 0).await?;
        }
    }
    book.ends(&cli, "help", "cluster --help", 0).await?;
    for verb in ["status", "init", "join", "remove", "leader"] {
        book.ends(&cli, "help", &format!("cluster {verb} --help"), 0).await?;
    }
    book.ends(&cli, "help", "graph check --help", 0).await?;
    for (group, verbs) in [
        ("module", ["list", "new", "add", "remove"].as_slice()),
        ("context", &["list", "use", "set", "remove"]),
        ("debug", &["show", "bundle"]),
    ] {
        book.ends(&cli, "help", &format!("{group} --help"), 0).await?;
        for verb in verbs {
            book.ends(&cli, "help", &format!("{group} {verb} --help"), 0).await?;
        }
    }
    for what in ["plan", "converge"] {
        book.ends(&cli, "help", &format!("bench {what} --help"), 0).await?;
    }
    book.close()
}

/// A lamp whose failure nothing leads away from.
const TRAP: &str = "\
kind: module
name: lamp
discovers: /lamp
extensions:
  - name: lamp
    paths:
      - { path: /lamp, type: [OFF, ON, HANG] }
mutations:
  - name: SwitchOn
    changes: { /lamp: { from: OFF, to: ON } }
    failTo: { /lamp: HANG }
  - name: SwitchOff
    changes: { /lamp: { from: ON, to: OFF } }
";

#[tokio::test]
async fn graph_check() -> Result<()> {
    let (folder, steady) = folder()?;
    fs::write(folder.path().join("trap.yaml"), TRAP)?;
    fs::write(folder.path().join("sound.yaml"), TRAP.replace("from: ON", "from: [ON, HANG]"))?;
    fs::write(folder.path().join("mistaken.yaml"), TRAP.replace("changes", "chnages"))?;
    fs::write(folder.path().join("node.yaml"), "kind: node\nname: n1\n")?;
    let (cli, mut book) = (cli(folder.path(), &nobody()?)?, Book::new(steady));
    for (line, code) in [
        ("-f sound.yaml", 0),
        ("-f trap.yaml", 1),
        ("-f trap.yaml -o json", 1),
        ("-f sound.yaml trap.yaml", 1),
        ("-f mistaken.yaml", 1),
        ("-f node.yaml", 2),
        ("-f nowhere.yaml", 2),
        ("", 1),
    ] {
        book.ends(&cli, "graph_check", &format!("graph check {line}"), code).await?;
    }
    book.close()
}

#[tokio::test]
async fn server_and_agent() -> Result<()> {
    let (folder, steady) = folder()?;
    fs::write(folder.path().join("mistaken.toml"), MISTAKEN)?;
    fs::write(folder.path().join("small.toml"), SMALL)?;
    let (cli, mut book) = (cli(folder.path(), &nobody()?)?, Book::new(steady));
    for (line, code) in [
        ("--help", 0),
        ("--name m1 --print-config", 0),
        ("--config small.toml --set log.format=json --data data --print-config", 0),
        ("--config mistaken.toml", 2),
        ("--config nowhere.toml", 2),
        ("--set http.listen=nowhere", 2),
        ("--set http.listen=0.0.0.0:3141", 2),
        ("--set cluster", 2),
        ("--name a/b", 2),
        ("--port 3141", 2),
    ] {
        book.ends(&cli, "server", &format!("server {line}"), code).await?;
    }
    for (line, code) in [
        ("--help", 0),
        ("--config small.toml --print-config", 0),
        ("--name n1 --data data", 2),
        ("--config mistaken.toml", 2),
        ("--config small.toml --set agent.parents=m1", 2),
    ] {
        book.ends(&cli, "agent", &format!("agent {line}"), code).await?;
    }
    book.close()
}

#[tokio::test]
async fn nobody_there() -> Result<()> {
    let (folder, steady) = folder()?;
    let (server, mut book) = (nobody()?, Book::new(steady));
    let cli = cli(folder.path(), &server)?;
    let two = format!("get nodes --server {server},{}", nobody()?);
    for (line, code) in [
        ("get nodes", 1),
        (two.as_str(), 1),
        ("cluster status", 1),
        ("get nodes --server https://127.0.0.1:3141", 2),
        ("frobnicate", 2),
        ("gte nodes", 2),
        ("get nodes --wide", 2),
        ("get nodes -o jsn", 2),
        ("get nodes n[1-", 2),
        ("get nodes n[4-1]", 2),
        ("get nodes @=r1", 2),
        ("get @rack=r1", 2),
        ("why n[1-2]", 2),
        ("plan n[1-2]", 2),
        ("plan", 2),
        ("set n1", 2),
        ("set n1 services/web/state", 2),
        ("set n1 a/b=1 a=2", 2),
        ("label n1 rack", 2),
        ("apply", 2),
        ("apply -f nowhere.yaml", 2),
        ("freeze", 2),
        ("freeze --all n1", 2),
        ("wait n1 --for ready", 2),
        ("wait n1 --timeout soon", 2),
        ("events --limit 0", 2),
        ("graph -o png", 2),
        ("cluster", 2),
        ("cluster join", 2),
        ("up --http 0.0.0.0:0", 2),
        ("up --leaves 5000", 2),
        ("up --state nowhere.yaml", 2),
    ] {
        book.ends(&cli, "mistakes", line, code).await?;
    }
    book.close()
}

#[tokio::test]
async fn a_module_of_ones_own() -> Result<()> {
    let (folder, steady) = folder()?;
    let source = env!("CARGO_MANIFEST_DIR");
    let steady = steady.also(source, "/path/to/source");
    let (cli, mut book) = (cli(folder.path(), &nobody()?)?, Book::new(steady));
    for (line, code) in [
        (format!("module new door-lock --sdk {source}"), 0),
        (format!("module new door-lock --sdk {source}"), 1),
        ("module new lamp".to_owned(), 2),
        ("module new lamp --sdk .".to_owned(), 2),
        ("module new service".to_owned(), 2),
        ("module new Lamp".to_owned(), 2),
    ] {
        book.ends(&cli, "module_new", &line, code).await?;
    }
    let lock = |of: &Path| fs::read_to_string(of.join("Cargo.lock"));
    assert_eq!(lock(&folder.path().join("door-lock"))?, lock(Path::new(source))?);
    for file in ["Cargo.toml", "src/main.rs"] {
        let text = fs::read_to_string(folder.path().join("door-lock").join(file))?;
        let said = Said { code: 0, out: text, err: String::new() };
        book.write("module_new", &format!("module new door-lock ({file})"), &said, "as written")?;
    }
    book.close()
}

/// Nodes of which one at a time may be disrupted.
const ROLLED: &str = "\
kind: policy
name: slow
cfg: { maxInFlight: 1 }
---
kind: node
name: n[1-12]
cfg: { physState: POWER_ON, runState: SYNC }
";

#[tokio::test]
async fn simulation() -> Result<()> {
    let (folder, steady) = folder()?;
    fs::write(folder.path().join("rolled.yaml"), ROLLED)?;
    fs::write(folder.path().join("nothing.yaml"), "")?;
    let (cli, mut book) = (cli(folder.path(), &nobody()?)?, Book::new(steady));
    book.ends(&cli, "sim", "sim --nodes 20 --seed 7", 0).await?;
    let faults = "sim --nodes 200 --seed 7 --latency 1s..3s --faults fail=5,hang=1,lie=1,drift=1";
    book.ends(&cli, "sim", faults, 0).await?;
    book.ends(&cli, "sim", "sim --state rolled.yaml --seed 7 --faults fail=30", 0).await?;
    book.ends(&cli, "sim", "sim --nodes 5 --seed 7 --svg five.svg", 0).await?;
    let picture = fs::read_to_string(folder.path().join("five.svg"))?;
    let said = Said { code: 0, out: picture, err: String::new() };
    book.write("sim", "sim ... (five.svg)", &said, "as drawn")?;
    book.ends(&cli, "sim", "sim --state nothing.yaml", 2).await?;
    book.ends(&cli, "sim", "sim", 2).await?;
    book.ends(&cli, "sim", "sim --nodes 5 --faults fire=1", 2).await?;
    book.close()
}
