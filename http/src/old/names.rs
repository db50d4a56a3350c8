//! How the old surface calls things: enumerations by name and number, and paths as its clients
//! know them.

use std::collections::BTreeMap;

use kraken_engine::{
    catalog::Catalog,
    id::Name,
    manifest::{NODE_KIND, Type},
    path::Path,
};
use serde_json::Value as Json;

use super::paths::{ASKED, EXTENSIONS, IFACES, IPV4_REST, PHYS_STATE, RUN_STATE, SEEN};

/// What precedes the name of a type in `@type`, and in the URLs of what an extension holds.
pub(super) const TYPE_PREFIX: &str = "type.googleapis.com/";
/// The one extension that is taken apart.
pub(super) const IPV4: &str = "IPv4.IPv4OverEthernet";

/// The names of the numbers from 0; 0 stands for what is absent here.
const PHYS: [&str; 6] =
    ["PHYS_UNKNOWN", "POWER_OFF", "POWER_ON", "POWER_CYCLE", "PHYS_HANG", "PHYS_ERROR"];
const RUN: [&str; 4] = ["UNKNOWN", "INIT", "SYNC", "ERROR"];
pub(super) const BUSY: [&str; 2] = ["FREE", "BUSY"];
pub(super) const SERVICE: [&str; 5] = ["UNKNOWN", "STOP", "INIT", "RUN", "ERROR"];
/// What 0 is called where only our declarations name the others.
const UNKNOWN: &str = "UNKNOWN";

/// The enumerations of the fields of a node.
#[derive(Debug, Clone)]
pub(super) struct Enums(BTreeMap<String, Vec<String>>);

impl Enums {
    /// Those that the old surface has always had, with what is declared here besides.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let owned = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let mut enums = BTreeMap::from([
            (PHYS_STATE.to_owned(), owned(&PHYS)),
            (RUN_STATE.to_owned(), owned(&RUN)),
            (SEEN.busy.to_owned(), owned(&BUSY)),
        ]);
        let node = Name::new(NODE_KIND).ok();
        let kind = node.and_then(|node| catalog.kind(&node));
        for rule in kind.into_iter().flat_map(|kind| kind.schema.rules()) {
            let path = rule.pattern.as_str();
            let is_ours = path.starts_with("/old/");
            if let Type::Enum(values) = &rule.value_type
                && rule.pattern.stars() == 0
                && !is_ours
            {
                let known = enums.entry(path.to_owned()).or_insert_with(|| owned(&[UNKNOWN]));
                let new: Vec<String> =
                    values.iter().filter(|value| !known.contains(value)).cloned().collect();
                known.extend(new);
            }
        }
        Self(enums)
    }

    /// All of them: the path, and the names of the numbers from 0.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(path, names)| (path.as_str(), names.as_slice()))
    }

    /// The names of the values of a path.
    pub(super) fn names(&self, path: &str) -> &[String] {
        let path = if path == ASKED.busy { SEEN.busy } else { path };
        self.0.get(path).map_or(&[], Vec::as_slice)
    }

    /// What stands at a path of which nothing is known.
    pub(super) fn zero(&self, path: &str) -> &str {
        self.names(path).first().map_or("", String::as_str)
    }
}

/// Reads a name or a number; `None` is the first, which stands for what is absent.
pub(super) fn read_enum(json: &Json, names: &[impl AsRef<str>]) -> Result<Option<String>, String> {
    let place = match json {
        Json::String(text) => names.iter().position(|name| name.as_ref() == text),
        Json::Number(number) => {
            let place = number.as_u64().and_then(|number| usize::try_from(number).ok());
            place.filter(|place| *place < names.len())
        }
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    let Some(place) = place else {
        let known: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let last = known.len().saturating_sub(1);
        return Err(format!("{json} is none of {}, nor a number to {last}", known.join(", ")));
    };
    let name = names.get(place).filter(|_| place > 0);
    Ok(name.map(|name| name.as_ref().to_owned()))
}

/// A path as old clients know it: `/PhysState` for `/physState`.
pub(super) fn url_of(path: &Path) -> String {
    let below = |top: &str| path.as_str().strip_prefix(top)?.strip_prefix('/');
    for services in [SEEN.services, ASKED.services] {
        if let Some((service, field)) = below(services).and_then(|rest| rest.split_once('/')) {
            return format!("/Services/{service}/{}", capital(field));
        }
    }
    if let Some(name) = below(EXTENSIONS) {
        return format!("/{TYPE_PREFIX}{name}");
    }
    if let Some(field) = below(IPV4_REST) {
        return format!("/{TYPE_PREFIX}{IPV4}/{}", capital(field));
    }
    if let Some((iface, fields)) = below(IFACES).and_then(|rest| rest.split_once('/')) {
        let fields: Vec<String> = fields.split('/').map(capital).collect();
        return format!("/{TYPE_PREFIX}{IPV4}/Ifaces/{iface}/{}", fields.join("/"));
    }
    let rest = below("/old").or_else(|| below("")).unwrap_or_default();
    format!("/{}", capital(rest))
}

/// The text with its first letter in capital.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// A key in camelCase, which may come in snake_case.
pub(super) fn camel(key: &str) -> String {
    let mut words = key.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| all + &capital(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_called_as_old_clients_know_them() {
        let ipv4 = "/type.googleapis.com/IPv4.IPv4OverEthernet";
        for (path, expected) in [
            ("/physState", "/PhysState".to_owned()),
            ("/old/arch", "/Arch".to_owned()),
            ("/old/parentId", "/ParentId".to_owned()),
            ("/modules/sim/state", "/Services/sim/State".to_owned()),
            ("/old/services/rest/errorMsg", "/Services/rest/ErrorMsg".to_owned()),
            ("/old/extensions/proto.RPi3", "/type.googleapis.com/proto.RPi3".to_owned()),
            ("/old/ipv4/dnsDomains", format!("{ipv4}/DnsDomains")),
            ("/ipv4/ifaces/eth0/eth/mac", format!("{ipv4}/Ifaces/eth0/Eth/Mac")),
            ("/host/arch", "/Host/arch".to_owned()),
        ] {
            assert_eq!(url_of(&Path::new(path).unwrap()), expected, "{path}");
        }
    }

    #[test]
    fn enumerations_are_read_by_name_and_by_number() {
        for (json, expected) in [
            (json!("POWER_ON"), Ok(Some("POWER_ON".to_owned()))),
            (json!(2), Ok(Some("POWER_ON".to_owned()))),
            (json!(0), Ok(None)),
            (json!("PHYS_UNKNOWN"), Ok(None)),
        ] {
            assert_eq!(read_enum(&json, &PHYS), expected, "{json}");
        }
        for wrong in [json!(6), json!(-1), json!(1.5), json!("ON"), json!(null), json!([])] {
            let why = read_enum(&wrong, &PHYS).unwrap_err();
            assert!(why.contains("POWER_CYCLE") && why.contains("a number to 5"), "{why}");
        }
    }

    #[test]
    fn keys_may_come_in_either_case() {
        for (key, expected) in [("error_msg", "errorMsg"), ("physState", "physState"), ("", "")] {
            assert_eq!(camel(key), expected);
        }
    }
}
