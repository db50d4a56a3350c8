//! What a session does with Cfg: takes what it may see, and sends what has changed of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Effect, Session};
use crate::{
    id::{Revision, Uid},
    manifest::NODE_KIND,
    object::Object,
    sync::{
        declared::{self, Declared},
        delta::{self, ObjectDelta},
        frame::{CfgDelta, Frame},
    },
};

/// Cfg that was offered and is not sent yet.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) revision: Revision,
    /// What is not among these objects is not the child's.
    is_all: bool,
    /// `None`: no longer the child's.
    objects: BTreeMap<Uid, Option<Arc<Object>>>,
}

impl Session {
    /// The Cfg that the child may see is now this, as of `revision`: both read at once.
    pub fn offer(&mut self, revision: Revision, objects: Vec<Arc<Object>>) -> Vec<Effect> {
        let objects = objects.into_iter().map(|object| (object.uid, Some(object))).collect();
        self.wanted = Some(Wanted { revision, is_all: true, objects });
        self.offered = revision;
        self.push_cfg()
    }

    /// The same, told by what may have changed since it was offered last: these objects are so now,
    /// and those are no longer the child's.
    pub fn offer_changes(
        &mut self,
        revision: Revision,
        set: Vec<Arc<Object>>,
        gone: BTreeSet<Uid>,
    ) -> Vec<Effect> {
        let wanted = self.wanted.get_or_insert_with(|| Wanted {
            revision,
            is_all: false,
            objects: BTreeMap::new(),
        });
        wanted.revision = revision;
        wanted.objects.extend(gone.into_iter().map(|uid| (uid, None)));
        wanted.objects.extend(set.into_iter().map(|object| (object.uid, Some(object))));
        self.offered = revision;
        self.push_cfg()
    }

    /// Whether what was offered is older than what the child holds: it must be offered again as the
    /// parent learns more, also where nothing of the child's has changed.
    pub fn is_behind(&self) -> bool {
        let floor = self.hello.as_ref().map(|hello| hello.revision).unwrap_or_default();
        self.is_attached() && self.wanted.as_ref().is_some_and(|wanted| wanted.revision < floor)
    }

    /// What is declared here and the child does not hold yet.
    fn undeclared(&mut self) -> Option<Declared> {
        let (held, catalog) = (self.declared.as_mut()?, self.catalog.as_deref()?);
        let declared = declared::between(held, catalog)?;
        held.clone_from(catalog.declared());
        Some(declared)
    }

    pub(super) fn push_cfg(&mut self) -> Vec<Effect> {
        let floor = self.hello.as_ref().map(|hello| hello.revision).unwrap_or_default();
        let due = self.is_attached() && self.acknowledged == self.sequence;
        let wanted = self.wanted.take_if(|wanted| due && wanted.revision >= floor);
        let Some(Wanted { revision, is_all, objects: wanted }) = wanted else { return Vec::new() };
        let whole_of = self.let_in_with(&wanted);
        let is_whole = |object: &Object| object.is_in_charge_of_any(&whole_of);
        if is_all {
            let gone = self.sent.keys().filter(|uid| !wanted.contains_key(uid));
            self.leaving.extend(gone);
            self.sent.retain(|uid, _| wanted.contains_key(uid));
        }
        let mut objects = Vec::new();
        for (uid, object) in wanted {
            if let Some(object) = object {
                let held = self.sent.get(&uid).map(Arc::as_ref).filter(|held| !is_whole(held));
                objects.extend(delta::between(held, &object));
                self.sent.insert(uid, object);
            } else if self.sent.remove(&uid).is_some() {
                self.leaving.insert(uid);
            }
        }
        objects.extend(self.leaving.iter().map(|uid| ObjectDelta::Gone(*uid)));
        // The first is sent even if it is empty: the child may hold what is no longer its own.
        let declared = self.undeclared();
        let is_new = !objects.is_empty() || declared.is_some() || !whole_of.is_empty();
        if !is_new && self.sequence > 0 {
            return Vec::new();
        }
        self.sequence += 1;
        self.shown.cfg_sent(&objects);
        let assurance = self.assurance(self.catalog.as_deref());
        let comes = |delta: &ObjectDelta| match delta {
            ObjectDelta::Whole(object) => object.key.kind.as_str() != NODE_KIND,
            ObjectDelta::Changed(_) | ObjectDelta::Gone(_) => false,
        };
        let hybrid_ms = if objects.iter().any(comes) { self.hybrid_ms } else { 0 };
        let (seq, whole_of) = (self.sequence, whole_of.into_iter().collect());
        let delta = CfgDelta { seq, revision, objects, declared, assurance, whole_of, hybrid_ms };
        vec![Effect::Send(Frame::CfgDelta(delta))]
    }
}
