//! What modules declare comes, changes and goes: always all of it together, proved, and only as
//! far as the stored objects still fit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Applied, Store, txn};
use crate::{
    catalog::{Catalog, Problem},
    check::{Finding, Severity, prove},
    command::{MISFITS_MAX, Misfit, Refusal},
    id::Revision,
    manifest::Manifest,
    object::Object,
};

impl Store {
    /// Declares what a release brings: a module of the same name that was added gives way.
    pub(super) fn declare(
        &mut self,
        index: Revision,
        declared: &[Manifest],
    ) -> Result<Applied, Refusal> {
        let (mut manifests, mut added) = (self.manifests.clone().into_inner(), self.added.clone());
        for manifest in declared {
            manifests.insert(manifest.module.clone(), manifest.clone());
            added.remove(&manifest.module);
        }
        self.replace(index, manifests, added)
    }

    /// Declares what an operator adds.
    pub(super) fn add(
        &mut self,
        index: Revision,
        declared: &[Manifest],
    ) -> Result<Applied, Refusal> {
        let (mut manifests, mut added) = (self.manifests.clone().into_inner(), self.added.clone());
        for manifest in declared {
            let module = manifest.module.clone();
            if manifests.insert(module.clone(), manifest.clone()).is_some()
                && !added.contains(&module)
            {
                return Err(Refusal::BuiltIn(module));
            }
            added.insert(module);
        }
        self.replace(index, manifests, added)
    }

    /// Withdraws what modules declare.
    pub(super) fn withdraw(
        &mut self,
        index: Revision,
        modules: &[String],
        force: bool,
    ) -> Result<Applied, Refusal> {
        let (mut manifests, mut added) = (self.manifests.clone().into_inner(), self.added.clone());
        for module in modules {
            if manifests.remove(module).is_none() {
                return Err(Refusal::NoSuchModule(module.clone()));
            }
            if !added.remove(module) && !force {
                return Err(Refusal::BuiltIn(module.clone()));
            }
        }
        self.replace(index, manifests, added)
    }

    fn replace(
        &mut self,
        index: Revision,
        manifests: BTreeMap<String, Manifest>,
        added: BTreeSet<String>,
    ) -> Result<Applied, Refusal> {
        if *self.manifests == manifests {
            self.added = added;
            return Ok(self.applied(self.revision, Vec::new()));
        }
        let all: Vec<Manifest> = manifests.values().cloned().collect();
        let catalog = Catalog::build(&all).map_err(|problems| refuse(&problems))?;
        self.refute(&all, &catalog)?;
        self.check_objects(&catalog)?;
        self.manifests = manifests.into();
        self.added = added;
        self.catalog = Arc::new(catalog);
        Ok(Applied { declared: true, ..self.applied(index, Vec::new()) })
    }

    /// Refuses what can be refuted, unless that is so already: what was taken by an older release
    /// must not keep everything else from being declared.
    fn refute(&self, manifests: &[Manifest], catalog: &Catalog) -> Result<(), Refusal> {
        let mut errors = errors(prove(manifests, catalog));
        if !errors.is_empty() {
            let held: Vec<Manifest> = self.manifests.values().cloned().collect();
            let known = self::errors(prove(&held, &self.catalog));
            errors.retain(|error| !known.contains(error));
        }
        if errors.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = errors.iter().take(8).map(ToString::to_string).collect();
        Err(Refusal::Manifest(shown.join("; ")))
    }

    /// Refuses a catalog that stored objects do not fit.
    fn check_objects(&self, catalog: &Catalog) -> Result<(), Refusal> {
        let misfits = self.objects.values().filter_map(|object| {
            if let Some(misfit) = self.other_lease(catalog, object) {
                return Some(misfit);
            }
            match txn::check_cfg(catalog, object).err()? {
                Refusal::Invalid { object, path, why } => Some(Misfit { object, path, why }),
                other => Some(Misfit {
                    object: object.key.clone(),
                    path: "cfg".to_owned(),
                    why: other.to_string(),
                }),
            }
        });
        let mut objects: Vec<Misfit> = misfits.collect();
        if objects.is_empty() {
            return Ok(());
        }
        objects.sort_by(|one, other| one.object.cmp(&other.object));
        let more = u64::try_from(objects.len().saturating_sub(MISFITS_MAX)).unwrap_or(u64::MAX);
        objects.truncate(MISFITS_MAX);
        Err(Refusal::InUse { objects, more })
    }

    /// A lease does not change while there are objects, and what stops them does not become
    /// quicker: hosts that are away go by what was declared before.
    fn other_lease(&self, catalog: &Catalog, object: &Object) -> Option<Misfit> {
        let of = |catalog: &Catalog| {
            let singleton = catalog.kind(&object.key.kind).and_then(|kind| kind.singleton);
            singleton.map(|singleton| (singleton.lease_ms, singleton.stop_ms))
        };
        let fits = match (of(&self.catalog), of(catalog)) {
            (Some((held, stops)), Some((lease, stop))) => held == lease && stop >= stops,
            (held, now) => held == now,
        };
        (!fits).then(|| Misfit {
            object: object.key.clone(),
            path: "singletonLeaseMs".to_owned(),
            why: "its host may be away and go by what was declared before; delete the object first"
                .to_owned(),
        })
    }
}

fn errors(mut found: Vec<Finding>) -> Vec<Finding> {
    found.retain(|finding| finding.severity == Severity::Error);
    // Places move when a manifest grows; what is told is the same.
    for finding in &mut found {
        finding.keys.clear();
    }
    found
}

fn refuse(problems: &[Problem]) -> Refusal {
    let shown: Vec<String> = problems.iter().take(8).map(ToString::to_string).collect();
    Refusal::Manifest(shown.join("; "))
}
