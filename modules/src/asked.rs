//! Reading what Cfg asks of the things that a module keeps by name below one path, such as
//! `/files/motd/content`. What the schema would have refused counts as absent.

use std::collections::BTreeSet;

use kraken_engine::{path::Path, state::State, value::Value};

/// A variable that is not ours to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable {variable:?} in {path}: there are {known}")]
pub(crate) struct UnknownVariable {
    path: String,
    variable: String,
    known: String,
}

/// One named thing in a Cfg.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The Cfg of the object.
    pub(crate) cfg: &'a State,
    /// The path above the names, as `/files`.
    pub(crate) top: &'a str,
    /// The name.
    pub(crate) name: &'a str,
}

/// The names below a path, in order, right or wrong.
pub(crate) fn names(cfg: &State, top: &str) -> BTreeSet<String> {
    let Ok(top) = Path::new(top) else { return BTreeSet::new() };
    let depth = top.segments().count();
    let names = cfg.under(&top).filter_map(|(path, _)| path.segments().nth(depth));
    names.map(str::to_owned).collect()
}

impl<'a> Asked<'a> {
    /// The value at a key.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.cfg.get(&format!("{}/{}/{key}", self.top, self.name))
    }

    /// The text at a key.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.value(key).and_then(Value::as_str)
    }

    /// The number at a key, which is none below zero.
    pub(crate) fn count(&self, key: &str) -> Option<u64> {
        self.value(key).and_then(Value::as_int).and_then(|count| u64::try_from(count).ok())
    }

    /// The keys below a key with their texts.
    pub(crate) fn below(&self, key: &str) -> Vec<(&'a str, &'a str)> {
        let Ok(top) = Path::new(format!("{}/{}/{key}", self.top, self.name)) else {
            return Vec::new();
        };
        let depth = top.segments().count();
        let found = self
            .cfg
            .iter()
            .filter(|(path, _)| path.is_under(&top))
            .filter_map(|(path, value)| Some((path.segments().nth(depth)?, value.as_str()?)));
        found.collect()
    }

    /// The text at a key with our variables put in.
    pub(crate) fn expanded(
        &self,
        key: &str,
        variables: &[(&str, &str)],
    ) -> Result<Option<String>, UnknownVariable> {
        self.text(key).map(|text| self.expand(key, text, variables)).transpose()
    }

    /// The texts at a key with our variables put in.
    pub(crate) fn expanded_texts(
        &self,
        key: &str,
        variables: &[(&str, &str)],
    ) -> Result<Option<Vec<String>>, UnknownVariable> {
        let expand = |items: &[Value]| {
            let texts = items.iter().filter_map(Value::as_str);
            texts.map(|text| self.expand(key, text, variables)).collect()
        };
        self.value(key).and_then(Value::as_list).map(expand).transpose()
    }

    /// Puts our variables into a text: `${node.name}` and what else is given. A `${x}` of another
    /// family is left to the shell that may be meant.
    pub(crate) fn expand(
        &self,
        key: &str,
        text: &str,
        variables: &[(&str, &str)],
    ) -> Result<String, UnknownVariable> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, tail) = rest.split_at(start);
            out.push_str(before);
            let end = tail.find('}').map_or(tail.len(), |end| end + 1);
            let (variable, after) = tail.split_at(end);
            match self.replacement(key, variable, variables)? {
                Some(value) => out.push_str(value),
                None => out.push_str(variable),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn replacement<'v>(
        &self,
        key: &str,
        variable: &str,
        variables: &[(&str, &'v str)],
    ) -> Result<Option<&'v str>, UnknownVariable> {
        let name = variable.trim_start_matches("${").trim_end_matches('}');
        if let Some((_, value)) = variables.iter().find(|(known, _)| *known == name) {
            return Ok(Some(value));
        }
        let family = name.split_once('.').map(|(family, _)| family);
        let ours =
            |(known, _): &(&str, &str)| known.split_once('.').map(|(head, _)| head) == family;
        if family.is_none() || !variables.iter().any(ours) {
            return Ok(None);
        }
        let known: Vec<String> =
            variables.iter().map(|(known, _)| format!("${{{known}}}")).collect();
        Err(UnknownVariable {
            path: format!("{}/{}/{key}", self.top, self.name),
            variable: variable.to_owned(),
            known: known.join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VARIABLES: [(&str, &str); 2] = [("node.name", "n1"), ("file.name", "motd")];

    fn cfg(pairs: &[(&str, Value)]) -> State {
        let mut state = State::new();
        for (path, value) in pairs {
            state.set(Path::new(path).unwrap(), value.clone()).unwrap();
        }
        state
    }

    #[test]
    fn names_are_those_below_the_path_and_no_others() {
        let cfg = cfg(&[
            ("/files/a/content", "x".into()),
            ("/files/a/mode", "0600".into()),
            ("/files/b/content", "x".into()),
            ("/filesystem/c/content", "x".into()),
        ]);
        assert_eq!(names(&cfg, "/files"), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(&cfg, "/none"), BTreeSet::new());
    }

    #[test]
    fn variables_are_put_in_and_those_of_others_are_left() {
        let state = State::new();
        let asked = Asked { cfg: &state, top: "/files", name: "motd" };
        for (text, expected) in [
            ("plain", "plain"),
            ("${node.name}-${file.name}", "n1-motd"),
            ("${HOME} $x ${a.b} ${", "${HOME} $x ${a.b} ${"),
            ("${node.name", "n1"),
        ] {
            assert_eq!(asked.expand("content", text, &VARIABLES).unwrap(), expected);
        }
        let error = asked.expand("content", "${node.nmae}", &VARIABLES).unwrap_err();
        let expected = "unknown variable \"${node.nmae}\" in /files/motd/content: there are \
                        ${node.name}, ${file.name}";
        assert_eq!(error.to_string(), expected);
    }

    proptest! {
        #[test]
        fn no_text_makes_expansion_panic(text in "[${}a-z.ä]{0,40}") {
            let state = State::new();
            let asked = Asked { cfg: &state, top: "/files", name: "x" };
            drop(asked.expand("content", &text, &VARIABLES));
        }
    }
}
