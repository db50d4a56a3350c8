//! Manifests of operators: YAML or JSON, many documents, each declares objects. What is wrong is
//! said with document, line and key, all of it at once, and before anything is proposed.

pub(crate) mod tree;

use std::collections::BTreeMap;

use kraken_engine::{
    check::Source,
    id::Name,
    manifest::NODE_KIND,
    nearest::nearest,
    nodeset,
    object::{Labels, ObjectRef, OnDelete},
    path::Path,
    state::State,
};

use self::tree::{Node, Tree};
use crate::{
    declaration,
    problem::{FAULTS_MAX, Fault, Problem},
};

/// Most documents of one body.
pub(crate) const DOCUMENTS_MAX: usize = 200_000;

/// Keys of a manifest that say what is to be.
const KEYS: [&str; 7] = ["kind", "namespace", "name", "labels", "owner", "onDelete", "cfg"];
/// Keys that only a server writes: what was read may be put back as it is.
pub(crate) const READ_ONLY_KEYS: [&str; 13] = [
    "uid",
    "revision",
    "generation",
    "created",
    "deleting",
    "frozen",
    "formerHost",
    "dsc",
    "state",
    "stale",
    "status",
    "dscAgeMs",
    "data",
];

/// What a manifest leaves out and its route says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    /// The kind; a manifest of another kind is a fault.
    pub kind: Option<Name>,
    /// The namespace; a manifest of another one is a fault.
    pub namespace: Option<Name>,
    /// The name; a manifest of another name is a fault.
    pub name: Option<Name>,
}

/// One manifest: objects that are to be alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// Its place in the body, from 1.
    pub index: usize,
    /// The kind of the objects.
    pub kind: Name,
    /// Their namespace.
    pub namespace: Option<Name>,
    /// Their names.
    pub names: Vec<Name>,
    /// Their labels; absent: as they are.
    pub labels: Option<Labels>,
    /// Their owner; absent: as it is.
    pub owner: Option<ObjectRef>,
    /// What becomes of them when their owner is deleted; absent: as it is.
    pub on_delete: Option<OnDelete>,
    /// What is asked of them.
    pub cfg: State,
    /// Where in the body each path of `cfg` stands.
    pub places: BTreeMap<Path, Place>,
}

/// A place in a body, line and column from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The line; 0 where it is not known.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl Document {
    /// The objects that the document declares.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ObjectRef> {
        self.names.iter().map(|name| ObjectRef {
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: name.clone(),
        })
    }

    /// A fault of the document at a path.
    pub(crate) fn fault(&self, object: &ObjectRef, path: &str, why: impl ToString) -> Fault {
        let place = self.places.get(path).copied().unwrap_or_default();
        let key = format!("cfg{}", path.replace('/', "."));
        Fault {
            document: Some(self.index),
            object: Some(object.to_string()),
            ..place.fault(key, why)
        }
    }
}

impl Place {
    pub(crate) fn fault(self, key: impl ToString, why: impl ToString) -> Fault {
        let known = self.line > 0;
        Fault {
            line: known.then_some(self.line),
            column: known.then_some(self.column),
            ..Fault::at(key, why)
        }
    }
}

/// Reads manifests. JSON is read as JSON, and again as YAML where there is a fault to be placed.
pub(crate) fn read(body: &[u8], defaults: &Defaults) -> Result<Vec<Document>, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::body(format!("the body is not UTF-8: {error}")))?;
    if let Some(tree) = tree::from_json(text)
        && let Ok(documents) = documents(vec![tree], defaults)
    {
        return Ok(documents);
    }
    read_placed(text, defaults)
}

/// Reads manifests with the place of each path.
pub(crate) fn read_placed(text: &str, defaults: &Defaults) -> Result<Vec<Document>, Problem> {
    let trees = tree::from_yaml(text).map_err(|fault| Problem::BadBody(vec![fault]))?;
    documents(trees, defaults)
}

/// Reads a body that may hold declarations of modules beside manifests of objects.
pub(crate) fn read_all(body: &[u8], defaults: &Defaults) -> Result<Whole, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::body(format!("the body is not UTF-8: {error}")))?;
    let trees = match tree::from_json(text) {
        Some(tree) if !holds_declaration(&tree) => vec![tree],
        // A declaration is worth its places.
        Some(_) | None => tree::from_yaml(text).map_err(|fault| Problem::BadBody(vec![fault]))?,
    };
    let (declared, objects): (Vec<Tree>, Vec<Tree>) =
        manifests(trees).into_iter().partition(declaration::is_declaration);
    let sources = declaration::sources(declared, None).map_err(Problem::BadBody)?;
    if objects.is_empty() && !sources.is_empty() {
        return Ok(Whole { sources, documents: Vec::new() });
    }
    let documents = match documents(objects, defaults) {
        // JSON is read without places; now they are worth a second reading.
        Err(_) if sources.is_empty() => read_placed(text, defaults)?,
        read => read?,
    };
    Ok(Whole { sources, documents })
}

fn holds_declaration(tree: &Tree) -> bool {
    match &tree.node {
        Node::List(items) => items.iter().any(declaration::is_declaration),
        Node::Null | Node::Scalar(_) | Node::Map(_) => declaration::is_declaration(tree),
    }
}

/// What one body declares.
pub(crate) struct Whole {
    /// Declarations of modules.
    pub sources: Vec<Source>,
    /// Manifests of objects.
    pub documents: Vec<Document>,
}

fn documents(trees: Vec<Tree>, defaults: &Defaults) -> Result<Vec<Document>, Problem> {
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for tree in manifests(trees) {
        if documents.len() + faults.len() >= DOCUMENTS_MAX {
            let limit = DOCUMENTS_MAX as u64;
            return Err(Problem::TooMany { what: "documents".to_owned(), limit });
        }
        let mut reader = Reader { index: documents.len() + 1, faults: &mut faults };
        documents.push(reader.document(tree, defaults));
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    if !faults.is_empty() {
        return Err(Problem::BadBody(faults));
    }
    if documents.is_empty() {
        return Err(Problem::body("the body is empty; send at least one manifest"));
    }
    Ok(documents.into_iter().flatten().collect())
}

/// Lists, and what a list of objects answered, stand for what they hold.
pub(crate) fn manifests(trees: Vec<Tree>) -> Vec<Tree> {
    let mut all = Vec::new();
    for tree in trees {
        match tree.node {
            Node::Null => {}
            Node::List(items) => all.extend(items),
            Node::Map(entries) if entries.iter().any(|(key, _)| key.text == "items") => {
                let items = entries.into_iter().find(|(key, _)| key.text == "items");
                all.extend(items.into_iter().flat_map(|(_, items)| match items.node {
                    Node::List(items) => items,
                    Node::Null | Node::Scalar(_) | Node::Map(_) => vec![items],
                }));
            }
            Node::Scalar(_) | Node::Map(_) => all.push(tree),
        }
    }
    all
}

/// Reads one document and gathers its faults.
struct Reader<'a> {
    index: usize,
    faults: &'a mut Vec<Fault>,
}

/// Says of a key that is not known what may have been meant.
fn unknown(key: &str) -> String {
    match nearest(key, KEYS) {
        Some(near) => format!("this key is not known (did you mean {near}?)"),
        None => format!("this key is not known; known are {}", KEYS.join(", ")),
    }
}

impl Reader<'_> {
    fn fault(&mut self, place: Place, key: impl ToString, why: impl ToString) {
        self.faults.push(Fault { document: Some(self.index), ..place.fault(key, why) });
    }

    fn document(&mut self, tree: Tree, defaults: &Defaults) -> Option<Document> {
        let place = tree.place;
        let Node::Map(entries) = tree.node else {
            self.fault(place, "document", "a manifest is a mapping with kind, name and cfg");
            return None;
        };
        let mut found: BTreeMap<String, (Place, Tree)> = BTreeMap::new();
        for (key, value) in entries {
            if KEYS.contains(&key.text.as_str()) {
                found.insert(key.text, (key.place, value));
            } else if !READ_ONLY_KEYS.contains(&key.text.as_str()) {
                self.fault(key.place, &key.text, unknown(&key.text));
            }
        }
        let kind = self.name(found.remove("kind"), "kind", defaults.kind.as_ref());
        let namespace =
            self.name(found.remove("namespace"), "namespace", defaults.namespace.as_ref());
        let names = self.names(found.remove("name"), place, defaults.name.as_ref());
        let labels = found.remove("labels").and_then(|(_, tree)| self.labels(tree));
        let owner = found.remove("owner").and_then(|(_, tree)| self.owner(&tree));
        let on_delete = found.remove("onDelete").and_then(|(_, tree)| self.on_delete(&tree));
        if let (Some(_), None) = (on_delete, &owner) {
            self.fault(place, "onDelete", "it says what an owner means: name the owner beside it");
        }
        let (mut cfg, mut places) = (State::new(), BTreeMap::new());
        if let Some((_, tree)) = found.remove("cfg") {
            self.state(tree, None, &mut cfg, &mut places);
        }
        let Some(kind) = kind else {
            if !self.faults.iter().any(|fault| fault.document == Some(self.index)) {
                self.fault(place, "kind", "it is missing; write for example `kind: node`");
            }
            return None;
        };
        Some(Document {
            index: self.index,
            kind,
            namespace,
            names: names?,
            labels,
            owner,
            on_delete,
            cfg,
            places,
        })
    }

    /// A name that the route may say too.
    fn name(
        &mut self,
        entry: Option<(Place, Tree)>,
        key: &str,
        default: Option<&Name>,
    ) -> Option<Name> {
        let Some((_, tree)) = entry.filter(|(_, tree)| !matches!(tree.node, Node::Null)) else {
            return default.cloned();
        };
        let place = tree.place;
        let Some(name) =
            tree.text().map(Name::new).transpose().map_err(|e| e.to_string()).transpose()
        else {
            self.fault(place, key, "it must be a name");
            return None;
        };
        match (name, default) {
            (Err(why), _) => self.fault(place, key, why),
            (Ok(name), Some(default)) if name != *default => {
                self.fault(place, key, format!("it is {name}, and the request says {default}"));
            }
            (Ok(name), _) => return Some(name),
        }
        None
    }

    fn names(
        &mut self,
        entry: Option<(Place, Tree)>,
        document: Place,
        default: Option<&Name>,
    ) -> Option<Vec<Name>> {
        let Some((_, tree)) = entry else {
            if default.is_none() {
                self.fault(document, "name", "it is missing; write for example `name: n[1-8]`");
            }
            return default.map(|name| vec![name.clone()]);
        };
        if default.is_some() {
            let place = tree.place;
            return self.name(Some((place, tree)), "name", default).map(|name| vec![name]);
        }
        let expanded = tree.text().map(|text| nodeset::expand(&text));
        match expanded {
            Some(Ok(names)) => return Some(names),
            Some(Err(error)) => self.fault(tree.place, "name", error),
            None => self.fault(tree.place, "name", "it must be a name or a node set"),
        }
        None
    }

    fn labels(&mut self, tree: Tree) -> Option<Labels> {
        let Node::Map(entries) = tree.node else {
            if !matches!(tree.node, Node::Null) {
                self.fault(tree.place, "labels", "labels are a mapping from name to text");
            }
            return None;
        };
        let mut labels = Labels::new();
        for (key, value) in entries {
            let shown = format!("labels.{}", key.text);
            match (Name::new(&key.text), value.text()) {
                (Ok(name), Some(text)) => {
                    labels.insert(name, text);
                }
                (Err(error), _) => self.fault(key.place, shown, error),
                (_, None) => self.fault(value.place, shown, "a label holds a text"),
            }
        }
        Some(labels)
    }

    fn owner(&mut self, tree: &Tree) -> Option<ObjectRef> {
        if matches!(tree.node, Node::Null) {
            return None;
        }
        match tree.text().map(|text| parse_reference(&text)) {
            Some(Ok(owner)) => return Some(owner),
            Some(Err(why)) => self.fault(tree.place, "owner", why),
            None => self.fault(tree.place, "owner", "it must be a name"),
        }
        None
    }

    fn on_delete(&mut self, tree: &Tree) -> Option<OnDelete> {
        match tree.text().as_deref() {
            Some("cascade") => return Some(OnDelete::Cascade),
            Some("orphan") => return Some(OnDelete::Orphan),
            Some(_) | None => self.fault(tree.place, "onDelete", "write cascade or orphan"),
        }
        None
    }

    /// Reads the part of a state at and below a path.
    fn state(
        &mut self,
        tree: Tree,
        at: Option<&Path>,
        cfg: &mut State,
        places: &mut BTreeMap<Path, Place>,
    ) {
        let shown = |at: Option<&Path>| match at {
            Some(path) => format!("cfg{}", path.as_str().replace('/', ".")),
            None => "cfg".to_owned(),
        };
        match (tree.node, at) {
            (Node::Map(entries), _) => {
                for (key, value) in entries {
                    let path = match at {
                        Some(path) => path.join(&key.text),
                        None => Path::new(format!("/{}", key.text)),
                    };
                    match path {
                        Ok(path) => self.state(value, Some(&path), cfg, places),
                        Err(error) => {
                            self.fault(key.place, format!("{}.{}", shown(at), key.text), error);
                        }
                    }
                }
            }
            // Null says nothing of a path: to unset it, leave it out.
            (Node::Null, _) => {}
            (node, Some(path)) => {
                let value = node.value();
                let set = value.and_then(|value| {
                    cfg.set(path.clone(), value).map_err(|error| error.to_string())
                });
                match set {
                    Ok(()) => {
                        places.insert(path.clone(), tree.place);
                    }
                    Err(why) => self.fault(tree.place, shown(at), why),
                }
            }
            (_, None) => self.fault(tree.place, "cfg", "it is a mapping of paths and values"),
        }
    }
}

/// Reads `name`, `kind/name` or `kind/namespace/name`; a bare name is a node's.
pub(crate) fn parse_reference(text: &str) -> Result<ObjectRef, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (kind, namespace, name) = match parts.as_slice() {
        [name] => (NODE_KIND, None, *name),
        [kind, name] => (*kind, None, *name),
        [kind, namespace, name] => (*kind, Some(*namespace), *name),
        _ => return Err(format!("{text:?} is not name, kind/name or kind/namespace/name")),
    };
    let parse = |text: &str| Name::new(text).map_err(|error| error.to_string());
    Ok(ObjectRef {
        kind: parse(kind)?,
        namespace: namespace.map(parse).transpose()?,
        name: parse(name)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        match read(text.as_bytes(), &Defaults::default()) {
            Err(Problem::BadBody(faults)) => faults.iter().map(ToString::to_string).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "kind: node\nname: n[1-2]\nlabels: {rack: 1}\nowner: rack/r1\n\
                    cfg:\n  physState: OFF\n  slots: 4\n  load: 0.5\n  ok: true\n  args: [a, b]\n";
        let json = r#"{"kind": "node", "name": "n[1-2]", "owner": "rack/r1",
            "labels": {"rack": "1"},
            "cfg": {"physState": "OFF", "slots": 4, "load": 0.5, "ok": true, "args": ["a", "b"]}}"#;
        let from_yaml = read(yaml.as_bytes(), &Defaults::default()).unwrap();
        let from_json = read(json.as_bytes(), &Defaults::default()).unwrap();
        let placed = read_placed(json, &Defaults::default()).unwrap();
        assert_eq!(from_yaml[0].cfg, from_json[0].cfg);
        assert_eq!(from_yaml[0].labels, from_json[0].labels);
        assert_eq!(from_yaml[0].cfg.get("/physState"), Some(&"OFF".into()));
        assert_eq!(from_yaml[0].names.len(), 2);
        let line =
            |documents: &[Document]| documents[0].places.get("/slots").map(|place| place.line);
        assert_eq!(
            (line(&from_yaml), line(&from_json), line(&placed)),
            (Some(7), Some(0), Some(3))
        );
    }

    #[test]
    fn faults_say_document_line_and_key() {
        for (text, expected) in [
            (
                "name: n1\n",
                "document 1, line 1, column 1, kind: it is missing; write for example `kind: node`",
            ),
            (
                "kind: node\n",
                "document 1, line 1, column 1, name: it is missing; write for example",
            ),
            (
                "kind: node\nname: n[1\n",
                "document 1, line 2, column 7, name: \"n[1\" has brackets that do not match",
            ),
            ("kind: a b\nname: n1\n", "document 1, line 1, column 7, kind: \"a b\" is not a name"),
            (
                "kind: node\nname: n1\ncgf: {}\n",
                "document 1, line 3, column 1, cgf: this key is not known",
            ),
            (
                "kind: node\nname: n1\ncfg: 3\n",
                "document 1, line 3, column 6, cfg: it is a mapping",
            ),
            (
                "kind: node\nname: n1\nlabels: [x]\n",
                "document 1, line 3, column 9, labels: labels are",
            ),
            (
                "kind: node\nname: n1\nlabels: {a: {}}\n",
                "document 1, line 3, column 13, labels.a: a label",
            ),
            (
                "kind: node\nname: n1\nowner: a/b/c/d\n",
                "document 1, line 3, column 8, owner: \"a/b/c/d\" is not",
            ),
            (
                "kind: node\nname: n1\n---\n- 3\n",
                "document 2, line 4, column 3, document: a manifest",
            ),
            (
                "kind: node\nname: n1\ncfg:\n  a b: 1\n",
                "document 1, line 4, column 3, cfg.a b: \"/a b\" is not a path",
            ),
            (
                "kind: node\nname: n1\ncfg:\n  a: [{b: 1}]\n",
                "document 1, line 4, column 6, cfg.a: a mapping",
            ),
            ("kind: node\nkind: node\n", "document 1, line 2"),
            ("kind: node\nname: n1\n---\nkind: [\n", "document 2, line "),
            (
                "{\"kind\": \"node\",\n \"nam\": 1}",
                "document 1, line 2, column 2, nam: this key is not known",
            ),
            ("", "the body is empty; send at least one manifest"),
            ("a: 18446744073709551616\n", "document 1, line 1, column 1, a: this key is not known"),
        ] {
            let found = faults(text);
            assert!(found[0].starts_with(expected), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_up_to_a_limit() {
        let one = "kind: node\nname: n1\nx: 1\ny: 2\n---\n";
        assert_eq!(faults(&one.repeat(2)).len(), 4);
        assert_eq!(faults(&one.repeat(FAULTS_MAX)).len(), FAULTS_MAX);
    }

    #[test]
    fn a_route_may_say_kind_and_name_and_is_not_contradicted() {
        let name = |text: &str| Name::new(text).unwrap();
        let defaults =
            Defaults { kind: Some(name("node")), namespace: None, name: Some(name("n1")) };
        let documents = read(b"cfg: {}", &defaults).unwrap();
        assert_eq!(documents[0].keys().next().unwrap().to_string(), "node n1");
        for text in ["kind: rack\n", "name: n2\n"] {
            assert!(read(text.as_bytes(), &defaults).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_server_answers_is_a_manifest() {
        let list =
            "items: [{kind: node, name: n1, uid: x, dsc: {a: 1}, status: null}]\nrevision: 3\n";
        let documents = read(list.as_bytes(), &Defaults::default()).unwrap();
        assert_eq!(documents.len(), 1);
        assert!(documents[0].cfg.is_empty());
    }

    #[test]
    fn references_are_read_as_they_are_written() {
        for text in ["node/n1", "app/prod/web"] {
            assert_eq!(crate::view::reference(&parse_reference(text).unwrap()), text);
        }
        assert_eq!(parse_reference("n1").unwrap().to_string(), "node n1");
        assert!(parse_reference("a b").is_err());
    }
}
