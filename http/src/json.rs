//! Flat inside, nested at the edge: states as paths and values here, as JSON objects there.

use kraken_engine::{
    path::Path,
    state::State,
    value::{Finite, LIST_ITEMS_MAX, STRING_BYTES_MAX, Value},
};
use serde_json::{Map, Number, Value as Json};

use crate::problem::Fault;

/// The key that holds the value of a path that has both a value and paths below it. Cfg has no such
/// paths; what was seen by different writers may.
pub const OWN_VALUE_KEY: &str = "";

/// What a merge patch asks for: RFC 7386, with null for "unset".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Paths to set.
    pub set: State,
    /// Paths to unset, each with all below it.
    pub unset: Vec<Path>,
}

/// Nests paths and values, in order of path.
pub fn nest<'a>(pairs: impl IntoIterator<Item = (&'a Path, &'a Value)>) -> Json {
    let mut root = Map::new();
    for (path, value) in pairs {
        let segments: Vec<&str> = path.segments().collect();
        insert(&mut root, &segments, value);
    }
    Json::Object(root)
}

fn insert(map: &mut Map<String, Json>, segments: &[&str], value: &Value) {
    let Some((head, rest)) = segments.split_first() else { return };
    if rest.is_empty() {
        match map.get_mut(*head) {
            Some(Json::Object(below)) => below.insert(OWN_VALUE_KEY.to_owned(), to_json(value)),
            _ => map.insert((*head).to_owned(), to_json(value)),
        };
        return;
    }
    let below = map.entry(*head).or_insert_with(|| Json::Object(Map::new()));
    if !below.is_object() {
        let own = below.take();
        *below = Json::Object(Map::from_iter([(OWN_VALUE_KEY.to_owned(), own)]));
    }
    if let Json::Object(below) = below {
        insert(below, rest, value);
    }
}

/// A value as JSON.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::Number((*number).into()),
        Value::Float(number) => Number::from_f64(number.get()).map_or(Json::Null, Json::Number),
        Value::Str(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
    }
}

/// A value from JSON; the error says what would be right.
pub fn from_json(json: &Json) -> Result<Value, String> {
    match json {
        Json::Null => Err("null is not a value".to_owned()),
        Json::Bool(truth) => Ok(Value::Bool(*truth)),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Ok(Value::Int(number)),
            (None, _) if number.is_u64() => {
                Err(format!("{number} is too large: the limit is {}", i64::MAX))
            }
            (None, float) => float
                .and_then(Finite::new)
                .map(Value::Float)
                .ok_or_else(|| format!("{number} is not a finite number")),
        },
        Json::String(text) if text.len() > STRING_BYTES_MAX => {
            Err(format!("a string is limited to {STRING_BYTES_MAX} bytes"))
        }
        Json::String(text) => Ok(text.as_str().into()),
        Json::Array(items) if items.len() > LIST_ITEMS_MAX => {
            Err(format!("a list is limited to {LIST_ITEMS_MAX} items"))
        }
        Json::Array(items) => items.iter().map(from_json).collect::<Result<Value, String>>(),
        Json::Object(_) => Err("an object within a list is not a value".to_owned()),
    }
}

/// Flattens a nested state. Nulls are paths to unset; empty objects say nothing.
pub fn flatten(json: &Json) -> Result<Patch, Fault> {
    let Json::Object(root) = json else {
        return Err(Fault::new("a state is a JSON object of paths and values"));
    };
    let mut patch = Patch::default();
    for (key, value) in root {
        let path = Path::new(format!("/{key}")).map_err(|error| Fault::at(key, error))?;
        flatten_into(&mut patch, path, value)?;
    }
    Ok(patch)
}

fn flatten_into(patch: &mut Patch, path: Path, json: &Json) -> Result<(), Fault> {
    match json {
        Json::Null => patch.unset.push(path),
        Json::Object(below) => {
            for (key, value) in below {
                let longer =
                    path.join(key).map_err(|error| Fault::at(format!("{path}/{key}"), error))?;
                flatten_into(patch, longer, value)?;
            }
        }
        value => {
            let value = from_json(value).map_err(|why| Fault::at(&path, why))?;
            let set = patch.set.set(path.clone(), value);
            set.map_err(|error| Fault::at(path, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> Path {
        Path::new(text).unwrap()
    }

    #[test]
    fn states_survive_the_edge() {
        let json = json!({
            "physState": "POWER_ON",
            "services": { "sshd": { "state": "RUN", "args": ["-D", "x"] } },
            "slots": 4, "load": 0.5, "ok": true,
        });
        let patch = flatten(&json).unwrap();
        assert_eq!(patch.set.len(), 6);
        assert_eq!(patch.set.get("/services/sshd/state"), Some(&"RUN".into()));
        assert_eq!(nest(patch.set.iter()), json);
    }

    #[test]
    fn null_is_unset_and_an_empty_object_says_nothing() {
        let patch = flatten(&json!({ "a": null, "b": { "c": null, "d": {} } })).unwrap();
        assert!(patch.set.is_empty());
        assert_eq!(patch.unset, [path("/a"), path("/b/c")]);
    }

    #[test]
    fn faults_name_the_path() {
        for (json, expected) in [
            (json!([]), "a state is a JSON object of paths and values"),
            (json!({ "a": { "b c": 1 } }), "/a/b c"),
            (json!({ "a": [{ "b": 1 }] }), "/a: an object within a list is not a value"),
            (json!({ "a": u64::MAX }), "/a: 18446744073709551615 is too large"),
        ] {
            let text = flatten(&json).unwrap_err().to_string();
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn a_seen_value_above_others_is_kept_beside_them() {
        for order in [["/a", "/a/b"], ["/a/b", "/a"]] {
            let pairs = order.map(|text| (path(text), Value::from(text)));
            let json = nest(pairs.iter().map(|(path, value)| (path, value)));
            assert_eq!(json, json!({ "a": { "": "/a", "b": "/a/b" } }));
        }
    }
}
