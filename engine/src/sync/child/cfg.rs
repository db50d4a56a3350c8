//! What a child does with Cfg, with what is declared and with views: takes them in the order in
//! which they were sent.

use std::{collections::BTreeSet, sync::Arc};

use super::{Child, Effect};
use crate::{
    id::{Name, Revision, Uid},
    object::Object,
    singleton::Assurance,
    sync::{
        declared::{self, Declared},
        delta::{self, DeltaError, ObjectDelta},
        frame::{CfgDelta, Frame, Role},
        views::ViewDelta,
    },
    time::Millis,
};

impl Child {
    pub(super) fn cfg_delta(&mut self, delta: CfgDelta) -> Vec<Effect> {
        if delta.revision < self.revision {
            return self.close(format!("Cfg would go back to revision {}", delta.revision));
        }
        let mut effects: Vec<Effect> =
            delta.declared.into_iter().filter_map(|declared| self.declare(&declared)).collect();
        let (set, mut gone) = match self.read(delta.objects) {
            Ok(read) => read,
            Err(error) => return self.close(error.to_string()),
        };
        if delta.seq == 1 {
            let told: BTreeSet<Uid> = set.iter().map(|object| object.uid).collect();
            // What a relay holds of nodes below it stays until it is clear which of them are there.
            let is_of_this =
                |object: &Object| self.identity.role != Role::Relay || self.is_own(object);
            let held = self.objects.values().filter(|object| is_of_this(object));
            gone = held.map(|o| o.uid).filter(|uid| !told.contains(uid)).collect();
        }
        gone.extend(self.no_longer_below(&delta.whole_of, &set));
        for uid in &gone {
            self.objects.remove(uid);
            self.outbox.withdraw(*uid);
        }
        self.objects.extend(set.iter().map(|object| (object.uid, object.clone())));
        self.revision = delta.revision;
        if delta.hybrid_ms > 0 {
            effects.push(Effect::Advance(delta.hybrid_ms));
        }
        // First, so that nothing that comes with it is looked at without.
        effects.extend(self.assured(delta.assurance));
        if !set.is_empty() {
            effects.push(Effect::SetCfg(set));
        }
        if self.uid.is_some_and(|uid| gone.contains(&uid)) {
            effects.push(Effect::Gone);
        }
        if !gone.is_empty() {
            effects.push(Effect::DropCfg(gone));
        }
        if self.identity.role == Role::Relay {
            if !delta.whole_of.is_empty() {
                effects.push(Effect::Whole(delta.whole_of));
            }
            effects.push(Effect::Reached(delta.revision));
        }
        effects.push(Effect::Send(Frame::CfgAck { seq: delta.seq }));
        effects
    }

    /// What is held of nodes that were let in anew, is not told, and is not held for others.
    fn no_longer_below(&mut self, whole_of: &[Name], told: &[Arc<Object>]) -> Vec<Uid> {
        if whole_of.is_empty() {
            return Vec::new();
        }
        let whole_of: BTreeSet<Name> = whole_of.iter().cloned().collect();
        let told: BTreeSet<Uid> = told.iter().map(|object| object.uid).collect();
        let goes = |object: &&Arc<Object>| {
            let mut others = self.lower.iter().filter(|node| !whole_of.contains(node));
            object.is_in_charge_of_any(&whole_of)
                && !told.contains(&object.uid)
                && !self.is_own(object)
                && others.all(|node| !object.is_in_charge_of(node))
        };
        let gone = self.objects.values().filter(goes).map(|object| object.uid).collect();
        self.lower.extend(whole_of);
        gone
    }

    /// What a relay holds of nodes that did not come back to it since it attached: it is dropped
    /// once.
    pub(super) fn sweep(&mut self, now: Millis) -> Vec<Effect> {
        if self.sweep_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.sweep_at = None;
        let stays = |object: &Object| {
            let is_node = object.key.is_node();
            self.is_own(object)
                || (is_node && self.lower.contains(&object.key.name))
                || object.charges().any(|node| self.lower.contains(&node))
        };
        let gone = self.objects.values().filter(|object| !stays(object));
        let gone: Vec<Uid> = gone.map(|object| object.uid).collect();
        for uid in &gone {
            self.objects.remove(uid);
            self.outbox.withdraw(*uid);
        }
        if gone.is_empty() { Vec::new() } else { vec![Effect::DropCfg(gone)] }
    }

    /// The moment of an assurance by the clock here: its age counts from when the parent sent it,
    /// which was after it received what it answered last.
    pub(super) fn assured(&mut self, assurance: Option<Assurance>) -> Option<Effect> {
        let assurance = assurance?;
        self.is_assured = true;
        let answered = self.orders.last_answered()?;
        let at = Millis::new(answered.get().checked_sub(assurance.ago_ms)?);
        let revision = match self.identity.role {
            Role::Leaf | Role::Relay => Revision::default(),
            Role::Member => assurance.revision,
        };
        Some(Effect::Assured(at, revision))
    }

    fn declare(&mut self, declared: &Declared) -> Option<Effect> {
        let manifests = self.manifests.as_mut()?;
        Some(match declared::apply(manifests, declared) {
            Ok(catalog) => Effect::Declare(Arc::new(catalog)),
            Err(error) => Effect::Undeclared(error.to_string()),
        })
    }

    pub(super) fn view_delta(&mut self, delta: ViewDelta) -> Vec<Effect> {
        let seq = delta.seq;
        if seq != self.views + 1 || delta.whole != (seq == 1) {
            return self.close("views out of order".to_owned());
        }
        self.views = seq;
        vec![Effect::SetViews(delta), Effect::Send(Frame::ViewAck { seq })]
    }

    /// What deltas make of what is held: objects as they are now, and those that are no longer
    /// here.
    fn read(&self, deltas: Vec<ObjectDelta>) -> Result<(Vec<Arc<Object>>, Vec<Uid>), DeltaError> {
        let (mut set, mut gone) = (Vec::new(), Vec::new());
        for delta in deltas {
            match delta {
                ObjectDelta::Whole(object) => set.push(object),
                ObjectDelta::Gone(uid) => gone.push(uid),
                ObjectDelta::Changed(changed) => {
                    let held = self.objects.get(&changed.uid).map(Arc::as_ref);
                    set.push(Arc::new(delta::apply(held, changed)?));
                }
            }
        }
        Ok((set, gone))
    }
}
