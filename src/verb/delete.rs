//! `kraken delete`: takes objects out of the fleet, all or nothing.

use kraken_engine::id::Name;
use kraken_http::client::Client;
use serde_json::{Value as Json, json};

use super::set::report;
use crate::{complete, console::Console, exit::Failure, fleet, objects::Objects};

/// Deletes nodes: they are brought to their absent state and then removed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: n1, n[1-64,70], @rack=r1 or NAMESPACE/NAME
    #[arg(add = complete::nodes())]
    names: Objects,
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
        let operation = |namespace: Option<&str>, name: &str| {
            let (op, force) = ("delete", self.force);
            json!({ "op": op, "kind": kind, "namespace": namespace, "name": name, "force": force })
        };
        let operations: Vec<Json> = match self.names.names() {
            Some(names) => {
                let namespace = self.names.namespace().map(Name::as_str);
                names.iter().map(|name| operation(namespace, name.as_str())).collect()
            }
            None => {
                let found = Objects::find(client, kind, Some(&self.names)).await?.items;
                found.iter().map(|of| operation(of.namespace.as_deref(), &of.name)).collect()
            }
        };
        match client.txn(&json!({ "ops": operations })).await {
            Ok(written) => console.print(report(&written)),
            Err(error) => {
                if error.code() == Some("no_such_object") {
                    let found = Objects::find(client, kind, Some(&self.names)).await?;
                    self.names.require(client, kind, &found).await?;
                }
                Err(error.into())
            }
        }
    }
}
