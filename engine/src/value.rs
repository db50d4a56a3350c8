//! The values that states hold. Totally ordered and finite, so that they may be keys and so that
//! two replicas never disagree whether two values are equal.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::intern::intern;

/// Longest string value in bytes.
pub const STRING_BYTES_MAX: usize = 1 << 20;
/// Most items of a list value.
pub const LIST_ITEMS_MAX: usize = 4_096;

/// One value of a path. JSON at the edges; there is no null, absence being its own thing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number with a fraction.
    Float(Finite),
    /// Text, and every value of an enumeration.
    Str(Arc<str>),
    /// An ordered list.
    List(Arc<[Value]>),
}

/// A finite float: neither NaN nor infinite, and never -0.
#[derive(Clone, Copy, Debug)]
pub struct Finite(f64);

impl Finite {
    /// Takes a finite number; `None` for NaN and the infinities.
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(if number == 0.0 { 0.0 } else { number }))
    }

    /// The number itself.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Finite {}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl std::hash::Hash for Finite {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.0.to_bits().hash(hasher);
    }
}

impl Value {
    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::List(_) => None,
        }
    }

    /// The number of an integer value.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bool(_) | Self::Float(_) | Self::Str(_) | Self::List(_) => None,
        }
    }

    /// The truth of a boolean value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            Self::Int(_) | Self::Float(_) | Self::Str(_) | Self::List(_) => None,
        }
    }

    /// The number of an integer or float value, for comparisons.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "compared as a measurement, not kept")]
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(number.get()),
            Self::Bool(_) | Self::Str(_) | Self::List(_) => None,
        }
    }

    /// The items of a list value.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Str(_) => None,
        }
    }

    /// Reads a value as a person types it: `true`, `7`, `0.5`, else text.
    pub fn from_text(text: &str) -> Self {
        if let Ok(truth) = text.parse() {
            return Self::Bool(truth);
        }
        if let Ok(number) = text.parse() {
            return Self::Int(number);
        }
        let looks_numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
        match text.parse().ok().filter(|_| looks_numeric).and_then(Finite::new) {
            Some(number) => Self::Float(number),
            None => text.into(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(intern(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(intern(&text))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self::List(items.into_iter().collect())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(truth) => truth.fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{:?}", number.get()),
            Self::Str(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => write!(f, "{text:?}"),
            Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::List(_) => {
                fmt::Display::fmt(self, f)
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(number.get()),
            Self::Str(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, a string or a list of these")
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number)
            .map(Value::Int)
            .map_err(|_| E::custom(format!("{number} is too large: the limit is {}", i64::MAX)))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        let finite = Finite::new(number).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Value::Float(finite))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        if text.len() > STRING_BYTES_MAX {
            return Err(E::custom(format!("a string is limited to {STRING_BYTES_MAX} bytes")));
        }
        Ok(text.into())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == LIST_ITEMS_MAX {
                return Err(de::Error::custom(format!(
                    "a list is limited to {LIST_ITEMS_MAX} items"
                )));
            }
            items.push(item);
        }
        Ok(Value::List(items.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_text_becomes_the_narrowest_value() {
        assert_eq!(Value::from_text("true"), Value::Bool(true));
        assert_eq!(Value::from_text("-7"), Value::Int(-7));
        assert_eq!(Value::from_text("0.5"), Value::Float(Finite(0.5)));
        assert_eq!(Value::from_text("nan"), "nan".into());
        assert_eq!(Value::from_text("POWER_ON"), "POWER_ON".into());
    }

    #[test]
    fn values_survive_the_wire() {
        let list: Value = [Value::Int(1), "a".into(), Value::Bool(false)].into_iter().collect();
        let bytes = rmp_serde::to_vec_named(&list).unwrap();
        assert_eq!(rmp_serde::from_slice::<Value>(&bytes).unwrap(), list);
    }

    #[test]
    fn minus_zero_is_zero_and_nan_is_refused() {
        assert_eq!(Finite::new(-0.0), Finite::new(0.0));
        assert!(Finite::new(f64::NAN).is_none());
    }
}
