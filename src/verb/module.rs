//! `kraken module`: what modules declare: what there is, and what operators add and remove at run
//! time.

mod new;

use clap::Subcommand;
use kraken_http::client::Client;
use serde_json::Value as Json;

use super::apply::Source;
use crate::{
    complete,
    console::Console,
    exit::Failure,
    look::Look,
    output::{Format, Output, json, lines, yaml},
    table::{self, text},
};

/// Shows, adds and removes declarations of modules
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with modules.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows what is declared
    List {
        #[command(flatten)]
        output: Output,
    },
    New(new::Args),
    /// Declares modules, or replaces what they declared
    Add {
        /// The file, YAML or JSON; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: std::path::PathBuf,
    },
    /// Withdraws what a module declares
    Remove {
        /// Its name
        #[arg(add = complete::modules())]
        name: String,
        /// Also what a release brought, and a newer one no longer does
        #[arg(long)]
        force: bool,
    },
}

impl Args {
    /// Shows or changes.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        match self.verb {
            Verb::New(args) => args.run(console),
            Verb::List { output } => {
                let modules = client.get_modules().await?.items;
                console.print(render(&modules, output.output, console.look())?)
            }
            Verb::Add { file } => {
                let source = Source { file, expect: None };
                let written = client.add_modules(source.read()?).await;
                let written = written.map_err(|error| source.named(error))?;
                console.print(format!("declared at revision {}", written.revision))
            }
            Verb::Remove { name, force } => {
                let written = client.withdraw_module(&name, force).await?;
                console.print(format!("withdrawn at revision {}", written.revision))
            }
        }
    }
}

fn render(modules: &[Json], format: Format, look: Look) -> Result<String, Failure> {
    let word = |module: &Json, key: &str| module[key].as_str().unwrap_or_default().to_owned();
    let count = |module: &Json, key: &str| module[key].as_array().map_or(0, Vec::len);
    match format {
        Format::Json => return json(&modules),
        Format::Yaml => return yaml(&modules),
        Format::Name => return Ok(lines(modules.iter().map(|module| word(module, "name")))),
        Format::Table | Format::Wide => {}
    }
    let mut rows = table::table(["NAME", "FROM", "PATHS", "MUTATIONS", "DOC"]);
    for module in modules {
        let from = if module["added"] == true { "operator" } else { "release" };
        rows.row([
            text(word(module, "name")),
            text(from),
            text(count(module, "paths")),
            text(count(module, "mutations")),
            text(word(module, "doc")),
        ]);
    }
    Ok(rows.render(look))
}
