//! The digest of all that was said in a session: that of the last observation of each path, by
//! which both ends find out that something is amiss. It must not know who says it to whom.

use std::{collections::BTreeMap, mem};

use crate::{
    dsc::{Sighting, sighting_digest},
    id::Uid,
    path::Path,
};

/// What counts, by object and path, and all of it together.
#[derive(Debug, Default)]
pub(super) struct Digest {
    /// Of each object in order of path: what is said of one comes together.
    parts: BTreeMap<Uid, Vec<(Path, u64)>>,
    whole: u64,
}

impl Digest {
    /// Nothing counts any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The digest of all that counts.
    pub(super) fn whole(&self) -> u64 {
        self.whole
    }

    /// Observations of an object, each in place of the one before it at its path.
    pub(super) fn count(&mut self, uid: Uid, sightings: &[Sighting]) {
        let parts = self.parts.entry(uid).or_default();
        for (path, observed) in sightings {
            let part = sighting_digest(path, observed);
            self.whole ^= part;
            match parts.binary_search_by(|(counted, _)| counted.cmp(path)) {
                Ok(place) => self.whole ^= mem::replace(&mut parts[place].1, part),
                Err(place) => parts.insert(place, (path.clone(), part)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dsc::{Observed, Stamp},
        id::{ClusterId, Name, Revision},
        time::Millis,
        value::Value,
    };

    fn sighting(path: &str, value: i64) -> Sighting {
        let stamp = Stamp { ms: 1, counter: 0, writer: Name::new("n1").unwrap() };
        let value = Some(Value::Int(value));
        (Path::new(path).unwrap(), Observed { value, stamp, seen_at: Millis::ZERO })
    }

    #[test]
    fn the_last_of_each_path_counts_whatever_the_order() {
        let uid = |ordinal| Uid::derive(ClusterId::new(1), Revision::new(1), ordinal);
        let (mut one, mut other) = (Digest::default(), Digest::default());
        one.count(uid(1), &[sighting("/b", 1), sighting("/a", 2)]);
        one.count(uid(2), &[sighting("/a", 3)]);
        one.count(uid(1), &[sighting("/b", 4)]);
        other.count(uid(2), &[sighting("/a", 3)]);
        other.count(uid(1), &[sighting("/a", 2), sighting("/b", 4)]);
        assert_eq!(one.whole(), other.whole());
        other.count(uid(2), &[sighting("/a", 5)]);
        assert_ne!(one.whole(), other.whole());
        other.clear();
        assert_eq!(other.whole(), 0);
    }
}
