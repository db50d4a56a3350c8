//! A state: an ordered map from path to value, as Cfg holds it.
//!
//! A path that holds a value has no children; setting one that would break this is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{path::Path, value::Value};

/// Most paths of one state.
pub const STATE_PATHS_MAX: usize = 4_096;

/// A write would break the shape of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The path lies below one that holds a value.
    #[error("{path} cannot be set: {holder} holds a value")]
    BelowValue {
        /// The path that was to be set.
        path: Path,
        /// The ancestor that holds a value.
        holder: Path,
    },
    /// The path has children.
    #[error("{path} cannot hold a value: {child} lies below it")]
    AboveValue {
        /// The path that was to be set.
        path: Path,
        /// One path below it.
        child: Path,
    },
    /// More than [`STATE_PATHS_MAX`] paths.
    #[error("a state is limited to {STATE_PATHS_MAX} paths")]
    Full,
}

/// An ordered map from path to value.
///
/// It is held as a list: most states have a few paths, and there are as many states as objects. A
/// node of a tree has room for eleven, half a kilobyte of it empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Path, Value>", into = "BTreeMap<Path, Value>")]
pub struct State(
    /// In order of path, each once.
    Vec<(Path, Value)>,
);

impl State {
    /// A state without paths.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value at a path.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let place = self.place(path).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// Where a path is, or where it would be.
    fn place(&self, path: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| held.as_str().cmp(path))
    }

    /// Sets a path; refused where the shape forbids it.
    pub fn set(&mut self, path: Path, value: Value) -> Result<(), ShapeError> {
        let place = match self.place(path.as_str()) {
            Ok(place) => {
                self.0[place].1 = value;
                return Ok(());
            }
            Err(place) => place,
        };
        let mut ancestor = path.parent();
        while let Some(above) = ancestor {
            if self.place(above.as_str()).is_ok() {
                return Err(ShapeError::BelowValue { path, holder: above });
            }
            ancestor = above.parent();
        }
        let child = self.under(&path).next().map(|(child, _)| child.clone());
        if let Some(child) = child {
            return Err(ShapeError::AboveValue { path, child });
        }
        if self.0.len() == STATE_PATHS_MAX {
            return Err(ShapeError::Full);
        }
        if self.0.is_empty() {
            // Many have one and get no other.
            self.0.reserve_exact(1);
        }
        self.0.insert(place, (path, value));
        Ok(())
    }

    /// Removes a path and all below it; returns how many values went.
    pub fn unset(&mut self, path: &Path) -> usize {
        let before = self.0.len();
        self.0.retain(|(held, _)| !held.is_under(path));
        before - self.0.len()
    }

    /// The paths at and below `top` with their values, in order.
    pub fn under<'a>(&'a self, top: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Value)> {
        let from = self.place(top.as_str()).unwrap_or_else(|place| place);
        let rest = self.0.get(from..).unwrap_or_default();
        rest.iter().map(|(path, value)| (path, value)).take_while_in(top)
    }

    /// All paths with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Value)> {
        self.0.iter().map(|(path, value)| (path, value))
    }

    /// How many paths hold a value.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no path holds a value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Walking an ordered map of paths below one of them.
pub(crate) trait TakeWhileIn<'a, V: 'a>: Iterator<Item = (&'a Path, V)> + Sized {
    /// Keeps what is `top` or lies below it; stops past the last that could.
    fn take_while_in(self, top: &'a Path) -> impl Iterator<Item = (&'a Path, V)> {
        self.take_while(|(path, _)| path.as_str().starts_with(top.as_str()))
            .filter(|(path, _)| path.is_under(top))
    }
}

impl<'a, V: 'a, I: Iterator<Item = (&'a Path, V)>> TakeWhileIn<'a, V> for I {}

impl TryFrom<BTreeMap<Path, Value>> for State {
    type Error = ShapeError;
    fn try_from(map: BTreeMap<Path, Value>) -> Result<Self, ShapeError> {
        let mut state = Self(Vec::with_capacity(map.len().min(STATE_PATHS_MAX)));
        for (path, value) in map {
            state.set(path, value)?;
        }
        Ok(state)
    }
}

impl From<State> for BTreeMap<Path, Value> {
    fn from(state: State) -> Self {
        state.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::new(text).unwrap()
    }

    #[test]
    fn a_path_that_holds_a_value_has_no_children() {
        let mut state = State::new();
        state.set(path("/a/b"), 1.into()).unwrap();
        assert!(matches!(state.set(path("/a"), 1.into()), Err(ShapeError::AboveValue { .. })));
        assert!(matches!(state.set(path("/a/b/c"), 1.into()), Err(ShapeError::BelowValue { .. })));
        state.set(path("/a/bc"), 2.into()).unwrap();
        state.set(path("/a/b"), 3.into()).unwrap();
        assert_eq!(state.get("/a/b"), Some(&3.into()));
    }

    #[test]
    fn unset_takes_whole_subtrees_and_nothing_beside_them() {
        let mut state = State::new();
        for text in ["/a/b", "/a.b", "/a/c/d", "/ab"] {
            state.set(path(text), true.into()).unwrap();
        }
        assert_eq!(state.unset(&path("/a")), 2);
        let left: Vec<&str> = state.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(left, ["/a.b", "/ab"]);
    }

    #[test]
    fn paths_are_in_order_whatever_the_order_in_which_they_came() {
        let texts = ["/b", "/a/z", "/c/d", "/a.b", "/a/b", "/0"];
        let mut states = Vec::new();
        for first in 0..texts.len() {
            let mut state = State::new();
            for place in 0..texts.len() {
                let text = texts[(first + place) % texts.len()];
                state.set(path(text), text.into()).unwrap();
            }
            states.push(state);
        }
        let found: Vec<&str> = states[0].iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(found, ["/0", "/a.b", "/a/b", "/a/z", "/b", "/c/d"]);
        assert!(states.iter().all(|state| *state == states[0]));
        assert!(texts.iter().all(|text| states[0].get(text) == Some(&(*text).into())));
    }

    #[test]
    fn a_state_of_one_path_takes_the_room_of_one() {
        let mut state = State::new();
        state.set(path("/a"), 1.into()).unwrap();
        let read: State = BTreeMap::from(state.clone()).try_into().unwrap();
        assert_eq!((state.0.capacity(), read.0.capacity()), (1, 1));
    }

    #[test]
    fn the_limit_of_paths_holds() {
        let mut state = State::new();
        for index in 0..STATE_PATHS_MAX {
            state.set(path(&format!("/p/{index}")), true.into()).unwrap();
        }
        assert_eq!(state.set(path("/q"), true.into()), Err(ShapeError::Full));
        state.set(path("/p/0"), false.into()).unwrap();
    }
}
