//! `kraken delete`: takes objects out of the fleet, all or nothing.

use kraken_engine::{id::Name, manifest::NODE_KIND};
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
        let operations: Vec<Json> = if let Some(names) = self.names.names() {
            let namespace = self.names.namespace().map(Name::as_str);
            names.iter().map(|name| operation(namespace, name.as_str())).collect()
        } else {
            let found = Objects::find(client, kind, Some(&self.names)).await?.items;
            self.names.require_any(kind, &found)?;
            found.iter().map(|of| operation(of.namespace.as_deref(), &of.name)).collect()
        };
        match client.txn(&json!({ "ops": operations })).await {
            Ok(written) => {
                console.print(report(&written))?;
                if !self.force {
                    console.note(self.next(kind));
                }
                Ok(())
            }
            Err(error) => {
                if error.code() == Some("no_such_object") {
                    let found = Objects::find(client, kind, Some(&self.names)).await?;
                    self.names.require(client, kind, &found).await?;
                }
                Err(error.into())
            }
        }
    }

    /// What comes of it, and what to do where it does not.
    fn next(&self, kind: &str) -> String {
        let names = &self.names;
        if kind == NODE_KIND {
            return format!(
                "a node goes when its absent state is seen; to wait for that: kraken wait {names} \
                 --for deleted\n\
                 where nothing is seen, of one that never attached or does not answer: kraken \
                 delete {names} --force removes it now, whatever still runs there"
            );
        }
        format!(
            "it goes when its absent state is seen; see what is left: kraken get {kind} {names}\n\
             to remove it now, whatever is left of it: kraken delete -k {kind} {names} --force"
        )
    }
}
