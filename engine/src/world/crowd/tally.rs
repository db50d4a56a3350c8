//! Counts what happens in a crowd, in constant time each.

use std::collections::BTreeMap;

use super::report::{MutationCount, Report, SAMPLES_MAX, Sample, Spread};
use crate::{id::Uid, status::PhaseName};

/// The phases in the order in which they are shown; the last is that nobody has said anything yet.
const PHASES: [PhaseName; 7] = [
    PhaseName::Converged,
    PhaseName::InFlight,
    PhaseName::Waiting,
    PhaseName::BackingOff,
    PhaseName::Frozen,
    PhaseName::Stuck,
    PhaseName::Quarantined,
];

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    now_ms: u64,
    phases: BTreeMap<Uid, Option<PhaseName>>,
    counts: BTreeMap<Option<PhaseName>, usize>,
    converged_at: BTreeMap<Uid, u64>,
    mutations: BTreeMap<String, MutationCount>,
    disrupted: usize,
    disrupted_since: u64,
    /// For how long so many disruptive attempts ran at once, in milliseconds.
    disrupted_for: BTreeMap<usize, u64>,
    samples: Vec<Sample>,
    sample_every: u64,
}

impl Tally {
    pub(super) fn objects(&self) -> usize {
        self.phases.len()
    }

    pub(super) fn counts(&self, uid: Uid) -> bool {
        self.phases.contains_key(&uid)
    }

    /// A new object; `false` where it is known.
    pub(super) fn adds(&mut self, uid: Uid) -> bool {
        if self.phases.contains_key(&uid) {
            return false;
        }
        self.phases.insert(uid, None);
        *self.counts.entry(None).or_default() += 1;
        true
    }

    /// Time has come to here.
    pub(super) fn at(&mut self, now_ms: u64) {
        let due = self
            .samples
            .last()
            .is_none_or(|last| now_ms >= last.at_ms.saturating_add(self.sample_every));
        self.now_ms = now_ms;
        if !due {
            return;
        }
        if self.samples.len() >= SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.sample_every *= 2;
        }
        self.sample_every = self.sample_every.max(10);
        self.samples.push(self.sample());
    }

    fn sample(&self) -> Sample {
        let phases = PHASES.map(|phase| self.now_in(phase));
        Sample { at_ms: self.now_ms, phases, disrupted: self.disrupted }
    }

    pub(super) fn now_in(&self, phase: PhaseName) -> usize {
        self.counts.get(&Some(phase)).copied().unwrap_or_default()
    }

    /// Whether no object is on its way any more.
    pub(super) fn rests(&self) -> bool {
        let moving = [
            None,
            Some(PhaseName::InFlight),
            Some(PhaseName::BackingOff),
            Some(PhaseName::Waiting),
        ];
        moving.iter().all(|phase| self.counts.get(phase).is_none_or(|count| *count == 0))
    }

    pub(super) fn entered(&mut self, uid: Uid, phase: Option<PhaseName>) {
        let Some(held) = self.phases.get_mut(&uid).filter(|held| **held != phase) else { return };
        if let Some(count) = self.counts.get_mut(held) {
            *count = count.saturating_sub(1);
        }
        *held = phase;
        *self.counts.entry(phase).or_default() += 1;
        if phase == Some(PhaseName::Converged) {
            self.converged_at.insert(uid, self.now_ms);
        } else {
            self.converged_at.remove(&uid);
        }
    }

    pub(super) fn started(&mut self, mutation: &str, disruptive: bool) {
        self.mutation(mutation).attempts += 1;
        if disruptive {
            self.disrupt(self.disrupted + 1);
        }
    }

    pub(super) fn failed(&mut self, mutation: &str) {
        self.mutation(mutation).failures += 1;
    }

    pub(super) fn ended(&mut self, disruptive: bool) {
        if disruptive {
            self.disrupt(self.disrupted.saturating_sub(1));
        }
    }

    fn mutation(&mut self, mutation: &str) -> &mut MutationCount {
        self.mutations.entry(mutation.to_owned()).or_default()
    }

    fn disrupt(&mut self, count: usize) {
        let lasted = self.now_ms.saturating_sub(self.disrupted_since);
        *self.disrupted_for.entry(self.disrupted).or_default() += lasted;
        (self.disrupted, self.disrupted_since) = (count, self.now_ms);
    }

    pub(super) fn report(&self, seed: u64, events: u64, lasted_ms: u64) -> Report {
        let mut times: Vec<u64> = self.converged_at.values().copied().collect();
        times.sort_unstable();
        let mut disrupted = self.disrupted_for.clone();
        let open = lasted_ms.saturating_sub(self.disrupted_since);
        *disrupted.entry(self.disrupted).or_default() += open;
        let mut samples = self.samples.clone();
        samples.push(Sample { at_ms: lasted_ms, ..self.sample() });
        let phases = PHASES.iter().map(|phase| (phase.as_str().to_owned(), self.now_in(*phase)));
        let total = |of: fn(&MutationCount) -> u64| self.mutations.values().map(of).sum();
        Report {
            seed,
            objects: self.objects(),
            lasted_ms,
            events,
            attempts: total(|count| count.attempts),
            failures: total(|count| count.failures),
            mutations: self.mutations.clone(),
            convergence_ms: Spread::of(&times),
            disrupted_max: self.disrupted_for.keys().max().copied().unwrap_or_default(),
            disrupted_p99: share_of_time(&disrupted, 99),
            phases: phases.filter(|(_, count)| *count > 0).collect(),
            timeline: samples,
        }
    }
}

/// The level that was not exceeded for so many hundredths of the time.
fn share_of_time(levels: &BTreeMap<usize, u64>, percent: u64) -> usize {
    let total: u64 = levels.values().sum();
    let mut passed = 0_u64;
    let reached = levels.iter().find(|(_, lasted)| {
        passed += **lasted;
        passed.saturating_mul(100) >= total.saturating_mul(percent)
    });
    reached.map_or(0, |(level, _)| *level)
}
