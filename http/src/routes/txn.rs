//! Transactions: preconditions and operations, all or nothing.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kraken_engine::{
    command::{Condition, OPS_MAX, Op, Precondition, Target, Txn},
    id::{Name, Revision},
    object::{Labels, ObjectRef},
    path::Path,
    selector::Selector,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use warp::{Filter, http::StatusCode, reply::Response};

use super::{
    Routes, answered,
    write::{NOTE_BYTES_MAX, Wish},
};
use crate::{
    api::Shared,
    call::{Call, call_with_body},
    document::parse_reference,
    json::{Patch, flatten, from_json},
    problem::{Fault, Problem},
};

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    warp::path!("v1" / "txn")
        .and(warp::post())
        .and(call_with_body(shared))
        .then(|call, body| answered("txn", txn(call, body)))
        .boxed()
}

/// What is to hold, and what is then done.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Txn")]
pub(crate) struct TxnBody {
    /// All of these must hold.
    preconditions: Vec<PreconditionBody>,
    /// All of these are done, in order.
    #[schemars(length(max = OPS_MAX))]
    ops: Vec<OpBody>,
    /// A word to those who read the history.
    note: Option<String>,
}

/// Something that must hold of one object: one of `is`, `revision`, `path` with `is`, and `path`
/// with `value`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "TxnPrecondition")]
struct PreconditionBody {
    /// The kind of the object.
    #[schemars(with = "String")]
    kind: Name,
    /// Its namespace.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    namespace: Option<Name>,
    /// Its name.
    #[schemars(with = "String")]
    name: Name,
    /// The path that is spoken of.
    path: Option<String>,
    /// Whether it is there.
    is: Option<Is>,
    /// The revision that the object has.
    revision: Option<u64>,
    /// The value that the path has.
    value: Option<Json>,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
enum Is {
    Exists,
    Absent,
}

/// Something that is done to one object, or to those that a selector selects.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "TxnOp")]
struct OpBody {
    /// What is done.
    op: What,
    /// The kind of the object.
    #[schemars(with = "String")]
    kind: Name,
    /// Its namespace.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    namespace: Option<Name>,
    /// Its name.
    #[schemars(with = "Option<String>")]
    name: Option<Name>,
    /// In the place of a name: objects whose labels it selects.
    #[schemars(with = "Option<String>")]
    selector: Option<Selector>,
    /// What is asked of it, or a merge patch of that.
    #[schemars(with = "Option<Map<String, Json>>")]
    cfg: Option<Json>,
    /// The path to unset.
    path: Option<String>,
    /// Labels; null removes one.
    #[schemars(with = "Option<BTreeMap<String, Option<String>>>")]
    labels: Option<BTreeMap<Name, Option<String>>>,
    /// Its owner, `kind/name`.
    owner: Option<String>,
    /// Of `delete`: at once.
    #[serde(default)]
    force: bool,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
enum What {
    Put,
    Merge,
    Unset,
    Label,
    Delete,
}

async fn txn(mut call: Call, body: Bytes) -> Result<Response, Problem> {
    let wish = Wish::of_many(&mut call)?;
    std::mem::take(&mut call.query).done()?;
    let body: TxnBody = serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line() as u64, error.column() as u64);
        let fault = Fault { line: Some(line), column: Some(column), ..Fault::new(&error) };
        Problem::BadBody(vec![fault])
    })?;
    if body.ops.len() > OPS_MAX {
        return Err(Problem::TooMany { what: "operations".to_owned(), limit: OPS_MAX as u64 });
    }
    if body.note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES_MAX) {
        let why = format!("it is limited to {NOTE_BYTES_MAX} bytes");
        return Err(Problem::BadBody(vec![Fault::at("note", why)]));
    }
    let placed = |list: &str, index: usize, fault: Fault| {
        let key = fault.key.map_or_else(String::new, |key| format!(".{key}"));
        let key = Some(format!("{list}[{index}]{key}"));
        Problem::BadBody(vec![Fault { key, ..fault }])
    };
    let mut txn = Txn { note: body.note, ..Txn::default() };
    for (index, precondition) in body.preconditions.into_iter().enumerate() {
        let read = precondition.read().map_err(|fault| placed("preconditions", index, fault))?;
        txn.preconditions.push(read);
    }
    for (index, op) in body.ops.into_iter().enumerate() {
        txn.ops.push(op.read().map_err(|fault| placed("ops", index, fault))?);
    }
    wish.write(&call, txn, StatusCode::OK).await
}

fn path(text: &str) -> Result<Path, Fault> {
    Path::from_typed(text).map_err(|error| Fault::at("path", error))
}

impl PreconditionBody {
    fn read(self) -> Result<Precondition, Fault> {
        let Self { kind, namespace, name, path: at, is, revision, value } = self;
        let at = at.as_deref().map(path).transpose()?;
        let value = value.map(|value| from_json(&value)).transpose();
        let value = value.map_err(|why| Fault::at("value", why))?;
        let is = match (at, is, revision, value) {
            (None, None | Some(Is::Exists), Some(revision), None) => {
                Condition::Revision(Revision::new(revision))
            }
            (None, Some(Is::Exists), None, None) => Condition::Exists,
            (None, Some(Is::Absent), None, None) => Condition::Absent,
            (Some(path), None | Some(Is::Exists), None, Some(value)) => {
                Condition::Value(path, Some(value))
            }
            (Some(path), Some(Is::Exists), None, None) => Condition::Holds(path),
            (Some(path), Some(Is::Absent), None, None) => Condition::Value(path, None),
            _ => {
                return Err(Fault::new(
                    "give one of: `is`; `revision`; `path` with `is`; `path` with `value`",
                ));
            }
        };
        Ok(Precondition { object: ObjectRef { kind, namespace, name }, is })
    }
}

impl OpBody {
    fn read(self) -> Result<Op, Fault> {
        match self.op {
            What::Put => self.put(),
            What::Merge => {
                let cfg = self.cfg.as_ref().ok_or_else(|| Fault::at("cfg", "it is missing"))?;
                let Patch { set, unset } = flatten(cfg)?;
                Ok(Op::Merge { target: self.target()?, set, unset })
            }
            What::Unset => {
                let at = self.path.as_deref().ok_or_else(|| Fault::at("path", "it is missing"))?;
                let unset = vec![path(at)?];
                Ok(Op::Merge { target: self.target()?, set: <_>::default(), unset })
            }
            What::Label => {
                let labels = self.labels.clone().unwrap_or_default();
                let unset = labels.iter().filter(|(_, text)| text.is_none());
                let unset = unset.map(|(label, _)| label.clone()).collect();
                let set = labels.into_iter().filter_map(|(label, text)| Some((label, text?)));
                Ok(Op::Label { set: set.collect(), unset, target: self.target()? })
            }
            What::Delete => Ok(Op::Delete { force: self.force, object: self.object()? }),
        }
    }

    fn put(self) -> Result<Op, Fault> {
        let Patch { set: cfg, .. } =
            self.cfg.as_ref().map(flatten).transpose()?.unwrap_or_default();
        let labels: Option<Labels> = self.labels.as_ref().map(|labels| {
            let held = labels.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?)));
            held.collect()
        });
        let owner = self.owner.as_deref().map(parse_reference).transpose();
        let owner = owner.map_err(|why| Fault::at("owner", why))?;
        Ok(Op::Put { labels, owner, cfg, object: self.object()? })
    }

    fn object(self) -> Result<ObjectRef, Fault> {
        let name = self.name.ok_or_else(|| Fault::at("name", "it is missing"))?;
        Ok(ObjectRef { kind: self.kind, namespace: self.namespace, name })
    }

    fn target(self) -> Result<Target, Fault> {
        match (self.selector.clone(), &self.name) {
            (Some(selector), None) => Ok(Target::Matching { kind: self.kind, selector }),
            (Some(_), Some(_)) => Err(Fault::at("selector", "give either a name or a selector")),
            (None, _) => Ok(Target::One(self.object()?)),
        }
    }
}
