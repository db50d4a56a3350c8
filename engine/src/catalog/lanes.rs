//! Which paths each lane has to do with. The quorum's lane: those that it changes, and those that a
//! node changes only once the quorum's lane has brought another path to where it must be. A node's
//! own: those that it changes, and those on which they rest, whoever changes them.

use std::{collections::BTreeSet, sync::Arc};

use super::{KindCatalog, compile::overlap};
use crate::{
    mutation::{Lane, Mutation},
    path::{Path, Pattern},
    predicate::On,
    schema::PathRule,
};

/// Marks the paths of a kind that concern the lanes, and finds what the host of an object must know
/// of other objects.
pub(super) fn mark(kind: &mut KindCatalog) {
    let quorum = closure(kind, Lane::Quorum, |rule, marked| rests_on(kind, rule, marked));
    let host = closure(kind, Lane::Itself, |rule, marked| bears(kind, rule, marked));
    for rule in kind.schema.rules_mut() {
        rule.concerns_quorum = quorum.contains(&rule.pattern);
        rule.concerns_host = host.contains(&rule.pattern);
    }
    let hosts = kind.mutations.iter().filter(|mutation| changes_any(mutation, &host));
    kind.elsewhere_of_host = elsewhere(hosts.map(AsRef::as_ref));
    kind.elsewhere = elsewhere(kind.mutations.iter().map(AsRef::as_ref));
}

/// What predicates name of other objects. Those whose paths hold stars are of the object itself.
fn elsewhere<'a>(mutations: impl Iterator<Item = &'a Mutation>) -> Arc<[(On, Path)]> {
    let guards = mutations.flat_map(|m| m.requires.iter().chain(&m.excludes));
    let elsewhere = guards.filter(|guard| guard.on != On::Itself);
    let named = elsewhere.filter_map(|guard| Some((guard.on.clone(), guard.path.bind(&[])?)));
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The paths that a lane changes, and all that follow from them.
fn closure(
    kind: &KindCatalog,
    lane: Lane,
    follows: impl Fn(&PathRule, &[Pattern]) -> bool,
) -> Vec<Pattern> {
    let changed = |rule: &&PathRule| rule.changed_from == Some(lane);
    let mut marked: Vec<Pattern> =
        kind.schema.rules().filter(changed).map(|rule| rule.pattern.clone()).collect();
    // A pass that finds none is the last; each finds one of finitely many.
    loop {
        let next = |rule: &&PathRule| !marked.contains(&rule.pattern) && follows(rule, &marked);
        let found: Vec<Pattern> =
            kind.schema.rules().filter(next).map(|rule| rule.pattern.clone()).collect();
        if found.is_empty() {
            return marked;
        }
        marked.extend(found);
    }
}

/// Whether a path is reached, known or asked for only by way of a marked one.
fn rests_on(kind: &KindCatalog, rule: &PathRule, marked: &[Pattern]) -> bool {
    let this = [rule.pattern.clone()];
    let mut changing = kind.mutations.iter().filter(|mutation| changes_any(mutation, &this));
    let is_input = |other: &PathRule| {
        is_any(&other.pattern, marked) && other.digest_of.iter().any(|input| is_any(input, &this))
    };
    rule.known_while.iter().any(|condition| is_any(&condition.pattern, marked))
        || changing.any(|mutation| needs_any(mutation, marked))
        || kind.schema.rules().any(is_input)
}

/// Whether a marked path is changed or known only by way of this one, or together with it.
fn bears(kind: &KindCatalog, rule: &PathRule, marked: &[Pattern]) -> bool {
    let this = [rule.pattern.clone()];
    let mut changing = kind.mutations.iter().filter(|mutation| changes_any(mutation, marked));
    let mut known = kind.schema.rules().filter(|other| is_any(&other.pattern, marked));
    changing.any(|mutation| needs_any(mutation, &this) || changes_any(mutation, &this))
        || known.any(|other| other.known_while.iter().any(|c| is_any(&c.pattern, &this)))
}

fn is_any(pattern: &Pattern, others: &[Pattern]) -> bool {
    others.iter().any(|other| overlap(other, pattern))
}

fn changes_any(mutation: &Mutation, patterns: &[Pattern]) -> bool {
    mutation.changes.iter().any(|change| is_any(&change.path, patterns))
}

/// Whether a mutation asks something of one of these paths of the object itself.
fn needs_any(mutation: &Mutation, patterns: &[Pattern]) -> bool {
    let guards = mutation.requires.iter().chain(&mutation.excludes);
    let mut own = guards.filter(|guard| guard.on == On::Itself);
    own.any(|guard| is_any(&guard.path, patterns))
}
