//! `kraken context`: names for fleets, so that nobody types their addresses.

use clap::Subcommand;
use kraken_engine::id::Name;
use kraken_http::client::Client;
use serde::Serialize;

use crate::{
    complete,
    console::Console,
    contexts::{CONTEXTS_MAX, Context, Contexts, Place},
    exit::{Exit, Failure},
    look::Look,
    output::{Format, Output, json, lines, yaml},
    table,
};

/// Names fleets by their servers, and says which one is meant
///
/// A verb asks the servers of --server, else of KRAKEN_SERVER, else of the context that --context,
/// KRAKEN_CONTEXT or `kraken context use` names, else http://127.0.0.1:3141.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with contexts.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows all contexts
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Says which fleet is meant from now on, where none is named
    Use {
        /// Its name
        #[arg(add = complete::contexts())]
        name: Name,
    },
    /// Adds a context, or changes its servers
    Set {
        /// Its name
        #[arg(add = complete::contexts())]
        name: Name,
        /// Members to ask, separated by commas
        #[arg(required = true, value_name = "URL", value_delimiter = ',')]
        servers: Vec<String>,
    },
    /// Removes a context; nothing happens to the fleet
    Remove {
        /// Its name
        #[arg(add = complete::contexts())]
        name: Name,
    },
}

/// One context as it is listed.
#[derive(Debug, Serialize)]
struct Item<'a> {
    name: &'a Name,
    current: bool,
    servers: &'a [String],
}

impl Args {
    /// Shows or changes.
    pub(crate) fn run(self, console: &Console) -> Result<(), Failure> {
        let place = Place::of_process();
        let mut contexts = place.read()?;
        let told = match self.verb {
            Verb::List { output } => return list(&contexts, output.output, console),
            Verb::Use { name } => {
                contexts.servers(&name, &place)?;
                contexts.current = Some(name.clone());
                format!("{name} is meant from now on")
            }
            Verb::Set { name, servers } => {
                let checked = Client::new(&servers);
                checked.map_err(|error| Failure::from(error).exiting(Exit::Usage))?;
                contexts.contexts.insert(name.clone(), Context { servers });
                if contexts.contexts.len() > CONTEXTS_MAX {
                    return Err(Failure::usage(format!("there may be {CONTEXTS_MAX} contexts")));
                }
                format!("context {name} is set")
            }
            Verb::Remove { name } => {
                if contexts.contexts.remove(&name).is_none() {
                    return Err(contexts.missing(&name, &place));
                }
                contexts.current = contexts.current.filter(|current| *current != name);
                format!("context {name} is removed")
            }
        };
        place.write(&contexts)?;
        console.print(told)
    }
}

fn list(contexts: &Contexts, format: Format, console: &Console) -> Result<(), Failure> {
    let is_current = |name| contexts.current.as_ref() == Some(name);
    let item = |(name, context)| item(name, is_current(name), context);
    let items: Vec<Item<'_>> = contexts.contexts.iter().map(item).collect();
    match format {
        Format::Json => console.print(json(&items)?),
        Format::Yaml => console.print(yaml(&items)?),
        Format::Name => {
            console.print(lines(items.iter().map(|item| format!("context/{}", item.name))))
        }
        Format::Table | Format::Wide if items.is_empty() => {
            console.note("there are no contexts; add one: kraken context set NAME URL");
            Ok(())
        }
        Format::Table | Format::Wide => console.print(rows(&items, console.look())),
    }
}

fn item<'a>(name: &'a Name, current: bool, context: &'a Context) -> Item<'a> {
    Item { name, current, servers: &context.servers }
}

fn rows(items: &[Item<'_>], look: Look) -> String {
    let mut rows = table::table(["NAME", "CURRENT", "SERVERS"]);
    for item in items {
        let current = if item.current { "yes" } else { "" };
        rows.row([item.name.as_str(), current, &item.servers.join(",")].map(table::text));
    }
    rows.render(look)
}
