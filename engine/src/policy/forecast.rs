//! Forecasts: when each of many objects would be let through by the policies, and how long all of
//! them would take, if everything went as it is expected to.
//!
//! The same rules that hold real steps are asked, with a clock that jumps from one moment at which
//! something happens to the next. Objects that begin at one moment are a wave. A pause is passed
//! at once and counted, for nobody knows when a person comes. An estimate: each object is taken to
//! last as long as its plan costs, and to be disrupted once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Policy, Stand,
    gate::rank,
    hold::Hold,
    ledger::Cover,
    rollout::{Facts, advance, baked_at},
    rules::{Candidate, Rules},
    tally::Tally,
};
use crate::{
    id::{Name, Revision, Uid},
    object::Object,
    time::Millis,
};

/// Most questions to policies that a forecast asks; what is left then is not estimated.
pub const QUESTIONS_MAX: u64 = 20_000_000;

/// Something disruptive to be done for one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The object.
    pub uid: Uid,
    /// Its revision.
    pub revision: Revision,
    /// The module of the disruptive step.
    pub module: Name,
    /// How long all of its steps are expected to take, in milliseconds.
    pub cost_ms: u64,
    /// The policies that cover it.
    pub under: Vec<Cover>,
}

impl Job {
    /// The job of an object.
    pub fn new(rules: &Rules, object: &Object, module: Name, cost_ms: u64) -> Self {
        let (uid, revision, under) = (object.uid, object.revision, rules.covering(object));
        Self { uid, revision, module, cost_ms, under }
    }

    /// What policies are asked about it: nothing is known yet of how it would fare.
    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            uid: self.uid,
            revision: self.revision,
            module: &self.module,
            under: &self.under,
            holds: false,
            ails: false,
        }
    }
}

/// What is expected of many jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forecast {
    /// The waves, in order.
    pub waves: Vec<Wave>,
    /// The wave of each object that gets through, from 0.
    pub wave_of: BTreeMap<Uid, usize>,
    /// When the last one is done, in milliseconds from now.
    pub ends_after_ms: u64,
    /// How often a rollout pauses for a person, by policy.
    pub pauses: BTreeMap<String, usize>,
    /// Objects that do not get through as things are, with what holds them.
    pub held: BTreeMap<Uid, Hold>,
    /// Whether there was too much to ask, so that the rest is not estimated.
    pub cut: bool,
}

/// Objects that begin at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// When, in milliseconds from now.
    pub begins_after_ms: u64,
    /// When the last of them is done, in milliseconds from now.
    pub ends_after_ms: u64,
    /// How many.
    pub objects: usize,
}

/// Says what is expected of jobs that begin at `now`.
pub fn forecast(rules: &Arc<Rules>, jobs: Vec<Job>, now: Millis) -> Forecast {
    let mut run = Run::new(Rules::clone(rules), jobs, now);
    while run.step() {}
    run.finish()
}

/// What makes policies think alike of jobs.
type Alike = (Vec<Cover>, Name);
/// Jobs of which policies think alike, in order, each with the newest revision from it to the end:
/// a rollout asks at each moment, and a hundred thousand may wait.
type Queue = VecDeque<(Revision, Job)>;

struct Run {
    rules: Rules,
    began: Millis,
    now: Millis,
    tally: Tally,
    queues: BTreeMap<Alike, Queue>,
    flying: BTreeSet<(Millis, Uid)>,
    jobs: BTreeMap<Uid, Job>,
    /// How many are under way under each policy.
    under_way: BTreeMap<Uid, u32>,
    asked: u64,
    out: Forecast,
}

impl Run {
    fn new(rules: Rules, jobs: Vec<Job>, now: Millis) -> Self {
        let mut tally = Tally::default();
        tally.rates(&rules, now);
        for opened in rules.ledger().opened().filter(|opened| !opened.closed) {
            tally.occupy(&rules, &opened.module, &opened.under);
        }
        let mut run = Self {
            rules,
            began: now,
            now,
            tally,
            queues: BTreeMap::new(),
            flying: BTreeSet::new(),
            jobs: BTreeMap::new(),
            under_way: BTreeMap::new(),
            asked: 0,
            out: Forecast::default(),
        };
        run.queue(jobs);
        run
    }

    fn queue(&mut self, jobs: Vec<Job>) {
        let mut queues: BTreeMap<Alike, Vec<(u64, Job)>> = BTreeMap::new();
        for job in jobs {
            let place = rank(&self.rules, job.uid, &job.under);
            let queue = queues.entry((job.under.clone(), job.module.clone())).or_default();
            queue.push((place, job));
        }
        for (key, mut queue) in queues {
            queue.sort_by_key(|(place, job)| (*place, job.uid));
            let (mut newest, mut ordered) = (Revision::default(), Queue::new());
            for (_, job) in queue.into_iter().rev() {
                newest = newest.max(job.revision);
                ordered.push_front((newest, job));
            }
            self.queues.insert(key, ordered);
        }
    }

    /// One moment: lets through whom it can, then goes on to the next. False at the end.
    fn step(&mut self) -> bool {
        self.roll();
        let next = self.begin();
        self.queues.retain(|_, queue| !queue.is_empty());
        if self.queues.is_empty() || self.asked > QUESTIONS_MAX {
            return false;
        }
        let ends = self.flying.first().map(|(at, _)| *at);
        let Some(next) = [next, ends].into_iter().flatten().filter(|at| *at > self.now).min()
        else {
            return false;
        };
        self.now = next;
        while let Some((at, uid)) = self.flying.first().copied().filter(|(at, _)| *at <= next) {
            self.flying.remove(&(at, uid));
            if let Some(job) = self.jobs.remove(&uid) {
                self.tally.release(&self.rules, &job.module, &job.under);
                for cover in &job.under {
                    let under_way = self.under_way.entry(cover.policy).or_default();
                    *under_way = under_way.saturating_sub(1);
                }
            }
        }
        self.tally.expire(next);
        true
    }

    /// Begins with all that policies let through now; when the next of the others may go.
    fn begin(&mut self) -> Option<Millis> {
        let (began, now) = (self.began, self.now);
        let mut wave = Wave { begins_after_ms: now.since_ms(began), ends_after_ms: 0, objects: 0 };
        let mut next = None::<Millis>;
        for queue in self.queues.values_mut() {
            while let Some((_, job)) = queue.front() {
                let candidate = job.candidate();
                self.asked += 1;
                if let Err(hold) = self.tally.admits(&self.rules, &candidate, now) {
                    next = next.into_iter().chain(hold.until).min();
                    break;
                }
                self.tally.add(&self.rules, &candidate, now);
                let Some((_, job)) = queue.pop_front() else { break };
                let ends = now.after_ms(job.cost_ms);
                wave.objects += 1;
                wave.ends_after_ms = wave.ends_after_ms.max(ends.since_ms(began));
                self.flying.insert((ends, job.uid));
                self.out.wave_of.insert(job.uid, self.out.waves.len());
                for cover in &job.under {
                    *self.under_way.entry(cover.policy).or_default() += 1;
                }
                self.jobs.insert(job.uid, job);
            }
        }
        if wave.objects > 0 {
            self.out.ends_after_ms = self.out.ends_after_ms.max(wave.ends_after_ms);
            self.out.waves.push(wave);
        }
        let baked = self.rules.policies().filter_map(baked_at).min();
        next.into_iter().chain(baked).min()
    }

    /// Takes rollouts as far as they go now.
    fn roll(&mut self) {
        let with_stages = |policy: &&Policy| !policy.limits.canary.is_empty();
        let policies: Vec<Policy> = self.rules.policies().filter(with_stages).cloned().collect();
        for mut policy in policies {
            while let Some(position) = advance(&policy, &self.facts(&policy)) {
                let paused = position.stand == Stand::Paused;
                policy.position = Some(position);
                if paused {
                    *self.out.pauses.entry(policy.name.to_string()).or_default() += 1;
                    // A person comes at once.
                    policy.resume = Some(policy.resume.map_or(1, |resume| resume.wrapping_add(1)));
                }
                self.rules.take_policy(policy.clone());
            }
        }
    }

    fn facts(&self, policy: &Policy) -> Facts {
        let of = |under: &[Cover]| under.iter().any(|cover| cover.policy == policy.uid);
        let waiting = self.queues.iter().filter(|((under, _), _)| of(under));
        let fronts = waiting.filter_map(|(_, queue)| queue.front());
        let base = policy.position.as_ref().map(|position| position.base).unwrap_or_default();
        Facts {
            total: self.rules.total(policy.uid),
            begun: self.tally.begun(&self.rules, policy.uid, base),
            under_way: self.under_way.get(&policy.uid).copied().unwrap_or_default(),
            waiting: u32::from(fronts.clone().next().is_some()),
            newest: fronts.map(|(newest, _)| *newest).max().unwrap_or_default(),
            now: self.now,
        }
    }

    /// What is left does not get through as things are.
    fn finish(mut self) -> Forecast {
        self.out.cut = self.asked > QUESTIONS_MAX;
        for (_, job) in self.queues.into_values().flatten() {
            let candidate = job.candidate();
            if let Err(hold) = self.tally.admits(&self.rules, &candidate, self.now) {
                self.out.held.insert(job.uid, hold);
            }
        }
        self.out
    }
}
