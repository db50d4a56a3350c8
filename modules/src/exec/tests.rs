//! The module with real commands, under the harness.

use std::{collections::BTreeMap, fs, path::PathBuf};

use kraken_actors::{
    host::attempt::Conduct,
    module::{
        ObjectView,
        conformance::{self, Case},
        fake,
        harness::{self, Harness, Outcome, Time},
    },
};
use kraken_engine::{
    catalog::Catalog,
    id::Name,
    path::Path,
    planner::{self, Planner, Question},
    predicate::On,
    state::State,
    value::Value,
};

use super::*;

/// A node with the exec `tune`, whose commands write into a folder.
struct World {
    exec: Harness,
    node: Arc<ObjectView>,
    folder: tempfile::TempDir,
}

impl World {
    /// An exec whose commands are these shell scripts, run in the folder.
    async fn new(check: Option<&str>, apply: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let exec = Harness::start(Exec::factory(), serde_json::Value::Null).await.unwrap();
        let mut world = Self { exec, node: fake::node("n1"), folder };
        world.set("state", "DONE");
        let folder = world.folder.path().display().to_string();
        world.set("folder", folder);
        world.set("apply", script(apply));
        if let Some(check) = check {
            world.set("check", script(check));
        }
        world
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.node = fake::asked(&self.node, &format!("/execs/tune/{key}"), value);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    async fn apply(&mut self) -> Outcome {
        self.exec.mutate("Apply", &["tune"], &self.node).await
    }

    async fn look(&mut self) {
        let looked = self.exec.poll(std::slice::from_ref(&self.node)).await;
        assert_eq!(looked, Conduct::Answered);
        assert!(self.exec.refused_paths().is_empty());
    }

    /// What was last reported; empty is unknown.
    fn seen(&mut self, key: &str) -> String {
        let value = self.exec.seen(&self.node, &format!("/execs/tune/{key}"));
        value.map(ToString::to_string).unwrap_or_default()
    }

    /// Looks and checks the state that is then seen.
    async fn check(&mut self, state: &str) {
        self.look().await;
        assert_eq!(self.seen("state"), state);
        let wanted = schema_goal(&self.node.cfg);
        let spec = wanted.get("/execs/tune/spec").map(ToString::to_string).unwrap_or_default();
        assert_eq!(self.seen("spec"), if state == "DONE" { spec } else { String::new() });
    }

    /// The record of the exec, in the module's folder.
    async fn record(&mut self) -> PathBuf {
        self.set("folder", ".");
        self.set("apply", script("cd ..; pwd; exit 1"));
        assert!(self.apply().await.is_err());
        PathBuf::from(self.seen("output")).join("record.json")
    }
}

fn script(script: &str) -> Value {
    ["sh", "-c", script].into_iter().map(Value::from).collect()
}

fn schema_goal(cfg: &State) -> BTreeMap<Path, Value> {
    let catalog = Catalog::build(&[Exec::manifest()]).unwrap();
    catalog.kind(&Name::new("node").unwrap()).unwrap().schema.goal(cfg, false)
}

fn run(test: impl Future<Output = ()>) {
    harness::run(Time::Real, test);
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn until_dead(pid: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while is_alive(pid) {
        assert!(tokio::time::Instant::now() < deadline, "{pid} still runs");
        tokio::task::yield_now().await;
    }
}

/// Waits until a file holds something, while the module works.
async fn until_written(world: &mut World, name: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while world.text(name).trim().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "{name} was never written");
        world.exec.pass(Duration::from_millis(5)).await;
    }
}

#[test]
fn the_manifest_compiles_and_leads_from_everywhere_in_one_step() {
    struct Seen(BTreeMap<Path, Value>);
    impl planner::Facts for Seen {
        fn value(&self, path: &Path) -> Option<&Value> {
            self.0.get(path)
        }
        fn related(&self, _: &On, _: &Path) -> Option<Value> {
            None
        }
    }
    let catalog = Catalog::build(&[Exec::manifest()]).unwrap();
    let kind = catalog.kind(&Name::new("node").unwrap()).unwrap();
    let node = fake::asked(&fake::node("n1"), "/execs/tune/apply", script("true"));
    let node = fake::asked(&node, "/execs/tune/state", "DONE");
    let goal = kind.schema.goal(&node.cfg, false);
    assert_eq!(goal.len(), 2);
    let path = |key: &str| Path::new(format!("/execs/tune/{key}")).unwrap();
    for (state, spec, steps) in [
        (None, None, 1),
        (Some("PENDING"), None, 1),
        (Some("FAILED"), None, 1),
        (Some("DONE"), Some("old".into()), 1),
        (Some("DONE"), goal.get("/execs/tune/spec").cloned(), 0),
    ] {
        let mut seen = BTreeMap::new();
        seen.extend(state.map(|state| (path("state"), state.into())));
        seen.extend(spec.map(|spec| (path("spec"), spec)));
        let facts = Seen(seen);
        let question = Question { kind, goal: &goal, cfg: &node.cfg, facts: &facts };
        let plan = Planner::new().plan(&question).unwrap();
        assert_eq!(plan.steps.len(), steps, "{state:?}");
        assert!(plan.blocked.is_empty());
    }
}

#[test]
fn without_a_check_it_is_done_once_for_each_spec() {
    run(async {
        let mut world = World::new(None, "echo run >> log").await;
        world.check("PENDING").await;
        world.apply().await.unwrap();
        world.check("DONE").await;
        assert_eq!(world.seen("exitCode"), "0");
        assert!(world.seen("ranAtMs").parse::<u64>().unwrap() > 1_700_000_000_000);
        world.apply().await.unwrap();
        for crash in [true, false] {
            let again = if crash { world.exec.crash().await } else { world.exec.restart().await };
            again.unwrap();
            world.exec.forget();
            world.apply().await.unwrap();
            world.check("DONE").await;
        }
        assert_eq!(world.text("log"), "run\n");
        world.set("timeoutMs", 5_000);
        world.check("DONE").await;
        world.set("env/ROUND", "2");
        world.check("PENDING").await;
        world.apply().await.unwrap();
        world.check("DONE").await;
        assert_eq!(world.text("log"), "run\nrun\n");
    });
}

#[test]
fn with_a_check_drift_is_seen_and_done_again() {
    run(async {
        let mut world =
            World::new(Some("test -e made || { echo gone; exit 7; }"), "touch made").await;
        world.check("PENDING").await;
        world.apply().await.unwrap();
        world.check("DONE").await;
        fs::remove_file(world.file("made")).unwrap();
        world.check("PENDING").await;
        let events: Vec<&str> = world.exec.events().iter().map(|(_, text)| text.as_str()).collect();
        let expected = "exec tune is not done any more: the check ended with code 7; \
                        its last line: gone";
        assert_eq!(events, [expected]);
        world.apply().await.unwrap();
        world.check("DONE").await;
        assert!(world.file("made").exists());
    });
}

#[test]
fn what_a_check_finds_done_is_not_applied() {
    run(async {
        let mut world = World::new(Some("true"), "touch made").await;
        world.check("DONE").await;
        world.apply().await.unwrap();
        assert!(!world.file("made").exists());
        assert_eq!(world.seen("ranAtMs"), "");
    });
}

#[test]
fn a_failure_is_told_with_its_output_and_mended_by_cfg() {
    run(async {
        let mut world = World::new(None, "printf 'no\\033space\\nleft\\n'; exit 3").await;
        let error = world.apply().await.unwrap_err();
        assert!(!error.permanent);
        assert_eq!(error.text, "apply ended with code 3; its last line: left");
        for _ in 0..2 {
            assert_eq!(world.seen("error"), "apply ended with code 3");
            assert_eq!(world.seen("output"), "no\u{fffd}space\nleft");
            assert_eq!(world.seen("exitCode"), "3");
            world.exec.crash().await.unwrap();
            world.exec.forget();
            world.check("FAILED").await;
        }
        world.set("apply", script("true"));
        world.check("PENDING").await;
        assert_eq!((world.seen("error"), world.seen("output")), (String::new(), String::new()));
        world.apply().await.unwrap();
        world.check("DONE").await;
    });
}

#[test]
fn commands_end_in_many_ways() {
    run(async {
        let cases = [
            (None, "kill -9 $$", "FAILED", "apply was killed by signal 9"),
            (
                Some("false"),
                "true",
                "FAILED",
                "apply ended with code 0, but the check ended with code 1",
            ),
            (Some("false"), "exit 2", "FAILED", "apply ended with code 2"),
            (Some("kill -9 $$"), "touch made", "FAILED", "the check was killed by signal 9"),
            (
                Some("sleep 600"),
                "touch made",
                "FAILED",
                "the check did not end within 1s and was killed",
            ),
            (None, "sleep 600", "FAILED", "apply did not end within 1s and was killed"),
        ];
        for (check, apply, state, expected) in cases {
            let mut world = World::new(check, apply).await;
            world.set("timeoutMs", 1_000);
            let error = world.apply().await.unwrap_err();
            assert_eq!((error.text.as_str(), error.permanent), (expected, false));
            assert_eq!(world.seen("error"), expected);
            world.check(state).await;
            assert!(!world.file("made").exists());
        }
    });
}

#[test]
fn a_program_that_is_missing_is_told_or_applied_for() {
    run(async {
        let mut world = World::new(None, "true").await;
        world.set("apply", ["no-such-program"].into_iter().map(Value::from).collect::<Value>());
        let error = world.apply().await.unwrap_err();
        assert!(error.text.starts_with("apply: cannot run \"no-such-program\": "), "{error}");
        world.check("FAILED").await;
        let mut world = World::new(None, "printf '#!/bin/sh\\n' > tool; chmod +x tool").await;
        let tool = world.file("tool").display().to_string();
        world.set("check", [tool].into_iter().map(Value::from).collect::<Value>());
        world.check("PENDING").await;
        world.apply().await.unwrap();
        world.check("DONE").await;
    });
}

#[test]
fn what_cannot_be_meant_is_refused_for_good() {
    run(async {
        let mut world = World::new(Some("false"), "true").await;
        world.set("apply", std::iter::empty::<Value>().collect::<Value>());
        let error = world.apply().await.unwrap_err();
        assert_eq!(error.text, "nothing to run: set /execs/tune/apply");
        assert!(error.permanent);
        world.check("PENDING").await;
        world.set("apply", script("${exec.nmae}"));
        assert!(world.apply().await.unwrap_err().permanent);
        world.check("FAILED").await;
        assert!(world.seen("error").contains("unknown variable"), "{}", world.seen("error"));
        let misnamed = fake::asked(&fake::node("n1"), "/execs/-x/apply", script("true"));
        assert!(world.exec.mutate("Apply", &["-x"], &misnamed).await.unwrap_err().permanent);
        assert_eq!(world.exec.poll(std::slice::from_ref(&misnamed)).await, Conduct::Answered);
        assert_eq!(world.exec.seen(&misnamed, "/execs/-x/state"), Some(&"FAILED".into()));
    });
}

#[test]
fn a_cancelled_run_is_killed_with_all_it_started_and_begun_anew() {
    run(async {
        let slow = "sleep 600 & echo $! > pid; echo run >> log; test -e quick || wait";
        let mut world = World::new(None, slow).await;
        let begun = world.exec.begin("Apply", &["tune"], &world.node);
        until_written(&mut world, "log").await;
        // Looked at meanwhile, it says nothing: the attempt will.
        world.look().await;
        begun.cancel();
        let (outcome, conduct) = world.exec.end(begun).await;
        assert_eq!(conduct, Conduct::Answered);
        assert!(outcome.is_err());
        assert_eq!(world.seen("state"), "PENDING");
        until_dead(&world.text("pid")).await;
        fs::write(world.file("quick"), "").unwrap();
        world.apply().await.unwrap();
        world.check("DONE").await;
        assert_eq!(world.text("log"), "run\nrun\n");
        // What was left in the background by a good run is left alone.
        assert!(is_alive(&world.text("pid")));
        let pid = world.text("pid").trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    });
}

#[test]
fn a_module_that_ends_takes_its_command_with_it() {
    run(async {
        let mut world = World::new(None, "test -e quick || { echo $$ > pid; sleep 600; }").await;
        for crash in [true, false] {
            let begun = world.exec.begin("Apply", &["tune"], &world.node);
            until_written(&mut world, "pid").await;
            let again = if crash { world.exec.crash().await } else { world.exec.restart().await };
            again.unwrap();
            assert!(world.exec.end(begun).await.0.is_err());
            until_dead(&world.text("pid")).await;
            fs::remove_file(world.file("pid")).unwrap();
            world.check("PENDING").await;
        }
        fs::write(world.file("quick"), "").unwrap();
        world.apply().await.unwrap();
        world.check("DONE").await;
    });
}

#[test]
fn what_escapes_a_run_that_took_too_long_is_ended_before_the_next() {
    run(async {
        let escape = "test -e quick && exit; setsid sleep 600 & echo $! > pid; sleep 600";
        let mut world = World::new(None, escape).await;
        world.set("timeoutMs", 500);
        world.apply().await.unwrap_err();
        assert!(is_alive(&world.text("pid")));
        fs::write(world.file("quick"), "").unwrap();
        world.apply().await.unwrap();
        until_dead(&world.text("pid")).await;
    });
}

#[test]
fn what_a_killed_agent_left_running_is_ended_before_it_is_run_again() {
    run(async {
        let mut world = World::new(None, "true").await;
        let path = world.record().await;
        // As if the agent had been killed: a record without an end, and a process with its mark.
        let text = fs::read_to_string(&path).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
        record["end"] = serde_json::Value::Null;
        fs::write(&path, record.to_string()).unwrap();
        let nonce = record["nonce"].as_str().unwrap();
        let run = format!("{}/{nonce}", path.parent().unwrap().display());
        let mut left = std::process::Command::new("sleep")
            .arg("600")
            .env(record::RUN_VARIABLE, run)
            .spawn()
            .unwrap();
        world.exec.crash().await.unwrap();
        world.check("PENDING").await;
        assert!(left.try_wait().unwrap().is_none());
        world.set("apply", script("true"));
        world.apply().await.unwrap();
        world.check("DONE").await;
        assert!(!left.wait().unwrap().success());
    });
}

#[test]
fn a_record_that_cannot_be_read_holds_a_one_off_until_it_is_removed() {
    run(async {
        let mut world = World::new(None, "true").await;
        let path = world.record().await;
        fs::write(&path, "torn").unwrap();
        world.exec.crash().await.unwrap();
        world.set("apply", script("touch made"));
        assert!(world.apply().await.unwrap_err().permanent);
        world.check("FAILED").await;
        assert!(world.seen("error").contains("is to be removed"), "{}", world.seen("error"));
        fs::remove_file(&path).unwrap();
        world.check("PENDING").await;
        world.apply().await.unwrap();
        world.check("DONE").await;
    });
}

#[test]
fn what_is_not_asked_for_any_more_turns_unknown_and_is_not_run_again() {
    run(async {
        let mut world = World::new(None, "echo run >> log").await;
        world.apply().await.unwrap();
        let asked = std::mem::replace(&mut world.node, fake::node("n1"));
        for crash in [false, true] {
            if crash {
                world.exec.crash().await.unwrap();
            }
            world.look().await;
            assert!(world.exec.seen_of(&asked).is_empty());
            world.node = asked.clone();
            world.check("DONE").await;
            world.apply().await.unwrap();
            world.node = fake::node("n1");
        }
        assert_eq!(asked.cfg.len(), 3);
        world.node = asked;
        assert_eq!(world.text("log"), "run\n");
    });
}

#[test]
fn commands_run_in_a_clean_environment_and_their_own_folder() {
    run(async {
        let mut world = World::new(None, "true").await;
        world.set("env/GREETING", "hello ${node.name}");
        world.set("folder", "${exec.data}");
        world.set("apply", script("env | sort; pwd; cat; exit 1"));
        world.apply().await.unwrap_err();
        let output = world.seen("output");
        for line in ["GREETING=hello n1", "KRAKEN_EXEC=tune", "KRAKEN_NODE=n1", "LANG=", "HOME="] {
            assert!(output.lines().any(|found| found.starts_with(line)), "{line} in {output}");
        }
        assert!(!output.contains("CARGO"), "{output}");
        assert!(output.ends_with("/tune/work"), "{output}");
    });
}

#[test]
fn many_checks_run_a_few_at_a_time_and_all_are_told() {
    run(async {
        let mut world = World::new(None, "true").await;
        for index in 0..12 {
            let at = |key: &str| format!("/execs/e{index}/{key}");
            world.node = fake::asked(&world.node, &at("check"), script("sleep 0.05"));
        }
        world.look().await;
        for index in 0..12 {
            let state = world.exec.seen(&world.node, &format!("/execs/e{index}/state"));
            assert_eq!(state, Some(&"DONE".into()), "{index}");
        }
    });
}

#[test]
fn it_passes_the_conformance_suite() {
    run(async {
        for check in [None, Some("test -e made")] {
            let mut world = World::new(check, "sleep 0.2; touch made").await;
            let made = world.file("made");
            world.look().await;
            let case = Case::new(Exec::factory(), world.node.clone(), "Apply")
                .bindings(&["tune"])
                .before_each(move || {
                    // It may not be there yet.
                    let _ = fs::remove_file(&made);
                });
            assert_eq!(conformance::check(&case).await, [], "{check:?}");
        }
    });
}
