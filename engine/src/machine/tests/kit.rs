//! A bench for one machine: a fleet of one object, its decider, and a clock that the test turns.

use std::{sync::Arc, time::Duration};

use crate::{
    catalog::Catalog,
    decider::Decider,
    dsc::HybridClock,
    event::{EventKind, Happening},
    fleet::Fleet,
    id::{AttemptId, ClusterId, Name, Revision, Uid},
    machine::{Attempted, Dispatch, Effect},
    manifest::{Context, Extension, From, Manifest, MutationSpec, PathSpec, Retry, To, Type},
    mutation::Lane,
    object::Tenure,
    object::{Frozen, Labels, Object, ObjectRef},
    path::Path,
    predicate::On,
    singleton::Lease,
    state::State,
    status::{PhaseName, Status},
    time::Millis,
    value::Value,
    view::{Related, Subject},
};

/// Three attempts, and waits of at most 1, 2, 4 and 8 seconds.
pub(super) const RETRY: Retry =
    Retry { attempts_max: 3, backoff_initial_ms: 1_000, backoff_max_ms: 8_000 };
/// How long every mutation of the bench may take.
pub(super) const TIMEOUT_MS: u64 = 10_000;
/// How long a look at the tank is good for.
pub(super) const TTL_MS: u64 = 30_000;

fn mutation(name: &str) -> MutationSpec {
    MutationSpec::new(name).timeout(Duration::from_millis(TIMEOUT_MS)).retry(RETRY)
}

/// Lamps, which the node itself switches: they may glow on the way, and break.
fn lamps() -> Manifest {
    let state = Type::enum_of(["OFF", "ON", "GLOW", "BROKEN", "LOOSE"]);
    let off_to_on = mutation("SwitchOn").changes("/lamps/*/state", "OFF", "ON");
    let off_to_on = off_to_on.via("/lamps/*/state", "GLOW").cancellable();
    Manifest::new("lamp")
        .extension(Extension::new("lamps").path(PathSpec::new("/lamps/*/state", state)))
        .extension(Extension::new("door").path(PathSpec::new("/door", Type::Text)))
        .extension(Extension::new("label").path(PathSpec::new("/label", Type::Text)))
        .discovers("/lamps/*/state")
        .discovers("/label")
        .mutation(off_to_on.fail_to("/lamps/*/state", "BROKEN"))
        .mutation(mutation("SwitchOff").changes("/lamps/*/state", "ON", "OFF"))
        .mutation(mutation("Mend").changes("/lamps/*/state", "BROKEN", "OFF"))
        .mutation(mutation("Find").changes("/lamps/*/state", From::Unknown, "OFF"))
        .mutation(
            mutation("Write")
                .changes("/label", From::Any, To::Cfg)
                .requires("@/door /label = OPEN"),
        )
}

/// A fan, which the node itself spins; nothing is presumed of it.
fn fan() -> Manifest {
    let state = Type::enum_of(["STOP", "RUN", "SPIN", "FAULTY"]);
    Manifest::new("fan")
        .extension(Extension::new("fan").path(PathSpec::new("/fan", state).absent("STOP")))
        .discovers("/fan")
        .mutation(mutation("Spin").changes("/fan", "STOP", "RUN").via("/fan", "SPIN"))
        .mutation(mutation("Halt").changes("/fan", "RUN", "STOP"))
        .mutation(mutation("Clear").changes("/fan", "FAULTY", "STOP"))
}

/// A machine, which the leader powers and the node itself brings in step.
fn power() -> Manifest {
    let phys = Type::enum_of(["POWER_OFF", "POWER_ON", "PHYS_HANG"]);
    let run = PathSpec::new("/runState", Type::enum_of(["INIT", "SYNC"]));
    let cycle = mutation("Cycle").context(Context::Parent).disruptive();
    Manifest::new("power")
        .extension(
            Extension::new("machine")
                .path(PathSpec::new("/physState", phys))
                .path(run.known_while("/physState = POWER_ON")),
        )
        .discovers("/physState")
        .discovers("/runState")
        .mutation(
            mutation("PowerOn")
                .context(Context::Parent)
                .changes("/physState", "POWER_OFF", "POWER_ON")
                .fail_to("/physState", "PHYS_HANG"),
        )
        .mutation(cycle.changes("/physState", "PHYS_HANG", "POWER_ON"))
        .mutation(mutation("PowerOff").context(Context::Parent).disruptive().changes(
            "/physState",
            "POWER_ON",
            "POWER_OFF",
        ))
        .mutation(
            mutation("Sync").changes("/runState", "INIT", "SYNC").requires("/physState = POWER_ON"),
        )
        .mutation(
            mutation("Probe")
                .changes("/runState", From::Unknown, "INIT")
                .requires("/physState = POWER_ON"),
        )
}

/// A tank, which the leader drains; a look at it is good for a while.
fn tank() -> Manifest {
    let state = PathSpec::new("/tank", Type::enum_of(["FULL", "EMPTY"]));
    let state = state.ttl(Duration::from_millis(TTL_MS));
    let gauge = PathSpec::new("/gauge", Type::enum_of(["LOW", "HIGH"]));
    let fill = mutation("Fill").context(Context::Node).changes("/gauge", "LOW", "HIGH");
    let drain = mutation("Drain").context(Context::Node).disruptive();
    Manifest::new("tank")
        .extension(Extension::new("tank").path(state).path(gauge))
        .discovers("/tank")
        .discovers("/gauge")
        .mutation(fill.changes("/tank", "EMPTY", "FULL"))
        .mutation(drain.changes("/tank", "FULL", "EMPTY"))
}

/// What is seen of the door's label, whatever the object.
struct Door(Option<Value>);

impl Related for Door {
    fn value(&self, _: &Object, _: &On, _: &Path) -> Option<Value> {
        self.0.clone()
    }
}

pub(super) struct Bench {
    pub(super) now: u64,
    pub(super) not_before: u64,
    pub(super) door: Option<Value>,
    pub(super) status: Option<Status>,
    lane: Lane,
    fleet: Fleet,
    decider: Decider,
    uid: Uid,
    clock: HybridClock,
    /// The attempt that was dispatched, or whose intent was opened, last.
    pub(super) attempt: Option<AttemptId>,
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn path(text: &str) -> Path {
    Path::new(text).unwrap()
}

impl Bench {
    /// A bench at 100 seconds of an object that asks for nothing.
    pub(super) fn new(lane: Lane) -> Self {
        let catalog = Arc::new(Catalog::build(&[lamps(), fan(), power(), tank()]).unwrap());
        let uid = Uid::derive(ClusterId::new(1), Revision::new(1), 0);
        let object = Object {
            uid,
            key: ObjectRef { kind: name("node"), namespace: None, name: name("n1") },
            labels: Labels::new(),
            owner: None,
            created: Millis::ZERO,
            revision: Revision::new(1),
            generation: 1,
            deleting: false,
            frozen: None,
            cfg: State::new(),
            on_delete: <_>::default(),
            tenure: Tenure::default(),
        };
        let mut fleet = Fleet::new(name("n1"), catalog);
        fleet.set_object(Arc::new(object));
        Self {
            now: 100_000,
            not_before: 0,
            door: None,
            status: None,
            lane,
            fleet,
            decider: Decider::new(lane, name("n1"), Millis::new(100_000)),
            uid,
            clock: HybridClock::new(name("n1")),
            attempt: None,
        }
    }

    /// A bench whose lamp `a` is seen off and asked to be on, dispatched.
    pub(super) fn switching() -> Self {
        let mut bench = Self::new(Lane::Itself);
        bench.see("/lamps/a/state", "OFF");
        bench.cfg("/lamps/a/state", "ON");
        assert_eq!(dispatched(&bench.look()), ["lamp/SwitchOn(a)"]);
        bench
    }

    /// A bench whose fan stands and is asked to run, dispatched.
    pub(super) fn spinning() -> Self {
        let mut bench = Self::new(Lane::Itself);
        bench.see("/fan", "STOP");
        bench.cfg("/fan", "RUN");
        assert_eq!(dispatched(&bench.look()), ["fan/Spin"]);
        bench
    }

    /// A bench of a machine that hangs, in the leader's lane; its cycling waits for its intent.
    pub(super) fn cycling() -> Self {
        let mut bench = Self::new(Lane::Quorum);
        bench.see("/physState", "PHYS_HANG");
        bench.cfg("/physState", "POWER_ON");
        let effects = bench.look();
        assert_eq!((dispatched(&effects).len(), intents(&effects)), (0, 1));
        bench
    }

    fn change(&mut self, change: impl FnOnce(&mut Object)) {
        let mut object = (**self.fleet.object(self.uid).unwrap()).clone();
        object.revision = Revision::new(object.revision.get() + 1);
        change(&mut object);
        self.fleet.set_object(Arc::new(object));
    }

    /// Asks for a value.
    pub(super) fn cfg(&mut self, at: &str, value: &str) {
        self.change(|object| {
            object.generation += 1;
            object.cfg.set(path(at), value.into()).unwrap();
        });
    }

    /// Asks for a path no more.
    pub(super) fn unset(&mut self, at: &str) {
        self.change(|object| {
            object.generation += 1;
            object.cfg.unset(&path(at));
        });
    }

    pub(super) fn delete(&mut self) {
        self.change(|object| object.deleting = true);
    }

    pub(super) fn retry_asked(&mut self) {
        self.change(|object| object.generation += 1);
    }

    pub(super) fn freeze(&mut self, frozen: bool) {
        self.change(|object| {
            let revision = object.revision;
            let scope = "all".to_owned();
            let by = Frozen { revision, since: Millis::ZERO, by: "ann".to_owned(), scope };
            object.frozen = frozen.then_some(by);
        });
    }

    /// The node sees a value; an empty one is unknown.
    pub(super) fn see(&mut self, at: &str, value: &str) {
        let stamp = self.clock.stamp(Millis::new(self.now));
        let value = (!value.is_empty()).then(|| value.into());
        self.fleet.see(self.uid, &stamp, vec![(path(at), value)], Millis::new(self.now));
    }

    fn with(
        &mut self,
        act: impl FnOnce(&mut Decider, Subject<'_>, Millis) -> Vec<Effect>,
    ) -> Vec<Effect> {
        let door = Door(self.door.clone());
        let dsc = self.fleet.dsc(self.uid);
        let subject = Subject {
            object: self.fleet.object(self.uid).unwrap(),
            dsc: &dsc,
            catalog: self.fleet.catalog(),
            related: &door,
            not_before: Millis::new(self.not_before),
            lease: Lease::Unbound,
        };
        let effects = act(&mut self.decider, subject, Millis::new(self.now));
        for effect in &effects {
            match effect {
                Effect::Dispatch(Dispatch { attempt, .. }) => self.attempt = Some(attempt.clone()),
                Effect::OpenIntent(intent) => self.attempt = Some(intent.attempt.clone()),
                Effect::Presume(uid, values) => {
                    let stamp = self.clock.stamp(Millis::new(self.now));
                    self.fleet.see(*uid, &stamp, values.clone(), Millis::new(self.now));
                }
                Effect::Publish(_, status) => self.status = Some((**status).clone()),
                Effect::Cancel(_)
                | Effect::CloseIntent(_)
                | Effect::Happened(_)
                | Effect::Look(_)
                | Effect::Propose(_) => {}
            }
        }
        assert!(
            self.decider.wake_at() > Millis::new(self.now),
            "a timer in the past would fire for ever: {:?}",
            self.status
        );
        effects
    }

    pub(super) fn look(&mut self) -> Vec<Effect> {
        self.with(Decider::look)
    }

    pub(super) fn look_at(&mut self, now: u64) -> Vec<Effect> {
        self.now = now;
        self.look()
    }

    /// Something becomes of the last attempt.
    pub(super) fn said(&mut self, what: Attempted) -> Vec<Effect> {
        let attempt = self.attempt.clone().unwrap();
        self.said_of(&attempt, what)
    }

    pub(super) fn said_of(&mut self, attempt: &AttemptId, what: Attempted) -> Vec<Effect> {
        self.with(|decider, subject, now| decider.attempted(attempt, what, subject, now))
    }

    pub(super) fn failed(&mut self, error: &str) -> Vec<Effect> {
        self.said(Attempted::Failed { error: error.to_owned(), permanent: false })
    }

    /// Has the present step fail, and sleeps until it goes again, `times` times.
    pub(super) fn fail_and_wait(&mut self, times: usize) {
        for _ in 0..times {
            self.failed("no");
            self.pass();
        }
    }

    /// Turns the clock to the next timer and looks.
    pub(super) fn pass(&mut self) -> Vec<Effect> {
        let at = self.decider.wake_at().get();
        assert!(at < u64::MAX, "nothing to wake for: {:?}", self.status);
        self.look_at(at)
    }

    pub(super) fn wake_at(&self) -> u64 {
        self.decider.wake_at().get()
    }

    pub(super) fn forget(&mut self) -> Vec<Effect> {
        self.decider.forget(self.uid)
    }

    /// What an earlier leader began on the object has ended; it is to be looked at at once.
    pub(super) fn settle(&mut self) {
        let now = Millis::new(self.now);
        self.decider.settle(self.uid, now);
        assert_eq!(self.decider.due(now), [self.uid]);
    }

    /// Another decider takes over, on the same node and with the same observations.
    pub(super) fn fail_over(&mut self) {
        self.decider = Decider::new(self.lane, name("n2"), Millis::new(self.now));
        self.status = None;
    }

    /// Writes the status as Dsc, as a driver does.
    pub(super) fn write_status(&mut self) {
        let stamp = self.clock.stamp(Millis::new(self.now));
        let values = self.status.as_ref().unwrap().to_values(self.lane);
        self.fleet.see(self.uid, &stamp, values, Millis::new(self.now));
    }

    pub(super) fn presumes(&self, at: &str) -> Option<String> {
        let presumed = self.decider.presumed(self.uid)?.get(at)?;
        Some(presumed.value.to_string())
    }

    pub(super) fn decider(&self) -> &Decider {
        &self.decider
    }

    pub(super) fn uid(&self) -> Uid {
        self.uid
    }

    pub(super) fn phase(&self) -> PhaseName {
        self.status.as_ref().unwrap().phase
    }

    pub(super) fn reason(&self) -> String {
        self.status.as_ref().unwrap().reason.clone().unwrap_or_default()
    }

    pub(super) fn waits_for(&self) -> String {
        self.status.as_ref().unwrap().waits_for.clone().unwrap_or_default()
    }

    pub(super) fn attempts(&self) -> u32 {
        self.status.as_ref().unwrap().attempts
    }
}

/// The steps that effects dispatch.
pub(super) fn dispatched(effects: &[Effect]) -> Vec<String> {
    let steps = effects.iter().filter_map(|effect| match effect {
        Effect::Dispatch(dispatch) => Some(dispatch.instance.to_string()),
        Effect::Cancel(_)
        | Effect::OpenIntent(_)
        | Effect::CloseIntent(_)
        | Effect::Publish(..)
        | Effect::Propose(_)
        | Effect::Presume(..)
        | Effect::Happened(_)
        | Effect::Look(_) => None,
    });
    steps.collect()
}

pub(super) fn cancels(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Cancel(_))).count()
}

pub(super) fn intents(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::OpenIntent(_))).count()
}

pub(super) fn closed(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::CloseIntent(_))).count()
}

/// The texts of the events of a kind.
pub(super) fn told(effects: &[Effect], kind: EventKind) -> Vec<String> {
    let texts = effects.iter().filter_map(|effect| match effect {
        Effect::Happened(Happening { kind: of, text, .. }) if *of == kind => Some(text.clone()),
        Effect::Happened(_)
        | Effect::Dispatch(_)
        | Effect::Cancel(_)
        | Effect::OpenIntent(_)
        | Effect::CloseIntent(_)
        | Effect::Propose(_)
        | Effect::Presume(..)
        | Effect::Publish(..)
        | Effect::Look(_) => None,
    });
    texts.collect()
}
