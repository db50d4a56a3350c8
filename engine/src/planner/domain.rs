//! What of an object matters for a goal: the paths, and the mutations bound to them.
//!
//! Found backwards from the goal's paths: what changes them, what those changes need, what changes
//! that, and so on. It depends on the kind and on which paths are wanted, not on any value, so that
//! thousands of objects share one.

use std::collections::{BTreeMap, BTreeSet};

use super::Question;
use crate::{
    catalog::KindCatalog,
    mutation::{Change, From, Instance, To},
    path::{Bindings, Path, Pattern},
    predicate::{On, Predicate, Test},
    schema::Goal,
    value::Value,
};

/// What a path's being known depends on: paths with the values that keep it known.
pub(super) type Causes = Vec<(Path, BTreeSet<Value>)>;

/// The part of a kind that matters for one set of wanted paths.
#[derive(Debug, Default)]
pub(super) struct Domain {
    /// The paths that a plan may change or has to reach, in order.
    pub(super) vars: Vec<Var>,
    /// What may be done, in order of mutation and bindings.
    pub(super) ops: Vec<Op>,
    /// What must hold of paths that no plan changes.
    pub(super) facts: Vec<(Path, Guard)>,
    /// What must hold of other objects.
    pub(super) related: Vec<Related>,
    /// Paths that are changed along the way and on which nothing depends, with their conditions.
    pub(super) shown: Vec<(Path, Causes)>,
    /// What was left out because it leads to what Cfg says where Cfg says nothing, with what could
    /// be set.
    pub(super) unasked: Vec<(Instance, Vec<String>)>,
}

/// A path of the searched product.
#[derive(Debug)]
pub(super) struct Var {
    pub(super) path: Path,
    /// The values that mutations, predicates and conditions name, in order.
    pub(super) constants: Vec<Value>,
    /// The comparisons of numbers that are made with it.
    pub(super) compared: Vec<Test>,
    /// Where mutations lead it.
    pub(super) targets: BTreeSet<Target>,
    /// Conditions while which its value is known.
    pub(super) conditions: Vec<Condition>,
    /// The paths that depend on it, each with the values that keep it known.
    pub(super) dependents: Vec<(usize, BTreeSet<Value>)>,
}

/// A condition of `known_while`.
#[derive(Debug)]
pub(super) enum Condition {
    /// On a path of the product.
    Var(usize, BTreeSet<Value>),
    /// On a path that no plan changes.
    Fact(usize),
}

/// A mutation bound to paths.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) instance: Instance,
    /// What paths of the product must hold.
    pub(super) reads: Vec<(usize, Guard)>,
    /// Where it leads them.
    pub(super) writes: Vec<(usize, Target)>,
    /// Conditions of other paths that it changes: what it leads to has to be known there too.
    pub(super) keeps: Vec<Condition>,
    /// Which facts it needs.
    pub(super) facts: Vec<usize>,
    /// Which tests of other objects must hold, or must not.
    pub(super) related: Vec<(usize, bool)>,
}

/// Where an op leads a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Value(Value),
    Cfg,
}

/// What a path must hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guard {
    /// The start of a change.
    From(From),
    /// A predicate holds.
    Holds(Test),
    /// A predicate does not hold.
    Fails(Test),
    /// What was changed stays known; an unknown value hides nothing.
    Keeps(BTreeSet<Value>),
}

/// A test of another object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Related {
    pub(super) on: On,
    pub(super) path: Path,
    pub(super) test: Test,
}

impl Guard {
    pub(super) fn admits(&self, value: Option<&Value>) -> bool {
        match self {
            Self::From(from) => from.admits(value),
            Self::Holds(test) => test.holds(value),
            Self::Fails(test) => !test.holds(value),
            Self::Keeps(allowed) => value.is_none_or(|value| allowed.contains(value)),
        }
    }

    /// As people read it, of a path.
    pub(super) fn describe(&self, path: &Path) -> String {
        match self {
            Self::From(From::Any) => format!("{path} anything"),
            Self::From(From::Unknown) => format!("{path} unknown"),
            Self::From(From::In(values)) => {
                format!("{path} {}", Test::In(values.iter().cloned().collect()))
            }
            Self::Holds(test) => format!("{path} {test}"),
            Self::Fails(test) => format!("not {path} {test}"),
            Self::Keeps(allowed) => format!("{path} {}", Test::In(allowed.clone())),
        }
    }
}

impl Related {
    pub(super) fn holds(&self, question: &Question<'_>) -> bool {
        self.test.holds(question.facts.related(&self.on, &self.path).as_ref())
    }

    /// As people read it.
    pub(super) fn describe(&self) -> String {
        let predicate = Predicate {
            on: self.on.clone(),
            path: Pattern::from(self.path.clone()),
            test: self.test.clone(),
        };
        predicate.to_string()
    }
}

impl Domain {
    pub(super) fn new(kind: &KindCatalog, goal: &Goal) -> Self {
        let mut closure = Closure::new(kind, goal);
        closure.close();
        closure.finish()
    }
}

struct Closure<'a> {
    kind: &'a KindCatalog,
    goal: &'a Goal,
    relevant: BTreeSet<Path>,
    queue: Vec<Path>,
    /// By place of the mutation in the kind, and bindings; `None` where it cannot be done.
    instances: BTreeMap<(usize, Bindings), Option<Instance>>,
    unasked: Vec<(Instance, Vec<String>)>,
}

impl<'a> Closure<'a> {
    fn new(kind: &'a KindCatalog, goal: &'a Goal) -> Self {
        Self {
            kind,
            goal,
            relevant: goal.keys().cloned().collect(),
            queue: goal.keys().cloned().collect(),
            instances: BTreeMap::new(),
            unasked: Vec::new(),
        }
    }

    fn want(&mut self, path: Path) {
        if self.relevant.insert(path.clone()) {
            self.queue.push(path);
        }
    }

    fn close(&mut self) {
        while let Some(path) = self.queue.pop() {
            for (condition, _) in conditions(self.kind, &path) {
                self.want(condition);
            }
            for (place, mutation) in self.kind.mutations.iter().enumerate() {
                for change in &mutation.changes {
                    if let Some(bindings) = change.path.matches(&path) {
                        let instance = Instance { mutation: mutation.clone(), bindings };
                        self.instance(place, instance);
                    }
                }
            }
        }
    }

    fn instance(&mut self, place: usize, instance: Instance) {
        let key = (place, instance.bindings.clone());
        if self.instances.contains_key(&key) {
            return;
        }
        let unasked = |(path, change): &(Path, &Change)| {
            change.to == To::Cfg && !self.goal.contains_key(path)
        };
        let unasked = instance.changes().find(unasked).map(|(path, _)| path);
        if let Some(path) = unasked {
            self.unasked.push((instance, inputs(self.kind, path)));
            self.instances.insert(key, None);
            return;
        }
        let mut needed: Vec<Path> = Vec::new();
        let starts = instance.changes().filter(|(_, change)| change.from != From::Any);
        needed.extend(starts.map(|(path, _)| path));
        needed.extend(own_tests(&instance).map(|(path, _)| path));
        let led = instance.changes().flat_map(|(path, _)| conditions(self.kind, &path));
        needed.extend(led.map(|(path, _)| path));
        for path in needed {
            self.want(path);
        }
        self.instances.insert(key, Some(instance));
    }

    fn finish(self) -> Domain {
        let instances: Vec<Instance> = self.instances.into_values().flatten().collect();
        let changed: BTreeSet<Path> =
            instances.iter().flat_map(Instance::changes).map(|(path, _)| path).collect();
        let moving = moving(self.kind, &self.relevant, &changed);
        let is_var = |path: &&Path| moving.contains(*path) || self.goal.contains_key(*path);
        let paths: Vec<&Path> = self.relevant.iter().filter(is_var).collect();
        let index =
            paths.iter().enumerate().map(|(index, path)| ((*path).clone(), index)).collect();
        let (facts, domain) = (BTreeMap::new(), Domain::default());
        let mut draft = Draft { kind: self.kind, index, facts, domain };
        draft.domain.vars = paths.into_iter().cloned().map(Var::new).collect();
        let shown = changed.difference(&self.relevant).map(|path| {
            let conditions = conditions(self.kind, path);
            (path.clone(), conditions.map(|(path, allowed)| (path, allowed.clone())).collect())
        });
        draft.domain.shown = shown.collect();
        draft.domain.unasked = self.unasked;
        for instance in instances {
            draft.op(instance);
        }
        draft.conditions();
        draft.constants();
        draft.domain
    }
}

/// The relevant paths that are changed, or forgotten when others are changed.
fn moving(
    kind: &KindCatalog,
    relevant: &BTreeSet<Path>,
    changed: &BTreeSet<Path>,
) -> BTreeSet<Path> {
    let mut moving: BTreeSet<Path> = relevant.intersection(changed).cloned().collect();
    loop {
        let forgotten = |path: &&Path| {
            !moving.contains(*path)
                && conditions(kind, path).any(|(condition, _)| moving.contains(&condition))
        };
        let more: Vec<Path> = relevant.iter().filter(forgotten).cloned().collect();
        if more.is_empty() {
            return moving;
        }
        moving.extend(more);
    }
}

/// The conditions while which a path is known.
fn conditions<'a>(
    kind: &'a KindCatalog,
    path: &Path,
) -> impl Iterator<Item = (Path, &'a BTreeSet<Value>)> + use<'a> {
    kind.schema.rule(path).into_iter().flat_map(|(rule, bindings)| {
        rule.known_while.iter().filter_map(move |condition| {
            Some((condition.pattern.bind(&bindings)?, &condition.allowed))
        })
    })
}

/// What Cfg could set so that something were wanted of a path: itself, or what it is a digest of.
fn inputs(kind: &KindCatalog, path: Path) -> Vec<String> {
    match kind.schema.rule(&path) {
        Some((rule, bindings)) if !rule.digest_of.is_empty() => {
            let bound = rule.digest_of.iter().map(|pattern| {
                let text = pattern.as_str().to_owned();
                bindings.iter().fold(text, |text, binding| text.replacen('*', binding, 1))
            });
            bound.collect()
        }
        _ => vec![path.to_string()],
    }
}

/// What an instance asks of the object itself.
fn own_tests(instance: &Instance) -> impl Iterator<Item = (Path, Guard)> + '_ {
    tests(instance).filter(|(on, ..)| **on == On::Itself).map(|(_, path, test, holds)| {
        let test = test.clone();
        (path, if holds { Guard::Holds(test) } else { Guard::Fails(test) })
    })
}

fn tests(instance: &Instance) -> impl Iterator<Item = (&On, Path, &Test, bool)> + '_ {
    let requires = instance.mutation.requires.iter().map(|predicate| (predicate, true));
    let excludes = instance.mutation.excludes.iter().map(|predicate| (predicate, false));
    requires.chain(excludes).filter_map(|(predicate, holds)| {
        let path = predicate.path(&instance.bindings)?;
        Some((&predicate.on, path, &predicate.test, holds))
    })
}

impl Var {
    fn new(path: Path) -> Self {
        Self {
            path,
            constants: Vec::new(),
            compared: Vec::new(),
            targets: BTreeSet::new(),
            conditions: Vec::new(),
            dependents: Vec::new(),
        }
    }
}

/// A domain in the making.
struct Draft<'a> {
    kind: &'a KindCatalog,
    index: BTreeMap<Path, usize>,
    facts: BTreeMap<(Path, Guard), usize>,
    domain: Domain,
}

impl Draft<'_> {
    fn op(&mut self, instance: Instance) {
        let (mut reads, mut writes, mut facts) = (Vec::new(), Vec::new(), Vec::new());
        let starts =
            instance.changes().map(|(path, change)| (path, Guard::From(change.from.clone())));
        let starts = starts.filter(|(_, guard)| *guard != Guard::From(From::Any));
        for (path, guard) in starts.chain(own_tests(&instance)) {
            match self.index.get(&path) {
                Some(var) => reads.push((*var, guard)),
                None => facts.push(self.fact(path, guard)),
            }
        }
        let mut keeps = Vec::new();
        for (path, change) in instance.changes() {
            let Some(var) = self.index.get(&path) else {
                for (cause, allowed) in conditions(self.kind, &path) {
                    keeps.push(self.condition(cause, allowed));
                }
                continue;
            };
            let target = match &change.to {
                To::Value(value) => Target::Value(value.clone()),
                To::Cfg => Target::Cfg,
            };
            writes.push((*var, target));
        }
        let related = tests(&instance).filter(|(on, ..)| **on != On::Itself);
        let related = related
            .map(|(on, path, test, holds)| {
                (Related { on: on.clone(), path, test: test.clone() }, holds)
            })
            .collect::<Vec<_>>();
        let related =
            related.into_iter().map(|(test, holds)| (self.related(test), holds)).collect();
        self.domain.ops.push(Op { instance, reads, writes, keeps, facts, related });
    }

    fn fact(&mut self, path: Path, guard: Guard) -> usize {
        *self.facts.entry((path, guard)).or_insert_with_key(|fact| {
            self.domain.facts.push(fact.clone());
            self.domain.facts.len() - 1
        })
    }

    fn related(&mut self, related: Related) -> usize {
        place(&mut self.domain.related, related)
    }

    fn condition(&mut self, cause: Path, allowed: &BTreeSet<Value>) -> Condition {
        match self.index.get(&cause) {
            Some(cause) => Condition::Var(*cause, allowed.clone()),
            None => Condition::Fact(self.fact(cause, Guard::Keeps(allowed.clone()))),
        }
    }

    fn conditions(&mut self) {
        for var in 0..self.domain.vars.len() {
            let path = self.domain.vars[var].path.clone();
            for (cause, allowed) in conditions(self.kind, &path) {
                let condition = self.condition(cause, allowed);
                if let Condition::Var(cause, _) = condition {
                    self.domain.vars[cause].dependents.push((var, allowed.clone()));
                }
                self.domain.vars[var].conditions.push(condition);
            }
        }
    }

    fn constants(&mut self) {
        let Domain { vars, ops, .. } = &mut self.domain;
        for op in ops {
            for (var, guard) in &op.reads {
                vars[*var].learn(guard);
            }
            for condition in &op.keeps {
                if let Condition::Var(cause, allowed) = condition {
                    vars[*cause].constants.extend(allowed.iter().cloned());
                }
            }
            for (var, target) in &op.writes {
                vars[*var].targets.insert(target.clone());
            }
        }
        for var in vars {
            let allowed = var.dependents.iter().flat_map(|(_, allowed)| allowed.iter().cloned());
            var.constants.extend(allowed);
            let led = var.targets.iter().filter_map(|target| match target {
                Target::Value(value) => Some(value.clone()),
                Target::Cfg => None,
            });
            var.constants.extend(led);
            var.constants.sort();
            var.constants.dedup();
        }
    }
}

impl Var {
    fn learn(&mut self, guard: &Guard) {
        match guard {
            Guard::From(From::In(values)) => self.constants.extend(values.iter().cloned()),
            Guard::From(From::Any | From::Unknown) => {}
            Guard::Keeps(values) => self.constants.extend(values.iter().cloned()),
            Guard::Holds(test) | Guard::Fails(test) => match test {
                Test::In(values) => self.constants.extend(values.iter().cloned()),
                Test::Not(value) => self.constants.push(value.clone()),
                Test::Known => {}
                Test::Below(_) | Test::AtMost(_) | Test::Above(_) | Test::AtLeast(_) => {
                    place(&mut self.compared, test.clone());
                }
            },
        }
    }
}

/// The place of an item, added where it is new.
fn place<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    items.iter().position(|held| *held == item).unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    })
}
