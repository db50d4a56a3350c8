//! Reads nodes as clients of the old surface write them: keys in camelCase or snake_case,
//! enumerations by name or by number.
//!
//! A write is a merge. What is not said stays; so does what is said to be null or empty. A field at
//! the first value of its enumeration, or a text that is empty, is unset. Of the extension IPv4
//! each field is merged by itself, of a service too; any other extension is taken as a whole.

mod ipv4;

use std::collections::{BTreeMap, BTreeSet};

use kraken_engine::{
    id::{Name, Uid},
    object::Object,
    path::Path,
    state::State,
    value::{STRING_BYTES_MAX, Value},
};
use serde_json::{Map, Value as Json};

use super::{
    names::{Enums, IPV4, SERVICE, camel, read_enum},
    paths::{ASKED, EXTENSIONS, IPV4_REST, PARENT_ID, PHYS_STATE, RUN_STATE},
    show::{TYPE, kept},
};
use crate::problem::{Fault, Problem};

/// What a client says of one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    pub(super) id: Option<Uid>,
    pub(super) name: Option<Name>,
    /// What is to be at paths of Cfg; nothing: they are to be unset.
    pub(super) values: BTreeMap<Path, Option<Value>>,
}

/// Reads a list of nodes.
pub(super) fn nodes(json: &Json, enums: &Enums) -> Result<Vec<Told>, Fault> {
    let fields = object(json, "the body")?;
    if let Some(key) = fields.keys().find(|key| *key != "nodes") {
        return Err(Fault::at(key, "it is no field of a list of nodes; give `nodes`"));
    }
    let list = match fields.get("nodes") {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(list)) => list,
        Some(_) => return Err(Fault::at("nodes", "it is a list")),
    };
    let mut told = Vec::with_capacity(list.len());
    let mut met = (BTreeSet::new(), BTreeSet::new());
    for (place, json) in list.iter().enumerate() {
        let node = node(json, enums).map_err(|fault| within(&format!("nodes[{place}]"), fault))?;
        let is_new = (
            node.id.is_none_or(|id| met.0.insert(id)),
            node.name.clone().is_none_or(|name| met.1.insert(name)),
        );
        if is_new != (true, true) {
            return Err(Fault::at(format!("nodes[{place}]"), "this node comes twice"));
        }
        told.push(node);
    }
    Ok(told)
}

/// Reads one node.
pub(super) fn node(json: &Json, enums: &Enums) -> Result<Told, Fault> {
    let mut told = Told::default();
    for (key, value) in fields(json, "a node")? {
        let read = match key.as_str() {
            "id" => told.id(value),
            "nodename" => told.name(value),
            "runState" => told.word(RUN_STATE, value, enums),
            "physState" => told.word(PHYS_STATE, value, enums),
            "busy" => told.word(ASKED.busy, value, enums),
            "arch" => told.text(ASKED.arch, value),
            "platform" => told.text(ASKED.platform, value),
            "parentId" => told.parent(value),
            "services" => told.services(value),
            "extensions" => told.extensions(value),
            _ => Err(Fault::new("it is no field of a node")),
        };
        read.map_err(|fault| within(&key, fault))?;
    }
    Ok(told)
}

/// The fields of an object by their keys in camelCase, without those that say nothing.
fn fields<'a>(json: &'a Json, what: &str) -> Result<BTreeMap<String, &'a Json>, Fault> {
    let mut fields = BTreeMap::new();
    for (key, value) in object(json, what)? {
        let is_first = fields.insert(camel(key), value).is_none();
        if !is_first {
            return Err(Fault::at(key, "it is given twice"));
        }
    }
    fields.retain(|_, value| !says_nothing(value));
    Ok(fields)
}

fn says_nothing(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

fn object<'a>(json: &'a Json, what: &str) -> Result<&'a Map<String, Json>, Fault> {
    json.as_object().ok_or_else(|| Fault::new(format!("{what} is a JSON object")))
}

fn list(json: &Json) -> Result<&[Json], Fault> {
    json.as_array().map(Vec::as_slice).ok_or_else(|| Fault::new("it is a list"))
}

fn text(json: &Json) -> Result<&str, Fault> {
    let text = json.as_str().ok_or_else(|| Fault::new("it is a text"))?;
    if text.len() > STRING_BYTES_MAX {
        return Err(Fault::new(format!("a text is limited to {STRING_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn id(json: &Json) -> Result<Uid, Fault> {
    text(json)?.parse().map_err(Fault::new)
}

/// A fault of what lies within something.
fn within(outer: &str, fault: Fault) -> Fault {
    let key = match &fault.key {
        None => outer.to_owned(),
        Some(inner) if inner.starts_with('[') => format!("{outer}{inner}"),
        Some(inner) => format!("{outer}.{inner}"),
    };
    Fault { key: Some(key), ..fault }
}

/// A path of which a client names one segment.
fn join(top: &str, segment: &str) -> Result<Path, Fault> {
    if segment.contains('/') {
        return Err(Fault::new(format!("{segment:?} holds a `/`")));
    }
    let top = Path::new(top).map_err(Fault::new)?;
    top.join(segment).map_err(Fault::new)
}

impl Told {
    fn set(&mut self, path: Path, value: Option<impl Into<Value>>) {
        self.values.insert(path, value.map(Into::into));
    }

    fn set_at(&mut self, path: &str, value: Option<impl Into<Value>>) -> Result<(), Fault> {
        self.set(Path::new(path).map_err(Fault::new)?, value);
        Ok(())
    }

    fn id(&mut self, json: &Json) -> Result<(), Fault> {
        self.id = Some(id(json)?);
        Ok(())
    }

    fn name(&mut self, json: &Json) -> Result<(), Fault> {
        let name = text(json)?;
        if !name.is_empty() {
            self.name = Some(Name::new(name).map_err(Fault::new)?);
        }
        Ok(())
    }

    fn word(&mut self, path: &str, json: &Json, enums: &Enums) -> Result<(), Fault> {
        let word = read_enum(json, enums.names(path)).map_err(Fault::new)?;
        self.set_at(path, word)
    }

    fn text(&mut self, path: &str, json: &Json) -> Result<(), Fault> {
        let text = Some(text(json)?).filter(|text| !text.is_empty());
        self.set_at(path, text)
    }

    fn parent(&mut self, json: &Json) -> Result<(), Fault> {
        let parent = if text(json)?.is_empty() { None } else { Some(id(json)?.to_string()) };
        self.set_at(PARENT_ID, parent)
    }

    /// Keeps JSON as it is.
    fn keep(&mut self, path: Path, json: &Json) -> Result<(), Fault> {
        let text = json.to_string();
        if text.len() > STRING_BYTES_MAX {
            return Err(Fault::new(format!("it is limited to {STRING_BYTES_MAX} bytes")));
        }
        self.set(path, Some(text));
        Ok(())
    }

    fn services(&mut self, json: &Json) -> Result<(), Fault> {
        let mut met = BTreeSet::new();
        for (place, json) in list(json)?.iter().enumerate() {
            let at = |fault| within(&format!("[{place}]"), fault);
            let mut fields = fields(json, "a service").map_err(at)?;
            let id = fields.remove("id").ok_or_else(|| Fault::new("a service has an id"));
            let id = id.and_then(text).map_err(at)?;
            if !met.insert(id) {
                return Err(at(Fault::new("this service comes twice")));
            }
            let top = join(ASKED.services, id).map_err(at)?;
            for (key, value) in fields {
                self.service(&top, &key, value).map_err(|fault| at(within(&key, fault)))?;
            }
        }
        Ok(())
    }

    fn service(&mut self, top: &Path, key: &str, json: &Json) -> Result<(), Fault> {
        let path = top.join(key).map_err(Fault::new)?;
        match key {
            "module" | "errorMsg" => {
                let text = Some(text(json)?).filter(|text| !text.is_empty());
                self.set(path, text);
            }
            "state" => {
                let state = read_enum(json, &SERVICE).map_err(Fault::new)?;
                self.set(path, state);
            }
            "config" => {
                object(json, "a configuration")?;
                return self.keep(path, json);
            }
            _ => return Err(Fault::new("it is no field of a service")),
        }
        Ok(())
    }

    fn extensions(&mut self, json: &Json) -> Result<(), Fault> {
        let mut met = BTreeSet::new();
        for (place, json) in list(json)?.iter().enumerate() {
            let at = |fault| within(&format!("[{place}]"), fault);
            let name = object(json, "an extension").and_then(type_of).map_err(at)?;
            if !met.insert(name) {
                return Err(at(Fault::new("this extension comes twice")));
            }
            self.extension(name, json).map_err(at)?;
        }
        Ok(())
    }

    fn extension(&mut self, name: &str, json: &Json) -> Result<(), Fault> {
        if name == IPV4 {
            return self.ipv4(json);
        }
        let path = join(EXTENSIONS, name).map_err(|fault| within(TYPE, fault))?;
        self.keep(path, json)
    }

    /// What is to change in a Cfg for all to be as it is told.
    pub(super) fn missing_in(&self, cfg: &State) -> Result<(State, Vec<Path>), Problem> {
        let (mut set, mut unset) = (State::new(), Vec::new());
        for (path, value) in &self.values {
            let held = cfg.get(path.as_str());
            match value {
                None if held.is_some() => unset.push(path.clone()),
                Some(value) if !held.is_some_and(|held| is_same(path, held, value)) => {
                    ipv4::check(path, value).map_err(|why| bad(path, why))?;
                    set.set(path.clone(), value.clone()).map_err(|why| bad(path, why))?;
                }
                None | Some(_) => {}
            }
        }
        Ok((set, unset))
    }

    /// Refuses another name than the node has: a name is for all time.
    pub(super) fn check_name(&self, object: &Object) -> Result<(), Problem> {
        match &self.name {
            Some(name) if *name != object.key.name => {
                let why = format!(
                    "node {} cannot be renamed to {name}; delete it and create another",
                    object.key.name
                );
                Err(Problem::Invalid(vec![Fault::at("nodename", why)]))
            }
            None | Some(_) => Ok(()),
        }
    }
}

fn bad(path: &Path, why: impl ToString) -> Problem {
    Problem::BadBody(vec![Fault::at(path, why)])
}

/// Whether two values of a path say the same: JSON that is kept as text, whatever the order of its
/// keys.
fn is_same(path: &Path, held: &Value, told: &Value) -> bool {
    let path = path.as_str();
    let is_json = path.starts_with(EXTENSIONS)
        || path.starts_with(IPV4_REST)
        || path.starts_with(ASKED.services) && path.ends_with("/config");
    held == told || is_json && kept(held).is_some_and(|held| kept(told) == Some(held))
}

/// The name of an extension's type, without what precedes it.
pub(super) fn type_of(extension: &Map<String, Json>) -> Result<&str, Fault> {
    let named = extension.get(TYPE).and_then(Json::as_str);
    let named = named.ok_or_else(|| Fault::at(TYPE, "an extension names its type"))?;
    Ok(named.rsplit_once('/').map_or(named, |(_, name)| name))
}
