//! The store: the replicated state machine over Cfg. A pure function of the log.
//!
//! Every replica applies the same proposals in the same order and holds the same bytes after each.
//! A proposal is applied whole or refused whole. A copy of the store, for a snapshot or a plan,
//! costs the same however much it holds, and so does the next write: what grows with the fleet is
//! kept in trees of which copies share all that neither has changed.

mod check;
mod declare;
mod freeze;
mod govern;
mod owners;
mod part;
mod requests;
mod retry;
mod tenure;

#[cfg(test)]
mod tests;
mod txn;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::{OrdMap, OrdSet};
use serde::Deserialize;

pub use self::{
    check::{digest_of, digest_of_changes},
    freeze::{FREEZES_MAX, Freeze, Scope},
    requests::{REQUESTS_AGE_MS, REQUESTS_GAP_MS, REQUESTS_MAX, REQUESTS_UIDS_MAX},
};
use self::{part::Part, requests::Requests, txn::Decided};
use crate::{
    catalog::Catalog,
    command::{Command, Intent, Outcome, Proposal, Refusal, RequestId},
    id::{AttemptId, ClusterId, Epoch, Name, Revision, Term, Uid},
    manifest::{Manifest, NODE_KIND},
    object::{Object, ObjectRef},
    policy::Rules,
    selector::Selector,
};

/// All Cfg of the fleet at one revision. A copy shares all that neither has changed since.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "wire::Stored")]
pub struct Store {
    cluster: ClusterId,
    level: u32,
    epoch: Epoch,
    revision: Revision,
    objects: OrdMap<Uid, Arc<Object>>,
    keys: OrdMap<ObjectRef, Uid>,
    manifests: Part<BTreeMap<String, Manifest>>,
    catalog: Arc<Catalog>,
    freezes: Vec<Freeze>,
    intents: Part<BTreeMap<AttemptId, Intent>>,
    rules: Arc<Rules>,
    requests: Requests,
    /// The modules that were added at run time.
    added: BTreeSet<String>,
    /// Owners with what they own.
    owned: OrdSet<(Uid, Uid)>,
}

/// The feature level that this release knows. Whoever changes what apply does, or adds a command or
/// a field that it must understand, counts this up and does so from that level on: members of two
/// releases else come to hold different things.
pub const LEVEL: u32 = 1;
/// The feature level of the first release, and of whatever names none.
pub const LEVEL_FIRST: u32 = 1;

/// [`LEVEL_FIRST`]: what is read where no level is written.
pub fn level_first() -> u32 {
    LEVEL_FIRST
}

/// Whether a level is [`LEVEL_FIRST`], which is not written.
pub fn is_level_first(level: &u32) -> bool {
    *level == LEVEL_FIRST
}

/// What one entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The answer to the proposer.
    pub outcome: Outcome,
    /// The objects that changed, in order of uid; empty where the proposal was refused.
    pub changes: Vec<Change>,
    /// Whether the catalog changed.
    pub declared: bool,
}

/// One object's change, as watchers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Created or changed.
    Put {
        /// What it is now.
        object: Arc<Object>,
        /// What it was before; absent where it was created.
        before: Option<Arc<Object>>,
    },
    /// Removed: what it was last.
    Removed(Arc<Object>),
}

impl Change {
    /// The object as it is, or was last.
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Put { object, .. } | Self::Removed(object) => object,
        }
    }

    /// The object as it was before; absent where it was created.
    pub fn before(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Put { before, .. } => before.as_ref(),
            Self::Removed(object) => Some(object),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            cluster: ClusterId::default(),
            level: LEVEL_FIRST,
            epoch: Epoch::FIRST,
            revision: Revision::default(),
            objects: OrdMap::new(),
            keys: OrdMap::new(),
            manifests: Part::default(),
            catalog: Arc::default(),
            freezes: Vec::new(),
            intents: Part::default(),
            rules: Arc::default(),
            requests: Requests::default(),
            added: BTreeSet::new(),
            owned: OrdSet::new(),
        }
    }
}

impl Store {
    /// A store to which nothing has been applied.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same Cfg as the beginning of another epoch, at a revision beyond all of its own. What
    /// was answered to requests is forgotten: those who were answered are told to list again.
    #[must_use]
    pub fn in_epoch(self, epoch: Epoch, revision: Revision) -> Self {
        Self { epoch, revision: self.revision.max(revision), requests: Requests::default(), ..self }
    }

    /// The feature level: what a newer release has apply do otherwise is done from its level on.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The history that its revisions belong to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The cluster's identity; 0 before it is founded.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The revision of the last write.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Everything declared, compiled.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The declared manifests by module.
    pub fn manifests(&self) -> &BTreeMap<String, Manifest> {
        &self.manifests
    }

    /// The modules that were added at run time, and are no part of the release.
    pub fn added(&self) -> &BTreeSet<String> {
        &self.added
    }

    /// The freezes in force, oldest first.
    pub fn freezes(&self) -> &[Freeze] {
        &self.freezes
    }

    /// The open intents by attempt id.
    pub fn intents(&self) -> &BTreeMap<AttemptId, Intent> {
        &self.intents
    }

    /// The policies, and what they count.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// An object by uid.
    pub fn object(&self, uid: Uid) -> Option<&Arc<Object>> {
        self.objects.get(&uid)
    }

    /// An object by kind, namespace and name.
    pub fn find(&self, key: &ObjectRef) -> Option<&Arc<Object>> {
        self.objects.get(self.keys.get(key)?)
    }

    /// A node by name.
    pub fn node(&self, name: &Name) -> Option<&Arc<Object>> {
        let kind = Name::new(NODE_KIND).ok()?;
        self.find(&ObjectRef { kind, namespace: None, name: name.clone() })
    }

    /// All objects in order of uid.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The objects of a kind in order of namespace and name.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        first_of(kind)
            .into_iter()
            .flat_map(|first| self.keys.range(first..))
            .take_while(move |(key, _)| key.kind.as_str() == kind)
            .filter_map(|(_, uid)| self.objects.get(uid))
    }

    /// The objects of a kind that a selector matches, in order of name.
    pub fn matching<'a>(
        &'a self,
        kind: &'a str,
        selector: &'a Selector,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        self.of_kind(kind).filter(|object| selector.matches(&object.labels))
    }

    /// The answer that was given to a request, while it is remembered.
    pub fn answer(&self, request: &RequestId) -> Option<&Outcome> {
        self.requests.answer(request)
    }

    /// Applies the entry at `index`, proposed in `term`. Deterministic: it asks neither clock nor
    /// chance, so that every replica does the same.
    pub fn apply(&mut self, index: Revision, term: Term, proposal: &Proposal) -> Applied {
        let given = proposal.request.as_ref().and_then(|request| self.requests.answer(request));
        if let Some(outcome) = given.cloned() {
            return Applied { outcome, changes: Vec::new(), declared: false };
        }
        let applied = match self.execute(index, term, proposal) {
            Ok(applied) => {
                self.follow_policies(&applied.changes, proposal.at);
                applied
            }
            Err(refusal) => {
                Applied { outcome: Outcome::Refused(refusal), changes: Vec::new(), declared: false }
            }
        };
        if let Some(request) = &proposal.request {
            self.requests.keep(request.clone(), applied.outcome.clone(), proposal.at);
        }
        applied
    }

    fn execute(
        &mut self,
        index: Revision,
        term: Term,
        proposal: &Proposal,
    ) -> Result<Applied, Refusal> {
        match &proposal.command {
            Command::Found { cluster } if self.cluster == ClusterId::default() => {
                self.cluster = *cluster;
                Ok(self.applied(index, Vec::new()))
            }
            Command::Found { .. } => Err(Refusal::Founded),
            Command::Mark => Ok(self.applied(self.revision, Vec::new())),
            Command::Raise { level } => {
                self.level = self.level.max(*level);
                Ok(self.applied(self.revision, Vec::new()))
            }
            Command::Txn(txn) => {
                let changes = txn::apply(self, index, proposal.at, txn)?;
                Ok(self.applied(index, changes))
            }
            Command::Declare { manifests } => self.declare(index, manifests),
            Command::Freeze { targets } => {
                let changes = self.freeze(index, proposal, targets)?;
                Ok(self.applied(index, changes))
            }
            Command::Thaw { targets } => {
                let changes = self.thaw(index, targets)?;
                Ok(self.applied(index, changes))
            }
            Command::OpenIntents { term: intended, intents } => {
                same_term(*intended, term)?;
                Ok(self.open_intents(intents, proposal.at))
            }
            Command::CloseIntents { attempts } => {
                for attempt in attempts {
                    self.intents.remove(attempt);
                }
                self.close_under_policies(attempts);
                Ok(self.applied(self.revision, Vec::new()))
            }
            Command::Retry { targets } => {
                let changes = self.retry(index, targets)?;
                Ok(self.applied(index, changes))
            }
            Command::Add { manifests } => self.add(index, manifests),
            Command::Withdraw { modules, force } => self.withdraw(index, modules, *force),
            Command::Decide { term: decided, module, uid, revision, set, unset } => {
                same_term(*decided, term)?;
                let decided = Decided { module, uid: *uid, revision: *revision, set, unset };
                let changes = txn::decide(self, index, proposal.at, &decided)?;
                Ok(self.applied(index, changes))
            }
        }
    }

    fn applied(&mut self, revision: Revision, changes: Vec<Change>) -> Applied {
        self.revision = revision;
        let changed = changes.iter().map(|change| change.object().uid).collect();
        let outcome = Outcome::Applied { revision, changed, refused_intents: Vec::new() };
        Applied { outcome, changes, declared: false }
    }
}

/// Refuses what was decided in another term than its entry's.
fn same_term(decided: Term, entry: Term) -> Result<(), Refusal> {
    if decided == entry { Ok(()) } else { Err(Refusal::StaleTerm { intent: decided, entry }) }
}

/// Before every key of a kind. No name sorts before `0`: names start with a letter or a digit.
fn first_of(kind: &str) -> Option<ObjectRef> {
    let (kind, name) = (Name::new(kind).ok()?, Name::new("0").ok()?);
    Some(ObjectRef { kind, namespace: None, name })
}
