//! Owners: what becomes of what is owned when its owner is deleted.
//!
//! | an object is | its cascading children | its other children |
//! |---|---|---|
//! | deleted | are deleted too, and theirs in turn | stay |
//! | deleted by force | are deleted, each until its absent state is seen | lose their owner |
//! | removed, its absent state seen | are gone: else the removal is refused | lose their owner |
//!
//! An owner of which nothing has to be undone goes together with the last of its cascading
//! children. Nothing comes to be owned by what is being deleted, and nothing owns itself.

use std::collections::BTreeSet;

use super::txn::Staged;
use crate::{
    command::Refusal,
    id::{Revision, Uid},
    object::{Object, OnDelete},
};

impl Staged<'_> {
    pub(super) fn own(
        &mut self,
        uid: Uid,
        owner: Option<Uid>,
        on_delete: OnDelete,
    ) -> Result<(), Refusal> {
        let mut object = self.changeable(uid)?;
        object.owner = owner;
        object.on_delete = on_delete;
        self.check_owner(&object)?;
        self.stage(object)
    }

    /// Checks that an object does not come to own itself, and that its owner is to stay.
    pub(super) fn check_owner(&self, object: &Object) -> Result<(), Refusal> {
        let held = self.current(object.uid).and_then(|held| held.owner);
        if object.owner != held
            && let Some(owner) = object.owner.and_then(|owner| self.current(owner))
            && owner.deleting
        {
            return Err(Refusal::Deleting(owner.key.clone()));
        }
        let mut owner = object.owner;
        while let Some(uid) = owner {
            if uid == object.uid {
                return Err(Refusal::OwnerCycle(object.key.clone()));
            }
            owner = self.current(uid).and_then(|owner| owner.owner);
        }
        Ok(())
    }

    /// Deletes an object and all that goes with it, what is owned first.
    pub(super) fn delete(&mut self, uid: Uid, force: bool) -> Result<(), Refusal> {
        self.current(uid).ok_or(Refusal::NoSuchUid(uid))?;
        let mut family = vec![uid];
        let mut met = BTreeSet::from([uid]);
        let mut next = 0;
        while let Some(owner) = family.get(next).copied() {
            family.extend(self.cascading(owner).into_iter().filter(|child| met.insert(*child)));
            next += 1;
        }
        for member in family.into_iter().rev() {
            // The removal of its last child may have taken it along.
            let Some(mut object) = self.current(member).cloned() else { continue };
            if !(force && member == uid) {
                self.check_guests(&object)?;
            }
            let idle = self.is_idle(&object)?;
            if (force && member == uid) || (idle && self.cascading(member).is_empty()) {
                self.remove(member)?;
                continue;
            }
            object.deleting = true;
            self.stage(object)?;
        }
        Ok(())
    }

    /// Removes a deleted object whose absent state has been seen.
    pub(super) fn finish(&mut self, uid: Uid, revision: Revision) -> Result<(), Refusal> {
        let object = self.current(uid).ok_or(Refusal::NoSuchUid(uid))?;
        let children = self.cascading(uid);
        let child = children.first().and_then(|child| self.current(*child));
        let why = match (object.deleting, child) {
            (false, _) => "is not marked for removal".to_owned(),
            (true, Some(child)) => format!("is removed after {}, which it owns", child.key),
            (true, None) if object.revision == revision => {
                self.check_guests(object)?;
                return self.remove(uid);
            }
            (true, None) => format!("is at revision {}, not {revision}", object.revision),
        };
        Err(Refusal::Precondition { index: 0, object: object.key.clone(), why })
    }

    /// Removes an object; whoever it owned has no owner any more, and an owner that waited for it
    /// goes too, or is looked at again.
    fn remove(&mut self, uid: Uid) -> Result<(), Refusal> {
        let mut leaving = Some(uid);
        while let Some(uid) = leaving.take() {
            let Some(object) = self.current(uid).cloned() else { return Ok(()) };
            self.touched.insert(uid, None);
            for child in self.children(uid) {
                if let Some(mut child) = self.current(child).cloned() {
                    (child.owner, child.on_delete) = (None, OnDelete::default());
                    self.stage(child)?;
                }
            }
            let Some(owner) = object.owner.filter(|_| object.on_delete == OnDelete::Cascade) else {
                return Ok(());
            };
            let Some(mut owner) = self.current(owner).cloned() else { return Ok(()) };
            if !owner.deleting || !self.cascading(owner.uid).is_empty() {
                return Ok(());
            }
            if self.is_idle(&owner)? {
                leaving = Some(owner.uid);
            } else {
                // Its decider looks at it anew, and finds that it may go.
                owner.revision = self.index;
                self.touched.insert(owner.uid, Some(owner));
            }
        }
        Ok(())
    }

    /// Whether nothing of an object has to be undone before it can go.
    fn is_idle(&self, object: &Object) -> Result<bool, Refusal> {
        let kind = self.kind(&object.key)?;
        let hosted = kind.singleton.is_some() && object.host().is_some();
        Ok(!hosted && kind.schema.goal(&object.cfg, true).is_empty())
    }

    /// What an object owns.
    fn children(&self, owner: Uid) -> BTreeSet<Uid> {
        let from = (owner, Uid::from_bytes([0; 16]));
        let held = self.store.owned.range(from..).take_while(|(held, _)| *held == owner);
        let staged = self.owned.range(from..).take_while(|(held, _)| *held == owner);
        let all = held.chain(staged).map(|(_, child)| *child);
        all.filter(|child| self.current(*child).is_some_and(|c| c.owner == Some(owner))).collect()
    }

    /// What is deleted together with an object.
    fn cascading(&self, owner: Uid) -> Vec<Uid> {
        let mut children: Vec<Uid> = self.children(owner).into_iter().collect();
        children.retain(|child| {
            self.current(*child).is_some_and(|child| child.on_delete == OnDelete::Cascade)
        });
        children
    }
}
