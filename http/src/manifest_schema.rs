//! The JSON Schema of manifests, made of what is declared: with it editors complete kinds, paths
//! and values, and tell what would be refused.

use std::collections::BTreeMap;

use kraken_engine::{
    catalog::Catalog,
    id::Name,
    manifest::{SetBy, Type},
    schema::PathRule,
};
use serde_json::{Map, Value as Json, json};

use crate::document::READ_ONLY_KEYS;

/// The dialect in which it is written.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The segment that stands for any other.
const STAR: &str = "*";

/// The schema of manifests as far as anything is declared.
pub(crate) fn of(catalog: &Catalog) -> Json {
    let kinds = catalog.kinds();
    let by_kind = kinds.map(|(kind, declared)| {
        let settable = declared.schema.rules().filter(|rule| rule.set_by == SetBy::User);
        let mut tree = Tree::default();
        settable.for_each(|rule| tree.add(rule));
        (kind, declared.namespaced, tree.json())
    });
    let by_kind: Vec<(&Name, bool, Json)> = by_kind.collect();
    let mut known: Vec<&str> = by_kind.iter().map(|(kind, ..)| kind.as_str()).collect();
    known.extend(["extension", "module"]);
    let cases: Vec<Json> = by_kind
        .iter()
        .map(|(kind, namespaced, _)| {
            let of_kind =
                json!({ "properties": { "kind": { "const": kind } }, "required": ["kind"] });
            json!({ "if": of_kind, "then": manifest(kind, *namespaced) })
        })
        .collect();
    let definitions: Map<String, Json> =
        by_kind.into_iter().map(|(kind, _, cfg)| (kind.to_string(), cfg)).collect();
    json!({
        "$schema": DIALECT,
        "title": "A manifest of Kraken",
        "type": "object",
        "properties": { "kind": {
            "description": "The kind of objects; `module` and `extension` declare.",
            "enum": known,
        } },
        "required": ["kind"],
        "allOf": cases,
        "$defs": definitions,
    })
}

/// A manifest of one kind.
fn manifest(kind: &Name, namespaced: bool) -> Json {
    let mut keys = json!({
        "kind": {},
        "name": {
            "description": "The name, or a node set such as n[1-8], which makes one object each.",
            "type": "string",
        },
        "labels": {
            "description": "What selectors select by; left out: as they are.",
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        },
        "owner": {
            "description": "The owner, kind/name or kind/namespace/name; a bare name is a node's.",
            "type": ["string", "null"],
        },
        "onDelete": {
            "description": "What becomes of it when its owner is deleted.",
            "enum": ["cascade", "orphan"],
        },
        "cfg": { "$ref": format!("#/$defs/{kind}") },
    });
    let mut required = vec!["name"];
    if namespaced {
        keys["namespace"] = json!({ "type": "string", "description": "The namespace." });
        required.push("namespace");
    }
    for key in READ_ONLY_KEYS {
        keys[key] = json!({ "description": "Written by a server, and passed over here." });
    }
    json!({ "properties": keys, "required": required, "additionalProperties": false })
}

/// Paths as they are nested.
#[derive(Default)]
struct Tree<'a> {
    rule: Option<&'a PathRule>,
    below: BTreeMap<&'a str, Tree<'a>>,
}

impl<'a> Tree<'a> {
    fn add(&mut self, rule: &'a PathRule) {
        let mut tree = self;
        for segment in rule.pattern.as_str().split('/').skip(1) {
            tree = tree.below.entry(segment).or_default();
        }
        tree.rule = Some(rule);
    }

    fn json(&self) -> Json {
        let value = self.rule.map(value);
        if self.below.is_empty() && value.is_some() {
            return value.unwrap_or_default();
        }
        let named = self.below.iter().filter(|(segment, _)| **segment != STAR);
        let named: Map<String, Json> =
            named.map(|(segment, tree)| ((*segment).to_owned(), tree.json())).collect();
        let other = self.below.get(STAR).map_or(Json::Bool(false), Tree::json);
        let nested =
            json!({ "type": "object", "properties": named, "additionalProperties": other });
        match value {
            Some(value) => json!({ "anyOf": [value, nested] }),
            None => nested,
        }
    }
}

/// What a path may hold, with what there is to know of it.
fn value(rule: &PathRule) -> Json {
    let mut json = form(&rule.value_type);
    let mut words = vec![rule.doc.clone()];
    words.extend(rule.unit.as_ref().map(|unit| format!("In {unit}.")));
    words.push(format!("Declared by module {}.", rule.module));
    words.retain(|word| !word.is_empty());
    json["description"] = words.join(" ").into();
    json
}

fn form(value_type: &Type) -> Json {
    match value_type {
        Type::Bool => json!({ "type": "boolean" }),
        Type::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Type::Float => json!({ "type": "number" }),
        Type::Text => json!({ "type": "string" }),
        Type::Enum(values) => json!({ "enum": values }),
        Type::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Type::Share => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+%$" },
        ] }),
    }
}
