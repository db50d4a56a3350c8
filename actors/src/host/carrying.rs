//! The part of the module host that takes attempts, has modules carry them out, and tells their
//! ends.

use actix::{Context, Handler, Message, MessageResult};
use kraken_engine::{
    id::{Name, Uid},
    mutation::Lane,
};

use super::{
    ModuleHost,
    attempt::{Conduct, carry_out, deadline_in},
    attempts::{Admitted, RunningAttempt},
    messages::{Admission, AttemptEnded, Start, Starts},
    run::Run,
    supervision::{Asked, ModuleState},
};
use crate::module::Mutate;

impl ModuleHost {
    /// Takes an attempt, or says why not; one that was refused is refused again.
    pub(super) fn admit(&mut self, start: Start, context: &mut Context<Self>) -> Admission {
        let attempt = start.attempt.clone();
        if let Some(refused) = self.attempts.refused(&attempt) {
            return refused;
        }
        let admission = self.consider(start, context);
        if admission != Admission::Accepted {
            self.attempts.refuse(attempt, admission);
        }
        admission
    }

    fn consider(&mut self, start: Start, context: &mut Context<Self>) -> Admission {
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
            Admitted::Full | Admitted::New if self.now() > start.start_by => Admission::Late,
            Admitted::Full => Admission::Busy,
            Admitted::New
                if start.lane == Lane::Quorum
                    && self.attempts.has_rival(&start.attempt, start.object.uid) =>
            {
                Admission::Busy
            }
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
            ModuleState::Run => self.begin(start),
            ModuleState::Init => Admission::Busy,
            ModuleState::Error => Admission::NoModule,
            ModuleState::Stop => {
                slot.supervision.hurry(now);
                self.step(context);
                Admission::Busy
            }
        }
    }

    fn begin(&mut self, start: Start) -> Admission {
        let now = self.now();
        let module = start.mutation.module.clone();
        let Some(slot) = self.slots.get(&module) else { return Admission::NoModule };
        let Some(running) = &slot.running else { return Admission::Busy };
        let cancel = slot.ends.ending.child_token();
        let object = start.object.uid;
        let in_hand = RunningAttempt {
            mutation: start.mutation.clone(),
            object,
            since: now,
            lane: start.lane,
            cancellable: start.cancellable,
            cancel: cancel.clone(),
        };
        let run = Run::begin(start.span, &start.attempt, &start.mutation, &self.options);
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
        let (ends, over) = (self.options.ends.clone(), self.over.clone());
        // A task of its own, so that the end is told even if the host is restarted meanwhile; and
        // none of the actor's, which looks at all of its own whenever one of them moves.
        actix_rt::spawn(async move {
            let (outcome, conduct) = work.await;
            run.end(&outcome);
            let ended = AttemptEnded { attempt: start.attempt, outcome };
            if ends.send(ended.clone()).await.is_err() {
                tracing::debug!(attempt = %ended.attempt, "ended after the node has stopped");
            }
            let over = over.send(AttemptOver { ended, object, module, generation, conduct });
            if over.await.is_err() {
                tracing::debug!("an attempt ended after the host that began it");
            }
        });
        Admission::Accepted
    }
}

/// An attempt is over, as the host has to know.
pub(super) struct AttemptOver {
    ended: AttemptEnded,
    object: Uid,
    module: Name,
    generation: u64,
    conduct: Conduct,
}

/// Some attempts are over. From the tasks in which they were; they wait while many are told.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct AttemptsOver(pub(super) Vec<AttemptOver>);

impl Handler<AttemptsOver> for ModuleHost {
    type Result = ();

    fn handle(&mut self, AttemptsOver(over): AttemptsOver, context: &mut Self::Context) {
        let now = self.now();
        for AttemptOver { ended, object, module, generation, conduct } in over {
            self.attempts.end(ended);
            self.judge(&module, generation, (Asked::Attempt, conduct), context);
            if let Some(slot) = self.slots.get_mut(&module) {
                slot.hint([object], now);
            }
        }
        self.step(context);
    }
}

impl Handler<Starts> for ModuleHost {
    type Result = MessageResult<Starts>;

    fn handle(&mut self, Starts(starts): Starts, context: &mut Self::Context) -> Self::Result {
        MessageResult(starts.into_iter().map(|start| self.admit(start, context)).collect())
    }
}
