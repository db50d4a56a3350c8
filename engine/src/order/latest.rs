//! What is remembered of the latest attempts: whoever decided one asks for it again for seconds at
//! most, so that the oldest can be forgotten.

use std::collections::{BTreeMap, VecDeque};

use crate::id::AttemptId;

/// Something about each of the latest `MAX` attempts that were told of. The first `put` counts for
/// their age.
#[derive(Debug)]
pub struct Latest<T, const MAX: usize> {
    known: BTreeMap<AttemptId, T>,
    /// Oldest first.
    order: VecDeque<AttemptId>,
}

impl<T, const MAX: usize> Default for Latest<T, MAX> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<T, const MAX: usize> Latest<T, MAX> {
    /// What is known of an attempt.
    pub fn get(&self, attempt: &AttemptId) -> Option<&T> {
        self.known.get(attempt)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, attempt: &AttemptId) -> Option<&mut T> {
        self.known.get_mut(attempt)
    }

    /// Something is known of an attempt from now on, in place of what was before.
    pub fn put(&mut self, attempt: AttemptId, of: T) {
        if self.known.insert(attempt.clone(), of).is_none() {
            self.order.push_back(attempt);
        }
        if self.order.len() > MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Name;

    #[test]
    fn the_oldest_is_forgotten_past_the_bound() {
        let id = |count| AttemptId::derive(&Name::new("n1").unwrap(), 1, count);
        let mut latest = Latest::<u64, 2>::default();
        latest.put(id(1), 10);
        latest.put(id(2), 20);
        latest.put(id(1), 11);
        assert_eq!(latest.get(&id(1)), Some(&11), "the later one counts");
        latest.put(id(3), 30);
        assert_eq!(latest.get(&id(1)), None, "told of first, forgotten first");
        *latest.get_mut(&id(2)).unwrap() += 1;
        assert_eq!((latest.get(&id(2)), latest.get(&id(3))), (Some(&21), Some(&30)));
    }
}
