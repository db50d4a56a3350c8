//! `kraken graph`: the mutations that are declared for a kind, or that are open to a node, as a
//! graph.

use kraken_engine::id::Name;
use kraken_http::client::Client;

use crate::{console::Console, exit::Failure, fleet, output::json};

/// Prints the graph of mutations, of a kind or of a node
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node; without one the graph of the kind
    node: Option<Name>,
    /// The kind
    #[arg(short, long, default_value = "node")]
    kind: String,
    /// In which form
    #[arg(short, long, value_name = "FORM", default_value = "dot")]
    output: Form,
}

/// The forms of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Graphviz: kraken graph | dot -Tsvg
    Dot,
    /// JSON
    Json,
    /// Mermaid, for pages
    Mermaid,
}

impl Args {
    /// Prints.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let form = match self.output {
            Form::Dot => "dot",
            Form::Json => "json",
            Form::Mermaid => "mermaid",
        };
        let kind = fleet::kind(&self.kind);
        let graph = client.graph(Some(kind), self.node.as_ref().map(Name::as_str), form).await?;
        // As all other JSON: for people to read as well.
        let document = serde_json::from_str::<serde_json::Value>(&graph);
        match (self.output, document) {
            (Form::Json, Ok(document)) => console.print(json(&document)?),
            (Form::Dot | Form::Json | Form::Mermaid, _) => console.print(graph),
        }
    }
}
