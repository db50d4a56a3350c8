//! A set of keys to look at again: the wake-up between actors.
//!
//! It carries no data, so that a reader always reads the present. Marking a key twice is marking it
//! once; the set is bounded by the number of keys there are, and no writer ever waits.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

/// A set of keys that a reader has not looked at since they were marked. Cheap to clone.
#[derive(Debug)]
pub struct Dirty<K> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K> {
    keys: Mutex<BTreeSet<K>>,
    marked: Notify,
}

impl<K> Clone for Dirty<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Ord> Default for Dirty<K> {
    fn default() -> Self {
        let shared = Shared { keys: Mutex::new(BTreeSet::new()), marked: Notify::new() };
        Self { shared: Arc::new(shared) }
    }
}

impl<K: Ord> Dirty<K> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks keys and wakes the reader.
    pub fn mark(&self, keys: impl IntoIterator<Item = K>) {
        let mut held = self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(keys);
        if !held.is_empty() {
            self.shared.marked.notify_one();
        }
    }

    /// Takes all marked keys, perhaps none.
    pub fn take(&self) -> BTreeSet<K> {
        std::mem::take(&mut *self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until keys are marked. Cancel safe: what is marked stays marked until it is taken.
    pub async fn marked(&self) {
        loop {
            let notified = self.shared.marked.notified();
            if !self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Whether somebody else still holds the set.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mark_before_the_wait_is_not_lost() {
        let dirty = Dirty::new();
        dirty.mark([3, 1, 3]);
        dirty.marked().await;
        assert_eq!(dirty.take().into_iter().collect::<Vec<_>>(), [1, 3]);
        assert!(dirty.take().is_empty());
    }
}
