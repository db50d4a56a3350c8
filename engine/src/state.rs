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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Path, Value>", into = "BTreeMap<Path, Value>")]
pub struct State(BTreeMap<Path, Value>);

impl State {
    /// A state without paths.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value at a path.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.0.get(path)
    }

    /// Sets a path; refused where the shape forbids it.
    pub fn set(&mut self, path: Path, value: Value) -> Result<(), ShapeError> {
        if let Some(held) = self.0.get_mut(&path) {
            *held = value;
            return Ok(());
        }
        let mut ancestor = path.parent();
        while let Some(above) = ancestor {
            if self.0.contains_key(&above) {
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
        self.0.insert(path, value);
        Ok(())
    }

    /// Removes a path and all below it; returns how many values went.
    pub fn unset(&mut self, path: &Path) -> usize {
        let gone: Vec<Path> = self.under(path).map(|(path, _)| path.clone()).collect();
        for path in &gone {
            self.0.remove(path);
        }
        gone.len()
    }

    /// The paths at and below `top` with their values, in order.
    pub fn under<'a>(&'a self, top: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Value)> {
        self.0.range(top.clone()..).take_while_in(top)
    }

    /// All paths with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Value)> {
        self.0.iter()
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
        let mut state = Self::new();
        for (path, value) in map {
            state.set(path, value)?;
        }
        Ok(state)
    }
}

impl From<State> for BTreeMap<Path, Value> {
    fn from(state: State) -> Self {
        state.0
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
    fn the_limit_of_paths_holds() {
        let mut state = State::new();
        for index in 0..STATE_PATHS_MAX {
            state.set(path(&format!("/p/{index}")), true.into()).unwrap();
        }
        assert_eq!(state.set(path("/q"), true.into()), Err(ShapeError::Full));
        state.set(path("/p/0"), false.into()).unwrap();
    }
}
