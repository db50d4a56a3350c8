//! The command line: one subcommand a verb, each with its arguments in its own file.

#[cfg(test)]
mod page;

use clap::{
    CommandFactory as _, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use kraken_engine::nearest::nearest;

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
    Context(verb::context::Args),
    Completions(verb::completions::Args),
    Man(verb::man::Args),
}

/// Adds to a verb that there is not the one that may have been meant, where clap finds none.
pub(crate) fn suggesting(
    mut error: clap::Error,
    typed: impl Iterator<Item = String>,
) -> clap::Error {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let is_told = error.get(ContextKind::SuggestedSubcommand).is_some();
    let (command, wrong) = (Cli::command(), wrong.clone());
    let mut group = &command;
    for word in typed.take_while(|word| *word != wrong) {
        group = group.find_subcommand(&word).unwrap_or(group);
    }
    let known = group.get_subcommands().map(clap::Command::get_name);
    if let Some(near) = nearest(&wrong, known).filter(|_| !is_told) {
        let near = ContextValue::Strings(vec![near.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, near);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_that_was_mistyped_is_told_in_its_group() {
        for (typed, expected) in [
            ("gte nodes", Some("'get'")),
            ("cluster stauts", Some("'status'")),
            ("stauts", None),
            ("frobnicate", None),
        ] {
            let words = || typed.split(' ').map(str::to_owned);
            let error = Cli::try_parse_from(std::iter::once("kraken".to_owned()).chain(words()));
            let told = suggesting(error.unwrap_err(), words()).to_string();
            let is_told = expected.map_or(!told.contains("similar"), |near| told.contains(near));
            assert!(is_told, "{typed}: {told}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_lines_have_what_is_typed_in_its_order() {
        fn walk(command: &mut clap::Command) {
            let usage = command.render_usage().to_string();
            let word = |arg: &clap::Arg| arg.get_value_names().map(|names| names[0].to_string());
            let names = command.get_positionals().filter_map(word);
            let places: Vec<usize> = names.filter_map(|name| usage.find(&name)).collect();
            assert!(places.is_sorted(), "{usage}");
            command.get_subcommands_mut().for_each(walk);
        }
        let mut command = Cli::command();
        command.build();
        walk(&mut command);
    }

    #[test]
    fn every_verb_says_what_it_does() {
        for verb in Cli::command().get_subcommands() {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about:?}", verb.get_name());
        }
    }
}
