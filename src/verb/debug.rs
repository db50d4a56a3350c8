//! `kraken debug`: what the actors of a member say of themselves, and a folder of all that helps
//! somebody else to find out what is wrong with a fleet.

mod bundle;

use clap::Subcommand;
use kraken_http::client::{Client, encode};
use serde_json::Value as Json;

use crate::{console::Console, exit::Failure, output::json};

/// Shows what the actors of a member say, or gathers all that helps to find what is wrong
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to look at.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows what the actors of the server that is asked say of themselves, as JSON
    Show {
        /// Only this one of them
        part: Option<String>,
    },
    Bundle(bundle::Args),
}

impl Args {
    /// Shows or gathers.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        match self.verb {
            Verb::Show { part } => {
                let part = part.map(|part| format!("/{}", encode(&part))).unwrap_or_default();
                let shown = client.raw_get(&format!("/v1/debug{part}")).await;
                let shown = shown.map_err(|error| {
                    let is_unknown = error.code() == Some("no_such_thing");
                    let failure = Failure::from(error);
                    let hint = "see which there are: kraken debug show";
                    if is_unknown { failure.hint(hint) } else { failure }
                })?;
                console.print(json(&shown.json::<Json>()?)?)
            }
            Verb::Bundle(args) => args.run(client, console).await,
        }
    }
}
