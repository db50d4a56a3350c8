//! `fields=`: which members of objects are shown. What is left out is neither sent nor looked for;
//! what identifies an object always stands.

use std::collections::BTreeMap;

use kraken_engine::nearest::nearest;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::{
    problem::Problem,
    query::Query,
    view::{ObjectView, Shown},
};

/// Most fields of one request.
pub(crate) const FIELDS_MAX: usize = 64;
/// Longest list of fields in bytes.
pub(crate) const FIELDS_BYTES_MAX: usize = 4_096;
/// What is always shown, of every object.
pub(crate) const IDENTITY: [&str; 4] = ["kind", "name", "uid", "revision"];
/// What is always shown where there is such a thing.
const NAMESPACE: &str = "namespace";

/// Members that can be asked for, each with whether paths below it can be.
const MEMBERS: [(&str, bool); 18] = [
    ("kind", false),
    ("namespace", false),
    ("name", false),
    ("uid", false),
    ("labels", true),
    ("owner", false),
    ("onDelete", false),
    ("revision", false),
    ("created", false),
    ("deleting", false),
    ("frozen", false),
    ("formerHost", false),
    ("cfg", true),
    ("dsc", true),
    ("state", true),
    ("stale", false),
    ("status", false),
    ("dscAgeMs", false),
];
/// Members that are made of what was seen.
const SEEN: [&str; 5] = ["dsc", "state", "stale", "status", "dscAgeMs"];

/// The members that are wanted, each with the paths below it; none: all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, Vec<Vec<String>>>);

/// An object, or as much of it as is wanted.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Chosen {
    Whole(Box<ObjectView>),
    Part(Map<String, Json>),
}

impl Fields {
    /// Takes `fields`; nothing where it is absent.
    pub(crate) fn take(query: &mut Query) -> Result<Option<Self>, Problem> {
        let Some(text) = query.take("fields") else { return Ok(None) };
        let wrong = |why: String| Problem::query("fields", why);
        if text.len() > FIELDS_BYTES_MAX {
            return Err(wrong(format!("it is limited to {FIELDS_BYTES_MAX} bytes")));
        }
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        if fields.len() > FIELDS_MAX {
            return Err(wrong(format!("it is limited to {FIELDS_MAX} fields")));
        }
        let mut wanted = Self::default();
        for field in fields {
            wanted.want(field).map_err(wrong)?;
        }
        Ok(Some(wanted))
    }

    fn want(&mut self, field: &str) -> Result<(), String> {
        let field = field.strip_prefix('/').unwrap_or(field);
        let (member, below) = field.split_once('/').unwrap_or((field, ""));
        let Some((_, has_paths)) = MEMBERS.iter().find(|(known, _)| *known == member) else {
            return Err(unknown(member));
        };
        let below: Vec<String> =
            below.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
        if below.is_empty() {
            // All of it, whatever else is said.
            self.0.insert(member.to_owned(), Vec::new());
        } else if !has_paths {
            return Err(format!("{member} is shown as a whole; leave out what follows it"));
        } else if self.0.get(member).is_none_or(|paths| !paths.is_empty()) {
            self.0.entry(member.to_owned()).or_default().push(below);
        }
        Ok(())
    }

    /// What has to be looked at: where nothing that was seen is wanted, only Cfg.
    pub(crate) fn narrow(&self, shown: Shown) -> Shown {
        let is_seen = SEEN.iter().any(|member| self.0.contains_key(*member));
        if is_seen { shown } else { Shown::Cfg }
    }

    /// As much of an object as is wanted.
    pub(crate) fn of(&self, view: &ObjectView) -> Map<String, Json> {
        // Plain data always has a JSON form.
        let Ok(Json::Object(whole)) = serde_json::to_value(view) else { return Map::new() };
        let pick = |(member, value): (String, Json)| {
            let is_kept = IDENTITY.contains(&member.as_str()) || member == NAMESPACE;
            match self.0.get(&member) {
                None => is_kept.then_some((member, value)),
                Some(paths) if paths.is_empty() => Some((member, value)),
                Some(paths) => Some((member, part(&value, paths))),
            }
        };
        whole.into_iter().filter_map(pick).collect()
    }
}

impl Chosen {
    /// An object, of which these fields are wanted.
    pub(crate) fn of(view: ObjectView, fields: Option<&Fields>) -> Self {
        match fields {
            None => Self::Whole(Box::new(view)),
            Some(fields) => Self::Part(fields.of(&view)),
        }
    }

    /// The same without the age of what was seen, which is never twice the same.
    pub(crate) fn ageless(&self) -> Self {
        match self {
            Self::Whole(view) => {
                Self::Whole(Box::new(ObjectView { dsc_age_ms: None, ..(**view).clone() }))
            }
            Self::Part(part) => {
                let kept = part.iter().filter(|(member, _)| member.as_str() != "dscAgeMs");
                Self::Part(kept.map(|(member, value)| (member.clone(), value.clone())).collect())
            }
        }
    }
}

fn unknown(member: &str) -> String {
    let members = MEMBERS.iter().map(|(member, _)| *member);
    match nearest(member, members.clone()) {
        _ if member.contains('.') => {
            format!("{member:?} is no member of an object; a path below one is written cfg/a/b")
        }
        Some(near) => format!("{member:?} is no member of an object (did you mean {near}?)"),
        None => {
            let known: Vec<&str> = members.collect();
            format!("{member:?} is no member of an object; those are {}", known.join(", "))
        }
    }
}

/// What stands in nested JSON at some paths.
fn part(json: &Json, paths: &[Vec<String>]) -> Json {
    let mut found = Json::Object(Map::new());
    for path in paths {
        if let Some(value) = path.iter().try_fold(json, |json, segment| json.get(segment)) {
            put(&mut found, path, value);
        }
    }
    found
}

/// Puts a value at a path; what another path has put there already is part of it, or the other way
/// round.
fn put(into: &mut Json, path: &[String], value: &Json) {
    let Some((head, rest)) = path.split_first() else {
        into.clone_from(value);
        return;
    };
    if let Json::Object(members) = into {
        put(members.entry(head.clone()).or_insert_with(|| Json::Object(Map::new())), rest, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn take(text: &str) -> Result<Fields, String> {
        let mut query = Query::new(vec![("fields".to_owned(), text.to_owned())]).unwrap();
        let taken = Fields::take(&mut query).map_err(|problem| problem.to_string())?;
        Ok(taken.unwrap())
    }

    fn node() -> ObjectView {
        let json = json!({
            "kind": "node", "name": "n1", "uid": "1", "revision": 7, "created": "then",
            "labels": { "rack": "r1", "row": "2" }, "owner": null,
            "cfg": { "physState": "POWER_ON", "services": { "a": { "state": "RUN" }, "b": 1 } },
            "dsc": { "physState": "POWER_OFF" }, "dscAgeMs": 3,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_wanted_is_shown_beside_what_identifies() {
        for (fields, expected) in [
            ("cfg/physState", json!({ "cfg": { "physState": "POWER_ON" } })),
            (
                "/cfg/services/a,labels/rack",
                json!({
                    "cfg": { "services": { "a": { "state": "RUN" } } }, "labels": { "rack": "r1" },
                }),
            ),
            (
                "cfg/services,cfg/services/b",
                json!({
                    "cfg": { "services": { "a": { "state": "RUN" }, "b": 1 } },
                }),
            ),
            ("labels, labels/rack", json!({ "labels": { "rack": "r1", "row": "2" } })),
            ("owner,cfg/none", json!({ "owner": null, "cfg": {} })),
            ("status,name", json!({})),
        ] {
            let mut shown = take(fields).unwrap().of(&node());
            for member in IDENTITY {
                assert!(shown.remove(member).is_some(), "{fields}: {member}");
            }
            assert_eq!(Json::Object(shown), expected, "{fields}");
        }
    }

    #[test]
    fn what_is_no_field_is_told() {
        for (fields, expected) in [
            ("labls", "\"labls\" is no member of an object (did you mean labels?)"),
            ("status.phase", "a path below one is written cfg/a/b"),
            ("status/phase", "status is shown as a whole"),
            ("cfg,", "\"\" is no member of an object; those are kind, namespace,"),
        ] {
            let why = take(fields).unwrap_err();
            assert!(why.contains(expected), "{fields}: {why}");
        }
    }

    #[test]
    fn fields_are_limited_in_number_and_length() {
        assert!(take(&vec!["cfg"; FIELDS_MAX].join(",")).is_ok());
        assert!(take(&vec!["cfg"; FIELDS_MAX + 1].join(",")).unwrap_err().contains("64 fields"));
        let long = |bytes: usize| format!("cfg/{}", "x".repeat(bytes - 4));
        assert!(take(&long(FIELDS_BYTES_MAX)).is_ok());
        assert!(take(&long(FIELDS_BYTES_MAX + 1)).unwrap_err().contains("4096 bytes"));
    }

    #[test]
    fn only_what_is_wanted_is_looked_for() {
        for (fields, shown) in [("labels,cfg", Shown::Cfg), ("status", Shown::Both)] {
            assert_eq!(take(fields).unwrap().narrow(Shown::Both), shown, "{fields}");
        }
        assert_eq!(take("cfg,stale").unwrap().narrow(Shown::Dsc), Shown::Dsc);
    }

    #[test]
    fn every_member_of_an_object_can_be_asked_for() {
        let form = schemars::schema_for!(ObjectView).to_value();
        let mut known: Vec<&str> = MEMBERS.iter().map(|(member, _)| *member).collect();
        let members = form["properties"].as_object().unwrap();
        known.sort_unstable();
        assert_eq!(members.keys().map(String::as_str).collect::<Vec<_>>(), known);
    }
}
