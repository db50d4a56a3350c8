//! Who may still run an object that must never run twice, as Cfg keeps it; see
//! [`singleton`](crate::singleton).
//!
//! | the host that Cfg names | with the former host |
//! |---|---|
//! | changes from one to another, or to none | the first of them is kept |
//! | changes once more | stays |
//! | is the former host again | none |
//! | stays | stays, until it is released |

use std::sync::Arc;

use super::txn::Staged;
use crate::{
    catalog::Catalog,
    command::Refusal,
    id::{Revision, Uid},
    manifest::NODE_KIND,
    object::{Former, Object},
};

/// Keeps who may still run an object that is about to be written, and when it was thawed.
pub(super) fn follow(
    catalog: &Catalog,
    before: Option<&Arc<Object>>,
    object: &mut Object,
    index: Revision,
) {
    let Some(before) = before.filter(|_| is_singleton(catalog, object)) else { return };
    if before.frozen.is_some() && object.frozen.is_none() {
        object.tenure.thawed = Some(index);
    }
    if before.tenure.former.is_some() && object.tenure.former.is_none() {
        // Released.
        return;
    }
    let left = before.host().filter(|host| object.heir().as_ref() != Some(host));
    let since = before.tenure.former.as_ref().map_or(index, |former| former.since);
    object.tenure.former = left.map(|host| Former { host, since });
}

fn is_singleton(catalog: &Catalog, object: &Object) -> bool {
    catalog.kind(&object.key.kind).is_some_and(|kind| kind.singleton.is_some())
}

impl Staged<'_> {
    /// Refuses to delete a node that may run what must never run twice: it would not stop that.
    pub(super) fn check_guests(&self, node: &Object) -> Result<(), Refusal> {
        let catalog = &self.store.catalog;
        let any = catalog.kinds().any(|(_, kind)| kind.singleton.is_some());
        if node.key.kind.as_str() != NODE_KIND || !any {
            return Ok(());
        }
        let mut guests = self.store.objects.keys().filter_map(|uid| self.current(*uid));
        let guest =
            guests.find(|guest| is_singleton(catalog, guest) && guest.is_hosted_by(&node.key.name));
        guest.map_or(Ok(()), |guest| {
            let (host, guest) = (node.key.clone(), guest.key.clone());
            Err(Refusal::HasGuest { host, guest })
        })
    }

    /// Gives an object to the host that its Cfg names: the former one is sure to have stopped it.
    pub(super) fn release(
        &mut self,
        uid: Uid,
        revision: Revision,
        floor_ms: u64,
    ) -> Result<(), Refusal> {
        let mut object = self.current(uid).ok_or(Refusal::NoSuchUid(uid))?.clone();
        let why = match &object.tenure.former {
            None => "is with no former host".to_owned(),
            // It is to be nowhere, and that it is.
            Some(_) if object.deleting => return self.finish(uid, revision),
            Some(_) if object.revision == revision => {
                (object.tenure.former, object.tenure.thawed) = (None, None);
                object.tenure.floor_ms = object.tenure.floor_ms.max(floor_ms);
                return self.stage(object);
            }
            Some(_) => format!("is at revision {}, not {revision}", object.revision),
        };
        Err(Refusal::Precondition { index: 0, object: object.key, why })
    }
}
