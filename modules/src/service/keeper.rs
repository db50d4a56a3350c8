//! Keeps the services of a node: finds what already runs, starts, stops, watches and reports.
//!
//! A plain struct behind the actor. Every process has one task that waits for its end; starts and
//! stops of one service exclude each other by the slot's gate; what is seen is told after each
//! change, with a stamp taken before it was looked at.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use kraken_actors::module::{Kit, Mutate, MutateError, ObjectView, Reporter};
use kraken_engine::{
    id::{Name, Uid},
    path::Path as StatePath,
    state::State,
    time::whole_ms,
};
use nix::sys::signal::Signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    log, probe,
    process::{Exit, Identity},
    record::{End, Folder, Record},
    shim::SHIM_ARGUMENT,
    slot::{Ended, Phase, Slot, Up},
    spawn::{self, Spawned},
    spec::{Launch, Probe, Reader, Ready, StopRule, Wish},
};
use crate::asked::names;

/// How long a service without a probe must live to count as running: what fails at once is a
/// failed start and not a restart.
const SETTLE: Duration = Duration::from_millis(100);
/// The wait after the first try of a probe; it doubles up to the interval that Cfg asks for, so
/// that what is ready soon is found soon.
const READY_INTERVAL_FIRST: Duration = Duration::from_millis(20);
/// How long the kernel may take to end what was killed.
const KILL_MAX: Duration = Duration::from_secs(5);
/// How often is looked whether all that came of a process has ended.
const MEMBERS_INTERVAL: Duration = Duration::from_millis(20);

/// The services of one node.
pub(super) struct Keeper {
    node: Name,
    data: PathBuf,
    shim: Vec<String>,
    reporter: Reporter,
    /// The node's object; unknown until the first poll.
    uid: Mutex<Option<Uid>>,
    slots: Mutex<BTreeMap<Name, Arc<Slot>>>,
}

/// Why a start or a stop did not come to its end.
type Outcome = Result<(), MutateError>;

impl Keeper {
    /// A keeper that has not looked yet. `shim` is the command that calls
    /// [`exec_shim`](super::exec_shim); by default this very program, as it was when it started.
    pub(super) fn new(kit: Kit, shim: Option<Vec<String>>) -> io::Result<Self> {
        let own = || ["/proc/self/exe", SHIM_ARGUMENT].map(str::to_owned).to_vec();
        Ok(Self {
            node: kit.node,
            data: kit.data.canonicalize()?,
            shim: shim.unwrap_or_else(own),
            reporter: kit.reporter,
            uid: Mutex::default(),
            slots: Mutex::default(),
        })
    }

    /// Finds what earlier agents have started, and watches what of it still runs. Call once, within
    /// the runtime.
    pub(super) fn adopt(self: &Arc<Self>) {
        for (name, folder) in Folder::all(&self.data) {
            let slot = Arc::new(Slot::new(name, folder, &State::new()));
            lock(&self.slots).insert(slot.name.clone(), slot.clone());
            match spawn::find_record(&slot.folder) {
                Ok(Some(record)) => self.adopt_run(&slot, record),
                Ok(None) => {}
                Err(error) => tracing::error!(service = %slot.name, %error, "cannot read a record"),
            }
        }
    }

    fn adopt_run(self: &Arc<Self>, slot: &Arc<Slot>, record: Record) {
        let Some(identity) = record.process.clone() else { return };
        if identity.is_alive() {
            tracing::info!(service = %slot.name, pid = identity.pid, "adopted a running service");
            slot.remember(Phase::Stopped, record.restarts, None);
            self.watch(slot, spawn::up_of(&record, identity));
            return;
        }
        let restarts = record.restarts;
        match &record.end {
            Some(end) if end.asked => {
                slot.remember(Phase::Stopped, restarts, Some(end.text.clone()));
            }
            Some(end) => slot.remember(Phase::Ended(ended(&record, end)), restarts, None),
            // After a boot of the machine nothing has failed: it is only not started yet.
            None if !identity.is_of_this_boot() => {}
            None => {
                let exit = identity.reap();
                identity.signal(&slot.folder.marker(), Signal::SIGKILL);
                let end = end_of(&identity, exit, false);
                amend(slot, &record.nonce, |record| record.end = Some(end.clone()));
                slot.tell(format!("service {}: {}", slot.name, end.text));
                let phase = Phase::Ended(ended(&record, &end));
                slot.remember(phase, restarts, Some(end.text));
            }
        }
    }

    /// Looks at all services and reports them.
    pub(super) async fn poll(self: &Arc<Self>, object: &ObjectView) {
        *lock(&self.uid) = Some(object.uid);
        let asked = names(&object.cfg, "/services");
        for name in &asked {
            match Name::new(name) {
                Ok(name) => drop(self.slot(&name, &object.cfg)),
                Err(error) => self.report_misnamed(object.uid, name, &error.to_string()).await,
            }
        }
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        for slot in slots {
            slot.take_wish(&object.cfg);
            if slot.is_idle() && !asked.contains(slot.name.as_str()) {
                lock(&self.slots).remove(&slot.name);
                self.reporter.look().saw(object.uid, slot.forgotten()).await;
            } else {
                self.report(&slot).await;
            }
        }
    }

    /// Carries out one mutation of one service. Once its token fires it answers at once; what it
    /// began is brought in order behind, before anything else is done with the service.
    pub(super) async fn mutate(self: &Arc<Self>, ask: &Mutate) -> Outcome {
        let (keeper, ask) = (self.clone(), ask.clone());
        let cancel = ask.cancel.clone();
        let work = tokio::spawn(async move { keeper.carry_out(&ask).await });
        tokio::select! {
            biased;
            done = work => match done {
                Ok(outcome) => outcome,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => Err(MutateError::Cancelled),
            },
            () = cancel.cancelled() => Err(MutateError::Cancelled),
        }
    }

    /// Stops all services, because the node stops and is not to leave them.
    pub(super) async fn shut_down(&self, grace: Duration) {
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        let stops = slots.iter().map(|slot| async {
            let _gate = slot.gate.lock().await;
            let Some(up) = slot.up() else { return };
            let rule = StopRule { grace_ms: whole_ms(grace), ..slot.stop_rule() };
            if let Err(error) = self.end(slot, &up, &rule, &CancellationToken::new()).await {
                tracing::error!(service = %slot.name, %error, "left running");
            }
        });
        futures_util::future::join_all(stops).await;
    }

    async fn carry_out(self: &Arc<Self>, ask: &Mutate) -> Outcome {
        let name = ask.bindings.first().map_or("", |name| name);
        let name = Name::new(name).map_err(MutateError::permanent)?;
        *lock(&self.uid) = Some(ask.object.uid);
        let slot = self.slot(&name, &ask.object.cfg);
        let gate = tokio::select! {
            gate = slot.gate.lock() => gate,
            () = ask.cancel.cancelled() => return Err(MutateError::Cancelled),
        };
        let outcome = match ask.mutation.as_str() {
            "Start" => self.start(&slot, ask).await,
            "Stop" => self.stop(&slot, ask).await,
            "Look" => Ok(()),
            other => Err(MutateError::permanent(format!("module service has no mutation {other}"))),
        };
        self.report(&slot).await;
        drop(gate);
        outcome
    }

    /// Rotates the output of all services. Blocks on the disk.
    pub(super) fn rotate(&self) {
        let slots: Vec<Arc<Slot>> = lock(&self.slots).values().cloned().collect();
        for slot in slots {
            if let Err(error) = log::rotate(&slot.folder.log(), slot.log_rule()) {
                tracing::warn!(service = %slot.name, %error, "cannot rotate the output");
            }
        }
    }

    async fn start(self: &Arc<Self>, slot: &Arc<Slot>, ask: &Mutate) -> Outcome {
        let wish = slot.take_wish(&ask.object.cfg);
        if slot.is_held() {
            let why = "its last run has ended and /restart says to leave it; change it, or stop it";
            return Err(MutateError::permanent(format!("service {}: {why}", slot.name)));
        }
        slot.starting();
        let outcome = self.bring_up(slot, &wish, ask).await;
        slot.settled();
        if let Err(error @ (MutateError::Permanent(_) | MutateError::Transient(_))) = &outcome {
            slot.failed(wish.digest, error.to_string());
        }
        outcome
    }

    async fn bring_up(self: &Arc<Self>, slot: &Arc<Slot>, wish: &Wish, ask: &Mutate) -> Outcome {
        let data = slot.folder.work();
        let cfg = &ask.object.cfg;
        let reader = Reader { node: &self.node, service: &slot.name, data: &data, cfg };
        let same = slot.up().filter(|up| up.spec == wish.digest);
        if same.as_ref().is_some_and(|up| up.ready.load(Ordering::Acquire)) {
            return Ok(());
        }
        let launch = reader.launch().map_err(MutateError::permanent)?;
        let ready = reader.ready().map_err(MutateError::permanent)?;
        let up = match (same, slot.up()) {
            (Some(up), _) => up,
            (None, Some(other)) => {
                self.end(slot, &other, &wish.stop, &ask.cancel).await?;
                self.launch(slot, wish, &launch, ask).await?
            }
            (None, None) => self.launch(slot, wish, &launch, ask).await?,
        };
        let outcome = self.await_ready(&up, &ready, &launch, ask).await;
        if outcome.is_ok() {
            up.ready.store(true, Ordering::Release);
            amend(slot, &up.nonce, |record| record.ready = true);
            return Ok(());
        }
        if up.gone.is_cancelled() {
            return Err(MutateError::transient(early_end(slot)));
        }
        // The attempt's token may be cancelled already; what it began is ended all the same.
        self.end(slot, &up, &wish.stop, &CancellationToken::new()).await?;
        outcome
    }

    async fn await_ready(
        &self,
        up: &Arc<Up>,
        ready: &Ready,
        launch: &Launch,
        ask: &Mutate,
    ) -> Outcome {
        let pid = up.identity.pid;
        let deadline = Instant::now() + ready.timeout;
        let probing = async {
            if ready.probe == Probe::Alive {
                tokio::time::sleep(SETTLE).await;
            }
            let mut told = String::new();
            let mut wait = READY_INTERVAL_FIRST.min(ready.interval);
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let Err(why) = probe::attempt(&ready.probe, launch, left).await else {
                    return Ok(());
                };
                if Instant::now() + wait >= deadline {
                    // The last try may have been cut short and then says only that.
                    let why = if told.is_empty() { why } else { told };
                    let text = format!("process {pid} not ready in {:?}: {why}", ready.timeout);
                    return Err(MutateError::transient(text));
                }
                if told != why {
                    ask.reporter.progress(&ask.attempt, format!("not ready yet: {why}")).await;
                    told = why;
                }
                tokio::time::sleep(wait).await;
                wait = wait.saturating_mul(2).min(ready.interval);
            }
        };
        tokio::select! {
            // In this order: what has ended was not ready, whatever the probe has met.
            biased;
            () = up.gone.cancelled() => {
                Err(MutateError::transient(format!("process {pid} ended before it was ready")))
            }
            () = ask.cancel.cancelled() => Err(MutateError::Cancelled),
            outcome = probing => outcome,
        }
    }

    /// Starts the process, or finds that another agent has.
    async fn launch(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        wish: &Wish,
        launch: &Launch,
        ask: &Mutate,
    ) -> Result<Arc<Up>, MutateError> {
        let found = spawn::spawn(slot, wish, launch, &self.shim).map_err(MutateError::transient)?;
        let (up, gate) = match found {
            Spawned::Found(up) => return Ok(self.watch(slot, up)),
            Spawned::Fresh(up, gate) => (up, gate),
        };
        if let Err(why) = spawn::await_exec(gate).await {
            up.identity.signal(&slot.folder.marker(), Signal::SIGKILL);
            up.identity.ended().await;
            return Err(MutateError::permanent(why));
        }
        let text = format!("process {} started", up.identity.pid);
        ask.reporter.progress(&ask.attempt, text).await;
        Ok(self.watch(slot, up))
    }

    /// Takes a process as the service's, and waits for its end beside everything else.
    fn watch(self: &Arc<Self>, slot: &Arc<Slot>, up: Arc<Up>) -> Arc<Up> {
        slot.set_up(up.clone());
        let (keeper, slot, watched) = (self.clone(), slot.clone(), up.clone());
        tokio::spawn(async move {
            let exit = watched.identity.ended().await;
            let asked = watched.asked.load(Ordering::Acquire);
            if !asked {
                // What it leaves behind would hold ports and files against the next run.
                watched.identity.signal(&slot.folder.marker(), Signal::SIGKILL);
            }
            let end = end_of(&watched.identity, exit, asked);
            amend(&slot, &watched.nonce, |record| record.end = Some(end.clone()));
            let ended = Ended { spec: watched.spec.clone(), ..ended_of(&end) };
            slot.ended(&watched, ended);
            watched.gone.cancel();
            if !asked {
                keeper.report(&slot).await;
            }
        });
        up
    }

    async fn stop(&self, slot: &Arc<Slot>, ask: &Mutate) -> Outcome {
        let wish = slot.take_wish(&ask.object.cfg);
        if let Some(up) = slot.up() {
            let text = format!("{} sent to process {}", wish.stop.signal, up.identity.pid);
            ask.reporter.progress(&ask.attempt, text).await;
            self.end(slot, &up, &wish.stop, &ask.cancel).await?;
        }
        slot.stopped();
        Ok(())
    }

    /// Ends a process and all that came of it: the signal, the grace, then SIGKILL.
    async fn end(
        &self,
        slot: &Slot,
        up: &Up,
        rule: &StopRule,
        cancel: &CancellationToken,
    ) -> Outcome {
        let marker = slot.folder.marker();
        up.asked.store(true, Ordering::Release);
        let signal = Signal::from_str(&rule.signal).unwrap_or(Signal::SIGTERM);
        up.identity.signal(&marker, signal);
        let grace_over = Instant::now() + Duration::from_millis(rule.grace_ms);
        tokio::select! {
            () = up.gone.cancelled() => {}
            () = tokio::time::sleep_until(grace_over) => {}
            () = cancel.cancelled() => return Err(MutateError::Cancelled),
        }
        while !(up.gone.is_cancelled() && up.identity.members(&marker).is_empty()) {
            if Instant::now() >= grace_over + KILL_MAX {
                let text = format!("process {} did not end after SIGKILL", up.identity.pid);
                return Err(MutateError::transient(text));
            }
            if Instant::now() >= grace_over {
                up.identity.signal(&marker, Signal::SIGKILL);
            }
            tokio::time::sleep(MEMBERS_INTERVAL).await;
        }
        Ok(())
    }

    async fn report(&self, slot: &Slot) {
        let Some(uid) = *lock(&self.uid) else { return };
        // The stamp first: a change between it and the look is reported again with a later one.
        let look = self.reporter.look();
        let (values, news) = slot.observe();
        look.saw(uid, values).await;
        for text in news {
            self.reporter.event(uid, text).await;
        }
    }

    async fn report_misnamed(&self, uid: Uid, name: &str, error: &str) {
        let path = |key: &str| StatePath::new(format!("/services/{name}/{key}"));
        if let (Ok(state), Ok(text)) = (path("state"), path("error")) {
            let values = [(state, Some("FAILED".into())), (text, Some(error.into()))];
            self.reporter.look().saw(uid, values).await;
        }
    }

    fn slot(&self, name: &Name, cfg: &State) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        let fresh = || {
            let folder = Folder::new(&self.data, name);
            Arc::new(Slot::new(name.clone(), folder, cfg))
        };
        slots.entry(name.clone()).or_insert_with(fresh).clone()
    }
}

fn end_of(identity: &Identity, exit: Exit, asked: bool) -> End {
    let text = format!("process {} {exit}", identity.pid);
    End { success: exit.is_success(), asked, text }
}

fn ended_of(end: &End) -> Ended {
    Ended { spec: String::new(), success: end.success, ran: true, text: end.text.clone() }
}

fn ended(record: &Record, end: &End) -> Ended {
    Ended { spec: record.spec.clone(), ..ended_of(end) }
}

fn amend(slot: &Slot, nonce: &str, change: impl FnOnce(&mut Record)) {
    if let Err(error) = slot.folder.amend(nonce, change) {
        // The process itself is still known by its identity; what is lost is how it ended.
        tracing::error!(service = %slot.name, %error, "cannot amend a record");
    }
}

/// What to say of a process that ended before it was ready.
fn early_end(slot: &Slot) -> String {
    let exit = slot.exit().unwrap_or_default();
    let last = log::last_line(&slot.folder.log());
    let last = if last.is_empty() { last } else { format!("; its last line: {last}") };
    format!("{exit} before it was ready{last}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of a module's data, for those who have no keeper.
pub(super) fn folders(data: &Path) -> io::Result<Vec<(Name, Folder)>> {
    Ok(Folder::all(&data.canonicalize()?))
}
