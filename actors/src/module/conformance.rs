//! What every module must do, tried on one of its mutations:
//!
//! ```text
//! harness::run(Time::Paused, async {
//!     let case = Case::new(Lamp::factory(), fake::node("n1"), "SwitchOn");
//!     assert_eq!(conformance::check(&case).await, []);
//! });
//! ```
//!
//! Each rule is tried on a module freshly started in an empty folder.

use std::{fmt, sync::Arc, time::Duration};

use kraken_engine::{
    check::sound as sound_together,
    manifest::{Manifest, To},
    path::{Path, Pattern},
    value::Value,
};
use serde_json::Value as Json;
use tokio::time::{Instant, timeout};

use super::{
    ConfigureError, Factory, ObjectView, Stopping,
    harness::{Begun, Harness, Outcome},
};
use crate::host::attempt::{CANCEL_GRACE, Conduct};

/// One mutation of one module, and what it is tried on. It must succeed from any state in which the
/// trial of a rule may leave the world, or the case must put that right
/// [before each](Case::before_each).
#[derive(Clone)]
pub struct Case {
    factory: Factory,
    config: Json,
    changed_config: Option<Json>,
    object: Arc<ObjectView>,
    mutation: String,
    bindings: Vec<String>,
    beside: Vec<Manifest>,
    before_each: Arc<dyn Fn()>,
}

/// What a module must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Its manifest compiles.
    SoundManifest,
    /// It starts.
    Starts,
    /// It carries out the mutation and answers in time.
    Answers,
    /// It answers when it is asked to look, also while it carries something out.
    Looks,
    /// What the mutation changed is seen at the latest with the next look.
    ShowsChanges,
    /// An attempt asked for twice, and another after it, change nothing more and succeed.
    Repeatable,
    /// It answers soon once its cancel token fires, and goes on working.
    HonoursCancel,
    /// It answers soon once the deadline is over, and goes on working.
    HonoursDeadline,
    /// It reports only paths that it declares to discover.
    DeclaresPaths,
    /// A mutation that it does not have is a permanent error.
    RefusesUnknown,
    /// It works on with a changed configuration.
    SurvivesConfigChange,
    /// It ends in time when asked to, and when started again finds what it did before.
    RestartsClean,
    /// Started again after a crash, it finds what it did before.
    SurvivesCrash,
}

/// A rule that a module breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// How it is broken.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

impl Case {
    /// Tries a mutation without stars, under the default configuration.
    pub fn new(factory: Factory, object: Arc<ObjectView>, mutation: &str) -> Self {
        Self {
            factory,
            config: Json::Null,
            changed_config: None,
            object,
            mutation: mutation.to_owned(),
            bindings: Vec::new(),
            beside: Vec::new(),
            before_each: Arc::new(|| {}),
        }
    }

    /// Tries a module that only discovers: by the rules that ask for no mutation.
    pub fn looking(factory: Factory, object: Arc<ObjectView>) -> Self {
        Self::new(factory, object, "")
    }

    /// Says what the stars of the mutation stand for.
    pub fn bindings(mut self, bindings: &[&str]) -> Self {
        self.bindings = bindings.iter().map(|binding| (*binding).to_owned()).collect();
        self
    }

    /// Starts the module with this configuration.
    pub fn config(mut self, config: Json) -> Self {
        self.config = config;
        self
    }

    /// Changes to this configuration, under which the mutation still succeeds; else to the same.
    pub fn changed_config(mut self, config: Json) -> Self {
        self.changed_config = Some(config);
        self
    }

    /// Adds a manifest that the module's own builds on.
    pub fn beside(mut self, manifest: Manifest) -> Self {
        self.beside.push(manifest);
        self
    }

    /// Does something before each rule is tried, such as to undo what the last trial did.
    pub fn before_each(mut self, undo: impl Fn() + 'static) -> Self {
        self.before_each = Arc::new(undo);
        self
    }

    fn mutates(&self) -> bool {
        !self.mutation.is_empty()
    }

    /// Whether a rule speaks of what the case tries.
    fn is_under(&self, rule: Rule) -> bool {
        match rule {
            Rule::Answers
            | Rule::ShowsChanges
            | Rule::Repeatable
            | Rule::HonoursCancel
            | Rule::HonoursDeadline => self.mutates(),
            Rule::SoundManifest
            | Rule::Starts
            | Rule::Looks
            | Rule::DeclaresPaths
            | Rule::RefusesUnknown
            | Rule::SurvivesConfigChange
            | Rule::RestartsClean
            | Rule::SurvivesCrash => true,
        }
    }

    fn bound(&self) -> Vec<&str> {
        self.bindings.iter().map(String::as_str).collect()
    }
}

/// Tries every rule and returns those that the module breaks, in order. One that does not start is
/// not tried further. Each trial ends as if its node stopped.
pub async fn check(case: &Case) -> Vec<Violation> {
    let mut violations: Vec<Violation> = sound(case).err().into_iter().collect();
    let took = match Trial::start(case).await {
        Ok(mut trial) => {
            let began = Instant::now();
            // Whether it succeeds is a rule of its own; here only the time counts.
            let _outcome = trial.mutate().await;
            let took = began.elapsed();
            trial.harness.stop(Stopping::Node).await;
            took
        }
        Err(text) => {
            violations.push(Violation { rule: Rule::Starts, text });
            return violations;
        }
    };
    for rule in TRIED.into_iter().filter(|rule| case.is_under(*rule)) {
        (case.before_each)();
        let verdict = match Trial::start(case).await {
            Ok(mut trial) => {
                let verdict = trial.of(rule, took / 2).await;
                trial.harness.stop(Stopping::Node).await;
                verdict
            }
            Err(text) => Err(text),
        };
        violations.extend(verdict.err().map(|text| Violation { rule, text }));
    }
    violations
}

type Verdict = Result<(), String>;

/// The rules that are tried one by one, in order.
const TRIED: [Rule; 11] = [
    Rule::Answers,
    Rule::Looks,
    Rule::ShowsChanges,
    Rule::Repeatable,
    Rule::HonoursCancel,
    Rule::HonoursDeadline,
    Rule::DeclaresPaths,
    Rule::RefusesUnknown,
    Rule::SurvivesConfigChange,
    Rule::RestartsClean,
    Rule::SurvivesCrash,
];

fn sound(case: &Case) -> Result<(), Violation> {
    let mut manifests = case.beside.clone();
    manifests.push(case.factory.manifest().clone());
    sound_together(&manifests).map(|_| ()).map_err(|found| {
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        Violation { rule: Rule::SoundManifest, text: texts.join("; ") }
    })
}

async fn answers(trial: &mut Trial<'_>) -> Verdict {
    trial.succeeds("the mutation").await
}

async fn looks(trial: &mut Trial<'_>, half: Duration) -> Verdict {
    trial.looks("on its own").await?;
    let begun = trial.begin();
    trial.harness.pass(half).await;
    trial.looks("while it carries something out").await?;
    // Whether it succeeds is a rule of its own.
    let _ended = trial.harness.end(begun).await;
    Ok(())
}

async fn shows_changes(trial: &mut Trial<'_>) -> Verdict {
    trial.succeeds("the mutation").await?;
    trial.looks("after the mutation").await?;
    for (path, wanted) in trial.changes() {
        let seen = trial.harness.seen(&trial.case.object, path.as_str());
        match (seen, wanted) {
            (None, _) => return Err(format!("nothing is seen at {path}")),
            (Some(seen), Some(wanted)) if *seen != wanted => {
                return Err(format!("{path} is seen as {seen}, not as {wanted}"));
            }
            (Some(_), _) => {}
        }
    }
    Ok(())
}

async fn repeatable(trial: &mut Trial<'_>) -> Verdict {
    trial.succeeds("the first attempt").await?;
    let first = trial.state().await?;
    let again = trial.begin_again(None);
    done(trial.harness.end(again).await.0, "the same attempt again")?;
    trial.succeeds("another attempt").await?;
    let then = trial.state().await?;
    if first == then { Ok(()) } else { Err(format!("{first:?} became {then:?}")) }
}

async fn honours_cancel(trial: &mut Trial<'_>, half: Duration) -> Verdict {
    if !trial.harness.spec(&trial.case.mutation).is_some_and(|spec| spec.cancellable) {
        return Ok(());
    }
    let begun = trial.begin();
    trial.harness.pass(half).await;
    begun.cancel();
    if timeout(CANCEL_GRACE, trial.harness.end(begun)).await.is_err() {
        return Err(format!("no answer within {CANCEL_GRACE:?} of the cancel"));
    }
    trial.looks("after the cancel").await
}

async fn honours_deadline(trial: &mut Trial<'_>, half: Duration) -> Verdict {
    let begun = trial.begin_again(Some(half));
    match trial.harness.end(begun).await.1 {
        Conduct::Answered => trial.looks("after the deadline").await,
        Conduct::Hung => Err(format!("no answer within {CANCEL_GRACE:?} of the deadline")),
        Conduct::Lost => Err("it ended or dropped the request".to_owned()),
    }
}

async fn declares_paths(trial: &mut Trial<'_>) -> Verdict {
    // Whether these succeed are rules of their own; here only what is reported counts.
    let _outcome = trial.mutate().await;
    let _looked = trial.looks("after the mutation").await;
    let refused = trial.harness.refused_paths();
    if refused.is_empty() { Ok(()) } else { Err(format!("it reported {refused:?}")) }
}

async fn refuses_unknown(trial: &mut Trial<'_>) -> Verdict {
    let bound = trial.case.bound();
    match trial.harness.mutate("NoSuchMutation", &bound, &trial.case.object).await {
        Err(error) if error.permanent => Ok(()),
        Err(error) => Err(format!("it says {error} and that trying again may help")),
        Ok(()) => Err("it says that it is done".to_owned()),
    }
}

async fn survives_config_change(trial: &mut Trial<'_>) -> Verdict {
    let config = trial.case.changed_config.as_ref().unwrap_or(&trial.case.config).clone();
    trial.harness.configure(config).await.map_err(|error| format!("it refuses it: {error}"))?;
    trial.looks("after the change").await?;
    trial.succeeds("the mutation after the change").await
}

async fn finds_again(trial: &mut Trial<'_>, crash: bool) -> Verdict {
    trial.succeeds("the mutation").await?;
    let before = trial.state().await?;
    let started = if crash { trial.harness.crash().await } else { trial.harness.restart().await };
    started.map_err(|error| error.to_string())?;
    trial.harness.forget();
    let after = trial.state().await?;
    if before != after {
        return Err(format!("it saw {before:?} and sees {after:?} now"));
    }
    trial.succeeds("the mutation after the restart").await
}

/// A module that a rule is tried on.
struct Trial<'a> {
    case: &'a Case,
    harness: Harness,
}

impl<'a> Trial<'a> {
    async fn start(case: &'a Case) -> Result<Self, String> {
        let started = Harness::start(case.factory.clone(), case.config.clone()).await;
        let harness = started.map_err(|error: ConfigureError| error.to_string())?;
        Ok(Self { case, harness })
    }

    /// Tries a rule; `half` is half of the time that the mutation takes.
    async fn of(&mut self, rule: Rule, half: Duration) -> Verdict {
        match rule {
            // Found out before anything is tried.
            Rule::SoundManifest | Rule::Starts => Ok(()),
            Rule::Answers => answers(self).await,
            Rule::Looks => looks(self, half).await,
            Rule::ShowsChanges => shows_changes(self).await,
            Rule::Repeatable => repeatable(self).await,
            Rule::HonoursCancel => honours_cancel(self, half).await,
            Rule::HonoursDeadline => honours_deadline(self, half).await,
            Rule::DeclaresPaths => declares_paths(self).await,
            Rule::RefusesUnknown => refuses_unknown(self).await,
            Rule::SurvivesConfigChange => survives_config_change(self).await,
            Rule::RestartsClean => finds_again(self, false).await,
            Rule::SurvivesCrash => finds_again(self, true).await,
        }
    }

    fn begin(&mut self) -> Begun {
        self.harness.begin(&self.case.mutation, &self.case.bound(), &self.case.object)
    }

    /// Begins an attempt under the id of the one before, if there was one.
    fn begin_again(&mut self, within: Option<Duration>) -> Begun {
        let spec = self.harness.spec(&self.case.mutation);
        let declared = Duration::from_millis(spec.map_or(0, |spec| spec.timeout_ms));
        let (mutation, bound) = (&self.case.mutation, self.case.bound());
        let within = within.unwrap_or(declared);
        self.harness.begin_again(mutation, &bound, &self.case.object, within)
    }

    async fn mutate(&mut self) -> Outcome {
        let begun = self.begin();
        self.harness.end(begun).await.0
    }

    async fn succeeds(&mut self, what: &str) -> Verdict {
        if !self.case.mutates() {
            return Ok(());
        }
        done(self.mutate().await, what)
    }

    async fn looks(&mut self, when: &str) -> Verdict {
        match self.harness.poll(std::slice::from_ref(&self.case.object)).await {
            Conduct::Answered => Ok(()),
            Conduct::Hung => Err(format!("asked to look {when}, it does not answer")),
            Conduct::Lost => Err(format!("asked to look {when}, it ends or drops the request")),
        }
    }

    /// The changed paths with what they are to be; `None`: any value will do.
    fn changes(&self) -> Vec<(Path, Option<Value>)> {
        let bindings: Vec<Arc<str>> =
            self.case.bindings.iter().map(|binding| binding.as_str().into()).collect();
        let spec = self.harness.spec(&self.case.mutation);
        let changes = spec.into_iter().flat_map(|spec| &spec.changes);
        let changes = changes.filter_map(|(pattern, change)| {
            let path = Pattern::new(pattern).ok()?.bind(&bindings)?;
            let wanted = match &change.to {
                To::Value(value) => Some(value.clone()),
                To::Cfg => self.case.object.cfg(path.as_str()).cloned(),
            };
            Some((path, wanted))
        });
        changes.collect()
    }

    /// What a look sees at the changed paths; where nothing is changed, which paths it sees, since
    /// what is only discovered may move by itself.
    async fn state(&mut self) -> Result<Vec<(Path, Option<Value>)>, String> {
        self.looks("for what was changed").await?;
        if !self.case.mutates() {
            let seen = self.harness.seen_of(&self.case.object);
            return Ok(seen.into_keys().map(|path| (path, None)).collect());
        }
        let mut state = Vec::new();
        for (path, _) in self.changes() {
            let seen = self.harness.seen(&self.case.object, path.as_str()).cloned();
            state.push((path, seen));
        }
        Ok(state)
    }
}

fn done(outcome: Outcome, what: &str) -> Verdict {
    outcome.map_err(|error| format!("{what} failed ({:?}): {error}", error.fault))
}

#[cfg(test)]
mod tests;
