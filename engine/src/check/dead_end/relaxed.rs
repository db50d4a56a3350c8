//! A kind in the best of worlds: without what no mutation can bring about, and with looks that find
//! what helps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{AS_CFG, OTHER};
use crate::{
    catalog::{KindCatalog, overlap},
    check::guards::{Guard, guards},
    id::Name,
    manifest::{Context, Retry, Type},
    mutation::{Change, From, Mutation, MutationId, To},
    path::Pattern,
    predicate::{On, Predicate, Test},
    schema::Goal,
    value::{Finite, Value},
};

/// A kind in the best of worlds, for one goal.
pub(super) struct Relaxed<'a> {
    kind: &'a KindCatalog,
    /// What is wanted, by the pattern of its path.
    sought: BTreeMap<&'a Pattern, Vec<&'a Value>>,
}

impl<'a> Relaxed<'a> {
    pub(super) fn new(kind: &'a KindCatalog, wanted: &'a Goal) -> Self {
        let mut sought: BTreeMap<&Pattern, Vec<&Value>> = BTreeMap::new();
        for (path, value) in wanted {
            if let Some(rule) = kind.schema.rule_at(path) {
                sought.entry(&rule.pattern).or_default().push(value);
            }
        }
        Self { kind, sought }
    }
}

impl Relaxed<'_> {
    pub(super) fn build(&self) -> KindCatalog {
        let mut relaxed = self.kind.clone();
        let given = self.kind.mutations.iter();
        relaxed.mutations = given.map(|mutation| Arc::new(self.mutation(mutation))).collect();
        let changes = self.kind.mutations.iter().flat_map(|mutation| &mutation.changes);
        let patterns: BTreeSet<&Pattern> = changes.map(|change| &change.path).collect();
        for pattern in patterns {
            for value in self.values(pattern) {
                // A look must not find by chance what is to be reached.
                if !self.is_sought(pattern, &value) {
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
            let mut sought = self.sought.iter().filter(|(rule, _)| overlap(&predicate.path, rule));
            own && sought.all(|(rule, _)| predicate.path == **rule)
        };
        let mut relaxed = mutation.clone();
        relaxed.requires = mutation.requires.iter().filter(matters).cloned().collect();
        relaxed.excludes = mutation.excludes.iter().filter(matters).cloned().collect();
        for change in &mut relaxed.changes {
            let sought = self.sought.iter().any(|(rule, _)| overlap(&change.path, rule));
            if change.to == To::Cfg && !sought {
                change.to = To::Value(AS_CFG.into());
            }
        }
        relaxed
    }

    /// Whether it is the value of every path that is sought there.
    fn is_sought(&self, pattern: &Pattern, value: &Value) -> bool {
        let mut wanted = self
            .sought
            .iter()
            .filter(|(rule, _)| overlap(pattern, rule))
            .flat_map(|(_, wanted)| wanted)
            .peekable();
        wanted.peek().is_some() && wanted.all(|wanted| *wanted == value)
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
