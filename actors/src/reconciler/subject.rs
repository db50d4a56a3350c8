//! What the driver reads of an object for a decision: shared, so that reading ten thousand is
//! cheap.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kraken_engine::{
    catalog::Catalog,
    dsc::Dsc,
    fleet::Fleet,
    id::{Name, Uid},
    object::Object,
    path::Path,
    predicate::On,
    route::{Seen, parent_lookers},
    singleton::Lease,
    time::Millis,
    value::Value,
    view::{Related, Subject},
};

use crate::module::{Looker, ObjectView};

/// An object as the node knows it now.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) object: Arc<Object>,
    pub(crate) dsc: Arc<Dsc>,
    related: RelatedValues,
    /// How long this node may go on with it, where it hosts it.
    lease: Lease,
    /// Whether this node looks at what a parent sees of it.
    looks_as_parent: bool,
}

/// Objects as the node knows them at one moment, in order of uid; `None`: gone.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub(super) objects: Vec<(Uid, Option<Known>)>,
    pub(super) catalog: Arc<Catalog>,
}

impl Sight {
    /// Reads objects. `members`: those that are attached here; `None` on a leaf.
    pub(crate) fn read(
        fleet: &Fleet,
        uids: BTreeSet<Uid>,
        members: Option<&BTreeSet<Name>>,
        now: Millis,
    ) -> Self {
        let members = members.map(|members| Seen::new(fleet, members));
        let read = |uid| (uid, Known::read(fleet, uid, members.as_ref(), now));
        let objects = uids.into_iter().map(read).collect();
        Self { objects, catalog: fleet.catalog().clone() }
    }

    /// One of them, where it is there.
    pub(crate) fn known(&self, uid: Uid) -> Option<&Known> {
        let place = self.objects.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        self.objects.get(place)?.1.as_ref()
    }
}

/// The values of related objects that the object's predicates name.
#[derive(Debug, Clone, Default)]
struct RelatedValues(BTreeMap<(On, Path), Value>);

impl Related for RelatedValues {
    fn value(&self, _: &Object, on: &On, path: &Path) -> Option<Value> {
        self.0.get(&(on.clone(), path.clone())).cloned()
    }
}

impl Known {
    /// An object as an order shows it; what predicates name elsewhere was judged already.
    pub(crate) fn of(object: Arc<Object>, dsc: Dsc, looks_as_parent: bool) -> Self {
        let related = RelatedValues::default();
        Self { object, dsc: Arc::new(dsc), related, lease: Lease::Unbound, looks_as_parent }
    }

    /// Reads an object; `None`: gone.
    fn read(fleet: &Fleet, uid: Uid, members: Option<&Seen<'_>>, now: Millis) -> Option<Self> {
        let object = fleet.object(uid)?.clone();
        let related = related(fleet, &object, now);
        let looks_as_parent = looks_as_parent(fleet, &object, members);
        let lease = fleet.lease_of(&object, now);
        Some(Self { dsc: fleet.dsc(uid), related, lease, looks_as_parent, object })
    }

    pub(crate) fn subject<'a>(&'a self, catalog: &'a Catalog, not_before: Millis) -> Subject<'a> {
        Subject {
            object: &self.object,
            dsc: &self.dsc,
            catalog,
            related: &self.related,
            not_before,
            lease: Lease::Unbound,
        }
    }

    /// The same as its host decides about it.
    pub(crate) fn subject_of_host<'a>(&'a self, catalog: &'a Catalog) -> Subject<'a> {
        Subject { lease: self.lease, ..self.subject(catalog, Millis::ZERO) }
    }

    /// Whether a node hosts the object, and so decides its own lane.
    pub(crate) fn is_hosted_by(&self, node: &Name) -> bool {
        self.object.is_hosted_by(node)
    }

    /// Whether the quorum's lane has, or had, something to decide for the object.
    pub(crate) fn concerns_quorum(&self, catalog: &Catalog) -> bool {
        let Some(kind) = catalog.kind(&self.object.key.kind) else { return false };
        let concerns = |path: &Path| {
            let rule = kind.schema.rule_at(path);
            rule.is_some_and(|rule| rule.concerns_quorum)
        };
        self.object.cfg.iter().any(|(path, _)| concerns(path))
            || self.dsc.value("/engine/quorum/phase").is_some()
    }

    /// For whom a node looks at the object.
    pub(crate) fn lookers(&self, node: &Name, leads: bool, catalog: &Catalog) -> &'static [Looker] {
        let concerns = (leads || self.looks_as_parent) && self.concerns_quorum(catalog);
        let host = self.is_hosted_by(node);
        match (host, leads && concerns, self.looks_as_parent && concerns) {
            (true, true, true) => &[Looker::Host, Looker::Leader, Looker::Parent],
            (true, true, false) => &[Looker::Host, Looker::Leader],
            (true, false, true) => &[Looker::Host, Looker::Parent],
            (true, false, false) => &[Looker::Host],
            (false, true, true) => &[Looker::Leader, Looker::Parent],
            (false, true, false) => &[Looker::Leader],
            (false, false, true) => &[Looker::Parent],
            (false, false, false) => &[],
        }
    }

    /// The object as modules see it.
    pub(crate) fn view(&self, catalog: &Catalog, lookers: &'static [Looker]) -> Arc<ObjectView> {
        let kind = catalog.kind(&self.object.key.kind);
        let shown = |path: &Path| {
            kind.and_then(|kind| kraken_engine::view::seen(kind, &self.dsc, path)).cloned()
        };
        let dsc = self.dsc.iter().filter_map(|(path, _)| Some((path.clone(), shown(path)?)));
        Arc::new(ObjectView {
            uid: self.object.uid,
            key: self.object.key.clone(),
            labels: self.object.labels.clone(),
            lookers,
            cfg: self.object.cfg.clone(),
            dsc: dsc.collect(),
        })
    }
}

/// Whether this node looks at what a parent sees of an object. `members`: those that are attached
/// here; `None` on a leaf.
pub(super) fn looks_as_parent(fleet: &Fleet, object: &Object, members: Option<&Seen<'_>>) -> bool {
    let Some(members) = members else { return object.is_reached_via(fleet.me()) };
    let Some(kind) = fleet.catalog().kind(&object.key.kind) else { return false };
    parent_lookers(kind, object, members).contains(fleet.me())
}

/// The values that predicates on other objects name, as they are known here now.
fn related(fleet: &Fleet, object: &Object, now: Millis) -> RelatedValues {
    let Some(kind) = fleet.catalog().kind(&object.key.kind) else {
        return RelatedValues::default();
    };
    let named = kind.elsewhere.iter().filter_map(|(on, path)| {
        let value = fleet.related_value(object, on, path, now)?;
        Some(((on.clone(), path.clone()), value))
    });
    RelatedValues(named.collect())
}
