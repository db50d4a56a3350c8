//! The module host against a module that misbehaves in every way it must bear.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kraken_engine::{
    id::{AttemptId, Name},
    mutation::{Lane, MutationId},
    path::Path,
    time::Millis,
    value::Value,
};
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};

use super::{
    Admission, AttemptEnded, AttemptError, Fault, HostError, HostHandle, HostOptions, Start,
    attempts::ATTEMPTS_RUNNING_MAX,
    polls::POLL_GAP,
    snapshot::ModuleSnapshot,
    supervision::{FAILURES_MAX, HUNG_MAX, ModuleState, RETRY_SLOW},
};
use crate::{
    clock::Clock,
    module::{
        ConfigureError, Factory, Home, ObjectView, Report, fake,
        harness::{Time, run},
        reporter::{REPORTS_MAX, Sighted, Stamps},
        wild::{SLOW, Wild},
    },
    spans::Spans,
};

/// The bound of every wait, in the test's own time.
const WITHIN: Duration = Duration::from_mins(10);

struct Node {
    host: HostHandle,
    reports: mpsc::Receiver<Report>,
    ends: mpsc::Receiver<AttemptEnded>,
    seen: BTreeMap<Path, Value>,
    events: Vec<String>,
    attempts: u64,
    _folder: tempfile::TempDir,
}

fn options(home: Home) -> (HostOptions, mpsc::Receiver<Report>, mpsc::Receiver<AttemptEnded>) {
    let node = Name::new("n1").unwrap();
    let clock = Clock::new();
    let (reports_tx, reports) = mpsc::channel(REPORTS_MAX);
    let (ends_tx, ends) = mpsc::channel(16);
    let options = HostOptions {
        stamps: Stamps::new(node.clone(), clock),
        node,
        data: std::path::PathBuf::new(),
        factories: vec![Wild::live()],
        configs: BTreeMap::new(),
        clock,
        reports: reports_tx,
        ends: ends_tx,
        home,
        seed: 11,
        spans: Spans::default(),
    };
    (options, reports, ends)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl Node {
    async fn start(factory: Factory, config: serde_json::Value, home: Home) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut options, reports, ends) = options(home);
        options.data = folder.path().to_path_buf();
        options.factories = vec![factory];
        options.configs.insert("wild".to_owned(), config);
        let host = HostHandle::start(options).await.unwrap();
        host.set_objects(vec![fake::node("n1")]);
        let (seen, events) = (BTreeMap::new(), Vec::new());
        Self { host, reports, ends, seen, events, attempts: 0, _folder: folder }
    }

    async fn wild() -> Self {
        let mut node = Self::start(Wild::live(), json!({}), Home::Current).await;
        node.until("/modules/wild/state", "RUN").await;
        node
    }

    fn order(&mut self, deed: &str, timeout: Duration) -> Start {
        self.attempts += 1;
        Start {
            attempt: AttemptId::derive(&name("n1"), 1, self.attempts),
            mutation: MutationId::new(name("wild"), name(deed)),
            bindings: Vec::new(),
            object: fake::node("n1"),
            timeout,
            cancellable: true,
            start_by: Millis::NEVER,
            lane: Lane::Itself,
            span: None,
        }
    }

    /// Has a deed done within ten seconds and returns how it ended.
    async fn does(&mut self, deed: &str) -> Result<(), AttemptError> {
        let order = self.order(deed, Duration::from_secs(10));
        assert_eq!(self.host.mutate(order.clone()).await, Some(Admission::Accepted), "{deed}");
        let ended = self.end().await;
        assert_eq!(ended.attempt, order.attempt);
        ended.outcome
    }

    async fn end(&mut self) -> AttemptEnded {
        timeout(WITHIN, self.ends.recv()).await.expect("an attempt ends").unwrap()
    }

    /// The same while what is reported is taken, too.
    async fn end_with_reports(&mut self) -> AttemptEnded {
        loop {
            tokio::select! {
                biased;
                Some(report) = self.reports.recv() => self.take(report),
                ended = self.ends.recv() => return ended.unwrap(),
            }
        }
    }

    async fn until(&mut self, path: &str, value: impl Into<Value>) {
        let value = value.into();
        let wait = async {
            while self.seen.get(path) != Some(&value) {
                let report = self.reports.recv().await.unwrap();
                self.take(report);
            }
        };
        let met = timeout(WITHIN, wait).await.is_ok();
        assert!(met, "{path} = {value} within {WITHIN:?}; seen: {:?}", self.seen);
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Seen(Sighted { values, .. }) => {
                for (path, value) in values {
                    match value {
                        Some(value) => self.seen.insert(path, value),
                        None => self.seen.remove(&path),
                    };
                }
            }
            Report::Event { text, .. } => self.events.push(text),
            Report::Progress { .. } => {}
        }
    }

    async fn module(&self) -> ModuleSnapshot {
        self.host.observe().await.unwrap().modules.remove(0)
    }

    fn listen(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.take(report);
        }
    }
}

fn fault(outcome: Result<(), AttemptError>) -> Fault {
    outcome.unwrap_err().fault
}

#[test]
fn an_attempt_is_carried_out_and_what_is_seen_is_reported() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        node.does("Fine").await.unwrap();
        node.until("/wild", "ON").await;
        let failed = node.does("Fail").await.unwrap_err();
        assert_eq!((failed.fault, failed.permanent), (Fault::Failed, true));
    });
}

#[test]
fn what_no_module_here_can_do_is_refused() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        for (module, deed) in [("wild", "Unheard"), ("other", "Fine")] {
            let mut order = node.order("Fine", SLOW);
            order.mutation = MutationId::new(name(module), name(deed));
            assert_eq!(node.host.mutate(order).await, Some(Admission::NoModule), "{module}/{deed}");
        }
    });
}

#[test]
fn an_attempt_asked_for_twice_starts_once_and_its_end_is_told_again() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        let order = node.order("Slow", SLOW * 2);
        assert_eq!(node.host.mutate(order.clone()).await, Some(Admission::Accepted));
        assert_eq!(node.host.mutate(order.clone()).await, Some(Admission::Accepted));
        assert_eq!(node.host.observe().await.unwrap().attempts.len(), 1);
        let first = node.end().await;
        assert!(node.ends.try_recv().is_err(), "told once");
        assert_eq!(node.host.mutate(order).await, Some(Admission::Accepted));
        assert_eq!(node.end().await, first);
    });
}

#[test]
fn a_module_with_its_hands_full_is_busy() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        for _ in 0..ATTEMPTS_RUNNING_MAX {
            let order = node.order("Slow", SLOW * 2);
            assert_eq!(node.host.mutate(order).await, Some(Admission::Accepted));
        }
        let one_more = node.order("Slow", SLOW * 2);
        assert_eq!(node.host.mutate(one_more.clone()).await, Some(Admission::Busy));
        for _ in 0..ATTEMPTS_RUNNING_MAX {
            node.end_with_reports().await.outcome.unwrap();
        }
        assert_eq!(node.seen.get("/wild"), Some(&"ON".into()));
        let again = node.host.mutate(one_more).await;
        assert_eq!(again, Some(Admission::Busy), "what was refused never starts");
        let another = node.order("Slow", SLOW * 2);
        assert_eq!(node.host.mutate(another).await, Some(Admission::Accepted));
    });
}

#[test]
fn an_attempt_is_cancelled_if_it_may_be() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        let order = node.order("Patient", SLOW);
        node.host.mutate(order.clone()).await;
        assert!(node.host.cancel(order.attempt.clone()).await);
        assert_eq!(fault(node.end().await.outcome), Fault::Cancelled);
        assert!(!node.host.cancel(order.attempt).await, "it has ended");

        let order = Start { cancellable: false, ..node.order("Patient", SLOW) };
        node.host.mutate(order.clone()).await;
        assert!(!node.host.cancel(order.attempt).await);
        assert_eq!(fault(node.end().await.outcome), Fault::Deadline);
    });
}

#[test]
fn a_module_that_hangs_is_held_to_the_deadline_and_in_the_end_restarted() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        for _ in 0..HUNG_MAX {
            assert_eq!(fault(node.does("Hang").await), Fault::Deadline);
        }
        node.until("/modules/wild/restarts", 1).await;
        node.until("/modules/wild/state", "RUN").await;
        node.does("Fine").await.unwrap();
    });
}

#[test]
fn an_answer_starts_the_count_of_hung_requests_anew() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        for _ in 0..HUNG_MAX * 2 {
            assert_eq!(fault(node.does("Hang").await), Fault::Deadline);
            node.does("Fine").await.unwrap();
        }
        assert_eq!(node.module().await.restarts, 0);
    });
}

#[test]
fn a_module_that_is_lost_loses_its_attempts_and_comes_back() {
    for deed in ["Panic", "PanicInside", "Quit"] {
        run(Time::Paused, async {
            let mut node = Node::wild().await;
            let other = node.order("Patient", WITHIN);
            assert_eq!(node.host.mutate(other).await, Some(Admission::Accepted));
            let order = node.order(deed, WITHIN);
            assert_eq!(node.host.mutate(order).await, Some(Admission::Accepted));
            for _ in 0..2 {
                assert_eq!(fault(node.end().await.outcome), Fault::ModuleLost, "{deed}");
            }
            node.until("/modules/wild/restarts", 1).await;
            node.until("/modules/wild/state", "RUN").await;
            node.does("Fine").await.unwrap();
        });
    }
}

#[test]
fn while_a_module_is_down_attempts_are_busy() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        node.does("Panic").await.unwrap_err();
        let order = node.order("Fine", SLOW);
        assert_eq!(node.host.mutate(order).await, Some(Admission::Busy));
        assert_eq!(node.module().await.state, ModuleState::Init);
    });
}

#[test]
fn a_module_that_never_starts_is_given_up_and_tried_slowly() {
    for config in [json!({ "refuses": true }), json!({ "panics": true })] {
        run(Time::Paused, async {
            let mut node = Node::start(Wild::live(), config, Home::Current).await;
            node.until("/modules/wild/state", "ERROR").await;
            let text = node.seen.get("/modules/wild/error").unwrap().to_string();
            assert!(text.contains("told to"), "{text}");
            assert_eq!(node.module().await.restarts, u64::from(FAILURES_MAX));
            let order = node.order("Fine", SLOW);
            assert_eq!(node.host.mutate(order).await, Some(Admission::NoModule));

            let before = tokio::time::Instant::now();
            node.until("/modules/wild/restarts", i64::from(FAILURES_MAX) + 1).await;
            assert!(before.elapsed() >= RETRY_SLOW.mul_f32(0.85));

            let better = node.host.configure(name("wild"), json!({ "level": 3 })).await;
            assert_eq!(better, Ok(()));
            node.until("/modules/wild/state", "RUN").await;
            node.until("/level", 3).await;
            assert_eq!(node.seen.get("/modules/wild/error"), None);
        });
    }
}

#[test]
fn a_restart_waits_longer_each_time() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        let mut last = Duration::ZERO;
        for restart in 1..=4 {
            node.does("Panic").await.unwrap_err();
            let lost = tokio::time::Instant::now();
            node.until("/modules/wild/restarts", restart).await;
            node.until("/modules/wild/state", "RUN").await;
            assert!(lost.elapsed() > last, "{restart}: {:?} after {last:?}", lost.elapsed());
            last = lost.elapsed();
        }
    });
}

#[test]
fn a_changed_configuration_is_taken_live_or_by_restart() {
    let table = [
        ("live", Wild::live(), json!({ "level": 7 }), 0),
        ("live that refuses", Wild::live(), json!({ "level": 7, "refuses": true }), 1),
        ("by restart", Factory::of::<Wild>(), json!({ "level": 7 }), 1),
    ];
    for (case, factory, config, restarts) in table {
        run(Time::Paused, async {
            let mut node = Node::start(factory, json!({ "level": 1 }), Home::Current).await;
            node.until("/level", 1).await;
            let answer = node.host.configure(name("wild"), config).await;
            assert_eq!(answer, Ok(()), "{case}");
            if restarts == 0 {
                node.until("/level", 7).await;
            } else {
                node.until("/modules/wild/restarts", restarts).await;
                assert_eq!(node.events, ["ends for Module"], "{case}");
            }
        });
    }
}

#[test]
fn a_bad_configuration_changes_nothing() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        for (module, config) in [("wild", json!({ "levl": 7 })), ("other", json!({}))] {
            let answer = node.host.configure(name(module), config).await;
            assert!(matches!(answer, Err(ConfigureError::Invalid(_))), "{module}: {answer:?}");
        }
        node.does("Fine").await.unwrap();
        assert_eq!(node.module().await.restarts, 0);
    });
}

#[test]
fn what_cannot_be_is_told_before_anything_runs() {
    run(Time::Paused, async {
        let (good, _reports, _ends) = options(Home::Current);
        let twice = HostOptions { factories: vec![Wild::live(), Wild::live()], ..good.clone() };
        assert!(matches!(HostHandle::start(twice).await, Err(HostError::Twice(_))));
        let config = |name: &str, config| BTreeMap::from([(name.to_owned(), config)]);
        let no_such = HostOptions { configs: config("wlid", json!({})), ..good.clone() };
        assert!(matches!(HostHandle::start(no_such).await, Err(HostError::NoSuchModule { .. })));
        let bad = HostOptions { configs: config("wild", json!({ "levl": 7 })), ..good };
        assert!(matches!(HostHandle::start(bad).await, Err(HostError::Config { .. })));
        let (nowhere, _reports, _ends) = options(Home::Own);
        assert!(matches!(HostHandle::start(nowhere).await, Err(HostError::NoSystem)));
    });
}

#[test]
fn paths_that_a_module_does_not_declare_are_refused_and_counted() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        node.does("Lie").await.unwrap();
        node.until("/wild", "ON").await;
        assert_eq!(node.seen.get("/not/mine"), None);
        let module = node.module().await;
        assert_eq!(module.refused, 1);
        assert_eq!(module.refused_paths, [Path::new("/not/mine").unwrap()]);
    });
}

#[test]
fn a_module_looks_on_its_interval_and_soon_after_a_change() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        node.until("/level", 0).await;
        let polled = async |node: &mut Node, why: &str| {
            let (before, since) = (node.module().await.polls, tokio::time::Instant::now());
            node.seen.clear();
            node.until("/level", 0).await;
            assert_eq!(node.module().await.polls, before + 1, "one look {why}");
            since.elapsed()
        };
        let interval = polled(&mut node, "on the interval").await;
        assert!(interval > Duration::from_secs(8), "{interval:?}");

        let asked: Arc<ObjectView> = fake::asked(&fake::node("n1"), "/wild", "ON");
        for _ in 0..3 {
            node.host.object_changed(asked.clone());
        }
        let after_cfg = polled(&mut node, "after a change of Cfg").await;
        assert!(after_cfg <= POLL_GAP * 2, "{after_cfg:?}");

        node.host.object_changed(fake::seen(&asked, "/wild", "ON"));
        let after_dsc = polled(&mut node, "not for a change of Dsc").await;
        assert!(after_dsc > Duration::from_secs(8), "{after_dsc:?}");

        node.does("Fine").await.unwrap();
        let after_mutation = polled(&mut node, "after a mutation").await;
        assert!(after_mutation <= POLL_GAP * 2, "{after_mutation:?}");
    });
}

#[test]
fn a_stopped_module_is_started_by_a_mutation_that_needs_it() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        assert!(node.host.set_running(name("wild"), false).await);
        assert!(!node.host.set_running(name("other"), false).await);
        node.until("/modules/wild/state", "STOP").await;
        let order = node.order("Fine", SLOW);
        assert_eq!(node.host.mutate(order.clone()).await, Some(Admission::Busy));
        node.until("/modules/wild/state", "RUN").await;
        assert_eq!(node.events, ["ends for Module"]);
        assert_eq!(node.host.mutate(order).await, Some(Admission::Busy), "it never starts");
        let another = node.order("Fine", SLOW);
        assert_eq!(node.host.mutate(another).await, Some(Admission::Accepted));
        node.end().await.outcome.unwrap();
    });
}

#[test]
fn stopping_the_host_ends_its_modules_in_good_order() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        let order = node.order("Patient", WITHIN);
        node.host.mutate(order).await;
        node.host.stop(SLOW).await;
        assert_eq!(fault(node.end().await.outcome), Fault::ModuleLost);
        node.listen();
        assert_eq!(node.events, ["ends for Node"]);
        assert_eq!(node.module().await.state, ModuleState::Stop);
        let order = node.order("Fine", SLOW);
        assert_eq!(node.host.mutate(order).await, Some(Admission::Busy));
    });
}

#[test]
fn the_host_comes_back_after_a_panic_with_its_objects_and_modules() {
    run(Time::Paused, async {
        let mut node = Node::wild().await;
        let order = node.order("Patient", WITHIN);
        node.host.mutate(order).await;
        assert_eq!(node.host.ask(Break, SLOW).await, None);
        assert_eq!(fault(node.end().await.outcome), Fault::ModuleLost);
        node.listen();
        node.seen.clear();
        node.until("/modules/wild/state", "RUN").await;
        node.until("/level", 0).await;
        node.does("Fine").await.unwrap();
    });
}

/// Has the host panic.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Break;

impl actix::Handler<Break> for super::ModuleHost {
    type Result = ();

    fn handle(&mut self, _: Break, _: &mut Self::Context) {
        panic!("told to panic");
    }
}

#[test]
fn a_module_that_blocks_its_thread_is_abandoned_and_replaced() {
    actix_rt::System::new().block_on(async {
        let mut node = Node::start(Wild::live(), json!({}), Home::Own).await;
        node.until("/modules/wild/state", "RUN").await;
        for _ in 0..HUNG_MAX {
            let order = node.order("Block", Duration::from_millis(10));
            assert_eq!(node.host.mutate(order).await, Some(Admission::Accepted));
        }
        for _ in 0..HUNG_MAX {
            assert_eq!(fault(node.end().await.outcome), Fault::Deadline);
        }
        node.until("/modules/wild/restarts", 1).await;
        node.until("/modules/wild/state", "RUN").await;
        node.does("Fine").await.unwrap();
        assert_eq!(node.host.observe().await.unwrap().abandoned, 1);
    });
}

#[test]
fn modules_on_threads_of_their_own_panic_and_end_alone() {
    actix_rt::System::new().block_on(async {
        let mut node = Node::start(Wild::live(), json!({}), Home::Own).await;
        node.until("/modules/wild/state", "RUN").await;
        for (restart, deed) in [(1, "Panic"), (2, "PanicInside")] {
            assert_eq!(fault(node.does(deed).await), Fault::ModuleLost, "{deed}");
            node.until("/modules/wild/restarts", restart).await;
            node.until("/modules/wild/state", "RUN").await;
        }
        node.does("Fine").await.unwrap();
        node.until("/wild", "ON").await;
        node.host.stop(SLOW).await;
        node.listen();
        assert_eq!(node.events, ["ends for Node"]);
        assert_eq!(node.host.observe().await.unwrap().abandoned, 0);
    });
}
