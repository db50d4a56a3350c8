//! A body as a tree in which every node knows its place.

use std::fmt;

use kraken_engine::value::{Finite, LIST_ITEMS_MAX, STRING_BYTES_MAX, Value};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value as Json;
use serde_saphyr::{Options, Spanned};

use super::{DOCUMENTS_MAX, Place};
use crate::{json, problem::Fault};

/// Most nodes of the tree of one body: keys, values, lists and mappings.
pub(crate) const NODES_MAX: usize = 2_000_000;
/// Deepest nesting of one body.
pub(crate) const DEPTH_MAX: usize = 64;

/// A node of a body.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) node: Node,
    pub(crate) place: Place,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Null,
    Scalar(Value),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) place: Place,
}

impl Tree {
    /// The text of a scalar, whatever it looks like.
    pub(crate) fn text(&self) -> Option<String> {
        match &self.node {
            Node::Scalar(Value::List(_)) | Node::Null | Node::List(_) | Node::Map(_) => None,
            Node::Scalar(value) => Some(value.to_string()),
        }
    }
}

impl Node {
    /// The value that a scalar or a list of scalars is.
    pub(crate) fn value(self) -> Result<Value, String> {
        match self {
            Self::Scalar(value) => Ok(value),
            Self::List(items) if items.len() > LIST_ITEMS_MAX => {
                Err(format!("a list is limited to {LIST_ITEMS_MAX} items"))
            }
            Self::List(items) => items.into_iter().map(|item| item.node.value()).collect(),
            Self::Null => Err("null is not a value".to_owned()),
            Self::Map(_) => Err("a mapping within a list is not a value".to_owned()),
        }
    }
}

/// Reads a body that is one JSON document; nothing where it is not.
pub(crate) fn from_json(text: &str) -> Option<Tree> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    of_json(serde_json::from_str(text).ok()?)
}

fn of_json(json: Json) -> Option<Tree> {
    let place = Place::default();
    let entry = |(text, value)| Some((Key { text, place }, of_json(value)?));
    let node = match json {
        Json::Null => Node::Null,
        Json::Array(items) => Node::List(items.into_iter().map(of_json).collect::<Option<_>>()?),
        Json::Object(map) => Node::Map(map.into_iter().map(entry).collect::<Option<_>>()?),
        scalar => Node::Scalar(json::from_json(&scalar).ok()?),
    };
    Some(Tree { node, place })
}

/// Reads a body of any number of YAML documents, of which JSON is one form.
pub(crate) fn from_yaml(text: &str) -> Result<Vec<Tree>, Fault> {
    let read: Result<Vec<Spanned<Raw>>, _> =
        serde_saphyr::from_multiple_with_options(text, options());
    match read {
        Ok(documents) => Ok(documents.into_iter().map(Tree::of).collect()),
        Err(error) => Err(fault(text, &error)),
    }
}

fn options() -> Options {
    // Only true and false are truths: OFF and NO are names of states.
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: DOCUMENTS_MAX,
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            max_depth: DEPTH_MAX,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}

fn fault(text: &str, error: &serde_saphyr::Error) -> Fault {
    let Some(location) = error.location() else { return Fault::new(error) };
    let lines = text.lines().take(usize::try_from(location.line()).unwrap_or(usize::MAX));
    let separators = lines.skip(1).filter(|line| line.starts_with("---")).count();
    let place = format!(" at line {}, column {}", location.line(), location.column());
    let why = error.to_string();
    Fault {
        document: Some(separators + 1),
        line: Some(location.line()),
        column: Some(location.column()),
        ..Fault::new(why.replace(&place, ""))
    }
}

impl Place {
    fn of(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// A node as it is read, its own place still outside of it.
enum Raw {
    Null,
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl Tree {
    fn of(raw: Spanned<Raw>) -> Self {
        let node = match raw.value {
            Raw::Null => Node::Null,
            Raw::Scalar(value) => Node::Scalar(value),
            Raw::List(items) => Node::List(items.into_iter().map(Self::of).collect()),
            Raw::Map(entries) => Node::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let place = Place::of(key.referenced);
                        (Key { text: key.value, place }, Self::of(value))
                    })
                    .collect(),
            ),
        };
        Self { node, place: Place::of(raw.referenced) }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> de::Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(truth.into()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(number.into()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Raw, E> {
        let number = i64::try_from(number)
            .map_err(|_| E::custom(format!("{number} is too large: the limit is {}", i64::MAX)))?;
        Ok(Raw::Scalar(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Raw, E> {
        let finite = Finite::new(number).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Raw::Scalar(Value::Float(finite)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        if text.len() > STRING_BYTES_MAX {
            return Err(E::custom(format!("a string is limited to {STRING_BYTES_MAX} bytes")));
        }
        Ok(Raw::Scalar(text.into()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
