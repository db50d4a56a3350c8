//! What a machine says about itself: its status, and events for people.

use super::{Effect, Machine, Phase, Scope, Waiting};
use crate::{
    event::{EventKind, Happening},
    id::AttemptId,
    presumed,
    status::{PhaseName, Status},
    time::Millis,
    view::{Presumed, Subject},
};

impl Machine {
    pub(super) fn happened(
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

    /// Says what has changed about the status, if anything has, and says it again where a word of
    /// an earlier decider came later and won.
    pub(super) fn publish(&mut self, subject: Subject<'_>, scope: &mut Scope<'_>) {
        let nothing = Presumed::new();
        let said = self.presumed_said.as_deref().unwrap_or(&nothing);
        if self.presumed != *said {
            let values = presumed::changes(said, &self.presumed, scope.lane);
            self.note_presumed();
            scope.effects.push(Effect::Presume(self.uid, values));
        }
        let mut status = self.status();
        let moved = self.published.as_ref().is_none_or(|before| {
            before.phase != status.phase
                || before.step != status.step
                || before.waits_for != status.waits_for
        });
        if moved {
            self.since = scope.now;
            status.since = scope.now;
        }
        if self.published.as_ref() == Some(&status) && status.stands_in(subject.dsc, scope.lane) {
            return;
        }
        self.tell(&status, scope);
        self.published = Some(status.clone());
        scope.effects.push(Effect::Publish(self.uid, Box::new(status)));
    }

    fn tell(&self, status: &Status, scope: &mut Scope<'_>) {
        let before = self.published.as_ref();
        let entered = before.is_none_or(|before| {
            before.phase != status.phase || before.revision != status.revision
        });
        let was_frozen = before.is_some_and(|before| before.phase == PhaseName::Frozen);
        if was_frozen && status.phase != PhaseName::Frozen {
            self.happened(EventKind::Frozen, None, "thawed".to_owned(), scope);
        }
        if !entered {
            return;
        }
        let text = status.reason.clone().unwrap_or_default();
        match status.phase {
            PhaseName::Converged => {
                let text = format!("converged at revision {}", self.revision);
                self.happened(EventKind::Converged, None, text, scope);
            }
            PhaseName::Stuck | PhaseName::Quarantined => {
                let text = format!("{}: {text}", status.phase);
                self.happened(EventKind::NeedsHelp, None, text, scope);
            }
            PhaseName::Frozen => {
                self.happened(EventKind::Frozen, None, format!("frozen {text}"), scope);
            }
            PhaseName::Waiting | PhaseName::InFlight | PhaseName::BackingOff => {}
        }
    }

    fn name(&self) -> PhaseName {
        match &self.phase {
            Phase::Converged => PhaseName::Converged,
            Phase::New | Phase::Waiting(_) => PhaseName::Waiting,
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
            Phase::BackingOff { .. } => count.map(|count| count.retry_at),
            Phase::Waiting(Waiting::Policy { hold, .. }) => hold.until,
            Phase::New
            | Phase::Converged
            | Phase::Waiting(_)
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
            next_retry: next_retry.filter(|at| *at < Millis::NEVER),
            step,
        }
    }

    /// Step, reason and what is waited for, in words.
    fn words(&self) -> (Option<String>, Option<String>, Option<String>) {
        match &self.phase {
            Phase::New | Phase::Converged => (None, None, None),
            Phase::InFlight(flight) => (Some(flight.step()), flight.whereabouts(), None),
            Phase::BackingOff { step, .. } => {
                let error = self.counts.get(step).map(|count| count.error.clone());
                (Some(step.clone()), error, None)
            }
            Phase::Quarantined { step, reason, .. } => {
                (Some(step.clone()), Some(reason.clone()), None)
            }
            Phase::Stuck { reason, .. } => (None, Some(reason.clone()), None),
            Phase::Frozen { by } => (None, Some(by.clone()), None),
            Phase::Waiting(on) => on.words(),
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
            Self::Policy { step, hold } => (step.clone(), Some(hold.reason()), hold.waits_for()),
            Self::Intent(flight) => (flight.step(), None, "the commit of its intent".to_owned()),
        };
        (Some(step), reason, Some(waits_for))
    }
}
