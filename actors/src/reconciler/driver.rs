//! The driver of the reconciler: reads what a decision needs, and carries out what was decided.
//!
//! A loop over wake-ups: objects that changed, timers, ended attempts, answers, and leadership.
//! None carries a state; each makes the driver read anew.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actix::Addr;
use kraken_engine::{
    catalog::Catalog,
    command::{Command, Intent, Op, Outcome, Proposal, Txn},
    event::Happening,
    fleet::Fleet,
    id::{AttemptId, Name, Revision, Term, Uid},
    machine::{Attempted, Dispatch, Effect},
    status::Status,
    time::Millis,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    ANSWERS_MAX, Reconciler, ReconcilerOptions,
    messages::{Decided, Due, Happened, Lead, Look, ObjectOf},
    subject::Known,
};
use crate::{
    clock::Clock,
    dirty::Dirty,
    host::{Admission, AttemptEnded, Fault, HostHandle, Start},
    quorum::{Leadership, Quorum, read},
    state::{StateHandle, Stopped},
};

/// How often a leader looks for intents that outlived their leader.
const SWEEP: Duration = Duration::from_secs(1);
/// Longest sleep between timers; a bound on what a missed wake-up could cost.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// Starts the driver on the present arbiter, once it is sure to miss no change.
pub(super) async fn spawn(address: Addr<Reconciler>, options: ReconcilerOptions) {
    let dirty = options.state.watch_objects().await;
    let all = options.state.read(|fleet| fleet.objects().map(|o| o.uid).collect::<Vec<_>>()).await;
    dirty.mark(all.unwrap_or_default());
    let (answers, answered) = mpsc::channel(ANSWERS_MAX);
    let driver = Driver {
        address,
        node: options.node,
        state: options.state,
        host: options.host,
        quorum: options.quorum,
        clock: options.clock,
        dirty,
        answers,
        wake_at: Millis::NEVER,
        term: None,
        removing: BTreeSet::new(),
    };
    actix_rt::spawn(driver.run(options.ends, answered, options.stop));
}

struct Driver {
    address: Addr<Reconciler>,
    node: Name,
    state: StateHandle,
    host: HostHandle,
    quorum: Option<Arc<dyn Quorum>>,
    clock: Clock,
    dirty: Dirty<Uid>,
    answers: mpsc::Sender<(AttemptId, Attempted)>,
    wake_at: Millis,
    term: Option<Term>,
    /// Deleted objects whose removal has been proposed.
    removing: BTreeSet<(Uid, Revision)>,
}

impl Driver {
    async fn run(
        mut self,
        mut ends: mpsc::Receiver<AttemptEnded>,
        mut answered: mpsc::Receiver<(AttemptId, Attempted)>,
        stop: CancellationToken,
    ) {
        let mut leadership = self.quorum.as_ref().map(|quorum| quorum.leadership());
        leadership.iter_mut().for_each(watch::Receiver::mark_changed);
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let timer = tokio::time::sleep_until(self.next_timer());
            let done = tokio::select! {
                () = stop.cancelled() => return,
                () = self.dirty.marked() => self.look().await,
                () = timer => self.due().await,
                Some(ended) = ends.recv() => self.ended(ended).await,
                Some((attempt, what)) = answered.recv() => self.attempted(attempt, what).await,
                led = changed(&mut leadership) => self.lead(led).await,
                _ = sweep.tick(), if self.term.is_some() => self.sweep().await,
            };
            if done.is_err() {
                return;
            }
        }
    }

    fn next_timer(&self) -> Instant {
        Instant::now() + self.wake_at.since(self.clock.wall()).min(SLEEP_MAX)
    }

    async fn look(&mut self) -> Result<(), Stopped> {
        let uids = self.dirty.take();
        self.look_at(uids).await
    }

    async fn due(&mut self) -> Result<(), Stopped> {
        let due = self.address.send(Due).await.map_err(|_| Stopped)?;
        self.look_at(due.into_iter().collect()).await
    }

    async fn look_at(&mut self, uids: BTreeSet<Uid>) -> Result<(), Stopped> {
        let read = move |fleet: &Fleet| (Known::read(fleet, uids), fleet.catalog().clone());
        let (objects, catalog) = self.state.read(read).await?;
        for (uid, known) in &objects {
            self.show(*uid, known.as_ref(), &catalog);
            if let Some(known) = known {
                self.finish_deletion(known);
            }
        }
        let decided = self.address.send(Look { objects, catalog }).await.map_err(|_| Stopped)?;
        self.carry_out(decided).await
    }

    /// Shows an object to the modules, if this node looks at it for somebody.
    fn show(&self, uid: Uid, known: Option<&Known>, catalog: &Catalog) {
        let lookers = known.map(|known| known.lookers(&self.node, self.term.is_some(), catalog));
        match (known, lookers) {
            (Some(known), Some(lookers @ [_, ..])) => {
                self.host.object_changed(known.view(catalog, lookers));
            }
            _ => self.host.object_removed(uid),
        }
    }

    async fn ended(&mut self, ended: AttemptEnded) -> Result<(), Stopped> {
        let what = match ended.outcome {
            Ok(()) => Attempted::Succeeded,
            Err(error) => match error.fault {
                Fault::Cancelled => Attempted::Abandoned,
                Fault::Failed | Fault::Deadline | Fault::ModuleLost => {
                    Attempted::Failed { error: error.text, permanent: error.permanent }
                }
            },
        };
        self.attempted(ended.attempt, what).await
    }

    async fn attempted(&mut self, attempt: AttemptId, what: Attempted) -> Result<(), Stopped> {
        let of = self.address.send(ObjectOf(attempt.clone())).await.map_err(|_| Stopped)?;
        let Some(uid) = of else { return Ok(()) };
        let read = move |fleet: &Fleet| (Known::read(fleet, [uid]).pop(), fleet.catalog().clone());
        let (known, catalog) = self.state.read(read).await?;
        let Some((_, Some(known))) = known else { return Ok(()) };
        let happened = Happened { attempt, what, known, catalog };
        let decided = self.address.send(happened).await.map_err(|_| Stopped)?;
        self.carry_out(decided).await
    }

    async fn lead(&mut self, leadership: Leadership) -> Result<(), Stopped> {
        let term = (leadership.is_me && leadership.is_ready).then_some(leadership.term);
        if term == self.term {
            return Ok(());
        }
        tracing::info!(term = ?term.map(Term::get), "leads the quorum's decisions");
        let decided = self.address.send(Lead(term)).await.map_err(|_| Stopped)?;
        self.carry_out(decided).await?;
        self.removing.clear();
        let all = self.state.read(|fleet| fleet.objects().map(|o| o.uid).collect::<Vec<_>>());
        self.dirty.mark(all.await?);
        Ok(())
    }

    async fn carry_out(&mut self, decided: Decided) -> Result<(), Stopped> {
        self.wake_at = decided.wake_at;
        self.term = decided.term;
        for (lane, effect) in decided.effects {
            match effect {
                Effect::Dispatch(dispatch) => self.dispatch(dispatch).await?,
                Effect::Cancel(attempt) => {
                    let host = self.host.clone();
                    actix_rt::spawn(async move { host.cancel(attempt).await });
                }
                Effect::OpenIntent(intent) => self.open_intent(intent),
                Effect::CloseIntent(attempt) => self.close_intents(vec![attempt]),
                Effect::Publish(uid, status) => {
                    self.state.say(uid, status.to_values(lane)).await;
                }
                Effect::Happened(happening) => self.record(happening).await,
                Effect::Look(_) => self.host.look(),
            }
        }
        Ok(())
    }

    /// Hands an attempt to its module; how that went comes back as an answer.
    async fn dispatch(&self, dispatch: Dispatch) -> Result<(), Stopped> {
        let uid = dispatch.uid;
        let (node, leads) = (self.node.clone(), self.term.is_some());
        let view = move |fleet: &Fleet| {
            let known = Known::read(fleet, [uid]).pop()?.1?;
            let lookers = known.lookers(&node, leads, fleet.catalog());
            Some(known.view(fleet.catalog(), lookers))
        };
        let Some(object) = self.state.read(view).await? else { return Ok(()) };
        let (host, answers) = (self.host.clone(), self.answers.clone());
        actix_rt::spawn(async move {
            let attempt = dispatch.attempt.clone();
            let mutation = dispatch.instance.mutation;
            let start = Start {
                attempt: dispatch.attempt,
                mutation: mutation.id.clone(),
                bindings: dispatch.instance.bindings,
                object,
                timeout: dispatch.timeout,
                cancellable: mutation.cancellable,
            };
            let what = match host.mutate(start).await {
                Admission::Accepted => Attempted::Acknowledged,
                Admission::Busy => Attempted::Busy,
                Admission::NoModule => {
                    Attempted::NoService(format!("module {} does not run here", mutation.id.module))
                }
            };
            // Fails only when the node stops.
            answers.send((attempt, what)).await.ok();
        });
        Ok(())
    }

    async fn record(&self, happening: Happening) {
        let object = happening.uid.map(|uid| uid.to_string());
        let attempt = happening.attempt.as_ref().map(ToString::to_string);
        tracing::info!(object, attempt, "{}", happening.text);
        self.state.record(happening).await;
    }

    fn open_intent(&self, intent: Intent) {
        let (Some(quorum), Some(term)) = (self.quorum.clone(), self.term) else { return };
        let (answers, attempt) = (self.answers.clone(), intent.attempt.clone());
        let intent = Intent { host: self.node.clone(), ..intent };
        let proposal = self.proposal(Command::OpenIntents { term, intents: vec![intent] });
        actix_rt::spawn(async move {
            let what = match quorum.propose(proposal).await {
                Ok(Outcome::Applied { refused_intents, .. }) => match refused_intents.first() {
                    None => Attempted::IntentOpened,
                    Some((_, why)) => Attempted::IntentRefused(why.clone()),
                },
                Ok(Outcome::Refused(refusal)) => Attempted::IntentRefused(refusal.to_string()),
                Err(error) => Attempted::IntentRefused(error.to_string()),
            };
            // Fails only when the node stops.
            answers.send((attempt, what)).await.ok();
        });
    }

    fn close_intents(&self, attempts: Vec<AttemptId>) {
        self.propose(Command::CloseIntents { attempts });
    }

    /// Removes a deleted object once its absent state has been seen.
    fn finish_deletion(&mut self, known: &Known) {
        let (uid, revision) = (known.object.uid, known.object.revision);
        let seen = Status::of(&known.dsc).is_some_and(|status| status.is_converged_at(revision));
        if self.term.is_none() || !known.object.deleting || !seen {
            return;
        }
        if self.removing.insert((uid, revision)) {
            let txn = Txn { ops: vec![Op::Remove { uid, revision }], ..Txn::default() };
            self.propose(Command::Txn(txn));
        }
    }

    /// Closes intents whose time is over: their leader or their attempt is gone.
    async fn sweep(&self) -> Result<(), Stopped> {
        let Some(quorum) = self.quorum.as_deref() else { return Ok(()) };
        let now = self.clock.wall();
        let over = read(quorum, crate::quorum::Consistency::Stale, |store| {
            let over = store.intents().values().filter(|intent| intent.ends_by < now);
            over.map(|intent| intent.attempt.clone()).collect::<Vec<_>>()
        });
        let over = over.await.unwrap_or_default();
        if !over.is_empty() {
            self.close_intents(over);
        }
        Ok(())
    }

    fn propose(&self, command: Command) {
        let Some(quorum) = self.quorum.clone() else { return };
        let proposal = self.proposal(command);
        actix_rt::spawn(async move {
            match quorum.propose(proposal).await {
                Ok(Outcome::Applied { .. }) => {}
                Ok(Outcome::Refused(why)) => tracing::debug!(%why, "the engine's write is refused"),
                Err(error) => tracing::warn!(%error, "the engine's write was not committed"),
            }
        });
    }

    fn proposal(&self, command: Command) -> Proposal {
        let author = format!("engine@{}", self.node);
        Proposal { request: None, author, at: self.clock.wall(), command }
    }
}

/// Waits for a change of leadership; for ever where there is no quorum.
async fn changed(leadership: &mut Option<watch::Receiver<Leadership>>) -> Leadership {
    if let Some(receiver) = leadership
        && receiver.changed().await.is_ok()
    {
        return *receiver.borrow_and_update();
    }
    std::future::pending().await
}
