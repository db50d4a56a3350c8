//! What a machine does with its attempt in flight, and with what becomes of it.

use std::time::Duration;

use super::{
    ACKNOWLEDGE_MS, Attempted, CLOSE_MS, Declined, Effect, Flight, Machine, PROGRESS_BYTES_MAX,
    PROGRESS_MS, Phase, SERVICE_RETRY_MS, Scope, Waiting,
    counts::Failure,
    flight::{Progress, Recall},
    plan,
};
use crate::{
    event::EventKind,
    id::Name,
    time::Millis,
    view::{Presumed, Subject, View},
};

impl Machine {
    /// Sends an attempt out.
    pub(super) fn take_off(&mut self, mut flight: Box<Flight>, scope: &mut Scope<'_>) {
        flight.started = scope.now;
        flight.acknowledge_by = scope.now.after_ms(ACKNOWLEDGE_MS);
        scope.effects.push(Effect::Dispatch(flight.dispatch(self.uid, scope.now)));
        let text = format!("{} started", flight.step());
        self.happened(EventKind::AttemptStarted, Some(&flight.attempt), text, scope);
        self.phase = Phase::InFlight(flight);
    }

    /// Looks at an attempt in flight.
    pub(super) fn fly(
        &mut self,
        mut flight: Box<Flight>,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        flight.frozen = subject.object.frozen.is_some();
        let arrived = flight.has_arrived(subject);
        if arrived && flight.has_ended() {
            return self.step_done(&flight, subject, scope);
        }
        if scope.now >= flight.deadline {
            return self.fly_on(flight, subject, scope);
        }
        if flight.has_ended() {
            if !self.is_wanted(&flight, subject, scope) {
                return self.uncounted(&flight, subject, scope);
            }
            if flight.astray(subject).is_some() {
                let error = "it answered ok and led elsewhere";
                return self.strayed(&flight, error, subject, scope);
            }
        } else if arrived {
            let arrived_at = *flight.arrived_at.get_or_insert(scope.now);
            if scope.now >= arrived_at.after_ms(CLOSE_MS) {
                recall(&mut flight, scope);
            }
        } else {
            flight.arrived_at = None;
            self.on_its_way(&mut flight, subject, scope);
        }
        self.phase = Phase::InFlight(flight);
    }

    fn on_its_way(&self, flight: &mut Flight, subject: Subject<'_>, scope: &mut Scope<'_>) {
        if flight.astray(subject).is_some() || !self.is_wanted(flight, subject, scope) {
            recall(flight, scope);
        }
        let unanswered = flight.progress == Progress::Sent && scope.now >= flight.acknowledge_by;
        if unanswered && flight.recall.is_none() && !flight.frozen {
            flight.acknowledge_by = scope.now.after_ms(ACKNOWLEDGE_MS);
            // If it did not arrive it would start now: only where it is still right.
            if self.can_still_go(flight, subject, scope) {
                scope.effects.push(Effect::Dispatch(flight.dispatch(self.uid, scope.now)));
            }
        }
    }

    /// The deadline has passed: the attempt holds the lane until it ends, at the latest a while on.
    fn fly_on(&mut self, mut flight: Box<Flight>, subject: Subject<'_>, scope: &mut Scope<'_>) {
        if !flight.has_ended() && flight.recall != Some(Recall::Overdue) {
            flight.recall = Some(Recall::Overdue);
            scope.effects.push(Effect::Cancel(flight.attempt.clone()));
        }
        if flight.has_ended() || scope.now >= flight.ends_by() {
            return self.out_of_time(&flight, subject, scope);
        }
        self.phase = Phase::InFlight(flight);
    }

    /// Whether what the attempt leads to is still on the way to the goal.
    fn is_wanted(&self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) -> bool {
        flight.revision == subject.object.revision
            || flight.undone(&self.presumed).is_none_or(|undone| {
                planned(&undone, subject, scope)
                    .is_some_and(|plan| plan.steps.iter().any(|step| flight.is(step)))
            })
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
            // The end may have overtaken the news that it began.
            Attempted::Acknowledged => {
                if flight.progress == Progress::Sent {
                    flight.progress = Progress::Runs;
                }
                self.fly(flight, subject, scope);
            }
            Attempted::Handed(node) => {
                flight.host = Some(node);
                self.phase = Phase::InFlight(flight);
            }
            Attempted::Progressed(text) => {
                progressed(&mut flight, text, scope.now);
                self.phase = Phase::InFlight(flight);
            }
            // Said again, or of a second copy: what ended, ended.
            Attempted::Moved(_) | Attempted::Lost if flight.has_ended() => {
                self.phase = Phase::InFlight(flight);
            }
            Attempted::Moved(why) => self.moved(&flight, &why, subject, scope),
            Attempted::Lost => self.lost(flight, scope),
            Attempted::Succeeded => {
                flight.progress = Progress::Ended;
                self.fly(flight, subject, scope);
            }
            // What was taken since then runs, whatever an older answer says.
            Attempted::Busy if flight.progress != Progress::Sent => {
                self.phase = Phase::InFlight(flight);
            }
            Attempted::NoService(_) if flight.has_ended() => self.phase = Phase::InFlight(flight),
            Attempted::Busy => self.declined(&flight, "its queue is full".to_owned(), scope),
            Attempted::NoService(why) => self.declined(&flight, why, scope),
            Attempted::Failed { error, permanent } => {
                self.ended_badly(&flight, Some((&error, permanent)), subject, scope);
            }
            Attempted::Abandoned => {
                self.ended_badly(&flight, None, subject, scope);
            }
            Attempted::IntentOpened | Attempted::IntentRefused(_) => {
                self.phase = Phase::InFlight(flight);
            }
        }
    }

    /// Its host found that what it was decided from has moved: no failure. What moved is seen here
    /// soon; until then the same step would be refused again.
    fn moved(&mut self, flight: &Flight, why: &str, subject: Subject<'_>, scope: &mut Scope<'_>) {
        let (step, until) = (flight.step(), scope.now.after_ms(SERVICE_RETRY_MS));
        let text = format!("{step} was not started: {why}");
        self.close(flight, EventKind::AttemptFailed, text, scope);
        self.declined = Some(Box::new(Declined { step, why: why.to_owned(), until }));
        self.decide(subject, scope);
    }

    /// Nothing more can come of it by the way that it went. What may be done twice is done
    /// elsewhere; what may not, holds its lane until it must have ended.
    fn lost(&mut self, flight: Box<Flight>, scope: &mut Scope<'_>) {
        if flight.instance.mutation.disruptive {
            self.phase = Phase::InFlight(flight);
            return;
        }
        let host = flight.host.as_ref().map_or_else(|| "its node".to_owned(), Name::to_string);
        self.declined(&flight, format!("{host} was lost on the way"), scope);
    }

    /// The attempt ended with an error, or without a word of how.
    fn ended_badly(
        &mut self,
        flight: &Flight,
        failure: Option<(&str, bool)>,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        if flight.has_arrived(subject) {
            return self.step_done(flight, subject, scope);
        }
        if subject.object.frozen.is_some() || !self.is_wanted(flight, subject, scope) {
            return self.uncounted(flight, subject, scope);
        }
        match failure {
            Some((error, true)) => {
                self.counts.give_up(&flight.step());
                self.failed(flight, error, subject, scope);
            }
            Some((error, false)) if flight.astray(subject).is_some() => {
                self.strayed(flight, error, subject, scope);
            }
            Some((error, false)) => self.failed(flight, error, subject, scope),
            None if flight.recall == Some(Recall::Overdue) => {
                self.out_of_time(flight, subject, scope);
            }
            None if flight.recall.is_some() => self.uncounted(flight, subject, scope),
            None => self.strayed(flight, "it ended without a word of how", subject, scope),
        }
    }

    /// Waits for the commit of an intent.
    pub(super) fn await_intent(
        &mut self,
        flight: Box<Flight>,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        if scope.now < flight.ends_by() {
            self.phase = Phase::Waiting(Waiting::Intent(flight));
            return;
        }
        close_intent(&flight, scope);
        self.decide(subject, scope);
    }

    /// The quorum has answered to an intent.
    pub(super) fn intent_answered(
        &mut self,
        mut flight: Box<Flight>,
        what: Attempted,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        match what {
            // Between asking and commit the world may have moved: only what is still right goes
            // out.
            Attempted::IntentOpened if self.may_go(&flight, subject, scope) => {
                self.take_off(flight, scope);
            }
            Attempted::IntentOpened => {
                close_intent(&flight, scope);
                self.decide(subject, scope);
            }
            Attempted::IntentRefused(why) => {
                let why = format!("its intent was refused: {why}");
                self.wait_for_service(&flight, why, scope);
            }
            Attempted::Acknowledged
            | Attempted::Busy
            | Attempted::NoService(_)
            | Attempted::Succeeded
            | Attempted::Failed { .. }
            | Attempted::Abandoned
            | Attempted::Progressed(_)
            | Attempted::Moved(_)
            | Attempted::Lost => self.phase = Phase::Waiting(Waiting::Intent(flight)),
            Attempted::Handed(node) => {
                flight.host = Some(node);
                self.phase = Phase::Waiting(Waiting::Intent(flight));
            }
        }
    }

    fn may_go(&self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) -> bool {
        subject.object.frozen.is_none()
            && scope.now < flight.deadline
            && self.can_still_go(flight, subject, scope)
    }

    /// Its module did not take the attempt. One that was sent twice may still be taken the second
    /// time, and is called back.
    fn declined(&mut self, flight: &Flight, why: String, scope: &mut Scope<'_>) {
        if scope.now >= flight.started.after_ms(ACKNOWLEDGE_MS) {
            scope.effects.push(Effect::Cancel(flight.attempt.clone()));
        }
        close_intent(flight, scope);
        self.ended_at = scope.now;
        self.wait_for_service(flight, why, scope);
    }

    fn wait_for_service(&mut self, flight: &Flight, why: String, scope: &Scope<'_>) {
        let (step, until) = (flight.step(), scope.now.after_ms(SERVICE_RETRY_MS));
        let declined = Declined { step: step.clone(), why: why.clone(), until };
        self.declined = Some(Box::new(declined));
        self.rest(Phase::Waiting(Waiting::Service { step, why }), until);
    }

    fn step_done(&mut self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) {
        for (path, _) in flight.legs() {
            self.presumed.remove(path);
        }
        self.counts.succeed(&flight.step(), scope.now);
        if self.brake.walk() {
            let (done, planned) = self.brake.steps();
            let module = &flight.instance.mutation.id.module;
            self.brake.pull(format!(
                "{done} steps were done of a plan of {planned}, and it has not converged; the last \
                 was of module {module}"
            ));
        }
        let took = in_words(scope.now.since(flight.started));
        let text = format!("{} done in {took}", flight.step());
        self.close(flight, EventKind::StepDone, text, scope);
        self.decide(subject, scope);
    }

    fn uncounted(&mut self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) {
        let text = format!("{} ended, and is not counted", flight.step());
        self.close(flight, EventKind::AttemptFailed, text, scope);
        self.decide(subject, scope);
    }

    /// The attempt ended in a way that is no failure, unless it does so again at once.
    fn strayed(
        &mut self,
        flight: &Flight,
        error: &str,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        let step = flight.step();
        if self.counts.stray(&self.failure(flight, &step, error, scope)).is_some() {
            self.counts.mark(&step, flight.marks(subject));
        }
        let place = flight.astray(subject).map(|path| format!(": see {path}")).unwrap_or_default();
        let text = format!("{step} ended, and is not counted: {error}{place}");
        self.close(flight, EventKind::AttemptFailed, text, scope);
        self.decide(subject, scope);
    }

    /// The time of the attempt is over: it has ended, or must have by now.
    fn out_of_time(&mut self, flight: &Flight, subject: Subject<'_>, scope: &mut Scope<'_>) {
        let missing = flight.missing(subject);
        if missing.is_none() && flight.has_arrived(subject) {
            return self.step_done(flight, subject, scope);
        }
        if subject.object.frozen.is_some() || !self.is_wanted(flight, subject, scope) {
            return self.uncounted(flight, subject, scope);
        }
        let timeout = in_words(flight.instance.mutation.timeout);
        let error = match missing {
            Some(path) if flight.has_ended() && flight.recall.is_none() => {
                format!("the module answered ok, but {path} did not follow within {timeout}")
            }
            _ => format!("not done within {timeout}"),
        };
        self.failed(flight, &error, subject, scope);
    }

    fn failed(
        &mut self,
        flight: &Flight,
        error: &str,
        subject: Subject<'_>,
        scope: &mut Scope<'_>,
    ) {
        let step = flight.step();
        let count = self.counts.fail(&self.failure(flight, &step, error, scope));
        self.counts.mark(&step, flight.marks(subject));
        self.presumed.extend(flight.presumptions(subject));
        let most = flight.instance.mutation.retry.attempts_max;
        let text = format!("{step} failed ({} of {most}): {error}", count.failures);
        self.close(flight, EventKind::AttemptFailed, text, scope);
        self.decide(subject, scope);
    }

    fn failure<'a>(
        &self,
        flight: &Flight,
        step: &'a str,
        error: &'a str,
        scope: &Scope<'_>,
    ) -> Failure<'a> {
        let retry = flight.instance.mutation.retry;
        Failure { step, error, retry, uid: self.uid, now: scope.now }
    }

    fn close(&mut self, flight: &Flight, kind: EventKind, text: String, scope: &mut Scope<'_>) {
        close_intent(flight, scope);
        self.happened(kind, Some(&flight.attempt), text, scope);
        self.ended_at = scope.now;
        self.phase = Phase::New;
    }
}

fn close_intent(flight: &Flight, scope: &mut Scope<'_>) {
    if flight.instance.mutation.disruptive {
        scope.effects.push(Effect::CloseIntent(flight.attempt.clone()));
    }
}

/// Asks an attempt to end, where its mutation allows that. A frozen object's is left alone.
fn recall(flight: &mut Flight, scope: &mut Scope<'_>) {
    if flight.recall.is_none() && !flight.frozen && flight.instance.mutation.cancellable {
        flight.recall = Some(Recall::Early);
        scope.effects.push(Effect::Cancel(flight.attempt.clone()));
    }
}

fn planned(
    presumed: &Presumed,
    subject: Subject<'_>,
    scope: &mut Scope<'_>,
) -> Option<std::sync::Arc<crate::planner::Plan>> {
    plan(View::new(subject, presumed)?, subject, scope.planner).ok()
}

/// The module says how far it is. Who says a lot is heard now and then.
fn progressed(flight: &mut Flight, text: String, now: Millis) {
    let told = flight.said.as_deref().map(|(_, at)| at.after_ms(PROGRESS_MS));
    if told.is_none_or(|next| now >= next) {
        flight.said = Some(Box::new((cut(text), now)));
    }
}

/// Progress of a length that a status can hold.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(PROGRESS_BYTES_MAX));
    text
}

/// A duration as people read it.
fn in_words(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
