//! `kraken delete`: takes objects out of the fleet, all or nothing.

use kraken_http::client::Client;
use serde_json::{Value as Json, json};

use super::set::report;
use crate::{complete, console::Console, exit::Failure, fleet, nodes::Nodes};

/// Deletes nodes: they are brought to their absent state and then removed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: n1, n[1-64,70] or @rack=r1
    #[arg(add = complete::nodes())]
    names: Nodes,
    /// The kind
    #[arg(short, long, default_value = "node", add = complete::kinds())]
    kind: String,
    /// Removes them at once, whatever is left of them
    #[arg(long)]
    force: bool,
}

impl Args {
    /// Deletes.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let kind = fleet::kind(&self.kind);
        let names: Vec<String> = match &self.names {
            Nodes::Names(names) => names.iter().map(ToString::to_string).collect(),
            Nodes::Selector(_) => {
                let found = client.get_objects(kind, &Nodes::listed(Some(&self.names))).await?;
                found.items.into_iter().map(|object| object.name).collect()
            }
        };
        let delete =
            |name| json!({ "op": "delete", "kind": kind, "name": name, "force": self.force });
        let operations: Vec<Json> = names.iter().map(delete).collect();
        let written = client.txn(&json!({ "ops": operations })).await?;
        console.print(report(&written))
    }
}
