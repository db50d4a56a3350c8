//! The module with real processes: started, probed, watched, adopted, stopped.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use kraken_actors::{
    clock::Clock,
    module::{ObjectView, Report, Reporter, fake, reporter::Stamps},
};
use kraken_engine::{
    catalog::Catalog,
    id::{AttemptId, Name},
    path::Path,
    state::State,
    value::Value,
};
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::*;

/// Longest wait for anything in a test.
const WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default)]
struct Seen {
    values: BTreeMap<String, Value>,
    events: Vec<String>,
    progress: Vec<String>,
}

impl Seen {
    fn text(&self, key: &str) -> &str {
        self.values.get(&format!("/services/web/{key}")).and_then(Value::as_str).unwrap_or("")
    }

    fn int(&self, key: &str) -> i64 {
        self.values.get(&format!("/services/web/{key}")).and_then(Value::as_int).unwrap_or(-1)
    }
}

/// A node with one module, whose agent may come and go.
struct World {
    folder: tempfile::TempDir,
    cfg: State,
    keeper: Arc<Keeper>,
    reporter: Reporter,
    seen: watch::Receiver<Seen>,
}

impl World {
    fn new(pairs: &[(&str, Value)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (queue, mut reports) = mpsc::channel(64);
        let node = Name::new("n1").unwrap();
        let stamps = Stamps::new(node, Clock::new());
        let reporter = Reporter::new(Name::new("service").unwrap(), stamps, queue);
        let (tx, seen) = watch::channel(Seen::default());
        tokio::spawn(async move {
            while let Some(report) = reports.recv().await {
                tx.send_modify(|seen| match report {
                    Report::Seen(sighted) => {
                        for (path, value) in sighted.values {
                            seen.values.remove(path.as_str());
                            seen.values.extend(value.map(|value| (path.to_string(), value)));
                        }
                    }
                    Report::Progress { text, .. } => seen.progress.push(text),
                    Report::Event { text, .. } => seen.events.push(text),
                });
            }
        });
        let keeper = keeper(&folder, &reporter);
        let mut world = Self { folder, cfg: State::new(), keeper, reporter, seen };
        for (key, value) in pairs {
            world.set(key, value.clone());
        }
        world
    }

    /// A service that runs this shell script.
    fn script(script: &str) -> Self {
        Self::new(&[("command", "sh".into()), ("args", texts(&["-c", script]))])
    }

    fn set(&mut self, key: &str, value: Value) {
        let path = Path::new(format!("/services/web/{key}")).unwrap();
        self.cfg.set(path, value).unwrap();
    }

    fn object(&self) -> Arc<ObjectView> {
        let node = (*fake::node("n1")).clone();
        Arc::new(ObjectView { cfg: self.cfg.clone(), ..node })
    }

    fn ask(&self, mutation: &str) -> Mutate {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Mutate {
            attempt: AttemptId::derive(&Name::new("n1").unwrap(), 1, count),
            mutation: Name::new(mutation).unwrap(),
            bindings: vec!["web".into()],
            object: self.object(),
            deadline: Instant::now() + WAIT,
            cancel: CancellationToken::new(),
            reporter: self.reporter.clone(),
        }
    }

    async fn mutate(&self, mutation: &str) -> Result<(), MutateError> {
        self.keeper.mutate(&self.ask(mutation)).await
    }

    async fn poll(&self) {
        self.keeper.poll(&self.object()).await;
    }

    async fn until(&mut self, what: &str, met: impl Fn(&Seen) -> bool) -> Seen {
        let found = timeout(WAIT, self.seen.wait_for(|seen| met(seen))).await;
        found.unwrap_or_else(|_| panic!("never seen: {what}")).unwrap().clone()
    }

    async fn state(&mut self, state: &str) -> Seen {
        self.until(state, |seen| seen.text("state") == state).await
    }

    /// The agent ends without a word, and another comes.
    fn restart_agent(&mut self) {
        self.keeper = keeper(&self.folder, &self.reporter);
        self.keeper.adopt();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("web").join(name)
    }

    /// A pipe with a name, for a service to wait at.
    fn gate(&self) -> PathBuf {
        fs::create_dir_all(self.path("work")).unwrap();
        let gate = self.path("work/gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        gate
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path("out.log")).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = stop_all(self.folder.path(), Duration::ZERO) {
            eprintln!("{error}");
        }
    }
}

fn keeper(folder: &tempfile::TempDir, reporter: &Reporter) -> Arc<Keeper> {
    let kit = Kit {
        node: Name::new("n1").unwrap(),
        data: folder.path().to_owned(),
        reporter: reporter.clone(),
    };
    Arc::new(Keeper::new(kit, Some(shim())).unwrap())
}

fn shim() -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let test = "service::tests::without_a_run_the_shim_becomes_nothing";
    // With one thread, which is the default on one core, it would say the test's name first.
    let how = ["--exact", test, "--nocapture", "--test-threads=2"];
    std::iter::once(program.to_str().unwrap()).chain(how).map(str::to_owned).collect()
}

fn texts(items: &[&str]) -> Value {
    items.iter().map(|item| Value::from(*item)).collect()
}

/// Lets a service that waits at the gate go on.
async fn feed(gate: &std::path::Path) {
    let deadline = Instant::now() + WAIT;
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    loop {
        let open = fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(gate);
        match open {
            Ok(mut gate) => return gate.write_all(b"go\n").unwrap(),
            Err(error) => assert!(Instant::now() < deadline, "nobody waits at the gate: {error}"),
        }
        tokio::task::yield_now().await;
    }
}

fn kill(pid: i64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
}

fn is_alive(pid: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Besides its claim, this test is the shim of the others: they start it with a run.
#[test]
fn without_a_run_the_shim_becomes_nothing() {
    if std::env::var_os("KRAKEN_RUN").is_some() {
        exec_shim();
        std::process::exit(127);
    }
    assert_eq!(format!("{:?}", exec_shim()), format!("{:?}", std::process::ExitCode::from(127)));
}

#[test]
fn the_manifest_compiles() {
    let catalog =
        Catalog::build(&[Service::manifest()]).map_err(|problems| problems[0].to_string());
    let kind = Name::new("node").unwrap();
    assert_eq!(catalog.unwrap().kind(&kind).unwrap().mutations.len(), 3);
}

#[test]
fn the_digest_that_is_seen_is_the_one_that_is_wanted() {
    let catalog = Catalog::build(&[Service::manifest()]).unwrap();
    let schema = &catalog.kind(&Name::new("node").unwrap()).unwrap().schema;
    let mut cfg = State::new();
    for (path, value) in [
        ("/services/web/state", Value::from("RUN")),
        ("/services/web/command", "sh".into()),
        ("/services/web/env/A", "1".into()),
        ("/services/webb/command", "other".into()),
    ] {
        cfg.set(Path::new(path).unwrap(), value).unwrap();
    }
    let goal = schema.goal(&cfg, false);
    let wish = spec::Wish::read(&Name::new("web").unwrap(), &cfg);
    assert_eq!(goal.get("/services/web/spec"), Some(&wish.digest.into()));
    assert_eq!(goal.len(), 2);
}

#[tokio::test]
async fn a_service_runs_in_a_session_of_its_own_with_a_clean_environment() {
    let script = "env | sort; pwd; grep SigIgn /proc/self/status; ls /proc/self/fd; exec sleep 600";
    let mut world = World::script(script);
    world.set("env/GREETING", "hello ${node.name}".into());
    world.mutate("Start").await.unwrap();
    let seen = world.state("RUN").await;
    let pid = seen.int("pid");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!((fields[2], fields[3]), (&*pid.to_string(), &*pid.to_string()));
    let output = world.output();
    let (env, rest) = output.split_once("PWD=").unwrap();
    for line in ["GREETING=hello n1", "KRAKEN_NODE=n1", "KRAKEN_SERVICE=web", "LANG="] {
        assert!(env.contains(line), "{line} in {output}");
    }
    assert!(!output.contains("CARGO"), "{output}");
    assert!(rest.contains(world.path("work").to_str().unwrap()), "{output}");
    let ignored = rest.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    // 32 and 33 are the C library's own.
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & !(3 << 31), 0, "{output}");
    assert!(rest.trim_end().ends_with("0\n1\n2\n3"), "{output}");
    assert!(!seen.text("spec").is_empty());
    assert!(seen.int("sinceMs") > 1_700_000_000_000);
}

#[tokio::test]
async fn a_killed_process_is_seen_and_started_again() {
    let mut world = World::script("exec sleep 600");
    world.mutate("Start").await.unwrap();
    let pid = world.state("RUN").await.int("pid");
    let killed = Instant::now();
    kill(pid);
    let seen = world.until("the event", |seen| !seen.events.is_empty()).await;
    assert!(killed.elapsed() < Duration::from_secs(2));
    let text = format!("process {pid} killed by signal 9 (SIGKILL)");
    assert_eq!(seen.events, [format!("service web: {text}")]);
    assert_eq!((seen.text("state"), seen.text("error")), ("FAILED", text.as_str()));
    world.mutate("Start").await.unwrap();
    let again = world.until("RUN again", |seen| seen.text("state") == "RUN").await;
    assert_ne!(again.int("pid"), pid);
    assert_eq!(again.int("restarts"), 1);
    assert_eq!(again.text("exit"), text);
}

#[tokio::test]
async fn what_a_killed_process_leaves_behind_is_ended_too() {
    let mut world = World::script("sleep 601 & echo $!; wait");
    world.mutate("Start").await.unwrap();
    let pid = world.state("RUN").await.int("pid");
    let child: i64 = world.output().trim().lines().last().unwrap().parse().unwrap();
    assert!(is_alive(child));
    kill(pid);
    world.state("FAILED").await;
    while is_alive(child) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_repeated_start_starts_nothing() {
    let mut world = World::script("echo begun; exec sleep 600");
    let ask = world.ask("Start");
    let (first, second) = tokio::join!(world.keeper.mutate(&ask), world.keeper.mutate(&ask));
    assert_eq!((first, second), (Ok(()), Ok(())));
    world.mutate("Start").await.unwrap();
    world.state("RUN").await;
    assert_eq!(world.output().matches("begun").count(), 1);
}

#[tokio::test]
async fn a_restarted_agent_adopts_what_runs_and_restarts_none() {
    let mut world = World::script("echo begun; exec sleep 600");
    world.mutate("Start").await.unwrap();
    let before = world.state("RUN").await;
    world.restart_agent();
    world.poll().await;
    let after = world.state("RUN").await;
    for key in ["pid", "sinceMs", "restarts"] {
        assert_eq!(after.int(key), before.int(key), "{key}");
    }
    assert_eq!(after.text("spec"), before.text("spec"));
    world.mutate("Start").await.unwrap();
    assert_eq!(world.output().matches("begun").count(), 1);
    // What is adopted is watched like what was started.
    kill(after.int("pid"));
    world.state("FAILED").await;
}

#[tokio::test]
async fn a_pid_that_was_given_out_again_is_neither_adopted_nor_killed() {
    let mut world = World::script("exec sleep 600");
    world.mutate("Start").await.unwrap();
    let pid = world.state("RUN").await.int("pid");
    let record = world.path("record.json");
    let text = fs::read_to_string(&record).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    kill(pid);
    world.state("FAILED").await;
    json["process"]["pid"] = stranger.id().into();
    fs::write(&record, json.to_string()).unwrap();
    world.restart_agent();
    world.poll().await;
    world.state("FAILED").await;
    assert_eq!(stop_all(world.folder.path(), Duration::ZERO).unwrap(), 0);
    assert!(is_alive(stranger.id().into()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn an_end_while_no_agent_looked_is_seen_by_the_next() {
    let mut world = World::script("exec sleep 600");
    world.set("restart", "NEVER".into());
    world.mutate("Start").await.unwrap();
    let pid = world.state("RUN").await.int("pid");
    let text = fs::read_to_string(world.path("record.json")).unwrap();
    kill(pid);
    world.state("FAILED").await;
    fs::write(world.path("record.json"), text).unwrap();
    world.restart_agent();
    world.poll().await;
    let expected = format!("service web: process {pid} ended, nobody saw how");
    let seen = world.until("the event", |seen| seen.events.contains(&expected)).await;
    assert_eq!(seen.text("state"), "FAILED");
    assert!(matches!(world.mutate("Start").await, Err(MutateError::Permanent(_))));
}

#[tokio::test]
async fn a_lost_record_does_not_let_a_second_copy_start() {
    for damage in ["removed", "broken"] {
        let mut world = World::script("echo begun; exec sleep 600");
        world.mutate("Start").await.unwrap();
        let pid = world.state("RUN").await.int("pid");
        let record = world.path("record.json");
        if damage == "removed" { fs::remove_file(record) } else { fs::write(record, "{") }.unwrap();
        world.restart_agent();
        world.poll().await;
        let seen = world.state("RUN").await;
        assert_eq!(seen.int("pid"), pid, "{damage}");
        // Its spec is unknown: the engine would stop it and start it anew.
        world.mutate("Stop").await.unwrap();
        assert!(!is_alive(pid), "{damage}");
    }
}

#[tokio::test]
async fn an_intent_whose_process_never_came_does_not_hold_the_service() {
    let mut world = World::script("echo begun; exec sleep 600");
    world.mutate("Start").await.unwrap();
    world.mutate("Stop").await.unwrap();
    let record = world.path("record.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    (json["process"], json["end"]) = (serde_json::Value::Null, serde_json::Value::Null);
    fs::write(&record, json.to_string()).unwrap();
    world.restart_agent();
    world.poll().await;
    world.state("STOP").await;
    world.mutate("Start").await.unwrap();
    world.state("RUN").await;
}

#[tokio::test]
async fn a_process_whose_agent_has_died_before_its_exec_gives_up() {
    let mut world = World::script("echo begun; exec sleep 600");
    world.mutate("Start").await.unwrap();
    world.mutate("Stop").await.unwrap();
    let record = world.path("record.json");
    for (nonce, agent, complaint) in [
        ("mine", std::process::id() + 1, "the agent that started the run has ended"),
        ("another", std::process::id(), "the run was given up before it began"),
    ] {
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        json["process"] = serde_json::Value::Null;
        (json["nonce"], json["agentPid"]) = ("mine".into(), agent.into());
        fs::write(&record, json.to_string()).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let run = world.path(nonce);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "service::tests::without_a_run_the_shim_becomes_nothing"])
            .env("KRAKEN_RUN", run)
            .stdin(writer)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut reader, &mut said).unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(127), complaint));
    }
    assert_eq!(world.output().matches("begun").count(), 1);
    world.mutate("Start").await.unwrap();
    world.state("RUN").await;
}

#[tokio::test]
async fn the_policy_is_honoured_and_a_stop_or_a_change_lifts_it() {
    for (restart, code, state, held) in [
        ("ALWAYS", 0, "DONE", false),
        ("ALWAYS", 1, "FAILED", false),
        ("ON_FAILURE", 0, "DONE", true),
        ("ON_FAILURE", 1, "FAILED", false),
        ("NEVER", 0, "DONE", true),
        ("NEVER", 1, "FAILED", true),
    ] {
        let mut world = World::script(&format!("read x < gate; exit {code}"));
        world.set("restart", restart.into());
        let gate = world.gate();
        world.mutate("Start").await.unwrap();
        world.state("RUN").await;
        feed(&gate).await;
        let seen = world.state(state).await;
        let is_held = seen.values.get("/services/web/held").and_then(Value::as_bool);
        assert_eq!(is_held, Some(held), "{restart} {code}");
        if held {
            let error = world.mutate("Start").await.unwrap_err();
            assert!(matches!(error, MutateError::Permanent(_)), "{error}");
            world.restart_agent();
            world.poll().await;
            assert!(matches!(world.mutate("Start").await, Err(MutateError::Permanent(_))));
            world.mutate("Stop").await.unwrap();
        }
        assert_eq!(world.mutate("Start").await, Ok(()), "{restart} {code}");
    }
}

#[tokio::test]
async fn a_process_that_ends_at_once_fails_its_start_with_its_last_words() {
    let mut world = World::script("echo no such table; exit 3");
    let error = world.mutate("Start").await.unwrap_err().to_string();
    assert!(error.contains("exited with code 3 before it was ready"), "{error}");
    assert!(error.contains("its last line: no such table"), "{error}");
    let seen = world.until("the error", |seen| seen.text("error") == error).await;
    assert_eq!(seen.text("state"), "FAILED");
}

#[tokio::test]
async fn what_cannot_be_started_is_a_permanent_error_that_names_the_path() {
    for (key, value, expected) in [
        ("command", "/no/such/program", "command \"/no/such/program\" does not exist"),
        ("command", "no-such-program", "was not found in /usr/local/sbin"),
        ("command", "", "nothing to run"),
        ("folder", "/no/such/folder", "/no/such/folder"),
        ("ready/http", "nonsense", "write http://host:port/path"),
    ] {
        let mut world = World::script("exec sleep 600");
        world.set(key, value.into());
        let error = world.mutate("Start").await.unwrap_err();
        assert!(matches!(error, MutateError::Permanent(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(world.state("FAILED").await.text("error"), error.to_string());
    }
}

#[tokio::test]
async fn what_the_kernel_will_not_run_is_a_permanent_error_too() {
    let mut world = World::script("");
    let program = world.folder.path().join("program");
    fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).unwrap();
    world.set("command", program.to_str().unwrap().into());
    let error = world.mutate("Start").await.unwrap_err();
    assert!(matches!(&error, MutateError::Permanent(_)), "{error}");
    assert!(error.to_string().contains(program.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_start_ends_when_the_probe_says_so() {
    let mut world = World::script("read x < gate; touch ready; exec sleep 600");
    let gate = world.gate();
    world.set("ready/exec", texts(&["test", "-e", "ready"]));
    world.set("ready/intervalMs", 10.into());
    let (ask, keeper) = (world.ask("Start"), world.keeper.clone());
    let start = tokio::spawn(async move { keeper.mutate(&ask).await });
    let waits = |seen: &Seen| seen.progress.iter().any(|text| text.starts_with("not ready yet"));
    world.until("a progress", waits).await;
    assert!(!start.is_finished());
    // An agent that comes now finds a process that it has not seen ready, and goes on with it.
    feed(&gate).await;
    start.await.unwrap().unwrap();
    world.state("RUN").await;
}

#[tokio::test]
async fn an_adopted_process_that_was_not_ready_is_init_and_start_goes_on_with_it() {
    let mut world = World::script("echo begun; exec sleep 600");
    world.mutate("Start").await.unwrap();
    let record = world.path("record.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"ready\": true", "\"ready\": false")).unwrap();
    world.restart_agent();
    world.poll().await;
    let pid = world.state("INIT").await.int("pid");
    world.mutate("Start").await.unwrap();
    assert_eq!(world.state("RUN").await.int("pid"), pid);
    assert_eq!(world.output().matches("begun").count(), 1);
}

#[tokio::test]
async fn what_is_not_ready_in_time_is_stopped_and_told() {
    let mut world = World::script("exec sleep 600");
    world.set("ready/exec", texts(&["sh", "-c", "echo still warming up; exit 1"]));
    world.set("ready/timeoutMs", 200.into());
    world.set("ready/intervalMs", 50.into());
    let error = world.mutate("Start").await.unwrap_err();
    assert!(matches!(&error, MutateError::Transient(_)), "{error}");
    assert!(error.to_string().contains("still warming up"), "{error}");
    assert_eq!(world.state("FAILED").await.values.get("/services/web/pid"), None);
    assert_eq!(stop_all(world.folder.path(), Duration::ZERO).unwrap(), 0);
}

#[tokio::test]
async fn a_cancelled_start_leaves_no_process() {
    let mut world = World::script("exec sleep 600");
    let mut ask = world.ask("Start");
    let mut cfg = (*ask.object).clone();
    let path = Path::new("/services/web/ready/exec").unwrap();
    cfg.cfg.set(path, texts(&["false"])).unwrap();
    ask.object = Arc::new(cfg);
    let cancel = ask.cancel.clone();
    let (outcome, ()) = tokio::join!(world.keeper.mutate(&ask), async {
        let mut seen = world.seen.clone();
        let begun = seen.wait_for(|seen| !seen.progress.is_empty());
        drop(timeout(WAIT, begun).await.unwrap().unwrap());
        cancel.cancel();
    });
    assert_eq!(outcome, Err(MutateError::Cancelled));
    world.state("STOP").await;
    assert_eq!(stop_all(world.folder.path(), Duration::ZERO).unwrap(), 0);
}

#[tokio::test]
async fn a_stop_signals_the_whole_session_and_kills_after_the_grace() {
    let stubborn = "trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 1; done' & \
                    echo up; while :; do sleep 1; done";
    for (script, grace_ms, patient) in [
        ("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done", 20_000, true),
        (stubborn, 100, false),
    ] {
        let mut world = World::script(script);
        world.set("stop/graceMs", grace_ms.into());
        world.set("ready/exec", texts(&["grep", "up", "../out.log"]));
        world.set("ready/intervalMs", 10.into());
        world.mutate("Start").await.unwrap();
        world.state("RUN").await;
        world.mutate("Stop").await.unwrap();
        let seen = world.state("STOP").await;
        assert_eq!(world.output().contains("bye"), patient, "{script}");
        let how = if patient { "exited with code 0" } else { "killed by signal 9 (SIGKILL)" };
        assert!(seen.text("exit").contains(how), "{}", seen.text("exit"));
        assert!(seen.events.is_empty(), "{:?}", seen.events);
        assert_eq!(stop_all(world.folder.path(), Duration::ZERO).unwrap(), 0);
    }
}

#[tokio::test]
async fn a_changed_spec_is_seen_as_different() {
    let mut world = World::script("exec sleep 600");
    world.mutate("Start").await.unwrap();
    let before = world.state("RUN").await;
    world.set("env/NEW", "1".into());
    world.poll().await;
    assert_eq!(world.seen.borrow().text("spec"), before.text("spec"));
    world.mutate("Stop").await.unwrap();
    world.mutate("Start").await.unwrap();
    let changed =
        |seen: &Seen| seen.text("state") == "RUN" && seen.text("spec") != before.text("spec");
    let after = world.until("another spec", changed).await;
    assert_ne!(after.int("pid"), before.int("pid"));
    let wish = spec::Wish::read(&Name::new("web").unwrap(), &world.cfg);
    assert_eq!(after.text("spec"), wish.digest);
}

#[tokio::test]
async fn the_output_is_bounded_while_the_service_goes_on_writing() {
    let mut world = World::script("while :; do seq 1 200; sleep 0.01; done");
    world.set("log/bytesMax", 1_024.into());
    world.set("log/files", 2.into());
    world.mutate("Start").await.unwrap();
    for _ in 0..5 {
        let deadline = Instant::now() + WAIT;
        while world.output().len() <= 4_096 {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        world.keeper.rotate();
    }
    for name in ["out.log.1", "out.log.2"] {
        assert!(fs::metadata(world.path(name)).unwrap().len() >= 1_024, "{name}");
    }
    assert!(!world.path("out.log.3").exists());
    world.state("RUN").await;
}

#[tokio::test]
async fn what_nobody_asks_for_any_more_is_forgotten_unless_it_runs() {
    let mut world = World::script("exec sleep 600");
    world.mutate("Start").await.unwrap();
    world.state("RUN").await;
    let cfg = std::mem::take(&mut world.cfg);
    world.poll().await;
    world.state("RUN").await;
    world.cfg = cfg;
    world.mutate("Stop").await.unwrap();
    world.cfg = State::new();
    world.poll().await;
    world.until("nothing", |seen| seen.values.is_empty()).await;
}

#[tokio::test]
async fn a_failure_that_nobody_asks_about_any_more_is_forgotten() {
    let mut world = World::script("exit 1");
    world.mutate("Start").await.unwrap_err();
    world.state("FAILED").await;
    world.cfg = State::new();
    world.poll().await;
    world.until("nothing", |seen| seen.values.is_empty()).await;
}

#[tokio::test]
async fn a_name_that_is_no_name_fails_and_touches_no_folder() {
    let mut world = World::new(&[]);
    world.cfg.set(Path::new("/services/../command").unwrap(), "sh".into()).unwrap();
    world.poll().await;
    let failed = |seen: &Seen| seen.values.get("/services/../state") == Some(&"FAILED".into());
    world.until("FAILED", failed).await;
    let mut ask = world.ask("Start");
    ask.bindings = vec!["..".into()];
    let error = world.keeper.mutate(&ask).await.unwrap_err();
    assert!(matches!(error, MutateError::Permanent(_)), "{error}");
    assert_eq!(fs::read_dir(world.folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn all_is_stopped_for_an_agent_that_is_gone() {
    let mut world = World::script("exec sleep 600");
    world.mutate("Start").await.unwrap();
    let pid = world.state("RUN").await.int("pid");
    let folder = world.folder.path().to_owned();
    let stopped = move || stop_all(&folder, WAIT);
    assert_eq!(tokio::task::spawn_blocking(stopped).await.unwrap().unwrap(), 1);
    assert!(!is_alive(pid));
}

#[test]
fn services_end_with_their_agent_only_if_they_are_to() {
    use kraken_actors::module::harness::{self, Harness, Time};
    for (on_shutdown, why, ends) in [
        ("leave", Stopping::Node, false),
        ("stop", Stopping::Module, false),
        ("stop", Stopping::Node, true),
    ] {
        harness::run(Time::Real, async {
            let config = serde_json::json!({ "on_shutdown": on_shutdown, "shim": shim() });
            let mut harness = Harness::start(Service::factory(), config).await.unwrap();
            let object = asked_to_run();
            harness.mutate("Start", &["web"], &object).await.unwrap();
            assert!(harness.until_seen(&object, "/services/web/state", "RUN").await);
            let pid = harness.seen(&object, "/services/web/pid").and_then(Value::as_int).unwrap();
            assert!(harness.stop(why).await);
            assert_eq!(!is_alive(pid), ends, "{on_shutdown} {why:?}");
            if !ends {
                kill(pid);
            }
        });
    }
}

#[test]
fn the_module_keeps_the_rules_of_modules() {
    use kraken_actors::module::{
        conformance::{self, Case},
        harness::{self, Time},
    };
    for mutation in ["Start", "Stop", "Look"] {
        let case = Case::new(Service::factory(), asked_to_run(), mutation)
            .bindings(&["web"])
            .config(serde_json::json!({ "shim": shim(), "on_shutdown": "stop" }));
        let violations = harness::run(Time::Real, conformance::check(&case));
        assert_eq!(violations, [], "{mutation}");
    }
    assert_eq!(running(&mark()), 0, "what the trials started has ended with them");
}

/// A time to sleep that nothing else sleeps.
fn mark() -> String {
    format!("600.{}", std::process::id())
}

/// How many processes have an argument.
fn running(argument: &str) -> usize {
    let folders = fs::read_dir("/proc").unwrap().flatten();
    let lines = folders.filter_map(|folder| fs::read(folder.path().join("cmdline")).ok());
    let arguments = |line: &Vec<u8>| line.split(|b| *b == 0).any(|a| a == argument.as_bytes());
    lines.filter(|line| arguments(line)).count()
}

fn asked_to_run() -> Arc<ObjectView> {
    let object = fake::asked(&fake::node("n1"), "/services/web/command", "sleep");
    fake::asked(&object, "/services/web/args", texts(&[&mark()]))
}

#[tokio::test]
async fn a_user_is_taken_on_with_its_groups_and_home() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let mut world = World::script("id -u; echo home $HOME; touch mine; exec sleep 600");
    world.set("user", "nobody".into());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.folder.path(), mode).unwrap();
    world.mutate("Start").await.unwrap();
    world.state("RUN").await;
    let output = world.output();
    assert!(output.contains("65534\nhome /nonexistent"), "{output}");
    assert!(world.path("work/mine").exists(), "{output}");
}
