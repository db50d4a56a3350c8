//! Objects, events and the quorum as they stand in JSON: read by clients, written by the server.

mod event;
mod history;
mod rest;
mod why;

use std::collections::BTreeMap;

use kraken_engine::{
    catalog::{Catalog, is_engine_path},
    dsc::Dsc,
    object::{Frozen, Object, ObjectRef, OnDelete},
    path::Path,
    status::Status,
    time::Millis,
    value::Value,
    view::{is_stale, shown},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub use self::{
    event::EventView,
    history::{
        AlterationView, BlameView, DeedView, DiffView, HistoryView, LabelChange, ObjectDiff,
        RevisionItem, RevisionList, RevisionView, TurnView, VersionView,
    },
    rest::{BegunView, FreezeView, HealthView, LeaderView, MembershipView, ModuleView, ReadyView},
    why::{
        BlockedView, ChangeView, DifferenceView, LanesView, OtherDeclarationsView, PlanView,
        StepView, WhyView,
    },
};
use crate::{json::nest, openapi::foreign, time};

/// A list, or a page of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// The revision at which Cfg was read.
    pub revision: u64,
    /// What was asked for.
    pub items: Vec<T>,
    /// Where the next page starts; absent after the last.
    pub r#continue: Option<String>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Object")]
pub struct ObjectView {
    /// Its kind.
    pub kind: String,
    /// Its namespace, where its kind has namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its identity for all time.
    pub uid: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its owner, `kind/name` or `kind/namespace/name`.
    #[serde(default)]
    pub owner: Option<String>,
    /// `cascade`: it is deleted when its owner is. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<foreign::OnDelete>")]
    pub on_delete: Option<OnDelete>,
    /// The revision of its last change.
    pub revision: u64,
    /// When it was created, RFC 3339.
    #[serde(default)]
    pub created: String,
    /// Whether it is being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
    /// Who froze it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<FrozenView>,
    /// The node that is to stop it before another one has it, where it must never run twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_host: Option<String>,
    /// What is asked of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Json>>")]
    pub cfg: Option<Json>,
    /// What was seen of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Json>>")]
    pub dsc: Option<Json>,
    /// What was seen, with Cfg where nothing looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Json>>")]
    pub state: Option<Json>,
    /// Paths of `dsc` that were seen longer ago than they are good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<Vec<String>>,
    /// Where it stands on its way; absent while no decider has spoken of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusView>,
    /// How long ago this member last heard something of it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dsc_age_ms: Option<u64>,
}

/// Who froze an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Frozen")]
pub struct FrozenView {
    /// Who asked for it.
    pub by: String,
    /// What was frozen, in the words in which it was asked for.
    pub scope: String,
    /// When, RFC 3339.
    pub since: String,
    /// The revision of the freeze.
    pub revision: u64,
}

/// Where an object stands on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Status")]
pub struct StatusView {
    /// The phase, such as `InFlight`.
    pub phase: String,
    /// The Cfg revision that this speaks for.
    pub revision: u64,
    /// The mutation in flight or next.
    pub step: Option<String>,
    /// Why it stands there.
    pub reason: Option<String>,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
    /// Failures of the present step.
    pub attempts: u32,
    /// The last error of the present step.
    pub last_error: Option<String>,
    /// When the present step is tried again, RFC 3339.
    pub next_retry: Option<String>,
}

/// Which of an object's states are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shown {
    /// What is asked and what was seen.
    #[default]
    Both,
    /// What is asked.
    Cfg,
    /// What was seen.
    Dsc,
    /// Both in one: what was seen, with Cfg where nothing looks.
    Merged,
}

/// What objects are shown with.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// What is declared.
    pub catalog: &'a Catalog,
    /// Which states are shown.
    pub shown: Shown,
    /// Now.
    pub now: Millis,
}

impl ObjectView {
    /// An object with its owner and what was seen of it.
    pub fn of(object: &Object, owner: Option<&ObjectRef>, dsc: &Dsc, setting: Setting<'_>) -> Self {
        let Setting { catalog, shown, now } = setting;
        let shows_cfg = matches!(shown, Shown::Both | Shown::Cfg);
        let shows_dsc = matches!(shown, Shown::Both | Shown::Dsc);
        let seen = Seen { catalog, object, dsc, now };
        Self {
            kind: object.key.kind.to_string(),
            namespace: object.key.namespace.as_ref().map(ToString::to_string),
            name: object.key.name.to_string(),
            uid: object.uid.to_string(),
            labels: object.labels.iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
            owner: owner.map(reference),
            on_delete: Some(object.on_delete).filter(|held| *held == OnDelete::Cascade),
            revision: object.revision.get(),
            created: time::format(object.created),
            deleting: object.deleting,
            frozen: object.frozen.as_ref().map(FrozenView::of),
            cfg: shows_cfg.then(|| nest(object.cfg.iter())),
            dsc: shows_dsc.then(|| nest(seen.values())),
            state: (shown == Shown::Merged).then(|| nest(seen.merged())),
            stale: (shown != Shown::Cfg).then(|| seen.stale()),
            status: Status::of_object(object, dsc)
                .as_ref()
                .map(StatusView::of)
                .filter(|_| shown != Shown::Cfg),
            former_host: object.former().map(ToString::to_string),
            dsc_age_ms: seen.age_ms().filter(|_| shown != Shown::Cfg),
        }
    }
}

/// What was seen of one object, as readers may see it.
struct Seen<'a> {
    catalog: &'a Catalog,
    object: &'a Object,
    dsc: &'a Dsc,
    now: Millis,
}

impl<'a> Seen<'a> {
    fn values(&self) -> impl Iterator<Item = (&'a Path, &'a Value)> {
        let kind = self.catalog.kind(&self.object.key.kind);
        let dsc = self.dsc;
        let paths = dsc.iter().map(|(path, _)| path).filter(|path| !is_engine_path(path));
        paths.filter_map(move |path| {
            let value = match kind {
                Some(kind) => shown(kind, dsc, path),
                None => dsc.value(path.as_str()),
            };
            Some((path, value?))
        })
    }

    fn merged(&self) -> BTreeMap<&'a Path, &'a Value> {
        let kind = self.catalog.kind(&self.object.key.kind);
        let is_seen = |path: &Path| {
            let rule = kind.and_then(|kind| kind.schema.rule(path));
            rule.is_some_and(|(rule, _)| rule.discovered)
        };
        let asked = self.object.cfg.iter().filter(|(path, _)| !is_seen(path));
        asked.chain(self.values()).collect()
    }

    fn stale(&self) -> Vec<String> {
        let Some(kind) = self.catalog.kind(&self.object.key.kind) else { return Vec::new() };
        let stale = self.values().filter(|(path, _)| is_stale(kind, self.dsc, path, self.now));
        stale.map(|(path, _)| path.to_string()).collect()
    }

    fn age_ms(&self) -> Option<u64> {
        let heard = self.dsc.iter().filter(|(_, seen)| !seen.is_remembered());
        let newest = heard.map(|(_, seen)| seen.seen_at).max()?;
        Some(self.now.since_ms(newest))
    }
}

impl FrozenView {
    fn of(frozen: &Frozen) -> Self {
        Self {
            by: frozen.by.clone(),
            scope: frozen.scope.clone(),
            since: time::format(frozen.since),
            revision: frozen.revision.get(),
        }
    }
}

impl StatusView {
    fn of(status: &Status) -> Self {
        Self {
            phase: status.phase.to_string(),
            revision: status.revision.get(),
            step: status.step.clone(),
            reason: status.reason.clone(),
            waits_for: status.waits_for.clone(),
            since: time::format(status.since),
            attempts: status.attempts,
            last_error: status.last_error.clone(),
            next_retry: status.next_retry.map(time::format),
        }
    }
}

/// An object's name as others refer to it: `kind/name` or `kind/namespace/name`.
pub fn reference(key: &ObjectRef) -> String {
    match &key.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", key.kind, key.name),
        None => format!("{}/{}", key.kind, key.name),
    }
}
