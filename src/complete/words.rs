//! The words that were typed up to the cursor, and what the earlier ones say about the last one.

use std::ffi::OsString;

use kraken_engine::manifest::NODE_KIND;

use super::shell::Shell;
use crate::fleet;

/// Longest line that is looked at, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What was typed: the program, then its arguments; the last one is still being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// As a shell gives them.
    pub(super) fn read(shell: Shell, mut given: impl Iterator<Item = String>) -> Option<Self> {
        let words: Vec<String> = match shell {
            Shell::Bash => split(&given.next().filter(|line| line.len() <= LINE_BYTES_MAX)?),
            Shell::Zsh | Shell::Fish => given.collect(),
        };
        (words.len() > 1).then_some(Self(words))
    }

    pub(super) fn as_os(&self) -> Vec<OsString> {
        self.0.iter().map(OsString::from).collect()
    }

    /// The place of the last one.
    pub(super) fn index(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// The one that is being typed.
    pub(super) fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The value of an option, as `--name VALUE` or `--name=VALUE`; the last one where it was given
    /// several times.
    pub(super) fn option(&self, names: &[&str]) -> Option<&str> {
        let (_, typed) = self.0.split_last()?;
        let followed = typed.windows(2).filter_map(|pair| match pair {
            [name, value] if names.contains(&name.as_str()) => Some(value.as_str()),
            _ => None,
        });
        let joined = typed.iter().filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            names.contains(&name).then_some(value)
        });
        followed.chain(joined).last()
    }

    /// The kind that is spoken of: of `--kind`, or of `get KIND`; else nodes.
    pub(super) fn kind(&self) -> &str {
        let after_get = || match self.plain().as_slice() {
            ["get", kind, _, ..] => Some(*kind),
            _ => None,
        };
        fleet::kind(self.option(&["-k", "--kind"]).or_else(after_get).unwrap_or(NODE_KIND))
    }

    /// What the verb is about: its kind and which ones.
    pub(super) fn which(&self) -> (&str, &str) {
        let which = self.plain().get(1).copied().unwrap_or_default();
        match which.split_once('/') {
            Some((kind, name)) if !which.starts_with('@') => (kind, name),
            _ => ("node", which),
        }
    }

    /// The words that are neither the program nor options of all verbs.
    fn plain(&self) -> Vec<&str> {
        let mut words = self.0.iter().skip(1).map(String::as_str);
        let mut plain = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "--server" | "--context" | "--request-timeout" | "-o" | "--output" | "-k"
                | "--kind" => drop(words.next()),
                word if word.starts_with('-') && word.len() > 1 => {}
                word => plain.push(word),
            }
        }
        plain
    }
}

/// Splits a line as a shell does; a quote that is still open ends with the line.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, char) => word.get_or_insert_default().push(char),
        }
    }
    words.push(word.unwrap_or_default());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Words {
        Words::read(Shell::Bash, std::iter::once(line.to_owned())).unwrap()
    }

    #[test]
    fn a_line_is_split_as_a_shell_does() {
        for (line, expected) in [
            ("kraken get ", vec!["kraken", "get", ""]),
            ("kraken set n1 a/b=\"x y\" c", vec!["kraken", "set", "n1", "a/b=x y", "c"]),
            ("kraken why 'n 1", vec!["kraken", "why", "n 1"]),
            ("kraken why n\\ 1", vec!["kraken", "why", "n 1"]),
            ("kraken why ''", vec!["kraken", "why", ""]),
        ] {
            assert_eq!(words(line).0, expected, "{line}");
        }
    }

    #[test]
    fn earlier_words_say_what_the_last_one_is_about() {
        for (line, kind, which) in [
            ("kraken get nodes n", "node", ("node", "nodes")),
            ("kraken get policy w", "policy", ("node", "policy")),
            ("kraken --server http://h:1 describe -k policy w", "policy", ("node", "w")),
            ("kraken set policy/web a", "node", ("policy", "web")),
            ("kraken set @path=a/b a", "node", ("node", "@path=a/b")),
            ("kraken why --kind=rack r", "rack", ("node", "r")),
        ] {
            assert_eq!((words(line).kind(), words(line).which()), (kind, which), "{line}");
        }
        let twice = words("kraken --server a --server=b get ");
        assert_eq!(twice.option(&["--server"]), Some("b"));
        assert_eq!(words("kraken get --server ").option(&["--server"]), None);
    }
}
