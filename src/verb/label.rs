//! `kraken label`: sets and removes labels on many nodes at once, all or nothing.

use kraken_engine::id::Name;
use kraken_http::client::Client;
use serde_json::{Map, Value as Json, json};

use super::set::{Which, report};
use crate::{complete, console::Console, exit::Failure, fleet, nodes::Nodes, objects};

/// Sets and removes labels of nodes, all or nothing, or of one object of another kind
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: n1, n[1-64,70], @rack=r1; of another kind: policy/web or app/shop/front
    #[arg(add = complete::which())]
    which: Which,
    /// What: label=value, or label- to remove it
    #[arg(required = true, value_name = "LABEL=VALUE", add = complete::labels())]
    labels: Vec<Label>,
}

/// One label and what becomes of it.
#[derive(Debug, Clone)]
struct Label {
    name: Name,
    value: Option<String>,
}

impl std::str::FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |text: &str| Name::new(text).map_err(|error| error.to_string());
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((label, value)), _) => {
                Ok(Self { name: name(label)?, value: Some(value.to_owned()) })
            }
            (None, Some(label)) => Ok(Self { name: name(label)?, value: None }),
            (None, None) => Err("write label=value, or label- to remove it".to_owned()),
        }
    }
}

impl Args {
    /// Labels.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let body = json!({ "ops": operations(&self.which, &self.labels) });
        let written = match &self.which {
            Which::Nodes(_) => client.txn(&body).await?,
            Which::Object { kind, name } => {
                let kind = fleet::kind(kind.as_str());
                objects::about(client, (kind, name), client.txn(&body)).await?
            }
        };
        if let (0, Which::Nodes(nodes)) = (written.changed, &self.which) {
            objects::somebody(client, nodes).await?;
        }
        console.print(report(&written))
    }
}

fn operations(which: &Which, labels: &[Label]) -> Vec<Json> {
    let labels: Map<String, Json> =
        labels.iter().map(|label| (label.name.to_string(), json!(label.value))).collect();
    match which {
        Which::Object { kind, name } => {
            let (kind, namespace) = (fleet::kind(kind.as_str()), name.split_once('/'));
            let (namespace, name) =
                namespace.map_or((None, name.as_str()), |(of, name)| (Some(of), name));
            vec![json!({
                "op": "label", "kind": kind, "namespace": namespace, "name": name,
                "labels": labels,
            })]
        }
        Which::Nodes(Nodes::Selector(selector)) => {
            vec![json!({ "op": "label", "kind": "node", "selector": selector, "labels": labels })]
        }
        Which::Nodes(Nodes::Names(names)) => names
            .iter()
            .map(|name| json!({ "op": "label", "kind": "node", "name": name, "labels": labels }))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_one_operation_a_node_or_a_selector() {
        let labels: Vec<Label> =
            ["rack=r1", "role-"].iter().map(|text| text.parse().unwrap()).collect();
        let expected = json!({ "rack": "r1", "role": null });
        for (which, count) in [("n[1-3]", 3), ("@rack=r2", 1), ("rack/default/r1", 1)] {
            let operations = operations(&which.parse().unwrap(), &labels);
            assert_eq!(operations.len(), count);
            assert!(operations.iter().all(|operation| operation["labels"] == expected));
        }
        assert!("rack".parse::<Label>().is_err());
        assert!("a b=1".parse::<Label>().is_err());
    }
}
