//! The objects to which predicates of another lead: its parent, its owner, a node that it names.
//!
//! A member holds them all. A leaf holds what is in its charge, and of the rest the values that its
//! predicates name, as its parent has told it: those stand as long as it is attached, and then as
//! long as they are good for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Fleet, LINK_PATH, up_link};
use crate::{
    dsc::{Dsc, Observed, Sighting},
    id::{Name, Uid},
    manifest::{NODE_KIND, SeenBy},
    object::Object,
    path::Path,
    predicate::On,
    sync::views::{RELATED_OBJECTS_MAX, RelatedSight, Relation, Sight, Sights, ViewDelta},
    time::Millis,
    value::Value,
    view::{Related, seen},
};

/// What a child is told of elsewhere, and on what that rests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Elsewhere {
    /// What it is told.
    pub sights: Sights,
    /// The objects elsewhere of which it is told.
    pub rests_on: BTreeSet<Uid>,
    /// Whether something that is named is not known: it may come to be.
    pub lacks: bool,
    /// How many objects it is not told of, because there are too many.
    pub left_out: usize,
}

/// The node that `@parent` speaks of: for a node the one it is attached to, which says that its
/// link is up; for any other object the one that hosts it. `None` where a node is not attached, and
/// for members, which are attached to nobody.
pub fn parent_of(object: &Object, dsc: Option<&Dsc>) -> Option<Name> {
    if object.key.kind.as_str() != NODE_KIND {
        return object.host();
    }
    Some(up_link(dsc?)?.stamp.writer.clone())
}

impl Fleet {
    /// The object that `on` names from another.
    pub fn related(&self, object: &Object, on: &On) -> Option<&Arc<Object>> {
        match on {
            On::Itself => self.object(object.uid),
            On::Owner => self.object(object.owner?),
            On::Parent => {
                self.node(&parent_of(object, self.dsc.get(&object.uid).map(Arc::as_ref))?)
            }
            On::NamedBy(naming) => {
                let name = object.cfg.get(naming.as_str())?.as_str()?;
                self.node(&Name::new(name).ok()?)
            }
        }
    }
}

/// What a leaf was told of elsewhere.
#[derive(Debug, Default)]
pub(super) struct Told {
    related: BTreeMap<Uid, Vec<RelatedSight>>,
    /// Since when nobody stands for it.
    cut_off_since: Option<Millis>,
}

impl Fleet {
    /// What a child is to be told of elsewhere for the objects in its charge.
    pub fn elsewhere_of(&self, child: &Name) -> Elsewhere {
        let mut told = Elsewhere::default();
        for object in self.charges_of(child) {
            let sight = Sight {
                seen: self.seen_by_others(object, child),
                related: self.named(object, child, &mut told),
            };
            if sight != Sight::default() {
                told.sights.insert(object.uid, sight);
            }
        }
        if told.rests_on.len() > RELATED_OBJECTS_MAX {
            let kept: BTreeSet<Uid> =
                told.rests_on.iter().take(RELATED_OBJECTS_MAX).copied().collect();
            told.left_out = told.rests_on.len() - RELATED_OBJECTS_MAX;
            for sight in told.sights.values_mut() {
                sight.related.retain(|related| kept.contains(&related.uid));
            }
            told.rests_on = kept;
        }
        told
    }

    /// What parents and leaders have seen of an object, as far as its host goes by it; and what an
    /// earlier host said that wins over its own words: it says those again.
    fn seen_by_others(&self, object: &Object, child: &Name) -> Vec<Sighting> {
        let Some(kind) = self.catalog.kind(&object.key.kind) else { return Vec::new() };
        let Some(dsc) = self.dsc.get(&object.uid) else { return Vec::new() };
        let by_others = |path: &Path| {
            path.as_str() != LINK_PATH
                && kind.schema.rule_at(path).is_some_and(|rule| {
                    rule.discovered
                        && rule.concerns_host
                        && matches!(rule.seen_by, SeenBy::Parent | SeenBy::Control)
                })
        };
        let is_guest = object.key.kind.as_str() != NODE_KIND && object.is_hosted_by(child);
        let by_earlier_host = |path: &Path, observed: &Observed| {
            is_guest && observed.stamp.writer != *child && self.is_said_by_host(object, path)
        };
        let heard = dsc.iter().filter(|(_, seen)| !seen.is_remembered());
        let seen = heard.filter(|(path, seen)| by_others(path) || by_earlier_host(path, seen));
        seen.map(|(path, observed)| (path.clone(), observed.clone())).collect()
    }

    /// What the predicates of an object name of those that its child does not hold.
    fn named(&self, object: &Object, child: &Name, told: &mut Elsewhere) -> Vec<RelatedSight> {
        let Some(kind) = self.catalog.kind(&object.key.kind) else { return Vec::new() };
        let mut named = Vec::new();
        for (on, path) in kind.elsewhere_of_host.iter() {
            let Some(by) = Relation::of(on) else { continue };
            let Some(related) = self.related(object, on) else {
                match self.told_of(object, on, path) {
                    Some(passed_on) => named.push(passed_on.clone()),
                    None => told.lacks |= leads_somewhere(object, on),
                }
                continue;
            };
            if related.is_in_charge_of(child) {
                continue;
            }
            told.rests_on.insert(related.uid);
            let Some(value) = self.value(object, on, path) else { continue };
            let kind = self.catalog.kind(&related.key.kind);
            named.push(RelatedSight {
                by,
                uid: related.uid,
                name: related.key.name.clone(),
                path: path.clone(),
                value,
                ttl_ms: kind.and_then(|kind| kind.schema.rule_at(path)?.ttl_ms),
            });
        }
        named
    }

    /// Takes what a parent tells of elsewhere; says for which objects something has changed.
    pub fn set_views(&mut self, delta: ViewDelta, now: Millis) -> BTreeSet<Uid> {
        let mut changed = BTreeSet::new();
        if delta.whole {
            changed.extend(std::mem::take(&mut self.told.related).into_keys());
        }
        for (uid, sight) in delta.objects {
            if !self.objects.contains_key(&uid) {
                continue;
            }
            self.merge(uid, sight.seen, now);
            if sight.related.is_empty() {
                self.told.related.remove(&uid);
            } else {
                self.told.related.insert(uid, sight.related);
            }
            changed.insert(uid);
        }
        changed
    }

    /// The leaf whose view this is is attached, or no longer since a moment.
    pub fn set_cut_off(&mut self, since: Option<Millis>) {
        // It is the first moment that counts.
        self.told.cut_off_since =
            since.map(|since| self.told.cut_off_since.unwrap_or(since).min(since));
    }

    /// The value at `path` of the object that `on` names from another, as it is known here or was
    /// told. What was told while this node was attached holds on when it is not, until it is older
    /// than it is good for.
    pub fn related_value(
        &self,
        object: &Object,
        on: &On,
        path: &Path,
        now: Millis,
    ) -> Option<Value> {
        if let Some(value) = self.value(object, on, path) {
            return Some(value);
        }
        let told = self.told_of(object, on, path)?;
        let is_outdated = self
            .told
            .cut_off_since
            .is_some_and(|since| told.ttl_ms.is_some_and(|ttl_ms| since.after_ms(ttl_ms) < now));
        let still_leads_there = match on {
            On::Itself => false,
            On::Parent => true,
            On::Owner => object.owner == Some(told.uid),
            On::NamedBy(naming) => {
                object.cfg.get(naming.as_str()).and_then(Value::as_str) == Some(told.name.as_str())
            }
        };
        (still_leads_there && !is_outdated).then(|| told.value.clone())
    }

    /// What this node was told of elsewhere.
    fn told_of(&self, object: &Object, on: &On, path: &Path) -> Option<&RelatedSight> {
        let by = Relation::of(on)?;
        let mut told = self.told.related.get(&object.uid)?.iter();
        told.find(|told| told.by == by && told.path == *path)
    }

    pub(super) fn forget_views(&mut self, uid: Uid) {
        self.told.related.remove(&uid);
    }
}

/// Whether an object names another by a relation, known or not.
fn leads_somewhere(object: &Object, on: &On) -> bool {
    match on {
        On::Itself => false,
        // A node's parent says itself that it is.
        On::Parent => object.key.kind.as_str() != NODE_KIND && object.host().is_some(),
        On::Owner => object.owner.is_some(),
        On::NamedBy(naming) => object.cfg.get(naming.as_str()).is_some(),
    }
}

impl Related for Fleet {
    fn value(&self, object: &Object, on: &On, path: &Path) -> Option<Value> {
        let related = self.related(object, on)?;
        let kind = self.catalog.kind(&related.key.kind)?;
        seen(kind, self.dsc.get(&related.uid)?, path).cloned()
    }
}
