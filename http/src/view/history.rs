//! The past as it stands in JSON.

use kraken_engine::{
    history::{
        self, Alteration, Blame, Changed, Deed, ObjectChange, Past, PathChange, Record, Turn,
        Version,
    },
    id::{Revision, Uid},
    object::{Object, ObjectRef, OnDelete},
    store::Store,
    time::Millis,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{ChangeView, FrozenView, reference};
use crate::{json::to_json, openapi::foreign, time};

/// The history of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "History")]
pub struct HistoryView {
    /// The object, `kind/name`.
    pub object: String,
    /// The oldest revision that this member can tell of.
    pub horizon: u64,
    /// What was written of it, newest first.
    pub items: Vec<VersionView>,
    /// Who set what is asked of it now, by path; a path that was set before the horizon is not
    /// named.
    pub blame: Vec<BlameView>,
}

/// One write, as far as it concerned one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Version")]
pub struct VersionView {
    /// The revision.
    pub revision: u64,
    /// When, RFC 3339.
    pub time: String,
    /// Who asked for it.
    pub author: String,
    /// The word that was left with it.
    pub note: Option<String>,
    /// What it did: `created`, `changed` or `removed`.
    pub change: DeedView,
    /// What is different.
    #[serde(flatten)]
    pub alteration: AlterationView,
}

/// What a write did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Deed")]
pub enum DeedView {
    /// It was created.
    Created,
    /// It was changed.
    Changed,
    /// It was removed.
    Removed,
}

/// Who set a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Blame")]
pub struct BlameView {
    /// The path.
    pub path: String,
    /// What it holds.
    pub value: Json,
    /// The revision of the write.
    pub revision: u64,
    /// When, RFC 3339.
    pub time: String,
    /// Who asked for it.
    pub author: String,
}

/// Writes, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionList {
    /// The revision of Cfg.
    pub revision: u64,
    /// The oldest revision that this member can tell of.
    pub horizon: u64,
    /// The writes.
    pub items: Vec<RevisionItem>,
    /// Where the next page starts; absent after the last.
    pub r#continue: Option<u64>,
}

/// One write in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionItem {
    /// The revision.
    pub revision: u64,
    /// When, RFC 3339.
    pub time: String,
    /// Who asked for it.
    pub author: String,
    /// The word that was left with it.
    pub note: Option<String>,
    /// How many objects it changed.
    pub changed: usize,
}

/// One write with what it changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Revision")]
pub struct RevisionView {
    /// The write.
    #[serde(flatten)]
    pub write: RevisionItem,
    /// What it changed, in order of name.
    pub objects: Vec<ObjectDiff>,
}

/// What differs between two revisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Diff")]
pub struct DiffView {
    /// The older one.
    pub from: u64,
    /// The newer one.
    pub to: u64,
    /// The objects that differ, in order of name.
    pub objects: Vec<ObjectDiff>,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDiff {
    /// The object, `kind/name`.
    pub object: String,
    /// What became of it.
    pub change: DeedView,
    /// What is different.
    #[serde(flatten)]
    pub alteration: AlterationView,
}

/// What differs between an object before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Alteration")]
pub struct AlterationView {
    /// What its Cfg lost and gained; null is nothing.
    pub cfg: Vec<ChangeView>,
    /// What its labels lost and gained; null is nothing.
    #[serde(default)]
    pub labels: Vec<LabelChange>,
    /// What else became of it.
    #[serde(default)]
    pub also: Vec<TurnView>,
}

/// What became of an object beside its Cfg and its labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[schemars(rename = "Turn")]
pub enum TurnView {
    /// It was frozen, also where it had been frozen otherwise.
    Frozen(FrozenView),
    /// It was thawed.
    Thawed,
    /// It is to be removed.
    Deleting,
    /// It is no longer to be removed.
    Kept,
    /// It was given to another owner.
    Owner {
        /// Whose it was, `kind/name`, or the uid of an object that is gone; null: nobody's.
        from: Option<String>,
        /// Whose it became.
        to: Option<String>,
    },
    /// What becomes of it with its owner is another.
    OnDelete {
        /// `cascade`: it is deleted when its owner is; `orphan`: it stays.
        #[schemars(with = "foreign::OnDelete")]
        to: OnDelete,
    },
    /// The same was asked of it anew, by a retry or by way of something else: what failed before
    /// counts no more.
    AskedAgain,
}

/// What became of one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelChange {
    /// The label.
    pub label: String,
    /// What it was.
    pub from: Option<String>,
    /// What it became.
    pub to: Option<String>,
}

impl HistoryView {
    /// The newest versions of an object, where `store` is as it is now.
    pub fn of(
        key: &ObjectRef,
        versions: &[Version],
        limit: usize,
        horizon: Revision,
        store: &Store,
    ) -> Self {
        let version = |version| VersionView::of(version, store);
        let blamed = history::blame(versions);
        let held = versions.last().and_then(|version| version.object.as_ref());
        let blame = blamed.iter().filter_map(|(path, blame)| {
            let value = held?.cfg.get(path.as_str())?;
            let Blame { revision, at, author } = blame;
            Some(BlameView {
                path: path.to_string(),
                value: to_json(value),
                revision: revision.get(),
                time: time::format(*at),
                author: author.clone(),
            })
        });
        Self {
            object: reference(key),
            horizon: horizon.get(),
            items: versions.iter().rev().take(limit).map(version).collect(),
            blame: blame.collect(),
        }
    }
}

impl VersionView {
    fn of(version: &Version, store: &Store) -> Self {
        Self {
            revision: version.revision.get(),
            time: time::format(version.at),
            author: version.author.clone(),
            note: version.note.clone(),
            change: match version.deed {
                Deed::Created => DeedView::Created,
                Deed::Changed => DeedView::Changed,
                Deed::Removed => DeedView::Removed,
            },
            alteration: AlterationView::of(&version.alteration, store),
        }
    }
}

impl AlterationView {
    fn of(alteration: &Alteration, store: &Store) -> Self {
        let Alteration { paths, labels, turns } = alteration;
        let label = |change: &history::LabelChange| LabelChange {
            label: change.label.to_string(),
            from: change.before.clone(),
            to: change.after.clone(),
        };
        Self {
            cfg: paths.iter().map(change).collect(),
            labels: labels.iter().map(label).collect(),
            also: turns.iter().map(|turn| TurnView::of(turn, store)).collect(),
        }
    }
}

fn change(change: &PathChange) -> ChangeView {
    let json =
        |value: &Option<kraken_engine::value::Value>| value.as_ref().map_or(Json::Null, to_json);
    ChangeView {
        path: change.path.to_string(),
        from: json(&change.before),
        to: json(&change.after),
    }
}

impl TurnView {
    fn of(turn: &Turn, store: &Store) -> Self {
        let owner = |uid: &Uid| {
            store.object(*uid).map_or_else(|| uid.to_string(), |owner| reference(&owner.key))
        };
        match turn {
            Turn::Frozen(frozen) => Self::Frozen(FrozenView::of(frozen)),
            Turn::Thawed => Self::Thawed,
            Turn::Deleting => Self::Deleting,
            Turn::Kept => Self::Kept,
            Turn::Owner { before, after } => {
                Self::Owner { from: before.as_ref().map(owner), to: after.as_ref().map(owner) }
            }
            Turn::OnDelete(to) => Self::OnDelete { to: *to },
            Turn::AskedAgain => Self::AskedAgain,
        }
    }
}

impl RevisionList {
    /// The newest of some records, of which there is one more than the limit where there are more.
    pub fn of(records: Vec<Record>, limit: usize, revision: Revision, horizon: Revision) -> Self {
        let is_more = records.len() > limit;
        let items: Vec<RevisionItem> =
            records.iter().rev().take(limit).map(RevisionItem::of).collect();
        let next = items.last().filter(|_| is_more).map(|item| item.revision);
        Self { revision: revision.get(), horizon: horizon.get(), items, r#continue: next }
    }
}

impl RevisionItem {
    fn of(record: &Record) -> Self {
        let Record { revision, at, author, note, changes } = record;
        Self::new(*revision, *at, author, note.as_deref(), changes.len())
    }

    fn new(
        revision: Revision,
        at: Millis,
        author: &str,
        note: Option<&str>,
        changed: usize,
    ) -> Self {
        let (author, note) = (author.to_owned(), note.map(str::to_owned));
        Self { revision: revision.get(), time: time::format(at), author, note, changed }
    }
}

impl RevisionView {
    /// A write, where `after` is how objects were after it.
    pub fn of(record: &Record, after: &Past, store: &Store) -> Self {
        let diff = |change: &Changed| {
            let now = after.object(&change.key, store.find(&change.key));
            let now = now.filter(|_| !change.removed);
            ObjectDiff::of(&change.key, change.before.as_deref(), now.as_deref(), store)
        };
        let mut objects: Vec<ObjectDiff> = record.changes.iter().map(diff).collect();
        objects.sort_by(|a, b| a.object.cmp(&b.object));
        Self { write: RevisionItem::of(record), objects }
    }
}

impl DiffView {
    /// What differs between two revisions, where `store` is as it is now.
    pub fn of(changes: &[ObjectChange], from: Revision, to: Revision, store: &Store) -> Self {
        let diff = |change: &ObjectChange| {
            let ObjectChange { key, before, after } = change;
            ObjectDiff::of(key, before.as_deref(), after.as_deref(), store)
        };
        Self { from: from.get(), to: to.get(), objects: changes.iter().map(diff).collect() }
    }
}

impl ObjectDiff {
    fn of(key: &ObjectRef, before: Option<&Object>, after: Option<&Object>, store: &Store) -> Self {
        Self {
            object: reference(key),
            change: match (before, after) {
                (None, _) => DeedView::Created,
                (Some(_), Some(_)) => DeedView::Changed,
                (Some(_), None) => DeedView::Removed,
            },
            alteration: AlterationView::of(&Alteration::between(before, after), store),
        }
    }
}
