//! The rules: all policies compiled, how many objects each covers, and the ledger. The store holds
//! them beside Cfg and asks them before it opens an intent; the leader takes a copy to ask first.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Policy,
    hold::{Hold, On},
    ledger::{Cover, Ledger, Opened, PLACE_HELD_MS},
    tally::Tally,
};
use crate::{
    command::Intent,
    id::{AttemptId, Name, Revision, Uid},
    object::Object,
    time::Millis,
};

/// Most policies of a fleet.
pub const POLICIES_MAX: usize = 1_000;

/// All policies, and what they count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// In order of uid.
    policies: BTreeMap<Uid, Policy>,
    /// The objects under each, by class.
    members: BTreeMap<Uid, BTreeMap<Vec<String>, u32>>,
    ledger: Ledger,
}

/// Something disruptive that would be begun.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The object.
    pub uid: Uid,
    /// The revision of the object: one after a rollout's base belongs to a later one.
    pub revision: Revision,
    /// The module of the mutation.
    pub module: &'a Name,
    /// The policies that cover the object.
    pub under: &'a [Cover],
    /// Whether it holds a place already, from a step before.
    pub holds: bool,
    /// Whether it is not healthy already.
    pub ails: bool,
}

impl Rules {
    /// Whether no policy says anything.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The policies, in order of uid.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values()
    }

    /// A policy.
    pub fn policy(&self, uid: Uid) -> Option<&Policy> {
        self.policies.get(&uid)
    }

    /// The intents that are counted.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How many objects a policy covers.
    pub fn total(&self, policy: Uid) -> u32 {
        self.members.get(&policy).map_or(0, |classes| classes.values().sum())
    }

    /// How many objects of a class a policy covers.
    pub fn of_class(&self, cover: &Cover) -> u32 {
        let members = self.members.get(&cover.policy);
        members.and_then(|classes| classes.get(&cover.class)).copied().unwrap_or_default()
    }

    /// The policies that cover an object, in order of uid.
    pub fn covering(&self, object: &Object) -> Vec<Cover> {
        let covering = self.policies.values().filter(|policy| policy.covers(object));
        let cover = |policy: &Policy| Cover { policy: policy.uid, class: policy.class_of(object) };
        covering.map(cover).collect()
    }

    /// Whether the same policies limit the same objects in the same way; how far their rollouts
    /// are, and what is counted, may differ.
    pub fn is_alike(&self, other: &Self) -> bool {
        let limits = |rules: &Self| -> Vec<(Uid, super::Limits)> {
            rules.policies.values().map(|policy| (policy.uid, policy.limits.clone())).collect()
        };
        limits(self) == limits(other)
    }

    /// Rules of these objects, with what was counted before.
    pub(crate) fn build<'a, I: Iterator<Item = &'a Object>>(
        objects: impl Fn() -> I,
        ledger: Ledger,
    ) -> Self {
        let mut rules = Self { ledger, ..Self::default() };
        for object in objects().filter(|object| Policy::is(object)) {
            rules.put_policy(object);
        }
        if !rules.is_empty() {
            objects().for_each(|object| rules.count(object, 1));
        }
        rules
    }

    /// Takes a policy as it is written now; true where it limits other than before, so that what it
    /// covers must be counted anew.
    pub(crate) fn put_policy(&mut self, object: &Object) -> bool {
        // What is written was checked; one that an older release let pass limits nothing.
        let Ok(policy) = Policy::read(object) else { return self.remove(object.uid) };
        let limits = policy.limits.clone();
        let before = self.policies.insert(policy.uid, policy);
        before.is_none_or(|before| before.limits != limits)
    }

    /// Takes a policy as a forecast has it.
    pub(super) fn take_policy(&mut self, policy: Policy) {
        self.policies.insert(policy.uid, policy);
    }

    /// Forgets an object; true where it was a policy.
    pub(crate) fn remove(&mut self, uid: Uid) -> bool {
        self.ledger.remove(uid);
        self.members.remove(&uid);
        self.policies.remove(&uid).is_some()
    }

    /// An object is there, or no longer as it was.
    pub(crate) fn count(&mut self, object: &Object, by: i32) {
        for Cover { policy, class } in self.covering(object) {
            let members = self.members.entry(policy).or_default().entry(class).or_default();
            *members = members.saturating_add_signed(by);
        }
    }

    /// Counts everything anew: what some policy covers has changed.
    pub(crate) fn recount<'a>(
        &mut self,
        objects: impl Fn(Uid) -> Option<&'a Object>,
        all: impl Iterator<Item = &'a Object>,
    ) {
        self.members.clear();
        for object in all {
            self.count(object, 1);
        }
        self.recover(objects, |_| true);
    }

    /// Counts intents to what covers their objects now: these have other labels than before.
    pub(crate) fn relabel<'a>(
        &mut self,
        objects: impl Fn(Uid) -> Option<&'a Object>,
        relabelled: &BTreeSet<Uid>,
    ) {
        self.recover(objects, |uid| relabelled.contains(&uid));
    }

    fn recover<'a>(
        &mut self,
        objects: impl Fn(Uid) -> Option<&'a Object>,
        concerns: impl Fn(Uid) -> bool,
    ) {
        let policies = &self.policies;
        for opened in self.ledger.opened_mut(concerns) {
            let Some(object) = objects(opened.uid) else { continue };
            let covering = policies.values().filter(|policy| policy.covers(object));
            let cover =
                |policy: &Policy| Cover { policy: policy.uid, class: policy.class_of(object) };
            opened.under = covering.map(cover).collect();
        }
        self.ledger.drop_uncounted();
    }

    /// Notes an intent that was opened before some policy counted it.
    pub(crate) fn adopt(&mut self, object: &Object, intent: &Intent, at: Millis) {
        let under = self.covering(object);
        let held = self.ledger.opened().any(|opened| opened.attempt == intent.attempt);
        if !under.is_empty() && !held {
            self.ledger.open(opened(intent, under, at));
        }
    }

    pub(crate) fn close(&mut self, attempts: &[AttemptId]) {
        if !self.policies.is_empty() {
            let attempts: BTreeSet<&AttemptId> = attempts.iter().collect();
            self.ledger.close(&attempts);
        }
    }

    /// Begins to admit intents at a moment.
    pub(crate) fn admission(&mut self, at: Millis) -> Admission<'_> {
        let mut tally = Tally::default();
        let mut held = BTreeSet::new();
        tally.rates(self, at);
        for opened in self.ledger.opened() {
            if !opened.closed {
                tally.occupy(self, &opened.module, &opened.under);
            }
            if opened.at.after_ms(PLACE_HELD_MS) > at {
                held.insert(opened.uid);
            }
        }
        Admission { rules: self, tally, held, at }
    }
}

/// Admits intents one after another, each counting for the next.
pub(crate) struct Admission<'a> {
    rules: &'a mut Rules,
    tally: Tally,
    /// Objects that were begun with lately, which may finish what was begun.
    held: BTreeSet<Uid>,
    at: Millis,
}

impl Admission<'_> {
    /// Opens an intent if every policy lets it.
    pub(crate) fn open(&mut self, object: &Object, intent: &Intent) -> Result<(), Hold> {
        let under = self.rules.covering(object);
        if under.is_empty() {
            return Ok(());
        }
        let module = module_of(intent);
        let holds = self.held.contains(&intent.uid);
        // Places are counted by open intents here: one more is one more. Who is healthy, only the
        // leader sees.
        let mut candidate = Candidate {
            uid: intent.uid,
            revision: object.revision,
            module: &module,
            under: &under,
            holds,
            ails: true,
        };
        self.tally.admits(self.rules, &candidate, self.at)?;
        candidate.holds = false;
        self.tally.admits_place(self.rules, &candidate)?;
        self.tally.add(self.rules, &candidate, self.at);
        for cover in &under {
            let base =
                self.rules.policy(cover.policy).and_then(|p| Some(p.position.as_ref()?.base));
            if let Some(base) = base {
                self.rules.ledger.begin(cover.policy, base, intent.uid);
            }
        }
        if self.rules.ledger.open(opened(intent, under, self.at)) {
            self.held.insert(intent.uid);
            return Ok(());
        }
        Err(Hold::new("", On::MaxInFlight, "too many intents are open under policies"))
    }
}

fn opened(intent: &Intent, under: Vec<Cover>, at: Millis) -> Opened {
    Opened {
        attempt: intent.attempt.clone(),
        uid: intent.uid,
        module: module_of(intent),
        at,
        closed: false,
        under,
    }
}

/// The module of `module/Name(bindings)`.
fn module_of(intent: &Intent) -> Name {
    let module = intent.mutation.split('/').next().unwrap_or_default();
    Name::new(module).unwrap_or_else(|_| intent.host.clone())
}
