//! The part of the module host that keeps modules running: starts them, ends them, asks them to
//! look and to take a changed configuration, and draws the consequence of how they behave.

use std::{future::Future, time::Duration};

use actix::Context;
use kraken_engine::id::Name;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    CONFIGURE_TIMEOUT, ModuleHost, SHUTDOWN_GRACE,
    attempt::{Conduct, look},
    messages::SetConfig,
    slot::Slot,
    supervision::{Asked, ModuleState, Then},
};
use crate::module::{Configure, ConfigureError, Ended, Poll, Running, Stopping};

impl ModuleHost {
    pub(super) fn start_module(&mut self, name: &Name, context: &mut Context<Self>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        let generation = slot.supervision.start();
        let start = slot.start(self.options.home);
        let (name, config) = (name.clone(), slot.config.clone());
        self.then_do(context, start, move |host, context, started| {
            host.module_started(&name, generation, started, context);
            if host.slots.get(&name).is_some_and(|slot| slot.config != config) {
                host.end_module(&name, Some(Stopping::Module), Then::Start, context);
            }
        });
    }

    fn module_started(
        &mut self,
        name: &Name,
        generation: u64,
        started: Result<Running, ConfigureError>,
        context: &mut Context<Self>,
    ) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(name) else { return };
        match started {
            Ok(running) => {
                let lost = running.lost();
                if slot.take(generation, running, now) {
                    tracing::info!(module = %name, generation, "module started");
                    self.watch(name.clone(), generation, lost, context);
                }
            }
            Err(error) => {
                tracing::warn!(module = %name, %error, "module did not start");
                slot.supervision.failed_to_start(generation, now, error.to_string());
            }
        }
        if self.slots.get(name).is_some_and(|slot| !slot.supervision.is_wanted()) {
            let why = if self.stopping { Stopping::Node } else { Stopping::Module };
            self.end_module(name, Some(why), Then::Stop, context);
        }
    }

    fn watch(
        &mut self,
        name: Name,
        generation: u64,
        lost: CancellationToken,
        context: &mut Context<Self>,
    ) {
        self.then_do(context, lost.cancelled_owned(), move |host, context, ()| {
            host.module_failed(&name, generation, "it panicked or stopped by itself", context);
        });
    }

    /// Ends a module that cannot be relied on any more, and has it started again.
    fn module_failed(
        &mut self,
        name: &Name,
        generation: u64,
        why: &str,
        context: &mut Context<Self>,
    ) {
        let is_it = |slot: &Slot| slot.supervision.generation() == generation;
        if self.slots.get(name).is_some_and(is_it) {
            self.end_module(name, None, Then::BackOff(why.to_owned()), context);
        }
    }

    /// Ends a module if it runs: in good order for a reason, or at once without one.
    pub(super) fn end_module(
        &mut self,
        name: &Name,
        why: Option<Stopping>,
        then: Then,
        context: &mut Context<Self>,
    ) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        let generation = slot.supervision.generation();
        if !slot.supervision.end(generation, then.clone()) {
            return;
        }
        tracing::info!(module = %name, ?why, ?then, "module ends");
        let ended = end(slot, why, SHUTDOWN_GRACE);
        let name = name.clone();
        self.then_do(context, ended, move |host, _, ended| {
            host.module_ended(&name, generation, ended);
        });
    }

    pub(super) fn module_ended(&mut self, name: &Name, generation: u64, ended: Ended) {
        if ended != Ended::InTime {
            tracing::warn!(module = %name, ?ended, "module did not end in good order");
        }
        self.abandoned += u64::from(ended == Ended::Abandoned);
        let now = self.now();
        if let Some(slot) = self.slots.get_mut(name) {
            slot.supervision.ended(generation, now);
        }
    }

    pub(super) fn have_look(&mut self, name: &Name, context: &mut Context<Self>) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(name) else { return };
        let Some(running) = &slot.running else { return slot.polls.stopped() };
        let hinted = std::mem::take(&mut slot.hinted);
        let objects = if slot.polls.begin(now) {
            self.shared.objects().looked_at(&slot.looks)
        } else {
            self.shared.objects().looked_at_of(&slot.looks, &hinted)
        };
        let looking = look(running.poll.clone(), Poll { objects }, slot.ends.lost.clone());
        let generation = slot.supervision.generation();
        let name = name.clone();
        self.then_do(context, looking, move |host, context, conduct| {
            let now = host.now();
            host.judge(&name, generation, (Asked::Look, conduct), context);
            if let Some(slot) = host.slots.get_mut(&name)
                && slot.supervision.generation() == generation
            {
                slot.polls.ended(now);
            }
        });
    }

    /// Draws the consequence of how a module behaved.
    pub(super) fn judge(
        &mut self,
        name: &Name,
        generation: u64,
        (asked, conduct): (Asked, Conduct),
        context: &mut Context<Self>,
    ) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        match conduct {
            Conduct::Answered => slot.supervision.answered(generation, asked),
            Conduct::Hung if slot.supervision.hung(generation, asked) => {
                self.module_failed(name, generation, "it does not answer", context);
            }
            Conduct::Hung => tracing::warn!(module = %name, "module did not answer in time"),
            Conduct::Lost => {
                self.module_failed(name, generation, "it panicked or stopped by itself", context);
            }
        }
    }

    /// Has a module take a configuration, or says that it must be restarted for it.
    pub(super) fn ask_to_configure(
        &self,
        set: &SetConfig,
    ) -> impl Future<Output = Result<(), ConfigureError>> + use<> {
        let checked = match self.slots.get(&set.module) {
            None => Err(ConfigureError::Invalid(format!("there is no module {}", set.module))),
            Some(slot) => slot.factory.check(&set.config),
        };
        let slot = self.slots.get(&set.module);
        let unchanged = slot.is_some_and(|slot| slot.config == set.config);
        let live = slot.and_then(|slot| slot.running.as_ref()?.configure.clone());
        let config = set.config.clone();
        async move {
            checked?;
            let Some(live) = live.filter(|_| !unchanged) else {
                return if unchanged { Ok(()) } else { Err(ConfigureError::NeedsRestart) };
            };
            match timeout(CONFIGURE_TIMEOUT, live.send(Configure(config))).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => Err(ConfigureError::NeedsRestart),
            }
        }
    }

    /// Takes what came of asking a module to change its configuration.
    pub(super) fn configured(
        &mut self,
        set: SetConfig,
        answer: Result<(), ConfigureError>,
        context: &mut Context<Self>,
    ) -> Result<(), ConfigureError> {
        let restart = match answer {
            Ok(()) => false,
            Err(ConfigureError::NeedsRestart) => true,
            Err(refusal) => return Err(refusal),
        };
        let now = self.now();
        if let Some(slot) = self.slots.get_mut(&set.module) {
            slot.config = set.config;
            if slot.running.is_none() && slot.supervision.state() != ModuleState::Stop {
                slot.supervision.hurry(now);
            }
        }
        if restart {
            self.end_module(&set.module, Some(Stopping::Module), Then::Start, context);
        }
        self.step(context);
        Ok(())
    }
}

/// Ends what runs in a slot.
pub(super) fn end(
    slot: &mut Slot,
    why: Option<Stopping>,
    within: Duration,
) -> impl Future<Output = Ended> + use<> {
    slot.polls.stopped();
    slot.hinted.clear();
    slot.ends.ending.cancel();
    let running = slot.running.take();
    async move {
        match (running, why) {
            (Some(running), Some(why)) => running.shut_down(why, within).await,
            (Some(running), None) => running.kill().await,
            (None, _) => Ended::InTime,
        }
    }
}
