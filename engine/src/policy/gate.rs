//! The gate: through which the leader lets disruptive steps, in a fair order, before it asks for
//! their intents. It counts what the ledger holds, and beside that only what it has let through
//! and what is not committed yet; a new leader counts the same from the ledger.
//!
//! Those who ask wait until the next round ([`Gate::round`]), so that who is first in the order
//! goes first, and not who asked first. The order is drawn from the seed of the policy and stays
//! the same for a rollout.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    Policy, Position,
    hold::{Hold, On},
    ledger::Cover,
    lost::Lost,
    manifest::ENGINE_MODULE,
    recent::Recent,
    rollout::{Facts, advance, baked_at},
    rules::{Candidate, Rules},
    tally::Tally,
};
use crate::{
    command::{Command, Targets},
    dsc::Dsc,
    id::{Name, Revision, Term, Uid},
    object::Object,
    selector::Selector,
    time::Millis,
};

/// How long a decision that was asked for is waited for before it is asked for again, in
/// milliseconds.
const ASK_AGAIN_MS: u64 = 5_000;

/// Where an object stands, as policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has arrived.
    Settled,
    /// Somebody must act for it.
    Failed,
    /// It waits for another object, or is frozen, and gives back its place.
    Parted,
    /// It is under way, or about to be.
    UnderWay,
}

/// A disruptive step that would go.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The object.
    pub object: &'a Object,
    /// The module of the mutation.
    pub module: &'a Name,
    /// Whether something that is seen of it is not what is asked.
    pub differs: bool,
    /// Now.
    pub now: Millis,
}

/// Whether a step may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Go,
    /// Not now.
    Wait(Hold),
}

/// Lets disruptive steps through, or holds them.
#[derive(Debug)]
pub struct Gate {
    rules: Arc<Rules>,
    term: Term,
    waiters: BTreeMap<(u64, Uid), Waiter>,
    ranks: BTreeMap<Uid, u64>,
    /// Let through; no longer once its attempt has ended, or it was not used.
    granted: BTreeMap<Uid, Grant>,
    /// Objects under policies that are not healthy, whatever else.
    ailing: BTreeMap<Uid, Vec<Cover>>,
    /// The last intent of each object in the ledger.
    recent: BTreeMap<Uid, Recent>,
    lost: Lost,
    /// Objects that wait because too many were lost; looked at when fewer are.
    stranded: BTreeSet<Uid>,
    /// Objects of which an intent came to be known after they had been looked at last.
    unjudged: BTreeSet<Uid>,
    /// Something has changed since the last round.
    dirty: bool,
    wake: Millis,
    /// Whether the object that is being looked at has asked.
    asked: bool,
    /// Whether its link is down.
    down: bool,
    /// Decisions that were asked for, by policy: which revision it had then, and when.
    proposed: BTreeMap<Uid, (Revision, Millis)>,
    decisions: Vec<Decision>,
}

/// What a leader decides about a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The policy's object.
    pub uid: Uid,
    /// What is to be committed.
    pub command: Command,
    /// In words.
    pub text: String,
}

#[derive(Debug)]
struct Waiter {
    module: Name,
    under: Vec<Cover>,
    revision: Revision,
    hold: Option<Hold>,
}

#[derive(Debug)]
struct Grant {
    module: Name,
    under: Vec<Cover>,
    /// Whether its intent was asked for.
    used: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            rules: Arc::default(),
            term: Term::default(),
            waiters: BTreeMap::new(),
            ranks: BTreeMap::new(),
            granted: BTreeMap::new(),
            ailing: BTreeMap::new(),
            recent: BTreeMap::new(),
            lost: Lost::default(),
            stranded: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            dirty: false,
            wake: Millis::NEVER,
            asked: false,
            down: false,
            proposed: BTreeMap::new(),
            decisions: Vec::new(),
        }
    }
}

impl Gate {
    /// The policies and what they count.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Takes the rules as the store has them now. True where they limit other than before, so that
    /// every object must be looked at.
    pub fn govern(&mut self, rules: Arc<Rules>, term: Term) -> bool {
        self.term = term;
        let alike = self.rules.is_alike(&rules);
        let mut recent: BTreeMap<Uid, Recent> = BTreeMap::new();
        for opened in rules.ledger().opened() {
            let held = self.recent.get(&opened.uid);
            if held.is_none() && !recent.contains_key(&opened.uid) {
                // It may have arrived already, and would hold its place for long.
                self.unjudged.insert(opened.uid);
            }
            let standing = held.and_then(|held| held.standing);
            recent.insert(opened.uid, Recent { opened: opened.clone(), standing });
        }
        self.recent = recent;
        self.rules = rules;
        self.dirty = true;
        let ranks: Vec<((u64, Uid), Waiter)> =
            std::mem::take(&mut self.waiters).into_iter().collect();
        self.ranks.clear();
        for ((_, uid), waiter) in ranks {
            let rank = self.rank(uid, &waiter.under);
            self.ranks.insert(uid, rank);
            self.waiters.insert((rank, uid), waiter);
        }
        !alike
    }

    /// The place of an object in the order in which its policy goes.
    fn rank(&self, uid: Uid, under: &[Cover]) -> u64 {
        rank(&self.rules, uid, under)
    }

    /// When the next round is due.
    pub fn wake_at(&self) -> Millis {
        if self.dirty || !self.decisions.is_empty() { Millis::ZERO } else { self.wake }
    }

    /// Whether intents of an object are counted.
    pub fn counts(&self, uid: Uid) -> bool {
        self.recent.contains_key(&uid)
    }

    /// An object is about to be looked at.
    pub fn enter(&mut self, object: &Object, dsc: &Dsc) {
        self.asked = false;
        let was = self.lost.is_down(object.uid);
        self.down = self.lost.note(object, dsc, &self.rules.covering(object));
        self.dirty |= was && !self.down && !self.stranded.is_empty();
    }

    /// It was looked at; `flies`: a disruptive attempt of it is under way, or asked for.
    pub fn leave(&mut self, object: &Object, standing: Standing, flies: bool) {
        let uid = object.uid;
        if !self.asked {
            self.withdraw(uid);
        }
        if flies {
            self.granted.entry(uid).and_modify(|grant| grant.used = true);
        } else if !self.asked {
            self.dirty |= self.granted.remove(&uid).is_some();
        }
        if let Some(recent) = self.recent.get_mut(&uid)
            && recent.standing != Some(standing)
        {
            recent.standing = Some(standing);
            self.dirty = true;
        }
        let ails = self.down || standing == Standing::Failed;
        let under = if ails { self.rules.covering(object) } else { Vec::new() };
        self.dirty |= self.ailing.contains_key(&uid) == under.is_empty();
        if under.is_empty() {
            self.ailing.remove(&uid);
        } else {
            self.ailing.insert(uid, under);
        }
    }

    /// An object is no longer decided for.
    pub fn forget(&mut self, uid: Uid) {
        self.withdraw(uid);
        self.lost.forget(uid);
        self.dirty |= self.granted.remove(&uid).is_some() || self.ailing.remove(&uid).is_some();
        self.recent.remove(&uid);
    }

    fn withdraw(&mut self, uid: Uid) {
        if let Some(rank) = self.ranks.remove(&uid) {
            self.waiters.remove(&(rank, uid));
            self.dirty = true;
        }
    }

    /// May this step go?
    pub fn ask(&mut self, ask: Ask<'_>) -> Verdict {
        let Ask { object, module, differs, now } = ask;
        if let Some(hold) = self.lost.hold(&self.rules, object, differs, now) {
            if hold.on == On::MaxLost {
                self.stranded.insert(object.uid);
            }
            return Verdict::Wait(hold);
        }
        let under = self.rules.covering(object);
        if under.is_empty() {
            return Verdict::Go;
        }
        let turn = || Hold::new("", On::Turn, "who goes next is about to be settled");
        if std::mem::replace(&mut self.asked, true) {
            // One step of an object at a time.
            return Verdict::Wait(turn());
        }
        match self.granted.get(&object.uid) {
            Some(grant) if !grant.used => return Verdict::Go,
            // The step before this one has ended.
            Some(_) => drop(self.granted.remove(&object.uid)),
            None => {}
        }
        let rank = self.rank(object.uid, &under);
        self.ranks.insert(object.uid, rank);
        let held = self.waiters.get(&(rank, object.uid));
        let same = held.filter(|held| {
            held.module == *module && held.under == under && held.revision == object.revision
        });
        let hold = same.and_then(|held| held.hold.clone());
        if same.is_none() {
            self.dirty = true;
            let (module, revision) = (module.clone(), object.revision);
            let waiter = Waiter { module, under, revision, hold: None };
            self.waiters.insert((rank, object.uid), waiter);
        }
        Verdict::Wait(hold.unwrap_or_else(turn))
    }

    /// Lets through whom it can, in order, and returns the objects to be looked at: those let
    /// through, and those of whom something else is to be said.
    pub fn round(&mut self, now: Millis) -> Vec<Uid> {
        if !self.dirty && now < self.wake {
            return Vec::new();
        }
        self.dirty = false;
        self.wake = Millis::NEVER;
        let rules = self.rules.clone();
        let braked = self.decide(now);
        let mut tally = self.tally(now);
        tally.brake(braked);
        let mut news: Vec<Uid> = std::mem::take(&mut self.stranded).into_iter().collect();
        news.extend(std::mem::take(&mut self.unjudged));
        let mut granted = Vec::new();
        for ((rank, uid), waiter) in &mut self.waiters {
            let candidate = Candidate {
                uid: *uid,
                revision: waiter.revision,
                module: &waiter.module,
                under: &waiter.under,
                holds: self.recent.get(uid).is_some_and(|recent| recent.holds(now)),
                ails: self.ailing.contains_key(uid)
                    || self.recent.get(uid).is_some_and(|recent| recent.holds(now)),
            };
            match tally.admits(&rules, &candidate, now) {
                Ok(()) => {
                    tally.add(&rules, &candidate, now);
                    granted.push((*rank, *uid));
                }
                Err(hold) => {
                    self.wake = self.wake.min(hold.until.unwrap_or(Millis::NEVER));
                    if waiter.hold.as_ref() != Some(&hold) {
                        let (was, is) = (waiter.hold.as_ref().map(|h| h.on), hold.on);
                        if was != Some(is) {
                            news.push(*uid);
                        }
                        waiter.hold = Some(hold);
                    }
                }
            }
        }
        for key in granted {
            let Some(waiter) = self.waiters.remove(&key) else { continue };
            self.ranks.remove(&key.1);
            let grant = Grant { module: waiter.module, under: waiter.under, used: false };
            self.granted.insert(key.1, grant);
            news.push(key.1);
        }
        news
    }

    /// What is in use: places held, and objects that are not healthy.
    fn tally(&self, now: Millis) -> Tally {
        let mut tally = Tally::default();
        tally.rates(&self.rules, now);
        let holds = |uid: &Uid| self.recent.get(uid).is_some_and(|recent| recent.holds(now));
        for recent in self.recent.values().filter(|recent| recent.holds(now)) {
            tally.occupy(&self.rules, &recent.opened.module, &recent.opened.under);
        }
        for (uid, grant) in &self.granted {
            let open = self.recent.get(uid).is_some_and(|recent| !recent.opened.closed);
            if open {
                continue;
            }
            let candidate = Candidate {
                uid: *uid,
                revision: Revision::default(),
                module: &grant.module,
                under: &grant.under,
                holds: holds(uid),
                ails: holds(uid) || self.ailing.contains_key(uid),
            };
            tally.add(&self.rules, &candidate, now);
        }
        for (uid, under) in &self.ailing {
            if !holds(uid) {
                tally.ail(under);
            }
        }
        tally
    }

    /// Says what is to be written about rollouts, and what is to be frozen; the policies of which
    /// too much has failed.
    fn decide(&mut self, now: Millis) -> BTreeSet<Uid> {
        let rules = self.rules.clone();
        let mut braked = BTreeSet::new();
        for policy in rules.policies() {
            self.wake = self.wake.min(baked_at(policy).unwrap_or(Millis::NEVER));
            let decided = match self.brake(policy, now) {
                Some(brake) => {
                    braked.insert(policy.uid);
                    brake
                }
                None => self.roll(policy, now).into_iter().collect(),
            };
            let asked = self.proposed.get(&policy.uid);
            let asked = asked.is_some_and(|(revision, at)| {
                *revision == policy.revision && now < at.after_ms(ASK_AGAIN_MS)
            });
            if !decided.is_empty() {
                self.wake = self.wake.min(now.after_ms(ASK_AGAIN_MS));
            }
            if !decided.is_empty() && !asked {
                self.proposed.insert(policy.uid, (policy.revision, now));
                self.decisions.extend(decided);
            }
        }
        braked
    }

    fn roll(&self, policy: &Policy, now: Millis) -> Option<Decision> {
        if policy.limits.canary.is_empty() {
            return None;
        }
        let of = |under: &[Cover]| under.iter().any(|cover| cover.policy == policy.uid);
        let waiters = self.waiters.values().filter(|waiter| of(&waiter.under));
        let newest = waiters.clone().map(|waiter| waiter.revision).max();
        let base = policy.position.as_ref().map(|position| position.base).unwrap_or_default();
        let ledger = self.rules.ledger();
        let ours = |uid: &Uid| ledger.has_begun(policy.uid, base, *uid);
        let holding = self.recent.iter().filter(|(uid, recent)| ours(uid) && recent.holds(now));
        let pending = self.granted.iter().filter(|(uid, grant)| !ours(uid) && of(&grant.under));
        let facts = Facts {
            total: self.rules.total(policy.uid),
            begun: count(ledger.begun(policy.uid, base)),
            under_way: count(holding.count() + pending.count()),
            waiting: count(waiters.count()),
            newest: newest.unwrap_or_default(),
            now,
        };
        let position = advance(policy, &facts)?;
        let (stage, of) = (position.stage, policy.limits.canary.len());
        let text = if stage > of {
            format!("the rollout of policy {} has passed its last stage", policy.name)
        } else {
            let stand = position.stand.as_str();
            format!("the rollout of policy {}: stage {stage} of {of}, {stand}", policy.name)
        };
        Some(Decision { uid: policy.uid, command: self.write(policy, &position), text })
    }

    /// Freezes what a policy covers where too much of it has failed, and says so.
    fn brake(&self, policy: &Policy, now: Millis) -> Option<Vec<Decision>> {
        let most = policy.limits.max_failed?.at_most(self.rules.total(policy.uid));
        let failed = self.recent.values().filter(|recent| {
            recent.standing == Some(Standing::Failed)
                && recent.opened.under.iter().any(|cover| cover.policy == policy.uid)
        });
        let failed = count(failed.count());
        let known = policy.position.as_ref().map_or(0, |position| position.failed);
        if failed <= most || failed <= known {
            return None;
        }
        let text = format!(
            "policy {}: {failed} have failed, more than {most}; what it covers is frozen",
            policy.name
        );
        let targets = match &policy.limits.selector {
            Some(selector) => Targets::Selector(Selector::clone(selector)),
            None => Targets::All,
        };
        let freeze = Decision { uid: policy.uid, command: Command::Freeze { targets }, text };
        let position = policy.position.clone().unwrap_or_else(|| Position::none(policy, now));
        let noted = Position { failed, ..position };
        let text = format!("policy {}: {failed} failures are noted", policy.name);
        let note = Decision { uid: policy.uid, command: self.write(policy, &noted), text };
        Some(vec![freeze, note])
    }

    fn write(&self, policy: &Policy, position: &Position) -> Command {
        let (set, unset) = position.write();
        let module = ENGINE_MODULE.to_owned();
        let (term, uid, revision) = (self.term, policy.uid, policy.revision);
        Command::Decide { term, module, uid, revision, set, unset }
    }

    /// What is to be committed and told, since it was asked last.
    pub fn decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }
}

/// The place of an object in the order of the first policy that covers it.
pub(super) fn rank(rules: &Rules, uid: Uid, under: &[Cover]) -> u64 {
    let first = under.first().and_then(|cover| rules.policy(cover.policy));
    let seed = first.map_or(0, Policy::seed);
    xxh3_64_with_seed(uid.to_string().as_bytes(), seed)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
