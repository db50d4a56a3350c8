//! The objects that modules here look at, and which kinds of them have changed since that was last
//! asked. Pure; held outside of the host actor, so that its restart does not lose them. How many
//! there may be is bounded by the node's own store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kraken_engine::{
    id::{Name, Uid},
    manifest::{Manifest, NODE_KIND, SeenBy},
};

use crate::module::{Looker, ObjectView};

/// All objects that the modules of this node look at.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    by_uid: BTreeMap<Uid, Arc<ObjectView>>,
    changed: BTreeSet<Name>,
}

impl Objects {
    /// Replaces all objects. Kinds with an object that came, went or is asked for differently have
    /// changed.
    pub(crate) fn set(&mut self, objects: Vec<Arc<ObjectView>>) {
        let fresh: BTreeMap<Uid, _> = objects.into_iter().map(|view| (view.uid, view)).collect();
        let gone = self.by_uid.extract_if(.., |uid, _| !fresh.contains_key(uid));
        self.changed.extend(gone.map(|(_, view)| view.key.kind.clone()));
        for view in fresh.into_values() {
            self.put(view);
        }
    }

    /// Takes one object as it is now.
    pub(crate) fn put(&mut self, view: Arc<ObjectView>) {
        let held = self.by_uid.get(&view.uid);
        if held.is_none_or(|held| held.cfg != view.cfg || held.labels != view.labels) {
            self.changed.insert(view.key.kind.clone());
        }
        self.by_uid.insert(view.uid, view);
    }

    /// Forgets an object that is not here any more.
    pub(crate) fn remove(&mut self, uid: Uid) {
        let gone = self.by_uid.remove(&uid);
        self.changed.extend(gone.map(|view| view.key.kind.clone()));
    }

    /// All kinds are to be looked at.
    pub(crate) fn look(&mut self) {
        self.changed.extend(self.by_uid.values().map(|view| view.key.kind.clone()));
    }

    /// The kinds that have changed since the last call.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.changed)
    }

    /// The objects at which a module looks for somebody.
    pub(crate) fn looked_at(&self, looks: &Looks) -> Vec<Arc<ObjectView>> {
        let asked = |view: &&Arc<ObjectView>| {
            let mut lookers = view.lookers.iter();
            lookers.any(|looker| looks.contains(&(view.key.kind.clone(), *looker)))
        };
        self.by_uid.values().filter(asked).cloned().collect()
    }

    /// The node of this name, once it is known.
    pub(crate) fn node(&self, name: &Name) -> Option<Uid> {
        let is_it =
            |view: &&Arc<ObjectView>| view.key.kind.as_str() == NODE_KIND && view.key.name == *name;
        self.by_uid.values().find(is_it).map(|view| view.uid)
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.by_uid.len()
    }
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
            SeenBy::Parent | SeenBy::Control => Some(Looker::Leader),
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

    #[test]
    fn a_kind_changes_with_its_objects_and_their_cfg_and_not_with_dsc() {
        let mut objects = Objects::default();
        objects.set(vec![fake::object("node", "n1"), fake::object("app", "a")]);
        assert_eq!(objects.take_changed(), kinds(&["app", "node"]));

        let mut seen = (*fake::object("node", "n1")).clone();
        seen.dsc.insert(Path::new("/x").unwrap(), true.into());
        objects.put(Arc::new(seen.clone()));
        assert_eq!(objects.take_changed(), kinds(&[]));

        seen.cfg.set(Path::new("/x").unwrap(), true.into()).unwrap();
        objects.put(Arc::new(seen.clone()));
        assert_eq!(objects.take_changed(), kinds(&["node"]));

        objects.set(vec![Arc::new(seen)]);
        assert_eq!(objects.take_changed(), kinds(&["app"]), "one went");
        assert_eq!(objects.len(), 1);

        let uid = fake::object("node", "n1").uid;
        objects.remove(uid);
        assert_eq!(objects.take_changed(), kinds(&["node"]));
        objects.remove(uid);
        assert_eq!(objects.take_changed(), kinds(&[]), "it was not there");
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
        let mut hosted = (*fake::object("node", "n1")).clone();
        hosted.lookers = &[Looker::Host];
        let mut objects = Objects::default();
        objects.set(vec![Arc::new(hosted), Arc::new(elsewhere)]);
        for (seen, names) in [
            (SeenBy::Itself, vec!["n1"]),
            (SeenBy::Parent, vec!["n2"]),
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
