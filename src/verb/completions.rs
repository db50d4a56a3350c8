//! `kraken completions`: what a shell is told, so that TAB offers verbs, options, and what the
//! fleet has.

use std::path::PathBuf;

use crate::{
    complete::{Shell, script},
    console::Console,
    exit::Failure,
};

/// Prints what makes a shell complete verbs, options and names of the fleet
///
/// Names, kinds, paths and labels are asked from the server; without one they are not offered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell, and what to type in it
    shell: Shell,
}

impl Args {
    /// Prints.
    pub(crate) fn run(self, console: &Console) -> Result<(), Failure> {
        console.print(script(self.shell, &program()))
    }
}

/// How the shell finds this program: by its name where it was typed so, else by its place.
fn program() -> PathBuf {
    let typed = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if typed.components().count() > 1 {
        return std::env::current_exe().unwrap_or(typed);
    }
    typed
}
