//! What policies say, beside Cfg: kept in step with their objects, and asked before an intent is
//! opened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Applied, Change, Store};
use crate::{
    command::{Intent, Outcome},
    id::{AttemptId, Uid},
    object::Object,
    policy::{Ledger, Policy, Rules},
    time::Millis,
};

/// The objects whose labels have changed: policies may count what is open of them elsewhere now.
fn relabelled(changes: &[Change]) -> BTreeSet<Uid> {
    let other = |change: &&Change| {
        change.before().is_some_and(|before| before.labels != change.object().labels)
    };
    changes.iter().filter(other).map(|change| change.object().uid).collect()
}

impl Store {
    /// Opens intents: each is refused by itself where its object has one open, is frozen or gone,
    /// or a policy does not let it.
    pub(super) fn open_intents(&mut self, intents: &[Intent], at: Millis) -> Applied {
        let mut refused_intents = Vec::new();
        let mut rules = (!self.rules.is_empty()).then(|| Arc::make_mut(&mut self.rules));
        let mut admission = rules.as_mut().map(|rules| rules.admission(at));
        let mut open: BTreeMap<Uid, AttemptId> =
            self.intents.values().map(|open| (open.uid, open.attempt.clone())).collect();
        for intent in intents {
            let same = self.intents.get(&intent.attempt).map(|open| &open.attempt);
            let why = match (self.objects.get(&intent.uid), open.get(&intent.uid).or(same)) {
                (None, _) => Some("the object is gone".to_owned()),
                (Some(object), _) if object.frozen.is_some() => Some("it is frozen".to_owned()),
                (_, Some(open)) => Some(format!("attempt {open} is open")),
                (Some(object), None) => admission.as_mut().and_then(|admission| {
                    let hold = admission.open(object, intent).err()?;
                    Some(format!("{}: {}", hold.waits_for(), hold.reason()))
                }),
            };
            if let Some(why) = why {
                refused_intents.push((intent.attempt.clone(), why));
            } else {
                open.insert(intent.uid, intent.attempt.clone());
                self.intents.insert(intent.attempt.clone(), intent.clone());
            }
        }
        let outcome =
            Outcome::Applied { revision: self.revision, changed: Vec::new(), refused_intents };
        Applied { outcome, changes: Vec::new(), declared: false }
    }

    pub(super) fn close_under_policies(&mut self, attempts: &[AttemptId]) {
        if !self.rules.is_empty() {
            Arc::make_mut(&mut self.rules).close(attempts);
        }
    }

    /// An object is there, or no longer as it was: policies count it, or do not.
    pub(super) fn recount(&mut self, before: Option<&Object>, after: Option<&Object>) {
        let same = before.map(|object| &object.labels) == after.map(|object| &object.labels);
        if self.rules.is_empty() || same && before.is_some() {
            return;
        }
        let rules = Arc::make_mut(&mut self.rules);
        if let Some(before) = before {
            rules.count(before, -1);
        }
        if let Some(after) = after {
            rules.count(after, 1);
        }
    }

    /// Takes over what was written of policies, and forgets what was removed.
    pub(super) fn follow_policies(&mut self, changes: &[Change], at: Millis) {
        let mut moved = false;
        for change in changes {
            match change {
                Change::Put { object, .. } if Policy::is(object) => {
                    moved |= Arc::make_mut(&mut self.rules).put_policy(object);
                }
                Change::Removed(object) if !self.rules.is_empty() => {
                    moved |= Arc::make_mut(&mut self.rules).remove(object.uid);
                }
                Change::Put { .. } | Change::Removed(_) => {}
            }
        }
        let relabelled = if self.rules.is_empty() { BTreeSet::new() } else { relabelled(changes) };
        if !moved && relabelled.is_empty() {
            return;
        }
        let rules = Arc::make_mut(&mut self.rules);
        let find = |uid| self.objects.get(&uid).map(Arc::as_ref);
        if moved {
            rules.recount(find, self.objects.values().map(Arc::as_ref));
        } else {
            rules.relabel(find, &relabelled);
        }
        for intent in self.intents.values() {
            if let Some(object) = self.objects.get(&intent.uid) {
                rules.adopt(object, intent, at);
            }
        }
    }

    /// The rules of a store that was read back, with what its policies had counted.
    pub(super) fn restore_policies(&mut self, ledger: Ledger) {
        let objects = || self.objects.values().map(Arc::as_ref);
        self.rules = Arc::new(Rules::build(objects, ledger));
    }
}
