//! The module host: owns the modules of a node, keeps them running, and holds every request to them
//! to its deadline. It decides nothing about objects; whether an attempt may begin is for the
//! reconciler.
//!
//! Restarted by its keeper ([`HostHandle::start`]) when it panics. Its modules are then stopped and
//! started anew, attempts in hand end as [`Fault::ModuleLost`], and the memory of ended attempts is
//! lost; the objects are not.

pub mod attempt;
pub mod attempts;
mod carrying;
pub mod handle;
mod jitter;
mod keeping;
pub mod messages;
mod objects;
pub mod options;
pub mod polls;
mod run;
mod slot;
pub mod snapshot;
pub mod states;
pub mod supervision;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, MessageResult, ResponseActFuture,
    SpawnHandle, WrapFuture,
};
use futures_util::{future::join_all, stream};
use kraken_engine::{
    id::{Name, Uid},
    time::Millis,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    attempts::Attempts,
    carrying::{AttemptOver, AttemptsOver},
    handle::Shared,
    keeping::end,
    messages::{Bar, Cancel, ObjectsChanged, Observe, SetConfig, SetRunning, Stop},
    slot::Slot,
    snapshot::AttemptSnapshot,
    states::{HOST_MODULE, States},
    supervision::Then,
};
pub use self::{
    handle::HostHandle,
    messages::{Admission, AttemptEnded, AttemptError, Fault, Start},
    options::{HostError, HostOptions},
    snapshot::HostSnapshot,
    states::manifest,
};
use crate::module::{ConfigureError, Reporter, Stopping};

/// Requests that wait in the host's mailbox; at the bound the sender waits, up to its timeout.
pub const HOST_MAILBOX_MAX: usize = 1_024;
/// Attempts that are over and of which the host has not taken note; at the bound they wait.
pub const OVERS_MAX: usize = 1_024;
/// How long a module may take to answer a changed configuration.
pub const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a module that is restarted may take for its last work.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// The actor. Others hold a [`HostHandle`].
pub struct ModuleHost {
    options: HostOptions,
    shared: Arc<Shared>,
    slots: BTreeMap<Name, Slot>,
    attempts: Attempts,
    states: States,
    reporter: Reporter,
    over: mpsc::Sender<AttemptOver>,
    overs: Option<mpsc::Receiver<AttemptOver>>,
    timer: Option<SpawnHandle>,
    abandoned: u64,
    stopping: bool,
}

impl ModuleHost {
    /// Starts the actor on this thread; the token fires when it is gone.
    fn start(
        options: &HostOptions,
        shared: &Arc<Shared>,
    ) -> Result<(Addr<Self>, CancellationToken), HostError> {
        let slots = options.by_name()?.into_iter();
        let slots = slots.map(|(name, factory)| {
            let slot = Slot::new(&name, factory, options);
            (name, slot)
        });
        let (over, overs) = mpsc::channel(OVERS_MAX);
        let host_module = Name::new(HOST_MODULE).map_err(HostError::Name)?;
        let host = Self {
            slots: slots.collect(),
            attempts: Attempts::default(),
            states: States::default(),
            reporter: Reporter::new(host_module, options.stamps.clone(), options.reports.clone()),
            over,
            overs: Some(overs),
            timer: None,
            abandoned: 0,
            stopping: false,
            options: options.clone(),
            shared: shared.clone(),
        };
        let gone = CancellationToken::new();
        let guard = gone.clone().drop_guard();
        let address = Self::create(move |context| {
            context.set_mailbox_capacity(HOST_MAILBOX_MAX);
            let hold = async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            };
            context.spawn(hold.into_actor(&host));
            host
        });
        Ok((address, gone))
    }

    fn now(&self) -> Millis {
        self.options.clock.wall()
    }

    /// Runs a future beside the actor and then goes on with what came of it.
    fn then_do<T: 'static>(
        &self,
        context: &mut Context<Self>,
        work: impl Future<Output = T> + 'static,
        go_on: impl FnOnce(&mut Self, &mut Context<Self>, T) + 'static,
    ) -> SpawnHandle {
        let work = work.into_actor(self).map(move |done, host: &mut Self, context| {
            go_on(host, context, done);
            host.step(context);
        });
        context.spawn(work)
    }

    /// Does all that is due, tells what is new, and sets the timer for what is due next.
    fn step(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        if !self.stopping {
            for name in self.names(|slot| slot.supervision.is_due(now)) {
                self.start_module(&name, context);
            }
            for name in self.names(|slot| slot.polls.is_due(now)) {
                self.have_look(&name, context);
            }
        }
        self.tell_states(context);
        self.set_timer(context);
    }

    fn names(&self, is_it: impl Fn(&Slot) -> bool) -> Vec<Name> {
        self.slots.iter().filter(|(_, slot)| is_it(slot)).map(|(name, _)| name.clone()).collect()
    }

    fn set_timer(&mut self, context: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        let wakes = self.slots.values().flat_map(|s| [s.supervision.wake(), s.polls.wake()]);
        let Some(wake) = wakes.flatten().min().filter(|_| !self.stopping) else { return };
        let delay = wake.since(self.now());
        self.timer = Some(context.run_later(delay, |host, context| {
            host.timer = None;
            host.step(context);
        }));
    }

    fn tell_states(&mut self, context: &mut Context<Self>) {
        let Some(node) = self.shared.objects().node(&self.options.node) else { return };
        let modules = self.slots.iter().map(|(name, slot)| (name, &slot.supervision));
        let news = self.states.news(node, modules);
        if !news.is_empty() {
            let look = self.reporter.look();
            context.spawn(async move { look.saw(node, news).await }.into_actor(self));
        }
    }

    fn snapshot(&self) -> HostSnapshot {
        let modules = self.slots.iter().map(|(name, slot)| slot.snapshot(name, &self.attempts));
        let attempts = self.attempts.running().map(|(attempt, running)| AttemptSnapshot {
            attempt: attempt.clone(),
            mutation: running.mutation.clone(),
            object: running.object,
            since: running.since,
        });
        HostSnapshot {
            modules: modules.collect(),
            attempts: attempts.collect(),
            objects: self.shared.objects().len() as u64,
            abandoned: self.abandoned,
            stopping: self.stopping,
        }
    }
}

impl Actor for ModuleHost {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let wakes = stream::unfold(self.shared.clone(), |shared| async {
            shared.changed.notified().await;
            Some((ObjectsChanged, shared))
        });
        context.add_message_stream(wakes);
        if let Some(overs) = self.overs.take() {
            context.add_message_stream(stream::unfold(overs, |mut overs| async {
                let mut over = Vec::new();
                let count = overs.recv_many(&mut over, OVERS_MAX).await;
                (count > 0).then_some((AttemptsOver(over), overs))
            }));
        }
        self.step(context);
    }
}

impl Handler<ObjectsChanged> for ModuleHost {
    type Result = ();

    fn handle(&mut self, _: ObjectsChanged, context: &mut Self::Context) {
        let now = self.now();
        let changed = self.shared.objects().take_changed();
        for slot in self.slots.values_mut() {
            let kinds: BTreeSet<&Name> = slot.looks.iter().map(|(kind, _)| kind).collect();
            let looked = kinds.into_iter().filter_map(|kind| changed.get(kind)).flatten();
            let uids: Vec<Uid> = looked.copied().collect();
            if !uids.is_empty() {
                slot.hint(uids, now);
            }
        }
        self.step(context);
    }
}

impl Handler<Start> for ModuleHost {
    type Result = MessageResult<Start>;

    fn handle(&mut self, start: Start, context: &mut Self::Context) -> Self::Result {
        MessageResult(self.admit(start, context))
    }
}

impl Handler<Cancel> for ModuleHost {
    type Result = bool;

    fn handle(&mut self, cancel: Cancel, _: &mut Self::Context) -> bool {
        self.attempts.cancel(&cancel.0)
    }
}

impl Handler<Bar> for ModuleHost {
    type Result = bool;

    fn handle(&mut self, Bar(attempt): Bar, _: &mut Self::Context) -> bool {
        self.attempts.bar(attempt)
    }
}

impl Handler<SetConfig> for ModuleHost {
    type Result = ResponseActFuture<Self, Result<(), ConfigureError>>;

    fn handle(&mut self, set: SetConfig, _: &mut Self::Context) -> Self::Result {
        let ask = self.ask_to_configure(&set);
        Box::pin(
            ask.into_actor(self)
                .map(move |answer, host, context| host.configured(set, answer, context)),
        )
    }
}

impl Handler<SetRunning> for ModuleHost {
    type Result = bool;

    fn handle(&mut self, set: SetRunning, context: &mut Self::Context) -> bool {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&set.module) else { return false };
        if set.running {
            slot.supervision.hurry(now);
        } else {
            slot.supervision.stop();
            self.end_module(&set.module, Some(Stopping::Module), Then::Stop, context);
        }
        self.step(context);
        true
    }
}

impl Handler<Observe> for ModuleHost {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.snapshot())
    }
}

impl Handler<Stop> for ModuleHost {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, stop: Stop, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        let ends = self.slots.iter_mut().map(|(name, slot)| {
            slot.supervision.stop();
            let generation = slot.supervision.generation();
            slot.supervision.end(generation, Then::Stop);
            let (name, end) = (name.clone(), end(slot, Some(Stopping::Node), stop.within));
            async move { (name, generation, end.await) }
        });
        let ends = join_all(ends.collect::<Vec<_>>());
        Box::pin(ends.into_actor(self).map(|ended, host: &mut Self, context| {
            for (name, generation, how) in ended {
                host.module_ended(&name, generation, how);
            }
            host.step(context);
        }))
    }
}
