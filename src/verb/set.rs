//! `kraken set`: changes paths of Cfg on many nodes at once, all or nothing; or on one object of
//! another kind.

use kraken_engine::{id::Name, path::Path, value::Value};
use kraken_http::{
    Written,
    client::{Client, WriteQuery},
};
use serde_json::{Map, Value as Json};

use super::plan;
use crate::{
    complete,
    console::Console,
    exit::Failure,
    fleet,
    nodes::{Nodes, NotNodes},
    objects,
    output::Output,
};

/// Sets paths of Cfg on nodes, all or nothing, or on one object of another kind
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: n1, n[1-64], @rack=r1; of another kind: policy/web or app/shop/front
    #[arg(add = complete::which())]
    which: Which,
    /// What: path=value, or path- to ask nothing of it any more
    #[arg(required = true, value_name = "PATH=VALUE", add = complete::changes())]
    changes: Vec<Change>,
    /// Only if Cfg is still at this revision
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
    /// Shows what would be done, and does nothing
    #[arg(long)]
    plan: bool,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Which {
    /// Nodes.
    Nodes(Nodes),
    /// One object of another kind, its name as people write it.
    Object { kind: Name, name: String },
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |text: &str| Name::new(text).map_err(|error| error.to_string());
        match text.split_once('/') {
            // The value of a label may hold a slash.
            Some((kind, of)) if !text.starts_with('@') => {
                Ok(Self::Object { kind: name(kind)?, name: fleet::object_name(of)? })
            }
            _ => text.parse().map(Self::Nodes).map_err(|error: NotNodes| error.to_string()),
        }
    }
}

/// One path and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    path: Path,
    /// As it was typed, or a list; `None` unsets it.
    value: Option<Value>,
}

impl std::str::FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = |text: &str| Path::from_typed(text).map_err(|error| error.to_string());
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((name, value)), _) => {
                Ok(Self { path: path(name)?, value: Some(read_value(value)) })
            }
            (None, Some(name)) => Ok(Self { path: path(name)?, value: None }),
            (None, None) => Err("write path=value, or path- to unset it".to_owned()),
        }
    }
}

/// A value as people type it: JSON where it is a list or a quoted text, else the text, of which the
/// server knows the type.
fn read_value(text: &str) -> Value {
    let is_json = text.starts_with(['[', '"']);
    let json = is_json.then(|| serde_json::from_str::<Json>(text).ok()).flatten();
    let value = json.and_then(|json| kraken_http::json::from_json(&json).ok());
    value.unwrap_or_else(|| text.into())
}

impl Args {
    /// Sets.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let patch = merge_patch(&self.changes)?;
        let how = WriteQuery { expect: self.expect, typed: true, ..WriteQuery::default() };
        if self.plan {
            let plans = match &self.which {
                Which::Nodes(nodes) => {
                    objects::somebody(client, nodes).await?;
                    client.plan_patch_nodes(&nodes.targets(), &patch, &how).await?
                }
                Which::Object { kind, name } => {
                    let kind = fleet::kind(kind.as_str());
                    let asked = client.plan_patch(kind, name, &patch, &how);
                    objects::about(client, (kind, name), asked).await?
                }
            };
            let command = "the same without --plan, with";
            return plan::show(plans, Output::default(), command, console, Failure::from).await;
        }
        let written = match &self.which {
            Which::Nodes(nodes) => client.patch_nodes(&nodes.targets(), &patch, &how).await?,
            Which::Object { kind, name } => {
                let kind = fleet::kind(kind.as_str());
                let asked = client.patch(kind, name, &patch, &how);
                objects::about(client, (kind, name), asked).await?
            }
        };
        if let (0, Which::Nodes(nodes)) = (written.changed, &self.which) {
            objects::somebody(client, nodes).await?;
        }
        console.print(report(&written))
    }
}

/// What a write did, in one line.
pub(crate) fn report(written: &Written) -> String {
    let (revision, changed) = (written.revision, written.changed);
    match changed {
        0 => format!("nothing to change; Cfg is at revision {revision}"),
        1 => format!("revision {revision}: 1 object changed"),
        changed => format!("revision {revision}: {changed} objects changed"),
    }
}

/// The changes as a merge patch (RFC 7386): nested, with null for what is unset.
fn merge_patch(changes: &[Change]) -> Result<Json, Failure> {
    let mut patch = Map::new();
    for Change { path, value } in changes {
        let mut here = &mut patch;
        let parent = path.parent();
        for segment in parent.iter().flat_map(Path::segments) {
            let below = here.entry(segment).or_insert_with(|| Json::Object(Map::new()));
            here = below.as_object_mut().ok_or_else(|| {
                Failure::usage(format!("{path} lies below another path that is set"))
            })?;
        }
        let name = path.segments().last().unwrap_or_default().to_owned();
        let json = value.as_ref().map_or(Json::Null, kraken_http::json::to_json);
        if here.insert(name, json).is_some() {
            return Err(Failure::usage(format!("{path} is given twice")));
        }
    }
    Ok(Json::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patch(changes: &[&str]) -> Result<Json, String> {
        let changes: Vec<Change> =
            changes.iter().map(|text| text.parse()).collect::<Result<_, String>>()?;
        merge_patch(&changes).map_err(|failure| failure.words().unwrap_or_default())
    }

    #[test]
    fn changes_are_one_merge_patch() {
        let changes = [
            "services/web/state=STOP",
            "/services/web/args=[\"-p\", \"80\"]",
            "services/web/stop/graceMs=5",
            "services/web/user-",
            "note=\"7\"",
            "empty=",
        ];
        let expected = json!({
            "services": {
                "web": {
                    "state": "STOP", "args": ["-p", "80"], "stop": { "graceMs": "5" }, "user": null,
                },
            },
            "note": "7",
            "empty": "",
        });
        assert_eq!(patch(&changes).unwrap(), expected);
    }

    #[test]
    fn mistakes_are_told() {
        for (changes, expected) in [
            (vec!["state"], "write path=value, or path- to unset it"),
            (vec!["a=1", "a=2"], "/a is given twice"),
            (vec!["a=1", "a/b=2"], "/a/b lies below another path that is set"),
            (vec!["a/b=1", "a=2"], "/a is given twice"),
            (
                vec!["a b=1"],
                "\"/a b\" is not a path: segments are made of letters, digits, `_`, \
                             `.`, `:` and `-`",
            ),
        ] {
            assert_eq!(patch(&changes).unwrap_err(), expected);
        }
    }

    #[test]
    fn nodes_and_other_objects_are_told_apart() {
        let name = |text: &str| Name::new(text).unwrap();
        let object = |kind, of: &str| Which::Object { kind: name(kind), name: of.to_owned() };
        let policy = object("policy", "web");
        assert_eq!("policy/web".parse(), Ok(policy));
        assert_eq!("app/shop/front".parse(), Ok(object("app", "shop/front")));
        assert!(matches!("n[1-3]".parse(), Ok(Which::Nodes(_))));
        assert!(matches!("@path=a/b".parse(), Ok(Which::Nodes(_))));
        for wrong in ["policy/", "/web", "a/b/c/d", "a//c", "a/b/"] {
            assert!(wrong.parse::<Which>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_write_is_told_in_one_line() {
        let told = |changed| report(&Written { revision: 7, changed });
        assert_eq!(told(0), "nothing to change; Cfg is at revision 7");
        assert_eq!(told(1), "revision 7: 1 object changed");
        assert_eq!(told(4), "revision 7: 4 objects changed");
    }
}
