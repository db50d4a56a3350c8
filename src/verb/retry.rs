//! `kraken retry`: asks for another try now, of what backs off or is in quarantine.

use kraken_http::client::Client;

use super::{freeze::Targets, set::report};
use crate::{console::Console, exit::Failure, objects};

/// Tries again now what failed: backing off and quarantine end
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: Targets,
}

impl Args {
    /// Retries.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let written = client.retry(&self.targets.query()).await?;
        if let (0, Some(nodes)) = (written.changed, self.targets.nodes()) {
            objects::somebody(client, nodes).await?;
        }
        console.print(report(&written))
    }
}
