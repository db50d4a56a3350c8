//! Manifests as they travel to children, so that a child decides with the declarations that its
//! members have.
//!
//! A child says with its Hello which manifests it holds, by their digests; the first CfgDelta
//! brings those that differ, and a later one whatever is declared meanwhile. A manifest travels as
//! bytes of its own: one that a child of an earlier release cannot read costs it the declarations
//! and not the session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    catalog::{Catalog, Problem},
    manifest::Manifest,
};

/// Digests of manifests, by module.
pub type Digests = BTreeMap<String, u64>;

/// What is declared, as far as it differs from what the child holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Manifests that are new or differ, by module.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, ByteBuf)>,
    /// Modules that declare nothing any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
}

/// Declarations that a child cannot take over: it goes on with those that it has.
#[derive(Debug, thiserror::Error)]
pub enum DeclaredError {
    /// A manifest does not decode: it is of a later release.
    #[error("the manifest of module {module} cannot be read by this release")]
    Unreadable {
        /// The module.
        module: String,
        /// What the decoder found.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// The manifests do not compile here.
    #[error("the declarations do not fit together here: {}", first(.0))]
    Unfit(Vec<Problem>),
}

fn first(problems: &[Problem]) -> String {
    problems.first().map(ToString::to_string).unwrap_or_default()
}

/// A manifest as it travels.
pub(crate) fn encoded(manifest: &Manifest) -> Vec<u8> {
    // Plain data always encodes.
    rmp_serde::to_vec_named(manifest).unwrap_or_default()
}

/// The digests of manifests.
pub fn digests<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> Digests {
    let digest = |manifest: &Manifest| (manifest.module.clone(), xxh3_64(&encoded(manifest)));
    manifests.into_iter().map(digest).collect()
}

/// What a child that holds `held` must be told; `None` where nothing differs.
pub(super) fn between(held: &Digests, catalog: &Catalog) -> Option<Declared> {
    let now = catalog.declared();
    let differs = |module: &&Manifest| now.get(&module.module) != held.get(&module.module);
    let set: Vec<(String, ByteBuf)> = catalog
        .manifests()
        .iter()
        .filter(differs)
        .map(|manifest| (manifest.module.clone(), ByteBuf::from(encoded(manifest))))
        .collect();
    let gone: Vec<String> =
        held.keys().filter(|module| !now.contains_key(*module)).cloned().collect();
    let differs = !set.is_empty() || !gone.is_empty();
    differs.then_some(Declared { set, gone })
}

/// What the manifests that are held become.
pub(super) fn apply(
    held: &mut BTreeMap<String, Manifest>,
    declared: &Declared,
) -> Result<Catalog, DeclaredError> {
    let mut next = held.clone();
    for module in &declared.gone {
        next.remove(module);
    }
    for (module, bytes) in &declared.set {
        let read = rmp_serde::from_slice(bytes);
        let manifest =
            read.map_err(|source| DeclaredError::Unreadable { module: module.clone(), source })?;
        next.insert(module.clone(), manifest);
    }
    let manifests: Vec<Manifest> = next.values().cloned().collect();
    let catalog = Catalog::build(&manifests).map_err(DeclaredError::Unfit)?;
    *held = next;
    Ok(catalog)
}
