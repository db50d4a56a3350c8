//! A scene: Cfg and Dsc of a fleet at one moment, held still, so that plans can be made of what is
//! or of what would be.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    dsc::Dsc,
    fleet::parent_of,
    id::{Name, Uid},
    object::Object,
    path::Path,
    predicate::On,
    singleton::Lease,
    store::Store,
    time::Millis,
    value::Value,
    view::{Related, Subject, seen},
};

/// Cfg and Dsc of a fleet at one moment.
#[derive(Debug, Default)]
pub struct Scene {
    /// Cfg, or what it would be.
    pub store: Store,
    /// What was seen, by object.
    pub dsc: BTreeMap<Uid, Arc<Dsc>>,
    nothing: Dsc,
}

impl Scene {
    /// The scene of a store and of what was seen.
    pub fn new(store: Store, dsc: BTreeMap<Uid, Arc<Dsc>>) -> Self {
        Self { store, dsc, nothing: Dsc::new() }
    }

    /// What was seen of an object; nothing, where it is not known.
    pub fn dsc(&self, uid: Uid) -> &Dsc {
        self.dsc.get(&uid).map_or(&self.nothing, Arc::as_ref)
    }

    /// An object as a decision about it would read it.
    pub fn subject<'a>(&'a self, object: &'a Object) -> Subject<'a> {
        Subject {
            object,
            dsc: self.dsc(object.uid),
            catalog: self.store.catalog(),
            related: self,
            not_before: Millis::ZERO,
            lease: Lease::Unbound,
        }
    }
}

impl Related for Scene {
    fn value(&self, object: &Object, on: &On, path: &Path) -> Option<Value> {
        let related = match on {
            On::Itself => self.store.object(object.uid),
            On::Owner => self.store.object(object.owner?),
            On::Parent => self.store.node(&parent_of(object, Some(self.dsc(object.uid)))?),
            On::NamedBy(naming) => {
                let name = object.cfg.get(naming.as_str())?.as_str()?;
                self.store.node(&Name::new(name).ok()?)
            }
        }?;
        let kind = self.store.catalog().kind(&related.key.kind)?;
        seen(kind, self.dsc(related.uid), path).cloned()
    }
}
