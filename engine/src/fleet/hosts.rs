//! What hosts have said of objects that went on to another host.

use std::sync::Arc;

use super::Fleet;
use crate::{dsc::Observed, manifest::SeenBy, object::Object, path::Path};

impl Fleet {
    /// Whether something that was seen of an object may still be said: what its host says of what
    /// must never run twice, only with a stamp from after it came there. It follows from Cfg and
    /// the stamp alone, so that replicas agree on it, whichever comes first.
    pub(super) fn may_say(&self, object: &Object, path: &Path, seen: &Observed) -> bool {
        seen.stamp.ms > object.tenure.floor_ms || !self.is_said_by_host(object, path)
    }

    /// Whether it is the host of an object that says what is at a path.
    pub(super) fn is_said_by_host(&self, object: &Object, path: &Path) -> bool {
        let kind = self.catalog.kind(&object.key.kind);
        path.as_str().starts_with("/engine/self/")
            || kind
                .and_then(|kind| kind.schema.rule_at(path))
                .is_some_and(|rule| rule.discovered && rule.seen_by == SeenBy::Itself)
    }

    /// Forgets what hosts have said of an object before it came to its present one.
    pub(super) fn forget_hosts(&mut self, before: &Object, now: &Object) {
        if before.tenure.floor_ms == now.tenure.floor_ms {
            return;
        }
        let Some(mut dsc) = self.dsc.remove(&now.uid) else { return };
        Arc::make_mut(&mut dsc).retain(|path, seen| self.may_say(now, path, seen));
        self.dsc.insert(now.uid, dsc);
    }
}
