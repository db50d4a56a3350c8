//! Which objects of a kind a verb means: nodes as everywhere, and those of kinds with namespaces as
//! `NAMESPACE/NAME`; and what is said where they are not there, or where there is no such kind.

use std::{collections::BTreeSet, fmt, str::FromStr};

use kraken_engine::{id::Name, manifest::NODE_KIND, nearest::nearest, nodeset, selector::Selector};
use kraken_http::{
    client::{Client, Error, ListQuery},
    view::{List, ObjectView},
};

use crate::{
    exit::Failure,
    fleet::{called, typed},
    nodes::{Nodes, NotNodes},
};

/// Kinds of documents that are no objects.
const DECLARATIONS: [&str; 4] = ["module", "modules", "extension", "extensions"];
/// Most names that one hint offers.
const NAMES_SHOWN_MAX: usize = 3;

/// Objects of one kind, by name or by label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Objects {
    /// Where their names live; elsewhere names of no namespace are meant, and labels of any.
    namespace: Option<Name>,
    which: Nodes,
}

impl FromStr for Objects {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, which) = match text.split_once('/') {
            // The value of a label may hold a slash.
            Some((namespace, which)) if !text.starts_with('@') => {
                (Some(Name::new(namespace).map_err(|error| error.to_string())?), which)
            }
            _ => (None, text),
        };
        let which = which.parse().map_err(|error: NotNodes| error.to_string())?;
        Ok(Self { namespace, which })
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.which),
            None => write!(f, "{}", self.which),
        }
    }
}

impl Objects {
    /// As what to list.
    pub(crate) fn listed(objects: Option<&Self>) -> ListQuery {
        ListQuery {
            namespace: objects.and_then(|of| of.namespace.as_ref()).map(ToString::to_string),
            ..Nodes::listed(objects.map(|of| &of.which))
        }
    }

    /// Lists them; fails where there is no such kind.
    pub(crate) async fn find(
        client: &Client,
        kind: &str,
        objects: Option<&Self>,
    ) -> Result<List<ObjectView>, Failure> {
        let list = client.get_objects(kind, &Self::listed(objects)).await?;
        if list.items.is_empty() {
            declared(client, kind).await.map_err(|failure| match objects {
                None if !DECLARATIONS.contains(&kind) => {
                    failure.also_hint(format!("a node is shown by `kraken get nodes {kind}`"))
                }
                None | Some(_) => failure,
            })?;
        }
        Ok(list)
    }

    /// The names that were asked for; none where labels were.
    pub(crate) fn names(&self) -> Option<&[Name]> {
        match &self.which {
            Nodes::Names(names) => Some(names),
            Nodes::Selector(_) => None,
        }
    }

    /// The namespace that was named.
    pub(crate) fn namespace(&self) -> Option<&Name> {
        self.namespace.as_ref()
    }

    /// Fails where they are chosen by labels and none was found.
    pub(crate) fn require_any(&self, kind: &str, found: &[ObjectView]) -> Result<(), Failure> {
        match &self.which {
            Nodes::Selector(selector) if found.is_empty() => Err(nobody(kind, selector)),
            Nodes::Selector(_) | Nodes::Names(_) => Ok(()),
        }
    }

    /// Whether an object whose name or labels fit lies where these do.
    pub(crate) fn holds(&self, object: &ObjectView) -> bool {
        match &self.namespace {
            Some(namespace) => object.namespace.as_deref() == Some(namespace.as_str()),
            None => object.namespace.is_none() || self.names().is_none(),
        }
    }

    /// Fails where some of what was asked for by name was not found.
    pub(crate) async fn require(
        &self,
        client: &Client,
        kind: &str,
        found: &List<ObjectView>,
    ) -> Result<(), Failure> {
        let there = found.items.iter().map(|object| object.name.as_str());
        let missing: Vec<&str> =
            self.which.missing(there).iter().map(|name| name.as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(absent(client, kind, self.namespace.as_ref().map(Name::as_str), missing).await)
    }
}

/// Fails where nodes are chosen by labels that none of them has.
pub(crate) async fn somebody(client: &Client, nodes: &Nodes) -> Result<(), Failure> {
    match nodes {
        Nodes::Selector(selector) if !is_any(client, NODE_KIND, nodes).await? => {
            Err(nobody(NODE_KIND, selector))
        }
        Nodes::Selector(_) | Nodes::Names(_) => Ok(()),
    }
}

/// Whether one of these is there.
pub(crate) async fn is_any(client: &Client, kind: &str, nodes: &Nodes) -> Result<bool, Failure> {
    let query = ListQuery { view: Some("cfg".to_owned()), ..Nodes::listed(Some(nodes)) };
    Ok(client.get_first(kind, &query).await?.is_some())
}

/// What is said where no object has the labels that were asked for.
pub(crate) fn nobody(kind: &str, selector: &Selector) -> Failure {
    Failure::failed(format!("no {kind} has {selector}"))
        .hint(format!("see what labels there are: kraken get {} -o wide", typed(kind)))
}

/// Asks about one object, `name` or `namespace/name`; of one that is not there it is told what the
/// fleet knows of its kind and of its name.
pub(crate) async fn about<T>(
    client: &Client,
    (kind, name): (&str, &str),
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match asked.await {
        Err(error) if error.code() == Some("no_such_object") && kind != NODE_KIND => {
            let (namespace, name) =
                name.split_once('/').map_or((None, name), |(of, name)| (Some(of), name));
            Err(absent(client, kind, namespace, vec![name]).await)
        }
        answered => Ok(answered?),
    }
}

/// What is said of objects that are not there.
async fn absent(client: &Client, kind: &str, namespace: Option<&str>, names: Vec<&str>) -> Failure {
    let hint = format!("see what there is: kraken get {}", typed(kind));
    let within = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let folded = nodeset::fold(names.iter().copied());
    let failure = Failure::failed(format!("there is no {kind} {within}{folded}"));
    if kind == NODE_KIND {
        return failure.hint(hint);
    }
    if let Err(failure) = declared(client, kind).await {
        return failure;
    }
    let failure = match elsewhere(client, kind, &names).await {
        Some(there) if namespace.is_none() => {
            failure.hint(format!("names of its kind live in namespaces; there is {there}"))
        }
        _ => failure,
    };
    failure.also_hint(hint)
}

/// Objects that have one of these names in whatever namespace.
async fn elsewhere(client: &Client, kind: &str, names: &[&str]) -> Option<String> {
    let query = ListQuery { view: Some("cfg".to_owned()), ..ListQuery::default() };
    // What is missing is told also where this is not answered.
    let objects = client.get_objects(kind, &query).await.ok()?.items;
    let is_called =
        |object: &&ObjectView| object.namespace.is_some() && names.contains(&object.name.as_str());
    let there: Vec<String> =
        objects.iter().filter(is_called).take(NAMES_SHOWN_MAX).map(called).collect();
    (!there.is_empty()).then(|| there.join(", "))
}

/// Fails where no kind is called so.
pub(crate) async fn declared(client: &Client, kind: &str) -> Result<(), Failure> {
    if kind == NODE_KIND {
        return Ok(());
    }
    let manifests = client.get_manifests().await?;
    let own = manifests.iter().flat_map(|manifest| &manifest.kinds).map(|kind| kind.name.as_str());
    let extended = manifests.iter().flat_map(|manifest| &manifest.extensions);
    let extended = extended.map(|extension| extension.kind.as_str());
    let kinds: BTreeSet<&str> = own.chain(extended).collect();
    if kinds.contains(kind) { Ok(()) } else { Err(undeclared(kind, &kinds)) }
}

fn undeclared(kind: &str, kinds: &BTreeSet<&str>) -> Failure {
    let words = format!("no kind is called {kind}");
    if DECLARATIONS.contains(&kind) {
        return Failure::failed(words).hint("what is declared is shown by `kraken module list`");
    }
    let others = kinds.iter().copied().filter(|kind| *kind != NODE_KIND);
    let typed: Vec<&str> = std::iter::once("nodes").chain(others).collect();
    let known = format!("kinds: {}", typed.join(", "));
    Failure::failed(match nearest(kind, typed) {
        Some(near) => format!("{words} (did you mean {near}?)"),
        None => words,
    })
    .hint(known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_may_live_in_namespaces() {
        for (text, namespace, names) in [
            ("r[1-2]", None, "r[1-2]"),
            ("default/r[1-2]", Some("default"), "r[1-2]"),
            ("default/@row=a", Some("default"), "@row=a"),
            ("@path=a/b", None, "@path=a/b"),
        ] {
            let objects: Objects = text.parse().unwrap();
            assert_eq!(objects.to_string(), text);
            let query = Objects::listed(Some(&objects));
            assert_eq!(query.namespace.as_deref(), namespace, "{text}");
            assert_eq!(query.names.as_deref(), Some(names), "{text}");
        }
        for wrong in ["/r1", "default/", "a/b/c", "a b/c", "default/r[1"] {
            assert!(wrong.parse::<Objects>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_changes_elsewhere_is_not_meant() {
        let object = |namespace: Option<&str>| -> ObjectView {
            serde_json::from_value(json!({
                "kind": "rack", "namespace": namespace, "name": "r1", "uid": "u", "revision": 1,
            }))
            .unwrap()
        };
        for (text, of, is_meant) in [
            ("default/r1", Some("default"), true),
            ("default/r1", Some("shop"), false),
            ("default/r1", None, false),
            ("r1", Some("default"), false),
            ("r1", None, true),
            ("@row=a", Some("default"), true),
        ] {
            assert_eq!(text.parse::<Objects>().unwrap().holds(&object(of)), is_meant, "{text}");
        }
    }

    #[test]
    fn a_kind_that_there_is_not_is_told_with_those_that_there_are() {
        let kinds = BTreeSet::from(["node", "policy", "rack"]);
        let told = |kind| undeclared(kind, &kinds).words().unwrap();
        let known = "\n  kinds: nodes, policy, rack";
        assert_eq!(told("racks"), format!("no kind is called racks (did you mean rack?){known}"));
        assert_eq!(told("n1"), format!("no kind is called n1{known}"));
        let shown = "no kind is called module\n  what is declared is shown by `kraken module list`";
        assert_eq!(told("module"), shown);
    }
}
