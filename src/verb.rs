//! The verbs that speak to a fleet, one file each. They are thin: a request, and its answer in
//! words.

mod apply;
mod cluster;
pub(crate) mod completions;
pub(crate) mod context;
mod debug;
mod delete;
mod describe;
mod diff;
mod edit;
mod events;
mod freeze;
mod get;
mod graph;
mod history;
mod label;
pub(crate) mod man;
mod module;
mod plan;
mod retry;
mod rollback;
mod set;
pub(crate) mod sim;
mod thaw;
mod top;
mod wait;
mod why;

use clap::Subcommand;
use kraken_http::client::Client;

use crate::{console::Console, exit::Failure};

/// What to ask of a fleet.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Get(get::Args),
    Describe(describe::Args),
    Apply(apply::Args),
    Set(set::Args),
    Edit(edit::Args),
    Label(label::Args),
    Delete(delete::Args),
    Plan(plan::Args),
    Why(why::Args),
    Wait(wait::Args),
    Top(top::Args),
    Events(events::Args),
    Freeze(freeze::Args),
    Thaw(thaw::Args),
    Retry(retry::Args),
    History(history::Args),
    Diff(diff::Args),
    Rollback(rollback::Args),
    Graph(graph::Args),
    Module(module::Args),
    Cluster(cluster::Args),
    Debug(debug::Args),
}

impl Verb {
    /// Asks it, and prints the answer.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        match self {
            Self::Get(args) => args.run(client, console).await,
            Self::Describe(args) => args.run(client, console).await,
            Self::Apply(args) => args.run(client, console).await,
            Self::Set(args) => args.run(client, console).await,
            Self::Edit(args) => args.run(client, console).await,
            Self::Label(args) => args.run(client, console).await,
            Self::Delete(args) => args.run(client, console).await,
            Self::Plan(args) => args.run(client, console).await,
            Self::Why(args) => args.run(client, console).await,
            Self::Top(args) => args.run(client, console).await,
            Self::Wait(args) => args.run(client, console).await,
            Self::Events(args) => args.run(client, console).await,
            Self::Freeze(args) => args.run(client, console).await,
            Self::Thaw(args) => args.run(client, console).await,
            Self::Retry(args) => args.run(client, console).await,
            Self::History(args) => args.run(client, console).await,
            Self::Diff(args) => args.run(client, console).await,
            Self::Rollback(args) => args.run(client, console).await,
            Self::Graph(args) => args.run(client, console).await,
            Self::Module(args) => args.run(client, console).await,
            Self::Cluster(args) => args.run(client, console).await,
            Self::Debug(args) => args.run(client, console).await,
        }
    }
}
