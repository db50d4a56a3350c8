//! The whole of the `kraken` program as a function, so that an author's binary can be it with
//! modules of its own beside the built-in ones.

mod age;
mod agent;
mod args;
mod bench;
mod complete;
mod config;
mod console;
mod contexts;
mod daemon;
mod exit;
mod fleet;
mod look;
mod natural;
mod nodes;
mod objects;
mod output;
mod quorum;
mod server;
mod standing;
mod table;
mod traces;
mod up;
mod verb;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use kraken_actors::module::Factory;
use kraken_modules::service::{SHIM_ARGUMENT, exec_shim};

pub use self::bench::figure::{Figure, print_beside};
use self::{
    args::{Cli, Verb},
    console::Console,
    exit::{Exit, Failure},
};

/// Runs the command line of this process, with the built-in modules and these.
pub fn run(extra: impl IntoIterator<Item = Factory>) -> ExitCode {
    // Before anything else: the process is about to become a service.
    if std::env::args_os().nth(1).is_some_and(|first| first == SHIM_ARGUMENT) {
        return exec_shim();
    }
    let arguments = || std::env::args_os().skip(1).filter_map(|word| word.into_string().ok());
    if arguments().next().is_some_and(|first| first == complete::ARGUMENT) {
        return complete::answer(arguments().skip(1));
    }
    let console = Console::of_process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return answer_usage(args::suggesting(error, arguments())),
    };
    let mut factories = kraken_modules::builtin();
    factories.extend(extra);
    match dispatch(cli, factories, &console) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            if let Some(words) = failure.words() {
                console.note(format!("kraken: {words}"));
            }
            failure.exit().into()
        }
    }
}

/// Shows help or a mistake on the command line, whichever it is.
fn answer_usage(error: clap::Error) -> ExitCode {
    // Nobody to show it to is no other mistake.
    drop(error.print());
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}

fn dispatch(cli: Cli, factories: Vec<Factory>, console: &Console) -> Result<(), Failure> {
    match cli.verb {
        Verb::Up(args) => on_tokio(args.run(console)),
        Verb::Server(args) => args.run(factories, console),
        Verb::Agent(args) => args.run(factories, console),
        Verb::Bench(args) => on_tokio(args.run(console)),
        Verb::Sim(args) => args.run(console),
        Verb::Context(args) => args.run(console),
        Verb::Completions(args) => args.run(console),
        Verb::Man(args) => args.run(console),
        Verb::Client(verb) => on_tokio(async {
            let client = cli.servers.connect()?;
            verb.run(&client, console).await
        }),
    }
}

/// Runs what needs no actors on a runtime of one thread.
fn on_tokio<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let done = runtime.block_on(work);
    // What is left may wait for an answer that nobody needs any more.
    runtime.shutdown_background();
    done
}
