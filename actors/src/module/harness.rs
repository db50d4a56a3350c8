//! Runs one module against a fake node, for the tests of modules:
//!
//! ```text
//! harness::run(Time::Paused, async {
//!     let mut lamp = Harness::start(Lamp::factory(), Value::Null).await.unwrap();
//!     lamp.mutate("SwitchOn", &[], &fake::node("n1")).await.unwrap();
//!     assert_eq!(lamp.seen(&fake::node("n1"), "/lamp"), Some(&"ON".into()));
//! });
//! ```
//!
//! The module lives on the thread of the test, so that paused time holds it too; what it blocks, it
//! blocks the test with. Requests are held to their deadlines as the module host does it.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use kraken_engine::{
    dsc::{Dsc, Observed},
    id::{AttemptId, Name, Uid},
    manifest::MutationSpec,
    path::Path,
    time::Millis,
    value::Value,
};
use serde_json::Value as Json;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, LocalSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Authority, Configure, ConfigureError, Ended, Factory, Home, Kit, Mutate, ObjectView, Poll,
    Report, Reporter, Running, Stopping,
    reporter::{REPORTS_MAX, Stamps},
};
use crate::{
    clock::Clock,
    host::{
        AttemptError, CONFIGURE_TIMEOUT, Fault, SHUTDOWN_GRACE,
        attempt::{Conduct, Ends, carry_out, deadline_in, look},
    },
};

/// How long [`Harness::until_seen`] waits.
pub const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// How time passes in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// It jumps to the next timer whenever nothing else is to be done: not for modules that wait
    /// for processes, sockets or threads.
    Paused,
    /// As outside.
    Real,
}

/// Runs a test on one thread, as a module has it.
#[expect(clippy::expect_used, reason = "a test without a runtime should fail")]
pub fn run<T>(time: Time, test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(time == Time::Paused);
    LocalSet::new().block_on(&builder.build().expect("a runtime"), test)
}

/// A module and the fake node round it.
pub struct Harness {
    factory: Factory,
    config: Json,
    kit: Kit,
    authority: Arc<Authority>,
    running: Option<Running>,
    reports: mpsc::Receiver<Report>,
    seen: BTreeMap<Uid, Dsc>,
    events: Vec<(Uid, String)>,
    progress: Vec<(AttemptId, String)>,
    attempts: u64,
    /// Removed with the harness.
    _folder: tempfile::TempDir,
}

/// An attempt that runs.
pub struct Begun {
    cancel: CancellationToken,
    end: JoinHandle<(Outcome, Conduct)>,
}

/// What came of an attempt.
pub type Outcome = Result<(), AttemptError>;

impl Begun {
    /// Fires the attempt's cancel token.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}

impl Harness {
    /// Starts a module in an empty folder.
    pub async fn start(factory: Factory, config: Json) -> Result<Self, ConfigureError> {
        let no_folder = |error: io::Error| ConfigureError::Start(error.to_string());
        let bad_name = |error| ConfigureError::Start(format!("{error}"));
        let folder = tempfile::tempdir().map_err(no_folder)?;
        let node = Name::new("n1").map_err(bad_name)?;
        let module = Name::new(&factory.manifest().module).map_err(bad_name)?;
        let (queue, reports) = mpsc::channel(REPORTS_MAX);
        let authority = Arc::new(Authority::of(factory.manifest()));
        let stamps = Stamps::new(node.clone(), Clock::new());
        let reporter = Reporter::new(module, stamps, queue).within(authority.clone());
        let kit = Kit { node, data: folder.path().to_path_buf(), reporter };
        let running = factory.start(config.clone(), kit.clone(), Home::Current).await?;
        Ok(Self {
            factory,
            config,
            kit,
            authority,
            running: Some(running),
            reports,
            seen: BTreeMap::new(),
            events: Vec::new(),
            progress: Vec::new(),
            attempts: 0,
            _folder: folder,
        })
    }

    /// Has the module carry out a mutation on an object, within the time that its manifest gives.
    /// The module is shown the object with all that was seen of it so far.
    pub async fn mutate(
        &mut self,
        mutation: &str,
        bindings: &[&str],
        object: &ObjectView,
    ) -> Outcome {
        let begun = self.begin(mutation, bindings, object);
        self.end(begun).await.0
    }

    /// Begins an attempt and returns while it runs.
    pub fn begin(&mut self, mutation: &str, bindings: &[&str], object: &ObjectView) -> Begun {
        self.attempts += 1;
        let within = self
            .spec(mutation)
            .map_or(Duration::from_secs(30), |spec| Duration::from_millis(spec.timeout_ms));
        self.begin_again(mutation, bindings, object, within)
    }

    /// As [`begin`](Self::begin), with the attempt id of the last one and a time of its own.
    pub fn begin_again(
        &mut self,
        mutation: &str,
        bindings: &[&str],
        object: &ObjectView,
        within: Duration,
    ) -> Begun {
        let cancel = CancellationToken::new();
        let Some(running) = &self.running else { return gone(cancel) };
        let Ok(name) = Name::new(mutation) else { return gone(cancel) };
        let mutate = Mutate {
            attempt: AttemptId::derive(&self.kit.node, 1, self.attempts),
            mutation: name,
            bindings: bindings.iter().map(|binding| (*binding).into()).collect(),
            object: Arc::new(self.shown(object)),
            deadline: deadline_in(within),
            cancel: cancel.clone(),
            reporter: self.kit.reporter.clone(),
        };
        let ends = Ends { lost: running.lost(), ..Ends::default() };
        let work = carry_out(running.mutate.clone(), mutate, ends);
        Begun { cancel, end: tokio::task::spawn_local(work) }
    }

    /// Waits for an attempt; also tells how the module behaved.
    pub async fn end(&mut self, begun: Begun) -> (Outcome, Conduct) {
        let ended = self.listen_during(begun.end).await;
        ended.unwrap_or_else(|error| lost(error.to_string()))
    }

    /// Has the module look at objects.
    pub async fn poll(&mut self, objects: &[Arc<ObjectView>]) -> Conduct {
        let Some(running) = &self.running else { return Conduct::Lost };
        let objects = objects.iter().map(|object| Arc::new(self.shown(object))).collect();
        let looking = look(running.poll.clone(), Poll { objects }, running.lost());
        self.listen_during(looking).await
    }

    /// Gives the module another configuration, live where it takes it so, else by a restart.
    pub async fn configure(&mut self, config: Json) -> Result<(), ConfigureError> {
        self.factory.check(&config)?;
        let live = self.running.as_ref().and_then(|running| running.configure.clone());
        if let Some(live) = live {
            let asked = timeout(CONFIGURE_TIMEOUT, live.send(Configure(config.clone())));
            let answer = self.listen_during(asked).await;
            match answer {
                Ok(Ok(Err(ConfigureError::NeedsRestart))) => {}
                Ok(Ok(answer)) => {
                    self.config = config;
                    return answer;
                }
                Ok(Err(error)) => return Err(ConfigureError::Start(error.to_string())),
                Err(_) => return Err(ConfigureError::Start("no answer".to_owned())),
            }
        }
        self.config = config;
        self.restart().await
    }

    /// Ends the module in good order and starts it again on the same data.
    pub async fn restart(&mut self) -> Result<(), ConfigureError> {
        if !self.stop(Stopping::Module).await {
            return Err(ConfigureError::Start("it did not end in time".to_owned()));
        }
        self.start_again().await
    }

    /// Stops the module as a crash does, and starts it again on the same data.
    pub async fn crash(&mut self) -> Result<(), ConfigureError> {
        if let Some(running) = self.running.take() {
            self.listen_during(running.kill()).await;
        }
        self.start_again().await
    }

    /// Ends the module in good order; tells whether it did so in time.
    pub async fn stop(&mut self, why: Stopping) -> bool {
        let Some(running) = self.running.take() else { return true };
        let ended = running.shut_down(why, SHUTDOWN_GRACE);
        self.listen_during(ended).await == Ended::InTime
    }

    /// What the module has last reported at a path; `None`: nothing, or that it is not known.
    pub fn seen(&mut self, object: &ObjectView, path: &str) -> Option<&Value> {
        self.listen();
        self.seen.get(&object.uid)?.value(path)
    }

    /// All that was seen of an object.
    pub fn seen_of(&mut self, object: &ObjectView) -> BTreeMap<Path, Value> {
        self.listen();
        self.shown(object).dsc
    }

    /// Waits until the module reports a value of its own accord; tells whether it did so within
    /// [`SEEN_WITHIN`].
    pub async fn until_seen(
        &mut self,
        object: &ObjectView,
        path: &str,
        value: impl Into<Value>,
    ) -> bool {
        let value = value.into();
        let wait = async {
            while self.seen(object, path) != Some(&value) {
                if let Some(report) = self.reports.recv().await {
                    self.take(report);
                }
            }
        };
        timeout(SEEN_WITHIN, wait).await.is_ok()
    }

    /// Lets time pass, and hears what the module reports meanwhile.
    pub async fn pass(&mut self, time: Duration) {
        self.listen_during(tokio::time::sleep(time)).await;
    }

    /// Forgets all that was seen.
    pub fn forget(&mut self) {
        self.listen();
        self.seen.clear();
    }

    /// What the module put on the record of objects.
    pub fn events(&mut self) -> &[(Uid, String)] {
        self.listen();
        &self.events
    }

    /// How far attempts were said to be.
    pub fn progress(&mut self) -> &[(AttemptId, String)] {
        self.listen();
        &self.progress
    }

    /// Paths that were refused because the manifest does not declare them.
    pub fn refused_paths(&self) -> Vec<Path> {
        self.authority.refused_paths()
    }

    /// The declaration of a mutation.
    pub fn spec(&self, mutation: &str) -> Option<&MutationSpec> {
        self.factory.manifest().mutations.iter().find(|spec| spec.name == mutation)
    }

    /// Whether the module takes a changed configuration while it runs.
    pub fn is_live(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.configure.is_some())
    }

    /// Whether the module's actor lives.
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_connected)
    }

    async fn start_again(&mut self) -> Result<(), ConfigureError> {
        let started = self.factory.start(self.config.clone(), self.kit.clone(), Home::Current);
        self.running = Some(started.await?);
        Ok(())
    }

    /// The object with what was seen of it.
    fn shown(&self, object: &ObjectView) -> ObjectView {
        let mut object = object.clone();
        for (path, observed) in self.seen.get(&object.uid).into_iter().flat_map(Dsc::iter) {
            match &observed.value {
                Some(value) => object.dsc.insert(path.clone(), value.clone()),
                None => object.dsc.remove(path),
            };
        }
        object
    }

    async fn listen_during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(report) = self.reports.recv() => self.take(report),
                done = &mut work => {
                    self.listen();
                    return done;
                }
            }
        }
    }

    fn listen(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.take(report);
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Seen(sighted) => {
                let dsc = self.seen.entry(sighted.uid).or_default();
                for (path, value) in sighted.values {
                    let (stamp, seen_at) = (sighted.stamp.clone(), Millis::ZERO);
                    dsc.merge(path, Observed { value, stamp, seen_at });
                }
            }
            Report::Progress { attempt, text } => self.progress.push((attempt, text)),
            Report::Event { uid, text } => self.events.push((uid, text)),
        }
    }
}

fn gone(cancel: CancellationToken) -> Begun {
    let end = async { lost("the module does not run".to_owned()) };
    Begun { cancel, end: tokio::task::spawn_local(end) }
}

fn lost(text: String) -> (Outcome, Conduct) {
    (Err(AttemptError { fault: Fault::ModuleLost, text, permanent: false }), Conduct::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{fake, wild::Wild};

    #[test]
    fn a_module_is_tried_in_three_lines() {
        run(Time::Paused, async {
            let mut wild = Harness::start(Wild::live(), Json::Null).await.unwrap();
            wild.mutate("Fine", &[], &fake::node("n1")).await.unwrap();
            assert_eq!(wild.seen(&fake::node("n1"), "/wild"), Some(&"ON".into()));
        });
    }

    #[test]
    fn what_was_seen_is_shown_to_the_module_and_survives_its_restart() {
        run(Time::Paused, async {
            let node = fake::node("n1");
            let mut wild = Harness::start(Wild::live(), Json::Null).await.unwrap();
            wild.mutate("Fine", &[], &node).await.unwrap();
            wild.restart().await.unwrap();
            assert!(wild.events().iter().any(|(_, text)| text == "ends for Module"));
            wild.crash().await.unwrap();
            assert_eq!(wild.poll(std::slice::from_ref(&node)).await, Conduct::Answered);
            assert_eq!(wild.seen_of(&node).len(), 2);
        });
    }

    #[test]
    fn an_attempt_is_cancelled_on_demand() {
        run(Time::Paused, async {
            let mut wild = Harness::start(Wild::live(), Json::Null).await.unwrap();
            let begun = wild.begin("Patient", &[], &fake::node("n1"));
            begun.cancel();
            let (outcome, conduct) = wild.end(begun).await;
            assert_eq!(outcome.unwrap_err().fault, Fault::Cancelled);
            assert_eq!(conduct, Conduct::Answered);
        });
    }

    #[test]
    fn time_passes_as_asked() {
        run(Time::Real, async {
            let mut wild = Harness::start(Wild::live(), Json::Null).await.unwrap();
            wild.mutate("Fine", &[], &fake::node("n1")).await.unwrap();
        });
        run(Time::Paused, async {
            let mut wild = Harness::start(Wild::live(), Json::Null).await.unwrap();
            let (outcome, conduct) = {
                let begun = wild.begin("Hang", &[], &fake::node("n1"));
                wild.end(begun).await
            };
            assert_eq!((outcome.unwrap_err().fault, conduct), (Fault::Deadline, Conduct::Hung));
        });
    }
}
