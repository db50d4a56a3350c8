//! Policies hold: no more is in flight or begun than they allow.

use std::collections::BTreeMap;

use super::{Broken, Trace, What};
use crate::{
    id::Name,
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

/// What is in use under each policy of a store right after an intent was opened, to be recorded.
/// Counted from the intents themselves, and not as the store counts when it decides.
pub fn used(store: &Store) -> Vec<What> {
    store.rules().policies().flat_map(|policy| in_flight(store, policy)).collect()
}

/// A module, where each is counted apart, and the values of labels.
type Class = (Option<String>, Vec<String>);

fn in_flight(store: &Store, policy: &Policy) -> Vec<What> {
    let mut open: BTreeMap<Class, u32> = BTreeMap::new();
    for intent in store.intents().values() {
        let Some(object) = store.object(intent.uid).filter(|object| policy.covers(object)) else {
            continue;
        };
        let module = intent.mutation.split('/').next().unwrap_or_default();
        let module = policy.limits.per_module.then(|| module.to_owned());
        *open.entry((module, policy.class_of(object))).or_default() += 1;
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
    let flying = open.into_iter().filter_map(|((_, class), used)| {
        let members = store
            .objects()
            .filter(|object| policy.covers(object) && policy.class_of(object) == class);
        let members = u32::try_from(members.count()).unwrap_or(u32::MAX);
        let most = policy.limits.max_in_flight?.at_most(members);
        Some(What::Used { policy: name.clone(), what: "in flight", used, most })
    });
    let begun = begun.into_values().filter_map(|used| {
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
