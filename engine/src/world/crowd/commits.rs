//! What a crowd's leader commits: intents, gathered and committed together, and what policies ask.

use std::{collections::BTreeMap, sync::Arc};

use super::{COMMIT_MS, Crowd, Event, Proposed, decides};
use crate::{
    command::{Command, Outcome, Proposal},
    id::{AttemptId, Revision, Term},
    machine::Attempted,
    mutation::Lane,
    object::Object,
    store::Change,
    time::Millis,
};

impl Crowd {
    pub(super) fn propose(&mut self, proposed: Proposed) {
        if self.proposed.is_empty() {
            self.later(COMMIT_MS, Event::Commit);
        }
        self.proposed.push(proposed);
    }

    /// Commits what was gathered: intents together, as a leader does.
    pub(super) fn commit_all(&mut self) {
        let (mut open, mut close, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for proposed in std::mem::take(&mut self.proposed) {
            match proposed {
                Proposed::Open(intent) => open.push(intent),
                Proposed::Close(attempt) => close.push(attempt),
                Proposed::Other(command) => others.push(command),
            }
        }
        if !close.is_empty() {
            self.commit(Command::CloseIntents { attempts: close });
        }
        for command in others {
            self.commit(command);
        }
        if open.is_empty() {
            return;
        }
        let attempts: Vec<AttemptId> = open.iter().map(|intent| intent.attempt.clone()).collect();
        let command = Command::OpenIntents { term: Term::new(1), intents: open };
        let refused = match self.commit(command) {
            Outcome::Applied { refused_intents, .. } => refused_intents.into_iter().collect(),
            Outcome::Refused(why) => {
                let why = why.to_string();
                attempts.iter().map(|attempt| (attempt.clone(), why.clone())).collect()
            }
        };
        let refused: BTreeMap<AttemptId, String> = refused;
        for attempt in attempts {
            let what = match refused.get(&attempt) {
                None => Attempted::IntentOpened,
                Some(why) => Attempted::IntentRefused(why.clone()),
            };
            self.told(&attempt, what);
        }
    }

    pub(super) fn commit(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let at = Millis::new(self.now);
        let proposal = Proposal { request: None, author: "sim".to_owned(), at, command };
        let applied = self.store.apply(Revision::new(self.index), Term::new(1), &proposal);
        if applied.declared {
            self.fleet.set_catalog(self.store.catalog().clone());
        }
        self.led.govern(self.store.rules().clone(), Term::new(1));
        for change in applied.changes {
            let object = change.object().clone();
            let uid = object.uid;
            match change {
                Change::Put { .. } => self.born(&object),
                Change::Removed(_) => self.fleet.remove_object(uid),
            }
            self.dirty.insert(uid);
        }
        applied.outcome
    }

    pub(super) fn born(&mut self, object: &Arc<Object>) {
        self.fleet.set_object(object.clone());
        let catalog = self.fleet.catalog().clone();
        let Some(kind) = catalog.kind(&object.key.kind) else { return };
        let is_decided = [Lane::Itself, Lane::Quorum].iter().any(|l| decides(object, kind, *l));
        if is_decided && self.tally.adds(object.uid) {
            self.nature.add(object, kind);
        }
    }
}
