//! The quorum: one log that all members apply, each at its own pace, and one leader at a time that
//! may append to it. Consensus itself is not simulated; what it promises is, and so is the time in
//! which a leader that was deposed does not know it yet.

use super::{Event, Place, World, member::Reign, recorder};
use crate::{
    command::{Command, Outcome, Proposal},
    decider::Decider,
    id::{AttemptId, Revision, Term},
    invariants::What,
    machine::{Attempted, Effect},
    mutation::Lane,
    store::{Applied, Change, Store, digest_of, digest_of_changes},
    time::Millis,
};

/// How often the members look whether they have a leader, in milliseconds: at most and at least.
const ELECTION_MS: (u64, u64) = (300, 1_500);
/// The longest for which a leader that was deposed may go on without knowing it, in milliseconds.
const DEPOSED_MS: u64 = 2_500;

/// What the members have agreed on.
#[derive(Default)]
pub(super) struct Quorum {
    pub(super) term: Term,
    pub(super) leader: Option<Place>,
    log: Vec<(Term, Proposal)>,
    /// Cfg with the whole log applied.
    pub(super) store: Store,
}

/// Something to be appended to the log.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// The leader that asks, and in which term it believes to lead; `None`: a person.
    pub(super) by: Option<(Place, Term)>,
    pub(super) command: Command,
    /// The attempt that waits for the answer.
    pub(super) intent: Option<AttemptId>,
}

impl Quorum {
    /// The term of an entry, counted from 1; of none the first.
    pub(super) fn term_of(&self, entries: usize) -> Term {
        let entry = entries.checked_sub(1).and_then(|index| self.log.get(index));
        entry.map_or_else(Term::default, |(term, _)| *term)
    }
}

impl World {
    /// Appends to the log what its present leader may append.
    pub(super) fn append(&mut self, wish: Wish) {
        let Wish { by, command, intent } = wish;
        let leader = self.quorum.leader.filter(|leader| {
            let same = by.is_none_or(|by| by == (*leader, self.quorum.term));
            same && self.has_majority(*leader)
        });
        let Some(leader) = leader else {
            if let (Some((place, _)), Some(attempt)) = (by, intent) {
                let why = Attempted::IntentRefused("no majority answers".to_owned());
                let after = self.while_ms(200);
                self.later(after, place, Event::Told(attempt, why));
            }
            return;
        };
        let outcome = self.commit(command, by.is_none()).outcome;
        let after = self.chance.between(0, 10);
        let upto = self.quorum.log.len();
        self.later(after, leader, Event::Apply { upto });
        for place in (0..self.members).filter(|place| *place != leader) {
            let after = self.while_ms(80);
            self.later(after, place, Event::Apply { upto });
        }
        if let (Some((place, _)), Some(attempt)) = (by, intent) {
            let after = after + self.while_ms(20);
            self.later(after, place, Event::Told(attempt, answer(outcome)));
        }
    }

    /// Appends an entry: it is on a majority of disks now.
    pub(super) fn commit(&mut self, command: Command, acknowledge: bool) -> Applied {
        let (at, term) = (Millis::new(self.now), self.quorum.term);
        let proposal = Proposal { request: None, author: "ann".to_owned(), at, command };
        self.quorum.log.push((term, proposal.clone()));
        let applied = self.quorum.store.apply(index(self.quorum.log.len()), term, &proposal);
        let revision = self.quorum.store.revision();
        for change in &applied.changes {
            let object = change.object();
            let of = object.key.name.clone();
            let is_there = matches!(change, Change::Put { .. });
            if is_there {
                self.reality.add(object);
                self.hosts.extend(object.host().map(|host| (object.uid, host)));
            }
            let digest = is_there.then(|| digest_of(object));
            self.trace.record(at, of.clone(), What::Written { revision, of, digest });
        }
        let leader = self.quorum.leader.unwrap_or_default();
        if let Command::OpenIntents { intents, .. } = &proposal.command {
            let opened = intents.iter().map(|intent| &intent.attempt);
            for used in crate::invariants::used(&self.quorum.store, &opened.collect()) {
                self.record(leader, used);
            }
        }
        if acknowledge && matches!(applied.outcome, Outcome::Applied { .. }) {
            self.record(leader, What::Acknowledged(revision));
        }
        self.record(leader, What::Read(revision));
        applied
    }

    /// A member applies the log up to an entry. Who has applied one of a later term than its own
    /// knows that it does not lead any more.
    pub(super) fn apply(&mut self, place: Place, upto: usize) {
        while self.holders[place].applied < upto {
            let holder = &mut self.holders[place];
            let Some((term, proposal)) = self.quorum.log.get(holder.applied) else { break };
            holder.applied += 1;
            let applied = holder.store.apply(index(holder.applied), *term, proposal);
            holder.counted ^= digest_of_changes(&applied.changes);
            let revision = holder.store.revision();
            self.sites[place].come_to(revision, self.now);
            self.learn(place, applied.changes);
        }
        let (held, reign) = (self.holders[place].term(&self.quorum), &self.holders[place].reign);
        if let Some(over) = reign.as_ref().map(|reign| reign.term).filter(|term| *term < held) {
            self.deposed(place, over);
        }
        self.govern(place);
        self.look(place);
    }

    /// A member takes what an entry has changed, and tells the children that it concerns.
    fn learn(&mut self, place: Place, changes: Vec<Change>) {
        let site = &mut self.sites[place];
        for change in changes {
            let object = change.object().clone();
            match change {
                Change::Put { .. } => site.hold(object),
                Change::Removed(_) => site.drop_object(object.uid),
            }
        }
        self.offer_marked(place);
    }

    /// A member holds what is on its disk.
    pub(super) fn recover(&mut self, place: Place) {
        let holder = &mut self.holders[place];
        holder.store = self.quorum.store.clone();
        holder.applied = self.quorum.log.len();
        holder.counted = holder.store.digest_of_objects();
        for object in self.quorum.store.objects() {
            self.sites[place].hold(object.clone());
        }
        self.sites[place].come_to(self.quorum.store.revision(), self.now);
    }

    pub(super) fn is_well(&self, place: Place) -> bool {
        self.sites[place].is_up && self.sites[place].paused_until <= self.now
    }

    /// Whether a member and enough others hear each other.
    pub(super) fn has_majority(&self, place: Place) -> bool {
        let hears = |other: &Place| {
            *other == place || (self.is_well(*other) && self.network.joins(place, *other))
        };
        self.is_well(place) && (0..self.members).filter(hears).count() * 2 > self.members
    }

    /// The members elect a leader where they have none that is heard; now and then another.
    pub(super) fn elect(&mut self) {
        let well = self.quorum.leader.filter(|leader| self.has_majority(*leader));
        let moves = self.is_chaos() && self.chance.percent(4);
        if well.is_none() || moves {
            let electable = (0..self.members).filter(|place| self.has_majority(*place));
            let electable: Vec<Place> = electable.collect();
            let elected = self.chance.pick(&electable).copied();
            if elected.is_some() || well.is_none() {
                self.enthrone(elected);
            }
        }
        let next = self.chance.between(ELECTION_MS.0, ELECTION_MS.1);
        self.later(next, 0, Event::Elect);
    }

    fn enthrone(&mut self, elected: Option<Place>) {
        let term = self.quorum.term;
        if let Some(old) = self.quorum.leader.take() {
            let after = self.chance.between(0, DEPOSED_MS);
            self.later(after, old, Event::Deposed(term));
        }
        let Some(leader) = elected else { return };
        let term = Term::new(term.get() + 1);
        (self.quorum.term, self.quorum.leader) = (term, Some(leader));
        self.append(Wish { by: Some((leader, term)), command: Command::Mark, intent: None });
        let after = self.while_ms(50) + 10;
        self.later(after, leader, Event::Reigns { term, from: self.quorum.log.len() });
    }

    /// A member has applied the first entry of its term: from now on it decides.
    pub(super) fn reigns(&mut self, place: Place, term: Term, from: usize) {
        let is_leader = (self.quorum.leader, self.quorum.term) == (Some(place), term);
        if !is_leader {
            return;
        }
        let wall = self.sites[place].wall(self.now);
        // Attempt ids rest on when their decider began.
        if self.holders[place].applied < from || !self.births.insert((place, wall.get())) {
            return self.later(1, place, Event::Reigns { term, from });
        }
        self.holders[place].reign = Some(Reign { term });
        self.desks[place].sent = <_>::default();
        self.desks[place].left = <_>::default();
        self.holders[place].handovers = <_>::default();
        let site = &mut self.sites[place];
        site.begin_reign(term.get(), wall);
        let all: Vec<_> = site.fleet.objects().map(|object| object.uid).collect();
        site.dirty.extend(all);
        self.govern(place);
        self.look(place);
    }

    /// A member has learned that its term is over.
    pub(super) fn deposed(&mut self, place: Place, term: Term) {
        if self.holders[place].reign.as_ref().is_none_or(|reign| reign.term != term) {
            return;
        }
        self.holders[place].reign = None;
        let site = &mut self.sites[place];
        let idle = Decider::new(Lane::Quorum, site.name.clone(), Millis::ZERO);
        let lost = std::mem::replace(&mut site.decider, idle);
        site.reign = 0;
        self.desks[place].sent = <_>::default();
        self.desks[place].left = <_>::default();
        for attempt in lost.attempts() {
            self.carry_out(place, Effect::Cancel(attempt.clone()));
        }
    }

    /// The leader closes intents that outlived their leader.
    pub(super) fn sweep(&mut self, place: Place) {
        let Some(reign) = &self.holders[place].reign else { return };
        let (term, wall) = (reign.term, self.sites[place].wall(self.now));
        let intents = self.holders[place].store.intents().values();
        let over = intents.filter(|intent| intent.is_over(wall));
        let attempts: Vec<AttemptId> = over.map(|intent| intent.attempt.clone()).collect();
        if !attempts.is_empty() && self.chance.percent(5) {
            let command = Command::CloseIntents { attempts };
            self.propose(Wish { by: Some((place, term)), command, intent: None });
        }
        self.ask_for_the_left(place);
    }

    pub(super) fn propose(&mut self, wish: Wish) {
        let after = self.chance.between(5, 60);
        self.later(after, 0, Event::Append(Box::new(wish)));
    }

    /// Writes down what each member holds of the log.
    pub(super) fn record_logs(&mut self) {
        for place in 0..self.members {
            let holder = &self.holders[place];
            // Who counts wrong differs from everybody, each in its own way.
            let miscounted = holder.counted ^ holder.store.digest_of_objects();
            let miscounted = miscounted.wrapping_mul(place as u64 + 1);
            let digest = recorder::digest_of_store(&holder.store) ^ miscounted;
            let entries = holder.applied as u64;
            self.record(place, What::Applied { entries, digest });
        }
    }
}

fn index(entries: usize) -> Revision {
    Revision::new(entries as u64)
}

fn answer(outcome: Outcome) -> Attempted {
    match outcome {
        Outcome::Applied { refused_intents, .. } => match refused_intents.into_iter().next() {
            None => Attempted::IntentOpened,
            Some((_, why)) => Attempted::IntentRefused(why),
        },
        Outcome::Refused(refusal) => Attempted::IntentRefused(refusal.to_string()),
    }
}
