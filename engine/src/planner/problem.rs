//! One question on small integers: what the search works on.
//!
//! A value becomes a code: 0 is unknown, then come the constants that the domain names, then the
//! values it does not name, in the order start, goal, Cfg. So objects that differ in values which
//! no mutation names (versions, addresses, digests) ask the same question.

use std::collections::BTreeSet;

use super::{
    Question,
    domain::{Condition, Domain, Guard, Op, Target, Var},
};
use crate::{predicate::Test, value::Value};

/// Most values that one path may take within one search.
pub(super) const SEARCH_VALUES_MAX: usize = 64;
/// Costs are split over up to eight paths without a remainder: the least common multiple of 1..=8.
const SHARES: u64 = 840;
/// Longest cost that is told apart, in milliseconds: twelve days.
const COST_MS_MAX: u64 = 1 << 30;
/// One millisecond, in steps: of equally costly plans the one with fewer steps is cheaper.
const STEPS_PER_MS: u64 = 1 << 14;

/// What a question says of one path, as codes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes<'q> {
    pub(super) start: u32,
    pub(super) goal: Option<u32>,
    cfg: Option<u32>,
    /// The values without a code of their own in the domain.
    free: [Option<&'q Value>; 3],
}

impl<'q> Codes<'q> {
    pub(super) fn new(var: &Var, question: &Question<'q>) -> Self {
        let mut codes = Self { start: 0, goal: None, cfg: None, free: [None; 3] };
        let wanted = question.goal.get(&var.path);
        codes.start = question.facts.value(&var.path).map_or(0, |value| codes.code(var, value));
        codes.goal = wanted.map(|value| codes.code(var, value));
        if var.targets.contains(&Target::Cfg) {
            let asked = question.cfg.get(var.path.as_str()).or(wanted);
            codes.cfg = asked.map(|value| codes.code(var, value));
        }
        codes
    }

    fn code(&mut self, var: &Var, value: &'q Value) -> u32 {
        if let Ok(place) = var.constants.binary_search(value) {
            return small(place + 1);
        }
        let mut slots = self.free.iter().copied();
        let place = slots.position(|slot| slot.is_none_or(|held| held == value));
        let place = place.unwrap_or_default();
        self.free[place] = Some(value);
        small(var.constants.len() + 1 + place)
    }

    /// The value of a code; `None` is unknown.
    pub(super) fn value<'a>(&self, var: &'a Var, code: u32) -> Option<&'a Value>
    where
        'q: 'a,
    {
        let place = usize::try_from(code).unwrap_or(usize::MAX).checked_sub(1)?;
        match var.constants.get(place) {
            Some(value) => Some(value),
            None => self.free.get(place - var.constants.len()).copied().flatten(),
        }
    }

    /// Adds what the shape of an answer depends on to `key`, and the rest to `free`.
    pub(super) fn project(&self, var: &Var, key: &mut Vec<u32>, free: &mut Vec<Option<&'q Value>>) {
        key.push(self.start);
        key.push(self.goal.unwrap_or(u32::MAX));
        key.push(self.cfg.unwrap_or(u32::MAX));
        for value in self.free.iter().flatten() {
            free.push(Some(value));
            key.extend(var.compared.iter().map(|test| u32::from(test.holds(Some(value)))));
        }
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One question, ready to be searched.
#[derive(Debug)]
pub(super) struct Problem<'q> {
    pub(super) fields: Vec<Field<'q>>,
    pub(super) acts: Vec<Act>,
    /// Which facts of the domain hold, and what was found there.
    pub(super) facts: Vec<bool>,
    pub(super) found: Vec<Option<Value>>,
    /// Which tests of other objects hold.
    pub(super) related: Vec<bool>,
}

/// One path of the product.
#[derive(Debug)]
pub(super) struct Field<'q> {
    pub(super) codes: Codes<'q>,
    /// The codes that can occur, in order; a search counts by their places.
    occurring: Vec<u32>,
    pub(super) start: usize,
    pub(super) goal: Option<usize>,
}

/// An op of the domain in one question.
#[derive(Debug)]
pub(super) struct Act {
    /// Its place in the domain.
    pub(super) op: usize,
    /// The places of values that each path may have.
    pub(super) needs: Vec<(usize, u64)>,
    pub(super) effects: Vec<Effect>,
    /// Whether the facts that it needs hold, and what it leads to would be known.
    pub(super) possible: bool,
    /// Whether other objects are as it needs them.
    pub(super) met: bool,
    /// Its cost; orders by milliseconds, then by steps.
    pub(super) weight: u64,
}

/// What an act does to one path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    pub(super) var: usize,
    pub(super) to: usize,
    /// Whether the path is forgotten, not led anywhere.
    pub(super) forgets: bool,
}

impl<'q> Problem<'q> {
    /// Lays a question out; fails with the path that may take too many values.
    pub(super) fn new(domain: &Domain, question: &Question<'q>) -> Result<Self, usize> {
        let codes: Vec<Codes<'q>> =
            domain.vars.iter().map(|var| Codes::new(var, question)).collect();
        let found: Vec<Option<&Value>> =
            domain.facts.iter().map(|(path, _)| question.facts.value(path)).collect();
        let tests = domain.facts.iter().zip(&found);
        let facts = tests.map(|((_, guard), found)| guard.admits(*found)).collect();
        let related = domain.related.iter().map(|related| related.holds(question)).collect();
        let mut fields = Vec::with_capacity(codes.len());
        for (var, codes) in codes.into_iter().enumerate() {
            fields.push(Field::new(codes));
            if let Some(goal) = codes.goal {
                fields[var].occurring.push(goal);
            }
        }
        let effects: Vec<Vec<(usize, u32, bool)>> =
            domain.ops.iter().map(|op| effects(domain, &fields, op)).collect();
        for (var, code, _) in effects.iter().flatten() {
            fields[*var].occurring.push(*code);
        }
        for (var, field) in fields.iter_mut().enumerate() {
            field.finish();
            if field.occurring.len() > SEARCH_VALUES_MAX {
                return Err(var);
            }
        }
        let found = found.into_iter().map(Option::<&Value>::cloned).collect();
        let mut problem = Self { fields, acts: Vec::new(), facts, found, related };
        for (op, effects) in effects.into_iter().enumerate() {
            let act = problem.act(domain, op, &effects);
            problem.acts.push(act);
        }
        Ok(problem)
    }

    fn act(&self, domain: &Domain, place: usize, effects: &[(usize, u32, bool)]) -> Act {
        let op = &domain.ops[place];
        let mut needs: Vec<(usize, u64)> = Vec::new();
        let mut need = |var: usize, mask: u64| match needs.iter_mut().find(|(held, _)| *held == var)
        {
            Some((_, held)) => *held &= mask,
            None => needs.push((var, mask)),
        };
        for (var, guard) in &op.reads {
            need(*var, self.mask(domain, *var, guard));
        }
        let mut possible = op.facts.iter().all(|fact| self.facts[*fact]);
        let led = effects.iter().filter(|(.., forgets)| !forgets);
        let conditions = led.flat_map(|(var, ..)| &domain.vars[*var].conditions);
        for condition in conditions.chain(&op.keeps) {
            match condition {
                Condition::Fact(fact) => possible &= self.facts[*fact],
                Condition::Var(cause, _) if effects.iter().any(|(var, ..)| var == cause) => {}
                Condition::Var(cause, allowed) => {
                    let guard = self.keeps(domain, *cause, allowed);
                    need(*cause, self.mask(domain, *cause, &guard));
                }
            }
        }
        needs.sort_unstable();
        let effects = effects.iter().map(|(var, code, forgets)| Effect {
            var: *var,
            to: self.fields[*var].place(*code),
            forgets: *forgets,
        });
        let cost = op.instance.mutation.cost_ms.min(COST_MS_MAX);
        Act {
            op: place,
            effects: effects.collect(),
            possible: possible && needs.iter().all(|(_, mask)| *mask != 0),
            met: op.related.iter().all(|(test, holds)| self.related[*test] == *holds),
            weight: (cost * STEPS_PER_MS + 1) * SHARES,
            needs,
        }
    }

    /// What keeps a dependent of `cause` known. Where some op can make the condition true, an
    /// unknown one does not do: it has to be made true first.
    fn keeps(&self, domain: &Domain, cause: usize, allowed: &BTreeSet<Value>) -> Guard {
        let (var, codes) = (&domain.vars[cause], &self.fields[cause].codes);
        let mut values = var.targets.iter().filter_map(|target| match target {
            Target::Value(value) => Some(value),
            Target::Cfg => codes.value(var, codes.cfg?),
        });
        if values.any(|value| allowed.contains(value)) {
            Guard::Holds(Test::In(allowed.clone()))
        } else {
            Guard::Keeps(allowed.clone())
        }
    }

    fn mask(&self, domain: &Domain, var: usize, guard: &Guard) -> u64 {
        let field = &self.fields[var];
        let admits = |code: &u32| guard.admits(field.codes.value(&domain.vars[var], *code));
        let places = field.occurring.iter().enumerate().filter(|(_, code)| admits(code));
        places.fold(0, |mask, (place, _)| mask | 1 << place)
    }
}

impl<'q> Field<'q> {
    fn new(codes: Codes<'q>) -> Self {
        Self { codes, occurring: vec![0, codes.start], start: 0, goal: None }
    }

    fn finish(&mut self) {
        self.occurring.sort_unstable();
        self.occurring.dedup();
        self.start = self.place(self.codes.start);
        self.goal = self.codes.goal.map(|goal| self.place(goal));
    }

    /// The place of a code among those that occur.
    fn place(&self, code: u32) -> usize {
        self.occurring.binary_search(&code).unwrap_or_default()
    }

    /// How many values can occur.
    pub(super) fn size(&self) -> usize {
        self.occurring.len()
    }

    /// The value at a place; `None` is unknown.
    pub(super) fn value<'a>(&self, var: &'a Var, place: usize) -> Option<&'a Value>
    where
        'q: 'a,
    {
        self.codes.value(var, *self.occurring.get(place)?)
    }
}

/// What an op does: where it leads paths, and what is forgotten by that. Each path once.
fn effects(domain: &Domain, fields: &[Field<'_>], op: &Op) -> Vec<(usize, u32, bool)> {
    let mut effects: Vec<(usize, u32, bool)> = Vec::new();
    for (var, target) in &op.writes {
        let code = match target {
            Target::Value(value) => {
                domain.vars[*var].constants.binary_search(value).map_or(0, |place| small(place + 1))
            }
            Target::Cfg => fields[*var].codes.cfg.unwrap_or_default(),
        };
        effects.push((*var, code, false));
    }
    let mut causes: Vec<usize> = effects.iter().map(|(var, ..)| *var).collect();
    while let Some(cause) = causes.pop() {
        let code = effects.iter().find(|(var, ..)| *var == cause).map_or(0, |(_, code, _)| *code);
        let value = fields[cause].codes.value(&domain.vars[cause], code);
        for (dependent, allowed) in &domain.vars[cause].dependents {
            if value.is_some_and(|value| allowed.contains(value)) {
                continue;
            }
            match effects.iter_mut().find(|(var, ..)| var == dependent) {
                Some((.., true)) => continue,
                Some(effect) => *effect = (*dependent, 0, true),
                None => effects.push((*dependent, 0, true)),
            }
            causes.push(*dependent);
        }
    }
    effects.sort_unstable();
    effects
}
