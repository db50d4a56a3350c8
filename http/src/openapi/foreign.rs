//! What other rooms put into JSON, as it stands there: only its form, for the document. Where it
//! differs from what is answered, the tests of the contract fail.

#![expect(dead_code, reason = "of these types only the form is used, nothing is made of them")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value as Json};

/// What becomes of an object when its owner is deleted.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum OnDelete {
    /// It stays, and has no owner any more once the owner is removed.
    Orphan,
    /// It is deleted too, and the owner is removed only after it.
    Cascade,
}

/// One manifest: an object, or objects that are to be alike. What a server answered of an object
/// is one too: what only a server writes is passed over.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// The kind; left out where the path says it.
    kind: Option<String>,
    /// The namespace, where the kind has namespaces.
    namespace: Option<String>,
    /// The name, or a node set such as `n[1-8]`, which makes one object each; left out where the
    /// path says it.
    name: Option<String>,
    /// The labels; left out: as they are.
    labels: Option<BTreeMap<String, String>>,
    /// The owner, `kind/name`; left out: as it is.
    owner: Option<String>,
    /// What becomes of it when its owner is deleted; left out: as it is.
    on_delete: Option<OnDelete>,
    /// What is asked of it.
    #[serde(default)]
    cfg: Map<String, Json>,
}

/// Something that was found in a declaration.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Finding {
    /// How grave it is.
    severity: String,
    /// Its sort.
    code: String,
    /// The module at fault.
    module: String,
    /// The mutation, path or extension at fault, in words.
    place: String,
    /// The file, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The line from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// The column from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<u64>,
    /// What is wrong and what to do.
    text: String,
}

/// Nodes and the mutations that lead from one to another.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Graph {
    /// States, or values of single paths; those of one group stand together.
    nodes: Vec<GraphNode>,
    /// Mutations, in order of nodes and names.
    edges: Vec<GraphEdge>,
    /// Whether nodes were left out because there are too many.
    truncated: bool,
}

/// A state of some paths, or a value of one.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GraphNode {
    /// The same in every run and in every graph that holds this node.
    id: String,
    /// The paths that it speaks of.
    group: String,
    /// What it stands for, one line a path.
    label: String,
    /// Whether the object is there now.
    current: bool,
    /// Whether everything wanted holds there.
    wanted: bool,
}

/// A mutation between two nodes.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GraphEdge {
    /// The id of the node that it leaves.
    from: String,
    /// The id of the node that it leads to.
    to: String,
    /// `module/Name`, with what its stars stand for.
    mutation: String,
    /// Where it runs: `self`, `node`, `parent` or `control`.
    context: String,
    /// The expected time, in milliseconds.
    cost_ms: u64,
    /// Whether it interrupts what runs on the object.
    disruptive: bool,
    /// What it is to the object's plan, such as `possible` or `planned`.
    mark: String,
}

/// What one module declares, at its full length.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Declaration {
    /// The module's name.
    module: String,
    /// One sentence for people.
    doc: String,
    /// The paths that it adds to kinds.
    extensions: Vec<Extension>,
    /// Patterns of the paths that it discovers.
    discovers: Vec<String>,
    /// What it can change.
    mutations: Vec<Mutation>,
    /// How often it looks, in milliseconds; 0: only when asked.
    poll_ms: u64,
    /// What is special about kinds.
    kinds: Vec<Kind>,
    /// Expected durations in milliseconds by `module/Mutation`.
    costs: BTreeMap<String, u64>,
    /// What objects of its kinds are meant for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    goals: Vec<Goal>,
}

/// Paths added to a kind of object.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Extension {
    /// The extension's name.
    name: String,
    /// The kind of object.
    kind: String,
    /// The paths.
    paths: Vec<DeclaredPath>,
}

/// One path, or one pattern of paths, of a kind.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeclaredPath {
    /// The pattern.
    path: String,
    /// The type of its values.
    r#type: PathType,
    /// The unit of its numbers.
    unit: Option<String>,
    /// One sentence for people.
    doc: String,
    /// Who sets it in Cfg.
    set_by: SetBy,
    /// Who sees it in Dsc: `itself`, `parent`, `control` or `nobody`.
    seen_by: String,
    /// After how long an observation is stale, in milliseconds.
    ttl_ms: Option<u64>,
    /// Predicates while which the value is known.
    known_while: Vec<String>,
    /// The value that means "not there".
    absent: Json,
    /// Patterns of Cfg paths of which its wanted value is the digest.
    digest_of: Vec<String>,
    /// How often it may come back to a value before its object is quarantined.
    flaps_max: Option<u32>,
}

/// The type of a path's values.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
enum PathType {
    /// True or false.
    Bool,
    /// A whole number within bounds, both included.
    Int { min: i64, max: i64 },
    /// A number.
    Float,
    /// Any text.
    Text,
    /// One of these texts.
    Enum(Vec<String>),
    /// A list of texts.
    Texts,
    /// A count, or a share of a hundred such as `10%`.
    Share,
}

/// Who sets a path in Cfg.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
enum SetBy {
    /// People and their programs.
    User,
    /// One module, as a decision.
    Module(String),
    /// Nobody: it is only discovered.
    Nobody,
}

/// One thing that a module can change.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mutation {
    /// The name, unique within the module.
    name: String,
    /// The kind of object.
    kind: String,
    /// Where it runs: `itself`, `node`, `parent` or `control`.
    context: String,
    /// What it changes, by pattern.
    changes: BTreeMap<String, MutationChange>,
    /// Predicates that must all hold.
    requires: Vec<String>,
    /// Predicates none of which may hold.
    excludes: Vec<String>,
    /// How long an attempt may take, in milliseconds.
    timeout_ms: u64,
    /// What is presumed of paths when it fails.
    fail_to: BTreeMap<String, Json>,
    /// Expected duration in milliseconds.
    cost_ms: u64,
    /// Whether it interrupts what runs on the object.
    disruptive: bool,
    /// Whether an attempt may be cancelled.
    cancellable: bool,
    /// Values that changed paths may show on the way.
    via: BTreeMap<String, Vec<Json>>,
    /// How failures are repeated.
    retry: Retry,
}

/// What a mutation does to one path.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct MutationChange {
    /// Where it starts from: `any`, `unknown`, or `in` some values.
    from: Json,
    /// Where it leads: `cfg`, or to a `value`.
    to: Json,
}

/// How often and how soon a failed mutation is tried again.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Retry {
    /// Failures after which the object is quarantined.
    attempts_max: u32,
    /// The first wait, in milliseconds; it doubles with each failure.
    backoff_initial_ms: u64,
    /// The longest wait, in milliseconds.
    backoff_max_ms: u64,
}

/// What is special about a kind of objects.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kind {
    /// The kind.
    name: String,
    /// Whether names of its objects live in namespaces.
    namespaced: bool,
    /// How long a host may run such an object without word of the quorum, in milliseconds.
    singleton_lease_ms: Option<u64>,
}

/// Values that are to be reached together.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Goal {
    /// The name, unique within the module.
    name: String,
    /// The kind of object.
    kind: String,
    /// One sentence for people.
    doc: String,
    /// What is asked for, by path.
    values: BTreeMap<String, Json>,
}
