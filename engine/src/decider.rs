//! The decider of a lane: all its machines, with their timers and attempts. One runs on every node
//! for its own objects, one on the leader for everybody's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    event::{EventKind, Happening},
    id::{AttemptId, Name, Term, Uid},
    machine::{AttemptIds, Attempted, Effect, Machine, Scope},
    mutation::Lane,
    planner::Planner,
    policy::{Gate, Rules, Standing},
    status::{PhaseName, Status},
    time::Millis,
    view::{Presumed, Subject},
};

/// The machines of one lane.
pub struct Decider {
    lane: Lane,
    planner: Planner,
    ids: AttemptIds,
    /// In boxes: a tree of what is this large would be half empty.
    machines: BTreeMap<Uid, Box<Machine>>,
    attempts: BTreeMap<AttemptId, Uid>,
    /// Of each machine that wakes, when it does, unless that has come.
    timers: BTreeSet<(Millis, Uid)>,
    /// Those that wake before their machines ask for it, as their leases are over.
    leases: BTreeMap<Uid, Millis>,
    gate: Gate,
    /// To be looked at at once.
    anew: BTreeSet<Uid>,
}

impl Decider {
    /// A decider that starts now on `node`.
    pub fn new(lane: Lane, node: Name, now: Millis) -> Self {
        Self {
            lane,
            planner: Planner::new(),
            ids: AttemptIds::new(node, lane, now),
            machines: BTreeMap::new(),
            attempts: BTreeMap::new(),
            timers: BTreeSet::new(),
            leases: BTreeMap::new(),
            gate: Gate::default(),
            anew: BTreeSet::new(),
        }
    }

    /// The lane that it decides.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// How many objects it decides for.
    pub fn objects(&self) -> usize {
        self.machines.len()
    }

    /// Whether it decides for an object.
    pub fn decides(&self, uid: Uid) -> bool {
        self.machines.contains_key(&uid)
    }

    /// The attempts in flight, or waiting for their intents.
    pub fn attempts(&self) -> impl Iterator<Item = &AttemptId> {
        self.attempts.keys()
    }

    /// The object of an attempt that is in flight.
    pub fn object_of(&self, attempt: &AttemptId) -> Option<Uid> {
        self.attempts.get(attempt).copied()
    }

    /// What is presumed of an object.
    pub fn presumed(&self, uid: Uid) -> Option<&Presumed> {
        self.machines.get(&uid).map(|machine| machine.presumed())
    }

    /// When the next timer fires.
    pub fn wake_at(&self) -> Millis {
        if !self.anew.is_empty() {
            return Millis::ZERO;
        }
        let timer = self.timers.first().map_or(Millis::NEVER, |(at, _)| *at);
        timer.min(self.gate.wake_at())
    }

    /// The policies that this decider goes by, and what they count.
    pub fn rules(&self) -> &Arc<Rules> {
        self.gate.rules()
    }

    /// Takes the policies as the store has them now, and what is counted under them; `term` is
    /// that in which this decider leads. Cheap where they are those that it has.
    pub fn govern(&mut self, rules: Arc<Rules>, term: Term) {
        if Arc::ptr_eq(&rules, self.gate.rules()) {
            return;
        }
        if self.gate.govern(rules, term) {
            self.anew.extend(self.machines.keys().copied());
        }
    }

    /// What is to be decided about policies themselves: how far their rollouts are, and what is
    /// frozen because too much has failed.
    pub fn steer(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for decision in self.gate.decisions() {
            effects.push(Effect::Propose(Box::new(decision.command)));
            effects.push(Effect::Happened(Happening {
                kind: EventKind::Rollout,
                uid: Some(decision.uid),
                revision: None,
                attempt: None,
                text: decision.text,
            }));
        }
        effects
    }

    /// The objects whose timers have fired, or whose turn has come: look at each.
    pub fn due(&mut self, now: Millis) -> Vec<Uid> {
        let mut due = Vec::new();
        while let Some((at, uid)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, uid));
            due.push(uid);
        }
        due.extend(self.gate.round(now));
        due.extend(std::mem::take(&mut self.anew));
        due
    }

    /// An object may have changed.
    pub fn look(&mut self, subject: Subject<'_>, now: Millis) -> Vec<Effect> {
        self.with(subject, now, |machine, scope| machine.look(subject, scope))
    }

    /// Something happened to an attempt of an object. An attempt that is nobody's any more is not
    /// listened to; an intent that opens for it is closed.
    pub fn attempted(
        &mut self,
        attempt: &AttemptId,
        what: Attempted,
        subject: Subject<'_>,
        now: Millis,
    ) -> Vec<Effect> {
        if self.object_of(attempt) == Some(subject.object.uid) {
            return self.with(subject, now, |machine, scope| {
                machine.attempted(attempt, what, subject, scope);
            });
        }
        match what {
            Attempted::IntentOpened => vec![Effect::CloseIntent(attempt.clone())],
            Attempted::Handed(_)
            | Attempted::Acknowledged
            | Attempted::Progressed(_)
            | Attempted::Moved(_)
            | Attempted::Lost
            | Attempted::Busy
            | Attempted::NoService(_)
            | Attempted::Succeeded
            | Attempted::Failed { .. }
            | Attempted::Abandoned
            | Attempted::IntentRefused(_) => Vec::new(),
        }
    }

    /// An attempt that an earlier leader began on an object has ended, or must have: what a
    /// disruptive step relies on must be seen again. Looked at at once.
    pub fn settle(&mut self, uid: Uid, now: Millis) {
        self.machines.entry(uid).or_insert_with(|| Box::new(Machine::new(uid))).note_end(now);
        self.anew.insert(uid);
    }

    /// An object is no longer this decider's; what is in flight for it is given up.
    pub fn forget(&mut self, uid: Uid) -> Vec<Effect> {
        self.gate.forget(uid);
        self.anew.remove(&uid);
        let Some(machine) = self.machines.remove(&uid) else { return Vec::new() };
        let set_to = self.leases.remove(&uid).unwrap_or(machine.wake_at());
        self.timers.remove(&(set_to, uid));
        let flight = machine.flight().map(|flight| flight.attempt.clone());
        if let Some(attempt) = &flight {
            self.attempts.remove(attempt);
        }
        flight.into_iter().map(Effect::Cancel).collect()
    }

    fn with(
        &mut self,
        subject: Subject<'_>,
        now: Millis,
        act: impl FnOnce(&mut Machine, &mut Scope<'_>),
    ) -> Vec<Effect> {
        let uid = subject.object.uid;
        let mut effects = Vec::new();
        let machine = self.machines.entry(uid).or_insert_with(|| Box::new(Machine::new(uid)));
        let set_to = self.leases.remove(&uid).unwrap_or(machine.wake_at());
        let before = machine.flight().map(|flight| flight.attempt.clone());
        let (planner, ids, gate) = (&mut self.planner, &mut self.ids, &mut self.gate);
        gate.enter(subject.object, subject.dsc);
        let mut scope = Scope { lane: self.lane, now, planner, ids, gate, effects: &mut effects };
        act(machine, &mut scope);
        let flies = machine.flight().is_some_and(|flight| flight.instance.mutation.disruptive);
        let mut standing = machine.standing();
        if standing == Standing::UnderWay && self.gate.counts(uid) && is_failing(subject) {
            standing = Standing::Failed;
        }
        self.gate.leave(subject.object, standing, flies);
        let after = machine.flight().map(|flight| flight.attempt.clone());
        // Once its lease is over its goal is another.
        let wake_at = machine.wake_at().min(subject.lease.over_at());
        if wake_at < machine.wake_at() {
            self.leases.insert(uid, wake_at);
        }
        if before != after {
            before.map(|attempt| self.attempts.remove(&attempt));
            after.map(|attempt| self.attempts.insert(attempt, uid));
        }
        if set_to != wake_at {
            self.timers.remove(&(set_to, uid));
        }
        if wake_at < Millis::NEVER {
            self.timers.insert((wake_at, uid));
        }
        effects
    }
}

/// Whether the node that hosts an object has given up on it: somebody must act.
fn is_failing(subject: Subject<'_>) -> bool {
    Status::of_lane(subject.dsc, Lane::Itself).is_some_and(|said| {
        said.revision >= subject.object.revision
            && matches!(said.phase, PhaseName::Quarantined | PhaseName::Stuck)
    })
}
