//! Transcripts: what is typed, what it prints and how it ends, gathered by page and compared with
//! the files under `transcripts/`.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use kraken_testkit::cli::{Cli, Said};

use crate::{KRAKEN, steady::Steady};

/// Transcripts that are being written, by page.
#[derive(Debug)]
pub(crate) struct Book {
    steady: Steady,
    pages: BTreeMap<&'static str, String>,
}

/// The program as it is typed in a folder, against a server; neither a terminal nor our own
/// variables have a say in what it prints.
pub(crate) fn cli(folder: &Path, server: &str) -> Result<Cli> {
    let folder = folder.to_str().context("a folder whose name is no text")?;
    let prefix = ["env", "-u", "NO_COLOR", "-C", folder, "COLUMNS=100"];
    Ok(Cli::new(KRAKEN, &[server.to_owned()]).through(&prefix))
}

impl Book {
    /// An empty one.
    pub(crate) fn new(steady: Steady) -> Self {
        Self { steady, pages: BTreeMap::new() }
    }

    /// Types a line after `kraken ` and writes down what comes of it.
    pub(crate) async fn run(&mut self, cli: &Cli, page: &'static str, line: &str) -> Result<Said> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = cli.try_run(&words).await.with_context(|| line.to_owned())?;
        self.write(page, line, &said, &said.code.to_string())?;
        Ok(said)
    }

    /// The same, which ends with this code.
    pub(crate) async fn ends(
        &mut self,
        cli: &Cli,
        page: &'static str,
        line: &str,
        code: i32,
    ) -> Result<Said> {
        let said = self.run(cli, page, line).await?;
        ensure!(said.code == code, "kraken {line}: not {code}, but {said:?}");
        Ok(said)
    }

    /// Writes down what a line has printed and how it ended.
    pub(crate) fn write(
        &mut self,
        page: &'static str,
        line: &str,
        said: &Said,
        exit: &str,
    ) -> Result<()> {
        let (out, err) = (self.stream(line, &said.out)?, self.stream(line, &said.err)?);
        let line = self.steady.text(&format!("$ kraken {line}"))?;
        let line = line.trim_end();
        let entry = format!("{line}\nstdout:\n{out}stderr:\n{err}exit: {exit}\n\n");
        self.pages.entry(page).or_default().push_str(&entry);
        Ok(())
    }

    /// A text as it would be in each run.
    pub(crate) fn steady(&self, text: &str) -> Result<String> {
        self.steady.text(text)
    }

    /// What was printed to one stream, which is text for people without colour and without spaces
    /// at the ends of its lines.
    fn stream(&self, line: &str, text: &str) -> Result<String> {
        ensure!(!text.contains('\u{1b}'), "kraken {line} prints colour: {text:?}");
        ensure!(text.is_empty() || text.ends_with('\n'), "kraken {line}: no line end: {text:?}");
        let steady = self.steady.text(text)?;
        let indent = |text: &str| match text.trim_end() {
            "" => "\n".to_owned(),
            text => format!("  {text}\n"),
        };
        Ok(steady.lines().map(indent).collect())
    }

    /// Compares all pages with the files, and fails if one differs.
    pub(crate) fn close(self) -> Result<()> {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("transcripts");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let differs = |page: &&str, text: &str| {
            let compare = || settings.bind(|| insta::assert_snapshot!(*page, text));
            catch_unwind(AssertUnwindSafe(compare)).is_err()
        };
        let differing: Vec<&str> = self
            .pages
            .iter()
            .filter(|(page, text)| differs(page, text))
            .map(|(page, _)| *page)
            .collect();
        ensure!(
            differing.is_empty(),
            "these transcripts differ: {differing:?}; if they are right now, INSTA_UPDATE=always \
             rewrites them"
        );
        Ok(())
    }
}
