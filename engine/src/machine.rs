//! The execution machine of one object in one lane: what is done next, and what became of it.
//!
//! | phase | input | next |
//! |---|---|---|
//! | any but InFlight | look: frozen | Frozen |
//! | any but InFlight | look: goal reached | Converged |
//! | any but InFlight | look: no plan | Stuck |
//! | any but InFlight | look: the first step is of the other lane, or waits for another object | Waiting |
//! | any but InFlight | look: the first step failed lately | BackingOff, past the limit Quarantined |
//! | any but InFlight | look: the first step is disruptive | Waiting for its intent |
//! | any but InFlight | look: a first step | InFlight, dispatched |
//! | Waiting for an intent | opened, or refused | InFlight, or BackingOff |
//! | InFlight | look: every changed path has arrived, and the attempt ended | the step is done; look again |
//! | InFlight | look: arrived, not ended 2 s later | cancelled; the step is done; look again |
//! | InFlight | ended well, not arrived | InFlight until the deadline |
//! | InFlight | ended with an error, or the deadline passed | counted; `fail_to` presumed; look again |
//! | InFlight | ended with an error while frozen, cancelled, or having led elsewhere | uncounted; look again |
//! | InFlight | no acknowledgement for 2 s | dispatched again under the same id |
//! | InFlight | no host, or a full one | Waiting for the service |
//! | Quarantined | look: Cfg changed, or a path that the step changes; retry asked | look again |
//!
//! Level-triggered: a look reads the present and nothing else, so that a lost or doubled wake-up
//! costs time and never correctness.

mod counts;
mod flight;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{counts::RELAPSE_MS, flight::Flight};
use self::counts::Counts;
use crate::{
    command::Intent,
    event::{EventKind, Happening},
    id::{AttemptId, Name, Revision, Uid},
    mutation::{Instance, Lane},
    path::Path,
    planner::{Plan, Planner, Question, Step},
    predicate::{On, Predicate},
    status::{PhaseName, Status},
    time::Millis,
    value::Value,
    view::{Presumed, Presumption, Subject, View},
};

/// How long a dispatched attempt may stay unacknowledged before it is sent again.
pub const ACKNOWLEDGE_MS: u64 = 2_000;
/// How long a step that is done waits for its attempt to end before it is cancelled.
pub const CLOSE_MS: u64 = 2_000;
/// How often a stuck object looks again by itself.
pub const STUCK_LOOK_MS: u64 = 60_000;
/// How soon a service that did not take an attempt is asked again.
pub const SERVICE_RETRY_MS: u64 = 1_000;

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Have a module carry out a mutation.
    Dispatch(Dispatch),
    /// Have an attempt given up.
    Cancel(AttemptId),
    /// Commit an intent, then tell the machine.
    OpenIntent(Intent),
    /// The attempt of an intent has ended.
    CloseIntent(AttemptId),
    /// Write the status, and what is presumed, where people and a next decider find them.
    Publish(Uid, Box<Status>),
    /// Put something on the record.
    Happened(Happening),
}

/// One attempt on its way to a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// The attempt.
    pub attempt: AttemptId,
    /// The object.
    pub uid: Uid,
    /// What is to be done.
    pub instance: Instance,
    /// How long it may take.
    pub timeout: Duration,
    /// The Cfg revision that it was decided from.
    pub revision: Revision,
}

/// What happened to an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// A module has taken it.
    Acknowledged,
    /// The module's queue is full.
    Busy,
    /// No module here carries it out, or it does not run.
    NoService(String),
    /// It ended well, says the module.
    Succeeded,
    /// It ended with an error; `permanent`: trying again cannot help.
    Failed {
        /// The error.
        error: String,
        /// Whether trying again cannot help.
        permanent: bool,
    },
    /// It ended because it was cancelled, or its host restarted: nothing is known.
    Abandoned,
    /// Its intent is committed.
    IntentOpened,
    /// Its intent was refused.
    IntentRefused(String),
}

/// What a machine needs beside its object.
pub struct Scope<'a> {
    /// The lane that it decides.
    pub lane: Lane,
    /// Now, in milliseconds since the Unix epoch.
    pub now: Millis,
    /// Finds plans.
    pub planner: &'a mut Planner,
    /// Gives out attempt ids.
    pub ids: &'a mut AttemptIds,
    /// Takes effects.
    pub effects: &'a mut Vec<Effect>,
}

/// Gives out attempt ids.
#[derive(Debug)]
pub struct AttemptIds {
    decider: Name,
    boot: u64,
    count: u64,
}

impl AttemptIds {
    /// The ids of a decider that started at `boot`.
    pub fn new(decider: Name, boot: Millis) -> Self {
        Self { decider, boot: boot.get(), count: 0 }
    }

    fn next(&mut self) -> AttemptId {
        self.count += 1;
        AttemptId::derive(&self.decider, self.boot, self.count)
    }
}

#[derive(Debug, Clone)]
enum Phase {
    New,
    Converged,
    Waiting { on: Waiting, until: Millis },
    InFlight(Box<Flight>),
    BackingOff { step: String, until: Millis },
    Quarantined { step: String, reason: String, seen: Vec<(Path, Option<Value>)> },
    Stuck { reason: String, until: Millis },
    Frozen { by: String },
}

#[derive(Debug, Clone)]
enum Waiting {
    /// A step that somebody else decides.
    Lane { step: String },
    /// Other objects.
    Related { step: String, what: String },
    /// A module that can carry it out.
    Service { step: String, why: String },
    /// A fresh look at what a disruptive step relies on.
    Look { step: String, path: Path },
    /// The commit of an intent.
    Intent(Box<Flight>),
}

/// The machine of one object in one lane.
#[derive(Debug)]
pub struct Machine {
    uid: Uid,
    phase: Phase,
    since: Millis,
    generation: u64,
    revision: Revision,
    counts: Counts,
    presumed: Presumed,
    published: Option<Status>,
}

impl Machine {
    /// The machine of an object about which nothing has been decided.
    pub fn new(uid: Uid) -> Self {
        Self {
            uid,
            phase: Phase::New,
            since: Millis::ZERO,
            generation: 0,
            revision: Revision::default(),
            counts: Counts::default(),
            presumed: Presumed::new(),
            published: None,
        }
    }

    /// What is presumed of paths after failures.
    pub fn presumed(&self) -> &Presumed {
        &self.presumed
    }

    /// The attempt that is in flight or waits for its intent.
    pub fn flight(&self) -> Option<&Flight> {
        match &self.phase {
            Phase::InFlight(flight) | Phase::Waiting { on: Waiting::Intent(flight), .. } => {
                Some(flight)
            }
            Phase::New
            | Phase::Converged
            | Phase::Waiting { .. }
            | Phase::BackingOff { .. }
            | Phase::Quarantined { .. }
            | Phase::Stuck { .. }
            | Phase::Frozen { .. } => None,
        }
    }

    /// When the machine must look again by itself.
    pub fn wake_at(&self) -> Millis {
        match &self.phase {
            Phase::InFlight(flight) => flight.wake_at(),
            Phase::Waiting { until, .. }
            | Phase::BackingOff { until, .. }
            | Phase::Stuck { until, .. } => *until,
            Phase::New | Phase::Converged | Phase::Quarantined { .. } | Phase::Frozen { .. } => {
                Millis::NEVER
            }
        }
    }

    /// Somebody asked to try again: failures are forgotten.
    pub fn retry(&mut self, subject: Subject<'_>, scope: &mut Scope<'_>) {
        self.counts.clear();
        if self.flight().is_none() {
            self.phase = Phase::New;
        }
        self.look(subject, scope);
    }

    /// Something may have changed, or time has passed: read everything and decide.
    pub fn look(&mut self, subject: Subject<'_>, scope: &mut Scope<'_>) {
        self.take_cfg(subject);
        self.lift_presumptions(subject);
        match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::InFlight(flight) => self.fly(flight, subject, scope),
            // An intent that was asked for is waited for: its answer always comes.
            waiting @ Phase::Waiting { on: Waiting::Intent(_), .. } => self.phase = waiting,
            phase => {
                self.phase = phase;
                self.decide(subject, scope);
            }
        }
        self.publish(scope);
    }

    /// Something happened to an attempt. One that is not in flight is not listened to.
    pub fn attempted(
        &mut self,
        attempt: &AttemptId,
        what: Attempted,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        if self.flight().is_none_or(|flight| flight.attempt != *attempt) {
            return;
        }
        self.take_cfg(subject);
        self.lift_presumptions(subject);
        match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::Waiting { on: Waiting::Intent(flight), .. } => {
                self.intent_answered(flight, what, subject, scope);
            }
            Phase::InFlight(flight) => self.flight_answered(flight, what, subject, scope),
            phase => self.phase = phase,
        }
        self.publish(scope);
    }

    fn take_cfg(&mut self, subject: Subject<'_>) {
        self.revision = subject.object.revision;
        if self.generation != subject.object.generation {
            self.generation = subject.object.generation;
            self.counts.clear();
            if matches!(self.phase, Phase::Quarantined { .. } | Phase::BackingOff { .. }) {
                self.phase = Phase::New;
            }
        }
    }

    fn lift_presumptions(&mut self, subject: Subject<'_>) {
        let Some(kind) = subject.catalog.kind(&subject.object.key.kind) else { return };
        self.presumed.retain(|path, presumption| {
            let seen = crate::view::seen(kind, subject.dsc, path);
            let moved = seen != presumption.at_failure.as_ref();
            let arrived = seen.is_some() && seen == presumption.aim.as_ref();
            !moved && !arrived
        });
    }

    fn decide(&mut self, subject: Subject<'_>, scope: &mut Scope<'_>) {
        if let Some(frozen) = &subject.object.frozen {
            let by = format!("by {} ({})", frozen.by, frozen.scope);
            return self.enter(Phase::Frozen { by }, scope);
        }
        let planned = match View::new(subject, &self.presumed) {
            None => Err(format!("no extension declares kind {}", subject.object.key.kind)),
            Some(view) => plan(view, subject, scope.planner),
        };
        match planned {
            Err(reason) => {
                let until = scope.now.after_ms(STUCK_LOOK_MS);
                self.enter(Phase::Stuck { reason, until }, scope);
            }
            Ok(plan) => match plan.steps.first() {
                None => self.enter(Phase::Converged, scope),
                Some(step) => self.next_step(step, &plan, subject, scope),
            },
        }
    }

    fn next_step(
        &mut self,
        step: &Step,
        plan: &Plan,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        let name = step.instance.to_string();
        let mutation = &step.instance.mutation;
        if let Phase::Quarantined { step: held, seen, .. } = &self.phase {
            if *held == name && *seen == seen_now(&step.instance, subject) {
                return;
            }
            self.counts.forget(&name);
        }
        if mutation.context.lane() != scope.lane {
            return self.wait(Waiting::Lane { step: name }, Millis::NEVER, scope);
        }
        if let Some(what) = unmet(&step.instance, plan, subject) {
            let until = scope.now.after_ms(STUCK_LOOK_MS);
            return self.wait(Waiting::Related { step: name, what }, until, scope);
        }
        let count = self.counts.before(&name, mutation.retry, self.uid, scope.now);
        if count.failures >= mutation.retry.attempts_max {
            let reason = format!("{name} failed {} times: {}", count.failures, count.error);
            return self.quarantine(&step.instance, reason, subject, scope);
        }
        if scope.now < count.retry_at {
            return self.enter(Phase::BackingOff { step: name, until: count.retry_at }, scope);
        }
        if mutation.disruptive && let Some(path) = unseen(&step.instance, subject) {
            let until = scope.now.after_ms(SERVICE_RETRY_MS);
            return self.wait(Waiting::Look { step: name, path }, until, scope);
        }
        let flight = Flight::new(scope.ids.next(), step, subject, scope.now);
        if mutation.disruptive {
            scope.effects.push(Effect::OpenIntent(flight.intent(self.uid)));
            return self.wait(Waiting::Intent(Box::new(flight)), Millis::NEVER, scope);
        }
        self.take_off(flight, scope);
    }

    fn take_off(&mut self, mut flight: Flight, scope: &mut Scope<'_>) {
        flight.restart(scope.now);
        scope.effects.push(Effect::Dispatch(flight.dispatch(self.uid)));
        let text = format!("{} started", flight.step());
        self.happened(EventKind::AttemptStarted, Some(&flight.attempt), text, scope);
        self.enter(Phase::InFlight(Box::new(flight)), scope);
    }

    fn wait(&mut self, on: Waiting, until: Millis, scope: &Scope<'_>) {
        self.enter(Phase::Waiting { on, until }, scope);
    }

    fn quarantine(
        &mut self,
        instance: &Instance,
        reason: String,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        let seen = seen_now(instance, subject);
        self.enter(Phase::Quarantined { step: instance.to_string(), reason, seen }, scope);
    }

    /// Enters a phase. Entering the same one again keeps `since`.
    fn enter(&mut self, phase: Phase, scope: &Scope<'_>) {
        self.phase = phase;
        let name = self.name();
        if self.published.as_ref().is_none_or(|published| published.phase != name) {
            self.since = scope.now;
        }
    }

    fn happened(
        &self,
        kind: EventKind,
        attempt: Option<&AttemptId>,
        text: String,
        scope: &mut Scope<'_>,
    ) {
        scope.effects.push(Effect::Happened(Happening {
            kind,
            uid: Some(self.uid),
            revision: Some(self.revision),
            attempt: attempt.cloned(),
            text,
        }));
    }

    fn publish(&mut self, scope: &mut Scope<'_>) {
        let status = self.status();
        if self.published.as_ref() == Some(&status) {
            return;
        }
        let entered = self.published.as_ref().is_none_or(|before| {
            before.phase != status.phase || before.revision != status.revision
        });
        let text = status.reason.clone().unwrap_or_default();
        match status.phase {
            PhaseName::Converged if entered => {
                let text = format!("converged at revision {}", self.revision);
                self.happened(EventKind::Converged, None, text, scope);
            }
            PhaseName::Stuck | PhaseName::Quarantined if entered => {
                let text = format!("{}: {text}", status.phase);
                self.happened(EventKind::NeedsHelp, None, text, scope);
            }
            PhaseName::Frozen if entered => {
                self.happened(EventKind::Frozen, None, format!("frozen {text}"), scope);
            }
            PhaseName::Converged
            | PhaseName::Stuck
            | PhaseName::Quarantined
            | PhaseName::Frozen
            | PhaseName::Waiting
            | PhaseName::InFlight
            | PhaseName::BackingOff => {}
        }
        self.published = Some(status.clone());
        scope.effects.push(Effect::Publish(self.uid, Box::new(status)));
    }

    fn name(&self) -> PhaseName {
        match &self.phase {
            Phase::Converged => PhaseName::Converged,
            Phase::New | Phase::Waiting { .. } => PhaseName::Waiting,
            Phase::InFlight(_) => PhaseName::InFlight,
            Phase::BackingOff { .. } => PhaseName::BackingOff,
            Phase::Quarantined { .. } => PhaseName::Quarantined,
            Phase::Stuck { .. } => PhaseName::Stuck,
            Phase::Frozen { .. } => PhaseName::Frozen,
        }
    }

    /// What is to be said about the object.
    pub fn status(&self) -> Status {
        let (step, reason, waits_for) = self.words();
        let count = step.as_deref().and_then(|step| self.counts.get(step));
        let count = count.filter(|count| count.failures > 0);
        let next_retry = match &self.phase {
            Phase::BackingOff { until, .. } => Some(*until),
            Phase::New
            | Phase::Converged
            | Phase::Waiting { .. }
            | Phase::InFlight(_)
            | Phase::Quarantined { .. }
            | Phase::Stuck { .. }
            | Phase::Frozen { .. } => None,
        };
        Status {
            phase: self.name(),
            revision: self.revision,
            reason,
            waits_for,
            since: self.since,
            attempts: count.map_or(0, |count| count.failures),
            last_error: count.map(|count| count.error.clone()),
            next_retry,
            step,
        }
    }

    /// Step, reason and what is waited for, in words.
    fn words(&self) -> (Option<String>, Option<String>, Option<String>) {
        match &self.phase {
            Phase::New | Phase::Converged => (None, None, None),
            Phase::InFlight(flight) => (Some(flight.step()), None, None),
            Phase::BackingOff { step, .. } => {
                let error = self.counts.get(step).map(|count| count.error.clone());
                (Some(step.clone()), error, None)
            }
            Phase::Quarantined { step, reason, .. } => {
                (Some(step.clone()), Some(reason.clone()), None)
            }
            Phase::Stuck { reason, .. } => (None, Some(reason.clone()), None),
            Phase::Frozen { by } => (None, Some(by.clone()), None),
            Phase::Waiting { on, .. } => on.words(),
        }
    }
}

impl Waiting {
    fn words(&self) -> (Option<String>, Option<String>, Option<String>) {
        let (step, reason, waits_for) = match self {
            Self::Lane { step } => (step.clone(), None, format!("whoever decides {step}")),
            Self::Related { step, what } => (step.clone(), None, what.clone()),
            Self::Service { step, why } => {
                let module = step.split('/').next().unwrap_or_default();
                (step.clone(), Some(why.clone()), format!("module {module}"))
            }
            Self::Look { step, path } => {
                let why = format!("{step} is disruptive, and {path} is not seen freshly");
                (step.clone(), Some(why), format!("a look at {path}"))
            }
            Self::Intent(flight) => (flight.step(), None, "the commit of its intent".to_owned()),
        };
        (Some(step), reason, Some(waits_for))
    }
}

fn plan(
    view: View<'_>,
    subject: Subject<'_>,
    planner: &mut Planner,
) -> Result<std::sync::Arc<Plan>, String> {
    let goal = view.goal();
    let question = Question {
        kind: view.kind(),
        goal: &goal,
        cfg: &subject.object.cfg,
        facts: &view,
    };
    planner.plan(&question).map_err(|no_plan| no_plan.to_string())
}

/// What the instance needs of other objects and does not find there.
fn unmet(instance: &Instance, plan: &Plan, subject: Subject<'_>) -> Option<String> {
    let holds = |guard: &Predicate| {
        let path = guard.path(&instance.bindings);
        let value = path.and_then(|path| subject.related.value(subject.object, &guard.on, &path));
        guard.test.holds(value.as_ref())
    };
    let elsewhere = |guard: &&Predicate| guard.on != On::Itself;
    let mutation = &instance.mutation;
    let lacks = mutation.requires.iter().filter(elsewhere).any(|guard| !holds(guard));
    let hinders = mutation.excludes.iter().filter(elsewhere).any(holds);
    (lacks || hinders).then(|| plan.waits_for.join(" and "))
}

/// The paths that an instance changes, with what is seen there now.
fn seen_now(instance: &Instance, subject: Subject<'_>) -> Vec<(Path, Option<Value>)> {
    let seen = |path: &Path| subject.dsc.value(path.as_str()).cloned();
    instance.changes().map(|(path, _)| (path.clone(), seen(&path))).collect()
}

/// A path that a disruptive step relies on and that was not seen since it had to be.
fn unseen(instance: &Instance, subject: Subject<'_>) -> Option<Path> {
    let mutation = &instance.mutation;
    let guards = mutation.requires.iter().chain(&mutation.excludes);
    let guards = guards.filter_map(|guard| guard.path(&instance.bindings));
    let kind = subject.catalog.kind(&subject.object.key.kind)?;
    instance.changes().map(|(path, _)| path).chain(guards).find(|path| {
        let discovered = kind.schema.rule(path).is_some_and(|(rule, _)| rule.discovered);
        let seen = subject.dsc.get(path.as_str());
        discovered && seen.is_some_and(|seen| seen.seen_at < subject.not_before)
    })
}

/// What to presume of the paths of a failed instance.
fn presumptions<'a>(
    instance: &'a Instance,
    flight: &'a Flight,
    subject: Subject<'a>,
) -> impl Iterator<Item = (Path, Presumption)> + 'a {
    instance.fail_to().map(move |(path, value)| {
        let at_failure = subject.dsc.value(path.as_str()).cloned();
        let aim = flight.aim(&path).cloned();
        (path, Presumption { value: value.clone(), at_failure, aim })
    })
}
