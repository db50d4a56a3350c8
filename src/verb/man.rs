//! `kraken man`: a manual page of each verb, written to a folder.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::{args::Cli, console::Console, exit::Failure};

/// Writes the manual pages of all verbs to a folder
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder; it is made where it is not there: man -l FOLDER/kraken.1
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Args {
    /// Writes.
    pub(crate) fn run(self, console: &Console) -> Result<(), Failure> {
        let named = || format!("cannot write to {}", self.folder.display());
        fs::create_dir_all(&self.folder).with_context(named)?;
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let written = pages(&command, &self.folder).with_context(named)?;
        console.note(format!("{written} pages are written to {}", self.folder.display()));
        Ok(())
    }
}

/// Writes the page of a verb and those of the verbs below it; says how many.
fn pages(command: &clap::Command, folder: &std::path::Path) -> std::io::Result<usize> {
    let mut written = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        written += pages(below, folder)?;
    }
    let source = concat!("kraken ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).source(source).manual("Kraken").generate_to(folder)?;
    Ok(written)
}
