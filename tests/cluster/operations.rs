//! The commands of docs/operations.md, from top to bottom, as a reader copies them.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{lock::Lock, ports, process::Sweep};
use tokio::{process::Command, time::timeout};

use crate::KRAKEN;

const PAGE: &str = include_str!("../../docs/operations.md");
/// How long all of it may take.
const ALL_MAX: Duration = Duration::from_mins(4);

/// The commands of a page, with ports that are free here in the place of its own.
fn script(page: &str) -> Result<String> {
    let (mut script, mut is_code) = (String::new(), false);
    for line in page.lines() {
        match (line.trim(), is_code) {
            ("```sh", false) => is_code = true,
            ("```", true) => is_code = false,
            (_, true) => script.extend([line, "\n"]),
            (_, false) => {}
        }
    }
    let mut free = BTreeMap::new();
    for member in 1..=4 {
        for what in [1, 3, 4] {
            let port = format!("3{member}4{what}");
            ensure!(script.contains(&port), "the page names no port {port}");
            free.insert(port, ports::free()?.port().to_string());
        }
    }
    // By way of marks, lest a free port is one that the page names.
    for port in free.keys() {
        script = script.replace(port, &format!("<{port}>"));
    }
    for (port, taken) in &free {
        script = script.replace(&format!("<{port}>"), taken);
    }
    Ok(script)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_the_page_do_what_it_says() -> Result<()> {
    let _lock = Lock::take()?;
    let folder = tempfile::Builder::new().prefix("kraken-operations-").tempdir()?;
    let _sweep = Sweep::of(folder.path());
    let commands = script(PAGE)?;
    ensure!(commands.contains("snapshot restore") && commands.contains("cluster recover"));
    let all = format!(
        "set -eux\ntrap 'kill $(jobs -p) 2> /dev/null; wait' EXIT\n{commands}\n\
         kraken get nodes n1\n"
    );
    let bin = Path::new(KRAKEN).parent().context("the program is in a folder")?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(all).current_dir(folder.path()).env("PATH", path).kill_on_drop(true);
    let output = bash.env_remove("KRAKEN_SERVER").stdin(Stdio::null()).output();
    let output = timeout(ALL_MAX, output).await.context("the page does not come to its end")??;
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last: Vec<&str> = errors.lines().rev().take(30).collect();
    ensure!(output.status.success(), "{}: {said}\n{last:#?}", output.status);
    for told in ["led by m2", "a quorum is begun with monday.backup", "goes on in epoch"] {
        ensure!(said.contains(told), "nothing said {told:?}: {said}");
    }
    Ok(())
}
