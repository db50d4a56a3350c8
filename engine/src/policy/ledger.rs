//! The ledger: the committed intents that policies count. Part of the store, so that counts and
//! rates are the same for every leader.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    id::{AttemptId, Name, Revision, Uid},
    time::Millis,
};

/// Most intents that are remembered; beyond, the oldest closed ones go, and a new one is refused
/// where all are open.
pub const OPENED_MAX: usize = 65_536;
/// How long the place of an object that does not arrive is held after its last intent, in
/// milliseconds.
pub const PLACE_HELD_MS: u64 = 3_600_000;
/// Over what span of time rates are counted, in milliseconds.
pub const RATE_SPAN_MS: u64 = 60_000;

/// Intents under policies, and what rollouts have begun with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Shared, so that a leader's copy is cheap.
    opened: VecDeque<Arc<Opened>>,
    begun: BTreeMap<Uid, Arc<Begun>>,
}

/// One intent that policies count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its attempt.
    pub attempt: AttemptId,
    /// Its object.
    pub uid: Uid,
    /// The module of its mutation.
    pub module: Name,
    /// When it was opened, by the leader's clock.
    pub at: Millis,
    /// Whether its attempt has ended.
    pub closed: bool,
    /// The policies that count it.
    pub under: Vec<Cover>,
}

/// A policy that covers an object, and the class of the object in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cover {
    /// The policy.
    pub policy: Uid,
    /// The values of the labels by which it counts apart.
    pub class: Vec<String>,
}

/// The objects that a rollout has begun with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    base: Revision,
    uids: BTreeSet<Uid>,
}

impl Ledger {
    /// The intents, oldest first.
    pub fn opened(&self) -> impl DoubleEndedIterator<Item = &Arc<Opened>> {
        self.opened.iter()
    }

    /// How many objects the rollout of a policy from a base revision has begun with.
    pub fn begun(&self, policy: Uid, base: Revision) -> usize {
        self.rollout(policy, base).map_or(0, |begun| begun.uids.len())
    }

    /// Whether the rollout of a policy has begun with an object.
    pub fn has_begun(&self, policy: Uid, base: Revision, uid: Uid) -> bool {
        self.rollout(policy, base).is_some_and(|begun| begun.uids.contains(&uid))
    }

    fn rollout(&self, policy: Uid, base: Revision) -> Option<&Begun> {
        self.begun.get(&policy).map(Arc::as_ref).filter(|begun| begun.base == base)
    }

    /// Notes an intent; false where all that are remembered are open, and there is no room.
    pub(super) fn open(&mut self, opened: Opened) -> bool {
        let now = opened.at;
        let over = |old: &Arc<Opened>| old.closed && old.at.after_ms(PLACE_HELD_MS) < now;
        while self.opened.front().is_some_and(over) {
            self.opened.pop_front();
        }
        if self.opened.len() >= OPENED_MAX {
            let Some(oldest) = self.opened.iter().position(|old| old.closed) else { return false };
            self.opened.remove(oldest);
        }
        self.opened.push_back(Arc::new(opened));
        true
    }

    /// Notes that a rollout has begun with an object.
    pub(super) fn begin(&mut self, policy: Uid, base: Revision, uid: Uid) {
        let begun = Arc::make_mut(self.begun.entry(policy).or_default());
        if begun.base != base {
            *begun = Begun { base, uids: BTreeSet::new() };
        }
        begun.uids.insert(uid);
    }

    pub(super) fn close(&mut self, attempts: &BTreeSet<&AttemptId>) {
        for opened in &mut self.opened {
            if !opened.closed && attempts.contains(&opened.attempt) {
                Arc::make_mut(opened).closed = true;
            }
        }
    }

    /// Forgets what was removed: an object, or a policy.
    pub(super) fn remove(&mut self, uid: Uid) {
        self.opened.retain(|opened| opened.uid != uid);
        self.begun.remove(&uid);
        for begun in self.begun.values_mut().filter(|begun| begun.uids.contains(&uid)) {
            Arc::make_mut(begun).uids.remove(&uid);
        }
    }

    pub(super) fn opened_mut(
        &mut self,
        concerns: impl Fn(Uid) -> bool,
    ) -> impl Iterator<Item = &mut Opened> {
        let concerned = self.opened.iter_mut().filter(move |opened| concerns(opened.uid));
        concerned.map(Arc::make_mut)
    }

    /// Forgets the intents that no policy counts any more.
    pub(super) fn drop_uncounted(&mut self) {
        self.opened.retain(|opened| !opened.under.is_empty());
    }
}
