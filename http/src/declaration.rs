//! Declarations of modules as people write them: YAML or JSON, each key with its place, so that
//! what is found in them can be shown where it stands.
//!
//! A document is a whole manifest (`kind: module`, or a mapping with the key `module`), or paths
//! alone (`kind: extension`, with `name`, `paths`, and `extends` for another kind than `node`).
//! What is written short is taken at its full length:
//!
//! | written | means |
//! |---|---|
//! | `type: [A, B]` | `type: {enum: [A, B]}` |
//! | `type: int`, `type: count` | any whole number, any from 0 |
//! | `from: A`, `from: [A, B]` | `from: {in: [A]}`, `from: {in: [A, B]}` |
//! | `to: A` | `to: {value: A}` |
//! | `requires: /x = A` and other lists of one | `requires: [/x = A]` |
//! | `context: self`, `seenBy: self` | `context: itself`, `seenBy: itself` |
//!
//! `from: any`, `from: unknown` and `to: cfg` are themselves; values of these names are written at
//! full length.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kraken_engine::{
    check::{Finding, Source, Spot},
    manifest::Manifest,
};
use serde_json::{Map, Value as Json, json};
use serde_path_to_error::Segment;

use crate::{
    document::{
        Place, manifests,
        tree::{self, Node, Tree},
    },
    json::to_json,
    problem::{FAULTS_MAX, Fault},
};

/// The kind of a document that declares a module.
const MODULE: &str = "module";
/// The kind of a document that declares paths.
const EXTENSION: &str = "extension";

/// Reads the declarations of modules in a text; other documents are passed over. `file` is where
/// the text stands, to be said back.
pub fn read(text: &str, file: Option<&str>) -> Result<Vec<Source>, Vec<Fault>> {
    let trees = tree::from_yaml(text).map_err(|fault| vec![fault])?;
    sources(manifests(trees).into_iter().filter(is_declaration).collect(), file)
}

/// Whether a document declares a module, or paths.
pub(crate) fn is_declaration(tree: &Tree) -> bool {
    let Node::Map(entries) = &tree.node else { return false };
    let kind = entries.iter().find(|(key, _)| key.text == "kind");
    match kind.and_then(|(_, kind)| kind.text()).as_deref() {
        Some(kind) => kind == MODULE || kind == EXTENSION,
        None => entries.iter().any(|(key, _)| key.text == MODULE),
    }
}

/// Reads documents that are declarations.
pub(crate) fn sources(trees: Vec<Tree>, file: Option<&str>) -> Result<Vec<Source>, Vec<Fault>> {
    let (mut sources, mut faults) = (Vec::new(), Vec::new());
    for tree in trees {
        match source(tree, file) {
            Ok(source) => sources.push(source),
            Err(fault) => faults.push(*fault),
        }
    }
    faults.truncate(FAULTS_MAX);
    if faults.is_empty() { Ok(sources) } else { Err(faults) }
}

/// What was found, as faults of the body in which it stands.
pub(crate) fn faults(found: &[Finding]) -> Vec<Fault> {
    let fault = |finding: &Finding| Fault {
        line: finding.line,
        column: finding.column,
        object: Some(format!("module {}", finding.module)),
        ..Fault::at(&finding.place, format!("{}: {}", finding.code.as_str(), finding.text))
    };
    found.iter().map(fault).take(FAULTS_MAX).collect()
}

fn source(tree: Tree, file: Option<&str>) -> Result<Source, Box<Fault>> {
    let mut spots = BTreeMap::new();
    let mut json = plain(tree, &mut Vec::new(), &mut spots);
    let spelt = json.as_object_mut().map(|map| spell(map, &mut spots)).unwrap_or_default();
    let read: Result<Manifest, _> = serde_path_to_error::deserialize(spelt);
    let manifest = read.map_err(|error| {
        let keys: Vec<String> = error.path().iter().filter_map(segment).collect();
        let near = (0..=keys.len()).rev().find_map(|length| spots.get(&keys[..length]));
        let place =
            near.map_or_else(Place::default, |spot| Place { line: spot.line, column: spot.column });
        Box::new(place.fault(keys.join("."), error.into_inner()))
    })?;
    Ok(Source { manifest, file: file.map(str::to_owned), spots })
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    }
}

/// A tree as JSON; the place of each key and item goes into `spots`.
fn plain(tree: Tree, at: &mut Vec<String>, spots: &mut BTreeMap<Vec<String>, Spot>) -> Json {
    let Place { line, column } = tree.place;
    spots.entry(at.clone()).or_insert(Spot { line, column });
    match tree.node {
        Node::Null => Json::Null,
        Node::Scalar(value) => to_json(&value),
        Node::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                at.push(index.to_string());
                list.push(plain(item, at, spots));
                at.pop();
            }
            Json::Array(list)
        }
        Node::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                at.push(key.text.clone());
                let Place { line, column } = key.place;
                spots.insert(at.clone(), Spot { line, column });
                map.insert(key.text, plain(value, at, spots));
                at.pop();
            }
            Json::Object(map)
        }
    }
}

/// Spells a declaration out.
fn spell(map: &mut Map<String, Json>, spots: &mut BTreeMap<Vec<String>, Spot>) -> Json {
    let kind = map.remove("kind");
    if kind.as_ref().and_then(Json::as_str) == Some(EXTENSION) {
        *map = of_extension(map);
        let moved = spots.iter().filter(|(keys, _)| keys.first().is_some_and(|k| k == "paths"));
        let moved: Vec<(Vec<String>, Spot)> = moved
            .map(|(keys, spot)| {
                let outer = ["extensions".to_owned(), "0".to_owned()];
                (outer.into_iter().chain(keys.iter().cloned()).collect(), *spot)
            })
            .collect();
        spots.extend(moved);
    } else if let Some(name) = map.remove("name") {
        map.entry(MODULE).or_insert(name);
    }
    for extension in items(map.get_mut("extensions")) {
        for path in items(extension.get_mut("paths")) {
            let Some(path) = path.as_object_mut() else { continue };
            spell_path(path);
        }
    }
    for mutation in items(map.get_mut("mutations")) {
        let Some(mutation) = mutation.as_object_mut() else { continue };
        spell_mutation(mutation);
    }
    lists(map, &["discovers"]);
    Json::Object(std::mem::take(map))
}

/// A document that declares paths alone, as a manifest.
fn of_extension(document: &mut Map<String, Json>) -> Map<String, Json> {
    let mut extension = std::mem::take(document);
    let name = extension.get("name").cloned().unwrap_or_default();
    let mut manifest = Map::from_iter([(MODULE.to_owned(), name)]);
    for key in ["doc", "discovers", "kinds"] {
        manifest.extend(extension.remove(key).map(|value| (key.to_owned(), value)));
    }
    if let Some(kind) = extension.remove("extends") {
        extension.insert("kind".to_owned(), kind);
    }
    if let Some(mut goals) = extension.remove("goals") {
        // They are of the kind that is extended.
        for goal in items(Some(&mut goals)).filter_map(Json::as_object_mut) {
            if let Some(kind) = extension.get("kind") {
                goal.entry("kind").or_insert_with(|| kind.clone());
            }
        }
        manifest.insert("goals".to_owned(), goals);
    }
    manifest.insert("extensions".to_owned(), json!([extension]));
    manifest
}

fn items(list: Option<&mut Json>) -> impl Iterator<Item = &mut Json> {
    list.and_then(Json::as_array_mut).into_iter().flatten()
}

fn spell_path(path: &mut Map<String, Json>) {
    let all = json!({ "int": { "min": i64::MIN, "max": i64::MAX } });
    let count = json!({ "int": { "min": 0, "max": i64::MAX } });
    if let Some(given) = path.get_mut("type") {
        match given {
            Json::Array(values) => {
                let text = |value: &Json| value.as_str().map_or(value.to_string(), str::to_owned);
                *given = json!({ "enum": values.iter().map(text).collect::<Vec<_>>() });
            }
            Json::String(word) if word == "int" => *given = all,
            Json::String(word) if word == "count" => *given = count,
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => {}
        }
    }
    lists(path, &["knownWhile", "digestOf"]);
    itself(path, "seenBy");
}

fn spell_mutation(mutation: &mut Map<String, Json>) {
    lists(mutation, &["requires", "excludes"]);
    itself(mutation, "context");
    let via = mutation.get_mut("via").and_then(Json::as_object_mut);
    for (_, values) in via.into_iter().flatten() {
        if !values.is_array() {
            *values = json!([values.take()]);
        }
    }
    let changes = mutation.get_mut("changes").and_then(Json::as_object_mut);
    for (_, change) in changes.into_iter().flatten() {
        let Some(change) = change.as_object_mut() else { continue };
        if let Some(from) = change.get_mut("from") {
            let word = from.as_str().is_some_and(|from| from == "any" || from == "unknown");
            if from.is_array() {
                *from = json!({ "in": from.take() });
            } else if !word && !from.is_object() {
                *from = json!({ "in": [from.take()] });
            }
        }
        if let Some(to) = change.get_mut("to")
            && to.as_str() != Some("cfg")
            && !to.is_object()
        {
            *to = json!({ "value": to.take() });
        }
    }
}

/// Makes lists of one of what stands alone.
fn lists(map: &mut Map<String, Json>, keys: &[&str]) {
    for key in keys {
        if let Some(value) = map.get_mut(*key)
            && value.is_string()
        {
            *value = json!([value.take()]);
        }
    }
}

/// `self` is the word that people use.
fn itself(map: &mut Map<String, Json>, key: &str) {
    if map.get(key).and_then(Json::as_str) == Some("self") {
        map.insert(key.to_owned(), "itself".into());
    }
}
