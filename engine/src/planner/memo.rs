//! What was answered before, bounded. Never changes an answer: the key is all that an answer
//! depends on.

use std::{
    borrow::Borrow,
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{BuildHasherDefault, Hash},
};

/// A map that keeps the entries of most recent use: when the younger half is full, the older half
/// is let go.
#[derive(Debug)]
pub(super) struct Memo<K, V> {
    young: HashMap<K, V, BuildHasherDefault<DefaultHasher>>,
    old: HashMap<K, V, BuildHasherDefault<DefaultHasher>>,
    half: usize,
}

impl<K: Hash + Eq, V> Memo<K, V> {
    /// A memo of at most `entries_max` entries.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), half: (entries_max / 2).max(1) }
    }

    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.young.contains_key(key)
            && let Some((key, value)) = self.old.remove_entry(key)
        {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
