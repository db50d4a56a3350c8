//! The states from which dead ends are sought: those that mutations of the sought paths, and their
//! failures, leave an object in.

use super::{AS_CFG, OTHER};
use crate::{
    catalog::KindCatalog,
    check::fail_to::is_left,
    mutation::{Instance, Mutation, To},
    path::{Bindings, Path, Pattern},
    predicate::{On, Test},
    schema::Goal,
    state::State,
    value::Value,
};

/// A state that an object is left in, and by whom.
pub(super) struct Left<'a> {
    pub(super) by: &'a Mutation,
    pub(super) failed: bool,
    pub(super) state: State,
}

/// The states in which mutations of the wanted paths, and their failures, leave an object, where
/// they leave one of the paths elsewhere than wanted. Other paths are unknown unless they say more.
pub(super) fn starts<'a>(kind: &'a KindCatalog, wanted: &Goal) -> Vec<Left<'a>> {
    let mut starts: Vec<Left<'_>> = Vec::new();
    for mutation in &kind.mutations {
        let mut bound: Vec<Bindings> =
            wanted.keys().filter_map(|path| bindings(mutation, path)).collect();
        bound.dedup();
        for bindings in bound {
            let instance = Instance { mutation: mutation.clone(), bindings };
            let state = done(&instance, wanted);
            starts.push(Left { by: mutation, failed: false, state });
            // A failure that nothing leads away from is an error by itself.
            let is_left = |(path, value): &(Pattern, Value)| is_left(kind, path, value);
            if !mutation.fail_to.is_empty() && mutation.fail_to.iter().all(is_left) {
                let state = failed(&instance);
                starts.push(Left { by: mutation, failed: true, state });
            }
        }
    }
    for left in &mut starts {
        forget(kind, &mut left.state);
    }
    // Of what is unknown a look tells: each of the values that it may find is a start too.
    let elsewhere = |left: &Left<'_>| {
        let mut seen =
            wanted.iter().filter_map(|(path, w)| Some((left.state.get(path.as_str())?, w)));
        seen.any(|(value, wanted)| value != wanted)
    };
    starts.retain(elsewhere);
    starts
}

fn done(instance: &Instance, wanted: &Goal) -> State {
    let mut done = required(instance);
    for (changed, change) in instance.changes() {
        let other = if wanted.contains_key(&changed) { OTHER } else { AS_CFG };
        let value = match &change.to {
            To::Value(value) => value.clone(),
            To::Cfg => other.into(),
        };
        put(&mut done, changed, value);
    }
    done
}

fn failed(instance: &Instance) -> State {
    let mut failed = required(instance);
    for (changed, _) in instance.changes() {
        failed.unset(&changed);
    }
    for (kept, value) in instance.fail_to() {
        put(&mut failed, kept, value.clone());
    }
    failed
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
