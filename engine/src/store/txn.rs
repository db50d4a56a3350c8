//! Transactions: operations are staged over the store and laid into it only if all are right.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Change, Store, freeze, tenure};
use crate::{
    catalog::{Catalog, KindCatalog},
    command::{Condition, OPS_MAX, Op, Precondition, Refusal, Target, Txn},
    id::{Name, Revision, Uid},
    manifest::SetBy,
    object::{LABEL_BYTES_MAX, LABELS_MAX, Labels, Object, ObjectRef, OnDelete, Tenure},
    path::Path,
    policy::{POLICIES_MAX, Policy},
    state::State,
    time::Millis,
};

pub(super) fn apply(
    store: &mut Store,
    index: Revision,
    at: Millis,
    txn: &Txn,
) -> Result<Vec<Change>, Refusal> {
    if txn.ops.len() > OPS_MAX {
        return Err(Refusal::Limit {
            what: "the number of operations".to_owned(),
            limit: OPS_MAX as u64,
        });
    }
    check_preconditions(store, &txn.preconditions)?;
    let mut staged = Staged::new(store, index, at);
    for op in &txn.ops {
        staged.op(op)?;
    }
    let Staged { touched, .. } = staged;
    Ok(store.lay(touched))
}

/// Decision paths of one object, as they are written.
pub(super) struct Decided<'a> {
    pub(super) module: &'a str,
    pub(super) uid: Uid,
    pub(super) revision: Revision,
    pub(super) set: &'a State,
    pub(super) unset: &'a [Path],
}

/// Sets what a module has decided about one object.
pub(super) fn decide(
    store: &mut Store,
    index: Revision,
    at: Millis,
    decided: &Decided<'_>,
) -> Result<Vec<Change>, Refusal> {
    let mut staged = Staged::new(store, index, at);
    staged.decide(decided)?;
    let Staged { touched, .. } = staged;
    Ok(store.lay(touched))
}

/// What was to be created and exists is told as a whole, after all else holds.
fn check_preconditions(store: &Store, preconditions: &[Precondition]) -> Result<(), Refusal> {
    let mut there = Vec::new();
    for (place, precondition) in (0_u32..).zip(preconditions) {
        match &precondition.is {
            Condition::Absent if store.find(&precondition.object).is_some() => {
                there.push(precondition.object.clone());
            }
            _ => check_precondition(store, place, precondition)?,
        }
    }
    if there.is_empty() { Ok(()) } else { Err(Refusal::Exists(there)) }
}

fn check_precondition(
    store: &Store,
    index: u32,
    precondition: &Precondition,
) -> Result<(), Refusal> {
    let Precondition { object: key, is } = precondition;
    let found = store.find(key);
    let why = match (is, found) {
        (Condition::Exists, Some(_)) | (Condition::Absent, None) => return Ok(()),
        (Condition::Exists, None) => "does not exist".to_owned(),
        (Condition::Absent, Some(_)) => "exists".to_owned(),
        (Condition::Revision(revision), Some(object)) if object.revision == *revision => {
            return Ok(());
        }
        (Condition::Revision(revision), Some(object)) => {
            format!("is at revision {}, not {revision}", object.revision)
        }
        (Condition::Value(path, value), Some(object)) => match object.cfg.get(path.as_str()) {
            held if held == value.as_ref() => return Ok(()),
            Some(held) => format!("has {path} = {held}"),
            None => format!("has no {path}"),
        },
        (Condition::Holds(path), Some(object)) if object.cfg.get(path.as_str()).is_some() => {
            return Ok(());
        }
        (Condition::Holds(path), Some(_)) => format!("has no {path}"),
        (Condition::Revision(_) | Condition::Value(..) | Condition::Holds(_), None) => {
            "does not exist".to_owned()
        }
    };
    Err(Refusal::Precondition { index, object: key.clone(), why })
}

/// A transaction in progress: what it has touched so far, over the store as it was.
pub(super) struct Staged<'a> {
    pub(super) store: &'a Store,
    pub(super) index: Revision,
    at: Millis,
    /// `None`: removed.
    pub(super) touched: BTreeMap<Uid, Option<Object>>,
    created: BTreeMap<ObjectRef, Uid>,
    /// Owners that were given here, each with what it owns.
    pub(super) owned: BTreeSet<(Uid, Uid)>,
    /// How many objects were created, those removed again included.
    ordinal: u32,
}

impl<'a> Staged<'a> {
    fn new(store: &'a Store, index: Revision, at: Millis) -> Self {
        let (touched, created, owned) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { store, index, at, touched, created, owned, ordinal: 0 }
    }

    fn op(&mut self, op: &Op) -> Result<(), Refusal> {
        match op {
            Op::Put { object, labels, owner, cfg } => {
                let owner = owner.as_ref().map(|key| Ok(self.find(key)?.uid)).transpose()?;
                self.put(object, labels.as_ref(), owner, cfg)
            }
            Op::Merge { target, set, unset } => {
                self.each(target, |staged, uid| staged.merge(uid, set, unset))
            }
            Op::Label { target, set, unset } => {
                self.each(target, |staged, uid| staged.label(uid, set, unset))
            }
            Op::Delete { object, force } => {
                let uid = self.find(object)?.uid;
                self.delete(uid, *force)
            }
            Op::Remove { uid, revision } => self.finish(*uid, *revision),
            Op::Release { uid, revision, floor_ms } => self.release(*uid, *revision, *floor_ms),
            Op::Own { object, owner, on_delete } => {
                let owner = owner.as_ref().map(|key| Ok(self.find(key)?.uid)).transpose()?;
                let uid = self.find(object)?.uid;
                self.own(uid, owner, *on_delete)
            }
        }
    }

    pub(super) fn current(&self, uid: Uid) -> Option<&Object> {
        match self.touched.get(&uid) {
            Some(touched) => touched.as_ref(),
            None => self.store.objects.get(&uid).map(Arc::as_ref),
        }
    }

    fn uid_of(&self, key: &ObjectRef) -> Option<Uid> {
        self.created.get(key).or_else(|| self.store.keys.get(key)).copied()
    }

    fn find(&self, key: &ObjectRef) -> Result<&Object, Refusal> {
        self.uid_of(key)
            .and_then(|uid| self.current(uid))
            .ok_or_else(|| Refusal::NoSuchObject(key.clone()))
    }

    fn put(
        &mut self,
        key: &ObjectRef,
        labels: Option<&Labels>,
        owner: Option<Uid>,
        cfg: &State,
    ) -> Result<(), Refusal> {
        let kind = self.kind(key)?;
        check_namespace(kind, key)?;
        check_set(kind, key, cfg)?;
        let mut object = match self.uid_of(key).and_then(|uid| self.current(uid)) {
            Some(object) if object.deleting => return Err(Refusal::Deleting(key.clone())),
            Some(object) => object.clone(),
            None => self.fresh(key),
        };
        let decisions: Vec<_> = object
            .cfg
            .iter()
            .filter(|(path, _)| is_decision(kind, path))
            .map(|(path, value)| (path.clone(), value.clone()))
            .collect();
        let mut replaced = cfg.clone();
        for (path, value) in decisions {
            let shape = |error| Refusal::shape(key, &path, &error);
            replaced.set(path.clone(), value).map_err(shape)?;
        }
        object.cfg = replaced;
        if let Some(labels) = labels {
            object.labels.clone_from(labels);
        }
        if owner.is_some() {
            object.owner = owner;
            self.check_owner(&object)?;
        }
        self.stage(object)
    }

    fn fresh(&mut self, key: &ObjectRef) -> Object {
        let uid = Uid::derive(self.store.cluster, self.index, self.ordinal);
        // No transaction creates more than `OPS_MAX` objects.
        self.ordinal += 1;
        self.created.insert(key.clone(), uid);
        Object {
            uid,
            key: key.clone(),
            labels: Labels::new(),
            owner: None,
            created: self.at,
            revision: self.index,
            generation: 0,
            deleting: false,
            frozen: None,
            cfg: State::new(),
            on_delete: OnDelete::default(),
            tenure: Tenure::default(),
        }
    }

    fn merge(&mut self, uid: Uid, set: &State, unset: &[Path]) -> Result<(), Refusal> {
        let mut object = self.changeable(uid)?;
        let kind = self.kind(&object.key)?;
        check_set(kind, &object.key, set)?;
        for path in unset {
            if let Some((held, _)) = object.cfg.under(path).find(|(p, _)| is_decision(kind, p)) {
                let why = "it is decided by a module, not set".to_owned();
                return Err(Refusal::Invalid { path: held.to_string(), object: object.key, why });
            }
            object.cfg.unset(path);
        }
        for (path, value) in set.iter() {
            let shape = |error| Refusal::shape(&object.key, path, &error);
            object.cfg.set(path.clone(), value.clone()).map_err(shape)?;
        }
        self.stage(object)
    }

    fn decide(&mut self, decided: &Decided<'_>) -> Result<(), Refusal> {
        let mut object = self.changeable(decided.uid)?;
        let kind = self.kind(&object.key)?;
        if object.revision != decided.revision {
            let why = format!("is at revision {}, not {}", object.revision, decided.revision);
            return Err(Refusal::Precondition { index: 0, object: object.key, why });
        }
        for path in decided.set.iter().map(|(path, _)| path).chain(decided.unset) {
            let rule = kind.schema.rule_at(path);
            let owned = rule.is_some_and(
                |rule| matches!(&rule.set_by, SetBy::Module(module) if module == decided.module),
            );
            if !owned {
                let why = format!("it is no decision of module {}", decided.module);
                return Err(invalid(&object.key, path, why));
            }
        }
        for path in decided.unset {
            object.cfg.unset(path);
        }
        for (path, value) in decided.set.iter() {
            let shape = |error| Refusal::shape(&object.key, path, &error);
            object.cfg.set(path.clone(), value.clone()).map_err(shape)?;
        }
        check_cfg(&self.store.catalog, &object)?;
        self.stage(object)
    }

    fn label(&mut self, uid: Uid, set: &Labels, unset: &[Name]) -> Result<(), Refusal> {
        let mut object = self.changeable(uid)?;
        for label in unset {
            object.labels.remove(label);
        }
        object.labels.extend(set.clone());
        self.stage(object)
    }

    pub(super) fn changeable(&self, uid: Uid) -> Result<Object, Refusal> {
        let object = self.current(uid).ok_or(Refusal::NoSuchUid(uid))?;
        if object.deleting {
            return Err(Refusal::Deleting(object.key.clone()));
        }
        Ok(object.clone())
    }

    /// Lays an object into the transaction if it differs from what it was.
    pub(super) fn stage(&mut self, mut object: Object) -> Result<(), Refusal> {
        check_labels(&object)?;
        self.check_policy(&object)?;
        object.frozen = freeze::resolve(&self.store.freezes, &object);
        tenure::follow(
            &self.store.catalog,
            self.store.objects.get(&object.uid),
            &mut object,
            self.index,
        );
        if self.current(object.uid) == Some(&object) {
            return Ok(());
        }
        let asked = |object: &Object| (object.cfg.clone(), object.deleting);
        let before = self.store.objects.get(&object.uid);
        let generation = before.map_or(0, |before| before.generation);
        let is_asked_anew = before.is_none_or(|before| asked(before) != asked(&object));
        object.generation = generation + u64::from(is_asked_anew);
        object.revision = self.index;
        self.owned.extend(object.owner.map(|owner| (owner, object.uid)));
        self.touched.insert(object.uid, Some(object));
        Ok(())
    }

    /// Refuses a policy that cannot be, or is one too many.
    fn check_policy(&self, object: &Object) -> Result<(), Refusal> {
        if !Policy::is(object) {
            return Ok(());
        }
        Policy::read(object).map_err(|(path, why)| Refusal::Invalid {
            object: object.key.clone(),
            path: path.to_owned(),
            why,
        })?;
        let rules = &self.store.rules;
        let new = self.created.keys().filter(|key| key.kind == object.key.kind).count();
        if rules.policy(object.uid).is_none() && rules.policies().count() + new > POLICIES_MAX {
            let what = "the number of policies".to_owned();
            return Err(Refusal::Limit { what, limit: POLICIES_MAX as u64 });
        }
        Ok(())
    }

    fn each(
        &mut self,
        target: &Target,
        mut op: impl FnMut(&mut Self, Uid) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match target {
            Target::One(key) => {
                let uid = self.find(key)?.uid;
                op(self, uid)
            }
            Target::Matching { kind, selector } => {
                let mut uids: Vec<Uid> =
                    self.store.of_kind(kind.as_str()).map(|object| object.uid).collect();
                uids.extend(self.created.values());
                for uid in uids {
                    let matches = self.current(uid).is_some_and(|object| {
                        object.key.kind == *kind && selector.matches(&object.labels)
                    });
                    if matches {
                        op(self, uid)?;
                    }
                }
                Ok(())
            }
        }
    }

    pub(super) fn kind(&self, key: &ObjectRef) -> Result<&'a KindCatalog, Refusal> {
        kind_of(&self.store.catalog, key)
    }
}

impl Store {
    fn lay(&mut self, touched: BTreeMap<Uid, Option<Object>>) -> Vec<Change> {
        let mut changes = Vec::with_capacity(touched.len());
        let (kept, removed): (Vec<_>, Vec<_>) = touched.into_iter().partition(|(_, o)| o.is_some());
        for (uid, _) in removed {
            if let Some(object) = self.objects.remove(&uid) {
                self.keys.remove(&object.key);
                self.disown(&object);
                self.intents.retain(|_, intent| intent.uid != uid);
                self.recount(Some(&object), None);
                changes.push(Change::Removed(object));
            }
        }
        for object in kept.into_iter().filter_map(|(_, object)| object).map(Arc::new) {
            // What is there already is not touched: copies go on sharing it.
            if self.keys.get(&object.key) != Some(&object.uid) {
                self.keys.insert(object.key.clone(), object.uid);
            }
            let before = self.objects.insert(object.uid, object.clone());
            let owner = before.as_ref().and_then(|before| before.owner);
            if owner != object.owner {
                if let Some(before) = &before {
                    self.disown(before);
                }
                if let Some(owner) = object.owner {
                    self.owned.insert((owner, object.uid));
                }
            }
            self.recount(before.as_deref(), Some(&object));
            changes.push(Change::Put { object, before });
        }
        changes.sort_by_key(|change| change.object().uid);
        changes
    }

    /// Takes over objects that are what they were but for what is no part of key, labels and owner.
    pub(super) fn take_over(&mut self, changes: &[Change]) {
        for object in changes.iter().map(Change::object) {
            self.objects.insert(object.uid, object.clone());
        }
    }

    fn disown(&mut self, object: &Object) {
        if let Some(owner) = object.owner {
            self.owned.remove(&(owner, object.uid));
        }
    }
}

/// Checks the whole Cfg of an object against a catalog.
pub(super) fn check_cfg(catalog: &Catalog, object: &Object) -> Result<(), Refusal> {
    let kind = kind_of(catalog, &object.key)?;
    check_namespace(kind, &object.key)?;
    for (path, value) in object.cfg.iter() {
        let fits = match kind.schema.rule(path) {
            Some((rule, _)) => rule.value_type.check(value),
            None => kind.schema.check_set(path, value),
        };
        fits.map_err(|why| invalid(&object.key, path, why))?;
    }
    Ok(())
}

fn kind_of<'a>(catalog: &'a Catalog, key: &ObjectRef) -> Result<&'a KindCatalog, Refusal> {
    catalog.kind(&key.kind).ok_or_else(|| Refusal::Invalid {
        object: key.clone(),
        path: "kind".to_owned(),
        why: format!("no extension declares objects of kind {}", key.kind),
    })
}

/// Checks that names of a kind live where the kind has them live.
fn check_namespace(kind: &KindCatalog, key: &ObjectRef) -> Result<(), Refusal> {
    let why = match (kind.namespaced, key.namespace.is_some()) {
        (true, true) | (false, false) => return Ok(()),
        (true, false) => format!("objects of kind {} live in a namespace; name one", key.kind),
        (false, true) => format!("objects of kind {} live in no namespace", key.kind),
    };
    Err(Refusal::Invalid { object: key.clone(), path: "namespace".to_owned(), why })
}

fn check_set(kind: &KindCatalog, key: &ObjectRef, cfg: &State) -> Result<(), Refusal> {
    for (path, value) in cfg.iter() {
        kind.schema.check_set(path, value).map_err(|why| invalid(key, path, why))?;
    }
    Ok(())
}

fn check_labels(object: &Object) -> Result<(), Refusal> {
    let limit = |what: &str, limit: usize| {
        let what = what.to_owned();
        Refusal::Limit { what, limit: limit as u64 }
    };
    if object.labels.len() > LABELS_MAX {
        return Err(limit("the number of labels", LABELS_MAX));
    }
    if object.labels.values().any(|value| value.len() > LABEL_BYTES_MAX) {
        return Err(limit("the length of a label value in bytes", LABEL_BYTES_MAX));
    }
    Ok(())
}

fn is_decision(kind: &KindCatalog, path: &Path) -> bool {
    kind.schema.rule(path).is_some_and(|(rule, _)| matches!(rule.set_by, SetBy::Module(_)))
}

fn invalid(object: &ObjectRef, path: &Path, why: String) -> Refusal {
    Refusal::Invalid { object: object.clone(), path: path.to_string(), why }
}
