//! Nodes as the old surface shows them: what is asked of one, or what was seen of it. What is
//! absent here is the first of its enumeration there, and is left out.

use std::collections::BTreeMap;

use kraken_engine::{
    catalog::{Catalog, is_engine_path},
    dsc::Dsc,
    id::Uid,
    object::Object,
    value::Value,
    view::shown,
};
use serde_json::{Map, Value as Json};

use super::{
    ids::id_of,
    names::{Enums, IPV4, TYPE_PREFIX},
    paths::{
        ASKED, EXTENSIONS, IFACES, IPV4_KEPT, IPV4_REST, PARENT_ID, PHYS_STATE, Places, RUN_STATE,
        SEEN,
    },
    read::type_of,
};
use crate::json::to_json;

/// The key that names the type of an extension, or of a configuration.
pub(super) const TYPE: &str = "@type";

/// Values by path.
type Values<'a> = BTreeMap<&'a str, &'a Value>;

/// What is asked of a node.
pub(super) fn asked(object: &Object, enums: &Enums) -> Json {
    let values: Values<'_> =
        object.cfg.iter().map(|(path, value)| (path.as_str(), value)).collect();
    let parent = values.get(PARENT_ID).and_then(|id| id.as_str()?.parse().ok());
    node(object, &values, parent, ASKED, enums)
}

/// What was seen of a node that is attached to the one of the id `parent`.
pub(super) fn seen(
    object: &Object,
    dsc: &Dsc,
    parent: Option<Uid>,
    (catalog, enums): (&Catalog, &Enums),
) -> Json {
    let kind = catalog.kind(&object.key.kind);
    let paths = dsc.iter().map(|(path, _)| path).filter(|path| !is_engine_path(path));
    let values: Values<'_> = paths
        .filter_map(|path| {
            let value = match kind {
                Some(kind) => shown(kind, dsc, path),
                None => dsc.value(path.as_str()),
            };
            Some((path.as_str(), value?))
        })
        .collect();
    node(object, &values, parent, SEEN, enums)
}

fn node(
    object: &Object,
    values: &Values<'_>,
    parent: Option<Uid>,
    places: Places,
    enums: &Enums,
) -> Json {
    let mut node = Map::new();
    node.insert("id".to_owned(), id_of(object).to_string().into());
    node.insert("nodename".to_owned(), object.key.name.as_str().into());
    for (field, path) in [
        ("runState", RUN_STATE),
        ("physState", PHYS_STATE),
        ("arch", places.arch),
        ("platform", places.platform),
        ("busy", places.busy),
    ] {
        let value = values.get(path).map(|value| text(value));
        put_text(&mut node, field, value.filter(|value| value != enums.zero(path)));
    }
    put_text(&mut node, "parentId", parent.map(|id| id.to_string()));
    let services = services(values, places);
    if !services.is_empty() {
        node.insert("services".to_owned(), services.into());
    }
    let extensions = extensions(values);
    if !extensions.is_empty() {
        node.insert("extensions".to_owned(), extensions.into());
    }
    node.into()
}

/// Puts a text, unless it is empty.
fn put_text(map: &mut Map<String, Json>, field: &str, value: Option<String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        map.insert(field.to_owned(), value.into());
    }
}

/// A value as text.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What lies below a path, each with the rest of its path.
fn under<'a>(
    values: &'a Values<'a>,
    top: &'static str,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let from = values.range(top..);
    let rest = from.map_while(move |(path, value)| Some((path.strip_prefix(top)?, *value)));
    rest.filter_map(|(path, value)| Some((path.strip_prefix('/')?, value)))
}

fn services(values: &Values<'_>, places: Places) -> Vec<Json> {
    let mut found: BTreeMap<&str, Map<String, Json>> = BTreeMap::new();
    let is_seen = places.services == SEEN.services;
    for (path, value) in under(values, places.services) {
        let Some((id, field)) = path.split_once('/') else { continue };
        let service = found.entry(id).or_default();
        match field {
            "config" => {
                let config = kept(value).filter(Json::is_object);
                service.extend(config.map(|config| ("config".to_owned(), config)));
            }
            "module" | "state" | "errorMsg" => put_text(service, field, Some(text(value))),
            "error" if is_seen => put_text(service, "errorMsg", Some(text(value))),
            _ => {}
        }
        // A module that runs here is one instance of itself.
        let module = is_seen.then(|| id.to_owned());
        put_text(service, "module", module);
    }
    let with_id = |(id, mut service): (&str, Map<String, Json>)| {
        service.insert("id".to_owned(), id.into());
        service.into()
    };
    found.into_iter().map(with_id).collect()
}

/// In order of type.
fn extensions(values: &Values<'_>) -> Vec<Json> {
    let mut found: BTreeMap<&str, Json> = BTreeMap::new();
    found.extend(ipv4(values).map(|ipv4| (IPV4, ipv4)));
    let others = under(values, EXTENSIONS).filter_map(|(name, value)| {
        let extension = kept(value)?;
        (type_of(extension.as_object()?) == Ok(name)).then_some((name, extension))
    });
    found.extend(others);
    found.into_values().collect()
}

fn ipv4(values: &Values<'_>) -> Option<Json> {
    let mut ifaces = Map::new();
    for (path, value) in under(values, IFACES) {
        let mut at = path.splitn(3, '/');
        let (Some(iface), Some(layer), Some(field)) = (at.next(), at.next(), at.next()) else {
            continue;
        };
        if !is_zero(value) {
            let fields = below(below(&mut ifaces, iface)?, layer)?;
            fields.insert(field.to_owned(), to_json(value));
        }
    }
    let rest = under(values, IPV4_REST).filter(|(field, _)| IPV4_KEPT.contains(field));
    let rest = rest.filter_map(|(field, value)| Some((field.to_owned(), kept(value)?)));
    let mut ipv4: Map<String, Json> = rest.collect();
    if !ifaces.is_empty() {
        ipv4.insert("ifaces".to_owned(), ifaces.into());
    }
    if ipv4.is_empty() {
        return None;
    }
    ipv4.insert(TYPE.to_owned(), format!("{TYPE_PREFIX}{IPV4}").into());
    Some(ipv4.into())
}

fn below<'a>(map: &'a mut Map<String, Json>, key: &str) -> Option<&'a mut Map<String, Json>> {
    map.entry(key).or_insert_with(|| Map::new().into()).as_object_mut()
}

/// Whether a value is the one that stands for nothing.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => !truth,
        Value::Int(number) => *number == 0,
        Value::Str(text) => text.is_empty(),
        Value::Float(_) | Value::List(_) => false,
    }
}

/// JSON that is kept as text. What else somebody wrote there over other routes is not shown here.
pub(super) fn kept(value: &Value) -> Option<Json> {
    serde_json::from_str(value.as_str()?).ok()
}
