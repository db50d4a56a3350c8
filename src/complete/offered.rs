//! What may be typed, made of what was typed so far and of what there is.

use std::collections::{BTreeMap, BTreeSet};

use kraken_engine::manifest::{PathSpec, Type};
use kraken_http::view::ObjectView;

use crate::fleet::called;

/// Names as they are typed: `name`, or `namespace/name`.
pub(super) fn names(objects: &[ObjectView]) -> Vec<String> {
    objects.iter().map(called).collect()
}

/// Sets of nodes: the last name of several, or what follows the `@`.
pub(super) fn set(typed: &str, objects: &[ObjectView]) -> Vec<String> {
    if let Some(selector) = typed.strip_prefix('@') {
        let (before, last) = selector.rsplit_once(',').map_or(("", selector), |(b, l)| (b, l));
        let before = if before.is_empty() { "@".to_owned() } else { format!("@{before},") };
        return labels(last, objects).iter().map(|label| format!("{before}{label}")).collect();
    }
    // A comma within brackets parts numbers, not names.
    let mut depth = 0_usize;
    let mut cut = 0;
    for (at, char) in typed.char_indices() {
        match char {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => cut = at + 1,
            _ => {}
        }
    }
    let before = typed.get(..cut).unwrap_or_default();
    let typed_before: BTreeSet<&str> = before.split(',').collect();
    let new = names(objects).into_iter().filter(|name| !typed_before.contains(name.as_str()));
    new.map(|name| format!("{before}{name}")).collect()
}

/// Labels: their names with `=`, or their values once it is typed.
pub(super) fn labels(typed: &str, objects: &[ObjectView]) -> Vec<String> {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (label, value) in objects.iter().flat_map(|object| &object.labels) {
        labels.entry(label).or_default().insert(value);
    }
    match typed.split_once('=') {
        None => labels.keys().map(|label| format!("{label}=")).collect(),
        Some((label, _)) => {
            let values = labels.remove(label).unwrap_or_default().into_iter();
            values.map(|value| format!("{label}={value}")).collect()
        }
    }
}

/// What is declared of a kind, and what some objects of it have.
pub(super) struct Place {
    pub(super) rules: Vec<PathSpec>,
    /// Paths without their first slash.
    pub(super) seen: BTreeSet<String>,
}

impl Place {
    /// What may become of `path=value`.
    pub(super) fn changes(&self, typed: &str) -> Vec<String> {
        let slash = if typed.starts_with('/') { "/" } else { "" };
        let bare = typed.strip_prefix('/').unwrap_or(typed);
        let offers: BTreeSet<String> = match bare.split_once('=') {
            Some((path, _)) => self.values(path).map(|value| format!("{path}={value}")).collect(),
            None => self.rules.iter().flat_map(|rule| self.paths(&rule.path, bare)).collect(),
        };
        offers.into_iter().map(|offer| format!("{slash}{offer}")).collect()
    }

    /// The values of a path, where there are few.
    fn values(&self, path: &str) -> impl Iterator<Item = String> {
        let rule = self.rules.iter().find(|rule| matches(&rule.path, path));
        let values = match rule.map(|rule| &rule.value_type) {
            Some(Type::Enum(values)) => values.clone(),
            Some(Type::Bool) => vec!["true".to_owned(), "false".to_owned()],
            Some(Type::Int { .. } | Type::Float | Type::Text | Type::Texts | Type::Share)
            | None => Vec::new(),
        };
        values.into_iter()
    }

    /// How far a path can be completed by a rule: to its end, or to what only a person can name.
    fn paths(&self, pattern: &str, typed: &str) -> Vec<String> {
        let pattern: Vec<&str> = pattern.trim_start_matches('/').split('/').collect();
        let typed: Vec<&str> = typed.split('/').collect();
        let Some((part, whole)) = typed.split_last() else { return Vec::new() };
        let fits = |(rule, typed): (&&str, &&str)| *rule == "*" || rule == typed;
        if whole.len() >= pattern.len() || !pattern.iter().zip(whole).all(fits) {
            return Vec::new();
        }
        let next: BTreeSet<String> = match pattern.get(whole.len()) {
            Some(&"*") => self.named_after(whole),
            Some(segment) => BTreeSet::from([(*segment).to_owned()]),
            None => BTreeSet::new(),
        };
        let begun = next.iter().filter(|segment| segment.starts_with(part));
        begun.map(|segment| extended(&[whole, &[segment.as_str()]].concat(), &pattern)).collect()
    }

    /// What stands after these segments in the paths that there are.
    fn named_after(&self, whole: &[&str]) -> BTreeSet<String> {
        let next = |path: &String| {
            let mut segments = path.split('/');
            let is_below = whole.iter().all(|segment| segments.next() == Some(*segment));
            segments.next().filter(|_| is_below).map(str::to_owned)
        };
        self.seen.iter().filter_map(next).collect()
    }
}

/// Goes on with a pattern up to its end, which is marked by `=`, or up to its next star.
fn extended(begun: &[&str], pattern: &[&str]) -> String {
    let rest = pattern.get(begun.len()..).unwrap_or_default();
    let known: Vec<&str> = rest.iter().copied().take_while(|segment| *segment != "*").collect();
    let end = if known.len() == rest.len() { "=" } else { "/" };
    format!("{}{end}", [begun, &known].concat().join("/"))
}

/// Whether a pattern has this path, written without its first slash.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.trim_start_matches('/').split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(rule), Some(segment)) if rule == "*" || rule == segment => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> Vec<ObjectView> {
        let node = |name: &str, labels: serde_json::Value| {
            serde_json::from_value(json!({
                "kind": "node", "name": name, "uid": name, "revision": 1, "created": "",
                "labels": labels,
            }))
            .unwrap()
        };
        vec![node("n1", json!({ "rack": "r1", "role": "gw" })), node("n2", json!({ "rack": "r2" }))]
    }

    #[test]
    fn sets_are_completed_at_their_last_name() {
        for (typed, expected) in [
            ("", vec!["n1", "n2"]),
            ("n1,", vec!["n1,n2"]),
            ("n[1,2],", vec!["n[1,2],n1", "n[1,2],n2"]),
            ("@", vec!["@rack=", "@role="]),
            ("@rack=", vec!["@rack=r1", "@rack=r2"]),
            ("@role=gw,ra", vec!["@role=gw,rack=", "@role=gw,role="]),
        ] {
            assert_eq!(set(typed, &objects()), expected, "{typed}");
        }
    }

    #[test]
    fn paths_are_completed_to_their_end_or_to_a_name() {
        let rules = [
            PathSpec::new("/services/*/state", Type::enum_of(["RUN", "STOP"])),
            PathSpec::new("/services/*/env/*", Type::Text),
            PathSpec::new("/physState", Type::enum_of(["POWER_ON", "POWER_OFF"])),
            PathSpec::new("/busy", Type::Bool),
        ];
        let seen = ["services/web/state", "services/db/pid", "physState"];
        let seen = seen.map(str::to_owned).into();
        let place = Place { rules: rules.to_vec(), seen };
        for (typed, expected) in [
            ("", vec!["busy=", "physState=", "services/"]),
            ("/ph", vec!["/physState="]),
            ("ser", vec!["services/"]),
            (
                "services/",
                vec![
                    "services/db/env/",
                    "services/db/state=",
                    "services/web/env/",
                    "services/web/state=",
                ],
            ),
            ("services/w", vec!["services/web/env/", "services/web/state="]),
            ("services/new/", vec!["services/new/env/", "services/new/state="]),
            ("services/web/env/", vec![]),
            ("services/web/state=", vec!["services/web/state=RUN", "services/web/state=STOP"]),
            ("busy=", vec!["busy=false", "busy=true"]),
            ("services/web/state/x", vec![]),
        ] {
            assert_eq!(place.changes(typed), expected, "{typed}");
        }
    }
}
