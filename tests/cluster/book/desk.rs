//! A reader: types what a page says into one shell, in an empty folder, and holds what is printed
//! against what the page shows.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kraken_testkit::{
    lock::Lock,
    ports,
    process::{Process, Sweep},
    wait_until,
};
use nix::{
    sys::signal::Signal,
    unistd::{Uid, User},
};
use regex::Regex;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use super::{
    loose::{compare, numbers},
    page::{Step, Typed, steps},
};
use crate::KRAKEN;

/// How long one command may take.
const COMMAND_MAX: Duration = Duration::from_secs(90);
/// How long something may take to show.
const SHOWN_MAX: Duration = Duration::from_secs(20);
/// Ports as pages name them: those that are used unless configured, and others of the same form.
const PORTS: &str = r"(?-u:\b)3[1-9]4[1-9](?-u:\b)";
/// Verbs that only look. What they look for may come a moment later, so that they are asked again
/// until they show what the page shows.
const LOOKS: [&str; 9] =
    ["get", "describe", "why", "plan", "events", "history", "cluster status", "diff", "graph"];
/// What builds or installs, which whoever runs the tests has done.
const BUILT: [&str; 5] = ["apt-get", "cargo build", "cargo test", "cargo install", "git clone"];

/// The shell, and where it is.
pub(super) struct Desk {
    bash: Child,
    place: TempDir,
    ports: BTreeMap<String, String>,
    /// Numbers that pages have shown, with those that were printed here.
    numbers: BTreeMap<String, String>,
    /// The fleet that stands: the command that it was started by.
    fleet: Option<String>,
    count: usize,
    user: String,
    _sweep: Sweep,
    _lock: Lock,
}

impl Desk {
    /// An empty folder, and a shell that finds `kraken`. With `server` the first member of a fleet
    /// is where a page says that it is unless one says otherwise.
    pub(super) fn set(has_server: bool) -> Result<Self> {
        let lock = Lock::take()?;
        let place = tempfile::Builder::new().prefix("kraken-book-").tempdir()?;
        for folder in ["desk", "home", "tmp", "said"] {
            fs::create_dir(place.path().join(folder))?;
        }
        // What the source of Kraken is to a reader who has it at home.
        let source = place.path().join("home/kraken");
        std::os::unix::fs::symlink(env!("CARGO_MANIFEST_DIR"), source)?;
        let sweep = Sweep::of(place.path());
        let bin = Path::new(KRAKEN).parent().context("the program is in a folder")?;
        let mut bash = Command::new("bash");
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.as_encoded_bytes().starts_with(b"KRAKEN_")) {
            bash.env_remove(name);
        }
        let mut desk_ports = BTreeMap::new();
        if has_server {
            let port = ports::free()?.port().to_string();
            bash.env("KRAKEN_SERVER", format!("http://127.0.0.1:{port}"));
            desk_ports.insert("3141".to_owned(), port);
        }
        let errors = fs::File::create(place.path().join("said/errors"))?;
        bash.current_dir(place.path().join("desk"))
            .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH")?))
            .env("HOME", place.path().join("home"))
            .env("TMPDIR", place.path().join("tmp"))
            .env("COLUMNS", "100")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(errors)
            .kill_on_drop(true);
        let bash = bash.spawn().context("the commands of pages are for bash")?;
        let user = User::from_uid(Uid::current())?.map_or("root".to_owned(), |user| user.name);
        Ok(Self {
            bash,
            place,
            ports: desk_ports,
            numbers: BTreeMap::new(),
            fleet: None,
            count: 0,
            user,
            _sweep: sweep,
            _lock: lock,
        })
    }

    /// Does what a page says, from top to bottom; returns all that was printed. The error tells of
    /// every command that does not do what the page says, as far as the page can be gone on with.
    pub(super) async fn read(&mut self, page: &str) -> Result<String> {
        let (mut printed, mut wrong) = (String::new(), Vec::new());
        for step in steps(page)? {
            match step {
                Step::Script { line, text } => {
                    let said = self.script(&text).await;
                    printed += &said.with_context(|| format!("line {line} of the page"))?;
                }
                Step::Typed(typed) => {
                    let line = format!("line {} of the page: {}", typed.line, typed.command);
                    match self.typed(&typed).await.context(line) {
                        Ok(said) => printed += &said,
                        Err(error) => wrong.push(format!("{error:#}")),
                    }
                }
                // Held by a test that starts nothing.
                Step::Form { .. } => {}
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(printed)
    }

    /// Runs a block that must succeed, as `set -e` understands that.
    async fn script(&mut self, text: &str) -> Result<String> {
        let text = self.here(text)?;
        let said = self.file("said");
        let script = format!("set -e\n{{\n{text}}} < /dev/null > {} 2>&1\n", said.display());
        let code = self.ends(&format!("{script}set +e\ncode=0\n")).await;
        let shown = fs::read_to_string(&said).unwrap_or_default();
        let code = code.with_context(|| format!("it said {shown}"))?;
        ensure!(code == 0, "it ends with {code}: {shown}");
        Ok(shown)
    }

    async fn typed(&mut self, typed: &Typed) -> Result<String> {
        if BUILT.iter().any(|word| typed.command.starts_with(word)) {
            ensure!(typed.shown.iter().all(|line| line == ".."), "it is not run, so show nothing");
            return Ok(String::new());
        }
        let lamp = Path::new(KRAKEN).with_file_name("examples/lamp");
        let command = typed.command.replace("cargo run -- ", "kraken ");
        let command = command.replace("cargo run --example lamp --", &lamp.display().to_string());
        let is_up = command.split(' ').nth(1) == Some("up");
        if is_up && self.fleet.as_ref() == Some(&command) {
            // An earlier page has started it.
            return Ok(String::new());
        }
        if is_up {
            self.fleet = Some(command.clone());
        }
        if is_up || typed.after.is_some() {
            return self.goes_on(&command, is_up, typed).await;
        }
        let asked = command.strip_prefix("kraken ").unwrap_or_default();
        let looks = LOOKS.iter().any(|verb| asked.starts_with(verb));
        let began = std::time::Instant::now();
        loop {
            let (code, said) = self.run(&command).await?;
            let compared = compare(&typed.shown, &said, false);
            if code == typed.exit
                && let Ok(pairs) = &compared
            {
                self.numbers.extend(numbers(pairs));
                return Ok(said);
            }
            if !looks || began.elapsed() > SHOWN_MAX {
                ensure!(code == typed.exit, "it ends with {code}, not with {}: {said}", typed.exit);
                compared.map_err(anyhow::Error::msg)?;
            }
        }
    }

    /// Runs a command to its end; returns its code and what it has printed.
    async fn run(&mut self, command: &str) -> Result<(i32, String)> {
        let command = self.here(command)?;
        let said = self.file("said");
        let into = said.display();
        let script = format!("code=0; {{ {command}\n}} < /dev/null > {into} 2>&1 || code=$?\n");
        let code = self.ends(&script).await?;
        Ok((code, self.words(&said)?))
    }

    /// Begins a command that goes on, waits until it shows what it is to show, and, where the page
    /// says so, interrupts it.
    async fn goes_on(&mut self, command: &str, is_up: bool, typed: &Typed) -> Result<String> {
        let mut command = self.here(command)?;
        if let Some(port) = self.ports.get("3141").filter(|_| is_up) {
            command.extend([" --http 127.0.0.1:", port]);
        }
        let (said, pid) = (self.file("said"), self.file("pid"));
        // In a job of its own, as one that is typed: a shell has other jobs pass over interrupts.
        let script = format!(
            "set -m; {command} < /dev/null > {} 2>&1 & pid=$!; set +m; echo $pid > {}; code=0\n",
            said.display(),
            pid.display()
        );
        self.ends(&script).await?;
        let pid: i32 = fs::read_to_string(&pid)?.trim().parse()?;
        let process = Process::of(pid).context("it ends at once")?;
        let pairs = wait_until("it shows what the page shows", COMMAND_MAX, async || {
            let words = self.words(&said)?;
            compare(&typed.shown, &words, true).map_err(anyhow::Error::msg)
        })
        .await?;
        self.numbers.extend(numbers(&pairs));
        let Some(after) = &typed.after else { return self.words(&said) };
        process.signal(Signal::SIGINT)?;
        let code = self.ends(&format!("code=0; wait {pid} || code=$?\n")).await?;
        let words = self.words(&said)?;
        let all: Vec<String> = typed.shown.iter().chain(after).cloned().collect();
        compare(&all, &words, false).map_err(anyhow::Error::msg)?;
        // Who listens to no signals ends by it, which shells tell so.
        let by_signal = 128 + Signal::SIGINT as i32;
        let is_expected = code == typed.exit || (typed.exit == 0 && code == by_signal);
        ensure!(is_expected, "it ends with {code}: {words}");
        Ok(words)
    }

    /// Has the shell do this and waits until it has; returns what is then in `code`.
    async fn ends(&mut self, script: &str) -> Result<i32> {
        let (code, whole) = (self.file("code"), self.file("whole"));
        let (code, whole) = (code.display(), whole.display());
        let script = format!("{script}\necho $code > {whole}; mv {whole} {code}\n");
        let stdin = self.bash.stdin.as_mut().context("the shell listens")?;
        stdin.write_all(script.as_bytes()).await?;
        stdin.flush().await?;
        let file = PathBuf::from(code.to_string());
        let bash = &mut self.bash;
        let ended = wait_until("the command has ended", COMMAND_MAX, async || {
            if let Some(status) = bash.try_wait()? {
                return Ok(Err(status));
            }
            Ok(Ok(fs::read_to_string(&file)?))
        });
        match ended.await? {
            Ok(code) => Ok(code.trim().parse()?),
            Err(status) => {
                let errors = fs::read_to_string(self.place.path().join("said/errors"))?;
                bail!("a command fails: {status}; {errors}")
            }
        }
    }

    /// A file that does not exist yet, of a name that no other one has.
    fn file(&mut self, what: &str) -> PathBuf {
        self.count += 1;
        self.place.path().join(format!("said/{}-{what}", self.count))
    }

    /// What was printed, whoever runs the test.
    fn words(&self, said: &Path) -> Result<String> {
        let words = String::from_utf8_lossy(&fs::read(said)?).into_owned();
        let home = self.place.path().join("home").display().to_string();
        let words = words.replace(&format!("by {}", self.user), "by root").replace(&home, "/root");
        Ok(words.replace(&format!("{} froze", self.user), "root froze"))
    }

    /// A command with what is so here in the place of what the page names: ports that are free, and
    /// numbers that were printed where the page shows others.
    fn here(&mut self, command: &str) -> Result<String> {
        let named = Regex::new(PORTS)?;
        for port in named.find_iter(command).map(|found| found.as_str().to_owned()) {
            if let Entry::Vacant(unknown) = self.ports.entry(port) {
                unknown.insert(ports::free()?.port().to_string());
            }
        }
        let number = Regex::new(r"(?-u:\b)[0-9]{2,}(?-u:\b)")?;
        let here = number.replace_all(command, |found: &regex::Captures<'_>| {
            let known = self.ports.get(&found[0]).or_else(|| self.numbers.get(&found[0]));
            known.map_or_else(|| found[0].to_owned(), String::clone)
        });
        Ok(here.into_owned())
    }
}
