//! One attempt in flight, and what its machine does with what becomes of it.

use std::time::Duration;

use super::{
    ACKNOWLEDGE_MS, Attempted, CLOSE_MS, Dispatch, Effect, Machine, Phase, SERVICE_RETRY_MS, Scope,
    Waiting, presumptions,
};
use crate::{
    command::Intent,
    event::EventKind,
    id::{AttemptId, Name, Revision, Uid},
    mutation::{From, Instance},
    path::Path,
    planner::Step,
    time::Millis,
    value::Value,
    view::{Subject, View},
};

/// One attempt of one step.
#[derive(Debug, Clone)]
pub struct Flight {
    /// The attempt.
    pub attempt: AttemptId,
    /// What is being done.
    pub instance: Instance,
    /// The Cfg revision that it was decided from.
    pub revision: Revision,
    paths: Vec<Leg>,
    started: Millis,
    deadline: Millis,
    acknowledged: bool,
    acknowledge_by: Millis,
    arrived_at: Option<Millis>,
    ended: bool,
    cancelled: bool,
}

/// One path on its way.
#[derive(Debug, Clone)]
struct Leg {
    path: Path,
    from: Option<Value>,
    to: Option<Value>,
    discovery: bool,
}

impl Leg {
    /// A path has arrived when it shows what the step leads to; a discovery, when it shows anything.
    fn has_arrived(&self, seen: Option<&Value>) -> bool {
        if self.discovery { seen.is_some() } else { seen == self.to.as_ref() }
    }

    fn is_astray(&self, seen: Option<&Value>, instance: &Instance) -> bool {
        !self.has_arrived(seen)
            && seen != self.from.as_ref()
            && !instance.may_show(&self.path, seen)
    }
}

impl Flight {
    pub(super) fn new(
        attempt: AttemptId,
        step: &Step,
        subject: Subject<'_>,
        now: Millis,
    ) -> Self {
        let changes: Vec<_> = step.instance.changes().collect();
        let legs = changes.into_iter().map(|(path, change)| {
            let planned = step.changes.iter().find(|planned| planned.path == path);
            let from = subject.dsc.value(path.as_str()).cloned();
            Leg {
                to: planned.map_or_else(|| from.clone(), |planned| planned.to.clone()),
                from,
                discovery: change.from == From::Unknown,
                path,
            }
        });
        Self {
            attempt,
            paths: legs.collect(),
            instance: step.instance.clone(),
            revision: subject.object.revision,
            started: now,
            deadline: now.after(step.instance.mutation.timeout),
            acknowledged: false,
            acknowledge_by: now.after_ms(ACKNOWLEDGE_MS),
            arrived_at: None,
            ended: false,
            cancelled: false,
        }
    }

    /// The step as it is shown: `module/Name(bindings)`.
    pub fn step(&self) -> String {
        self.instance.to_string()
    }

    pub(super) fn restart(&mut self, now: Millis) {
        self.started = now;
        self.deadline = now.after(self.instance.mutation.timeout);
        self.acknowledge_by = now.after_ms(ACKNOWLEDGE_MS);
    }

    pub(super) fn dispatch(&self, uid: Uid) -> Dispatch {
        Dispatch {
            attempt: self.attempt.clone(),
            uid,
            instance: self.instance.clone(),
            timeout: self.instance.mutation.timeout,
            revision: self.revision,
        }
    }

    pub(super) fn intent(&self, uid: Uid) -> Intent {
        let host: Name = self.instance.mutation.id.module.clone();
        Intent {
            uid,
            mutation: self.step(),
            attempt: self.attempt.clone(),
            host,
            ends_by: self.deadline.after_ms(CLOSE_MS),
        }
    }

    pub(super) fn aim(&self, path: &Path) -> Option<&Value> {
        self.paths.iter().find(|leg| leg.path == *path)?.to.as_ref()
    }

    pub(super) fn wake_at(&self) -> Millis {
        let acknowledge = if self.acknowledged { Millis::NEVER } else { self.acknowledge_by };
        let close = self.arrived_at.map_or(Millis::NEVER, |at| at.after_ms(CLOSE_MS));
        self.deadline.min(acknowledge).min(close)
    }

    fn has_arrived(&self, subject: Subject<'_>) -> bool {
        self.paths.iter().all(|leg| leg.has_arrived(seen(subject, &leg.path)))
    }

    /// A path that shows something that the step does not lead over.
    fn astray(&self, subject: Subject<'_>) -> Option<&Path> {
        let mut legs = self.paths.iter();
        legs.find(|leg| leg.is_astray(seen(subject, &leg.path), &self.instance)).map(|leg| &leg.path)
    }
}

fn seen<'a>(subject: Subject<'a>, path: &Path) -> Option<&'a Value> {
    let kind = subject.catalog.kind(&subject.object.key.kind)?;
    crate::view::seen(kind, subject.dsc, path)
}

impl Machine {
    /// Looks at an attempt in flight.
    pub(super) fn fly(
        &mut self,
        mut flight: Box<Flight>,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        if flight.has_arrived(subject) {
            let arrived_at = *flight.arrived_at.get_or_insert(scope.now);
            if flight.ended || scope.now >= arrived_at.after_ms(CLOSE_MS) {
                return self.step_done(&flight, subject, scope);
            }
        } else if scope.now >= flight.deadline {
            return self.deadline_passed(&flight, subject, scope);
        } else if flight.ended && flight.astray(subject).is_some() {
            return self.went_astray(&flight, subject, scope);
        } else {
            flight.arrived_at = None;
            self.recall_unwanted(&mut flight, subject, scope);
            if !flight.acknowledged && scope.now >= flight.acknowledge_by {
                flight.acknowledge_by = scope.now.after_ms(ACKNOWLEDGE_MS);
                scope.effects.push(Effect::Dispatch(flight.dispatch(self.uid)));
            }
        }
        self.phase = Phase::InFlight(flight);
    }

    /// Cancels an attempt whose aim is no longer wanted, where its mutation allows it.
    fn recall_unwanted(
        &self,
        flight: &mut Flight,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        let stale = flight.revision != subject.object.revision;
        if !stale || flight.cancelled || !flight.instance.mutation.cancellable {
            return;
        }
        let Some(view) = View::new(subject, &self.presumed) else { return };
        let wanted = super::plan(view, subject, scope.planner)
            .is_ok_and(|plan| plan.steps.first().is_some_and(|s| s.instance == flight.instance));
        if !wanted {
            flight.cancelled = true;
            scope.effects.push(Effect::Cancel(flight.attempt.clone()));
        }
    }

    /// The module, or the way to it, has answered.
    pub(super) fn flight_answered(
        &mut self,
        mut flight: Box<Flight>,
        what: Attempted,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        match what {
            Attempted::Acknowledged => {
                flight.acknowledged = true;
                self.fly(flight, subject, scope);
            }
            Attempted::Succeeded => {
                flight.acknowledged = true;
                flight.ended = true;
                self.fly(flight, subject, scope);
            }
            Attempted::Busy => {
                self.not_taken(&flight, "its queue is full".to_owned(), scope);
            }
            Attempted::NoService(why) => self.not_taken(&flight, why, scope),
            Attempted::Failed { .. } | Attempted::Abandoned if flight.has_arrived(subject) => {
                self.step_done(&flight, subject, scope);
            }
            Attempted::Failed { error, permanent } if subject.object.frozen.is_none() => {
                self.failed(&flight, &error, permanent, subject, scope);
            }
            Attempted::Failed { .. } | Attempted::Abandoned => {
                let text = format!("{} ended, and is not counted", flight.step());
                self.close(&flight, EventKind::AttemptFailed, text, scope);
                self.decide(subject, scope);
            }
            Attempted::IntentOpened | Attempted::IntentRefused(_) => {
                self.phase = Phase::InFlight(flight);
            }
        }
    }

    /// The quorum has answered to an intent.
    pub(super) fn intent_answered(
        &mut self,
        flight: Box<Flight>,
        what: Attempted,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        match what {
            // Between asking and commit the world may have moved: only what is still right goes out.
            Attempted::IntentOpened if self.is_still_first(&flight, subject, scope) => {
                self.take_off(*flight, scope);
            }
            Attempted::IntentOpened => {
                scope.effects.push(Effect::CloseIntent(flight.attempt.clone()));
                self.decide(subject, scope);
            }
            Attempted::IntentRefused(why) => {
                self.not_taken(&flight, format!("its intent was refused: {why}"), scope);
            }
            Attempted::Acknowledged
            | Attempted::Busy
            | Attempted::NoService(_)
            | Attempted::Succeeded
            | Attempted::Failed { .. }
            | Attempted::Abandoned => {
                let on = Waiting::Intent(flight);
                self.phase = Phase::Waiting { on, until: Millis::NEVER };
            }
        }
    }

    fn is_still_first(&self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) -> bool {
        let Some(view) = View::new(subject, &self.presumed) else { return false };
        subject.object.frozen.is_none()
            && super::unseen(&flight.instance, subject).is_none()
            && super::plan(view, subject, scope.planner)
                .is_ok_and(|p| p.steps.first().is_some_and(|s| s.instance == flight.instance))
    }

    fn not_taken(&mut self, flight: &Flight, why: String, scope: &mut Scope<'_>) {
        self.close_intent(flight, scope);
        let until = scope.now.after_ms(SERVICE_RETRY_MS);
        self.wait(Waiting::Service { step: flight.step(), why }, until, scope);
    }

    fn step_done(&mut self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) {
        if !flight.ended {
            scope.effects.push(Effect::Cancel(flight.attempt.clone()));
        }
        for leg in &flight.paths {
            self.presumed.remove(&leg.path);
        }
        self.counts.succeed(&flight.step(), scope.now);
        let took = scope.now.since(flight.started);
        let text = format!("{} done in {}", flight.step(), in_words(took));
        self.close(flight, EventKind::StepDone, text, scope);
        self.decide(subject, scope);
    }

    fn went_astray(&mut self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) {
        let text = match flight.astray(subject) {
            Some(path) => format!("{} led elsewhere: see {path}", flight.step()),
            None => format!("{} led elsewhere", flight.step()),
        };
        self.close(flight, EventKind::AttemptFailed, text, scope);
        self.decide(subject, scope);
    }

    fn deadline_passed(&mut self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) {
        if !flight.ended {
            scope.effects.push(Effect::Cancel(flight.attempt.clone()));
        }
        if subject.object.frozen.is_some() {
            let text = format!("{} passed its deadline while frozen", flight.step());
            self.close(flight, EventKind::AttemptFailed, text, scope);
            return self.decide(subject, scope);
        }
        let timeout = in_words(flight.instance.mutation.timeout);
        let error = if flight.ended {
            let missing = flight.paths.iter().find(|leg| !leg.has_arrived(seen(subject, &leg.path)));
            let path = missing.map(|leg| leg.path.to_string()).unwrap_or_default();
            format!("the module answered ok, but {path} did not follow within {timeout}")
        } else {
            format!("not done within {timeout}")
        };
        self.failed(flight, &error, false, subject, scope);
    }

    fn failed(
        &mut self,
        flight: &Flight,
        error: &str,
        permanent: bool,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        let step = flight.step();
        let retry = flight.instance.mutation.retry;
        let count = self.counts.fail(&step, error, retry, self.uid, scope.now);
        for (path, presumption) in presumptions(&flight.instance, flight, subject) {
            self.presumed.insert(path, presumption);
        }
        let text = format!("{step} failed ({} of {}): {error}", count.failures, retry.attempts_max);
        self.close(flight, EventKind::AttemptFailed, text, scope);
        if permanent {
            let reason = format!("{step} cannot succeed as things are: {error}");
            return self.quarantine(&flight.instance, reason, subject, scope);
        }
        self.decide(subject, scope);
    }

    fn close(&mut self, flight: &Flight, kind: EventKind, text: String, scope: &mut Scope<'_>) {
        self.close_intent(flight, scope);
        self.happened(kind, Some(&flight.attempt), text, scope);
        self.phase = Phase::New;
    }

    fn close_intent(&self, flight: &Flight, scope: &mut Scope<'_>) {
        if flight.instance.mutation.disruptive {
            scope.effects.push(Effect::CloseIntent(flight.attempt.clone()));
        }
    }
}

/// A duration as people read it.
fn in_words(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
