//! What a person at a terminal sees: lists that are drawn anew, progress, an editor, the whole
//! fleet live, and what TAB offers.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::{
    cli::{Cli, Said},
    cluster::{Shape, TestCluster},
    needs,
    pty::Terminal,
    tool, wait_until,
};
use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::{
    KRAKEN,
    steady::Steady,
    transcript::{Book, cli},
};

/// How long anything may take on a busy machine.
const BOUND: Duration = Duration::from_mins(1);
const WEB: &str = "kind: node
name: n[1-2]
labels: { rack: r1 }
cfg: { services: { web: { state: RUN, command: sleep, args: [\"100000\"] } } }
---
kind: policy
name: slow
cfg: { maxInFlight: 1 }
";

/// A fleet, a desk, and what is written down.
struct Desk {
    cluster: TestCluster,
    folder: PathBuf,
    cli: Cli,
    book: Book,
}

impl Desk {
    async fn set() -> Result<Self> {
        let cluster = TestCluster::start(KRAKEN, &Shape::of(1, 2)).await?;
        let folder = cluster.folder().join("desk");
        fs::create_dir(&folder)?;
        cluster.edge()?.apply(WEB).await?;
        cluster.converged(&["n1", "n2"], BOUND).await?;
        let shown = cluster.folder().display().to_string();
        let steady = Steady::new()?.also(shown, "<folder>");
        fs::create_dir(folder.join("tmp"))?;
        let cli = cli(&folder, &cluster.url("m1")?)?;
        Ok(Self { cluster, folder, cli, book: Book::new(steady) })
    }

    /// A program that changes the file it is given, in the place of an editor.
    fn editor(&self, name: &str, script: &str) -> Result<String> {
        let file = self.folder.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        Ok(file.display().to_string())
    }

    /// Edits without a terminal, and writes down what comes of it.
    async fn edits(&mut self, editor: &str, line: &str, code: i32) -> Result<Said> {
        let server = self.cluster.url("m1")?;
        let folder = self.folder.display().to_string();
        let (editor, tmp) = (format!("VISUAL={editor}"), format!("TMPDIR={folder}/tmp"));
        let prefix = ["env", "-u", "NO_COLOR", "-C", &folder, "COLUMNS=100", &editor, &tmp];
        let cli = Cli::new(KRAKEN, &[server]).through(&prefix);
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = cli.try_run(&words).await?;
        ensure!(said.code == code, "kraken {line}: not {code}, but {said:?}");
        self.book.write("edit", line, &said, &code.to_string())?;
        Ok(said)
    }

    fn terminal(&self, editor: &str, line: &str, (rows, columns): (u16, u16)) -> Result<Terminal> {
        let server = self.cluster.url("m1")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let cli = Cli::new(KRAKEN, &[server]);
        let program = cli.terminal(&self.folder, &words).env("EDITOR", editor);
        program.env("TMPDIR", self.folder.join("tmp")).start(rows, columns)
    }

    /// Waits until what was asked for is so, as plans tell of it.
    async fn settled(&self) -> Result<()> {
        self.cluster.converged(&["n1", "n2"], BOUND).await.map(drop)
    }
}

/// The file in which a text was kept.
fn kept(said: &str) -> Result<PathBuf> {
    let path = said.split("your text is kept in ").nth(1).context("no text is kept")?;
    Ok(PathBuf::from(path.split(':').next().unwrap_or_default().trim()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evening_at_a_terminal() -> Result<()> {
    let mut desk = Desk::set().await?;
    edit(&mut desk).await?;
    edit_by_hand(&mut desk).await?;
    watched(&desk).await?;
    waited(&mut desk).await?;
    top(&mut desk).await?;
    tab(&mut desk).await?;
    bundle(&mut desk).await?;
    desk.book.close()?;
    desk.cluster.pass()
}

async fn edit(desk: &mut Desk) -> Result<()> {
    let same = desk.editor("same", "true")?;
    desk.edits(&same, "edit n1", 0).await?;
    let empty = desk.editor("empty", ": > \"$1\"")?;
    desk.edits(&empty, "edit n1", 0).await?;
    let broken = desk.editor("broken", "exit 3")?;
    desk.edits(&broken, "edit n1", 1).await?;
    let stop = desk.editor("stop", "cat \"$1\"; sed -i 's/state: RUN/state: STOP/' \"$1\"")?;
    desk.edits(&stop, "edit n1 --yes", 0).await?;
    desk.settled().await?;
    let left = fs::read_dir(desk.folder.join("tmp"))?.count();
    ensure!(left == 0, "{left} texts are left behind");
    let start = desk.editor("start", "sed -i 's/state: STOP/state: RUN/' \"$1\"")?;
    let said = desk.edits(&start, "edit n1", 4).await?;
    let file = kept(&said.err)?;
    ensure!(fs::read_to_string(&file)?.contains("state: RUN"));
    fs::remove_file(file)?;
    desk.edits(&start, "edit n1 --yes --note back", 0).await?;
    desk.settled().await?;
    // Wrong at first, then mended; and wrong for good.
    let wrong = desk.editor(
        "wrong",
        "if grep -q 'not one of' \"$1\"; then cat \"$1\"; sed -i 's/: STOPP/: STOP/' \"$1\"; else \
         sed -i 's/state: RUN/state: STOPP/' \"$1\"; fi",
    )?;
    desk.edits(&wrong, "edit n1 --yes", 0).await?;
    desk.settled().await?;
    let hopeless = desk.editor("hopeless", "sed -i 's/^cfg:/cgf:/' \"$1\"")?;
    let said = desk.edits(&hopeless, "edit n1 --yes", 1).await?;
    fs::remove_file(kept(&said.err)?)?;
    // Somebody else writes while the editor is open.
    let url = desk.cluster.url("m1")?;
    let late = desk.editor(
        "late",
        &format!(
            "{KRAKEN} --server {url} set n1 services/web/stop/graceMs=50 >&2; \
                  sed -i 's/state: STOP/state: RUN/' \"$1\""
        ),
    )?;
    let said = desk.edits(&late, "edit n1 --yes", 4).await?;
    let file = kept(&said.err)?;
    ensure!(fs::read_to_string(&file)?.contains("state: RUN"));
    fs::remove_file(file)?;
    desk.edits(&same, "edit n9", 1).await?;
    let faster = desk.editor("faster", "sed -i 's/maxInFlight: 1/maxInFlight: 2/' \"$1\"")?;
    desk.edits(&faster, "edit slow -k policy --yes", 0).await.map(drop)
}

/// With a terminal the plan is shown and asked about.
async fn edit_by_hand(desk: &mut Desk) -> Result<()> {
    let start = desk.editor("start", "sed -i 's/state: STOP/state: RUN/' \"$1\"")?;
    for (answer, code) in [("n\n", 4), ("\u{3}", 1), ("y\n", 0)] {
        let mut terminal = desk.terminal(&start, "edit n1", (20, 100))?;
        terminal.shows("write this?", BOUND).await?;
        let screen = terminal.screen();
        ensure!(screen.contains("/services/web/state: STOP -> RUN"), "{screen}");
        terminal.types(answer)?;
        let ended = terminal.end_within(BOUND).await?;
        let screen = terminal.screen();
        ensure!(ended.code() == Some(code), "{ended}: {screen}");
        if code == 0 {
            ensure!(screen.contains("1 object changed"), "{screen}");
        } else {
            let joined = screen.replace('\n', "");
            fs::remove_file(kept(&joined)?)?;
        }
    }
    desk.settled().await
}

async fn watched(desk: &Desk) -> Result<()> {
    let mut terminal = desk.terminal("", "get nodes --watch", (5, 60))?;
    let is_fitting = |screen: &str| screen.contains("n1 ") && screen.lines().count() <= 5;
    terminal.until("a table that fits", BOUND, is_fitting).await?;
    desk.cli.run(&["freeze", "n1"]).await?;
    terminal.shows("Frozen", BOUND).await?;
    let heads = terminal.screen().matches("NAME").count();
    ensure!(heads == 1, "it is drawn in its place: {}", terminal.screen());
    terminal.resize(3, 60)?;
    terminal.shows("more, for which this terminal is too low", BOUND).await?;
    terminal.types("\u{3}")?;
    ensure!(!terminal.end_within(BOUND).await?.success());
    ensure!(terminal.is_as_before()?);
    desk.cli.run(&["thaw", "n1"]).await?;
    desk.settled().await
}

async fn waited(desk: &mut Desk) -> Result<()> {
    desk.cli.run(&["freeze", "n1"]).await?;
    desk.cli.run(&["set", "n1", "services/web/state=STOP"]).await?;
    let mut terminal = desk.terminal("", "wait n[1-2]", (5, 120))?;
    let tells =
        |screen: &str| ["1/2", "n1 for ", "Frozen: by"].iter().all(|part| screen.contains(part));
    terminal.until("which one is slowest, and why", BOUND, tells).await?;
    desk.cli.run(&["thaw", "n1"]).await?;
    ensure!(terminal.end_within(BOUND).await?.success());
    let screen = terminal.screen();
    ensure!(screen == "2 of 2 nodes have converged", "the bar is gone: {screen}");
    Ok(())
}

async fn top(desk: &mut Desk) -> Result<()> {
    desk.cluster.converged(&["m1", "n1", "n2"], BOUND).await?;
    let mut terminal = desk.terminal("", "top", (10, 90))?;
    let is_live = |screen: &str| screen.contains("led by m1") && screen.contains("3 Converged");
    terminal.until("the quorum and the fleet", BOUND, is_live).await?;
    let said = Said { code: 0, out: terminal.screen() + "\n", err: String::new() };
    desk.book.write("top", "top", &said, "0")?;
    terminal.types("/n1")?;
    terminal.shows("/n1_   1 found", BOUND).await?;
    terminal.types("\r\r")?;
    terminal.shows("object:    node/n1", BOUND).await?;
    desk.cli.run(&["freeze", "n1"]).await?;
    terminal.shows("frozen:    by", BOUND).await?;
    terminal.resize(6, 50)?;
    let is_small =
        |screen: &str| screen.lines().last().is_some_and(|line| line.starts_with("Up, Down"));
    terminal.until("the last line of a smaller terminal", BOUND, is_small).await?;
    terminal.types("q")?;
    terminal.shows("1 found", BOUND).await?;
    terminal.types("q")?;
    ensure!(terminal.end_within(BOUND).await?.success());
    ensure!(terminal.is_as_before()?, "it was left in disorder");
    desk.cli.run(&["thaw", "n1"]).await?;
    // It leaves the terminal as it was also where it is told to end.
    let mut terminal = desk.terminal("", "top @rack=r1", (10, 90))?;
    terminal.shows("2 nodes", BOUND).await?;
    ensure!(!terminal.is_as_before()?);
    terminal.signal(Signal::SIGTERM)?;
    ensure!(terminal.end_within(BOUND).await?.success());
    ensure!(terminal.is_as_before()?, "it was left in disorder");
    let said = desk.cli.try_run(&["top"]).await?;
    ensure!(said.code == 2 && said.err.contains("needs a terminal"), "{said:?}");
    Ok(())
}

/// What is offered, as the program says it to bash; and bash itself.
async fn tab(desk: &mut Desk) -> Result<()> {
    for line in [
        "get ",
        "get nodes n",
        "get nodes n1,",
        "get nodes @",
        "get nodes @rack=",
        "get policy ",
        "describe -k policy s",
        "set ",
        "set policy/",
        "set n1 serv",
        "set n1 services/web/s",
        "set n1 services/web/state=",
        "set policy/slow max",
        "label n1 ra",
        "cluster leader ",
        "module remove f",
        "why --server http://127.0.0.1:1 ",
    ] {
        let typed = format!("kraken {line}");
        let said = desk.cli.try_run(&["__complete", "bash", "", "--", &typed]).await?;
        desk.book.write("tab", &format!("{line}<TAB>"), &said, &said.code.to_string())?;
    }
    let url = desk.cluster.url("m1")?;
    bash(&url).await?;
    fish(&url, &desk.folder).await
}

/// Presses TAB in bash, which parts words at `=` and `@`.
async fn bash(url: &str) -> Result<()> {
    for (line, current, expected) in [
        ("kraken get nodes n", "n", "n1 n2"),
        ("kraken get nodes @rack=", "", "r1"),
        ("kraken set n1 services/web/state=ST", "ST", "STOP"),
        ("kraken set n1 services/web/sta", "services/web/sta", "services/web/state="),
    ] {
        let script = format!(
            "source <({KRAKEN} completions bash); COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; \
             _kraken kraken '{current}' ''; echo \"${{COMPREPLY[@]}}\""
        );
        let output = tokio::process::Command::new("bash")
            .args(["--norc", "-c", &script])
            .env("KRAKEN_SERVER", url)
            .output();
        let output = output.await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.trim() == expected, "{line}: {said:?}, not {expected:?}: {output:?}");
    }
    Ok(())
}

/// Asks fish, which asks the program for it.
async fn fish(url: &str, folder: &Path) -> Result<()> {
    if !needs("fish", tool::has("fish"))? {
        return Ok(());
    }
    let script = format!("{KRAKEN} completions fish | source; complete -C 'kraken get nodes n'");
    let output = tokio::process::Command::new("fish")
        .args(["--no-config", "-c", &script])
        .env("KRAKEN_SERVER", url)
        .env("HOME", folder)
        .env("PATH", path_with_program()?)
        .output();
    let output = output.await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.split_whitespace().collect::<Vec<_>>() == ["n1", "n2"], "{output:?}");
    Ok(())
}

/// The search path with the folder of the program first.
fn path_with_program() -> Result<std::ffi::OsString> {
    let own = Path::new(KRAKEN).parent().context("no folder")?.to_owned();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&rest)))?)
}

async fn bundle(desk: &mut Desk) -> Result<()> {
    desk.book.ends(&desk.cli, "debug", "debug bundle --to bundle", 0).await?;
    desk.book.ends(&desk.cli, "debug", "debug bundle --to bundle", 1).await?;
    desk.book.ends(&desk.cli, "debug", "debug show nothing", 1).await?;
    let mut files: Vec<String> = Vec::new();
    let secret = "100000";
    for file in fs::read_dir(desk.folder.join("bundle"))? {
        let file = file?;
        let text = fs::read_to_string(file.path())?;
        ensure!(!text.is_empty() && !text.contains("notAnswered"), "{file:?}: {text}");
        let is_asked = file.file_name() == "nodes.json" && text.contains(secret);
        ensure!(!is_asked, "what is asked for is in {file:?}");
        files.push(file.file_name().to_string_lossy().into_owned());
    }
    files.sort();
    let said = Said { code: 0, out: files.join("\n") + "\n", err: String::new() };
    desk.book.write("debug", "debug bundle (the folder)", &said, "as written")?;
    let edge = desk.cluster.edge()?;
    wait_until("the member still answers", BOUND, async || Ok(edge.cluster().await?)).await?;
    let parts: Json = serde_json::from_str(&desk.cli.run(&["debug", "show"]).await?)?;
    let parts = parts.as_object().context("no object")?.keys();
    let out = parts.map(|part| format!("{part}\n")).collect();
    let said = Said { code: 0, out, err: String::new() };
    desk.book.write("debug", "debug show (the names of the parts)", &said, "0")
}
