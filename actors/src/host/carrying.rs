//! The part of the module host that takes attempts, has modules carry them out, and tells their
//! ends.

use std::future::Future;

use actix::Context;
use kraken_engine::id::AttemptId;

use super::{
    ModuleHost,
    attempt::{Conduct, carry_out, deadline_in},
    attempts::{Admitted, RunningAttempt},
    messages::{Admission, AttemptEnded, AttemptError, Fault, Start},
    supervision::{Asked, ModuleState},
};
use crate::module::Mutate;

impl ModuleHost {
    pub(super) fn admit(&mut self, start: Start, context: &mut Context<Self>) -> Admission {
        let module = &start.mutation.module;
        if !self.slots.get(module).is_some_and(|slot| slot.can(&start.mutation.name)) {
            return Admission::NoModule;
        }
        match self.attempts.admit(&start.attempt, module) {
            Admitted::Runs => Admission::Accepted,
            Admitted::Ended(ended) => {
                let told = self.options.ends.try_send(ended);
                tracing::debug!(attempt = %start.attempt, ?told, "asked for after its end");
                Admission::Accepted
            }
            Admitted::Full => Admission::Busy,
            Admitted::New if self.stopping => Admission::Busy,
            Admitted::New => self.begin_if_running(start, context),
        }
    }

    fn begin_if_running(&mut self, start: Start, context: &mut Context<Self>) -> Admission {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&start.mutation.module) else {
            return Admission::NoModule;
        };
        match slot.supervision.state() {
            ModuleState::Run => self.begin(start, context),
            ModuleState::Init => Admission::Busy,
            ModuleState::Error => Admission::NoModule,
            ModuleState::Stop => {
                slot.supervision.hurry(now);
                self.step(context);
                Admission::Busy
            }
        }
    }

    fn begin(&mut self, start: Start, context: &mut Context<Self>) -> Admission {
        let now = self.now();
        let module = start.mutation.module.clone();
        let Some(slot) = self.slots.get(&module) else { return Admission::NoModule };
        let Some(running) = &slot.running else { return Admission::Busy };
        let cancel = slot.ends.ending.child_token();
        let in_hand = RunningAttempt {
            mutation: start.mutation.clone(),
            object: start.object.uid,
            since: now,
            cancellable: start.cancellable,
            cancel: cancel.clone(),
        };
        let mutate = Mutate {
            attempt: start.attempt.clone(),
            mutation: start.mutation.name,
            bindings: start.bindings,
            object: start.object,
            deadline: deadline_in(start.timeout),
            cancel,
            reporter: slot.reporter(),
        };
        let work = carry_out(running.mutate.clone(), mutate, slot.ends.clone());
        let generation = slot.supervision.generation();
        self.attempts.begin(start.attempt.clone(), in_hand);
        let told = self.tell_end(start.attempt, work);
        self.then_do(context, told, move |host, context, (ended, conduct)| {
            host.attempts.end(ended);
            host.judge(&module, generation, (Asked::Attempt, conduct), context);
            let now = host.now();
            if let Some(slot) = host.slots.get_mut(&module) {
                slot.polls.hint(now);
            }
        });
        Admission::Accepted
    }

    /// Tells the end of an attempt on a task of its own, so that it is told even if the host is
    /// restarted meanwhile.
    fn tell_end<W>(
        &self,
        attempt: AttemptId,
        work: W,
    ) -> impl Future<Output = (AttemptEnded, Conduct)> + use<W>
    where
        W: Future<Output = (Result<(), AttemptError>, Conduct)> + 'static,
    {
        let ends = self.options.ends.clone();
        let id = attempt.clone();
        let task = actix_rt::spawn(async move {
            let (outcome, conduct) = work.await;
            let ended = AttemptEnded { attempt, outcome };
            if ends.send(ended.clone()).await.is_err() {
                tracing::debug!(attempt = %ended.attempt, "ended after the node has stopped");
            }
            (ended, conduct)
        });
        async move {
            task.await.unwrap_or_else(|error| {
                let (fault, text) = (Fault::ModuleLost, error.to_string());
                let outcome = Err(AttemptError { fault, text, permanent: false });
                (AttemptEnded { attempt: id, outcome }, Conduct::Lost)
            })
        }
    }
}
