//! A family: the objects of one kind and namespace, which is what a path of routes speaks of.

use std::sync::Arc;

use kraken_engine::{
    id::{Name, Uid},
    manifest::NODE_KIND,
    object::{Object, ObjectRef},
    store::Store,
};
use warp::{Filter, Rejection};

use crate::{problem::Problem, query::Which};

/// The objects of one kind and namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) kind: Name,
    pub(super) namespace: Option<Name>,
}

impl Family {
    fn new(kind: &str, namespace: Option<&str>) -> Result<Self, Problem> {
        let name = |text: &str| {
            Name::new(text).map_err(|_| Problem::NoSuchThing(format!("kind or namespace {text:?}")))
        };
        Ok(Self { kind: name(kind)?, namespace: namespace.map(name).transpose()? })
    }

    /// The key of one of the family.
    pub(super) fn key(&self, name: Name) -> ObjectRef {
        ObjectRef { kind: self.kind.clone(), namespace: self.namespace.clone(), name }
    }

    /// An object by name, else by uid.
    pub(super) fn find<'a>(&self, store: &'a Store, text: &str) -> Option<&'a Arc<Object>> {
        let named = Name::new(text).ok().and_then(|name| store.find(&self.key(name)));
        named.or_else(|| {
            let object = store.object(text.parse::<Uid>().ok()?)?;
            (object.key.kind == self.kind).then_some(object)
        })
    }

    /// The same, where it must be there.
    pub(super) fn get<'a>(&self, store: &'a Store, text: &str) -> Result<&'a Arc<Object>, Problem> {
        self.find(store, text).ok_or_else(|| self.missing(text))
    }

    /// An object by name or uid that is not there.
    pub(super) fn missing(&self, text: &str) -> Problem {
        let shown: String = text.chars().take(128).collect();
        Problem::NoSuchObject(match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{shown}", self.kind),
            None => format!("{} {shown}", self.kind),
        })
    }

    /// Whether an object, present or past, is one of the family and is chosen.
    pub(super) fn chooses(&self, which: &Which, object: &Object) -> bool {
        let is_of = object.key.kind == self.kind
            && (self.namespace.is_none() || object.key.namespace == self.namespace);
        is_of
            && match which {
                Which::All => true,
                Which::Selector(selector) => selector.matches(&object.labels),
                Which::Names(names) => names.contains(&object.key.name),
            }
    }

    /// Whether an object, present or past, is the one of the family that has this name or uid.
    pub(super) fn is_called(&self, object: &Object, text: &str) -> bool {
        let named = Name::new(text).is_ok_and(|name| object.key == self.key(name));
        named || (object.key.kind == self.kind && text.parse() == Ok(object.uid))
    }

    /// The chosen objects of the family that are there, in order of name.
    pub(super) fn choose<'a>(&'a self, store: &'a Store, which: &'a Which) -> Vec<&'a Arc<Object>> {
        let of_namespace = |object: &&Arc<Object>| {
            self.namespace.is_none() || object.key.namespace == self.namespace
        };
        match which {
            Which::All => store.of_kind(self.kind.as_str()).filter(of_namespace).collect(),
            Which::Selector(selector) => {
                store.matching(self.kind.as_str(), selector).filter(of_namespace).collect()
            }
            Which::Names(names) => {
                let mut keys: Vec<ObjectRef> =
                    names.iter().map(|name| self.key(name.clone())).collect();
                keys.sort_unstable();
                keys.iter().filter_map(|key| store.find(key)).collect()
            }
        }
    }
}

/// `/v1/nodes`, `/v1/objects/{kind}` or `/v1/namespaces/{namespace}/objects/{kind}`.
pub(super) fn family()
-> impl Filter<Extract = (Family,), Error = Rejection> + Clone + Send + Sync + 'static {
    let nodes = warp::path("nodes").map(|| Family::new(NODE_KIND, None));
    let fleet =
        warp::path("objects").and(warp::path::param()).map(|kind: String| Family::new(&kind, None));
    let namespaced = warp::path("namespaces")
        .and(warp::path::param())
        .and(warp::path("objects"))
        .and(warp::path::param())
        .map(|namespace: String, kind: String| Family::new(&kind, Some(&namespace)));
    let found = nodes.or(fleet).unify().or(namespaced).unify();
    warp::path("v1").and(found).and_then(|family: Result<Family, Problem>| async move {
        family.map_err(warp::reject::custom)
    })
}
