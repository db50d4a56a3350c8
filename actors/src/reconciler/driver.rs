//! The driver of the reconciler: reads what a decision needs, and carries out what was decided.
//!
//! A loop over wake-ups: objects that changed, timers, ended attempts, answers, and leadership.
//! None carries a state; each makes the driver read anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actix::Addr;
use kraken_engine::{
    command::{Command, Intent, Op, Outcome, Proposal, Txn, engine_at},
    event::{EventKind, Happening},
    fleet::Fleet,
    id::{AttemptId, Name, Revision, Term, Uid},
    machine::{Attempted, Effect},
    object::Object,
    order::{left::Left, sent::Sent},
    policy::Rules,
    route::Seen,
    singleton::Handovers,
    status::{PhaseName, Status},
    time::Millis,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    ANSWERS_MAX, Reconciler, ReconcilerOptions,
    governing::committed,
    messages::{Answers, Decided, Due, Happened, Lead, Look, ObjectsOf},
    spans::Tracing,
    subject::{Known, Sight, looks_as_parent},
};
use crate::{
    clock::Clock,
    dirty::Dirty,
    host::{AttemptEnded, Fault, HostHandle},
    module::Looker,
    orders::{Orders, Told},
    quorum::{Leadership, Quorum},
    state::{StateHandle, Stopped},
};

/// How often a leader looks for intents that outlived their leader.
const SWEEP: Duration = Duration::from_secs(1);
/// Most objects that are looked at, and attempts that are taken note of, at one time: a bound on
/// how long the node's other actors wait meanwhile.
const LOOK_OBJECTS_MAX: usize = 256;
/// Longest sleep between timers; a bound on what a missed wake-up could cost.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// Starts the driver on the present arbiter, once it is sure to miss no change.
pub(super) async fn spawn(address: Addr<Reconciler>, options: ReconcilerOptions) {
    let dirty = options.state.watch_for_deciders().await;
    let all = options.state.read(|fleet| fleet.objects().map(|o| o.uid).collect::<Vec<_>>()).await;
    dirty.mark(all.unwrap_or_default());
    let (answers, answered) = mpsc::channel(ANSWERS_MAX);
    let (node, quorum, clock) = (options.node, options.quorum, options.clock);
    let driver = Driver {
        address,
        tracing: Tracing::new(options.spans, node.clone(), quorum.clone(), clock),
        node,
        state: options.state,
        host: options.host,
        orders: options.orders,
        sent: Sent::default(),
        left: Left::default(),
        handovers: Handovers::default(),
        quorum,
        clock,
        dirty,
        pending: BTreeSet::new(),
        answers,
        wake_at: Millis::NEVER,
        term: None,
        governed: None,
        shown: BTreeMap::new(),
        has_led: false,
        removing: BTreeSet::new(),
    };
    let heard = Heard { ends: options.ends, answered, told: options.told };
    actix_rt::spawn(driver.run(heard, options.stop));
}

pub(super) struct Driver {
    pub(super) address: Addr<Reconciler>,
    pub(super) node: Name,
    pub(super) state: StateHandle,
    pub(super) host: HostHandle,
    pub(super) orders: Orders,
    pub(super) sent: Sent,
    pub(super) left: Left,
    pub(super) handovers: Handovers,
    pub(super) quorum: Option<Arc<dyn Quorum>>,
    pub(super) clock: Clock,
    pub(super) tracing: Tracing,
    dirty: Dirty<Uid>,
    /// Taken from the dirty ones, or due, and not looked at yet.
    pending: BTreeSet<Uid>,
    pub(super) answers: mpsc::Sender<Answers>,
    wake_at: Millis,
    pub(super) term: Option<Term>,
    /// The policies that the decider has, and the term for which it has them.
    pub(super) governed: Option<(Term, Arc<Rules>)>,
    /// The objects that were shown to the modules and are not hosted here: as of which revision,
    /// and for whom.
    shown: BTreeMap<Uid, (Revision, &'static [Looker])>,
    /// Whether this member leads, or has led.
    has_led: bool,
    /// Deleted objects whose removal has been proposed.
    removing: BTreeSet<(Uid, Revision)>,
}

/// What the driver hears of attempts.
struct Heard {
    ends: mpsc::Receiver<AttemptEnded>,
    answered: mpsc::Receiver<Answers>,
    told: mpsc::Receiver<Told>,
}

impl Driver {
    async fn run(mut self, mut heard: Heard, stop: CancellationToken) {
        let mut leadership = self.quorum.as_ref().map(|quorum| quorum.leadership());
        leadership.iter_mut().for_each(watch::Receiver::mark_changed);
        let mut commits = self.quorum.as_ref().map(|quorum| quorum.commits());
        let mut sweep = tokio::time::interval(SWEEP);
        let (mut ended, mut told) = (Vec::new(), Vec::new());
        loop {
            let timer = tokio::time::sleep_until(self.next_timer());
            let done = tokio::select! {
                () = stop.cancelled() => return,
                () = self.marked() => self.look().await,
                () = timer => self.due().await,
                _ = heard.ends.recv_many(&mut ended, LOOK_OBJECTS_MAX) => {
                    let answers = ended.drain(..).map(answer_of).collect();
                    self.attempted(answers).await
                }
                Some(answers) = heard.answered.recv() => self.attempted(answers).await,
                _ = heard.told.recv_many(&mut told, LOOK_OBJECTS_MAX) => {
                    let told = std::mem::take(&mut told);
                    self.told(told).await
                }
                led = changed(&mut leadership) => self.lead(led).await,
                () = committed(&mut commits), if self.term.is_some() => self.govern().await,
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

    /// Waits until there is something to look at.
    async fn marked(&self) {
        if self.pending.is_empty() {
            self.dirty.marked().await;
        }
    }

    /// Looks at some of what is marked. What is marked meanwhile has its turn after all that was
    /// before it.
    async fn look(&mut self) -> Result<(), Stopped> {
        if self.pending.is_empty() {
            self.pending = self.dirty.take();
        }
        let next = std::iter::from_fn(|| self.pending.pop_first());
        let uids = next.take(LOOK_OBJECTS_MAX).collect();
        self.look_at(uids).await
    }

    async fn due(&mut self) -> Result<(), Stopped> {
        self.govern().await?;
        let (due, decided) = self.address.send(Due).await.map_err(|_| Stopped)?;
        self.pending.extend(due);
        self.carry_out(decided, &Sight::default()).await?;
        self.look().await
    }

    async fn look_at(&mut self, uids: BTreeSet<Uid>) -> Result<(), Stopped> {
        self.govern().await?;
        let sight = Arc::new(self.sight(uids).await?);
        if sight.objects.is_empty() {
            return Ok(());
        }
        self.show(&sight);
        for known in sight.objects.iter().filter_map(|(_, known)| known.as_ref()) {
            self.finish_deletion(known);
        }
        self.tracing.looked(&sight, self.term.is_some());
        self.hand_over(&sight).await?;
        let look = Look { sight: sight.clone() };
        let decided = self.address.send(look).await.map_err(|_| Stopped)?;
        self.carry_out(decided, &sight).await
    }

    /// Reads objects. Who never led reads its own, and those at which it looks as their parent:
    /// nothing of the others is held here.
    async fn sight(&mut self, uids: BTreeSet<Uid>) -> Result<Sight, Stopped> {
        self.has_led |= self.term.is_some();
        let (node, takes_all) = (self.node.clone(), self.has_led);
        let members = self.quorum.as_ref().map(|_| self.orders.ways().members());
        let now = self.clock.wall();
        let shown = uids.iter().filter(|uid| self.shown.contains_key(*uid));
        let shown: BTreeSet<Uid> = shown.copied().collect();
        let read = move |fleet: &Fleet| {
            let seen = members.as_ref().map(|members| Seen::new(fleet, members));
            let is_here = |uid: &Uid| {
                let own_or_theirs = |object: &Object| {
                    object.is_hosted_by(&node) || looks_as_parent(fleet, object, seen.as_ref())
                };
                let known = takes_all || shown.contains(uid);
                known || fleet.object(*uid).is_none_or(|object| own_or_theirs(object))
            };
            let uids = uids.into_iter().filter(is_here).collect();
            Sight::read(fleet, uids, members.as_ref(), now)
        };
        self.state.read(read).await
    }

    /// Shows objects to the modules, those at which this node looks for somebody. One that it does
    /// not host is shown again when something else is asked of it, and not for all that is seen of
    /// it: there are many of those.
    fn show(&mut self, sight: &Sight) {
        let leads = self.term.is_some();
        let mut shown = Vec::new();
        for (uid, known) in &sight.objects {
            let known = known.as_ref();
            let lookers = known.map(|known| known.lookers(&self.node, leads, &sight.catalog));
            match (known, lookers) {
                (Some(known), Some(lookers @ [_, ..])) if !lookers.contains(&Looker::Host) => {
                    let mark = (known.object.revision, lookers);
                    if self.shown.insert(*uid, mark) != Some(mark) {
                        shown.push((*uid, Some(known.view(&sight.catalog, lookers))));
                    }
                }
                (Some(known), Some(lookers @ [_, ..])) => {
                    self.shown.remove(uid);
                    shown.push((*uid, Some(known.view(&sight.catalog, lookers))));
                }
                _ => {
                    self.shown.remove(uid);
                    shown.push((*uid, None));
                }
            }
        }
        self.host.objects_changed(shown);
    }

    /// Something happened to attempts. Those that are nobody's any more are not listened to, but an
    /// intent that was opened for one is closed.
    pub(super) async fn attempted(&mut self, answers: Answers) -> Result<(), Stopped> {
        let attempts = answers.iter().map(|(attempt, _)| attempt.clone()).collect();
        let of = self.address.send(ObjectsOf(attempts)).await.map_err(|_| Stopped)?;
        let (mut known, mut lost) = (Vec::new(), Vec::new());
        for ((attempt, what), uid) in answers.into_iter().zip(of) {
            match (uid, what) {
                (Some(uid), what) => {
                    if let Attempted::Handed(to) = &what {
                        self.tracing.handed(uid, to);
                    }
                    known.push((attempt, uid, what));
                }
                (None, Attempted::IntentOpened) => lost.push(attempt),
                (None, _) => {}
            }
        }
        if !lost.is_empty() {
            self.close_intents(lost);
        }
        let uids: BTreeSet<Uid> = known.iter().map(|(_, uid, _)| *uid).collect();
        if uids.is_empty() {
            return Ok(());
        }
        let sight = Arc::new(self.sight(uids).await?);
        let happened = Happened { answers: known, sight: sight.clone() };
        let decided = self.address.send(happened).await.map_err(|_| Stopped)?;
        self.carry_out(decided, &sight).await
    }

    async fn lead(&mut self, leadership: Leadership) -> Result<(), Stopped> {
        let term = (leadership.is_me && leadership.is_ready).then_some(leadership.term);
        if term == self.term {
            return Ok(());
        }
        tracing::info!(term = ?term.map(Term::get), "leads the quorum's decisions");
        let decided = self.address.send(Lead(term)).await.map_err(|_| Stopped)?;
        self.carry_out(decided, &Sight::default()).await?;
        self.tracing.led();
        self.removing.clear();
        self.sent = Sent::default();
        self.left = Left::default();
        self.handovers = Handovers::default();
        let all = self.state.read(|fleet| fleet.objects().map(|o| o.uid).collect::<Vec<_>>());
        self.dirty.mark(all.await?);
        Ok(())
    }

    /// Carries out what was decided from `sight`, all of a sort together.
    pub(super) async fn carry_out(
        &mut self,
        decided: Decided,
        sight: &Sight,
    ) -> Result<(), Stopped> {
        self.wake_at = decided.wake_at;
        self.term = decided.term;
        let (mut dispatches, mut opened, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut words, mut happened) = (Vec::new(), Vec::new());
        for (lane, effect) in decided.effects {
            self.tracing.decided(lane, &effect);
            match effect {
                Effect::Dispatch(dispatch) => dispatches.push((lane, dispatch)),
                Effect::Cancel(attempt) => self.cancel(attempt).await?,
                Effect::OpenIntent(intent) => opened.push(intent),
                Effect::CloseIntent(attempt) => closed.push(attempt),
                Effect::Publish(uid, status) => {
                    self.look_after_deletion(uid, &status, sight);
                    words.push((uid, status.to_values(lane)));
                }
                Effect::Happened(happening) => {
                    log(&happening);
                    happened.push(happening);
                }
                Effect::Look(uid) => self.ask_for_a_look(uid).await?,
                Effect::Presume(uid, values) => words.push((uid, values)),
                Effect::Propose(command) => self.propose(*command),
            }
        }
        if !words.is_empty() || !happened.is_empty() {
            self.state.say_all(words, happened).await;
        }
        if !closed.is_empty() {
            self.close_intents(closed);
        }
        if !opened.is_empty() {
            let opened = self.choose_hosts(opened).await?;
            self.open_intents(opened);
        }
        if !dispatches.is_empty() {
            self.dispatch(dispatches, sight).await?;
        }
        Ok(())
    }

    /// What the deciders say does not wake them; of a deleted object that has come to its absent
    /// state they must hear all the same.
    fn look_after_deletion(&self, uid: Uid, status: &Status, sight: &Sight) {
        let deleting = sight.known(uid).is_some_and(|known| known.object.deleting);
        if deleting && status.phase == PhaseName::Converged {
            self.dirty.mark([uid]);
        }
    }

    /// Has intents committed, many in one proposal.
    fn open_intents(&self, intents: Vec<Intent>) {
        let (Some(quorum), Some(term)) = (self.quorum.clone(), self.term) else { return };
        if intents.is_empty() {
            return;
        }
        let attempts: Vec<AttemptId> = intents.iter().map(|i| i.attempt.clone()).collect();
        let answers = self.answers.clone();
        let proposal = self.proposal(Command::OpenIntents { term, intents });
        actix_rt::spawn(async move {
            let outcome = quorum.propose(proposal).await;
            let answer = |attempt: AttemptId| {
                let what = match &outcome {
                    Ok(Outcome::Applied { refused_intents, .. }) => {
                        let refused = refused_intents.iter().find(|(of, _)| *of == attempt);
                        refused.map_or(Attempted::IntentOpened, |(_, why)| {
                            Attempted::IntentRefused(why.clone())
                        })
                    }
                    Ok(Outcome::Refused(refusal)) => Attempted::IntentRefused(refusal.to_string()),
                    Err(error) => Attempted::IntentRefused(error.to_string()),
                };
                (attempt, what)
            };
            // Fails only when the node stops.
            answers.send(attempts.into_iter().map(answer).collect()).await.ok();
        });
    }

    pub(super) fn close_intents(&self, attempts: Vec<AttemptId>) {
        self.propose(Command::CloseIntents { attempts });
    }

    /// Removes a deleted object once its absent state has been seen.
    fn finish_deletion(&mut self, known: &Known) {
        let (uid, revision) = (known.object.uid, known.object.revision);
        if self.term.is_none() || !known.object.deleting {
            return;
        }
        let seen = Status::of(&known.dsc).is_some_and(|status| status.is_converged_at(revision));
        if seen && self.removing.insert((uid, revision)) {
            let txn = Txn { ops: vec![Op::Remove { uid, revision }], ..Txn::default() };
            self.propose(Command::Txn(txn));
        }
    }

    /// Now and then: forgets what was sent long ago, sees to it that what has to be removed is, and
    /// to what earlier leaders left.
    async fn sweep(&mut self) -> Result<(), Stopped> {
        self.sent.sweep(self.clock.wall());
        // A removal that was proposed may not have been committed: look again.
        let removing = std::mem::take(&mut self.removing);
        self.dirty.mark(removing.into_iter().map(|(uid, _)| uid));
        self.dirty.mark(self.handovers.watched());
        self.see_to_the_left().await
    }

    pub(super) fn propose(&self, command: Command) {
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
        let author = engine_at(&self.node);
        Proposal { request: None, author, at: self.clock.wall(), command }
    }
}

/// What the end of an attempt says about it.
fn answer_of(ended: AttemptEnded) -> (AttemptId, Attempted) {
    let what = match ended.outcome {
        Ok(()) => Attempted::Succeeded,
        Err(error) => match error.fault {
            Fault::Cancelled => Attempted::Abandoned,
            Fault::Failed | Fault::Deadline | Fault::ModuleLost => {
                Attempted::Failed { error: error.text, permanent: error.permanent }
            }
        },
    };
    (ended.attempt, what)
}

/// Puts what happened into the log. What goes as it should is kept as an event and is no news here.
fn log(happening: &Happening) {
    let object = || happening.uid.map(|uid| uid.to_string());
    let attempt = || happening.attempt.as_ref().map(ToString::to_string);
    match happening.kind {
        EventKind::AttemptStarted
        | EventKind::AttemptProgressed
        | EventKind::StepDone
        | EventKind::Converged => {
            tracing::debug!(object = object(), attempt = attempt(), "{}", happening.text);
        }
        EventKind::AttemptFailed
        | EventKind::NeedsHelp
        | EventKind::Frozen
        | EventKind::Module
        | EventKind::Link
        | EventKind::Refused
        | EventKind::CfgSet
        | EventKind::Rollout => {
            tracing::info!(object = object(), attempt = attempt(), "{}", happening.text);
        }
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
