//! The extension IPv4, the one whose fields are paths of ours: a module that boots machines reads
//! their addresses there.

use std::net::Ipv4Addr;

use kraken_engine::{path::Path, value::Value};
use serde_json::Value as Json;

use super::{Fault, Told, fields, join, object, says_nothing, text, within};
use crate::old::{
    paths::{IFACES, IPV4_KEPT, IPV4_REST},
    show::TYPE,
};

/// Bytes of an address of Ethernet.
const MAC_BYTES: usize = 6;

impl Told {
    pub(super) fn ipv4(&mut self, json: &Json) -> Result<(), Fault> {
        for (key, value) in fields(json, "an extension")? {
            let read = match key.as_str() {
                TYPE => Ok(()),
                "ifaces" => self.ifaces(value),
                key if IPV4_KEPT.contains(&key) => {
                    join(IPV4_REST, key).and_then(|path| self.keep(path, value))
                }
                _ => Err(Fault::new("it is no field of IPv4")),
            };
            read.map_err(|fault| within(&key, fault))?;
        }
        Ok(())
    }

    /// By name: the keys of this object are no fields.
    fn ifaces(&mut self, json: &Json) -> Result<(), Fault> {
        for (name, iface) in object(json, "the interfaces")? {
            if says_nothing(iface) {
                continue;
            }
            let top = join(IFACES, name).map_err(|fault| within(name, fault))?;
            self.iface(&top, iface).map_err(|fault| within(name, fault))?;
        }
        Ok(())
    }

    fn iface(&mut self, top: &Path, json: &Json) -> Result<(), Fault> {
        for (layer, json) in fields(json, "an interface")? {
            for (field, json) in fields(json, &layer).map_err(|fault| within(&layer, fault))? {
                let at = |fault| within(&layer, within(&field, fault));
                let value = value(&layer, &field, json).map_err(at)?;
                let path = top.join(&layer).and_then(|top| top.join(&field));
                self.set(path.map_err(Fault::new).map_err(at)?, value);
            }
        }
        Ok(())
    }
}

/// Reads a field of an interface; nothing where it is at the value that stands for nothing.
fn value(layer: &str, field: &str, json: &Json) -> Result<Option<Value>, Fault> {
    match (layer, field) {
        ("eth", "iface" | "mac") | ("ip", "ip" | "subnet") => {
            Ok(Some(text(json)?).filter(|text| !text.is_empty()).map(Value::from))
        }
        ("eth", "control") => {
            let truth = json.as_bool().ok_or_else(|| Fault::new("it is true or false"))?;
            Ok(truth.then_some(Value::Bool(true)))
        }
        ("eth", "mtu") => {
            let number = match json {
                Json::String(text) => text.parse().ok(),
                json => json.as_u64().and_then(|number| u32::try_from(number).ok()),
            };
            let number: u32 = number
                .ok_or_else(|| Fault::new(format!("it is a number from 0 to {}", u32::MAX)))?;
            Ok((number > 0).then(|| Value::Int(number.into())))
        }
        ("eth" | "ip", _) => Err(Fault::new("it is no field of an interface")),
        _ => Err(Fault::new("an interface has `eth` and `ip`")),
    }
}

/// Checks what is about to be set: what somebody else has set so is let be.
pub(super) fn check(path: &Path, value: &Value) -> Result<(), String> {
    let rest = path.as_str().strip_prefix(IFACES).and_then(|rest| rest.rsplit_once('/'));
    let (Some((_, field)), Some(text)) = (rest, value.as_str()) else { return Ok(()) };
    match field {
        "mac" if !is_mac(text) => Err(format!("{text:?} is no address such as aa:bb:cc:00:11:22")),
        "ip" | "subnet" if text.parse::<Ipv4Addr>().is_err() => {
            Err(format!("{text:?} is no address such as 10.0.0.1"))
        }
        _ => Ok(()),
    }
}

fn is_mac(text: &str) -> bool {
    let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = text.split([':', '-']);
    parts.all(is_byte) && text.split([':', '-']).count() == MAC_BYTES
}
