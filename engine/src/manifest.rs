//! Manifests: what a module declares that it can discover and change. Plain data, written in Rust
//! with the builders here or in YAML; checked as a whole when a
//! [`Catalog`](crate::catalog::Catalog) is built of them, so that every error names module,
//! mutation and path.

mod builder;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// The kind of the machines that run agents.
pub const NODE_KIND: &str = "node";
/// What an attempt may take unless its mutation says otherwise, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u64 = 30_000;
/// What a mutation is expected to take unless it says otherwise, in milliseconds.
pub const COST_MS_DEFAULT: u64 = 1_000;

/// What one module declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The module's name, unique in the fleet.
    pub module: String,
    /// One sentence for people.
    #[serde(default)]
    pub doc: String,
    /// The paths that it adds to kinds.
    #[serde(default)]
    pub extensions: Vec<Extension>,
    /// Patterns of the paths that it discovers.
    #[serde(default)]
    pub discovers: Vec<String>,
    /// What it can change.
    #[serde(default)]
    pub mutations: Vec<MutationSpec>,
    /// How often it looks, in milliseconds; 0: only when asked.
    #[serde(default)]
    pub poll_ms: u64,
    /// What is special about kinds.
    #[serde(default)]
    pub kinds: Vec<KindSpec>,
    /// Expected durations in milliseconds by `module/Mutation`, such as measured medians. They take
    /// the place of what the mutations declare, whichever module declares them.
    #[serde(default)]
    pub costs: BTreeMap<String, u64>,
    /// What objects of its kinds are meant for, each to be proved reachable as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<GoalSpec>,
}

/// A goal with a name: values that are to be reached together, from wherever the mutations of
/// their paths lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GoalSpec {
    /// The name, unique within the module.
    pub name: String,
    /// The kind of object; `node` where absent.
    #[serde(default = "node_kind")]
    pub kind: String,
    /// One sentence for people.
    #[serde(default)]
    pub doc: String,
    /// What is asked for, by path.
    pub values: BTreeMap<String, Value>,
}

/// What is special about a kind of objects. A kind that no manifest describes is one of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindSpec {
    /// The kind.
    pub name: String,
    /// Whether names of its objects live in namespaces.
    #[serde(default)]
    pub namespaced: bool,
    /// How long a host may run such an object without word of the quorum, in milliseconds, where it
    /// must never run twice: from [`LEASE_MS_MIN`](crate::singleton::LEASE_MS_MIN) to
    /// [`LEASE_MS_MAX`](crate::singleton::LEASE_MS_MAX). Absent: it may run twice for a while.
    #[serde(default)]
    pub singleton_lease_ms: Option<u64>,
}

/// Paths added to a kind of object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extension {
    /// The extension's name.
    pub name: String,
    /// The kind of object; `node` where absent.
    #[serde(default = "node_kind")]
    pub kind: String,
    /// The paths.
    pub paths: Vec<PathSpec>,
}

fn node_kind() -> String {
    NODE_KIND.to_owned()
}

/// One path, or one pattern of paths, of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathSpec {
    /// The pattern.
    pub path: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub value_type: Type,
    /// The unit of its numbers, for people.
    #[serde(default)]
    pub unit: Option<String>,
    /// One sentence for people.
    #[serde(default)]
    pub doc: String,
    /// Who sets it in Cfg.
    #[serde(default)]
    pub set_by: SetBy,
    /// Who sees it in Dsc.
    #[serde(default)]
    pub seen_by: SeenBy,
    /// After how long an observation is stale, in milliseconds; absent: never by itself.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
    /// Predicates (`=` and `in`, on this object) while which the value is known.
    #[serde(default)]
    pub known_while: Vec<String>,
    /// The value that means "not there": the goal when the object is deleted.
    #[serde(default)]
    pub absent: Option<Value>,
    /// Patterns of Cfg paths of which this path's wanted value is the digest. A module that applies
    /// them all at once discovers here the digest of what it has applied.
    #[serde(default)]
    pub digest_of: Vec<String>,
    /// How often it may come back to a value within ten minutes before its object is quarantined;
    /// 6 where absent.
    #[serde(default)]
    pub flaps_max: Option<u32>,
}

/// The type of a path's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Type {
    /// True or false.
    Bool,
    /// A whole number within bounds, both included.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number.
    Float,
    /// Any text.
    Text,
    /// One of these texts.
    Enum(Vec<String>),
    /// A list of texts.
    Texts,
    /// A count such as 2, or a share of a hundred such as `10%`.
    Share,
}

impl Type {
    /// An enumeration of these values.
    pub fn enum_of<const N: usize>(values: [&str; N]) -> Self {
        Self::Enum(values.map(str::to_owned).to_vec())
    }

    /// Any whole number from 0.
    pub const fn count() -> Self {
        Self::Int { min: 0, max: i64::MAX }
    }
}

/// Who sets a path in Cfg.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SetBy {
    /// People and their programs.
    #[default]
    User,
    /// One module, as a decision.
    Module(String),
    /// Nobody: it is only discovered.
    Nobody,
}

/// Who sees a path in Dsc.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SeenBy {
    /// The node that hosts the object.
    #[default]
    Itself,
    /// The parent of the node.
    Parent,
    /// The leader of the quorum.
    Control,
    /// Nobody: it is only asked for.
    Nobody,
}

/// Where a mutation runs; who decides it follows from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Context {
    /// On the node that hosts the object, which also decides it, even while cut off.
    #[default]
    Itself,
    /// On the node, decided by the leader.
    Node,
    /// On the node's parent or on a member, decided by the leader.
    Parent,
    /// On the leader, decided by the leader.
    Control,
}

impl Context {
    /// As people and JSON say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Itself => "self",
            Self::Node => "node",
            Self::Parent => "parent",
            Self::Control => "control",
        }
    }
}

/// One thing that a module can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MutationSpec {
    /// The name, unique within the module.
    pub name: String,
    /// The kind of object; `node` where absent.
    #[serde(default = "node_kind")]
    pub kind: String,
    /// Where it runs.
    #[serde(default)]
    pub context: Context,
    /// What it changes, by pattern.
    pub changes: BTreeMap<String, ChangeSpec>,
    /// Predicates that must all hold.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Predicates none of which may hold.
    #[serde(default)]
    pub excludes: Vec<String>,
    /// How long an attempt may take, in milliseconds.
    #[serde(default = "timeout_default")]
    pub timeout_ms: u64,
    /// What is presumed of paths when it fails, until they are seen to differ.
    #[serde(default)]
    pub fail_to: BTreeMap<String, Value>,
    /// Expected duration in milliseconds: the planner's weight.
    #[serde(default = "cost_default")]
    pub cost_ms: u64,
    /// Whether it interrupts what runs on the object. Goes out only under a committed intent.
    #[serde(default)]
    pub disruptive: bool,
    /// Whether an attempt may be cancelled.
    #[serde(default)]
    pub cancellable: bool,
    /// Values that changed paths may show on the way.
    #[serde(default)]
    pub via: BTreeMap<String, Vec<Value>>,
    /// How failures are repeated.
    #[serde(default)]
    pub retry: Retry,
}

fn timeout_default() -> u64 {
    TIMEOUT_MS_DEFAULT
}

fn cost_default() -> u64 {
    COST_MS_DEFAULT
}

/// What a mutation does to one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeSpec {
    /// Where it starts from.
    pub from: From,
    /// Where it leads.
    pub to: To,
}

/// The values from which a change starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum From {
    /// Any value, unknown included.
    Any,
    /// Unknown only: the mutation is a discovery.
    Unknown,
    /// One of these.
    In(Vec<Value>),
}

/// The value to which a change leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum To {
    /// Whatever Cfg says.
    Cfg,
    /// This value.
    Value(Value),
}

impl<V: Into<Value>> std::convert::From<V> for From {
    fn from(value: V) -> Self {
        Self::In(vec![value.into()])
    }
}

impl<V: Into<Value>> std::convert::From<V> for To {
    fn from(value: V) -> Self {
        Self::Value(value.into())
    }
}

impl From {
    /// Any of these values.
    pub fn one_of<const N: usize>(values: [&str; N]) -> Self {
        Self::In(values.map(Value::from).to_vec())
    }
}

/// How often and how soon a failed mutation is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Failures after which the object is quarantined.
    pub attempts_max: u32,
    /// The first wait, in milliseconds; it doubles with each failure.
    pub backoff_initial_ms: u64,
    /// The longest wait, in milliseconds.
    pub backoff_max_ms: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: 5, backoff_initial_ms: 1_000, backoff_max_ms: 60_000 }
    }
}
