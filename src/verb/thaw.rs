//! `kraken thaw`: takes back a freeze, in the words in which it was made.

use kraken_http::client::Client;

use super::{freeze::Targets, set::report};
use crate::{console::Console, exit::Failure};

/// Thaws nodes, in the words in which they were frozen
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: Targets,
}

impl Args {
    /// Thaws.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let written = client.thaw(&self.targets.query()).await?;
        match (written.changed, self.targets.nodes()) {
            (0, Some(_)) => {
                let revision = written.revision;
                let so = "nothing that there is was frozen by that alone";
                console.print(format!("revision {revision}: thawed; {so}"))
            }
            _ => console.print(report(&written)),
        }
    }
}
