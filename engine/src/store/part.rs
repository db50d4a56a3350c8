//! Small parts of the store that its copies share until one of them changes.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// A part of the store. A copy is as good as free; the first change after one copies the part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part<T>(Arc<T>);

impl<T: Clone> Part<T> {
    /// The part alone.
    pub(super) fn into_inner(self) -> T {
        Arc::unwrap_or_clone(self.0)
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Part<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Part<T> {
    fn from(part: T) -> Self {
        Self(Arc::new(part))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_copy_is_shared_until_it_is_changed_and_reading_changes_nothing() {
        let mut part: Part<BTreeMap<u8, u8>> = BTreeMap::from([(1, 1)]).into();
        let copy = part.clone();
        assert_eq!((part.len(), part.get(&1)), (1, Some(&1)));
        assert!(Arc::ptr_eq(&part.0, &copy.0));
        part.insert(2, 2);
        assert!(!Arc::ptr_eq(&part.0, &copy.0));
        assert_eq!((copy.len(), part.into_inner().len()), (1, 2));
    }
}
