//! What a module may speak of: the paths that its manifest says it discovers, and no others. What
//! it reports beyond is refused and counted, so that a faulty module cannot overwrite what others
//! see.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use kraken_engine::{
    manifest::Manifest,
    path::{Path, Pattern},
    value::Value,
};

/// Refused paths that are remembered by name, for people to read.
pub const REFUSED_PATHS_MAX: usize = 16;

/// The paths that one module may report, and the tally of what it should not have. Survives the
/// module's restart.
#[derive(Debug)]
pub struct Authority {
    patterns: Vec<Pattern>,
    refused: AtomicU64,
    refused_paths: Mutex<BTreeSet<Path>>,
}

/// What was seen at paths; `None`: it is not known any more.
pub type Values = Vec<(Path, Option<Value>)>;

impl Authority {
    /// The authority that a manifest gives. A pattern that does not parse gives none: a manifest
    /// that holds one is refused where the catalog is built.
    pub fn of(manifest: &Manifest) -> Self {
        let patterns = manifest.discovers.iter().filter_map(|text| Pattern::new(text).ok());
        Self {
            patterns: patterns.collect(),
            refused: AtomicU64::new(0),
            refused_paths: Mutex::default(),
        }
    }

    /// Takes away what the module may not report, and counts it.
    pub(crate) fn admit(&self, values: Values) -> (Values, Vec<Path>) {
        let (admitted, refused) = divide(&self.patterns, values);
        if !refused.is_empty() {
            self.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
            let mut paths = self.refused_paths.lock().unwrap_or_else(PoisonError::into_inner);
            let room = REFUSED_PATHS_MAX.saturating_sub(paths.len());
            paths.extend(refused.iter().take(room).cloned());
        }
        (admitted, refused)
    }

    /// How many values were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Some of the paths that were refused, at most [`REFUSED_PATHS_MAX`].
    pub fn refused_paths(&self) -> Vec<Path> {
        let paths = self.refused_paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.iter().cloned().collect()
    }
}

/// Parts what lies under one of the patterns from what does not.
fn divide(patterns: &[Pattern], values: Values) -> (Values, Vec<Path>) {
    let (admitted, refused): (Values, Values) = values
        .into_iter()
        .partition(|(path, _)| patterns.iter().any(|pattern| pattern.matches(path).is_some()));
    (admitted, refused.into_iter().map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::new(text).unwrap()
    }

    fn values(paths: &[&str]) -> Values {
        paths.iter().map(|text| (path(text), Some(true.into()))).collect()
    }

    #[test]
    fn only_declared_paths_are_admitted() {
        let manifest = Manifest::new("m").discovers("/a").discovers("/b/*/c");
        let table: [(&[&str], &[&str]); 4] = [
            (&["/a"], &[]),
            (&["/b/x/c", "/b/y/c"], &[]),
            (&["/a/b", "/b/c", "/b/x/y/c"], &["/a/b", "/b/c", "/b/x/y/c"]),
            (&["/a", "/other"], &["/other"]),
        ];
        for (seen, expected) in table {
            let (admitted, refused) = Authority::of(&manifest).admit(values(seen));
            assert_eq!(refused, expected.iter().map(|text| path(text)).collect::<Vec<_>>());
            assert_eq!(admitted.len() + refused.len(), seen.len());
        }
    }

    #[test]
    fn refusals_are_all_counted_and_some_are_named() {
        let authority = Authority::of(&Manifest::new("m"));
        for index in 0..=REFUSED_PATHS_MAX {
            authority.admit(values(&[&format!("/p{index}")]));
        }
        assert_eq!(authority.refused(), REFUSED_PATHS_MAX as u64 + 1);
        assert_eq!(authority.refused_paths().len(), REFUSED_PATHS_MAX);
    }
}
