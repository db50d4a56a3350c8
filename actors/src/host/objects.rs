//! The objects that modules here look at, and which kinds of them have changed since that was last
//! asked. Pure; held outside of the host actor, so that its restart does not lose them. How many
//! there may be is bounded by the node's own store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kraken_engine::{
    id::{Name, Uid},
    manifest::{Manifest, SeenBy},
};

use crate::module::{Looker, ObjectView};

/// Objects that have changed, by kind.
pub(crate) type Changed = BTreeMap<Name, BTreeSet<Uid>>;

/// All objects that the modules of this node look at.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    by_uid: BTreeMap<Uid, Arc<ObjectView>>,
    /// The nodes among them.
    nodes: BTreeMap<Name, Uid>,
    changed: Changed,
}

impl Objects {
    /// Replaces all objects. Kinds with an object that came, went or is asked for differently have
    /// changed.
    pub(crate) fn set(&mut self, objects: Vec<Arc<ObjectView>>) {
        let fresh: BTreeMap<Uid, _> = objects.into_iter().map(|view| (view.uid, view)).collect();
        let gone = self.by_uid.keys().filter(|uid| !fresh.contains_key(uid));
        for uid in gone.copied().collect::<Vec<_>>() {
            self.remove(uid);
        }
        for view in fresh.into_values() {
            self.put(view);
        }
    }

    /// Takes one object as it is now.
    pub(crate) fn put(&mut self, view: Arc<ObjectView>) {
        let held = self.by_uid.get(&view.uid).cloned();
        if held.as_ref().is_none_or(|held| held.cfg != view.cfg || held.labels != view.labels) {
            self.mark(&view);
        }
        if view.key.is_node() && held.is_none_or(|held| held.key != view.key) {
            self.nodes.insert(view.key.name.clone(), view.uid);
        }
        self.by_uid.insert(view.uid, view);
    }

    /// Forgets an object that is not here any more.
    pub(crate) fn remove(&mut self, uid: Uid) {
        let Some(gone) = self.by_uid.remove(&uid) else { return };
        if self.nodes.get(&gone.key.name) == Some(&uid) {
            self.nodes.remove(&gone.key.name);
        }
        self.mark(&gone);
    }

    /// An object is to be looked at.
    pub(crate) fn look(&mut self, uid: Uid) {
        if let Some(view) = self.by_uid.get(&uid).cloned() {
            self.mark(&view);
        }
    }

    fn mark(&mut self, view: &ObjectView) {
        self.changed.entry(view.key.kind.clone()).or_default().insert(view.uid);
    }

    /// Whether something has changed since it was last taken.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What has changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// The objects at which a module looks for somebody.
    pub(crate) fn looked_at(&self, looks: &Looks) -> Vec<Arc<ObjectView>> {
        self.by_uid.values().filter(|view| is_looked_at(view, looks)).cloned().collect()
    }

    /// The same of these objects only.
    pub(crate) fn looked_at_of(&self, looks: &Looks, uids: &BTreeSet<Uid>) -> Vec<Arc<ObjectView>> {
        let held = uids.iter().filter_map(|uid| self.by_uid.get(uid));
        held.filter(|view| is_looked_at(view, looks)).cloned().collect()
    }

    /// The node of this name, once it is known.
    pub(crate) fn node(&self, name: &Name) -> Option<Uid> {
        self.nodes.get(name).copied()
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.by_uid.len()
    }
}

fn is_looked_at(view: &ObjectView, looks: &Looks) -> bool {
    let mut here = looks.iter().filter(|(kind, _)| *kind == view.key.kind);
    here.any(|(_, looker)| view.lookers.contains(looker))
}

/// The kinds of object at which a module looks, and for whom.
pub(crate) type Looks = BTreeSet<(Name, Looker)>;

/// At what a module looks: the kinds to which any of the manifests adds a path that this one
/// discovers, for whoever is to see that path.
pub(crate) fn looks_of<'a>(
    manifest: &Manifest,
    all: impl IntoIterator<Item = &'a Manifest>,
) -> Looks {
    let mut looks = Looks::new();
    for extension in all.into_iter().flat_map(|manifest| &manifest.extensions) {
        let Ok(kind) = Name::new(&extension.kind) else { continue };
        let discovered =
            extension.paths.iter().filter(|path| manifest.discovers.contains(&path.path));
        let lookers = discovered.filter_map(|path| match path.seen_by {
            SeenBy::Itself => Some(Looker::Host),
            SeenBy::Parent => Some(Looker::Parent),
            SeenBy::Control => Some(Looker::Leader),
            SeenBy::Nobody => None,
        });
        looks.extend(lookers.map(|looker| (kind.clone(), looker)));
    }
    looks
}

#[cfg(test)]
mod tests {
    use kraken_engine::{
        manifest::{Extension, PathSpec, Type},
        path::Path,
    };

    use super::*;
    use crate::module::fake;

    fn kinds(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|name| Name::new(name).unwrap()).collect()
    }

    fn kinds_of(objects: &mut Objects) -> BTreeSet<Name> {
        objects.take_changed().into_keys().collect()
    }

    #[test]
    fn only_what_has_changed_is_looked_at_meanwhile() {
        let (a, b) = (fake::object("node", "n1"), fake::object("node", "n2"));
        let looks = Looks::from([(a.key.kind.clone(), Looker::Host)]);
        let mut objects = Objects::default();
        objects.set(vec![a.clone(), b]);
        let uids = BTreeSet::from([a.uid, Uid::from_bytes([9; 16])]);
        let names = |views: Vec<Arc<ObjectView>>| -> Vec<String> {
            views.iter().map(|view| view.key.name.to_string()).collect()
        };
        assert_eq!(names(objects.looked_at_of(&looks, &uids)), ["n1"]);
        assert_eq!(names(objects.looked_at_of(&Looks::new(), &uids)), Vec::<String>::new());
        assert_eq!(objects.looked_at(&looks).len(), 2);
    }

    #[test]
    fn a_kind_changes_with_its_objects_and_their_cfg_and_not_with_dsc() {
        let mut objects = Objects::default();
        objects.set(vec![fake::object("node", "n1"), fake::object("app", "a")]);
        assert_eq!(kinds_of(&mut objects), kinds(&["app", "node"]));

        let mut seen = (*fake::object("node", "n1")).clone();
        seen.dsc.insert(Path::new("/x").unwrap(), true.into());
        objects.put(Arc::new(seen.clone()));
        assert_eq!(kinds_of(&mut objects), kinds(&[]));

        seen.cfg.set(Path::new("/x").unwrap(), true.into()).unwrap();
        objects.put(Arc::new(seen.clone()));
        assert_eq!(kinds_of(&mut objects), kinds(&["node"]));

        objects.set(vec![Arc::new(seen)]);
        assert_eq!(kinds_of(&mut objects), kinds(&["app"]), "one went");
        assert_eq!(objects.len(), 1);

        let uid = fake::object("node", "n1").uid;
        objects.remove(uid);
        assert_eq!(kinds_of(&mut objects), kinds(&["node"]));
        objects.remove(uid);
        assert_eq!(kinds_of(&mut objects), kinds(&[]), "it was not there");
    }

    #[test]
    fn a_module_looks_at_the_kinds_that_carry_its_paths_whoever_declares_them() {
        let extension = |kind: &str, path: &str| {
            Extension::new(kind).kind(kind).path(PathSpec::new(path, Type::Bool))
        };
        let declares = Manifest::new("a").extension(extension("app", "/x"));
        let looks = Manifest::new("b").extension(extension("rack", "/y")).discovers("/x");
        let app = Name::new("app").unwrap();
        assert_eq!(looks_of(&looks, [&declares, &looks]), Looks::from([(app, Looker::Host)]));
        assert_eq!(looks_of(&declares, [&declares, &looks]), Looks::new());
    }

    #[test]
    fn a_module_looks_only_where_its_paths_are_to_be_seen() {
        let seen_by = |seen_by| {
            let path = PathSpec::new("/x", Type::Bool).seen_by(seen_by);
            Manifest::new("a").extension(Extension::new("x").path(path)).discovers("/x")
        };
        let mut elsewhere = (*fake::object("node", "n2")).clone();
        elsewhere.lookers = &[Looker::Leader];
        let mut child = (*fake::object("node", "n3")).clone();
        child.lookers = &[Looker::Parent];
        let mut hosted = (*fake::object("node", "n1")).clone();
        hosted.lookers = &[Looker::Host];
        let mut objects = Objects::default();
        objects.set(vec![Arc::new(hosted), Arc::new(elsewhere), Arc::new(child)]);
        for (seen, names) in [
            (SeenBy::Itself, vec!["n1"]),
            (SeenBy::Parent, vec!["n3"]),
            (SeenBy::Control, vec!["n2"]),
            (SeenBy::Nobody, vec![]),
        ] {
            let manifest = seen_by(seen);
            let asked = objects.looked_at(&looks_of(&manifest, [&manifest]));
            let asked: Vec<&str> = asked.iter().map(|view| view.key.name.as_str()).collect();
            assert_eq!(asked, names, "{seen:?}");
        }
    }

    #[test]
    fn the_node_is_found_by_name_among_nodes_only() {
        let mut objects = Objects::default();
        objects.set(vec![fake::object("app", "n1"), fake::object("node", "n2")]);
        assert_eq!(objects.node(&Name::new("n1").unwrap()), None);
        let n2 = Name::new("n2").unwrap();
        assert_eq!(objects.node(&n2), Some(fake::object("node", "n2").uid));
    }
}
