//! What is proposed to the quorum, and what apply answers. Every write of Cfg is one of these.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    id::{AttemptId, ClusterId, Name, Revision, Term, Uid},
    manifest::Manifest,
    object::{Labels, ObjectRef, OnDelete},
    path::Path,
    selector::Selector,
    state::{ShapeError, State},
    time::Millis,
    value::Value,
};

/// Largest encoded proposal in bytes.
pub const PROPOSAL_BYTES_MAX: usize = 8 << 20;
/// Most operations of one transaction.
pub const OPS_MAX: usize = 10_000;

/// A command with who proposes it; what the log holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Identity of the request: a retry after a lost answer carries the same and is applied once.
    pub request: Option<RequestId>,
    /// Who asks, for the record.
    pub author: String,
    /// The proposer's clock, in milliseconds since the Unix epoch. Apply never asks a clock.
    pub at: Millis,
    /// What is asked.
    pub command: Command,
}

/// As what the author of a write starts that the engine makes by itself.
const ENGINE: &str = "engine@";

/// The author of the writes that the engine makes by itself at a node.
pub fn engine_at(node: &Name) -> String {
    format!("{ENGINE}{node}")
}

/// Whether a write is one that the engine made by itself.
pub fn is_by_engine(author: &str) -> bool {
    author.starts_with(ENGINE)
}

/// Names one request of one client for the time that it may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(
    /// A text of the client's choosing, unique to the request; at most 64 bytes count.
    pub Arc<str>,
);

/// What may be asked of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first entry: gives the cluster its identity.
    Found {
        /// Chosen at random by the founder.
        cluster: ClusterId,
    },
    /// Raises the feature level, which never falls.
    Raise {
        /// One that every member knows.
        level: u32,
    },
    /// An entry that only takes an index: a fresh member's id, or the first entry of a term.
    Mark,
    /// A transaction over objects.
    Txn(Txn),
    /// Declares the manifests of modules; those of the same module are replaced.
    Declare {
        /// In any order; all or none are taken.
        manifests: Vec<Manifest>,
    },
    /// Freezes objects: nothing is dispatched for them until they are thawed.
    Freeze {
        /// Which.
        targets: Targets,
    },
    /// Takes back freezes.
    Thaw {
        /// Which, in the words in which they were frozen.
        targets: Targets,
    },
    /// Opens intents: commits decisions to disrupt before they are carried out.
    OpenIntents {
        /// The term of the deciding leader; refused in an entry of another term.
        term: Term,
        /// The intents; each is refused by itself where its object has one open.
        intents: Vec<Intent>,
    },
    /// Closes intents whose attempts have ended.
    CloseIntents {
        /// Attempt ids.
        attempts: Vec<AttemptId>,
    },
    /// Has objects tried again: their deciders forget failures, and quarantine ends.
    Retry {
        /// Which; only those that are there now.
        targets: Targets,
    },
    /// Declares manifests of modules that the release does not bring itself; those of the same
    /// module are replaced.
    Add {
        /// In any order; all or none are taken.
        manifests: Vec<Manifest>,
    },
    /// Withdraws what modules declare.
    Withdraw {
        /// The modules.
        modules: Vec<String>,
        /// Also of modules that a release brings: for those that a newer one no longer does.
        force: bool,
    },
    /// Sets decision paths of one object, for the module to which they belong.
    Decide {
        /// The term of the deciding leader; refused in an entry of another term.
        term: Term,
        /// The module; `engine` for the engine's own.
        module: String,
        /// The object.
        uid: Uid,
        /// Its revision when that was decided; refused if it has moved since.
        revision: Revision,
        /// Paths to set.
        set: State,
        /// Paths to unset, each with all below it. Unsets come first.
        unset: Vec<Path>,
    },
}

/// Which objects an operation means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Targets {
    /// Every object of the fleet, those to come included.
    All,
    /// The objects that match, those to come included.
    Selector(Selector),
    /// These nodes.
    Names(Vec<Name>),
}

/// Preconditions and operations, all or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// What must hold before the operations; evaluated at apply.
    pub preconditions: Vec<Precondition>,
    /// In order.
    pub ops: Vec<Op>,
    /// A word to those who read the history.
    pub note: Option<String>,
}

/// Something that must hold of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// Which object.
    pub object: ObjectRef,
    /// What must hold.
    pub is: Condition,
}

/// What a precondition asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// The object exists.
    Exists,
    /// No object has that name.
    Absent,
    /// The object's revision is exactly this.
    Revision(Revision),
    /// The Cfg path holds exactly this; `None`: nothing.
    Value(Path, Option<Value>),
    /// The Cfg path holds something.
    Holds(Path),
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Creates an object, or replaces the user's part of its Cfg.
    Put {
        /// Which.
        object: ObjectRef,
        /// Labels; `None` leaves those of an existing object.
        labels: Option<Labels>,
        /// The owner by name; `None` leaves that of an existing object.
        owner: Option<ObjectRef>,
        /// The whole Cfg.
        cfg: State,
    },
    /// Sets and unsets paths, leaving all others. Unsets come first.
    Merge {
        /// Which objects; a missing one is refused, an empty selection is not.
        target: Target,
        /// Paths to set.
        set: State,
        /// Paths to unset, each with all below it.
        unset: Vec<Path>,
    },
    /// Sets and removes labels.
    Label {
        /// Which objects.
        target: Target,
        /// Labels to set.
        set: Labels,
        /// Labels to remove.
        unset: Vec<Name>,
    },
    /// Marks an object for removal, or removes it at once.
    Delete {
        /// Which.
        object: ObjectRef,
        /// Remove it without waiting until its absent state is seen.
        force: bool,
    },
    /// Removes a marked object whose absent state has been seen.
    Remove {
        /// Which.
        uid: Uid,
        /// Its revision when that was seen; refused if it has moved since.
        revision: Revision,
    },
    /// Gives an object that must never run twice to the host that its Cfg names.
    Release {
        /// Which.
        uid: Uid,
        /// Its revision when its former host was sure to have stopped it; refused if it has moved
        /// since.
        revision: Revision,
        /// The leader's hybrid clock, in milliseconds: beyond all that was heard of the former
        /// host.
        floor_ms: u64,
    },
    /// Gives an object an owner, or takes it from it.
    Own {
        /// Which.
        object: ObjectRef,
        /// The owner by name; `None`: nobody.
        owner: Option<ObjectRef>,
        /// What becomes of the object when the owner is deleted.
        on_delete: OnDelete,
    },
}

/// The objects of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Exactly one.
    One(ObjectRef),
    /// All of a kind that match now; resolved at apply.
    Matching {
        /// The kind.
        kind: Name,
        /// Which of it.
        selector: Selector,
    },
}

/// A committed decision to disrupt one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The object to be disrupted.
    pub uid: Uid,
    /// `module/Name`.
    pub mutation: String,
    /// The attempt that will carry it out.
    pub attempt: AttemptId,
    /// The node that will carry it out.
    pub host: Name,
    /// When it has certainly ended, in milliseconds since the Unix epoch by the leader's clock.
    pub ends_by: Millis,
}

/// How far the clocks of two members may be apart, in milliseconds: a leader that closes the
/// intents of another waits this long past their end.
pub const CLOCKS_APART_MS_MAX: u64 = 10_000;

impl Intent {
    /// Whether its attempt has certainly ended, by the clock of any member.
    pub fn is_over(&self, now: Millis) -> bool {
        self.ends_by.after_ms(CLOCKS_APART_MS_MAX) < now
    }
}

/// What apply answers to a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Applied.
    Applied {
        /// The revision of the write.
        revision: Revision,
        /// The objects it changed.
        changed: Vec<Uid>,
        /// Attempts whose intents were refused, each with why.
        refused_intents: Vec<(AttemptId, String)>,
    },
    /// Refused; nothing was changed.
    Refused(Refusal),
}

/// Why the store refused a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No such object.
    #[error("there is no {0}")]
    NoSuchObject(ObjectRef),
    /// The object has been removed or was never there.
    #[error("there is no object with uid {0}")]
    NoSuchUid(Uid),
    /// Objects that were to be created exist.
    #[error("already there: {}", list(.0))]
    Exists(Vec<ObjectRef>),
    /// A precondition does not hold.
    #[error("precondition {index} does not hold: {object} {why}")]
    Precondition {
        /// Its place in the transaction, from 0.
        index: u32,
        /// The object it speaks of.
        object: ObjectRef,
        /// What was found instead.
        why: String,
    },
    /// Values do not fit the schema.
    #[error("{object}: {path}: {why}")]
    Invalid {
        /// The object.
        object: ObjectRef,
        /// The path.
        path: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The object is being removed.
    #[error("{0} is being deleted; wait until it is gone, or delete it with force")]
    Deleting(ObjectRef),
    /// A node that is to be deleted hosts what must never run twice.
    #[error(
        "{host} hosts {guest}, which must never run twice: give it another host or delete it first"
    )]
    HasGuest {
        /// The node.
        host: ObjectRef,
        /// The first of its guests.
        guest: ObjectRef,
    },
    /// The owner would own itself.
    #[error("{0} would come to own itself")]
    OwnerCycle(ObjectRef),
    /// A limit.
    #[error("{what} is limited to {limit}")]
    Limit {
        /// What is limited.
        what: String,
        /// To how much.
        limit: u64,
    },
    /// A thaw of what was not frozen in these words.
    #[error("not frozen by that name: {0}")]
    NotFrozen(String),
    /// An intent of another term than its entry's.
    #[error("an intent of term {intent} in an entry of term {entry}")]
    StaleTerm {
        /// The term of the intent.
        intent: Term,
        /// The term of the entry.
        entry: Term,
    },
    /// Manifests that do not fit together.
    #[error("{0}")]
    Manifest(String),
    /// The cluster has its identity already.
    #[error("the cluster was founded before")]
    Founded,
    /// A declaration that stored objects do not fit.
    #[error("stored objects would no longer fit: {}", misfits(.objects, *.more))]
    InUse {
        /// The first of them, at most [`MISFITS_MAX`].
        objects: Vec<Misfit>,
        /// How many there are besides.
        more: u64,
    },
    /// A module that the release brings itself.
    #[error("module {0} is part of this release and cannot be replaced or withdrawn")]
    BuiltIn(String),
    /// No such module.
    #[error("there is no module {0}")]
    NoSuchModule(String),
}

/// An object that a declaration does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfit {
    /// The object.
    pub object: ObjectRef,
    /// The path, or `kind`.
    pub path: String,
    /// What does not fit.
    pub why: String,
}

/// Most objects that a refusal lists.
pub const MISFITS_MAX: usize = 20;

fn misfits(objects: &[Misfit], more: u64) -> String {
    let shown = objects.iter().map(|misfit| {
        let Misfit { object, path, why } = misfit;
        format!("{object}: {path}: {why}")
    });
    let mut shown: Vec<String> = shown.collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

impl Refusal {
    /// The refusal of a value that breaks the shape of a state.
    pub fn shape(object: &ObjectRef, path: &Path, error: &ShapeError) -> Self {
        Self::Invalid { object: object.clone(), path: path.to_string(), why: error.to_string() }
    }
}

fn list(objects: &[ObjectRef]) -> String {
    let shown: Vec<String> = objects.iter().take(8).map(ToString::to_string).collect();
    let more = objects.len().saturating_sub(shown.len());
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
