//! What a rule finds, and how a suite says so: every finding at once, each with its file, its line
//! and what to do.

use std::fmt;

use crate::tree::{RustFile, Tree};

/// One breach of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    advice: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, advice: advice.into() }
    }

    pub(crate) const fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// Fails the test with all findings, one a line.
pub(crate) fn hold(findings: impl IntoIterator<Item = Finding>) {
    let lines: Vec<String> = findings.into_iter().map(|finding| finding.to_string()).collect();
    assert!(lines.is_empty(), "the house is not in order:\n{}", lines.join("\n"));
}

/// Holds `rule` for every Rust file of the tree.
pub(crate) fn hold_in_rust(rule: fn(&RustFile) -> Vec<Finding>) -> anyhow::Result<()> {
    let tree = Tree::load()?;
    let files = tree.rust_files()?;
    assert!(!files.is_empty(), "no Rust file found; is this the root of the project?");
    hold(files.iter().flat_map(rule));
    Ok(())
}

/// The lines at which `rule` finds something in `text`, were it the file `path`.
pub(crate) fn lines_found(
    rule: fn(&RustFile) -> Vec<Finding>,
    path: &str,
    text: &str,
) -> anyhow::Result<Vec<usize>> {
    Ok(rule(&RustFile::read(path, text)?).iter().map(Finding::line).collect())
}
