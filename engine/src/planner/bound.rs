//! The least that a plan can still cost: what makes the search go straight.
//!
//! A landmark is a path with a set of values that every plan from here must pass. The wanted values
//! are landmarks; and where every way of a path to its landmark runs through a mutation that needs
//! something of another path, that is a landmark too. Each path's distance over its landmarks
//! counts only that path's share of what mutations cost, so that the sum over paths is never too
//! much.

use std::collections::BTreeMap;

use super::search::{Act, Space};

/// A distance that no mutations cover.
const NEVER: u64 = u64::MAX;

/// Tables from which the bound of any state is summed.
pub(super) struct Bound {
    landmarks: Vec<Landmark>,
    goals: Vec<usize>,
    /// Marks of the running estimate: which landmarks were met, the most that each path costs.
    met: Vec<bool>,
    cost: Vec<u64>,
    queue: Vec<usize>,
}

struct Landmark {
    var: usize,
    values: u64,
    /// By value of the path: the cost to pass the landmark and then reach what is wanted.
    cost: Vec<u64>,
    /// By value of the path: what every way from there passes besides.
    needs: Vec<Vec<usize>>,
}

/// A mutation as one path sees it.
struct Transition {
    from: u64,
    to: usize,
    share: u64,
    needs: Vec<usize>,
}

impl Bound {
    pub(super) fn new(space: &Space) -> Self {
        let mut tables = Tables::new(space);
        let goals: Vec<usize> =
            space.goal.iter().map(|(var, value)| tables.landmark(*var, 1 << value)).collect();
        for goal in &goals {
            tables.measure(*goal, None);
        }
        let goal_of = |var: usize| {
            let place = space.goal.iter().position(|(goal, _)| *goal == var)?;
            goals.get(place).copied()
        };
        for place in 0..tables.landmarks.len() {
            if !goals.contains(&place) {
                tables.measure(place, goal_of(tables.landmarks[place].var));
            }
        }
        let met = vec![false; tables.landmarks.len()];
        let cost = vec![0; space.sizes.len()];
        Self { landmarks: tables.landmarks, goals, met, cost, queue: Vec::new() }
    }

    /// The bound of a state, `None` where the goal is out of reach.
    pub(super) fn estimate(&mut self, value: impl Fn(usize) -> usize) -> Option<u64> {
        self.met.fill(false);
        self.cost.fill(0);
        self.queue.clone_from(&self.goals);
        while let Some(place) = self.queue.pop() {
            if std::mem::replace(&mut self.met[place], true) {
                continue;
            }
            let landmark = &self.landmarks[place];
            let value = value(landmark.var);
            if landmark.values >> value & 1 == 1 {
                continue;
            }
            let cost = landmark.cost[value];
            if cost == NEVER {
                return None;
            }
            let held = &mut self.cost[landmark.var];
            *held = cost.max(*held);
            self.queue.extend(&landmark.needs[value]);
        }
        Some(self.cost.iter().fold(0, |sum, cost| sum.saturating_add(*cost)))
    }
}

struct Tables<'a> {
    space: &'a Space,
    landmarks: Vec<Landmark>,
    places: BTreeMap<(usize, u64), usize>,
    transitions: Vec<Vec<Transition>>,
}

impl<'a> Tables<'a> {
    fn new(space: &'a Space) -> Self {
        let mut tables = Self {
            space,
            landmarks: Vec::new(),
            places: BTreeMap::new(),
            transitions: space.sizes.iter().map(|_| Vec::new()).collect(),
        };
        for act in &space.acts {
            tables.transitions_of(act);
        }
        tables
    }

    fn landmark(&mut self, var: usize, values: u64) -> usize {
        *self.places.entry((var, values)).or_insert_with(|| {
            self.landmarks.push(Landmark { var, values, cost: Vec::new(), needs: Vec::new() });
            self.landmarks.len() - 1
        })
    }

    fn transitions_of(&mut self, act: &Act) {
        // What an act needs only of the one path that it changes is no landmark of another path.
        let elsewhere = |var: usize| act.effects.iter().any(|effect| effect.var != var);
        let needs = act.needs.iter().filter(|(var, _)| elsewhere(*var));
        let needs: Vec<(usize, usize)> =
            needs.map(|(var, values)| (*var, self.landmark(*var, *values))).collect();
        let led = act.effects.iter().filter(|effect| !effect.forgets).count();
        let share = act.weight / u64::try_from(led.max(1)).unwrap_or(u64::MAX);
        for effect in &act.effects {
            let from = act.needs.iter().find(|(var, _)| *var == effect.var);
            let others = needs.iter().filter(|(var, _)| *var != effect.var);
            self.transitions[effect.var].push(Transition {
                from: from.map_or(u64::MAX, |(_, values)| *values),
                to: effect.to,
                share: if effect.forgets { 0 } else { share },
                needs: others.map(|(_, landmark)| *landmark).collect(),
            });
        }
    }

    /// Fills the tables of one landmark; `goal` is the landmark of what is wanted of its path.
    fn measure(&mut self, place: usize, goal: Option<usize>) {
        let Landmark { var, values, .. } = self.landmarks[place];
        let size = self.space.sizes[var];
        let mut cost = vec![NEVER; size];
        for (value, cost) in
            cost.iter_mut().enumerate().filter(|(value, _)| values >> value & 1 == 1)
        {
            *cost = goal.map_or(0, |goal| self.onward(goal, value));
        }
        relax(&mut cost, &self.transitions[var]);
        let mut needs: Vec<Vec<usize>> = vec![Vec::new(); size];
        for candidate in self.candidates(var) {
            let reached = reached_without(values, &self.transitions[var], candidate);
            for (value, needs) in needs.iter_mut().enumerate() {
                if cost[value] != NEVER && (values | reached) >> value & 1 == 0 {
                    needs.push(candidate);
                }
            }
        }
        let one = values.trailing_zeros() as usize;
        if let Some(goal) = goal.filter(|_| values.is_power_of_two()) {
            let onward = self.landmarks[goal].needs.get(one).cloned().unwrap_or_default();
            for needs in &mut needs {
                needs.extend(&onward);
            }
        }
        let landmark = &mut self.landmarks[place];
        landmark.cost = cost;
        landmark.needs = needs;
    }

    fn onward(&self, goal: usize, value: usize) -> u64 {
        let goal = &self.landmarks[goal];
        if goal.values >> value & 1 == 1 { 0 } else { goal.cost[value] }
    }

    /// What some mutation of a path needs of others.
    fn candidates(&self, var: usize) -> Vec<usize> {
        let mut all: Vec<usize> =
            self.transitions[var].iter().flat_map(|t| t.needs.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Shortens distances until none can be shortened.
fn relax(cost: &mut [u64], transitions: &[Transition]) {
    let all = u64::MAX.checked_shr(64 - u32::try_from(cost.len()).unwrap_or(64)).unwrap_or(0);
    loop {
        let mut changed = false;
        for transition in transitions {
            let onward = cost[transition.to].saturating_add(transition.share);
            if onward == NEVER {
                continue;
            }
            let mut from = transition.from & all;
            while from != 0 {
                let value = from.trailing_zeros() as usize;
                from &= from - 1;
                if onward < cost[value] {
                    cost[value] = onward;
                    changed = true;
                }
            }
        }
        if !changed {
            return;
        }
    }
}

/// The values from which a landmark's values are reached by mutations that do not need `without`.
fn reached_without(values: u64, transitions: &[Transition], without: usize) -> u64 {
    let mut reached = values;
    loop {
        let before = reached;
        for transition in transitions {
            if reached >> transition.to & 1 == 1 && !transition.needs.contains(&without) {
                reached |= transition.from;
            }
        }
        if reached == before {
            return reached;
        }
    }
}
