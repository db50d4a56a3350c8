//! What leader and leaves have in common: a fleet, a decider, modules, and a clock that may be
//! wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::host::Host;
use crate::{
    catalog::Catalog,
    decider::Decider,
    dsc::{Dsc, HybridClock, Stamp},
    fleet::{Fleet, Touched, latest_ms},
    id::{AttemptId, Name, Revision, Uid},
    journal::Remembered,
    machine::{Attempted, Effect},
    mutation::Lane,
    object::Object,
    path::Path,
    singleton::Lease,
    time::Millis,
    value::Value,
    view::{Presumed, Subject, View},
};

/// One node, while it lives.
pub(super) struct Site {
    pub(super) name: Name,
    pub(super) lane: Lane,
    pub(super) is_up: bool,
    /// Counts its lives; what was meant for an earlier one is not heard.
    pub(super) life: u64,
    /// Until then it sleeps: what comes waits, and nothing that is due happens.
    pub(super) paused_until: u64,
    /// The term in which it decides; 0: it does not. A leaf always decides for itself.
    pub(super) reign: u64,
    clock_error: ClockError,
    pub(super) fleet: Fleet,
    pub(super) decider: Decider,
    clock: HybridClock,
    pub(super) host: Host,
    /// Objects to be looked at.
    pub(super) dirty: BTreeSet<Uid>,
    /// What has changed and was not offered yet, by the link of the child.
    pub(super) watchers: BTreeMap<u64, BTreeSet<Uid>>,
    /// Observations to be told.
    pub(super) untold: BTreeSet<(Uid, Path)>,
    not_before: Millis,
    /// What it has written down of what it knew, where it is a member.
    journal: Remembered,
}

/// By how much a clock is wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClockError {
    /// At the start of its life, in milliseconds.
    pub(super) skew_ms: i64,
    /// When its life began.
    pub(super) born: u64,
    /// By how many millionths it runs fast.
    pub(super) fast_ppm: i64,
}

/// What a decider did, and what it newly presumes of the object.
pub(super) struct Decided {
    pub(super) effects: Vec<Effect>,
    pub(super) presumes: bool,
}

impl Site {
    /// A node that is born now.
    pub(super) fn new(name: Name, lane: Lane, catalog: Arc<Catalog>) -> Self {
        Self {
            fleet: Fleet::new(name.clone(), catalog),
            decider: Decider::new(lane, name.clone(), Millis::ZERO),
            clock: HybridClock::new(name.clone()),
            name,
            lane,
            is_up: false,
            life: 0,
            paused_until: 0,
            reign: 0,
            clock_error: ClockError::default(),
            host: Host::default(),
            dirty: BTreeSet::new(),
            watchers: BTreeMap::new(),
            untold: BTreeSet::new(),
            not_before: Millis::ZERO,
            journal: Remembered::new(),
        }
    }

    /// It starts again and knows nothing but what it remembers.
    pub(super) fn start(&mut self, now: u64, clock_error: ClockError, catalog: Arc<Catalog>) {
        self.clock_error = clock_error;
        self.is_up = true;
        self.paused_until = 0;
        self.reign = 0;
        let wall = self.wall(now);
        self.fleet = Fleet::new(self.name.clone(), catalog);
        self.decider = Decider::new(self.lane, self.name.clone(), wall);
        self.clock = HybridClock::new(self.name.clone());
        for (uid, sightings) in self.journal.clone() {
            self.advance_to(latest_ms(&sightings));
            // Its Cfg, and so its objects, come later.
            self.fleet.recall(uid, sightings);
        }
        self.host = Host::default();
        self.dirty.clear();
        self.watchers.clear();
        self.untold.clear();
        self.not_before = wall;
    }

    /// It decides for everybody from now on, in this term.
    pub(super) fn begin_reign(&mut self, term: u64, wall: Millis) {
        self.decider = Decider::new(Lane::Quorum, self.name.clone(), wall);
        self.not_before = wall;
        self.reign = term;
    }

    /// It writes down what it knows.
    pub(super) fn journalize(&mut self) {
        let all = self.fleet.remembered();
        let of = |dsc: &Dsc| dsc.iter().map(|(path, seen)| (path.clone(), seen.clone())).collect();
        self.journal = all.map(|(uid, dsc)| (uid, of(dsc))).collect();
    }

    /// What its clock shows.
    pub(super) fn wall(&self, now: u64) -> Millis {
        let ClockError { skew_ms, born, fast_ppm } = self.clock_error;
        let lived = i64::try_from(now.saturating_sub(born)).unwrap_or(i64::MAX);
        let gained = lived.saturating_mul(fast_ppm) / 1_000_000;
        Millis::new(now.saturating_add_signed(skew_ms.saturating_add(gained)))
    }

    /// The stamp of a look that begins now.
    pub(super) fn stamp(&mut self, now: u64) -> Stamp {
        let wall = self.wall(now);
        self.clock.stamp(wall)
    }

    pub(super) fn hybrid_ms(&self) -> u64 {
        self.clock.reading()
    }

    pub(super) fn advance_to(&mut self, ms: u64) {
        self.clock.advance_to(ms);
    }

    /// Takes an object as it is now; its clock goes on beyond what earlier hosts have said of it.
    pub(super) fn hold(&mut self, object: Arc<Object>) {
        if object.tenure.floor_ms > 0 {
            self.advance_to(object.tenure.floor_ms);
        }
        let uid = object.uid;
        let said_early = self.fleet.set_object(object);
        self.touched(said_early);
        self.mark([uid]);
    }

    /// Holds all Cfg up to a write.
    pub(super) fn come_to(&mut self, revision: Revision, now: u64) {
        let regained = self.fleet.set_revision(revision, self.wall(now));
        self.dirty.extend(regained);
    }

    /// These objects have changed, or what was seen of them.
    pub(super) fn mark(&mut self, uids: impl IntoIterator<Item = Uid> + Clone) {
        for marked in self.watchers.values_mut() {
            marked.extend(uids.clone());
        }
        self.dirty.extend(uids);
    }

    /// An object is no longer here.
    pub(super) fn drop_object(&mut self, uid: Uid) {
        self.fleet.remove_object(uid);
        self.mark([uid]);
    }

    pub(super) fn touched(&mut self, touched: Touched) {
        self.mark(touched.paths.iter().map(|(uid, _)| *uid));
        self.untold.extend(touched.paths);
    }

    /// The same of what another said.
    pub(super) fn heard(&mut self, touched: &Touched, teller: &Name) {
        self.mark(touched.paths.iter().map(|(uid, _)| *uid));
        self.untold.extend(self.fleet.spoken_of(touched, teller));
    }

    pub(super) fn see(
        &mut self,
        uid: Uid,
        stamp: &Stamp,
        values: Vec<(Path, Option<Value>)>,
        now: u64,
    ) {
        let wall = self.wall(now);
        let touched = self.fleet.see(uid, stamp, values, wall);
        self.touched(touched);
    }

    /// The node decides: about an object, or about what became of an attempt.
    pub(super) fn decide(
        &mut self,
        uid: Uid,
        what: Option<(&AttemptId, Attempted)>,
        now: u64,
    ) -> Decided {
        let wall = self.wall(now);
        let Some(object) = self.fleet.object(uid).cloned() else {
            return Decided { effects: self.decider.forget(uid), presumes: false };
        };
        let (dsc, catalog) = (self.fleet.dsc(uid), self.fleet.catalog().clone());
        let subject = Subject {
            object: &object,
            dsc: &dsc,
            catalog: &catalog,
            related: &self.fleet,
            not_before: self.not_before,
            lease: self.lease_of(&object, now),
        };
        let effects = match what {
            None => self.decider.look(subject, wall),
            Some((attempt, what)) => self.decider.attempted(attempt, what, subject, wall),
        };
        let presumes = effects.iter().any(|effect| is_new_presumption(effect, &dsc));
        Decided { effects, presumes }
    }

    /// How long it may go on with an object, where it decides as the host.
    fn lease_of(&self, object: &Object, now: u64) -> Lease {
        match self.lane {
            Lane::Itself => self.fleet.lease_of(object, self.wall(now)),
            Lane::Quorum => Lease::Unbound,
        }
    }

    /// Whether it has an object and may go on with it, as far as it knows.
    pub(super) fn has(&self, uid: Uid, now: u64) -> bool {
        self.is_up
            && self.fleet.object(uid).is_some_and(|object| {
                let here = self.lane == Lane::Itself && self.decides(object);
                here && !object.is_leaving() && self.lease_of(object, now) != Lease::Over
            })
    }

    pub(super) fn presumed(&self, uid: Uid) -> Presumed {
        self.decider.presumed(uid).cloned().unwrap_or_default()
    }

    /// Shows an object as this node sees it, with everything laid over it.
    pub(super) fn viewed<R>(
        &self,
        uid: Uid,
        now: u64,
        show: impl FnOnce(&Object, &View<'_>) -> R,
    ) -> Option<R> {
        let object = self.fleet.object(uid)?;
        let (dsc, catalog) = (self.fleet.dsc(uid), self.fleet.catalog());
        let presumed = self.presumed(uid);
        let subject = Subject {
            object,
            dsc: &dsc,
            catalog,
            related: &self.fleet,
            not_before: self.not_before,
            lease: self.lease_of(object, now),
        };
        View::new(subject, &presumed).map(|view| show(object, &view))
    }

    /// Whether the node has anything to decide for an object.
    pub(super) fn decides(&self, object: &Object) -> bool {
        if self.lane == Lane::Itself {
            return object.is_hosted_by(&self.name);
        }
        if self.reign == 0 {
            return false;
        }
        let Some(kind) = self.fleet.catalog().kind(&object.key.kind) else { return false };
        let led = |path: &Path| {
            kind.schema.rule(path).is_some_and(|(r, _)| r.changed_from == Some(Lane::Quorum))
        };
        let said = self.fleet.dsc(object.uid).get("/engine/quorum/phase").is_some();
        said || object.deleting || object.cfg.iter().any(|(path, _)| led(path))
    }
}

/// Whether a decider presumes what no decider has presumed before; one that takes over says again
/// what it has read.
fn is_new_presumption(effect: &Effect, dsc: &Dsc) -> bool {
    let Effect::Presume(_, values) = effect else { return false };
    values.iter().any(|(path, value)| value.is_some() && dsc.value(path.as_str()) != value.as_ref())
}
