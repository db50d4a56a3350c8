//! One object's whole life on random kinds: attempts that fail, hang, lie, stray and get lost, a
//! reality that drifts, freezes and changes of mind; then silence. Whatever happened, nothing was
//! dispatched that was not justified, and the object ends somewhere, with a reason.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use crate::{
    catalog::Catalog,
    decider::Decider,
    dsc::HybridClock,
    fleet::Fleet,
    id::{AttemptId, ClusterId, Name, Revision, Uid},
    machine::{Attempted, Dispatch, Effect, STUCK_LOOK_MS},
    manifest::{From, To},
    mutation::{Instance, Lane},
    object::Tenure,
    object::{Frozen, Labels, Object, ObjectRef},
    path::Path,
    planner::tests::brute::{Case, PATHS, case},
    predicate::On,
    singleton::Lease,
    state::State,
    status::{PhaseName, Status},
    time::Millis,
    value::Value,
    view::{Related, Subject, View},
    world::unmet,
};

/// Steps of a life after its troubles, past which it is taken to have no end.
const SILENT_STEPS_MAX: usize = 600;

/// What goes wrong, one thing after the other.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The next attempt ends with an error; `permanent`: trying again cannot help.
    Fails { permanent: bool },
    /// It does not end.
    Hangs,
    /// It says that it has succeeded, and has done nothing.
    Lies,
    /// It changes what it should, to something else.
    Strays(i64),
    /// It does what it should.
    Succeeds,
    /// It does not reach its host.
    GetsLost,
    /// Its module's queue is full.
    IsDeclined,
    /// A value changes by itself, and that is seen.
    Drifts(usize, i64),
    /// Something else is asked.
    IsAsked(usize, Option<i64>),
    /// The object is frozen, or thawed.
    Freezes(bool),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    use Trouble::{
        Drifts, Fails, Freezes, GetsLost, Hangs, IsAsked, IsDeclined, Lies, Strays, Succeeds,
    };
    prop_oneof![
        2 => prop::bool::weighted(0.1).prop_map(|permanent| Fails { permanent }),
        1 => Just(Hangs),
        1 => Just(Lies),
        1 => (0..3_i64).prop_map(Strays),
        4 => Just(Succeeds),
        1 => Just(GetsLost),
        1 => Just(IsDeclined),
        2 => (0..4_usize, 0..3_i64).prop_map(|(path, value)| Drifts(path, value)),
        1 => (0..4_usize, prop::option::of(0..3_i64)).prop_map(|(path, to)| IsAsked(path, to)),
        1 => prop::bool::weighted(0.3).prop_map(Freezes),
    ]
}

/// What another object shows.
#[derive(Clone, Copy)]
struct Parent(Option<i64>);

impl Related for Parent {
    fn value(&self, _: &Object, _: &On, _: &Path) -> Option<Value> {
        self.0.map(Value::from)
    }
}

/// One object, its decider, its host and its reality.
struct Life {
    now: u64,
    fleet: Fleet,
    decider: Decider,
    clock: HybridClock,
    uid: Uid,
    parent: Parent,
    reality: BTreeMap<Path, Value>,
    troubles: Vec<Trouble>,
    /// What runs, how it goes, and when it ends.
    runs: Option<(Dispatch, Trouble, u64)>,
    status: Option<Status>,
}

fn path(place: usize) -> Path {
    Path::new(PATHS[place]).unwrap()
}

impl Life {
    fn new(case: &Case, hidden: i64, mut troubles: Vec<Trouble>) -> Self {
        let name = |text: &str| Name::new(text).unwrap();
        let catalog = Arc::new(Catalog::build(std::slice::from_ref(&case.manifest)).unwrap());
        let uid = Uid::derive(ClusterId::new(1), Revision::new(1), 0);
        let mut cfg = State::new();
        for (place, wanted) in case.goal.iter().enumerate() {
            if let Some(wanted) = wanted {
                cfg.set(path(place), (*wanted).into()).unwrap();
            }
        }
        let key = ObjectRef { kind: name("node"), namespace: None, name: name("n1") };
        let object = Object {
            uid,
            key,
            labels: Labels::new(),
            owner: None,
            on_delete: <_>::default(),
            tenure: Tenure::default(),
            created: Millis::ZERO,
            revision: Revision::new(1),
            generation: 1,
            deleting: false,
            frozen: None,
            cfg,
        };
        let mut fleet = Fleet::new(name("n1"), catalog);
        fleet.set_object(Arc::new(object));
        troubles.reverse();
        let is = |place: usize| case.start[place].unwrap_or(hidden).into();
        let mut life = Self {
            now: 100_000,
            fleet,
            decider: Decider::new(Lane::Itself, name("n1"), Millis::new(100_000)),
            clock: HybridClock::new(name("n1")),
            uid,
            parent: Parent(case.parent),
            reality: (0..PATHS.len()).map(|place| (path(place), is(place))).collect(),
            troubles,
            runs: None,
            status: None,
        };
        let known = (0..PATHS.len()).filter(|place| case.start[*place].is_some());
        let known: Vec<Path> = known.map(path).collect();
        life.see(&known);
        life
    }

    /// The node sees what is at some paths.
    fn see(&mut self, paths: &[Path]) {
        let stamp = self.clock.stamp(Millis::new(self.now));
        let values = paths.iter().map(|path| (path.clone(), self.reality.get(path).cloned()));
        self.fleet.see(self.uid, &stamp, values.collect(), Millis::new(self.now));
    }

    fn change(&mut self, change: impl FnOnce(&mut Object)) {
        let mut object = (**self.fleet.object(self.uid).unwrap()).clone();
        object.revision = Revision::new(object.revision.get() + 1);
        change(&mut object);
        self.fleet.set_object(Arc::new(object));
    }

    /// Asks the decider, and carries out what it says.
    fn decide(&mut self, of: Option<(AttemptId, Attempted)>) {
        let dsc = self.fleet.dsc(self.uid);
        let object = self.fleet.object(self.uid).unwrap().clone();
        let (catalog, parent) = (self.fleet.catalog().clone(), self.parent);
        let subject = Subject {
            object: &object,
            dsc: &dsc,
            catalog: &catalog,
            related: &parent,
            not_before: Millis::ZERO,
            lease: Lease::Unbound,
        };
        let now = Millis::new(self.now);
        let effects = match of {
            None => self.decider.look(subject, now),
            Some((attempt, what)) => self.decider.attempted(&attempt, what, subject, now),
        };
        let presumed = self.decider.presumed(self.uid).cloned().unwrap_or_default();
        let lacks = |instance: &Instance| unmet(instance, &View::new(subject, &presumed).unwrap());
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                Effect::Dispatch(dispatch) => {
                    assert_eq!(lacks(&dispatch.instance), None, "{}", dispatch.instance);
                    assert!(object.frozen.is_none(), "{} while frozen", dispatch.instance);
                    answers.extend(self.dispatch(dispatch));
                }
                Effect::Cancel(attempt) => {
                    let ends = |(dispatch, _, _): &mut (Dispatch, Trouble, u64)| {
                        dispatch.attempt == attempt && dispatch.instance.mutation.cancellable
                    };
                    if self.runs.take_if(ends).is_some() {
                        answers.push((attempt, Attempted::Abandoned));
                    }
                }
                Effect::Publish(_, status) => self.status = Some(*status),
                Effect::Presume(_, values) => {
                    let stamp = self.clock.stamp(now);
                    self.fleet.see(self.uid, &stamp, values, now);
                }
                Effect::OpenIntent(intent) => {
                    answers.push((intent.attempt, Attempted::IntentOpened));
                }
                Effect::CloseIntent(_)
                | Effect::Happened(_)
                | Effect::Look(_)
                | Effect::Propose(_) => {}
            }
        }
        for answer in answers {
            self.decide(Some(answer));
        }
    }

    /// The host is told to start an attempt.
    fn dispatch(&mut self, dispatch: Dispatch) -> Option<(AttemptId, Attempted)> {
        let attempt = dispatch.attempt.clone();
        match &self.runs {
            Some((runs, _, _)) if runs.attempt == attempt => return None,
            Some((runs, _, _)) => panic!("{attempt} starts while {} runs", runs.attempt),
            None => {}
        }
        let fate = self.next_fate();
        match fate {
            Trouble::GetsLost => return None,
            Trouble::IsDeclined => return Some((attempt, Attempted::Busy)),
            Trouble::Fails { .. }
            | Trouble::Hangs
            | Trouble::Lies
            | Trouble::Strays(_)
            | Trouble::Succeeds
            | Trouble::Drifts(..)
            | Trouble::IsAsked(..)
            | Trouble::Freezes(_) => {}
        }
        let timeout = u64::try_from(dispatch.timeout.as_millis()).unwrap();
        let takes = if matches!(fate, Trouble::Hangs) { timeout } else { timeout.min(500) };
        self.runs = Some((dispatch, fate, self.now + takes));
        Some((attempt, Attempted::Acknowledged))
    }

    /// How the next attempt goes; what is no fate of an attempt, happens at once.
    fn next_fate(&mut self) -> Trouble {
        let trouble = self.troubles.pop().unwrap_or(Trouble::Succeeds);
        if self.befalls(trouble) { Trouble::Succeeds } else { trouble }
    }

    /// A trouble that is no fate of an attempt happens; `false` where it is one.
    fn befalls(&mut self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::Drifts(place, value) => {
                self.reality.insert(path(place), value.into());
                self.see(&[path(place)]);
            }
            Trouble::IsAsked(place, wanted) => self.change(|object| {
                object.generation += 1;
                match wanted {
                    Some(wanted) => object.cfg.set(path(place), wanted.into()).unwrap(),
                    None => drop(object.cfg.unset(&path(place))),
                }
            }),
            Trouble::Freezes(freezes) => self.freeze(freezes),
            Trouble::Fails { .. }
            | Trouble::Hangs
            | Trouble::Lies
            | Trouble::Strays(_)
            | Trouble::Succeeds
            | Trouble::GetsLost
            | Trouble::IsDeclined => return false,
        }
        true
    }

    fn freeze(&mut self, freezes: bool) {
        self.change(|object| {
            let (revision, scope) = (object.revision, "all".to_owned());
            let frozen = Frozen { revision, since: Millis::ZERO, by: "ann".to_owned(), scope };
            object.frozen = freezes.then_some(frozen);
        });
    }

    /// What runs has ended.
    fn ended(&mut self, dispatch: &Dispatch, fate: Trouble) {
        let object = self.fleet.object(self.uid).unwrap().clone();
        let mut seen = Vec::new();
        for (path, change) in dispatch.instance.changes() {
            let to = match (&change.from, &change.to) {
                (From::Unknown, _) => None,
                (_, To::Cfg) => object.cfg.get(path.as_str()).cloned(),
                (_, To::Value(value)) => Some(value.clone()),
            };
            match (fate, to) {
                (Trouble::Succeeds, Some(to)) => drop(self.reality.insert(path.clone(), to)),
                (Trouble::Strays(to), _) => drop(self.reality.insert(path.clone(), to.into())),
                _ => {}
            }
            seen.push(path);
        }
        self.see(&seen);
        let what = match fate {
            Trouble::Fails { permanent } => Attempted::Failed { error: "no".to_owned(), permanent },
            Trouble::Hangs => Attempted::Failed { error: "too late".to_owned(), permanent: false },
            _ => Attempted::Succeeded,
        };
        let attempt = dispatch.attempt.clone();
        self.decide(Some((attempt, what)));
    }

    /// The next thing happens; `false` where none will.
    fn goes_on(&mut self) -> bool {
        let wake = self.decider.wake_at().get();
        let end = self.runs.as_ref().map_or(u64::MAX, |(_, _, at)| *at);
        let idle = wake.min(end) == u64::MAX;
        if idle && self.troubles.is_empty() {
            return false;
        }
        self.now = if idle { self.now + 1 } else { self.now.max(wake.min(end)) };
        if let Some((dispatch, fate, _)) = self.runs.take_if(|_| end <= wake) {
            self.ended(&dispatch, fate);
            return true;
        }
        if let Some(trouble) = self.troubles.pop() {
            self.befalls(trouble);
        }
        self.decider.due(Millis::new(self.now));
        self.decide(None);
        true
    }

    /// Lives on until nothing changes any more.
    fn settles(&mut self) -> Status {
        self.decide(None);
        let (mut since, mut before) = (self.now, None);
        for _ in 0..SILENT_STEPS_MAX {
            if before != self.status || self.runs.is_some() || !self.troubles.is_empty() {
                (before, since) = (self.status.clone(), self.now);
            }
            if !self.goes_on() || self.now > since + 3 * STUCK_LOOK_MS {
                return self.status.clone().unwrap();
            }
        }
        panic!("it does not come to rest: {:?}", self.status);
    }

    fn is_reached(&self) -> bool {
        let object = self.fleet.object(self.uid).unwrap();
        let dsc = self.fleet.dsc(self.uid);
        let presumed = self.decider.presumed(self.uid).cloned().unwrap_or_default();
        let subject = Subject {
            object,
            dsc: &dsc,
            catalog: self.fleet.catalog(),
            related: &self.parent,
            not_before: Millis::ZERO,
            lease: Lease::Unbound,
        };
        let view = View::new(subject, &presumed).unwrap();
        let goal = view.goal();
        goal.iter().all(|(path, wanted)| self.reality.get(path) == Some(wanted))
    }
}

proptest! {
    #[test]
    fn after_any_troubles_and_then_silence_an_object_ends_with_a_reason(
        case in case(),
        hidden in 0..3_i64,
        troubles in prop::collection::vec(trouble(), 0..16),
    ) {
        let mut life = Life::new(&case, hidden, troubles);
        let status = life.settles();
        match status.phase {
            PhaseName::Converged => prop_assert!(life.is_reached(), "{:?}", life.reality),
            PhaseName::Waiting | PhaseName::Stuck | PhaseName::Quarantined | PhaseName::Frozen => {
                prop_assert!(status.reason.is_some() || status.waits_for.is_some());
            }
            PhaseName::InFlight | PhaseName::BackingOff => {
                prop_assert!(false, "{:?} after all this time", status);
            }
        }
    }
}
