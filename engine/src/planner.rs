//! Plans: the cheapest steps from what is seen to what is asked. Pure and deterministic: the same
//! question has the same answer everywhere.
//!
//! [`Planner::plan`] works in four stages. `domain` finds which paths and mutations matter, from
//! the goal backwards. `problem` turns the question into small integers. `solve` splits it into
//! parts that do not touch each other and has each searched (`search`, with `bound` to guide it).
//! The shape of an answer is kept (`memo`), so that thousands of like objects cost one search and a
//! look each.

mod bound;
mod domain;
mod explore;
mod memo;
mod problem;
mod reason;
mod search;
mod solve;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;

pub(crate) use self::explore::{Move, Part, explore};
use self::{
    domain::Domain,
    memo::Memo,
    problem::{Codes, Problem},
    solve::{Failed, Shape, solve},
};
pub use self::{
    reason::{Gap, NoPlan, Unasked, Unmet, Wanted},
    search::SEARCH_STATES_MAX,
};
use crate::{
    catalog::KindCatalog,
    mutation::{Instance, To},
    path::Path,
    predicate::On,
    schema::Goal,
    state::State,
    value::Value,
};

/// Most answers that a planner keeps.
pub const MEMO_PLANS_MAX: usize = 16_384;
/// Most sets of wanted paths for which a planner keeps what matters to them.
pub const MEMO_DOMAINS_MAX: usize = 1_024;

/// What the planner sees of an object: values with everything laid over them already (what was
/// seen, presumptions, and Cfg for paths that nothing discovers).
pub trait Facts {
    /// The value at a path; `None` is unknown.
    fn value(&self, path: &Path) -> Option<&Value>;
    /// The value at a path of a related object; `None` is unknown.
    fn related(&self, on: &On, path: &Path) -> Option<Value>;
}

/// What a plan is asked for.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// What is declared for the object's kind.
    pub kind: &'a KindCatalog,
    /// What is to be reached.
    pub goal: &'a Goal,
    /// What is asked of the object, for mutations that lead to what Cfg says.
    pub cfg: &'a State,
    /// What is seen.
    pub facts: &'a dyn Facts,
}

/// The cheapest way to a goal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What to do, in order; empty where the goal is reached.
    pub steps: Vec<Step>,
    /// The expected time of all steps, in milliseconds.
    pub cost_ms: u64,
    /// What must come to hold on other objects first, as predicates. The steps that need it come
    /// after those that do not.
    pub waits_for: Vec<String>,
    /// Parts of the goal that cannot be reached. They touch nothing that the steps touch.
    pub blocked: Vec<NoPlan>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub instance: Instance,
    /// What is expected to change by it, in order of path; what is forgotten turns unknown.
    pub changes: Vec<StepChange>,
    /// The expected time, in milliseconds.
    pub cost_ms: u64,
}

/// A path's change in one step; `None` is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepChange {
    /// The path.
    pub path: Path,
    /// What it holds before.
    pub from: Option<Value>,
    /// What it is expected to hold after.
    pub to: Option<Value>,
}

/// What a planner answers.
pub type Answer = Result<Arc<Plan>, Arc<NoPlan>>;

/// What a planner has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Questions asked.
    pub questions: u64,
    /// Answers that stood in the memo as they were.
    pub hits: u64,
    /// Answers whose steps were known from an object that differs in values only.
    pub shapes: u64,
    /// Searches made.
    pub searches: u64,
    /// States that all searches came to.
    pub states: u64,
}

/// Answers questions and remembers.
#[derive(Debug)]
pub struct Planner {
    /// By kind and wanted paths.
    domains: Memo<Box<[u8]>, (u64, Arc<Domain>)>,
    domains_made: u64,
    answers: Memo<Box<[u32]>, Known>,
    stats: Stats,
    /// Kept between questions to save allocations.
    name: Vec<u8>,
    key: Vec<u32>,
}

/// An answer with the values that it was given for, and its shape for others.
#[derive(Debug)]
struct Known {
    shape: Shape,
    values: Box<[Option<Value>]>,
    answer: Answer,
}

impl Default for Planner {
    fn default() -> Self {
        Self::new()
    }
}

impl Planner {
    /// A planner that has answered nothing yet.
    pub fn new() -> Self {
        Self::with_memo(MEMO_DOMAINS_MAX, MEMO_PLANS_MAX)
    }

    fn with_memo(domains_max: usize, plans_max: usize) -> Self {
        Self {
            domains: Memo::new(domains_max),
            domains_made: 0,
            answers: Memo::new(plans_max),
            stats: Stats::default(),
            name: Vec::new(),
            key: Vec::new(),
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// How many answers are kept.
    pub fn kept(&self) -> usize {
        self.answers.len()
    }

    /// The cheapest way from what is seen to the goal, or why there is none.
    pub fn plan(&mut self, question: &Question<'_>) -> Answer {
        self.stats.questions += 1;
        let (id, domain) = self.domain(question);
        let free = project(&domain, id, question, &mut self.key);
        if let Some(known) = self.answers.get(self.key.as_slice()) {
            if same(&known.values, &free) {
                self.stats.hits += 1;
                return known.answer.clone();
            }
            self.stats.shapes += 1;
            known.answer = answer(&domain, question, Some(&known.shape)).1;
            known.values = owned(&free);
            return known.answer.clone();
        }
        let (shape, answer) = answer(&domain, question, None);
        self.stats.searches += 1;
        self.stats.states += u64::try_from(shape.states).unwrap_or(u64::MAX);
        let known = Known { shape, values: owned(&free), answer: answer.clone() };
        self.answers.insert(self.key.clone().into_boxed_slice(), known);
        answer
    }

    /// What matters for the paths that a question wants.
    fn domain(&mut self, question: &Question<'_>) -> (u64, Arc<Domain>) {
        self.name.clear();
        self.name.extend(question.kind.digest.to_le_bytes());
        for path in question.goal.keys() {
            // A path holds no zero byte.
            self.name.extend(path.as_str().as_bytes());
            self.name.push(0);
        }
        if let Some((id, domain)) = self.domains.get(self.name.as_slice()) {
            return (*id, domain.clone());
        }
        let domain = Arc::new(Domain::new(question.kind, question.goal));
        self.domains_made += 1;
        let entry = (self.domains_made, domain);
        self.domains.insert(self.name.clone().into_boxed_slice(), entry.clone());
        entry
    }
}

/// Writes what an answer's shape depends on to `key`; returns the values it depends on besides.
fn project<'q>(
    domain: &Domain,
    id: u64,
    question: &Question<'q>,
    key: &mut Vec<u32>,
) -> Vec<Option<&'q Value>> {
    let mut free = Vec::new();
    key.clear();
    key.extend([
        u32::try_from(id >> 32).unwrap_or_default(),
        u32::try_from(id & 0xFFFF_FFFF).unwrap_or_default(),
    ]);
    for var in &domain.vars {
        Codes::new(var, question).project(var, key, &mut free);
    }
    for (path, guard) in &domain.facts {
        let found = question.facts.value(path);
        let holds = guard.admits(found);
        key.push(u32::from(holds));
        if !holds {
            // A reason would name it.
            free.push(found);
        }
    }
    key.extend(domain.related.iter().map(|related| u32::from(related.holds(question))));
    free.extend(domain.shown.iter().map(|(path, _)| question.facts.value(path)));
    free
}

fn same(held: &[Option<Value>], free: &[Option<&Value>]) -> bool {
    held.len() == free.len() && held.iter().zip(free).all(|(held, free)| held.as_ref() == *free)
}

fn owned(free: &[Option<&Value>]) -> Box<[Option<Value>]> {
    free.iter().map(|value| value.cloned()).collect()
}

/// Answers a question over its domain; searches unless the shape of the answer is known.
fn answer(domain: &Domain, question: &Question<'_>, known: Option<&Shape>) -> (Shape, Answer) {
    let problem = match Problem::new(domain, question) {
        Ok(problem) => problem,
        Err(var) => {
            let reason = NoPlan::TooLarge { paths: vec![domain.vars[var].path.clone()] };
            return (Shape::default(), Err(Arc::new(reason)));
        }
    };
    let shape = known.map_or_else(|| solve(domain, &problem), Clone::clone);
    let explain = |failed: &Failed| reason::explain(domain, &problem, failed);
    let mut blocked: Vec<NoPlan> = shape.failed.iter().map(explain).collect();
    if shape.steps.is_empty() && !blocked.is_empty() {
        let reason = match blocked.len() {
            1 => blocked.remove(0),
            _ => NoPlan::Several { reasons: blocked },
        };
        return (shape, Err(Arc::new(reason)));
    }
    let steps = steps(domain, question, &problem, &shape.steps);
    let plan = Plan {
        cost_ms: steps.iter().fold(0, |sum, step| sum.saturating_add(step.cost_ms)),
        steps,
        waits_for: shape.waits.iter().map(|test| domain.related[*test].describe()).collect(),
        blocked,
    };
    (shape, Ok(Arc::new(plan)))
}

/// The steps with what each is expected to change.
fn steps(
    domain: &Domain,
    question: &Question<'_>,
    problem: &Problem<'_>,
    places: &[usize],
) -> Vec<Step> {
    let mut now: BTreeMap<Path, Option<Value>> = BTreeMap::new();
    let mut steps = Vec::with_capacity(places.len());
    for place in places {
        let act = &problem.acts[*place];
        let instance = domain.ops[act.op].instance.clone();
        let mut led: BTreeMap<Path, Option<Value>> = BTreeMap::new();
        for (path, change) in instance.changes() {
            if let To::Value(value) = &change.to {
                led.insert(path, Some(value.clone()));
            }
        }
        for effect in &act.effects {
            let (var, field) = (&domain.vars[effect.var], &problem.fields[effect.var]);
            led.insert(var.path.clone(), field.value(var, effect.to).cloned());
        }
        forget_shown(domain, &mut led);
        let mut changes = Vec::with_capacity(led.len());
        for (path, to) in led {
            let seen = || question.facts.value(&path).cloned();
            let from = now.insert(path.clone(), to.clone()).unwrap_or_else(seen);
            if from != to {
                changes.push(StepChange { path, from, to });
            }
        }
        let cost_ms = instance.mutation.cost_ms;
        steps.push(Step { instance, changes, cost_ms });
    }
    steps
}

/// Adds what a step makes unknown of the paths that were no part of the search.
fn forget_shown(domain: &Domain, led: &mut BTreeMap<Path, Option<Value>>) {
    loop {
        let hidden = |(cause, allowed): &(Path, BTreeSet<Value>)| {
            let to = led.get(cause);
            to.is_some_and(|to| to.as_ref().is_none_or(|value| !allowed.contains(value)))
        };
        let next = domain.shown.iter().find(|(path, conditions)| {
            led.get(path) != Some(&None) && conditions.iter().any(hidden)
        });
        let Some((path, _)) = next else { return };
        led.insert(path.clone(), None);
    }
}
