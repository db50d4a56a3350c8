//! `kraken graph`: the mutations that are declared for a kind, or that are open to a node, as a
//! graph; and what can be proved of declarations before they are used.

use std::path::PathBuf;

use anyhow::Context as _;
use kraken_engine::check::{Finding, Severity, Source, check};
use kraken_http::{client::Client, declaration};

use crate::{
    complete,
    console::Console,
    exit::{Exit, Failure},
    fleet,
    output::json,
};

/// Prints the graph of mutations, of a kind or of an object
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// The node, or the object of that kind; without one the graph of the kind
    #[arg(value_parser = fleet::object_name, add = complete::object())]
    node: Option<String>,
    /// The kind
    #[arg(short, long, default_value = "node", add = complete::kinds())]
    kind: String,
    /// In which form
    #[arg(short, long, value_name = "FORM", default_value = "dot")]
    output: Form,
    #[command(subcommand)]
    what: Option<What>,
}

/// What else is done with graphs.
#[derive(Debug, clap::Subcommand)]
enum What {
    Check(Check),
}

/// Proves declarations: dead ends, contradictions, modules that would fight
///
/// With files, nothing is asked of a server: they are checked together with the modules of this
/// program. Without, what is declared in the fleet is checked. Exit code 1: there are errors.
#[derive(Debug, clap::Args)]
struct Check {
    /// A file with declarations of modules, YAML or JSON
    #[arg(short, long, value_name = "FILE", num_args = 1..)]
    file: Vec<PathBuf>,
    /// In which form
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Told,
}

/// The forms of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Told {
    /// One line each: file:line:column: severity[code]: ...
    Text,
    /// JSON
    Json,
}

/// The forms of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Graphviz: kraken graph | dot -Tsvg
    Dot,
    /// A picture, for browsers
    Svg,
    /// JSON
    Json,
    /// Mermaid, for pages
    Mermaid,
}

impl Args {
    /// Prints.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        if let Some(What::Check(check)) = self.what {
            return check.run(client, console).await;
        }
        let form = match self.output {
            Form::Dot => "dot",
            Form::Svg => "svg",
            Form::Json => "json",
            Form::Mermaid => "mermaid",
        };
        let kind = fleet::kind(&self.kind);
        let graph = client.graph(Some(kind), self.node.as_deref(), form).await?;
        // As all other JSON: for people to read as well.
        let document = serde_json::from_str::<serde_json::Value>(&graph);
        match (self.output, document) {
            (Form::Json, Ok(document)) => console.print(json(&document)?),
            (Form::Dot | Form::Svg | Form::Json | Form::Mermaid, _) => console.print(graph),
        }
    }
}

impl Check {
    async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        let findings = if self.file.is_empty() {
            client.check("").await?.findings
        } else {
            check(&sources(&self.file)?)
        };
        match self.output {
            Told::Json => console.print(json(&findings)?)?,
            Told::Text if findings.is_empty() => {}
            Told::Text => {
                let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
                console.print(lines.join("\n"))?;
            }
        }
        let is_error = |finding: &&Finding| finding.severity == Severity::Error;
        let errors = findings.iter().filter(is_error).count();
        let warnings = findings.len() - errors;
        let counted = format!("{}, {}", count(errors, "error"), count(warnings, "warning"));
        if errors == 0 {
            console.note(counted);
            return Ok(());
        }
        Err(Failure::failed(counted))
    }
}

/// `no errors`, `1 error`, `2 errors`.
fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    }
}

/// The declarations of files, beside those that the program brings.
fn sources(files: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut given: Vec<Source> = Vec::new();
    for file in files {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {shown}"))
            .map_err(|error| Failure::from(error).exiting(Exit::Usage))?;
        let read = declaration::read(&text, Some(&shown)).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Failure::failed(faults.join("; ")).within(&shown)
        })?;
        if read.is_empty() {
            return Err(Failure::usage(format!("{shown} declares no module")));
        }
        given.extend(read);
    }
    let builtin = kraken_modules::builtin();
    let own = builtin.iter().map(|factory| factory.manifest().clone());
    let own = std::iter::once(kraken_modules::base()).chain(own);
    let replaced = |module: &str| given.iter().any(|source| source.manifest.module == module);
    let mut all: Vec<Source> =
        own.filter(|manifest| !replaced(&manifest.module)).map(Source::from).collect();
    all.extend(given);
    Ok(all)
}
