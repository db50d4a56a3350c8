//! Solves a problem part by part: paths that no mutation ties together are planned apart.

use std::collections::BTreeMap;

use petgraph::unionfind::UnionFind;

use super::{
    domain::Domain,
    problem::{Act, Effect, Problem},
    search::{Failure, Space, search},
};

/// What answers a problem, free of values: as good for every object that asks the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shape {
    /// Places of acts, in order.
    pub(super) steps: Vec<usize>,
    /// Places of the tests of other objects that do not hold and are waited for.
    pub(super) waits: Vec<usize>,
    /// The parts that have no plan.
    pub(super) failed: Vec<Failed>,
    /// How many states were searched.
    pub(super) states: usize,
}

/// A part without a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) vars: Vec<usize>,
    pub(super) too_large: bool,
}

/// Which values paths can have at all if acts never got in each other's way.
pub(super) struct Reach {
    /// By path, a set of places of values.
    pub(super) values: Vec<u64>,
}

impl Reach {
    pub(super) fn new(problem: &Problem<'_>, takes: impl Fn(&Act) -> bool) -> Self {
        let values = problem.fields.iter().map(|field| 1 << field.start).collect();
        let mut reach = Self { values };
        let acts: Vec<&Act> =
            problem.acts.iter().filter(|act| act.possible && takes(act)).collect();
        loop {
            let mut grown = false;
            for act in acts.iter().filter(|act| reach.admits(act)).collect::<Vec<_>>() {
                for effect in &act.effects {
                    let values = &mut reach.values[effect.var];
                    grown |= *values >> effect.to & 1 == 0;
                    *values |= 1 << effect.to;
                }
            }
            if !grown {
                return reach;
            }
        }
    }

    fn admits(&self, act: &Act) -> bool {
        act.possible && act.needs.iter().all(|(var, mask)| self.values[*var] & mask != 0)
    }
}

/// Finds the steps of every part; those that wait for other objects come last.
pub(super) fn solve(domain: &Domain, problem: &Problem<'_>) -> Shape {
    let all = Reach::new(problem, |_| true);
    let met = Reach::new(problem, |act| act.met);
    let (mut shape, mut waiting) = (Shape::default(), Vec::new());
    for part in Part::all(problem, &all) {
        if part.is_reached() {
            continue;
        }
        let mut solved = part.search(&met, true, &mut shape.states);
        let waits = solved == Err(Failure::Exhausted) && part.may_wait();
        if waits {
            solved = part.search(&all, false, &mut shape.states);
        }
        match solved {
            Ok(steps) if waits => waiting.extend(steps),
            Ok(steps) => shape.steps.extend(steps),
            Err(failure) => {
                let too_large = failure == Failure::TooLarge;
                shape.failed.push(Failed { vars: part.vars, too_large });
            }
        }
    }
    for step in &waiting {
        let related = &domain.ops[problem.acts[*step].op].related;
        let unmet = related.iter().filter(|(test, holds)| problem.related[*test] != *holds);
        for (test, _) in unmet {
            if !shape.waits.contains(test) {
                shape.waits.push(*test);
            }
        }
    }
    shape.steps.extend(waiting);
    shape
}

/// The paths by parts: those that one act touches are of one part.
pub(super) fn parts(problem: &Problem<'_>, reach: &Reach) -> Vec<Vec<usize>> {
    let mut union = UnionFind::<usize>::new(problem.fields.len());
    for act in problem.acts.iter().filter(|act| reach.admits(act)) {
        let needed = act.needs.iter().map(|(var, _)| *var);
        let mut touched = needed.chain(act.effects.iter().map(|effect| effect.var));
        if let Some(first) = touched.next() {
            touched.for_each(|other| {
                union.union(first, other);
            });
        }
    }
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    for (var, root) in union.into_labeling().into_iter().enumerate() {
        let place = *places.entry(root).or_insert_with(|| {
            parts.push(Vec::new());
            parts.len() - 1
        });
        parts[place].push(var);
    }
    parts
}

/// Paths that are planned together.
struct Part<'a, 'q> {
    problem: &'a Problem<'q>,
    vars: Vec<usize>,
    /// Places of the acts that touch them.
    acts: Vec<usize>,
}

impl<'a, 'q> Part<'a, 'q> {
    fn all(problem: &'a Problem<'q>, reach: &Reach) -> Vec<Self> {
        let with = |vars| Self { problem, vars, acts: Vec::new() };
        let mut all: Vec<Self> = parts(problem, reach).into_iter().map(with).collect();
        let mut part_of = vec![0; problem.fields.len()];
        for (place, part) in all.iter().enumerate() {
            for var in &part.vars {
                part_of[*var] = place;
            }
        }
        for (place, act) in problem.acts.iter().enumerate() {
            if let Some(effect) = act.effects.first() {
                all[part_of[effect.var]].acts.push(place);
            }
        }
        all
    }

    fn is_reached(&self) -> bool {
        let fields = self.vars.iter().map(|var| &self.problem.fields[*var]);
        fields.into_iter().all(|field| field.goal.is_none_or(|goal| goal == field.start))
    }

    fn acts(&self) -> impl Iterator<Item = (usize, &'a Act)> {
        self.acts.iter().map(|place| (*place, &self.problem.acts[*place]))
    }

    fn may_wait(&self) -> bool {
        self.acts().any(|(_, act)| act.possible && !act.met)
    }

    fn search(
        &self,
        reach: &Reach,
        only_met: bool,
        states: &mut usize,
    ) -> Result<Vec<usize>, Failure> {
        let goals =
            self.vars.iter().filter_map(|var| Some((*var, self.problem.fields[*var].goal?)));
        if goals.clone().any(|(var, goal)| reach.values[var] >> goal & 1 == 0) {
            return Err(Failure::Exhausted);
        }
        let local = |var: usize| self.vars.binary_search(&var).unwrap_or_default();
        let usable = |act: &Act| reach.admits(act) && (act.met || !only_met);
        let chosen: Vec<(usize, &Act)> = self.acts().filter(|(_, act)| usable(act)).collect();
        let space = Space {
            sizes: self.vars.iter().map(|var| self.problem.fields[*var].size()).collect(),
            start: self.vars.iter().map(|var| self.problem.fields[*var].start).collect(),
            goal: goals.map(|(var, goal)| (local(var), goal)).collect(),
            acts: chosen.iter().map(|(_, act)| act.within(local)).collect(),
        };
        let found = search(&space);
        *states += found.states;
        Ok(found.steps?.into_iter().map(|step| chosen[step].0).collect())
    }
}

impl Act {
    /// The same act with paths counted within a part.
    fn within(&self, local: impl Fn(usize) -> usize) -> Self {
        let effects = self.effects.iter();
        Self {
            op: self.op,
            needs: self.needs.iter().map(|(var, mask)| (local(*var), *mask)).collect(),
            effects: effects.map(|e| Effect { var: local(e.var), ..*e }).collect(),
            possible: self.possible,
            met: self.met,
            weight: self.weight,
        }
    }
}
