//! A crowd: the real engine of one leader against a hundred thousand simulated objects, for people
//! who want to know how long a change takes, and what faults do to it, before it touches hardware.
//!
//! Decisions are the engine's own: the store, both lanes' machines, the planner and the policies.
//! Attempts take as long and go as wrong as is asked. What a mutation is declared to change is what
//! it changes; of the network only its latency is simulated. No event costs more the more objects
//! there are.

mod commits;
mod nature;
mod report;
mod tally;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::report::{Report, Sample, Spread};
use self::{nature::Nature, tally::Tally};
use super::{BEGINNING_MS, chance::Chance};
use crate::{
    catalog::{Catalog, KindCatalog},
    command::{Command, Intent, Op, Outcome, Txn},
    decider::Decider,
    dsc::HybridClock,
    fleet::{Fleet, Touched},
    id::{AttemptId, ClusterId, Name, Uid},
    machine::{Attempted, Dispatch, Effect},
    manifest::Manifest,
    mutation::Lane,
    object::Object,
    path::Path,
    singleton::Lease,
    status::{PhaseName, Status},
    store::Store,
    time::{Millis, whole_ms},
    value::Value,
    view::Subject,
};

/// Operations of one transaction.
const BATCH_OPS: usize = 1_000;
/// How long intents are gathered before they are committed together, in milliseconds.
const COMMIT_MS: u64 = 5;
/// Most objects of a crowd.
pub const OBJECTS_MAX: usize = 1_000_000;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Options {
    /// Draws latencies and faults.
    pub seed: u64,
    /// How long a mutation takes, at least and at most, in milliseconds.
    pub latency_ms: (u64, u64),
    /// How long a message takes on the network at most, in milliseconds.
    pub network_ms: u64,
    /// How often attempts go wrong.
    pub faults: Faults,
    /// How long at most, in milliseconds of the crowd's own time.
    pub for_ms: u64,
}

/// Of ten thousand attempts, so many go wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// They end with an error.
    pub fail: u64,
    /// They do not end.
    pub hang: u64,
    /// They claim success and have done nothing.
    pub lie: u64,
    /// Of ten thousand successes, so many do not last: what was reached is lost within a minute.
    pub drift: u64,
}

/// A crowd that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The declared modules do not fit together.
    #[error("the modules do not fit together: {0}")]
    Modules(String),
    /// The objects were refused.
    #[error("the objects are refused: {0}")]
    Objects(String),
    /// There are too many.
    #[error("{count} objects are over the limit of {OBJECTS_MAX}")]
    TooMany {
        /// How many were asked for.
        count: usize,
    },
    /// There is nothing to simulate.
    #[error("there is no object to simulate")]
    Nobody,
}

/// How far a crowd is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Its own time since the beginning, in milliseconds.
    pub at_ms: u64,
    /// Objects that are where they are asked to be.
    pub converged: usize,
    /// All objects.
    pub objects: usize,
    /// Events so far.
    pub events: u64,
}

/// What happens.
enum Event {
    Look(Uid),
    Start(Box<Dispatch>),
    Finish(AttemptId),
    Told(AttemptId, Attempted),
    Commit,
    Drift(Uid, Vec<(Path, Option<Value>)>),
}

/// An attempt that runs.
struct Running {
    uid: Uid,
    fate: Fate,
    mutation: String,
    disruptive: bool,
    cancellable: bool,
    changes: Vec<(Path, Option<Value>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    Hangs,
    Lies,
}

/// A crowd and the leader that decides for it.
pub struct Crowd {
    options: Options,
    chance: Chance,
    now: u64,
    ends_at: u64,
    sequence: u64,
    events: u64,
    agenda: BTreeMap<(u64, u64), Event>,
    store: Store,
    index: u64,
    fleet: Fleet,
    clock: HybridClock,
    own: Decider,
    led: Decider,
    dirty: BTreeSet<Uid>,
    nature: Nature,
    running: BTreeMap<AttemptId, Running>,
    proposed: Vec<Proposed>,
    tally: Tally,
}

enum Proposed {
    Open(Intent),
    Close(AttemptId),
    Other(Command),
}

impl Crowd {
    /// A crowd of these objects, which these modules look after.
    pub fn new(options: Options, manifests: Vec<Manifest>, ops: Vec<Op>) -> Result<Self, Error> {
        if ops.len() > OBJECTS_MAX {
            return Err(Error::TooMany { count: ops.len() });
        }
        let catalog = Catalog::build(&manifests).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Error::Modules(all.join("; "))
        })?;
        let name = Name::new("m1").map_err(|error| Error::Objects(error.to_string()))?;
        let begins = Millis::new(BEGINNING_MS);
        let mut crowd = Self {
            chance: Chance::new(options.seed),
            now: BEGINNING_MS,
            ends_at: BEGINNING_MS.saturating_add(options.for_ms),
            sequence: 0,
            events: 0,
            agenda: BTreeMap::new(),
            store: Store::new(),
            index: 0,
            fleet: Fleet::new(name.clone(), Arc::new(catalog)),
            clock: HybridClock::new(name.clone()),
            own: Decider::new(Lane::Itself, name.clone(), begins),
            led: Decider::new(Lane::Quorum, name, begins),
            dirty: BTreeSet::new(),
            nature: Nature::default(),
            running: BTreeMap::new(),
            proposed: Vec::new(),
            tally: Tally::default(),
            options,
        };
        crowd.found(manifests, ops)?;
        Ok(crowd)
    }

    fn found(&mut self, manifests: Vec<Manifest>, ops: Vec<Op>) -> Result<(), Error> {
        self.commit(Command::Found { cluster: ClusterId::new(1) });
        if let Outcome::Refused(why) = self.commit(Command::Declare { manifests }) {
            return Err(Error::Modules(why.to_string()));
        }
        for ops in ops.chunks(BATCH_OPS) {
            let txn = Txn { ops: ops.to_vec(), ..Txn::default() };
            if let Outcome::Refused(why) = self.commit(Command::Txn(txn)) {
                return Err(Error::Objects(why.to_string()));
            }
        }
        let uids: Vec<Uid> = self.simulated().map(|object| object.uid).collect();
        for uid in uids {
            let after = self.chance.between(1, self.options.network_ms.max(1));
            self.later(after, Event::Look(uid));
        }
        if self.tally.objects() == 0 { Err(Error::Nobody) } else { Ok(()) }
    }

    /// The objects about which there is something to decide: not policies and the like.
    fn simulated(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.store.objects().filter(|object| self.tally.counts(object.uid))
    }

    fn later(&mut self, after_ms: u64, event: Event) {
        self.sequence += 1;
        self.agenda.insert((self.now + after_ms, self.sequence), event);
    }

    fn network(&mut self) -> u64 {
        self.chance.between(0, self.options.network_ms)
    }

    /// Goes on for at most so many events; `false` once it has come to rest, or its time is over.
    pub fn go_on(&mut self, events_max: u64) -> bool {
        for _ in 0..events_max {
            let next = self.agenda.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            let wake = self.own.wake_at().min(self.led.wake_at()).get();
            let at = next.min(wake).max(self.now);
            if at >= self.ends_at || (self.agenda.is_empty() && self.tally.rests()) {
                return false;
            }
            self.now = at;
            self.events += 1;
            self.tally.at(self.now - BEGINNING_MS);
            if wake <= next {
                let now = Millis::new(self.now);
                self.dirty.extend(self.own.due(now));
                self.dirty.extend(self.led.due(now));
            } else if let Some((_, event)) = self.agenda.pop_first() {
                self.happen(event);
            }
            self.decide_all();
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Look(uid) => self.look(uid),
            Event::Start(dispatch) => self.start(&dispatch),
            Event::Finish(attempt) => self.finish(&attempt),
            Event::Told(attempt, what) => self.told(&attempt, what),
            Event::Commit => self.commit_all(),
            Event::Drift(uid, values) => {
                self.nature.set(uid, values);
                self.look(uid);
            }
        }
    }

    /// Somebody looks at an object, and tells what it saw.
    fn look(&mut self, uid: Uid) {
        let Some(object) = self.store.object(uid) else { return };
        let Some(kind) = self.fleet.catalog().kind(&object.key.kind) else { return };
        let values = self.nature.look(object, kind);
        self.see(uid, values, true);
    }

    fn see(&mut self, uid: Uid, values: Vec<(Path, Option<Value>)>, is_news: bool) {
        let now = Millis::new(self.now);
        let stamp = self.clock.stamp(now);
        let Touched { paths } = self.fleet.see(uid, &stamp, values, now);
        if is_news && !paths.is_empty() {
            self.dirty.insert(uid);
        }
    }

    fn decide_all(&mut self) {
        while let Some(uid) = self.dirty.pop_first() {
            for lane in [Lane::Itself, Lane::Quorum] {
                self.decide(uid, lane, None);
            }
        }
    }

    fn told(&mut self, attempt: &AttemptId, what: Attempted) {
        let of = |decider: &Decider| decider.object_of(attempt);
        if let Some(uid) = of(&self.own) {
            self.decide(uid, Lane::Itself, Some((attempt, what)));
        } else if let Some(uid) = of(&self.led) {
            self.decide(uid, Lane::Quorum, Some((attempt, what)));
        } else if what == Attempted::IntentOpened {
            self.propose(Proposed::Close(attempt.clone()));
        }
    }

    /// The leader and the object's own node decide, as they would of a real one.
    fn decide(&mut self, uid: Uid, lane: Lane, of: Option<(&AttemptId, Attempted)>) {
        let Some(object) = self.fleet.object(uid).cloned() else { return };
        let catalog = self.fleet.catalog().clone();
        let Some(kind) = catalog.kind(&object.key.kind) else { return };
        if !decides(&object, kind, lane) {
            return;
        }
        let dsc = self.fleet.dsc(uid);
        let subject = Subject {
            object: &object,
            dsc: &dsc,
            catalog: &catalog,
            related: &self.fleet,
            not_before: Millis::ZERO,
            lease: Lease::Unbound,
        };
        let now = Millis::new(self.now);
        let decider = match lane {
            Lane::Itself => &mut self.own,
            Lane::Quorum => &mut self.led,
        };
        let effects = match of {
            None => decider.look(subject, now),
            Some((attempt, what)) => decider.attempted(attempt, what, subject, now),
        };
        drop(dsc);
        for effect in effects {
            self.carry_out(lane, effect);
        }
        if lane == Lane::Quorum {
            for effect in self.led.steer() {
                self.carry_out(lane, effect);
            }
        }
    }

    fn carry_out(&mut self, lane: Lane, effect: Effect) {
        match effect {
            Effect::Dispatch(dispatch) => {
                let after = self.network();
                self.later(after, Event::Start(Box::new(dispatch)));
            }
            Effect::Cancel(attempt) => self.cancel(&attempt),
            Effect::OpenIntent(intent) => self.propose(Proposed::Open(intent)),
            Effect::CloseIntent(attempt) => self.propose(Proposed::Close(attempt)),
            Effect::Propose(command) => self.propose(Proposed::Other(*command)),
            Effect::Publish(uid, status) => {
                self.see(uid, status.to_values(lane), false);
                let phase = Status::of(&self.fleet.dsc(uid)).map(|status| status.phase);
                self.tally.entered(uid, phase);
            }
            Effect::Presume(uid, values) => self.see(uid, values, false),
            Effect::Look(uid) => {
                let after = self.network();
                self.later(after, Event::Look(uid));
            }
            Effect::Happened(_) => {}
        }
    }

    fn start(&mut self, dispatch: &Dispatch) {
        let Some(object) = self.store.object(dispatch.uid).cloned() else { return };
        let attempt = dispatch.attempt.clone();
        let after = self.network();
        self.later(after, Event::Told(attempt.clone(), Attempted::Acknowledged));
        if self.running.contains_key(&attempt) {
            return;
        }
        let instance = &dispatch.instance;
        let fate = self.fate();
        let (least, most) = self.options.latency_ms;
        let latency = self.chance.between(least, most);
        let timeout = whole_ms(dispatch.timeout);
        let fate = if latency > timeout { Fate::Hangs } else { fate };
        let takes = if fate == Fate::Hangs { timeout } else { latency };
        let running = Running {
            uid: dispatch.uid,
            fate,
            mutation: instance.mutation.id.to_string(),
            disruptive: instance.mutation.disruptive,
            cancellable: instance.mutation.cancellable,
            changes: nature::changes(instance, &object.cfg),
        };
        self.tally.started(&running.mutation, running.disruptive);
        self.running.insert(attempt.clone(), running);
        self.later(takes, Event::Finish(attempt));
    }

    fn fate(&mut self) -> Fate {
        let Faults { fail, hang, lie, .. } = self.options.faults;
        match self.chance.between(0, 9_999) {
            drawn if drawn < fail => Fate::Fails,
            drawn if drawn < fail + hang => Fate::Hangs,
            drawn if drawn < fail + hang + lie => Fate::Lies,
            _ => Fate::Succeeds,
        }
    }

    fn finish(&mut self, attempt: &AttemptId) {
        let Some(running) = self.running.remove(attempt) else { return };
        let Running { uid, fate, mutation, disruptive, changes, .. } = running;
        let what = match fate {
            Fate::Succeeds => {
                self.drift(uid, &changes);
                self.nature.set(uid, changes);
                Attempted::Succeeded
            }
            Fate::Lies => Attempted::Succeeded,
            Fate::Fails => failure("the simulated attempt failed"),
            Fate::Hangs => failure("not done by its deadline"),
        };
        self.tally.ended(disruptive);
        if fate != Fate::Succeeds {
            self.tally.failed(&mutation);
        }
        let after = self.network();
        self.later(after, Event::Look(uid));
        self.later(after, Event::Told(attempt.clone(), what));
    }

    /// Now and then what was reached does not last.
    fn drift(&mut self, uid: Uid, changes: &[(Path, Option<Value>)]) {
        if self.chance.between(0, 9_999) < self.options.faults.drift {
            let paths = changes.iter().map(|(path, _)| path);
            let before: Vec<_> =
                paths.map(|path| (path.clone(), self.nature.get(uid, path))).collect();
            let after = self.chance.between(1_000, 60_000);
            self.later(after, Event::Drift(uid, before));
        }
    }

    fn cancel(&mut self, attempt: &AttemptId) {
        if self.running.get(attempt).is_none_or(|running| !running.cancellable) {
            return;
        }
        if let Some(running) = self.running.remove(attempt) {
            self.tally.ended(running.disruptive);
            self.tally.failed(&running.mutation);
            let after = self.network();
            self.later(after, Event::Look(running.uid));
            self.later(after, Event::Told(attempt.clone(), Attempted::Abandoned));
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            at_ms: self.now - BEGINNING_MS,
            converged: self.tally.now_in(PhaseName::Converged),
            objects: self.tally.objects(),
            events: self.events,
        }
    }

    /// What became of it.
    pub fn report(&self) -> Report {
        let (seed, events) = (self.options.seed, self.events);
        self.tally.report(seed, events, self.now - BEGINNING_MS)
    }
}

fn failure(error: &str) -> Attempted {
    Attempted::Failed { error: error.to_owned(), permanent: false }
}

/// Whether a lane has something to decide for an object: a node decides its own lane, the leader
/// what the quorum changes.
fn decides(object: &Object, kind: &KindCatalog, lane: Lane) -> bool {
    let changed = |path: &Path| kind.schema.rule_at(path).and_then(|rule| rule.changed_from);
    let is_node = object.key.is_node();
    let has = object.cfg.iter().any(|(path, _)| changed(path) == Some(lane));
    match lane {
        Lane::Itself => is_node && has,
        Lane::Quorum => has,
    }
}
