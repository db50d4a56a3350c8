//! The fleets that a person knows by name, in a file of theirs: each name stands for the servers of
//! one fleet, and one of them may be the one that is meant unless another is named.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use kraken_engine::id::Name;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// The file, below the folder of the person's configuration.
const FILE: &str = "kraken/contexts.toml";
/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most contexts.
pub(crate) const CONTEXTS_MAX: usize = 1_000;

/// The contexts of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is meant where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Name>,
    /// All of them.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<Name, Context>,
}

/// One fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Its servers.
    pub(crate) servers: Vec<String>,
}

/// Where the contexts are kept.
#[derive(Debug, Clone)]
pub(crate) struct Place(Option<PathBuf>);

impl Place {
    /// As the environment of this process says.
    pub(crate) fn of_process() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    /// Below `$XDG_CONFIG_HOME`, which counts only where it is absolute, else below
    /// `$HOME/.config`.
    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        let own = variable("XDG_CONFIG_HOME").and_then(absolute);
        let home = || Some(variable("HOME").and_then(absolute)?.join(".config"));
        Self(own.or_else(home).map(|folder| folder.join(FILE)))
    }

    /// A file.
    #[cfg(test)]
    pub(crate) fn at(file: PathBuf) -> Self {
        Self(Some(file))
    }

    /// The file, for people.
    pub(crate) fn shown(&self) -> String {
        self.0.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string())
    }

    /// Reads the contexts; none where there is no file.
    pub(crate) fn read(&self) -> Result<Contexts, Failure> {
        let Some(file) = &self.0 else { return Ok(Contexts::default()) };
        let mistaken = |error: anyhow::Error| Failure::from(error).exiting(Exit::Usage);
        let Some(text) = text(file).map_err(mistaken)? else { return Ok(Contexts::default()) };
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let (file, line) = (file.display(), before.matches('\n').count() + 1);
            Failure::usage(format!("{file}: line {line}: {}", error.message()))
        })
    }

    /// Writes the contexts: all of them, or nothing is changed.
    pub(crate) fn write(&self, contexts: &Contexts) -> Result<(), Failure> {
        let Some(file) = &self.0 else {
            let words = "there is no place for contexts: neither XDG_CONFIG_HOME nor HOME is set";
            return Err(Failure::usage(words));
        };
        let text = toml::to_string(contexts).context("cannot write contexts as TOML")?;
        put(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(())
    }
}

impl Contexts {
    /// The servers of a context.
    pub(crate) fn servers(&self, name: &Name, place: &Place) -> Result<Vec<String>, Failure> {
        let context = self.contexts.get(name).ok_or_else(|| self.missing(name, place))?;
        Ok(context.servers.clone())
    }

    /// Says that there is no such context, and which one may have been meant.
    pub(crate) fn missing(&self, name: &Name, place: &Place) -> Failure {
        let known = self.contexts.keys().map(Name::as_str);
        let near = kraken_engine::nearest::nearest(name.as_str(), known);
        let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        Failure::usage(format!("there is no context {name} in {}{near}", place.shown()))
            .hint("see which there are: kraken context list")
    }
}

/// A file that may not be there.
fn text(file: &Path) -> anyhow::Result<Option<String>> {
    let named = || format!("cannot read {}", file.display());
    let opened = match fs::File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(named),
    };
    let mut text = String::new();
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(named)?;
    if u64::try_from(read).is_ok_and(|read| read > FILE_BYTES_MAX) {
        anyhow::bail!("{} is over the limit of {FILE_BYTES_MAX} bytes", file.display());
    }
    Ok(Some(text))
}

/// Puts a text in the place of a file at once, so that nobody reads half of it.
fn put(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().context("it has no folder")?;
    fs::create_dir_all(folder)?;
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    part.write_all(text.as_bytes())?;
    part.as_file().sync_all()?;
    part.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> String {
        let of = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Place::of(of).shown()
    }

    #[test]
    fn the_file_lies_where_people_keep_their_configuration() {
        for (variables, expected) in [
            (vec![("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")], "/c/kraken/contexts.toml"),
            (vec![("XDG_CONFIG_HOME", "c"), ("HOME", "/h")], "/h/.config/kraken/contexts.toml"),
            (vec![("XDG_CONFIG_HOME", ""), ("HOME", "/h")], "/h/.config/kraken/contexts.toml"),
            (vec![], "no file"),
        ] {
            assert_eq!(place(&variables), expected);
        }
    }

    #[test]
    fn contexts_are_kept_and_mistakes_in_the_file_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place(Some(folder.path().join("a/contexts.toml")));
        assert_eq!(place.read().unwrap(), Contexts::default());
        let name = |text: &str| Name::new(text).unwrap();
        let servers = vec!["http://h:1".to_owned()];
        let contexts = [(name("lab"), Context { servers: servers.clone() })].into();
        let contexts = Contexts { current: Some(name("lab")), contexts };
        place.write(&contexts).unwrap();
        assert_eq!(place.read().unwrap(), contexts);
        assert_eq!(contexts.servers(&name("lab"), &place).unwrap(), servers);
        let missing = contexts.servers(&name("lap"), &place).unwrap_err();
        assert!(missing.words().unwrap().contains("(did you mean lab?)"), "{missing:?}");
        for (text, expected) in [
            ("curent = \"lab\"\n", "line 1"),
            ("[contexts.lab]\nservers = 7\n", "line 2"),
            (&"#".repeat((1 << 20) + 1), "over the limit"),
        ] {
            fs::write(folder.path().join("a/contexts.toml"), text).unwrap();
            let failure = place.read().unwrap_err();
            assert!(failure.words().unwrap().contains(expected), "{failure:?}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
    }
}
