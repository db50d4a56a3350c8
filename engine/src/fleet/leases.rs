//! How long this node may go on with what must never run twice.

use std::sync::Arc;

use super::Fleet;
use crate::{
    id::{Name, Revision, Uid},
    object::Object,
    singleton::{Assured, Lease},
    time::Millis,
};

impl Fleet {
    /// Word of the quorum came: of the moment `at` by this node's clock, good once Cfg up to
    /// `revision` is held. Says which objects this node may have again.
    pub fn assure(&mut self, at: Millis, revision: Revision, now: Millis) -> Vec<Uid> {
        let before = self.assured;
        self.assured.hear(at, revision, self.revision);
        self.regained(before, now)
    }

    /// The objects that this node may have again since what it knew of the quorum was `before`.
    pub(super) fn regained(&self, before: Assured, now: Millis) -> Vec<Uid> {
        if self.assured.good() == before.good() {
            return Vec::new();
        }
        let regained = |object: &&Arc<Object>| {
            let lease_ms = self.lease_ms(object);
            lease_ms.is_some_and(|lease_ms| {
                before.lease(lease_ms, now) == Lease::Over
                    && self.assured.lease(lease_ms, now) != Lease::Over
            })
        };
        self.charges_of(&self.me).filter(regained).map(|object| object.uid).collect()
    }

    /// What is known of the quorum.
    pub fn assured(&self) -> Assured {
        self.assured
    }

    /// How long this node, where it hosts an object, may go on with it.
    pub fn lease_of(&self, object: &Object, now: Millis) -> Lease {
        let lease_ms = self.lease_ms(object);
        lease_ms.map_or(Lease::Unbound, |lease_ms| self.assured.lease(lease_ms, now))
    }

    fn lease_ms(&self, object: &Object) -> Option<u64> {
        Some(self.catalog.kind(&object.key.kind)?.singleton?.lease_ms)
    }

    /// Whether a node is attached to a parent, or is this one.
    pub fn is_attached_somewhere(&self, node: &Name) -> bool {
        *node == self.me || self.node(node).is_some_and(|node| self.is_up(node.uid))
    }
}
