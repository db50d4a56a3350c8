//! The files of the project: what git tracks, and what is new and not ignored, so that a violation
//! shows before it is committed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::lexer::Source;

/// A file that is text, its path relative to the root with `/` between its parts.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

/// The project as it lies on the disk.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads every text file; what is not UTF-8 is passed over.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let root = root();
        let mut files = Vec::new();
        for path in listed(&root)? {
            let Ok(bytes) = std::fs::read(root.join(&path)) else { continue };
            let Ok(text) = String::from_utf8(bytes) else { continue };
            files.push(File { path, text });
        }
        Ok(Self { files })
    }

    /// The text of one file, if it is there.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// Every Rust file, lexed, with the ones that hold only tests marked.
    pub(crate) fn rust_files(&self) -> anyhow::Result<Vec<RustFile>> {
        let mut files = self
            .files
            .iter()
            .filter(|file| file.has_extension("rs"))
            .map(|file| RustFile::read(&file.path, &file.text))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let tests: BTreeSet<String> = files.iter().flat_map(RustFile::test_modules).collect();
        for file in &mut files {
            let stem = file.path.trim_end_matches(".rs");
            file.is_test |=
                tests.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/")));
        }
        Ok(files)
    }
}

/// A Rust file and its tokens.
#[derive(Debug)]
pub(crate) struct RustFile {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) source: Source,
    /// The whole file is test code; the test kit is not, it is a library with binaries.
    pub(crate) is_test: bool,
}

impl RustFile {
    pub(crate) fn read(path: &str, text: &str) -> anyhow::Result<Self> {
        let source = Source::lex(text).with_context(|| format!("{path} is not Rust"))?;
        let is_test = (path.starts_with("tests/") && !path.starts_with("tests/kit/"))
            || path.contains("/tests/")
            || source.opens_with_test_gate();
        Ok(Self { path: path.to_owned(), text: text.to_owned(), source, is_test })
    }

    /// The paths, less `.rs`, of the modules that this file declares for tests alone.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let folder = if matches!(name, "lib" | "main") { parent } else { stem };
        self.source.test_modules().iter().map(|module| format!("{folder}/{module}")).collect()
    }

    /// Whether the token at `index` belongs to test code.
    pub(crate) fn in_test(&self, index: usize) -> bool {
        self.is_test || self.source.test_items().iter().any(|item| item.contains(&index))
    }

    /// The first part of the path: the room.
    pub(crate) fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

/// The root of the project: the folder of the package that this test belongs to.
pub(crate) fn root() -> PathBuf {
    let at_run = std::env::var_os("CARGO_MANIFEST_DIR");
    at_run.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// What git lists, whoever owns the checkout.
fn listed(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(root)
        .output()
        .context("git lists the files to check; install git")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git ls-files failed; run in a clone: {stderr}");
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let unique: BTreeSet<String> =
        names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(unique.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::RustFile;

    #[test]
    fn module_declared_for_tests_is_found_beside_its_parent() -> anyhow::Result<()> {
        let text = "//! x\n#[cfg(test)]\nmod tests;\nmod real;\n";
        assert_eq!(RustFile::read("engine/src/a.rs", text)?.test_modules(), ["engine/src/a/tests"]);
        assert_eq!(RustFile::read("engine/src/lib.rs", text)?.test_modules(), ["engine/src/tests"]);
        Ok(())
    }

    #[test]
    fn kit_is_code_and_the_suites_are_tests() -> anyhow::Result<()> {
        assert!(!RustFile::read("tests/kit/src/lib.rs", "//! x")?.is_test);
        assert!(RustFile::read("tests/cluster/main.rs", "//! x")?.is_test);
        assert!(RustFile::read("engine/src/x.rs", "//! x\n#![cfg(test)]")?.is_test);
        Ok(())
    }
}
