//! A world: the real engines of members and leaves, with simulated modules that fail and lie, on a
//! network that loses, delays and cuts, with clocks that are wrong, nodes that crash and sleep,
//! leaders that are deposed, and a person who changes her mind. The same seed makes the same world,
//! event by event.
//!
//! First everything may go wrong; then nothing does any more, and every object must settle. What
//! happens is recorded, and the [invariants](crate::invariants) are held against the record.
//!
//! Of the quorum what it promises is simulated, and not how it keeps it: one log, a leader at a
//! time that may append, and members that apply it and learn of another leader later or sooner.
//! The clocks of members are at most [`CLOCKS_APART_MS_MAX`] apart, and an attempt that has waited
//! for [`START_WITHIN_MS`](crate::machine::START_WITHIN_MS) is not started; both are assumptions.

mod chance;
pub mod crowd;
mod downlink;
mod ends;
mod host;
mod lost;
mod member;
mod modules;
mod nemesis;
mod network;
mod orders;
mod person;
mod quorum;
mod reality;
mod recorder;
mod relay;
mod site;
mod tenants;
#[cfg(test)]
mod tests;
mod unruly;
mod uplink;
mod work;

#[cfg(test)]
pub(crate) use self::recorder::unmet;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::{
    chance::Chance,
    downlink::Downlink,
    host::Faults,
    lost::Lost,
    member::Member,
    network::Network,
    orders::Desk,
    quorum::{Quorum, Wish},
    reality::Reality,
    site::{ClockError, Site},
    uplink::Uplink,
    work::Order,
};
use crate::{
    catalog::Catalog,
    command::{CLOCKS_APART_MS_MAX, Command, Op, Txn},
    dsc::Stamp,
    id::{AttemptId, ClusterId, Name, Term, Uid},
    invariants::{Trace, What},
    machine::Attempted,
    manifest::NODE_KIND,
    mutation::Lane,
    object::ObjectRef,
    order::hands::Way,
    path::Path,
    planner::Planner,
    state::State,
    status::Status,
    sync::{orders::Orphan, pace::Pace},
    time::Millis,
    value::Value,
};

/// When the world begins, in milliseconds since the Unix epoch.
const BEGINNING_MS: u64 = 1_700_000_000_000;
/// How often each node looks at its timers, in milliseconds.
const TICK_MS: u64 = 50;
/// How long everything must have been quiet for the world to be settled, in milliseconds: a leaf
/// that is heard of seldom may only then find that its link is broken.
const QUIET_MS: u64 = Pace::BULK.dead_after_ms() + 6_000;
/// Events without time moving on, past which the world spins.
const SPIN_EVENTS_MAX: u32 = 10_000;

/// What kind of world it is.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many members, at least 1.
    pub members: usize,
    /// How many relays.
    pub relays: usize,
    /// How many leaves, at least 1.
    pub leaves: usize,
    /// Whether ends of links misbehave too: read nothing, say far too much, or what is no frame,
    /// are of another release, or go by the name of another node.
    pub unruly: bool,
    /// How long things go wrong, in milliseconds.
    pub chaos_ms: u64,
    /// How long the world may then take to settle, in milliseconds.
    pub calm_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        let (chaos_ms, calm_ms) = (40_000, 300_000);
        Self { members: 3, relays: 0, leaves: 3, unruly: false, chaos_ms, calm_ms }
    }
}

impl Options {
    /// The kind of world that a seed stands for: one member or three, none to two relays, one to
    /// four leaves, a chaos of 10 to 60 s, and in half of them ends that misbehave.
    pub fn drawn(seed: u64) -> Self {
        // Not the numbers that the world itself will draw.
        let mut chance = Chance::new(!seed);
        Self {
            members: if chance.percent(70) { 3 } else { 1 },
            leaves: usize::try_from(chance.between(1, 4)).unwrap_or(1),
            chaos_ms: chance.between(10_000, 60_000),
            relays: [0, 0, 1, 2][usize::try_from(chance.between(0, 3)).unwrap_or_default()],
            unruly: chance.percent(50),
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

/// Which node: first the members, then the relays, then the leaves.
type Place = usize;

/// What was seen at paths of one object.
type Values = Vec<(Path, Option<Value>)>;

/// What happens.
#[derive(Debug)]
enum Event {
    Tick,
    Poll,
    Seen { stamp: Stamp, values: Vec<(Uid, Values)> },
    Start(Box<Order>),
    Half(AttemptId),
    Finish(AttemptId),
    Expire(AttemptId),
    Cancel(AttemptId),
    Told(AttemptId, Attempted),
    Append(Box<Wish>),
    Apply { upto: usize },
    Elect,
    Reigns { term: Term, from: usize },
    Deposed(Term),
    Lose(Name, Pace, Lost),
    Stands,
    Orphaned(Name, Vec<Orphan>, Way),
    Heal,
    Frame { link: u64, up: bool, bytes: Vec<u8> },
    Broken { link: u64 },
    Restart,
    Trouble,
    Misbehave,
    Lift,
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
    members: usize,
    relays: usize,
    names: Vec<Name>,
    sites: Vec<Site>,
    uplinks: Vec<Uplink>,
    holders: Vec<Member>,
    /// Of members and relays.
    downlinks: Vec<Downlink>,
    desks: Vec<Desk>,
    quorum: Quorum,
    network: Network,
    reality: Reality,
    /// When lives began, by their own clocks.
    births: BTreeSet<(Place, u64)>,
    /// Who has ever hosted what.
    hosts: BTreeSet<(Uid, Name)>,
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
            faults: Faults { attempts_percent: 35, lost_percent: 3, untrue_percent: 2 },
            agenda: BTreeMap::new(),
            sequence: 0,
            events: 0,
            members: options.members.max(1),
            relays: options.relays,
            names: Vec::new(),
            sites: Vec::new(),
            uplinks: Vec::new(),
            holders: Vec::new(),
            downlinks: Vec::new(),
            desks: Vec::new(),
            quorum: Quorum::default(),
            network: Network::default(),
            reality: Reality::default(),
            births: BTreeSet::new(),
            hosts: BTreeSet::new(),
            trace: Trace::new(),
            warm: Planner::new(),
        };
        world.found(options.leaves.max(1))?;
        if options.unruly {
            world.later(0, 0, Event::Misbehave);
        }
        Ok(world)
    }

    /// Founds the cluster, declares the modules, and makes the nodes.
    fn found(&mut self, leaves: usize) -> Result<(), Error> {
        let wrong = |why: &dyn std::fmt::Display| Error::Beginning(why.to_string());
        let mut names = Vec::new();
        for (kind, count) in [('m', self.members), ('r', self.relays), ('n', leaves)] {
            for number in 1..=count {
                let name = Name::new(format!("{kind}{number}"));
                names.push(name.map_err(|error| wrong(&error))?);
            }
        }
        let kind = Name::new(NODE_KIND).map_err(|error| wrong(&error))?;
        let put = |name: &Name| {
            let object = ObjectRef { kind: kind.clone(), namespace: None, name: name.clone() };
            Op::Put { object, labels: None, owner: None, cfg: State::new() }
        };
        let ops = names.iter().skip(self.members).map(put).collect();
        let manifests = modules::manifests();
        let catalog = Catalog::build(&manifests).map_err(|problems| match problems.first() {
            Some(problem) => wrong(problem),
            None => wrong(&"the manifests do not fit together"),
        })?;
        self.settle(&names, &Arc::new(catalog));
        self.commit(Command::Found { cluster: ClusterId::new(7) }, false);
        self.commit(Command::Declare { manifests }, false);
        self.commit(Command::Txn(Txn { ops, ..Txn::default() }), true);
        Ok(())
    }

    /// Puts everybody in place.
    fn settle(&mut self, names: &[Name], catalog: &Arc<Catalog>) {
        self.names = names.to_vec();
        self.downlinks.resize_with(self.members + self.relays, Downlink::default);
        for (place, name) in names.iter().enumerate() {
            let lane = if place < self.members { Lane::Quorum } else { Lane::Itself };
            self.desks.push(Desk::default());
            self.sites.push(Site::new(name.clone(), lane, catalog.clone()));
            if self.relay_places().contains(&place) {
                self.uplinks.push(Uplink::of_relay(name.clone(), place));
            } else if place >= self.members {
                self.uplinks.push(Uplink::of_leaf(name.clone(), place));
            }
        }
        for (place, name) in names.iter().enumerate().take(self.members) {
            self.holders.push(Member::default());
            for target in (0..self.members).filter(|target| *target != place) {
                self.uplinks.push(Uplink::of_member(name.clone(), place, target));
            }
        }
        for place in 0..names.len() {
            let at = self.chance.between(0, 2_000);
            self.later(at, place, Event::Restart);
        }
        self.later(0, 0, Event::Elect);
        self.later(0, 0, Event::Trouble);
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
        let of_nobody = matches!(
            event,
            Event::Trouble
                | Event::Misbehave
                | Event::Lift
                | Event::Append(_)
                | Event::Elect
                | Event::Heal
                | Event::Restart
        );
        let site = &self.sites[place];
        let stays = of_nobody || matches!(event, Event::Broken { .. });
        if !stays && (site.life != life || !site.is_up) {
            return;
        }
        if !of_nobody && site.paused_until > self.now {
            self.sequence += 1;
            let at = (site.paused_until, self.sequence);
            self.agenda.insert(at, Due { place, life, event });
            return;
        }
        self.happen_at(place, event);
    }

    fn happen_at(&mut self, place: Place, event: Event) {
        match event {
            Event::Tick => self.tick(place),
            Event::Poll => self.poll(place),
            Event::Seen { stamp, values } => {
                for (uid, values) in values {
                    self.sites[place].see(uid, &stamp, values, self.now);
                }
                self.look(place);
            }
            Event::Start(order) => self.start_attempt(place, *order),
            Event::Half(attempt) => self.half_done(place, &attempt),
            Event::Finish(attempt) => self.finish(place, &attempt),
            Event::Expire(attempt) => self.expire(place, &attempt),
            Event::Cancel(attempt) => self.cancel(place, &attempt),
            Event::Told(attempt, what) => self.told(place, &attempt, what),
            Event::Append(wish) => self.append(*wish),
            Event::Apply { upto } => self.apply(place, upto),
            Event::Elect => self.elect(),
            Event::Reigns { term, from } => self.reigns(place, term, from),
            Event::Deposed(term) => self.deposed(place, term),
            Event::Lose(parent, pace, why) => self.lose(place, &parent, pace, why),
            Event::Stands => self.stands(place),
            Event::Orphaned(child, orphans, way) => self.orphaned(place, &child, orphans, way),
            Event::Heal => self.network.heal(),
            Event::Frame { link, up, bytes } => self.arrives(link, up, &bytes),
            Event::Broken { link } => self.broken(place, link),
            Event::Restart => self.restart(place),
            Event::Trouble => self.trouble(),
            Event::Misbehave => self.misbehave(),
            Event::Lift => self.lift_limits(),
        }
    }

    fn tick(&mut self, place: Place) {
        if self.serves(place) {
            self.tick_downlink(place);
        }
        if place < self.members {
            self.tick_member(place);
        }
        self.tick_uplinks(place);
        self.govern(place);
        self.remove_again(place);
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
        let clock_error = self.clock_error(place);
        let catalog = self.quorum.store.catalog().clone();
        self.sites[place].start(self.now, clock_error, catalog);
        self.desks[place] = Desk::default();
        if let Some(downlink) = self.downlinks.get_mut(place) {
            *downlink = Downlink::default();
        }
        self.begin_below(place);
        if place < self.members {
            self.start_member(place);
        }
        for up in self.uplinks_of(place) {
            self.start_uplink(up);
        }
        let at = self.chance.between(0, TICK_MS);
        self.later(at, place, Event::Tick);
        self.later(0, place, Event::Poll);
    }

    /// By how much the clock of a node that starts now is wrong. Two lives never start at the same
    /// moment of their clocks: attempt ids rest on that. A clock that goes back over a restart by
    /// more than the restart takes is tried where there is one parent: of what a node had stamped,
    /// a new one among several may not have heard.
    fn clock_error(&mut self, place: Place) -> ClockError {
        let (ahead, wide, fast) = match place {
            _ if self.downlinks.len() > 1 => (20, 40, 0),
            0 => (CLOCKS_APART_MS_MAX / 2, CLOCKS_APART_MS_MAX, 500),
            _ => (8_000, 28_000, 5_000),
        };
        let fast_ppm = self.chance.between(0, fast).cast_signed() - fast.cast_signed() / 2;
        loop {
            let skew_ms = ahead.cast_signed() - self.chance.between(0, wide).cast_signed();
            if self.births.insert((place, self.now.saturating_add_signed(skew_ms))) {
                return ClockError { skew_ms, born: self.now, fast_ppm };
            }
        }
    }
}
