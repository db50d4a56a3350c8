//! `kraken apply`: creates or updates what manifests declare, all of it or nothing.

use std::{io::Read, path::PathBuf};

use anyhow::Context as _;
use kraken_http::client::{Client, Error, WriteQuery};

use super::{plan, set::report};
use crate::{
    console::Console,
    exit::{Exit, Failure},
    output::Output,
};

/// Creates or updates what a file declares, all of it or nothing
///
/// A path of an object that the file leaves out is no longer asked for: what runs goes on, and is
/// no longer watched over. To see beforehand what a file would add, change and take away: --plan.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Shows what would be done, and does nothing
    #[arg(long)]
    plan: bool,
}

/// Where manifests come from.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// The file, YAML or JSON; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Only if Cfg is still at this revision
    #[arg(long, value_name = "REVISION")]
    pub(super) expect: Option<u64>,
}

impl Source {
    /// Reads them.
    pub(super) fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let read = match self.file.to_str() {
            Some("-") => std::io::stdin().lock().read_to_string(&mut text).map(drop),
            _ => std::fs::read_to_string(&self.file).map(|read| text = read),
        };
        read.with_context(|| format!("cannot read {}", self.file.display()))
            .map_err(|error| Failure::from(error).exiting(Exit::Usage))?;
        Ok(text)
    }

    /// Puts the file's name before what is wrong in it.
    pub(super) fn named(&self, error: Error) -> Failure {
        let is_of_file = matches!(error.code(), Some("bad_body" | "invalid"));
        let failure = Failure::from(error);
        if is_of_file { failure.within(self.file.display()) } else { failure }
    }
}

impl Args {
    /// Applies.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let manifests = self.source.read()?;
        if self.plan {
            let named = |error| self.source.named(error);
            let plans = client.plan(manifests).await.map_err(named)?;
            let output = Output::default();
            return plan::show(plans, output, "kraken apply -f FILE", console, named).await;
        }
        let how = WriteQuery { expect: self.source.expect, ..WriteQuery::default() };
        let written =
            client.apply(manifests, &how).await.map_err(|error| self.source.named(error))?;
        console.print(report(&written))
    }
}
