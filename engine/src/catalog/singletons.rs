//! Kinds whose objects must never run twice: their leases, and that their hosts can stop them.

use super::{Compiler, KindCatalog, compile::Place};
use crate::{
    check::Code,
    id::Name,
    machine::CLOSE_MS,
    manifest::{KindSpec, Manifest, NODE_KIND},
    mutation::Lane,
    object::HOST_PATH,
    schema::PathRule,
    singleton::{LEASE_MS_MAX, LEASE_MS_MIN, Singleton},
    time::whole_ms,
};

impl Compiler {
    /// Takes over the leases of kinds, once all mutations are known.
    pub(super) fn singletons(&mut self, manifest: &Manifest) {
        for (index, spec) in manifest.kinds.iter().enumerate() {
            let Some(lease_ms) = spec.singleton_lease_ms else { continue };
            // A kind that is not there was told of before.
            let name = Name::new(&spec.name).ok();
            let Some(kind) = name.and_then(|name| self.kinds.get_mut(&name)) else { continue };
            match check(spec, kind, lease_ms) {
                Ok(()) => kind.singleton = Some(Singleton { lease_ms, stop_ms: stop_ms(kind) }),
                Err((code, why)) => {
                    let keys = ["kinds", &index.to_string(), "singletonLeaseMs"];
                    let place = Place::new(&manifest.module, format!("kind {}", spec.name), &keys);
                    self.problems.push(place.problem(code, why));
                }
            }
        }
    }
}

fn check(spec: &KindSpec, kind: &KindCatalog, lease_ms: u64) -> Result<(), (Code, String)> {
    if spec.name == NODE_KIND {
        let why = "a node hosts itself and runs nowhere else; leave singletonLeaseMs out";
        return Err((Code::Reserved, why.to_owned()));
    }
    if !(LEASE_MS_MIN..=LEASE_MS_MAX).contains(&lease_ms) {
        let why = format!("a lease is from {LEASE_MS_MIN} to {LEASE_MS_MAX} ms");
        return Err((Code::WrongValue, why));
    }
    if !kind.schema.rules().any(|rule| rule.pattern.as_str() == HOST_PATH) {
        let why = format!("no extension declares {HOST_PATH} for it, so that no node can host it");
        return Err((Code::UnknownPath, why));
    }
    let left: Vec<&PathRule> = kind.schema.rules().filter(|rule| rule.absent.is_some()).collect();
    if left.is_empty() {
        let why = "no path has a value for `absent`: its host could not stop it";
        return Err((Code::DeadEnd, why.to_owned()));
    }
    if let Some(rule) = left.iter().find(|rule| rule.pattern.stars() > 0) {
        let why =
            format!("{} holds stars: how long it takes to stop it is not known", rule.pattern);
        return Err((Code::Stars, why));
    }
    let by_others = left.iter().find(|rule| rule.changed_from != Some(Lane::Itself));
    by_others.map_or(Ok(()), |rule| {
        let pattern = &rule.pattern;
        let why =
            format!("{pattern} is not changed by its host (context self), which must stop it");
        Err((Code::Lanes, why))
    })
}

/// How long it takes at most until a host that begins to stop an object has: what runs ends by its
/// deadline, and so does each step that stops it, of which no plan takes one twice.
fn stop_ms(kind: &KindCatalog) -> u64 {
    let own = || kind.mutations.iter().filter(|mutation| mutation.context.lane() == Lane::Itself);
    let longest = own().map(|mutation| whole_ms(mutation.timeout)).max().unwrap_or_default();
    let steps = u64::try_from(own().count() + 1).unwrap_or(u64::MAX);
    longest.saturating_add(CLOSE_MS).saturating_mul(steps)
}
