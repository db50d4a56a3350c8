//! What people are told of policies: what each would make of a change, and of steps that wait for a
//! budget or a window. One server with simulated machines, which are to be switched off.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail, ensure};
use kraken_testkit::wait_until;

use crate::{
    quorum::{Server, Stage},
    transcript::Book,
};

/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_mins(1);
/// Hours until the window, which no run of this lasts.
const AWAY_H: u64 = 12;
/// The names of the machines.
const MACHINES: [&str; 4] = ["w1", "w2", "w3", "w4"];
/// The machines.
const FLEET: &str = "\
kind: node
name: w[1-4]
labels: { role: web }
cfg: { physState: POWER_ON, runState: SYNC }
";
/// What becomes of them.
const OFF: &str = "\
kind: node
name: w[1-4]
labels: { role: web }
cfg: { physState: POWER_OFF }
";

/// Machines that cannot be switched off.
const STIFF: &str = "[modules.sim.mutations.PowerOff]\nfail = 1.0\n";

fn policy(limit: &str) -> String {
    format!("kind: policy\nname: web\ncfg:\n  selector: role=web\n  {limit}\n")
}

/// The window, half a day from now.
fn window() -> Result<String> {
    let hours = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 3_600;
    let hour = (hours + AWAY_H) % 24;
    Ok(format!("daily {hour:02}:00-{hour:02}:01 UTC"))
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_hold_a_change() -> Result<()> {
    let stage = Stage::set()?;
    let server = Server::start("a", stage.folder.path()).await?;
    let window = window()?;
    for (name, text) in [
        ("fleet", FLEET.to_owned()),
        ("off", OFF.to_owned()),
        ("none", policy("maxInFlight: 0")),
        ("two", policy("maxInFlight: 2")),
        ("window", policy(&format!("windows: {window}"))),
        ("bake", policy("canary: 1 10h")),
        ("pause", policy("canary: 1 pause")),
        ("mistaken", policy("canary: soon")),
    ] {
        fs::write(stage.folder.path().join("a").join(format!("{name}.yaml")), text)?;
    }
    let mut steady = stage.steady.clone().also(window, "daily <hour>:00-<hour>:01 UTC");
    // Who is in which wave is drawn anew each time, and so is how often a rollout is written.
    for number in 1..=4 {
        steady = steady.also(format!("why w{number}"), "why w<n>");
        steady = steady.also(format!("object:    node/w{number}"), "object:    node/w<n>");
    }
    for number in (1..30).rev() {
        steady = steady.also(format!("in wave {number}"), "in wave <n>");
        steady = steady.also(format!("--expect {number}"), "--expect <revision>");
    }
    let (cli, page) = (&server.cli, "policies");
    let mut book = Book::new(steady);
    cli.run(&["cluster", "init"]).await?;
    server.sees(1).await?;
    cli.run(&["apply", "-f", "fleet.yaml"]).await?;
    for name in MACHINES {
        waits(&server, name, "Converged").await?;
    }

    book.ends(cli, page, "get policy", 0).await?;
    book.ends(cli, page, "apply -f mistaken.yaml", 1).await?;
    book.ends(cli, page, "apply -f two.yaml", 0).await?;
    book.ends(cli, page, "plan -f off.yaml", 0).await?;
    for limit in ["pause", "bake", "window", "none"] {
        cli.run(&["apply", "-f", &format!("{limit}.yaml")]).await?;
        book.ends(cli, page, "plan -f off.yaml", 0).await?;
    }
    cli.run(&["apply", "-f", "off.yaml"]).await?;
    waits(&server, "w1", "none may be in flight").await?;
    book.ends(cli, page, "why w1", 0).await?;

    cli.run(&["apply", "-f", "window.yaml"]).await?;
    waits(&server, "w1", "windows").await?;
    book.ends(cli, page, "why w1", 0).await?;

    cli.run(&["apply", "-f", "pause.yaml"]).await?;
    let paused = one_of(&server, "the rollout pauses").await?;
    book.ends(cli, page, &format!("why {paused}"), 0).await?;
    book.ends(cli, page, "set policy/web resume=1", 0).await?;
    cli.run(&["wait", "w[1-4]", "--timeout", "1m"]).await?;
    book.close()
}

/// The second machine that cannot be switched off stops the change before it reaches the others.
#[tokio::test(flavor = "multi_thread")]
async fn failures_stop_a_change() -> Result<()> {
    let stage = Stage::set()?;
    let server = Server::start_with("a", stage.folder.path(), STIFF).await?;
    let limit = "maxInFlight: 2\n  maxFailed: 1";
    for (name, text) in
        [("fleet", FLEET.to_owned()), ("off", OFF.to_owned()), ("guard", policy(limit))]
    {
        fs::write(stage.folder.path().join("a").join(format!("{name}.yaml")), text)?;
    }
    let (cli, page) = (&server.cli, "policies_stop");
    let mut book = Book::new(stage.steady.clone());
    cli.run(&["cluster", "init"]).await?;
    server.sees(1).await?;
    cli.run(&["apply", "-f", "fleet.yaml"]).await?;
    for name in MACHINES {
        waits(&server, name, "Converged").await?;
    }
    cli.run(&["apply", "-f", "guard.yaml"]).await?;
    cli.run(&["apply", "-f", "off.yaml"]).await?;
    for name in MACHINES {
        waits(&server, name, "Frozen").await?;
    }

    book.ends(cli, page, "get nodes @role=web", 0).await?;
    // Of those that have failed it depends on what was seen of them since.
    book.ends(cli, page, "why w4", 0).await?;
    book.ends(cli, page, "events --type rollout", 0).await?;
    // Which of them is frozen first depends on when attempts end.
    book.ends(cli, page, "events w4 --type frozen", 0).await?;
    book.ends(cli, page, "events --type froze", 2).await?;
    book.ends(cli, page, "events w1 -k policy", 0).await?;
    book.close()
}

/// Waits until the status of some machine says something.
async fn one_of(server: &Server, what: &str) -> Result<String> {
    wait_until(&format!("one says {what}"), BOUND, async || {
        for name in MACHINES {
            if format!("{:?}", server.edge.node(name).await?.status).contains(what) {
                return Ok(name.to_owned());
            }
        }
        bail!("none does")
    })
    .await
}

/// Waits until the status of a machine says something.
async fn waits(server: &Server, name: &str, what: &str) -> Result<()> {
    wait_until(&format!("{name} says {what}"), BOUND, async || {
        let node = server.edge.node(name).await?;
        let status = format!("{:?}", node.status);
        ensure!(status.contains(what), "{status}");
        Ok(())
    })
    .await
}
