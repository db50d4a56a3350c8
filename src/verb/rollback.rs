//! `kraken rollback`: brings back what was asked at an older revision, in one write.

use kraken_http::client::{Client, WriteQuery};

use super::{freeze::Targets, plan, set::report};
use crate::{console::Console, exit::Failure, output::Output};

/// Brings back what was asked of nodes at an older revision, all or nothing
#[derive(Debug, clap::Args)]
// Made of itself the line has what is required of a group first, though it is read last.
#[command(override_usage = "kraken rollback [OPTIONS] <TO> <NODES|--all>")]
pub(crate) struct Args {
    /// The revision to go back to
    to: u64,
    #[command(flatten)]
    targets: Targets,
    /// Only if Cfg is still at this revision
    #[arg(long, value_name = "REVISION")]
    expect: Option<u64>,
    /// A word to those who read the history
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Shows what would be done, and does nothing
    #[arg(long)]
    plan: bool,
}

impl Args {
    /// Rolls back.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let how = WriteQuery { expect: self.expect, note: self.note, ..WriteQuery::default() };
        let targets = self.targets.query();
        if self.plan {
            let plans = client.plan_rollback(self.to, &targets, &how).await?;
            let command = "the same without --plan, with";
            return plan::show(plans, Output::default(), command, console, Failure::from).await;
        }
        let written = client.rollback(self.to, &targets, &how).await?;
        console.print(report(&written))
    }
}
