//! Freezes: part of Cfg, so that they survive restarts. What freezes an object is resolved into the
//! object itself, so that its decider need not know selectors.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Change, Store, tenure};
use crate::{
    command::{Proposal, Refusal, Targets},
    id::{Name, Revision},
    manifest::NODE_KIND,
    object::{Frozen, Object, ObjectRef},
    selector::Selector,
    time::Millis,
};

/// Most freezes in force at one time.
pub const FREEZES_MAX: usize = 10_000;
/// Most freezes that one message names.
const FREEZES_SHOWN_MAX: usize = 8;

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

/// A scope as a key: its variant and its text.
type Words = (u8, String);

impl Scope {
    pub(super) fn covers(&self, object: &Object) -> bool {
        match self {
            Self::All => true,
            Self::Selector(selector) => selector.matches(&object.labels),
            Self::Node(name) => object.is_node(name),
        }
    }

    /// What tells one scope from another.
    fn words(&self) -> Words {
        let rank = match self {
            Self::All => 0,
            Self::Selector(_) => 1,
            Self::Node(_) => 2,
        };
        (rank, self.describe())
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
        let mut held: BTreeSet<Words> = self.freezes.iter().map(|f| f.scope.words()).collect();
        let new: Vec<Scope> =
            scopes.into_iter().filter(|scope| held.insert(scope.words())).collect();
        if held.len() > FREEZES_MAX {
            let what = "the number of freezes in force".to_owned();
            return Err(Refusal::Limit { what, limit: FREEZES_MAX as u64 });
        }
        let (since, by) = (proposal.at, &proposal.author);
        let freeze = |scope| Freeze { scope, revision: index, since, by: by.clone() };
        self.freezes.extend(new.into_iter().map(freeze));
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
        let held: BTreeSet<Words> = self.freezes.iter().map(|f| f.scope.words()).collect();
        if let Some(missing) = scopes.iter().find(|scope| !held.contains(&scope.words())) {
            let shown = self.freezes.iter().take(FREEZES_SHOWN_MAX);
            let mut shown: Vec<String> = shown.map(|freeze| freeze.scope.describe()).collect();
            match self.freezes.len() - shown.len() {
                0 if shown.is_empty() => shown.push("nothing".to_owned()),
                0 => {}
                more => shown.push(format!("{more} more")),
            }
            let (missing, shown) = (missing.describe(), shown.join(", "));
            return Err(Refusal::NotFrozen(format!("{missing} (frozen: {shown})")));
        }
        let gone: BTreeSet<Words> = scopes.iter().map(Scope::words).collect();
        self.freezes.retain(|freeze| !gone.contains(&freeze.scope.words()));
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
        let (nodes, others): (Vec<&Freeze>, Vec<&Freeze>) =
            self.freezes.iter().partition(|freeze| matches!(freeze.scope, Scope::Node(_)));
        let nodes: BTreeMap<String, &Freeze> =
            nodes.into_iter().map(|freeze| (freeze.scope.describe(), freeze)).collect();
        let mut changes = Vec::new();
        let catalog = self.catalog.clone();
        for object in self.objects.values() {
            let by_name = nodes.get(object.key.name.as_str()).copied();
            let candidates = others.iter().copied().chain(by_name);
            let frozen = oldest(candidates, object);
            if frozen != object.frozen {
                let mut changed = Object { frozen, revision: index, ..(**object).clone() };
                tenure::follow(&catalog, Some(object), &mut changed, index);
                let before = Some(object.clone());
                changes.push(Change::Put { object: Arc::new(changed), before });
            }
        }
        self.take_over(&changes);
        changes
    }
}

/// What freezes an object: the oldest freeze that covers it.
pub(super) fn resolve(freezes: &[Freeze], object: &Object) -> Option<Frozen> {
    oldest(freezes.iter(), object)
}

fn oldest<'a>(freezes: impl Iterator<Item = &'a Freeze>, object: &Object) -> Option<Frozen> {
    let covering = freezes.filter(|freeze| freeze.scope.covers(object));
    // Freezes of one revision come of one command and cover different nodes.
    let freeze = covering.min_by_key(|freeze| freeze.revision)?;
    Some(Frozen {
        revision: freeze.revision,
        since: freeze.since,
        by: freeze.by.clone(),
        scope: freeze.scope.describe(),
    })
}
