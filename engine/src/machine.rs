//! The execution machine of one object in one lane: what is done next, and what became of it.
//!
//! | phase | input | next |
//! |---|---|---|
//! | any but InFlight | look: frozen | Frozen |
//! | any but InFlight | look: goal reached | Converged |
//! | any but InFlight | look: no plan | Stuck |
//! | any but InFlight | look: the step is of the other lane, or waits for an object | Waiting |
//! | any but InFlight | look: it goes back and forth, or never comes to an end | Quarantined |
//! | any but InFlight | look: the step failed lately | BackingOff, past the limit Quarantined |
//! | any but InFlight | look: the step's module did not take it a moment ago | Waiting |
//! | any but InFlight | look: the step is disruptive, on what is not fresh | Waiting; a look |
//! | any but InFlight | look: the step is disruptive, and a policy holds it | Waiting for it |
//! | any but InFlight | look: the step is disruptive | Waiting for its intent |
//! | any but InFlight | look: the step can go | InFlight, dispatched; a look where it is stale |
//! | Waiting for an intent | opened, and still the step | InFlight, dispatched |
//! | Waiting for an intent | opened, and not the step now; no answer in time | closed; look again |
//! | Waiting for an intent | refused | Waiting for the service |
//! | InFlight | look: every changed path has arrived, and the attempt ended | done; look again |
//! | InFlight | look: arrived, not ended 2 s later | cancelled where it may be; InFlight |
//! | InFlight | look: no longer wanted, or led elsewhere | cancelled where it may be; InFlight |
//! | InFlight | ended well, not arrived | InFlight until the deadline |
//! | InFlight | ended with an error, or not well by the deadline | counted; `fail_to` presumed |
//! | InFlight | the same while frozen, no longer wanted, or led elsewhere | uncounted; look again |
//! | InFlight | ended without a word of how | uncounted; look again |
//! | InFlight | the deadline passes before the attempt ends | cancelled; InFlight 2 s more |
//! | InFlight | no acknowledgement for 2 s, still right | dispatched again under the same id |
//! | InFlight | no host, or a full one | Waiting for the service |
//! | InFlight | its host says what it was decided from has moved | uncounted; look again |
//! | InFlight | handed to a node, or news of how far it is | InFlight, so said; extends nothing |
//! | InFlight | every way to its node is over, not disruptive | Waiting for a service elsewhere |
//! | InFlight | the same, disruptive: it may have begun | InFlight until it must have ended |
//! | Quarantined | look: Cfg changed, a retry was asked, or news of a changed path | look again |
//!
//! *The step* is the first of the plan; where that cannot go, the next that commutes with all
//! before it, so that one failing service does not hold up the others. Where none can go, the phase
//! is that of the one that most needs help.
//!
//! An attempt holds its lane until it has ended, at the latest 2 s after its deadline, so that no
//! two attempts of a lane ever run at once. Level-triggered: a look reads the present and nothing
//! else, so that a lost or doubled wake-up costs time and never correctness.

mod brake;
mod choice;
mod counts;
mod flight;
mod flying;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::BTreeSet, time::Duration};

use self::{brake::Brake, counts::Counts};
pub use self::{
    brake::{FLAP_SPAN_MS, FLAPS_MAX, WALKED_MAX},
    counts::RELAPSE_MS,
    flight::Flight,
};
use crate::{
    catalog::KindCatalog,
    command::{Command, Intent},
    event::Happening,
    id::{AttemptId, Name, Revision, Uid},
    mutation::{Instance, Lane},
    path::Path,
    planner::{Plan, Planner, Question},
    policy::{Gate, Hold, Standing},
    presumed,
    status::Status,
    time::Millis,
    value::Value,
    view::{Presumed, Subject, View, seen},
};

/// How long a dispatched attempt may stay unacknowledged before it is sent again.
pub const ACKNOWLEDGE_MS: u64 = 2_000;
/// How long a dispatched attempt may wait to be started; its host drops it after that.
pub const START_WITHIN_MS: u64 = 2_000;
/// How long a step that is done waits for its attempt to end before it is cancelled.
pub const CLOSE_MS: u64 = 2_000;
/// How often a stuck object looks again by itself.
pub const STUCK_LOOK_MS: u64 = 60_000;
/// How often a look is asked for of an object whose next step waits for one, at most.
pub const LOOK_AGAIN_MS: u64 = 2_000;
/// How often progress of one attempt is told at most; what comes sooner waits for the next news.
pub const PROGRESS_MS: u64 = 1_000;
/// The longest progress that is told, in bytes; longer ones are cut.
pub const PROGRESS_BYTES_MAX: usize = 512;
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
    /// Write the status where people and a next decider find it.
    Publish(Uid, Box<Status>),
    /// Write what is presumed, and no longer, where people and a next decider find it.
    Presume(Uid, Vec<(Path, Option<Value>)>),
    /// Put something on the record.
    Happened(Happening),
    /// Have an object looked at, and told afresh.
    Look(Uid),
    /// Have the quorum carry out a decision of the engine's own.
    Propose(Box<Command>),
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
    /// It is on its way to this node.
    Handed(Name),
    /// Its node has taken it.
    Acknowledged,
    /// How far it is, in words.
    Progressed(String),
    /// Not started: what it was decided from has moved.
    Moved(String),
    /// Every way to its node is over: what was not started by now never is.
    Lost,
    /// The module's queue is full.
    Busy,
    /// No module carries it out that can be reached and runs.
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
    /// Lets disruptive steps through as policies say.
    pub gate: &'a mut Gate,
    /// Takes effects.
    pub effects: &'a mut Vec<Effect>,
}

/// Gives out attempt ids. Those of the two lanes of one node are odd and even, so that deciders
/// that start within one millisecond give out none twice.
#[derive(Debug)]
pub struct AttemptIds {
    decider: Name,
    boot: u64,
    count: u64,
}

impl AttemptIds {
    /// The ids of the decider of a lane that started at `boot`.
    pub fn new(decider: Name, lane: Lane, boot: Millis) -> Self {
        let count = match lane {
            Lane::Itself => 0,
            Lane::Quorum => 1,
        };
        Self { decider, boot: boot.get(), count }
    }

    fn next(&mut self) -> AttemptId {
        self.count += 2;
        AttemptId::derive(&self.decider, self.boot, self.count)
    }
}

#[derive(Debug, Clone)]
enum Phase {
    New,
    Converged,
    Waiting(Waiting),
    InFlight(Box<Flight>),
    BackingOff { step: String },
    Quarantined { step: String, reason: String },
    Stuck { reason: String },
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
    /// What a policy, or a guard of the fleet, asks for.
    Policy { step: String, hold: Box<Hold> },
    /// The commit of an intent.
    Intent(Box<Flight>),
}

/// A step that its module did not take, and when to ask again.
#[derive(Debug, Clone)]
struct Declined {
    step: String,
    why: String,
    until: Millis,
}

/// The machine of one object in one lane.
#[derive(Debug)]
pub struct Machine {
    uid: Uid,
    phase: Phase,
    /// When a machine that is not in flight looks again by itself.
    wake: Millis,
    since: Millis,
    generation: u64,
    revision: Revision,
    counts: Counts,
    declined: Option<Box<Declined>>,
    /// When the last attempt ended: what a disruptive step relies on must be seen since.
    ended_at: Millis,
    /// When a look may be asked for again.
    next_look: Millis,
    presumed: Presumed,
    /// What was said of presumptions. In a box: it is rare.
    presumed_said: Option<Box<Presumed>>,
    brake: Brake,
    published: Option<Status>,
}

impl Machine {
    /// The machine of an object about which nothing has been decided.
    pub fn new(uid: Uid) -> Self {
        Self {
            uid,
            phase: Phase::New,
            wake: Millis::NEVER,
            since: Millis::ZERO,
            generation: 0,
            revision: Revision::default(),
            counts: Counts::default(),
            declined: None,
            ended_at: Millis::ZERO,
            next_look: Millis::ZERO,
            presumed: Presumed::new(),
            presumed_said: None,
            brake: Brake::default(),
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
            Phase::InFlight(flight) | Phase::Waiting(Waiting::Intent(flight)) => Some(flight),
            Phase::New
            | Phase::Converged
            | Phase::Waiting(_)
            | Phase::BackingOff { .. }
            | Phase::Quarantined { .. }
            | Phase::Stuck { .. }
            | Phase::Frozen { .. } => None,
        }
    }

    /// An attempt on the object that was not this machine's has ended: what a disruptive step
    /// relies on must be seen after it.
    pub fn note_end(&mut self, now: Millis) {
        self.ended_at = self.ended_at.max(now);
    }

    /// Where the object stands, as policies see it.
    pub fn standing(&self) -> Standing {
        match &self.phase {
            Phase::Converged => Standing::Settled,
            Phase::Quarantined { .. } | Phase::Stuck { .. } => Standing::Failed,
            Phase::Frozen { .. } | Phase::Waiting(Waiting::Related { .. }) => Standing::Parted,
            Phase::New | Phase::Waiting(_) | Phase::InFlight(_) | Phase::BackingOff { .. } => {
                Standing::UnderWay
            }
        }
    }

    /// When the machine must look again by itself.
    pub fn wake_at(&self) -> Millis {
        match &self.phase {
            Phase::InFlight(flight) => flight.wake_at(),
            Phase::Waiting(Waiting::Intent(flight)) => flight.ends_by(),
            Phase::New
            | Phase::Converged
            | Phase::Waiting(_)
            | Phase::BackingOff { .. }
            | Phase::Quarantined { .. }
            | Phase::Stuck { .. }
            | Phase::Frozen { .. } => self.wake,
        }
    }

    /// Something may have changed, or time has passed: read everything and decide.
    pub fn look(&mut self, subject: Subject<'_>, scope: &mut Scope<'_>) {
        self.take(subject, scope);
        match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::InFlight(flight) => self.fly(flight, subject, scope),
            Phase::Waiting(Waiting::Intent(flight)) => self.await_intent(flight, subject, scope),
            phase => {
                self.phase = phase;
                self.decide(subject, scope);
            }
        }
        self.publish(subject, scope);
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
        self.take(subject, scope);
        match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::Waiting(Waiting::Intent(flight)) => {
                self.intent_answered(flight, what, subject, scope);
            }
            Phase::InFlight(flight) => self.flight_answered(flight, what, subject, scope),
            phase => self.phase = phase,
        }
        self.publish(subject, scope);
    }

    /// Takes what has moved under the machine: Cfg, and what contradicts presumptions.
    fn take(&mut self, subject: Subject<'_>, scope: &Scope<'_>) {
        let object = subject.object;
        if self.published.is_none() {
            let said = Status::of_lane(subject.dsc, scope.lane);
            let said = said.filter(|said| said.revision == object.revision);
            self.counts.resume(said.as_ref(), scope.now);
            self.presumed = presumed::of_lane(subject.dsc, scope.lane);
            self.note_presumed();
        } else if self.generation != object.generation {
            self.counts.clear();
            self.brake.clear();
        }
        self.generation = object.generation;
        self.revision = object.revision;
        if let Some(kind) = subject.catalog.kind(&object.key.kind) {
            self.watch_for_flaps(kind, subject, scope.now);
            self.presumed.retain(|path, presumption| {
                let seen = seen(kind, subject.dsc, path);
                let moved = seen != presumption.at_failure.as_ref();
                let arrived = seen.is_some() && seen == presumption.aim.as_ref();
                !moved && !arrived && !kind.schema.is_hidden(subject.dsc, path)
            });
        }
    }

    /// What is presumed now has been said.
    fn note_presumed(&mut self) {
        let said = (!self.presumed.is_empty()).then(|| Box::new(self.presumed.clone()));
        self.presumed_said = said;
    }

    fn decide(&mut self, subject: Subject<'_>, scope: &mut Scope<'_>) {
        if let Some(frozen) = &subject.object.frozen {
            let by = format!("by {} ({})", frozen.by, frozen.scope);
            return self.rest(Phase::Frozen { by }, Millis::NEVER);
        }
        let planned = match View::new(subject, &self.presumed) {
            None => Err(format!("no extension declares kind {}", subject.object.key.kind)),
            Some(view) => plan(view, subject, scope.planner),
        };
        match planned {
            Err(reason) => {
                self.rest(Phase::Stuck { reason }, scope.now.after_ms(STUCK_LOOK_MS));
            }
            Ok(plan) if plan.steps.is_empty() => {
                self.brake.converged();
                self.rest(Phase::Converged, Millis::NEVER);
            }
            Ok(plan) => {
                self.brake.plan(plan.steps.len());
                self.choose(&plan, subject, scope);
            }
        }
    }

    /// Follows the paths that steps have changed: one that goes back and forth is stopped.
    fn watch_for_flaps(&mut self, kind: &KindCatalog, subject: Subject<'_>, now: Millis) {
        let followed: Vec<Path> = self.brake.followed().cloned().collect();
        for path in followed {
            let Some(value) = seen(kind, subject.dsc, &path) else { continue };
            let rule = kind.schema.rule_at(&path);
            let most = rule.and_then(|rule| rule.flaps_max).unwrap_or(brake::FLAPS_MAX);
            if self.brake.note(&path, value, most, now) {
                let (modules, minutes) = (modules(kind, &path), brake::FLAP_SPAN_MS / 60_000);
                self.brake.pull(format!(
                    "{path} came back to where it was more than {most} times in {minutes} minutes; \
                     what changes it: {modules}"
                ));
            }
        }
    }

    /// Enters a phase in which nothing is under way, until something changes or `wake` comes.
    fn rest(&mut self, phase: Phase, wake: Millis) {
        self.phase = phase;
        self.wake = wake;
    }
}

/// The modules whose mutations change a path.
fn modules(kind: &KindCatalog, path: &Path) -> String {
    let changing = kind.mutations.iter().filter(|mutation| {
        mutation.changes.iter().any(|change| change.path.matches(path).is_some())
    });
    let modules: BTreeSet<&str> = changing.map(|mutation| mutation.id.module.as_str()).collect();
    modules.into_iter().collect::<Vec<_>>().join(", ")
}

fn plan(
    view: View<'_>,
    subject: Subject<'_>,
    planner: &mut Planner,
) -> Result<std::sync::Arc<Plan>, String> {
    let goal = view.goal();
    let question =
        Question { kind: view.kind(), goal: &goal, cfg: &subject.object.cfg, facts: &view };
    planner.plan(&question).map_err(|no_plan| no_plan.to_string())
}
