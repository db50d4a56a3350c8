//! Policies hold: no more is in flight or begun than they allow.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Trace, What};
use crate::{
    command::Intent,
    id::{AttemptId, Name},
    policy::{Policy, RATE_SPAN_MS},
    store::Store,
};

/// When an intent was opened, no policy had more in flight, or begun within a minute, than it
/// allows.
pub fn policies_hold(trace: &Trace) -> Result<(), Broken<'_>> {
    for entry in trace.entries() {
        if let What::Used { policy, what, used, most } = &entry.what
            && used > most
        {
            return Err(Broken(entry, format!("policy {policy} allows {most} {what}, not {used}")));
        }
    }
    Ok(())
}

/// What is in use of all that policies count these intents to, right after they were opened, to be
/// recorded; nothing of those that were refused. Counted from the intents themselves, and not as
/// the store counts when it decides.
pub fn used(store: &Store, opened: &BTreeSet<&AttemptId>) -> Vec<What> {
    let opened = store.intents().values().filter(|intent| opened.contains(&intent.attempt));
    let opened: Vec<&Intent> = opened.collect();
    store.rules().policies().flat_map(|policy| in_use(store, policy, &opened)).collect()
}

/// A module, where each is counted apart, and the values of labels.
type Class = (Option<String>, Vec<String>);

/// What an intent counts to under a policy, if that covers its object.
fn class(store: &Store, policy: &Policy, intent: &Intent) -> Option<Class> {
    let object = store.object(intent.uid).filter(|object| policy.covers(object))?;
    let module = intent.mutation.split('/').next().unwrap_or_default();
    Some((policy.limits.per_module.then(|| module.to_owned()), policy.class_of(object)))
}

fn in_use(store: &Store, policy: &Policy, opened: &[&Intent]) -> Vec<What> {
    let concerned: BTreeSet<Class> =
        opened.iter().filter_map(|intent| class(store, policy, intent)).collect();
    let mut open: BTreeMap<Class, u32> = BTreeMap::new();
    for class in store.intents().values().filter_map(|intent| class(store, policy, intent)) {
        *open.entry(class).or_default() += 1;
    }
    let mut begun: BTreeMap<Class, u32> = BTreeMap::new();
    let newest = store.rules().ledger().opened().last().map(|opened| opened.at);
    for opened in store.rules().ledger().opened() {
        let lately = newest.is_some_and(|newest| opened.at.after_ms(RATE_SPAN_MS) > newest);
        let cover = opened.under.iter().find(|cover| cover.policy == policy.uid);
        if let Some(cover) = cover.filter(|_| lately) {
            let module = policy.limits.per_module.then(|| opened.module.to_string());
            *begun.entry((module, cover.class.clone())).or_default() += 1;
        }
    }
    let name: &Name = &policy.name;
    let is_concerned = |(class, _): &(Class, u32)| concerned.contains(class);
    let flying = open.into_iter().filter(is_concerned).filter_map(|((_, class), used)| {
        let members = store
            .objects()
            .filter(|object| policy.covers(object) && policy.class_of(object) == class);
        let members = u32::try_from(members.count()).unwrap_or(u32::MAX);
        let most = policy.limits.max_in_flight?.at_most(members);
        Some(What::Used { policy: name.clone(), what: "in flight", used, most })
    });
    let begun = begun.into_iter().filter(is_concerned).filter_map(|(_, used)| {
        let most = policy.limits.rate_per_minute?;
        Some(What::Used { policy: name.clone(), what: "a minute", used, most })
    });
    flying.chain(begun).collect()
}

#[cfg(test)]
mod tests {
    use crate::invariants::kit::*;
    use crate::invariants::*;

    #[test]
    fn a_policy_that_is_exceeded_is_found() {
        let used =
            |used| What::Used { policy: Name::new("p").unwrap(), what: "in flight", used, most: 2 };
        check("policies_hold", vec![used(2), used(0)], used(3));
    }
}
