//! `cargo bench --bench edge`: what the edge of three members gives out and takes in at once. What
//! it measures is told in docs/benchmarks.md.

// By its path, as the tests have the same file for their small form.
#[path = "measure.rs"]
mod measure;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use kraken::{Figure, print_beside};

use self::measure::{Args, measure};

fn main() -> ExitCode {
    let args = Args::parse();
    let mut kept = Vec::new();
    let done = on_tokio(&args, &mut |figure: Figure| {
        if args.json {
            print_beside(std::slice::from_ref(&figure), true);
        } else {
            note(figure.name());
            kept.push(figure);
        }
    });
    if !kept.is_empty() {
        print_beside(&kept, false);
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells something that is no figure.
fn note(words: &str) {
    // Nobody to tell it to is no failure.
    drop(writeln!(io::stderr(), "edge: {words}"));
}

/// Measures until that is done, or until somebody has it end. All processes that were started end
/// either way, as they go with who holds them.
fn on_tokio(args: &Args, take: &mut dyn FnMut(Figure)) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            measured = measure(args, env!("CARGO_BIN_EXE_kraken"), take) => measured,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                anyhow::bail!("interrupted")
            }
        }
    })
}
