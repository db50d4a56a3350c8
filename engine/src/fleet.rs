//! The fleet as one node knows it: the objects that it was told of and what was seen of them.
//!
//! A leaf knows itself, a member knows everybody. What the node sees itself is stamped and makes
//! dependent facts unknown; what comes from others is merged as it is. Every change marks outboxes,
//! from which uplinks take what they have to send.

mod hosts;
mod leases;
mod link;
mod related;
mod speaking;
#[cfg(test)]
mod tests;
mod whole;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use self::related::Told;
pub use self::{
    link::{LINK_PATH, Link, latest_ms, up_link},
    related::{Elsewhere, parent_of},
};
use crate::{
    catalog::Catalog,
    dsc::{Dsc, Observed, Sighting, Stamp},
    id::{Name, Revision, Uid},
    journal::is_memorable,
    object::Object,
    path::Path,
    singleton::Assured,
    time::Millis,
    value::Value,
};

/// Objects of which something may be held before the object itself is known; of more it is refused.
pub const EARLY_OBJECTS_MAX: usize = 200_000;
/// Removed objects that are remembered, so that what is said late of one is not kept as early.
pub const REMOVED_OBJECTS_MAX: usize = 10_000;

/// The objects and observations that a node holds.
#[derive(Debug)]
pub struct Fleet {
    me: Name,
    catalog: Arc<Catalog>,
    objects: BTreeMap<Uid, Arc<Object>>,
    /// Up to which write of Cfg the objects were told.
    revision: Revision,
    nodes: BTreeMap<Name, Uid>,
    /// The objects that are none of the nodes themselves and that a node hosts, or through which
    /// they are reached, by node.
    charges: BTreeMap<Name, BTreeSet<Uid>>,
    dsc: BTreeMap<Uid, Arc<Dsc>>,
    /// What was said of objects that are not known yet: Cfg and Dsc come by different ways.
    early: BTreeMap<Uid, Arc<Dsc>>,
    removed: BTreeSet<Uid>,
    /// Of the removed, oldest first.
    removals: VecDeque<Uid>,
    refused: u64,
    /// The stamp of this life's beginning: what was seen before it counts as seen then.
    born: Option<Stamp>,
    /// Nodes attached here: this node speaks for what they wrote.
    attached: BTreeSet<Name>,
    /// Members that are lost: whoever heard them speaks for what they wrote.
    bequeathed: BTreeSet<Name>,
    /// Other members, as far as this node has met them.
    peers: BTreeSet<Name>,
    /// Objects of which everything is to be told afresh: what was stamped before this.
    renewed: BTreeMap<Uid, u64>,
    /// On a relay, the nodes below it whose Cfg is held here up to the revision.
    whole: Option<BTreeSet<Name>>,
    /// What a leaf was told of elsewhere.
    told: Told,
    /// When the quorum was last known to have the Cfg that is held here.
    assured: Assured,
}

/// What a change of the fleet touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Paths that now show something else, by object.
    pub paths: Vec<(Uid, Path)>,
}

impl Fleet {
    /// The fleet of a node that knows nothing yet.
    pub fn new(me: Name, catalog: Arc<Catalog>) -> Self {
        Self {
            me,
            catalog,
            objects: BTreeMap::new(),
            revision: Revision::default(),
            nodes: BTreeMap::new(),
            charges: BTreeMap::new(),
            dsc: BTreeMap::new(),
            early: BTreeMap::new(),
            removed: BTreeSet::new(),
            removals: VecDeque::new(),
            refused: 0,
            born: None,
            attached: BTreeSet::new(),
            bequeathed: BTreeSet::new(),
            peers: BTreeSet::new(),
            renewed: BTreeMap::new(),
            whole: None,
            told: Told::default(),
            assured: Assured::default(),
        }
    }

    /// The node whose view this is.
    pub fn me(&self) -> &Name {
        &self.me
    }

    /// What can be declared and done.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Takes a new catalog.
    pub fn set_catalog(&mut self, catalog: Arc<Catalog>) {
        self.catalog = catalog;
    }

    /// Takes an object as it is now, and what was said of it before it was known, which is what is
    /// touched. One that is older than what is held came late and is passed over: Cfg never goes
    /// back.
    pub fn set_object(&mut self, object: Arc<Object>) -> Touched {
        let mut touched = Touched::default();
        if self.objects.get(&object.uid).is_some_and(|held| held.revision > object.revision) {
            return touched;
        }
        self.removed.remove(&object.uid);
        if let Some(mut early) = self.early.remove(&object.uid) {
            let own = object.is_node(&self.me);
            Arc::make_mut(&mut early).retain(|path, seen| {
                self.may_say(&object, path, seen) && !(own && seen.is_remembered())
            });
            touched.paths.extend(early.iter().map(|(path, _)| (object.uid, path.clone())));
            self.dsc.entry(object.uid).or_insert(early);
        }
        if object.key.is_node() {
            self.nodes.insert(object.key.name.clone(), object.uid);
        }
        if let Some(held) = self.objects.get(&object.uid).cloned() {
            self.discharge(&held);
            self.forget_hosts(&held, &object);
        }
        for node in object.charges() {
            self.charges.entry(node).or_default().insert(object.uid);
        }
        self.objects.insert(object.uid, object);
        touched
    }

    fn discharge(&mut self, object: &Object) {
        for node in object.charges() {
            if let Some(held) = self.charges.get_mut(&node) {
                held.remove(&object.uid);
                if held.is_empty() {
                    self.charges.remove(&node);
                }
            }
        }
    }

    /// The objects that a node hosts, itself among them, and those that are reached through it.
    pub fn charges_of(&self, node: &Name) -> impl Iterator<Item = &Arc<Object>> {
        let others = self.charges.get(node).into_iter().flatten();
        let others = others.filter_map(|uid| self.objects.get(uid));
        self.node(node).into_iter().chain(others)
    }

    /// Forgets an object and all that was seen of it.
    pub fn remove_object(&mut self, uid: Uid) {
        self.dsc.remove(&uid);
        self.early.remove(&uid);
        self.renewed.remove(&uid);
        self.forget_views(uid);
        if self.removed.insert(uid) {
            self.removals.push_back(uid);
        }
        if self.removals.len() > REMOVED_OBJECTS_MAX
            && let Some(oldest) = self.removals.pop_front()
        {
            self.removed.remove(&oldest);
        }
        let Some(object) = self.objects.remove(&uid) else { return };
        self.discharge(&object);
        if self.nodes.get(&object.key.name) == Some(&uid) {
            self.nodes.remove(&object.key.name);
            self.whole.as_mut().map(|whole| whole.remove(&object.key.name));
        }
    }

    /// All writes of Cfg up to this one have been told. Says what this node may have again.
    pub fn set_revision(&mut self, revision: Revision, now: Millis) -> Vec<Uid> {
        if self.revision == Revision::default() {
            // What is remembered of objects that are not there is of no more use.
            self.early.retain(|_, dsc| dsc.iter().any(|(_, seen)| !seen.is_remembered()));
        }
        self.revision = self.revision.max(revision);
        let before = self.assured;
        self.assured.hold(self.revision);
        self.regained(before, now)
    }

    /// The write of Cfg up to which the objects are known: what is held of one is what it was then,
    /// or later.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// An object.
    pub fn object(&self, uid: Uid) -> Option<&Arc<Object>> {
        self.objects.get(&uid)
    }

    /// All objects, in order of uid.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The objects that follow one in order of uid; all of them after nothing.
    pub fn objects_after(&self, last: Option<Uid>) -> impl Iterator<Item = &Arc<Object>> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.objects.range((from, Bound::Unbounded)).map(|(_, object)| object)
    }

    /// A node by name.
    pub fn node(&self, name: &Name) -> Option<&Arc<Object>> {
        self.objects.get(self.nodes.get(name)?)
    }

    /// What was seen of an object, to look at it only.
    pub fn seen(&self, uid: Uid) -> Option<&Dsc> {
        self.dsc.get(&uid).map(|dsc| &**dsc)
    }

    /// What was seen of an object; nothing, where it is not known.
    pub fn dsc(&self, uid: Uid) -> Arc<Dsc> {
        self.dsc.get(&uid).cloned().unwrap_or_default()
    }

    /// What was seen of all objects. Cheap: the observations are shared.
    pub fn all_dsc(&self) -> BTreeMap<Uid, Arc<Dsc>> {
        self.dsc.clone()
    }

    /// What this node sees of an object from `stamp` on is told even where it is as before, once:
    /// somebody wants to know that it still is.
    pub fn renew(&mut self, uid: Uid, stamp: &Stamp) {
        if self.objects.contains_key(&uid) {
            self.renewed.insert(uid, stamp.ms);
        }
    }

    /// This node saw values of an object, in a look that began at `stamp`. The same value seen
    /// again moves only `seen_at`, unless somebody else had written it: then this node takes it
    /// over.
    pub fn see(
        &mut self,
        uid: Uid,
        stamp: &Stamp,
        values: Vec<(Path, Option<Value>)>,
        now: Millis,
    ) -> Touched {
        let mut touched = Touched::default();
        let Some(object) = self.objects.get(&uid) else { return touched };
        let schema = self.catalog.kind(&object.key.kind).map(|kind| &kind.schema);
        let renewed = self.renewed.get(&uid).copied();
        let dsc = Arc::make_mut(self.dsc.entry(uid).or_default());
        let born = self.born.as_ref().filter(|born| stamp < *born);
        let stamp = born.unwrap_or(stamp);
        for (path, value) in values {
            let held = dsc.get(path.as_str());
            // A look that began before this life did, says nothing of what was seen in it.
            if born.is_some_and(|born| held.is_some_and(|held| held.stamp >= *born)) {
                continue;
            }
            let renews = |held: &Observed| {
                renewed.is_some_and(|since| held.stamp.ms < since && since <= stamp.ms)
            };
            let same = held.filter(|held| held.value == value && held.stamp.writer == self.me);
            if same.is_some_and(|held| !renews(held) && !held.is_remembered()) {
                // It held when the look began.
                dsc.confirm(&path, now.min(Millis::new(stamp.ms)));
                continue;
            }
            let forgotten = schema.map(|schema| schema.forgotten_by(dsc, &path, value.as_ref()));
            let observed = |value| Observed { value, stamp: stamp.clone(), seen_at: now };
            if dsc.merge(path.clone(), observed(value)) {
                touched.paths.push((uid, path));
                for path in forgotten.into_iter().flatten() {
                    if dsc.merge(path.clone(), observed(None)) {
                        touched.paths.push((uid, path));
                    }
                }
            }
        }
        touched
    }

    /// This node says something about an object: as [`see`](Self::see), but that nothing is said of
    /// a path of which nothing was ever said needs no words.
    pub fn say(
        &mut self,
        uid: Uid,
        stamp: &Stamp,
        mut values: Vec<(Path, Option<Value>)>,
        now: Millis,
    ) -> Touched {
        let held = self.dsc.get(&uid);
        values.retain(|(path, value)| {
            value.is_some() || held.is_some_and(|dsc| dsc.get(path.as_str()).is_some())
        });
        self.see(uid, stamp, values, now)
    }

    /// Others saw something; what wins over what is held is taken. Of an object that is not known
    /// yet it is kept until it is.
    pub fn merge(&mut self, uid: Uid, sightings: Vec<Sighting>, now: Millis) -> Touched {
        let known = self.objects.contains_key(&uid);
        if !known && !self.keeps_early(uid) {
            return Touched::default();
        }
        // Nothing else moves a link.
        let tells_of_link = sightings.iter().any(|(path, _)| path.as_str() == LINK_PATH);
        let stands = tells_of_link.then(|| self.link_that_stands(uid, &sightings)).flatten();
        let mut touched = self.take(uid, known, sightings, now);
        if let Some((epoch, writer)) = stands.filter(|(epoch, _)| self.link_epoch(uid) == *epoch) {
            // Another member thought it lost and was wrong: its session here goes on, or below. A
            // relay is not told what others think.
            touched.paths.extend(self.say_link(uid, epoch, (Link::Up, writer), now).paths);
        }
        touched
    }

    /// What was held of an object when this node's last life ended. Nothing of it was heard in this
    /// one: until it is, it is stale, told to nobody, and nobody decides by it. Neither links nor
    /// the words of deciders are remembered: who is attached and who decides say them anew.
    ///
    /// It may be recalled before there is Cfg. Then there is no bound but what was remembered.
    pub fn recall(&mut self, uid: Uid, mut sightings: Vec<Sighting>) -> Touched {
        let known = self.objects.contains_key(&uid);
        sightings.retain(|(path, _)| is_memorable(path));
        let own = self.nodes.get(&self.me) == Some(&uid);
        if sightings.is_empty() || own || self.removed.contains(&uid) {
            return Touched::default();
        }
        self.take(uid, known, sightings, Millis::ZERO)
    }

    /// All that is to be remembered over this node's restart: of everything but itself, which it
    /// sees anew. As long as it has no Cfg, also of what it does not know; then that is gone.
    pub fn remembered(&self) -> impl Iterator<Item = (Uid, &Arc<Dsc>)> {
        let own = self.nodes.get(&self.me);
        let has_cfg = self.revision > Revision::default();
        let unknown = self.early.iter().filter(move |_| !has_cfg);
        let all = unknown.chain(&self.dsc).map(|(uid, dsc)| (*uid, dsc));
        all.filter(move |(uid, _)| Some(uid) != own)
    }

    fn take(
        &mut self,
        uid: Uid,
        known: bool,
        mut sightings: Vec<Sighting>,
        now: Millis,
    ) -> Touched {
        let mut touched = Touched::default();
        let object = self.objects.get(&uid).filter(|object| object.tenure.floor_ms > 0).cloned();
        if let Some(object) = object {
            sightings.retain(|(path, seen)| self.may_say(&object, path, seen));
        }
        let held = if known { &mut self.dsc } else { &mut self.early };
        let dsc = Arc::make_mut(held.entry(uid).or_default());
        for (path, mut observed) in sightings {
            observed.seen_at = now;
            if dsc.merge(path.clone(), observed) && known {
                touched.paths.push((uid, path));
            }
        }
        touched
    }

    fn keeps_early(&mut self, uid: Uid) -> bool {
        if self.removed.contains(&uid) {
            return false;
        }
        let room = self.early.len() < EARLY_OBJECTS_MAX || self.early.contains_key(&uid);
        if !room {
            self.refused = self.refused.saturating_add(1);
        }
        room
    }

    /// How often something was refused because too much was said of objects that are not known.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What this node has seen so far counts as seen at `stamp`, and so does what a look shows that
    /// has begun: its clock was moved there, beyond what it had stamped in an earlier life, which
    /// would win over what it sees in this one.
    pub fn restamp(&mut self, stamp: &Stamp) -> Touched {
        self.born = Some(stamp.clone());
        let mut touched = Touched::default();
        for (uid, held) in &mut self.dsc {
            let own = |(path, observed): (&Path, &Observed)| {
                let own = observed.stamp.writer == self.me && path.as_str() != LINK_PATH;
                (own && observed.stamp < *stamp).then(|| (path.clone(), observed.clone()))
            };
            let own: Vec<Sighting> = held.iter().filter_map(own).collect();
            if own.is_empty() {
                continue;
            }
            let dsc = Arc::make_mut(held);
            for (path, observed) in own {
                dsc.merge(path.clone(), Observed { stamp: stamp.clone(), ..observed });
                touched.paths.push((*uid, path));
            }
        }
        touched
    }
}
