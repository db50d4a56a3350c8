//! The command line: one subcommand a verb, each with its arguments in its own file.

use clap::{Parser, Subcommand};

use crate::{agent, bench, fleet, server, up, verb};

/// Keeps a fleet in the state that its operators asked for
#[derive(Debug, Parser)]
#[command(name = "kraken", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) servers: fleet::Servers,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Up(up::Args),
    Server(server::Args),
    Agent(agent::Args),
    Bench(bench::Args),
    Sim(verb::sim::Args),
    #[command(flatten)]
    Client(verb::Verb),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does() {
        for verb in Cli::command().get_subcommands() {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about:?}", verb.get_name());
        }
    }
}
