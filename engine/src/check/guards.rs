//! What mutations require: whether it can hold at all, and whether the paths of related objects
//! exist.

use super::{Code, Findings, Kind, Severity};
use crate::{
    catalog::{KindCatalog, covers},
    id::Name,
    manifest::NODE_KIND,
    mutation::{From, Mutation},
    path::Pattern,
    predicate::{On, Predicate, Test},
};

/// A test of a path of the object itself, and whether it must hold or must fail.
pub(super) type Guard<'a> = (&'a Pattern, std::borrow::Cow<'a, Test>, bool);

/// What a mutation asks of the object itself before it starts.
pub(super) fn guards(mutation: &Mutation) -> Vec<Guard<'_>> {
    use std::borrow::Cow;
    let own = |predicate: &&Predicate| predicate.on == On::Itself;
    let requires = mutation.requires.iter().filter(own).map(|p| (p, true));
    let excludes = mutation.excludes.iter().filter(own).map(|p| (p, false));
    let tests = requires.chain(excludes);
    let mut guards: Vec<Guard<'_>> =
        tests.map(|(p, holds)| (&p.path, Cow::Borrowed(&p.test), holds)).collect();
    for change in &mutation.changes {
        match &change.from {
            From::Any => {}
            From::Unknown => guards.push((&change.path, Cow::Owned(Test::Known), false)),
            From::In(values) => {
                let test = Test::In(values.iter().cloned().collect());
                guards.push((&change.path, Cow::Owned(test), true));
            }
        }
    }
    guards
}

/// Whether two guards of one path certainly never hold together.
pub(super) fn exclude(one: &Guard<'_>, other: &Guard<'_>) -> bool {
    let never = |(_, test, holds): &Guard<'_>, (_, against, other_holds): &Guard<'_>| {
        match (test.as_ref(), holds) {
            (Test::In(values), true) => {
                values.iter().all(|value| against.holds(Some(value)) != *other_holds)
            }
            // What must not be known meets no test that must hold.
            (Test::Known, false) => *other_holds,
            (
                Test::In(_)
                | Test::Not(_)
                | Test::Known
                | Test::Below(_)
                | Test::AtMost(_)
                | Test::Above(_)
                | Test::AtLeast(_),
                _,
            ) => false,
        }
    };
    one.0 == other.0 && (never(one, other) || never(other, one))
}

pub(super) fn check(kind: &Kind<'_>, findings: &mut Findings<'_>) {
    for mutation in &kind.kind.mutations {
        contradictions(mutation, findings);
        related(kind, mutation, findings);
    }
}

fn contradictions(mutation: &Mutation, findings: &mut Findings<'_>) {
    let guards = guards(mutation);
    for (place, guard) in guards.iter().enumerate() {
        if guards[..place].iter().any(|earlier| exclude(earlier, guard)) {
            let text = format!(
                "what it asks of {} can never hold together, so that it never starts; \
                 correct `requires`, `excludes` or `from`",
                guard.0
            );
            let at: &[&str] = &["requires"];
            return findings.mutation(Severity::Error, Code::Contradiction, (mutation, at), text);
        }
    }
}

/// Paths of related objects: the parent and named objects are nodes, an owner is of any kind.
fn related(kind: &Kind<'_>, mutation: &Mutation, findings: &mut Findings<'_>) {
    let declares = |kind: &KindCatalog, pattern: &Pattern| {
        let engine = pattern.as_str().starts_with("/engine/");
        engine || kind.schema.rules().any(|rule| covers(&rule.pattern, pattern))
    };
    let node = Name::new(NODE_KIND).ok();
    let node = node.and_then(|node| kind.catalog.kind(&node));
    let lists = [("requires", &mutation.requires), ("excludes", &mutation.excludes)];
    for (key, predicates) in lists {
        for (index, predicate) in predicates.iter().enumerate() {
            let known = match &predicate.on {
                On::Itself => true,
                On::Owner => kind.catalog.kinds().any(|(_, k)| declares(k, &predicate.path)),
                // Without any node declared nothing is known of nodes yet.
                On::Parent => node.is_none_or(|node| declares(node, &predicate.path)),
                On::NamedBy(naming) => {
                    let names = declares(kind.kind, &Pattern::from(naming.clone()));
                    names && node.is_none_or(|node| declares(node, &predicate.path))
                }
            };
            if !known {
                let text = format!(
                    "no extension declares what `{predicate}` speaks of; declare the path or \
                     correct its name"
                );
                let index = index.to_string();
                let at: &[&str] = &[key, &index];
                findings.mutation(Severity::Warning, Code::UnknownPath, (mutation, at), text);
            }
        }
    }
}
