//! Dead ends: states that mutations leave an object in and from which a goal cannot be reached.
//!
//! For each goal that a module names, and for each path that can be asked for alone with each
//! value that some mutation leads it to, and for each state in which mutations and their failures
//! leave the paths, the planner is asked for a way. It is asked in the best of worlds
//! ([`Relaxed`]): other objects are as they should be, paths that no mutation changes are as
//! required, and a look at a path of which nothing is known finds what helps. What has no plan
//! there has none anywhere, so that a refutation is certain.

mod relaxed;
mod starts;

use std::{collections::BTreeSet, sync::Arc};

use self::{
    relaxed::Relaxed,
    starts::{Left, starts},
};
use super::{Code, Findings, Kind, Severity};
use crate::{
    catalog::{KindCatalog, NamedGoal, overlap},
    manifest::{SetBy, Type},
    mutation::{Change, To},
    path::{Bindings, Path, Pattern},
    planner::{Facts, NoPlan, Planner, Question},
    predicate::On,
    schema::{Goal, PathRule},
    state::State,
    value::Value,
};

/// Most states that are searched for the proofs of one kind.
const PROOF_STATES_MAX: u64 = 1_000_000;

/// Stands for whatever Cfg says, where that is not one of a few values.
const AS_CFG: &str = "what Cfg says";
/// Stands for any other value.
const OTHER: &str = "another value";

pub(super) fn check(kind: &Kind<'_>, findings: &mut Findings<'_>) {
    let mut proof = Proof { kind, planner: Planner::new(), asked: 0 };
    // What modules name matters most, so that it comes before the bound.
    for goal in &kind.kind.goals {
        proof.named(goal, findings);
    }
    for rule in kind.kind.schema.rules().filter(|rule| is_asked(rule)) {
        let Some(path) = sample(&rule.pattern) else { continue };
        absent(kind, rule, findings);
        for goal in proof.goals(rule) {
            if proof.is_spent() {
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
    if !leads(kind.kind, &rule.pattern, absent) {
        let text = format!(
            "deletion asks for {absent}, and no mutation leads there: a deleted object waits until \
             it is seen by itself; declare a mutation to {absent}"
        );
        findings.path(Severity::Warning, Code::DeadEnd, (kind, &rule.pattern), text);
    }
}

/// Whether some mutation leads a path to a value.
fn leads(kind: &KindCatalog, pattern: &Pattern, value: &Value) -> bool {
    let leads = |change: &Change| {
        overlap(&change.path, pattern)
            && match &change.to {
                To::Value(to) => to == value,
                To::Cfg => true,
            }
    };
    kind.mutations.iter().flat_map(|mutation| &mutation.changes).any(leads)
}

/// The search for the dead ends of one kind.
struct Proof<'a> {
    kind: &'a Kind<'a>,
    planner: Planner,
    asked: u64,
}

/// Why a goal is not proved: from where it is not reached.
struct Refuted<'a> {
    from: Left<'a>,
    reason: Arc<NoPlan>,
}

impl Refuted<'_> {
    fn is_too_large(&self) -> bool {
        matches!(*self.reason, NoPlan::TooLarge { .. })
    }

    /// What leaves the object there.
    fn how(&self) -> &'static str {
        if self.from.failed { "a failure of" } else { "success of" }
    }

    /// Where in its mutation that stands.
    fn key(&self) -> &'static [&'static str] {
        if self.from.failed { &["failTo"] } else { &["changes"] }
    }
}

impl<'a> Proof<'a> {
    fn is_spent(&self) -> bool {
        self.planner.stats().states > PROOF_STATES_MAX
    }

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

    /// Seeks a way to what is wanted, all of it together, from wherever the mutations of its paths
    /// leave an object.
    fn refute(&mut self, wanted: &Goal, cfg: &State) -> Option<Refuted<'a>> {
        let mut relaxed = Relaxed::new(self.kind.kind, wanted).build();
        self.asked += 1;
        relaxed.digest = self.asked;
        starts(self.kind.kind, wanted).into_iter().find_map(|from| {
            let facts = Seen(&from.state);
            let question = Question { kind: &relaxed, goal: wanted, cfg, facts: &facts };
            let reason = self.planner.plan(&question).err()?;
            Some(Refuted { from, reason })
        })
    }

    fn goal(&mut self, rule: &PathRule, path: &Path, goal: &Value, findings: &mut Findings<'_>) {
        let wanted: Goal = Goal::from([(path.clone(), goal.clone())]);
        let mut cfg = State::new();
        if cfg.set(path.clone(), goal.clone()).is_err() {
            return;
        }
        let Some(refuted) = self.refute(&wanted, &cfg) else { return };
        let Refuted { from: left, reason } = &refuted;
        let (by, at) = (&left.by.id.name, left.state.get(path.as_str()));
        let from = at.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let pattern = &rule.pattern;
        if refuted.is_too_large() {
            let text = format!(
                "whether {goal} can be reached from {from} is too large to be proved; split \
                 what depends on each other into fewer paths"
            );
            let at = (self.kind, pattern);
            return findings.path(Severity::Warning, Code::TooLarge, at, text);
        }
        let text = format!(
            "a dead end: {} it leaves {pattern} at {from}, from where no mutations lead to \
             {goal} ({reason}); declare a way back, or have {by} lead elsewhere",
            refuted.how()
        );
        let at = (left.by, refuted.key());
        findings.mutation(Severity::Error, Code::DeadEnd, at, text);
    }

    /// Proves a goal that a module names. Paths that no mutation changes are as it asks.
    fn named(&mut self, goal: &NamedGoal, findings: &mut Findings<'_>) {
        let kind = self.kind.kind;
        let mut wanted = Goal::new();
        for (path, value) in goal.values.iter() {
            let Some(rule) = kind.schema.rule_at(path) else { continue };
            if rule.changed_from.is_none() {
                continue;
            }
            if !leads(kind, &rule.pattern, value) {
                let text = format!(
                    "no mutation leads {path} to {value}; declare one, or have the goal ask for \
                     another value"
                );
                let at = (goal, Some(path));
                return findings.goal(Severity::Error, Code::DeadEnd, at, text);
            }
            wanted.insert(path.clone(), value.clone());
        }
        let spent = self.is_spent();
        let refuted = if spent { None } else { self.refute(&wanted, &goal.values) };
        if spent || refuted.as_ref().is_some_and(Refuted::is_too_large) {
            let text = "whether it can be reached is too large to be proved; split what depends \
                        on each other into fewer paths, or ask for less at once";
            return findings.goal(Severity::Warning, Code::TooLarge, (goal, None), text.to_owned());
        }
        let Some(refuted) = refuted else { return };
        let Refuted { from: left, reason } = &refuted;
        let there = left.state.iter().filter(|(path, _)| wanted.contains_key(*path));
        let there: Vec<String> = there.map(|(path, at)| format!("{path} = {at}")).collect();
        let text = format!(
            "a dead end: {} {} leaves {}, from where no mutations lead to it ({reason}); declare \
             a way back, or have the goal ask for what can be had together",
            refuted.how(),
            left.by.id,
            if there.is_empty() { "its paths unknown".to_owned() } else { there.join(", ") },
        );
        findings.goal(Severity::Error, Code::DeadEnd, (goal, None), text);
    }
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
