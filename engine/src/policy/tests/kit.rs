//! A yard of nodes whose images are switched, which is disruptive: a store, a leader that decides
//! for it, and a clock that the test turns. Commits take no time, switching takes a while.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use crate::{
    command::{Command, Op, Outcome, Proposal, Refusal, Target, Targets, Txn},
    decider::Decider,
    dsc::HybridClock,
    explain::change::{ChangePlan, Proposed, Unplanned, plan_change},
    fleet::{Fleet, LINK_PATH},
    id::{AttemptId, Name, Revision, Term, Uid},
    invariants::{self, Trace},
    machine::{Attempted, Effect},
    manifest::{Context, Extension, From, Manifest, MutationSpec, PathSpec, Retry, To, Type},
    mutation::Lane,
    object::{Labels, Object, ObjectRef},
    path::Path,
    policy,
    singleton::Lease,
    state::State,
    status::{PhaseName, Status},
    store::Store,
    time::Millis,
    value::Value,
    view::Subject,
};

/// How long switching takes, in milliseconds.
pub(super) const SWITCH_MS: u64 = 10_000;
/// Steps after which a yard that does not come to rest is given up.
const STEPS_MAX: usize = 100_000;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn key(kind: &str, of: &str) -> ObjectRef {
    ObjectRef { kind: name(kind), namespace: None, name: name(of) }
}

pub(super) fn state(values: &[(&str, Value)]) -> State {
    let mut state = State::new();
    for (at, value) in values {
        state.set(Path::new(*at).unwrap(), value.clone()).unwrap();
    }
    state
}

fn manifest() -> Manifest {
    let link = Type::enum_of(["UP", "DOWN"]);
    let retry = Retry { attempts_max: 1, ..Retry::default() };
    let switch = MutationSpec::new("Switch").context(Context::Parent).disruptive().retry(retry);
    Manifest::new("image")
        .extension(
            Extension::new("image")
                .path(PathSpec::new("/image", Type::Text))
                .path(PathSpec::fact(LINK_PATH, link)),
        )
        .discovers("/image")
        .discovers(LINK_PATH)
        .mutation(switch.changes("/image", From::Any, To::Cfg).timeout(Duration::from_mins(1)))
}

pub(super) struct Yard {
    pub(super) store: Store,
    pub(super) now: u64,
    term: u64,
    fleet: Fleet,
    decider: Decider,
    clock: HybridClock,
    /// What is on its way: attempts, by when they end.
    flying: BTreeMap<(u64, AttemptId), Uid>,
    /// What is known of attempts and was not told yet.
    answers: VecDeque<(AttemptId, Uid, Attempted)>,
    dirty: BTreeSet<Uid>,
    /// Nodes whose switching fails.
    pub(super) broken: BTreeSet<Uid>,
    /// The nodes in the order in which their intents were opened.
    pub(super) order: Vec<String>,
    /// The most intents that were open at one time.
    pub(super) most_open: usize,
    pub(super) told: Vec<String>,
    pub(super) refused: Vec<String>,
    /// How long after it has opened an intent the leader learns what is counted.
    pub(super) late_ms: u64,
    deaf_until: u64,
}

impl Yard {
    /// A yard of so many nodes that are seen with image `a`, in racks of five.
    pub(super) fn new(nodes: usize) -> Self {
        let mut yard = Self {
            store: Store::new(),
            now: 1_000_000,
            term: 1,
            fleet: Fleet::new(name("m1"), Arc::default()),
            decider: Decider::new(Lane::Quorum, name("m1"), Millis::new(1_000_000)),
            clock: HybridClock::new(name("m1")),
            flying: BTreeMap::new(),
            answers: VecDeque::new(),
            dirty: BTreeSet::new(),
            broken: BTreeSet::new(),
            order: Vec::new(),
            most_open: 0,
            told: Vec::new(),
            refused: Vec::new(),
            late_ms: 0,
            deaf_until: 0,
        };
        let manifests = vec![manifest(), policy::manifest()];
        yard.write(Command::Declare { manifests }).unwrap();
        yard.fleet.set_catalog(yard.store.catalog().clone());
        let put = |number: usize| {
            let labels = Labels::from([(name("rack"), format!("r{}", number / 5))]);
            let object = key("node", &format!("n{number}"));
            Op::Put { object, labels: Some(labels), owner: None, cfg: State::new() }
        };
        yard.txn((0..nodes).map(put).collect()).unwrap();
        for number in 0..nodes {
            yard.see(&format!("n{number}"), "/image", Some("a"));
        }
        yard
    }

    /// What asking all nodes for an image would do.
    pub(super) fn plan(&self, image: &str) -> ChangePlan {
        let target = Target::Matching { kind: name("node"), selector: "rack".parse().unwrap() };
        let set = state(&[("/image", image.into())]);
        let ops = vec![Op::Merge { target, set, unset: Vec::new() }];
        let txn = Txn { ops, ..Txn::default() };
        self.plan_of(txn, |_, _| ControlFlow::Continue(())).unwrap()
    }

    /// What a transaction would do.
    pub(super) fn plan_of(
        &self,
        txn: Txn,
        told: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<ChangePlan, Unplanned> {
        let (store, dsc) = (&self.store, self.fleet.all_dsc());
        let at = Millis::new(self.now);
        plan_change(Proposed { store, dsc, declared: Vec::new(), txn, at }, told)
    }

    /// Writes a policy.
    pub(super) fn policy(&mut self, of: &str, cfg: &[(&str, Value)]) -> Result<(), Refusal> {
        let object = key("policy", of);
        self.txn(vec![Op::Put { object, labels: None, owner: None, cfg: state(cfg) }])
    }

    pub(super) fn set(&mut self, object: ObjectRef, at: &str, value: impl Into<Value>) {
        let set = state(&[(at, value.into())]);
        self.txn(vec![Op::Merge { target: Target::One(object), set, unset: Vec::new() }]).unwrap();
    }

    /// Asks all nodes for an image.
    pub(super) fn ask(&mut self, image: &str) {
        let target = Target::Matching { kind: name("node"), selector: "rack".parse().unwrap() };
        let set = state(&[("/image", image.into())]);
        self.txn(vec![Op::Merge { target, set, unset: Vec::new() }]).unwrap();
    }

    pub(super) fn txn(&mut self, ops: Vec<Op>) -> Result<(), Refusal> {
        self.write(Command::Txn(Txn { ops, ..Txn::default() })).map(drop)
    }

    /// Commits a command; what it changes is known at once. Answers the intents it refused.
    pub(super) fn write(&mut self, command: Command) -> Result<Vec<(AttemptId, String)>, Refusal> {
        let index = Revision::new(self.store.revision().get() + 1);
        let author = "ann".to_owned();
        let opens = matches!(command, Command::OpenIntents { .. });
        let proposal = Proposal { request: None, author, at: Millis::new(self.now), command };
        let applied = self.store.apply(index, Term::new(self.term), &proposal);
        for change in &applied.changes {
            self.fleet.set_object(change.object().clone());
            if change.object().key.kind.as_str() == "node" {
                self.dirty.insert(change.object().uid);
            }
        }
        self.most_open = self.most_open.max(self.store.intents().len());
        if opens {
            self.check();
        }
        match applied.outcome {
            Outcome::Applied { refused_intents, .. } => Ok(refused_intents),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    /// What must hold whenever an intent was opened.
    fn check(&self) {
        let mut trace = Trace::default();
        let all = self.store.intents().keys().collect();
        for what in invariants::used(&self.store, &all) {
            trace.record(Millis::new(self.now), name("m1"), what);
        }
        assert_eq!(trace.check(), Ok(()));
    }

    pub(super) fn uid(&self, node: &str) -> Uid {
        self.store.node(&name(node)).unwrap().uid
    }

    fn node(&self, uid: Uid) -> Arc<Object> {
        self.store.object(uid).unwrap().clone()
    }

    pub(super) fn see(&mut self, node: &str, at: &str, value: Option<&str>) {
        let uid = self.uid(node);
        self.saw(uid, vec![(Path::new(at).unwrap(), value.map(Value::from))]);
    }

    fn saw(&mut self, uid: Uid, values: Vec<(Path, Option<Value>)>) {
        let now = Millis::new(self.now);
        let stamp = self.clock.stamp(now);
        self.fleet.see(uid, &stamp, values, now);
        self.dirty.insert(uid);
    }

    /// Lets the leader decide, and whatever it decides happen, until nothing more follows now.
    pub(super) fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            let is_deaf = self.now < self.deaf_until;
            if !is_deaf {
                self.decider.govern(self.store.rules().clone(), Term::new(self.term));
            }
            if let Some((attempt, uid, what)) = self.answers.pop_front() {
                self.decide(uid, Some((&attempt, what)));
                continue;
            }
            let due = self.decider.due(Millis::new(self.now));
            self.dirty.extend(due);
            for uid in std::mem::take(&mut self.dirty) {
                self.decide(uid, None);
            }
            for effect in self.decider.steer() {
                self.carry_out(effect);
            }
            let still = self.decider.wake_at() > Millis::new(self.now);
            let known = is_deaf || Arc::ptr_eq(self.decider.rules(), self.store.rules());
            if self.answers.is_empty() && self.dirty.is_empty() && still && known {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.told);
    }

    fn decide(&mut self, uid: Uid, what: Option<(&AttemptId, Attempted)>) {
        let (object, dsc) = (self.node(uid), self.fleet.dsc(uid));
        let catalog = self.store.catalog().clone();
        let subject = Subject {
            object: &object,
            dsc: &dsc,
            catalog: &catalog,
            related: &crate::view::Unrelated,
            not_before: Millis::ZERO,
            lease: Lease::Unbound,
        };
        let now = Millis::new(self.now);
        let effects = match what {
            None => self.decider.look(subject, now),
            Some((attempt, what)) => self.decider.attempted(attempt, what, subject, now),
        };
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Dispatch(dispatch) => {
                self.flying.insert((self.now + SWITCH_MS, dispatch.attempt.clone()), dispatch.uid);
                let acknowledged = (dispatch.attempt, dispatch.uid, Attempted::Acknowledged);
                self.answers.push_back(acknowledged);
            }
            Effect::OpenIntent(intent) => {
                let (uid, attempt) = (intent.uid, intent.attempt.clone());
                let term = Term::new(self.term);
                let intents = vec![intent];
                let refused = self.write(Command::OpenIntents { term, intents }).unwrap();
                let what = match refused.into_iter().next() {
                    None => {
                        self.deaf_until = self.now + self.late_ms;
                        self.order.push(self.node(uid).key.name.to_string());
                        Attempted::IntentOpened
                    }
                    Some((_, why)) => {
                        self.refused.push(why.clone());
                        Attempted::IntentRefused(why)
                    }
                };
                self.answers.push_back((attempt, uid, what));
            }
            Effect::CloseIntent(attempt) => {
                self.write(Command::CloseIntents { attempts: vec![attempt] }).unwrap();
            }
            Effect::Publish(uid, status) => {
                let now = Millis::new(self.now);
                let stamp = self.clock.stamp(now);
                self.fleet.see(uid, &stamp, status.to_values(Lane::Quorum), now);
            }
            Effect::Presume(uid, values) => self.saw(uid, values),
            Effect::Propose(command) => {
                // One that is refused has been overtaken.
                self.write(*command).ok();
            }
            Effect::Happened(happening) => self.told.push(happening.text),
            Effect::Look(uid) => {
                let path = Path::new("/image").unwrap();
                let seen = self.fleet.dsc(uid).value("/image").cloned();
                self.saw(uid, vec![(path, seen)]);
            }
            Effect::Cancel(_) => {}
        }
    }

    /// Turns the clock to the next thing that happens; false where nothing will.
    fn pass(&mut self, until: u64) -> bool {
        let ends = self.flying.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let hears = Some(self.deaf_until).filter(|at| *at > self.now).unwrap_or(u64::MAX);
        let next = ends.min(self.decider.wake_at().get()).min(hears);
        if next > until {
            self.now = until;
            return false;
        }
        self.now = next.max(self.now);
        if let Some(((at, attempt), uid)) = self.flying.pop_first() {
            if at > self.now {
                self.flying.insert((at, attempt), uid);
            } else {
                self.land(&attempt, uid);
            }
        }
        self.settle();
        true
    }

    fn land(&mut self, attempt: &AttemptId, uid: Uid) {
        let what = if self.broken.contains(&uid) {
            Attempted::Failed { error: "no such image".to_owned(), permanent: false }
        } else {
            let wanted = self.node(uid).cfg.get("/image").cloned();
            self.saw(uid, vec![(Path::new("/image").unwrap(), wanted)]);
            Attempted::Succeeded
        };
        self.answers.push_back((attempt.clone(), uid, what));
    }

    /// Lets so many milliseconds pass, with everything that happens in them.
    pub(super) fn run(&mut self, ms: u64) {
        self.settle();
        let until = self.now + ms;
        while self.pass(until) {}
    }

    /// Another member leads: it has the store and what was seen, and nothing else. What the former
    /// leader had dispatched goes on, and nobody hears of its end.
    pub(super) fn fail_over(&mut self) {
        self.term += 1;
        self.now += 1;
        self.decider = Decider::new(Lane::Quorum, name("m2"), Millis::new(self.now));
        self.dirty.extend(self.store.of_kind("node").map(|object| object.uid));
    }

    /// Closes the intents that outlived their leader, once their time is over.
    pub(super) fn sweep(&mut self) {
        let now = Millis::new(self.now);
        let over = self.store.intents().values().filter(|intent| intent.ends_by < now);
        let attempts: Vec<AttemptId> = over.map(|intent| intent.attempt.clone()).collect();
        self.write(Command::CloseIntents { attempts }).unwrap();
    }

    pub(super) fn status(&self, node: &str) -> Status {
        Status::of_lane(&self.fleet.dsc(self.uid(node)), Lane::Quorum).unwrap()
    }

    /// How many nodes stand in a phase.
    pub(super) fn in_phase(&self, phase: PhaseName) -> usize {
        let said = |object: &Arc<Object>| {
            Status::of_lane(&self.fleet.dsc(object.uid), Lane::Quorum).map(|said| said.phase)
        };
        self.store.of_kind("node").filter(|object| said(object) == Some(phase)).count()
    }

    /// How many nodes are seen with an image.
    pub(super) fn with(&self, image: &str) -> usize {
        let seen = |object: &Arc<Object>| {
            self.fleet.dsc(object.uid).value("/image").and_then(Value::as_str) == Some(image)
        };
        self.store.of_kind("node").filter(|object| seen(object)).count()
    }

    pub(super) fn position(&self, of: &str) -> Option<policy::Position> {
        let uid = self.store.find(&key("policy", of))?.uid;
        self.store.rules().policy(uid)?.position.clone()
    }

    pub(super) fn thaw(&mut self) {
        self.write(Command::Thaw { targets: Targets::All }).unwrap();
    }
}
