//! Predicates: what must hold of an object, or of one related to it, before a mutation may run.
//!
//! Written as text in manifests: `/physState = POWER_ON`, `/slots != 0`, `/x in {A, B}`,
//! `/temperature < 80`, `/x known`; of a related object with `@parent`, `@owner` or
//! `@/path/to/name` (a path of this object whose value names a node) before the path: `@parent
//! /physState = POWER_ON`.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{
    path::{Bindings, Path, Pattern},
    value::Value,
};

/// A text is not a predicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a predicate: write `/path = VALUE`, `!=`, `<`, `<=`, `>`, `>=`, \
     `/path in {{A, B}}` or `/path known`"
)]
pub struct InvalidPredicate {
    text: String,
}

/// A test of one path of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Predicate {
    /// The object whose path is tested.
    pub on: On,
    /// The path; stars are bound as in the mutation that the predicate guards.
    pub path: Pattern,
    /// What must hold there.
    pub test: Test,
}

/// The object that a predicate speaks of, seen from the object it guards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The object itself.
    Itself,
    /// The node that a node is attached to, or that hosts an object which is none
    /// ([`parent_of`](crate::fleet::parent_of)). Members are attached to nobody: what asks for
    /// their parent is not met.
    Parent,
    /// Its owner.
    Owner,
    /// The node that the value at this path names.
    NamedBy(Path),
}

/// What must hold at a path. An unknown value meets no test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// One of these values; `=` is a set of one.
    In(BTreeSet<Value>),
    /// Known, and not this value.
    Not(Value),
    /// Known at all.
    Known,
    /// Below.
    Below(Value),
    /// At most.
    AtMost(Value),
    /// Above.
    Above(Value),
    /// At least.
    AtLeast(Value),
}

impl Test {
    /// Whether a value meets the test; `None` is unknown.
    pub fn holds(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else { return false };
        let compare = |limit: &Value| value.as_number()?.partial_cmp(&limit.as_number()?);
        match self {
            Self::In(allowed) => allowed.contains(value),
            Self::Not(other) => value != other,
            Self::Known => true,
            Self::Below(limit) => compare(limit).is_some_and(std::cmp::Ordering::is_lt),
            Self::AtMost(limit) => compare(limit).is_some_and(std::cmp::Ordering::is_le),
            Self::Above(limit) => compare(limit).is_some_and(std::cmp::Ordering::is_gt),
            Self::AtLeast(limit) => compare(limit).is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

impl Predicate {
    /// The path that is tested under the bindings of a mutation.
    pub fn path(&self, bindings: &Bindings) -> Option<Path> {
        self.path.bind(bindings)
    }
}

impl FromStr for Predicate {
    type Err = InvalidPredicate;
    fn from_str(text: &str) -> Result<Self, InvalidPredicate> {
        parse(text.trim()).ok_or_else(|| InvalidPredicate { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Predicate> {
    let (on, rest) = match text.strip_prefix('@') {
        None => (On::Itself, text),
        Some(related) => {
            let (who, rest) = related.split_once(char::is_whitespace)?;
            let on = match who {
                "parent" => On::Parent,
                "owner" => On::Owner,
                path => On::NamedBy(Path::new(path).ok()?),
            };
            (on, rest.trim_start())
        }
    };
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '!' | '<' | '>'))?;
    let (path, rest) = rest.split_at(end);
    let path = Pattern::new(path).ok()?;
    Some(Predicate { on, path, test: parse_test(rest.trim())? })
}

fn parse_test(text: &str) -> Option<Test> {
    if text == "known" {
        return Some(Test::Known);
    }
    if let Some(set) = text.strip_prefix("in") {
        let inner = set.trim().strip_prefix('{')?.strip_suffix('}')?;
        let values: BTreeSet<Value> =
            inner.split(',').map(str::trim).map(Value::from_text).collect();
        return (!inner.trim().is_empty()).then_some(Test::In(values));
    }
    let split = text.find(|c: char| !matches!(c, '=' | '!' | '<' | '>'))?;
    let (operator, value) = text.split_at(split);
    let value = Value::from_text(value.trim());
    match operator {
        "=" | "==" => Some(Test::In(BTreeSet::from([value]))),
        "!=" => Some(Test::Not(value)),
        "<" if value.as_number().is_some() => Some(Test::Below(value)),
        "<=" if value.as_number().is_some() => Some(Test::AtMost(value)),
        ">" if value.as_number().is_some() => Some(Test::Above(value)),
        ">=" if value.as_number().is_some() => Some(Test::AtLeast(value)),
        _ => None,
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.on {
            On::Itself => {}
            On::Parent => f.write_str("@parent ")?,
            On::Owner => f.write_str("@owner ")?,
            On::NamedBy(path) => write!(f, "@{path} ")?,
        }
        write!(f, "{} {}", self.path, self.test)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(values) if values.len() == 1 => {
                values.iter().try_for_each(|value| write!(f, "= {value}"))
            }
            Self::In(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "in {{{}}}", values.join(", "))
            }
            Self::Not(value) => write!(f, "!= {value}"),
            Self::Known => f.write_str("known"),
            Self::Below(limit) => write!(f, "< {limit}"),
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::Above(limit) => write!(f, "> {limit}"),
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_are_read_as_written() {
        for text in [
            "/physState = POWER_ON",
            "/x != 0",
            "/x in {A, B}",
            "/t < 80",
            "/t >= 0.5",
            "/services/*/state known",
            "@parent /physState = POWER_ON",
            "@/rack/pdu /state = ON",
        ] {
            let predicate: Predicate = text.parse().unwrap();
            assert_eq!(predicate.to_string(), text);
        }
        assert_eq!("/x=A".parse::<Predicate>().unwrap().to_string(), "/x = A");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "/x", "x = 1", "/x ~ 1", "/x in {}", "/x in A", "/t < hot", "@who /x = 1"]
        {
            assert!(text.parse::<Predicate>().is_err(), "{text}");
        }
    }

    #[test]
    fn tests_hold_of_what_they_say_and_never_of_the_unknown() {
        for (test, value, expected) in [
            ("/x = A", Some(Value::from("A")), true),
            ("/x in {A, B}", Some("B".into()), true),
            ("/x in {A, B}", Some("C".into()), false),
            ("/x != A", Some("B".into()), true),
            ("/x != A", None, false),
            ("/x known", None, false),
            ("/x < 3", Some(2.into()), true),
            ("/x < 3", Some("2".into()), false),
            ("/x <= 3", Some(3.into()), true),
            ("/x > 3", Some(3.into()), false),
            ("/x >= 3", Some(3.into()), true),
        ] {
            let predicate: Predicate = test.parse().unwrap();
            assert_eq!(predicate.test.holds(value.as_ref()), expected, "{test} {value:?}");
        }
    }
}
