//! The query of a request: every parameter is taken by name, and what nobody took is an error, so
//! that a misspelt filter never selects everything.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use kraken_engine::{id::Name, nodeset, selector::Selector};

use crate::problem::Problem;

/// The parameters of a request that nobody has taken yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

/// Which objects of a family a request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    Selector(Selector),
    Names(Vec<Name>),
}

impl Query {
    /// The parameters as they came; one that comes twice is refused.
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut taken = BTreeMap::new();
        for (name, value) in pairs {
            if taken.insert(name.clone(), value).is_some() {
                return Err(Problem::query(&name, "it is given twice"));
            }
        }
        Ok(Self(taken))
    }

    /// Whether a parameter is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a parameter is there with this value.
    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_some_and(|given| given == value)
    }

    /// Takes a parameter.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a parameter and reads it.
    pub(crate) fn parse<T: FromStr<Err: Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        let text = self.take(name);
        text.map(|text| text.parse().map_err(|error| Problem::query(name, error))).transpose()
    }

    /// Takes a parameter that is true or false; given without a value it is true.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => {
                Err(Problem::query(name, format!("{other:?} is neither true nor false")))
            }
        }
    }

    /// Takes a parameter that is one of a few words.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.map(Some).ok_or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Problem::query(name, format!("{text:?} is not one of {}", known.join(", ")))
        })
    }

    /// Takes `selector` or `names`.
    pub(crate) fn which(&mut self) -> Result<Which, Problem> {
        let selector = self.take("selector");
        match (self.take("names"), selector) {
            (Some(_), Some(_)) => {
                Err(Problem::query("names", "give either names or a selector, not both"))
            }
            (Some(names), None) => Which::names(&names),
            (None, Some(selector)) => Which::selector("selector", &selector),
            (None, None) => Ok(Which::All),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn done(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::query(&name, "it is not known here; see docs/http.md")),
        }
    }
}

impl Which {
    /// Reads a node set, or `@` and a selector.
    pub(crate) fn names(text: &str) -> Result<Self, Problem> {
        match text.strip_prefix('@') {
            Some(selector) => Self::selector("names", selector),
            None => nodeset::expand(text)
                .map(Self::Names)
                .map_err(|error| Problem::query("names", error)),
        }
    }

    fn selector(parameter: &str, text: &str) -> Result<Self, Problem> {
        text.parse().map(Self::Selector).map_err(|error| Problem::query(parameter, error))
    }
}
