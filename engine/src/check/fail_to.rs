//! What failures leave: each value must be one that some mutation leads away from, else an object
//! that failed once stays where it is.

use super::{Code, Findings, Kind, Severity};
use crate::{
    catalog::{KindCatalog, overlap},
    mutation::To,
    path::Pattern,
    value::Value,
};

pub(super) fn check(kind: &Kind<'_>, findings: &mut Findings<'_>) {
    for mutation in &kind.kind.mutations {
        for (path, value) in &mutation.fail_to {
            if !is_left(kind.kind, path, value) {
                let text = format!(
                    "its failure leaves {path} = {value}, and no mutation leads away from there; \
                     declare one that starts from {value}, or leave `failTo` out"
                );
                let at: &[&str] = &["failTo", path.as_str()];
                findings.mutation(Severity::Error, Code::FailToKept, (mutation, at), text);
            }
        }
        for change in &mutation.changes {
            let seen = |rule: &&crate::schema::PathRule| {
                overlap(&rule.pattern, &change.path) && !rule.discovered
            };
            if let Some(rule) = kind.kind.schema.rules().find(seen) {
                let text = format!(
                    "it changes {}, which no module discovers: the path then always counts as \
                     what Cfg says, and the change is never due; add the path to `discovers`",
                    rule.pattern
                );
                let at: &[&str] = &["changes", change.path.as_str()];
                findings.mutation(Severity::Warning, Code::NeverSeen, (mutation, at), text);
            }
        }
    }
}

/// Whether some mutation leads a path away from a value, or makes it forgotten.
pub(super) fn is_left(kind: &KindCatalog, path: &Pattern, value: &Value) -> bool {
    let leads = kind.mutations.iter().flat_map(|mutation| &mutation.changes).any(|change| {
        let elsewhere = match &change.to {
            To::Cfg => true,
            To::Value(to) => to != value,
        };
        overlap(&change.path, path) && change.from.admits(Some(value)) && elsewhere
    });
    leads || is_forgotten(kind, path)
}

/// Whether some mutation makes a condition false while which the path is known.
fn is_forgotten(kind: &KindCatalog, path: &Pattern) -> bool {
    let rules = kind.schema.rules().filter(|rule| overlap(&rule.pattern, path));
    let mut conditions = rules.flat_map(|rule| &rule.known_while);
    conditions.any(|condition| {
        let mut changes = kind.mutations.iter().flat_map(|mutation| &mutation.changes);
        changes.any(|change| {
            let ends = match &change.to {
                To::Cfg => true,
                To::Value(to) => !condition.allowed.contains(to),
            };
            overlap(&change.path, &condition.pattern) && ends
        })
    })
}
