//! Mutations as the engine uses them: compiled from a manifest, with patterns and predicates
//! parsed.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use crate::manifest::{Context, From, Retry, To};
use crate::{
    id::{InvalidId, Name},
    path::{Bindings, Path, Pattern},
    predicate::Predicate,
    value::Value,
};

/// `module/Name`, unique in the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MutationId {
    /// The module that carries it out.
    pub module: Name,
    /// The name within the module.
    pub name: Name,
}

/// Who decides a mutation: each path is changed from one lane only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lane {
    /// The node that hosts the object.
    Itself,
    /// The leader of the quorum.
    Quorum,
}

/// A mutation, ready to be planned with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// Its identity.
    pub id: MutationId,
    /// Where it runs.
    pub context: Context,
    /// What it changes, in order of pattern. All patterns hold the same number of stars.
    pub changes: Vec<Change>,
    /// What must hold.
    pub requires: Vec<Predicate>,
    /// None of what must hold.
    pub excludes: Vec<Predicate>,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// What is presumed of paths when it fails.
    pub fail_to: Vec<(Pattern, Value)>,
    /// The planner's weight, in milliseconds; at least 1.
    pub cost_ms: u64,
    /// Whether it interrupts what runs on the object.
    pub disruptive: bool,
    /// Whether an attempt may be cancelled.
    pub cancellable: bool,
    /// Values that changed paths may show on the way.
    pub via: Vec<(Pattern, Vec<Value>)>,
    /// How failures are repeated.
    pub retry: Retry,
}

/// What a mutation does to one pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The paths.
    pub path: Pattern,
    /// The values it starts from.
    pub from: From,
    /// The value it leads to.
    pub to: To,
}

/// A mutation with its stars bound: something that can be done to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The mutation.
    pub mutation: Arc<Mutation>,
    /// What its stars stand for.
    pub bindings: Bindings,
}

impl MutationId {
    /// The identity of a module's mutation.
    pub fn new(module: Name, name: Name) -> Self {
        Self { module, name }
    }
}

impl Context {
    /// The lane that decides mutations of this context.
    pub fn lane(self) -> Lane {
        match self {
            Self::Itself => Lane::Itself,
            Self::Node | Self::Parent | Self::Control => Lane::Quorum,
        }
    }
}

impl From {
    /// Whether a change may start from a value; `None` is unknown.
    pub fn admits(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Any, _) | (Self::Unknown, None) => true,
            (Self::In(values), Some(value)) => values.contains(value),
            (Self::Unknown, Some(_)) | (Self::In(_), None) => false,
        }
    }
}

impl Mutation {
    /// How many stars its patterns hold.
    pub fn stars(&self) -> usize {
        self.changes.first().map_or(0, |change| change.path.stars())
    }
}

impl Instance {
    /// The concrete paths that it changes, with how.
    pub fn changes(&self) -> impl Iterator<Item = (Path, &Change)> {
        self.mutation
            .changes
            .iter()
            .filter_map(|change| Some((change.path.bind(&self.bindings)?, change)))
    }

    /// What is presumed of concrete paths when it fails.
    pub fn fail_to(&self) -> impl Iterator<Item = (Path, &Value)> {
        self.mutation
            .fail_to
            .iter()
            .filter_map(|(pattern, value)| Some((pattern.bind(&self.bindings)?, value)))
    }

    /// Whether a concrete path may show this value while an attempt runs.
    pub fn may_show(&self, path: &Path, value: Option<&Value>) -> bool {
        let Some(value) = value else { return true };
        self.mutation.via.iter().any(|(pattern, values)| {
            pattern.bind(&self.bindings).as_ref() == Some(path) && values.contains(value)
        })
    }
}

impl fmt::Display for MutationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.module, self.name)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mutation.id.fmt(f)?;
        if self.bindings.is_empty() {
            return Ok(());
        }
        write!(f, "({})", self.bindings.join(","))
    }
}

impl TryFrom<String> for MutationId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        match text.split_once('/') {
            Some((module, name)) => Ok(Self { module: Name::new(module)?, name: Name::new(name)? }),
            None => Err(InvalidId::Name(text)),
        }
    }
}

impl std::convert::From<MutationId> for String {
    fn from(id: MutationId) -> Self {
        id.to_string()
    }
}
