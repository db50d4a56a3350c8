//! Short answers: of the process, of the quorum, of what is declared.

use std::collections::BTreeSet;

use kraken_engine::{
    manifest::Manifest,
    store::{Freeze, Scope},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time;

/// A process that lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Health")]
pub struct HealthView {
    /// `alive`.
    pub status: String,
    /// The node.
    pub node: String,
    /// The version of its binary.
    pub version: String,
}

/// A member that can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Ready")]
pub struct ReadyView {
    /// `ready`.
    pub status: String,
    /// The leading member.
    pub leader: u64,
    /// The revision of the answering member.
    pub revision: u64,
}

/// A member that came, went or was promoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Membership")]
pub struct MembershipView {
    /// Its identity in the quorum.
    pub member: u64,
}

/// A member that leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Leader")]
pub struct LeaderView {
    /// Its identity in the quorum.
    pub leader: u64,
}

/// A quorum that was begun from a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Begun")]
pub struct BegunView {
    /// Its only member.
    pub member: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its first revision.
    pub revision: u64,
}

/// A freeze in force. One of `names`, `selector` and `all` says what it freezes, in the words in
/// which it is thawed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Freeze")]
pub struct FreezeView {
    /// The node that it freezes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// It freezes what this selects, also what is yet to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Whether it freezes all objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Who asked for it.
    pub by: String,
    /// When, RFC 3339.
    pub since: String,
    /// The revision of the freeze.
    pub revision: u64,
}

impl FreezeView {
    /// Of a freeze.
    pub fn of(freeze: &Freeze) -> Self {
        let (names, selector) = match &freeze.scope {
            Scope::All => (None, None),
            Scope::Selector(selector) => (None, Some(selector.to_string())),
            Scope::Node(name) => (Some(name.to_string()), None),
        };
        Self {
            names,
            selector,
            all: freeze.scope == Scope::All,
            by: freeze.by.clone(),
            since: time::format(freeze.since),
            revision: freeze.revision.get(),
        }
    }
}

/// A module in a few words; the whole of what it declares is one call away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Module")]
pub struct ModuleView {
    /// Its name.
    pub name: String,
    /// One sentence for people.
    pub doc: String,
    /// Whether it was declared besides what the release brings.
    pub added: bool,
    /// The kinds that it speaks of.
    pub kinds: BTreeSet<String>,
    /// The paths that it declares.
    pub paths: Vec<String>,
    /// Patterns of the paths that it discovers.
    pub discovers: Vec<String>,
    /// What it can change, by name.
    pub mutations: Vec<String>,
    /// How often it looks, in milliseconds; 0: only when asked.
    pub poll_ms: u64,
}

impl ModuleView {
    /// What a module declares, in a few words.
    pub fn of(manifest: &Manifest, added: bool) -> Self {
        let extensions = manifest.extensions.iter();
        let of_extensions = extensions.clone().map(|extension| extension.kind.clone());
        let of_mutations = manifest.mutations.iter().map(|mutation| mutation.kind.clone());
        let paths = extensions.flat_map(|extension| &extension.paths);
        Self {
            name: manifest.module.clone(),
            doc: manifest.doc.clone(),
            added,
            kinds: of_extensions.chain(of_mutations).collect(),
            paths: paths.map(|path| path.path.clone()).collect(),
            discovers: manifest.discovers.clone(),
            mutations: manifest.mutations.iter().map(|mutation| mutation.name.clone()).collect(),
            poll_ms: manifest.poll_ms,
        }
    }
}
