//! A world: the real engine of a leader and its leaves, with simulated modules, on a network that
//! loses, delays and reorders, with clocks that are wrong, nodes that crash, and a person who
//! changes her mind. The same seed makes the same world, event by event.
//!
//! First everything may go wrong; then nothing does any more, and every object must settle. What
//! happens is recorded, and the [invariants](crate::invariants) are held against the record.
//!
//! There is one store, on a disk that survives its leader: the quorum behind it is not simulated.

mod chance;
mod host;
mod leader;
mod leaf;
mod modules;
mod nemesis;
mod reality;
mod recorder;
mod site;
#[cfg(test)]
mod tests;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::{
    chance::Chance, host::Faults, leader::Leader, leaf::Uplink, reality::Reality, site::Site,
};
use crate::{
    catalog::Catalog,
    command::{Command, Op, Proposal, Txn},
    dsc::Stamp,
    id::{AttemptId, ClusterId, Name, Revision, Term, Uid},
    invariants::{Trace, What},
    machine::{Attempted, Dispatch},
    manifest::NODE_KIND,
    mutation::Lane,
    object::ObjectRef,
    path::Path,
    planner::Planner,
    state::State,
    status::Status,
    store::Store,
    time::Millis,
    value::Value,
};

/// When the world begins, in milliseconds since the Unix epoch.
const BEGINNING_MS: u64 = 1_700_000_000_000;
/// How often each node looks at its timers, in milliseconds.
const TICK_MS: u64 = 50;
/// How long everything must have been quiet for the world to be settled, in milliseconds.
const QUIET_MS: u64 = 15_000;
/// Events without time moving on, past which the world spins.
const SPIN_EVENTS_MAX: u32 = 10_000;

/// What kind of world it is.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many leaves, at least 1.
    pub leaves: usize,
    /// How long things go wrong, in milliseconds.
    pub chaos_ms: u64,
    /// How long the world may then take to settle, in milliseconds.
    pub calm_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { leaves: 3, chaos_ms: 40_000, calm_ms: 300_000 }
    }
}

impl Options {
    /// The kind of world that a seed stands for: one to four leaves, and a chaos of 10 to 60 s.
    pub fn drawn(seed: u64) -> Self {
        // Not the numbers that the world itself will draw.
        let mut chance = Chance::new(!seed);
        Self {
            leaves: usize::try_from(chance.between(1, 4)).unwrap_or(1),
            chaos_ms: chance.between(10_000, 60_000),
            ..Self::default()
        }
    }
}

/// What became of a world.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that happened.
    pub trace: Trace,
    /// How long it went on, in milliseconds of its own time.
    pub lasted_ms: u64,
    /// How many events there were.
    pub events: u64,
    /// Whether it came to rest before its time was over: nothing waits, moves or backs off.
    pub rests: bool,
    /// Where each node ended, by name.
    pub statuses: BTreeMap<Name, Option<Status>>,
}

/// A world that has no end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something happens again and again in one moment.
    #[error("at {at} more than {SPIN_EVENTS_MAX} events happen without time moving on")]
    Spins {
        /// The moment.
        at: Millis,
    },
    /// The world could not be made as it should be.
    #[error("the world cannot begin: {0}")]
    Beginning(String),
}

/// Runs the world of a seed to its end.
pub fn run(seed: u64, options: &Options) -> Result<Outcome, Error> {
    let mut world = World::new(seed, options)?;
    world.run()?;
    let statuses = world.statuses().map(|(name, _, status)| (name, status)).collect();
    Ok(Outcome {
        lasted_ms: world.now - BEGINNING_MS,
        events: world.events,
        rests: world.now < world.ends_at,
        statuses,
        trace: world.trace,
    })
}

/// Which node: 0 is the leader's, then come the leaves.
type Place = usize;

/// The leader's place.
const LEADER: Place = 0;

/// What was seen at paths of one object.
type Values = Vec<(Path, Option<Value>)>;

/// What happens.
#[derive(Debug)]
enum Event {
    Tick,
    Poll,
    Seen { stamp: Stamp, values: Vec<(Uid, Values)> },
    Start(Box<Dispatch>),
    Half(AttemptId),
    Finish(AttemptId),
    Expire(AttemptId),
    Cancel(AttemptId),
    Told(AttemptId, Attempted),
    Commit { command: Command, intent: Option<AttemptId>, acknowledge: bool },
    Frame { link: u64, up: bool, bytes: Vec<u8> },
    Broken { link: u64 },
    Restart,
    Trouble,
}

/// An event of one life of one node.
#[derive(Debug)]
struct Due {
    place: Place,
    life: u64,
    event: Event,
}

struct World {
    chance: Chance,
    now: u64,
    chaos_until: u64,
    ends_at: u64,
    quiet_since: u64,
    faults: Faults,
    agenda: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    events: u64,
    sites: Vec<Site>,
    uplinks: Vec<Uplink>,
    leader: Leader,
    store: Store,
    term: Term,
    index: Revision,
    reality: Reality,
    /// When lives began, by their own clocks.
    births: BTreeSet<(Place, u64)>,
    links: u64,
    /// The latest moment at which a frame arrives, by link and direction: streams keep their order.
    arrivals: BTreeMap<(u64, bool), u64>,
    trace: Trace,
    warm: Planner,
}

impl World {
    fn new(seed: u64, options: &Options) -> Result<Self, Error> {
        let mut world = Self {
            chance: Chance::new(seed),
            now: BEGINNING_MS,
            chaos_until: BEGINNING_MS + options.chaos_ms,
            ends_at: BEGINNING_MS + options.chaos_ms + options.calm_ms,
            quiet_since: BEGINNING_MS,
            faults: Faults { attempts_percent: 35, lost_percent: 3 },
            agenda: BTreeMap::new(),
            sequence: 0,
            events: 0,
            sites: Vec::new(),
            uplinks: Vec::new(),
            leader: Leader::default(),
            store: Store::new(),
            term: Term::new(1),
            index: Revision::default(),
            reality: Reality::default(),
            births: BTreeSet::new(),
            links: 0,
            arrivals: BTreeMap::new(),
            trace: Trace::new(),
            warm: Planner::new(),
        };
        world.found(options.leaves.max(1))?;
        Ok(world)
    }

    /// Founds the cluster, declares the modules, and makes the nodes.
    fn found(&mut self, leaves: usize) -> Result<(), Error> {
        let wrong = |why: &dyn std::fmt::Display| Error::Beginning(why.to_string());
        let mut names = Vec::new();
        for number in 0..=leaves {
            let name = if number == LEADER { "m1".to_owned() } else { format!("n{number}") };
            names.push(Name::new(name).map_err(|error| wrong(&error))?);
        }
        let kind = Name::new(NODE_KIND).map_err(|error| wrong(&error))?;
        let put = |name: &Name| {
            let object = ObjectRef { kind: kind.clone(), namespace: None, name: name.clone() };
            Op::Put { object, labels: None, owner: None, cfg: State::new() }
        };
        let ops = names.iter().skip(1).map(put).collect();
        let manifests = modules::manifests();
        self.commit(Command::Found { cluster: ClusterId::new(7) });
        self.commit(Command::Declare { manifests: manifests.clone() });
        self.commit(Command::Txn(Txn { ops, ..Txn::default() }));
        let catalog = Catalog::build(&manifests).map_err(|problems| match problems.first() {
            Some(problem) => wrong(problem),
            None => wrong(&"the manifests do not fit together"),
        })?;
        let catalog = Arc::new(catalog);
        let uids: Vec<Uid> = self.store.objects().map(|object| object.uid).collect();
        for uid in uids {
            self.reality.add(uid);
        }
        for (place, name) in names.into_iter().enumerate() {
            let lane = if place == LEADER { Lane::Quorum } else { Lane::Itself };
            self.uplinks.push(Uplink::new(name.clone()));
            self.sites.push(Site::new(name, lane, catalog.clone()));
            let at = self.chance.between(0, 2_000);
            self.later(at, place, Event::Restart);
        }
        self.later(0, LEADER, Event::Trouble);
        Ok(())
    }

    fn is_chaos(&self) -> bool {
        self.now < self.chaos_until
    }

    /// Something happens later, in the present life of a node.
    fn later(&mut self, after_ms: u64, place: Place, event: Event) {
        let life = self.sites.get(place).map_or(0, |site| site.life);
        self.sequence += 1;
        self.agenda.insert((self.now + after_ms, self.sequence), Due { place, life, event });
    }

    /// A short while, mostly.
    fn while_ms(&mut self, most: u64) -> u64 {
        let rare = self.is_chaos() && self.chance.percent(3);
        self.chance.between(0, if rare { most * 20 } else { most })
    }

    fn record(&mut self, place: Place, what: What) {
        let name = self.sites[place].name.clone();
        self.trace.record(Millis::new(self.now), name, what);
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut spin = 0;
        while let Some(((at, _), due)) = self.agenda.pop_first() {
            spin = if at > self.now { 0 } else { spin + 1 };
            if spin > SPIN_EVENTS_MAX {
                return Err(Error::Spins { at: Millis::new(at) });
            }
            self.now = at;
            self.events += 1;
            self.happen(due);
            if self.now >= self.ends_at || self.is_settled() {
                break;
            }
        }
        self.record_the_end();
        Ok(())
    }

    fn happen(&mut self, due: Due) {
        let Due { place, life, event } = due;
        let stays = matches!(event, Event::Restart | Event::Trouble | Event::Broken { .. });
        if !stays && (self.sites[place].life != life || !self.sites[place].is_up) {
            return;
        }
        match event {
            Event::Tick => self.tick(place),
            Event::Poll => self.poll(place),
            Event::Seen { stamp, values } => {
                for (uid, values) in values {
                    self.sites[place].see(uid, &stamp, values, self.now);
                }
                self.look(place);
            }
            Event::Start(dispatch) => self.start_attempt(place, *dispatch),
            Event::Half(attempt) => self.half_done(place, &attempt),
            Event::Finish(attempt) => self.finish(place, &attempt),
            Event::Expire(attempt) => self.expire(place, &attempt),
            Event::Cancel(attempt) => self.cancel(place, &attempt),
            Event::Told(attempt, what) => self.told(place, &attempt, what),
            Event::Commit { command, intent, acknowledge } => {
                self.committed(command, intent, acknowledge);
            }
            Event::Frame { link, up, bytes } => self.arrives(link, up, &bytes),
            Event::Broken { link } => self.broken(place, link),
            Event::Restart => self.restart(place),
            Event::Trouble => self.trouble(),
        }
    }

    fn tick(&mut self, place: Place) {
        if place == LEADER {
            self.tick_leader();
        } else {
            self.tick_leaf(place);
        }
        if place == LEADER {
            self.govern();
        }
        let now = self.now;
        let site = &mut self.sites[place];
        let wall = site.wall(now);
        let due = site.decider.due(wall);
        site.dirty.extend(due);
        self.look(place);
        self.later(TICK_MS, place, Event::Tick);
    }

    /// A node starts, with a clock that may be wrong in another way than before.
    fn restart(&mut self, place: Place) {
        if self.sites[place].is_up {
            return;
        }
        let now = self.now;
        let skew = self.skew(place);
        let catalog = self.store.catalog().clone();
        self.sites[place].start(now, skew, catalog);
        if place == LEADER {
            self.start_leader();
        } else {
            self.start_leaf(place);
        }
        let at = self.chance.between(0, TICK_MS);
        self.later(at, place, Event::Tick);
        self.later(0, place, Event::Poll);
    }

    /// By how much the clock of a node that starts now is wrong. Two lives never start at the same
    /// moment of their clocks: attempt ids rest on that.
    fn skew(&mut self, place: Place) -> i64 {
        loop {
            let behind = self.chance.between(0, 20_000);
            let skew = 8_000_i64.saturating_sub_unsigned(behind);
            if self.births.insert((place, self.now.saturating_add_signed(skew))) {
                return skew;
            }
        }
    }

    /// Whether nothing has gone on for a while; asked now and then.
    fn is_settled(&mut self) -> bool {
        if !self.events.is_multiple_of(64) {
            return false;
        }
        let moving = |status: &Status| {
            use crate::status::PhaseName as Phase;
            match status.phase {
                Phase::Waiting | Phase::InFlight | Phase::BackingOff => true,
                Phase::Converged | Phase::Stuck | Phase::Quarantined | Phase::Frozen => false,
            }
        };
        let busy = self.is_chaos()
            || self.sites.iter().any(|site| !site.is_up || site.host.all_running().count() > 0)
            || self.statuses().any(|(_, _, status)| status.as_ref().is_none_or(moving));
        if busy {
            self.quiet_since = self.now;
        }
        self.now >= self.quiet_since + QUIET_MS
    }

    /// What the leader says of each node.
    fn statuses(&self) -> impl Iterator<Item = (Name, Uid, Option<Status>)> {
        let fleet = &self.sites[LEADER].fleet;
        self.store.objects().map(|object| {
            let said = Status::of(&fleet.dsc(object.uid));
            (object.key.name.clone(), object.uid, said)
        })
    }

    fn record_the_end(&mut self) {
        let ends: Vec<_> = self.statuses().collect();
        for (name, uid, status) in ends {
            let reached = self.is_reached(uid);
            self.record(LEADER, What::Settled { uid, status, reached });
            let Some(place) = self.sites.iter().position(|site| site.name == name) else {
                continue;
            };
            for known_at in [place, LEADER] {
                let dsc = self.sites[known_at].fleet.dsc(uid);
                let digest = recorder::digest_of_written(&dsc, &name);
                self.record(known_at, What::Replica { uid, writer: name.clone(), digest });
            }
        }
    }

    /// Whether a node really is as its Cfg asks.
    fn is_reached(&self, uid: Uid) -> bool {
        self.store.object(uid).is_some_and(|object| {
            let mut asked = object.cfg.iter();
            asked.all(|(path, value)| self.reality.get(uid, path) == Some(value))
        })
    }

    /// Applies a command: it is on the disk now.
    fn commit(&mut self, command: Command) -> crate::store::Applied {
        self.index = Revision::new(self.index.get() + 1);
        let at = Millis::new(self.now);
        let proposal = Proposal { request: None, author: "ann".to_owned(), at, command };
        let applied = self.store.apply(self.index, self.term, &proposal);
        if matches!(proposal.command, Command::OpenIntents { .. }) {
            for used in crate::invariants::used(&self.store) {
                self.record(LEADER, used);
            }
        }
        for change in &applied.changes {
            let object = change.object();
            let (of, digest) = (object.key.name.clone(), recorder::digest_of(object));
            let written = What::Written { revision: self.store.revision(), of: of.clone(), digest };
            self.trace.record(Millis::new(self.now), of, written);
        }
        applied
    }
}
