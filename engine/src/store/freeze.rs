//! Freezes: part of Cfg, so that they survive restarts. What freezes an object is resolved into the
//! object itself, so that its decider need not know selectors.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Change, Store};
use crate::{
    command::{Proposal, Refusal, Targets},
    id::{Name, Revision},
    manifest::NODE_KIND,
    object::{Frozen, Object, ObjectRef},
    selector::Selector,
    time::Millis,
};

/// One freeze in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// What is frozen.
    pub scope: Scope,
    /// The revision of the freeze.
    pub revision: Revision,
    /// When, by the proposer's clock.
    pub since: Millis,
    /// Who asked.
    pub by: String,
}

/// What one freeze freezes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The fleet.
    All,
    /// The objects that match, those to come included.
    Selector(Selector),
    /// One node.
    Node(Name),
}

impl Scope {
    pub(super) fn covers(&self, object: &Object) -> bool {
        match self {
            Self::All => true,
            Self::Selector(selector) => selector.matches(&object.labels),
            Self::Node(name) => object.key.kind.as_str() == NODE_KIND && &object.key.name == name,
        }
    }

    /// As it was asked for.
    fn describe(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Selector(selector) => selector.to_string(),
            Self::Node(name) => name.to_string(),
        }
    }
}

pub(super) fn scopes(targets: &Targets) -> Vec<Scope> {
    match targets {
        Targets::All => vec![Scope::All],
        Targets::Selector(selector) => vec![Scope::Selector(selector.clone())],
        Targets::Names(names) => names.iter().cloned().map(Scope::Node).collect(),
    }
}

impl Store {
    pub(super) fn freeze(
        &mut self,
        index: Revision,
        proposal: &Proposal,
        targets: &Targets,
    ) -> Result<Vec<Change>, Refusal> {
        let scopes = scopes(targets);
        for scope in &scopes {
            if let Scope::Node(name) = scope {
                self.node_exists(name)?;
            }
        }
        for scope in scopes {
            if self.freezes.iter().all(|freeze| freeze.scope != scope) {
                self.freezes.push(Freeze {
                    scope,
                    revision: index,
                    since: proposal.at,
                    by: proposal.author.clone(),
                });
            }
        }
        Ok(self.resolve_freezes(index))
    }

    pub(super) fn thaw(
        &mut self,
        index: Revision,
        targets: &Targets,
    ) -> Result<Vec<Change>, Refusal> {
        if *targets == Targets::All {
            self.freezes.clear();
            return Ok(self.resolve_freezes(index));
        }
        let scopes = scopes(targets);
        let is_frozen = |scope: &Scope| self.freezes.iter().any(|freeze| &freeze.scope == scope);
        if let Some(missing) = scopes.iter().find(|scope| !is_frozen(scope)) {
            let held: Vec<String> = self.freezes.iter().map(|f| f.scope.describe()).collect();
            let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
            return Err(Refusal::NotFrozen(format!("{} (frozen: {held})", missing.describe())));
        }
        self.freezes.retain(|freeze| !scopes.contains(&freeze.scope));
        Ok(self.resolve_freezes(index))
    }

    pub(super) fn node_exists(&self, name: &Name) -> Result<(), Refusal> {
        if self.node(name).is_some() {
            return Ok(());
        }
        let kind = Name::new(NODE_KIND).unwrap_or_else(|_| name.clone());
        Err(Refusal::NoSuchObject(ObjectRef { kind, namespace: None, name: name.clone() }))
    }

    fn resolve_freezes(&mut self, index: Revision) -> Vec<Change> {
        let mut changes = Vec::new();
        for object in self.objects.values_mut() {
            let frozen = resolve(&self.freezes, object);
            if frozen != object.frozen {
                let changed = Object { frozen, revision: index, ..(**object).clone() };
                *object = Arc::new(changed);
                changes.push(Change::Put(object.clone()));
            }
        }
        changes
    }
}

/// What freezes an object: the oldest freeze that covers it.
pub(super) fn resolve(freezes: &[Freeze], object: &Object) -> Option<Frozen> {
    let freeze = freezes.iter().find(|freeze| freeze.scope.covers(object))?;
    Some(Frozen {
        revision: freeze.revision,
        since: freeze.since,
        by: freeze.by.clone(),
        scope: freeze.scope.describe(),
    })
}
