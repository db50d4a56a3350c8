//! `kraken module new`: a package with a module that runs and is tested, to begin one's own with.
//! It is `examples/skeleton.rs`, which is compiled and tested with the rest, under another name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{console::Console, exit::Failure};

/// The module that is copied.
const SKELETON: &str = include_str!("../../../examples/skeleton.rs");
/// The versions that this release is built and tested with.
const LOCK: &str = include_str!("../../../Cargo.lock");
/// By what a folder is known as the source of Kraken.
const MARK: &str = "actors/src/module.rs";
/// Longest name of a module that is made, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Makes a package with a module of your own, with its tests
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name: lower case letters, digits and `-`
    #[arg(value_parser = read_name)]
    name: String,
    /// The folder in which it is made, as one of its name
    #[arg(long = "in", value_name = "FOLDER", default_value = ".")]
    parent: PathBuf,
    /// The source of Kraken, which it is built with [default: the one that FOLDER lies in]
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

/// A name that is one of a package, of a module and, in capitals, of a type.
fn read_name(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let is_name = begins && text.bytes().all(is_inner) && !text.ends_with('-');
    if !is_name || text.contains("--") || text.len() > NAME_BYTES_MAX {
        return Err("start with a lower case letter, then letters, digits and single -".to_owned());
    }
    let taken = kraken_modules::builtin().iter().any(|module| module.manifest().module == text);
    if taken {
        Err("the release brings a module of that name".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

impl Args {
    /// Makes it.
    pub(super) fn run(self, console: &Console) -> Result<(), Failure> {
        let sdk = self.sdk()?;
        let folder = self.parent.join(&self.name);
        if folder.exists() {
            let words = format!("{} is there already", folder.display());
            return Err(Failure::failed(words).hint("give another name, or another folder by --in"));
        }
        let named = || format!("cannot write to {}", folder.display());
        fs::create_dir_all(folder.join("src")).with_context(named)?;
        for (file, text) in [
            ("Cargo.toml", manifest(&self.name, &sdk)),
            // Cargo leaves out of it what the package does not need, and adds the package.
            ("Cargo.lock", LOCK.to_owned()),
            ("src/main.rs", source(&self.name)),
        ] {
            fs::write(folder.join(file), text).with_context(named)?;
            console.print(folder.join(file).display().to_string())?;
        }
        console.note(format!(
            "now: cd {} && cargo test\n\
             it is a whole kraken with the module {} beside the others: cargo run -- up",
            folder.display(),
            self.name
        ));
        Ok(())
    }

    /// The source of Kraken.
    fn sdk(&self) -> Result<PathBuf, Failure> {
        let is_source = |folder: &Path| folder.join(MARK).is_file();
        if let Some(sdk) = &self.sdk {
            let sdk = sdk.canonicalize().unwrap_or_else(|_| sdk.clone());
            return if is_source(&sdk) {
                Ok(sdk)
            } else {
                Err(Failure::usage(format!("{} is not the source of Kraken", sdk.display())))
            };
        }
        let parent = self.parent.canonicalize();
        let parent = parent.with_context(|| format!("cannot use {}", self.parent.display()))?;
        let found = parent.ancestors().find(|folder| is_source(folder));
        found.map(Path::to_owned).ok_or_else(|| {
            Failure::usage(format!("{} does not lie in the source of Kraken", parent.display()))
                .hint("say where that is: --sdk FOLDER")
        })
    }
}

fn source(name: &str) -> String {
    SKELETON.replace("skeleton", name).replace("Skeleton", &camel(name))
}

/// `door-lock` as `DoorLock`.
fn camel(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    };
    name.split('-').map(word).collect()
}

fn manifest(name: &str, sdk: &Path) -> String {
    let at = |folder: &str| {
        let path = if folder.is_empty() { sdk.to_owned() } else { sdk.join(folder) };
        toml::Value::String(path.display().to_string())
    };
    format!(
        "[package]\n\
         name = \"{name}\"\n\
         version = \"0.1.0\"\n\
         edition = \"2024\"\n\
         publish = false\n\
         \n\
         [dependencies]\n\
         actix = {{ version = \"=0.13.5\", default-features = false, features = [\"macros\"] }}\n\
         kraken = {{ path = {} }}\n\
         kraken-actors = {{ path = {} }}\n\
         kraken-engine = {{ path = {} }}\n\
         \n\
         [dev-dependencies]\n\
         kraken-actors = {{ path = {}, features = [\"testing\"] }}\n\
         \n\
         # A workspace of its own, wherever it lies.\n\
         [workspace]\n",
        at(""),
        at("actors"),
        at("engine"),
        at("actors"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_packages_and_of_no_module_that_there_is() {
        for name in ["lamp", "door-lock", "a1"] {
            assert_eq!(read_name(name).as_deref(), Ok(name));
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", "Lamp", "1a", "a_b", "a-", "a--b", "../a", "service", &long] {
            assert!(read_name(name).is_err(), "{name}");
        }
        assert!(read_name(&"x".repeat(NAME_BYTES_MAX)).is_ok());
    }

    #[test]
    fn the_copy_has_its_own_name_throughout() {
        let source = source("door-lock");
        assert!(source.contains("struct DoorLock(Kit);") && source.contains("\"/door-lock\""));
        assert!(!source.to_lowercase().contains("skeleton"));
        let manifest: toml::Table = manifest("a", Path::new("/my \"src\"")).parse().unwrap();
        assert_eq!(manifest["dependencies"]["kraken"]["path"].as_str(), Some("/my \"src\""));
    }
}
