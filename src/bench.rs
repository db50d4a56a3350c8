//! `kraken bench`: the measurements of this program, each one command that anybody can repeat.
//!
//! A figure is a median of runs on this machine, printed as a table for people or, with `--json`,
//! as one object a line. Defaults only: nothing is tuned for a bench.

mod converge;
pub(crate) mod figure;
mod members;
mod plan;

use clap::Subcommand;

use crate::{console::Console, exit::Failure};

/// Measures this program on this machine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What to measure.
#[derive(Debug, Subcommand)]
enum What {
    Plan(plan::Args),
    Converge(converge::Args),
}

impl Args {
    /// Measures, and prints the figures.
    pub(crate) async fn run(self, console: &Console) -> Result<(), Failure> {
        match self.what {
            What::Plan(args) => args.run(console),
            What::Converge(args) => args.run(console).await,
        }
    }
}
