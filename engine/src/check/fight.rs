//! Modules that would fight: two that lead one path, which nobody sets, from the same value to
//! different ones. Where Cfg sets the path, Cfg decides which of them is wanted.

use super::{
    Code, Findings, Kind, Severity,
    guards::{exclude, guards},
};
use crate::{
    catalog::overlap,
    manifest::SetBy,
    mutation::{Mutation, To},
    path::Pattern,
};

pub(super) fn check(kind: &Kind<'_>, findings: &mut Findings<'_>) {
    let mutations = &kind.kind.mutations;
    for (place, mutation) in mutations.iter().enumerate() {
        for other in mutations[..place].iter().filter(|o| o.id.module != mutation.id.module) {
            if let Some(path) = contested(kind, mutation, other) {
                let text = format!(
                    "it leads {path} elsewhere than {} does from the same value, and nobody sets \
                     that path: the two modules would undo each other's work; let one of them \
                     require what the other excludes, or have the path set by users",
                    other.id
                );
                let at: &[&str] = &["changes", path.as_str()];
                findings.mutation(Severity::Error, Code::Fight, (mutation, at), text);
            }
        }
    }
}

/// The path that both change, where they can start from the same state and lead it apart.
fn contested<'a>(kind: &Kind<'_>, one: &'a Mutation, other: &Mutation) -> Option<&'a Pattern> {
    let apart = |one: &To, other: &To| match (one, other) {
        (To::Value(one), To::Value(other)) => one != other,
        (To::Cfg, _) | (_, To::Cfg) => false,
    };
    let unset = |path: &Pattern| {
        let mut rules = kind.kind.schema.rules().filter(|rule| overlap(&rule.pattern, path));
        rules.any(|rule| rule.set_by == SetBy::Nobody && rule.digest_of.is_empty())
    };
    let changed = one.changes.iter().find(|change| {
        let others = other.changes.iter().filter(|held| held.path == change.path);
        unset(&change.path) && others.into_iter().any(|held| apart(&change.to, &held.to))
    })?;
    let (ours, theirs) = (guards(one), guards(other));
    let at_once = !ours.iter().any(|guard| theirs.iter().any(|held| exclude(guard, held)));
    at_once.then_some(&changed.path)
}
