//! Texts that occur again and again, held once: a fleet of a hundred thousand machines has the same
//! few dozen paths, names and values of enumerations a million times. What comes out is equal to
//! what went in, whatever is held; nothing else can tell that there is this module.
//!
//! Each thread holds its own, at most [`SLOTS`] texts of at most [`TEXT_BYTES_MAX`] bytes: a table
//! in which a text has one place and the newcomer wins it.

use std::{cell::RefCell, fmt, marker::PhantomData, sync::Arc};

use serde::de;
use xxhash_rust::xxh3::xxh3_64;

/// Texts that a thread holds at most; a power of two.
const SLOTS: usize = 4_096;
/// Longer texts are not held, in bytes: they are rarely the same.
const TEXT_BYTES_MAX: usize = 64;

thread_local! {
    static HELD: RefCell<Vec<Option<Arc<str>>>> = const { RefCell::new(Vec::new()) };
}

/// The text, shared with whoever else holds it where that is known.
pub(crate) fn intern(text: &str) -> Arc<str> {
    if text.len() > TEXT_BYTES_MAX {
        return text.into();
    }
    // Fails only while the thread ends.
    HELD.try_with(|held| shared(&mut held.borrow_mut(), text)).unwrap_or_else(|_| text.into())
}

fn shared(held: &mut Vec<Option<Arc<str>>>, text: &str) -> Arc<str> {
    if held.is_empty() {
        held.resize(SLOTS, None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
    let place = xxh3_64(text.as_bytes()) as usize % SLOTS;
    match &held[place] {
        Some(known) if **known == *text => known.clone(),
        Some(_) | None => {
            let new: Arc<str> = text.into();
            held[place] = Some(new.clone());
            new
        }
    }
}

/// Reads what is written as a text, without a copy of its own.
pub(crate) struct TextVisitor<T, E>(fn(&str) -> Result<T, E>, PhantomData<T>);

impl<T, E> TextVisitor<T, E> {
    /// Reads it with `take`.
    pub(crate) fn new(take: fn(&str) -> Result<T, E>) -> Self {
        Self(take, PhantomData)
    }
}

impl<T, E: fmt::Display> de::Visitor<'_> for TextVisitor<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<F: de::Error>(self, text: &str) -> Result<T, F> {
        self.0(text).map_err(F::custom)
    }
}

/// Writes a type as its text and reads it with its `new`.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str($crate::intern::TextVisitor::new(|text| Self::new(text)))
            }
        }
    };
}

pub(crate) use serde_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_short_text_is_held_once() {
        let (one, other) = (intern("/physState"), intern("/physState"));
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(&*one, "/physState");
    }

    #[test]
    fn every_text_comes_out_as_it_went_in() {
        for number in 0..4 * SLOTS {
            let text = format!("{number}").repeat(1 + number % 40);
            assert_eq!(&*intern(&text), text);
        }
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert!(!Arc::ptr_eq(&intern(&long), &intern(&long)));
    }

    #[test]
    fn what_is_read_is_checked() {
        let read = |bytes: Vec<u8>| rmp_serde::from_slice::<crate::path::Path>(&bytes);
        let written = |text: &str| rmp_serde::to_vec(text).unwrap();
        assert_eq!(read(written("/a/b")).unwrap().as_str(), "/a/b");
        assert!(read(written("a")).unwrap_err().to_string().contains("it must start with `/`"));
        let number = read(rmp_serde::to_vec(&7).unwrap());
        assert!(number.unwrap_err().to_string().contains("expected a string"));
    }
}
