//! Dead ends: states that mutations leave an object in and from which a goal cannot be reached.
//!
//! For each path that can be asked for alone, for each value that some mutation leads it to, and
//! for each state in which mutations and their failures leave the path, the planner is asked for a
//! way. It is asked in the best of worlds ([`Relaxed`]): other objects are as they should be, paths
//! that no mutation changes are as required, and a look at a path of which nothing is known finds
//! what helps. What has no plan there has none anywhere, so that a refutation is certain.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Code, Findings, Kind, Severity,
    fail_to::is_left,
    guards::{Guard, guards},
};
use crate::{
    catalog::{KindCatalog, overlap},
    id::Name,
    manifest::{Context, Retry, SetBy, Type},
    mutation::{Change, From, Instance, Mutation, MutationId, To},
    path::{Bindings, Path, Pattern},
    planner::{Facts, NoPlan, Planner, Question},
    predicate::{On, Predicate, Test},
    schema::{Goal, PathRule},
    state::State,
    value::{Finite, Value},
};

/// Most states that are searched for the proofs of one kind.
const PROOF_STATES_MAX: u64 = 1_000_000;

/// Stands for whatever Cfg says, where that is not one of a few values.
const AS_CFG: &str = "what Cfg says";
/// Stands for any other value.
const OTHER: &str = "another value";

pub(super) fn check(kind: &Kind<'_>, findings: &mut Findings<'_>) {
    let mut proof = Proof { kind, planner: Planner::new(), asked: 0 };
    for rule in kind.kind.schema.rules().filter(|rule| is_asked(rule)) {
        let Some(path) = sample(&rule.pattern) else { continue };
        absent(kind, rule, findings);
        for goal in proof.goals(rule) {
            if proof.planner.stats().states > PROOF_STATES_MAX {
                let text = format!(
                    "dead ends were sought in {PROOF_STATES_MAX} states, and no further; split \
                     what depends on each other into fewer paths"
                );
                let at = (kind, &rule.pattern);
                return findings.path(Severity::Warning, Code::TooLarge, at, text);
            }
            proof.goal(rule, &path, &goal, findings);
        }
    }
}

/// Whether a path can be asked for and reached by mutations.
fn is_asked(rule: &PathRule) -> bool {
    let asked = rule.set_by != SetBy::Nobody || !rule.digest_of.is_empty();
    asked && rule.discovered && rule.changed_from.is_some()
}

/// A path that a pattern matches.
fn sample(pattern: &Pattern) -> Option<Path> {
    let bindings: Bindings = std::iter::repeat_n("any".into(), pattern.stars()).collect();
    pattern.bind(&bindings)
}

/// Warns where deletion asks for a value that no mutation leads to.
fn absent(kind: &Kind<'_>, rule: &PathRule, findings: &mut Findings<'_>) {
    let Some(absent) = &rule.absent else { return };
    let leads = |change: &Change| {
        overlap(&change.path, &rule.pattern)
            && match &change.to {
                To::Value(to) => to == absent,
                To::Cfg => true,
            }
    };
    if !kind.kind.mutations.iter().flat_map(|mutation| &mutation.changes).any(leads) {
        let text = format!(
            "deletion asks for {absent}, and no mutation leads there: a deleted object waits until \
             it is seen by itself; declare a mutation to {absent}"
        );
        findings.path(Severity::Warning, Code::DeadEnd, (kind, &rule.pattern), text);
    }
}

/// The search for the dead ends of one kind.
struct Proof<'a> {
    kind: &'a Kind<'a>,
    planner: Planner,
    asked: u64,
}

/// A state that an object is left in, and by whom.
struct Left<'a> {
    by: &'a Mutation,
    failed: bool,
    state: State,
}

impl Proof<'_> {
    /// The values that may be asked of a path and that some mutation leads to.
    fn goals(&self, rule: &PathRule) -> BTreeSet<Value> {
        let mutations = self.kind.kind.mutations.iter();
        let changes = mutations.flat_map(|mutation| &mutation.changes);
        let mut goals = BTreeSet::new();
        for change in changes.filter(|change| overlap(&change.path, &rule.pattern)) {
            match &change.to {
                To::Value(value) => drop(goals.insert(value.clone())),
                To::Cfg => match &rule.value_type {
                    Type::Enum(values) => goals.extend(values.iter().map(|v| v.as_str().into())),
                    Type::Bool => goals.extend([true.into(), false.into()]),
                    Type::Int { .. } | Type::Float | Type::Text | Type::Texts | Type::Share => {
                        goals.insert(AS_CFG.into());
                    }
                },
            }
        }
        goals
    }

    fn goal(&mut self, rule: &PathRule, path: &Path, goal: &Value, findings: &mut Findings<'_>) {
        let mut relaxed = Relaxed { kind: self.kind.kind, rule, goal }.build();
        self.asked += 1;
        relaxed.digest = self.asked;
        let wanted: Goal = Goal::from([(path.clone(), goal.clone())]);
        let mut cfg = State::new();
        if cfg.set(path.clone(), goal.clone()).is_err() {
            return;
        }
        for left in starts(self.kind.kind, path, goal) {
            let facts = Seen(&left.state);
            let question = Question { kind: &relaxed, goal: &wanted, cfg: &cfg, facts: &facts };
            let Err(reason) = self.planner.plan(&question) else { continue };
            let (by, at) = (&left.by.id.name, left.state.get(path.as_str()));
            let how = if left.failed { "a failure of" } else { "success of" };
            let from = at.map_or_else(|| "unknown".to_owned(), ToString::to_string);
            let pattern = &rule.pattern;
            if matches!(*reason, NoPlan::TooLarge { .. }) {
                let text = format!(
                    "whether {goal} can be reached from {from} is too large to be proved; split \
                     what depends on each other into fewer paths"
                );
                let at = (self.kind, pattern);
                return findings.path(Severity::Warning, Code::TooLarge, at, text);
            }
            let text = format!(
                "a dead end: {how} it leaves {pattern} at {from}, from where no mutations lead to \
                 {goal} ({reason}); declare a way back, or have {by} lead elsewhere"
            );
            let key: &[&str] = if left.failed { &["failTo"] } else { &["changes"] };
            findings.mutation(Severity::Error, Code::DeadEnd, (left.by, key), text);
            return;
        }
    }
}

/// The states in which mutations of a path, and their failures, leave an object, where they
/// leave the path elsewhere than at the goal. Other paths are unknown unless they say more.
fn starts<'a>(kind: &'a KindCatalog, path: &Path, goal: &Value) -> Vec<Left<'a>> {
    let mut starts = Vec::new();
    for mutation in &kind.mutations {
        let Some(bindings) = bindings(mutation, path) else { continue };
        let instance = Instance { mutation: mutation.clone(), bindings };
        let mut done = required(&instance);
        for (changed, change) in instance.changes() {
            let other = if changed == *path { OTHER } else { AS_CFG };
            let value = match &change.to {
                To::Value(value) => value.clone(),
                To::Cfg => other.into(),
            };
            put(&mut done, changed, value);
        }
        starts.push(Left { by: mutation, failed: false, state: done });
        // A failure that nothing leads away from is an error by itself.
        let is_left = |(path, value): &(Pattern, Value)| is_left(kind, path, value);
        if mutation.fail_to.is_empty() || !mutation.fail_to.iter().all(is_left) {
            continue;
        }
        let mut failed = required(&instance);
        for (changed, _) in instance.changes() {
            failed.unset(&changed);
        }
        for (kept, value) in instance.fail_to() {
            put(&mut failed, kept, value.clone());
        }
        starts.push(Left { by: mutation, failed: true, state: failed });
    }
    for left in &mut starts {
        forget(kind, &mut left.state);
    }
    // Of what is unknown a look tells: each of the values that it may find is a start too.
    starts.retain(|left| left.state.get(path.as_str()).is_some_and(|value| value != goal));
    starts
}

/// Takes out what the rest of a state makes unknown.
fn forget(kind: &KindCatalog, state: &mut State) {
    loop {
        let hidden = state.iter().map(|(path, _)| path).find(|path| {
            let Some((rule, bindings)) = kind.schema.rule(path) else { return false };
            rule.known_while.iter().any(|condition| {
                let cause = condition.pattern.bind(&bindings);
                let held = cause.and_then(|cause| state.get(cause.as_str()));
                held.is_some_and(|held| !condition.allowed.contains(held))
            })
        });
        let Some(hidden) = hidden.cloned() else { return };
        state.unset(&hidden);
    }
}

/// What the stars of a mutation stand for where it changes a path or fails to it.
fn bindings(mutation: &Mutation, path: &Path) -> Option<Bindings> {
    let changed = mutation.changes.iter().map(|change| &change.path);
    let failed = mutation.fail_to.iter().map(|(path, _)| path);
    let stars = mutation.stars();
    let mut all = changed.chain(failed).filter(|pattern| pattern.stars() == stars);
    all.find_map(|pattern| pattern.matches(path))
}

/// What a mutation requires where only one value will do.
fn required(instance: &Instance) -> State {
    let mut state = State::new();
    for predicate in instance.mutation.requires.iter().filter(|p| p.on == On::Itself) {
        if let (Test::In(values), Some(path)) =
            (&predicate.test, predicate.path(&instance.bindings))
            && let Some(value) = values.first().filter(|_| values.len() == 1)
        {
            put(&mut state, path, value.clone());
        }
    }
    state
}

/// Sets a path. What does not fit beside the rest was refused when the paths were declared.
fn put(state: &mut State, path: Path, value: Value) {
    state.unset(&path);
    drop(state.set(path, value));
}

/// A state as the planner sees it; other objects do not come into it.
struct Seen<'a>(&'a State);

impl Facts for Seen<'_> {
    fn value(&self, path: &Path) -> Option<&Value> {
        self.0.get(path.as_str())
    }

    fn related(&self, _: &On, _: &Path) -> Option<Value> {
        None
    }
}

/// A kind in the best of worlds, for one goal.
struct Relaxed<'a> {
    kind: &'a KindCatalog,
    rule: &'a PathRule,
    goal: &'a Value,
}

impl Relaxed<'_> {
    fn build(&self) -> KindCatalog {
        let mut relaxed = self.kind.clone();
        let given = self.kind.mutations.iter();
        relaxed.mutations = given.map(|mutation| Arc::new(self.mutation(mutation))).collect();
        let changes = self.kind.mutations.iter().flat_map(|mutation| &mutation.changes);
        let patterns: BTreeSet<&Pattern> = changes.map(|change| &change.path).collect();
        for pattern in patterns {
            let sought = overlap(pattern, &self.rule.pattern);
            for value in self.values(pattern) {
                // A look must not find by chance what is to be reached.
                if !(sought && value == *self.goal) {
                    let name = format!("Look{}", relaxed.mutations.len());
                    relaxed.mutations.extend(look(&name, pattern, value));
                }
            }
        }
        relaxed
    }

    /// A mutation without what no other mutation can bring about.
    fn mutation(&self, mutation: &Mutation) -> Mutation {
        let matters = |predicate: &&Predicate| {
            let own = predicate.on == On::Itself && self.is_changed(&predicate.path);
            let sought = overlap(&predicate.path, &self.rule.pattern);
            own && (!sought || predicate.path == self.rule.pattern)
        };
        let mut relaxed = mutation.clone();
        relaxed.requires = mutation.requires.iter().filter(matters).cloned().collect();
        relaxed.excludes = mutation.excludes.iter().filter(matters).cloned().collect();
        for change in &mut relaxed.changes {
            if change.to == To::Cfg && !overlap(&change.path, &self.rule.pattern) {
                change.to = To::Value(AS_CFG.into());
            }
        }
        relaxed
    }

    fn is_changed(&self, path: &Pattern) -> bool {
        let mut changes = self.kind.mutations.iter().flat_map(|mutation| &mutation.changes);
        changes.any(|change| overlap(&change.path, path))
    }

    /// The values at which a look may find a path: those that are named anywhere, and one for each
    /// comparison.
    fn values(&self, pattern: &Pattern) -> BTreeSet<Value> {
        let mut values = BTreeSet::new();
        for mutation in &self.kind.mutations {
            let changes = mutation.changes.iter().filter(|c| overlap(&c.path, pattern));
            for change in changes {
                if let To::Value(value) = &change.to {
                    values.insert(value.clone());
                }
            }
            let kept = mutation.fail_to.iter().filter(|(path, _)| overlap(path, pattern));
            values.extend(kept.map(|(_, value)| value.clone()));
            for guard in guards(mutation).iter().filter(|guard| overlap(guard.0, pattern)) {
                witness(guard, &mut values);
            }
        }
        let rules = self.kind.schema.rules().filter(|rule| overlap(&rule.pattern, pattern));
        for rule in rules {
            if let Type::Enum(all) = &rule.value_type {
                values.extend(all.iter().map(|value| value.as_str().into()));
            }
        }
        values
    }
}

/// A value that meets a test, or each that it names.
fn witness((_, test, _): &Guard<'_>, values: &mut BTreeSet<Value>) {
    let beside = |limit: &Value, step: i8| match limit.as_int() {
        Some(limit) => Some(Value::from(limit.saturating_add(step.into()))),
        None => Finite::new(limit.as_number()? + f64::from(step)).map(Value::Float),
    };
    match test.as_ref() {
        Test::In(named) => values.extend(named.iter().cloned()),
        Test::Not(_) | Test::Known => drop(values.insert(OTHER.into())),
        Test::AtMost(limit) | Test::AtLeast(limit) => drop(values.insert(limit.clone())),
        Test::Below(limit) => values.extend(beside(limit, -1)),
        Test::Above(limit) => values.extend(beside(limit, 1)),
    }
}

/// A look that finds a value where nothing is known.
fn look(name: &str, pattern: &Pattern, value: Value) -> Option<Arc<Mutation>> {
    let id = MutationId::new(Name::new("look").ok()?, Name::new(name).ok()?);
    let path = pattern.clone();
    let changes = vec![Change { path, from: From::Unknown, to: To::Value(value) }];
    Some(Arc::new(Mutation {
        id,
        context: Context::Control,
        changes,
        requires: Vec::new(),
        excludes: Vec::new(),
        timeout: Duration::ZERO,
        fail_to: Vec::new(),
        cost_ms: 1,
        disruptive: false,
        cancellable: false,
        via: Vec::new(),
        retry: Retry::default(),
    }))
}
