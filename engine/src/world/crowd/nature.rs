//! What is, of every simulated object: the values of all paths that somebody discovers.

use std::collections::BTreeMap;

use crate::{
    catalog::KindCatalog,
    id::Uid,
    manifest::{From, To, Type},
    mutation::Instance,
    object::Object,
    path::Path,
    schema::PathRule,
    state::State,
    value::Value,
};

/// The values of everything that can be seen.
#[derive(Debug, Default)]
pub(super) struct Nature(BTreeMap<Uid, BTreeMap<Path, Value>>);

impl Nature {
    /// An object as it comes: absent where its kind says what that is, else the first value there
    /// is.
    pub(super) fn add(&mut self, object: &Object, kind: &KindCatalog) {
        let asked = object.cfg.iter().map(|(path, _)| path.clone());
        let plain = kind.schema.rules().filter_map(|rule| rule.pattern.bind(&[]));
        let mut values = BTreeMap::new();
        for path in asked.chain(plain) {
            let Some(rule) = kind.schema.rule_at(&path).filter(|rule| rule.discovered) else {
                continue;
            };
            if let Some(value) = first_value(rule) {
                values.insert(path, value);
            }
        }
        self.0.insert(object.uid, values);
    }

    pub(super) fn get(&self, uid: Uid, path: &Path) -> Option<Value> {
        self.0.get(&uid)?.get(path).cloned()
    }

    pub(super) fn set(&mut self, uid: Uid, changes: Vec<(Path, Option<Value>)>) {
        let held = self.0.entry(uid).or_default();
        for (path, value) in changes {
            if let Some(value) = value {
                held.insert(path, value);
            }
        }
    }

    /// What a look shows: all values, and that those cannot be known that do not stand now.
    pub(super) fn look(&self, object: &Object, kind: &KindCatalog) -> Vec<(Path, Option<Value>)> {
        let Some(held) = self.0.get(&object.uid) else { return Vec::new() };
        let known = |path: &Path| {
            let Some((rule, bindings)) = kind.schema.rule(path) else { return false };
            rule.known_while.iter().all(|condition| {
                let cause = condition.pattern.bind(&bindings).and_then(|cause| held.get(&cause));
                cause.is_some_and(|value| condition.allowed.contains(value))
            })
        };
        let seen =
            |(path, value): (&Path, &Value)| (path.clone(), known(path).then(|| value.clone()));
        held.iter().map(seen).collect()
    }
}

fn first_value(rule: &PathRule) -> Option<Value> {
    if let Some(absent) = &rule.absent {
        return Some(absent.clone());
    }
    match &rule.value_type {
        Type::Bool => Some(Value::Bool(false)),
        Type::Int { min, max } => Some(Value::Int(0.clamp(*min, *max))),
        Type::Text => Some("".into()),
        Type::Enum(values) => values.first().map(|value| value.as_str().into()),
        Type::Float | Type::Texts | Type::Share => None,
    }
}

/// What an instance leads to; nothing where it only looks.
pub(super) fn changes(instance: &Instance, cfg: &State) -> Vec<(Path, Option<Value>)> {
    let changes = instance.changes().map(|(path, change)| {
        let to = match (&change.from, &change.to) {
            (From::Unknown, _) => None,
            (_, To::Cfg) => cfg.get(path.as_str()).cloned(),
            (_, To::Value(value)) => Some(value.clone()),
        };
        (path, to)
    });
    changes.collect()
}
