//! `kraken freeze`: nothing is dispatched for objects until they are thawed.

use kraken_http::client::{Client, TargetsQuery};

use super::set::report;
use crate::{complete, console::Console, exit::Failure, nodes::Nodes};

/// Freezes nodes: nothing is done to them until they are thawed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: Targets,
}

/// Which objects an operation means.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Targets {
    /// Which: n1, n[1-64,70] or @rack=r1
    #[arg(add = complete::nodes())]
    nodes: Option<Nodes>,
    /// The whole fleet, what is yet to come included
    #[arg(long)]
    all: bool,
}

impl Targets {
    /// As they are sent.
    pub(super) fn query(&self) -> TargetsQuery {
        self.nodes.as_ref().map_or(TargetsQuery::All, Nodes::targets)
    }
}

impl Args {
    /// Freezes.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        console.print(report(&client.freeze(&self.targets.query()).await?))
    }
}
