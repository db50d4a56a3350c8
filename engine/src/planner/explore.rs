//! What can become of an object: the states that mutations lead to, part by part, for drawing.

use std::collections::BTreeMap;

use super::{
    Question,
    domain::Domain,
    problem::{Act, Problem},
    solve::{Reach, parts},
};
use crate::{mutation::Instance, path::Path, value::Value};

/// Paths that belong together, with the states that they can come to.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) paths: Vec<Path>,
    /// What is wanted of each path.
    pub(crate) wanted: Vec<Option<Value>>,
    /// The values of the paths in each state; the first is the present one.
    pub(crate) states: Vec<Vec<Option<Value>>>,
    pub(crate) moves: Vec<Move>,
    /// Whether some states were left out.
    pub(crate) truncated: bool,
}

/// A mutation that leads from one state of a part to another.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) instance: Instance,
    /// Whether other objects are as it needs them.
    pub(crate) met: bool,
}

/// The parts of an object that something is wanted of. The states along `plan` come first; at most
/// `states_max` states in all.
pub(crate) fn explore(question: &Question<'_>, plan: &[Instance], states_max: usize) -> Vec<Part> {
    let domain = Domain::new(question.kind, question.goal);
    let Ok(problem) = Problem::new(&domain, question) else { return Vec::new() };
    let reach = Reach::new(&problem, |_| true);
    let mut room = states_max;
    let mut explored = Vec::new();
    for vars in parts(&problem, &reach) {
        if vars.iter().all(|var| problem.fields[*var].goal.is_none()) {
            continue;
        }
        let mut walk = Walk::new(&domain, &problem, vars);
        walk.follow(plan);
        walk.spread(room);
        room = room.saturating_sub(walk.states.len());
        explored.push(walk.finish());
    }
    explored
}

struct Walk<'a, 'q> {
    domain: &'a Domain,
    problem: &'a Problem<'q>,
    vars: Vec<usize>,
    acts: Vec<&'a Act>,
    /// States by the places of the values of `vars`.
    states: Vec<Vec<usize>>,
    places: BTreeMap<Vec<usize>, usize>,
    moves: Vec<Move>,
    truncated: bool,
}

impl<'a, 'q> Walk<'a, 'q> {
    fn new(domain: &'a Domain, problem: &'a Problem<'q>, vars: Vec<usize>) -> Self {
        let touches = |act: &&Act| act.effects.iter().any(|effect| vars.contains(&effect.var));
        let acts = problem.acts.iter().filter(|act| act.possible).filter(touches).collect();
        let start: Vec<usize> = vars.iter().map(|var| problem.fields[*var].start).collect();
        Self {
            domain,
            problem,
            acts,
            states: vec![start.clone()],
            places: BTreeMap::from([(start, 0)]),
            moves: Vec::new(),
            truncated: false,
            vars,
        }
    }

    /// Takes in the states along a plan.
    fn follow(&mut self, plan: &[Instance]) {
        let mut now = 0;
        for step in plan {
            let act =
                self.acts.iter().find(|act| &self.domain.ops[act.op].instance == step).copied();
            let next = act.and_then(|act| self.after(act, &self.states[now]));
            if let Some(next) = next {
                now = self.place(next);
            }
        }
    }

    /// Takes in what is reached from the states there are, nearest first.
    fn spread(&mut self, states_max: usize) {
        let mut from = 0;
        while from < self.states.len() {
            for act in self.acts.clone() {
                let Some(next) = self.after(act, &self.states[from]) else { continue };
                if self.states.len() >= states_max && !self.places.contains_key(&next) {
                    self.truncated = true;
                    continue;
                }
                let to = self.place(next);
                let instance = self.domain.ops[act.op].instance.clone();
                self.moves.push(Move { from, to, instance, met: act.met });
            }
            from += 1;
        }
    }

    /// What an act makes of a state; `None` where it cannot start or changes nothing.
    fn after(&self, act: &Act, state: &[usize]) -> Option<Vec<usize>> {
        let place = |var: usize| self.vars.iter().position(|held| *held == var);
        let met = |(var, mask): &(usize, u64)| {
            place(*var).is_some_and(|place| mask >> state[place] & 1 == 1)
        };
        if !act.needs.iter().all(met) {
            return None;
        }
        let mut next = state.to_vec();
        for effect in &act.effects {
            next[place(effect.var)?] = effect.to;
        }
        (next != state).then_some(next)
    }

    fn place(&mut self, state: Vec<usize>) -> usize {
        *self.places.entry(state).or_insert_with_key(|state| {
            self.states.push(state.clone());
            self.states.len() - 1
        })
    }

    fn finish(self) -> Part {
        let value = |var: usize, place: usize| {
            self.problem.fields[var].value(&self.domain.vars[var], place).cloned()
        };
        let values = |state: &Vec<usize>| {
            self.vars.iter().zip(state).map(|(var, place)| value(*var, *place)).collect()
        };
        let wanted =
            |var: &usize| self.problem.fields[*var].goal.and_then(|goal| value(*var, goal));
        Part {
            paths: self.vars.iter().map(|var| self.domain.vars[*var].path.clone()).collect(),
            wanted: self.vars.iter().map(wanted).collect(),
            states: self.states.iter().map(values).collect(),
            moves: self.moves,
            truncated: self.truncated,
        }
    }
}
