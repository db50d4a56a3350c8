//! `cargo bench --bench quorum`: three members beside three etcd under the same load on the same
//! disk. What it measures is told in docs/benchmarks.md.

// By its path, as the tests have the same file for their small form.
#[path = "measure.rs"]
mod measure;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use kraken::{Figure, print_beside};
use tokio::signal::unix::{SignalKind, signal};

use self::measure::{Args, etcd_program, measure};

fn main() -> ExitCode {
    let args = Args::parse();
    if etcd_program().is_none() {
        note("there is no etcd on the path, so that ours stands alone");
    }
    let mut kept = Vec::new();
    let done = on_tokio(&args, &mut |figures: Vec<Figure>| {
        if args.json {
            print_beside(&figures, true);
        } else {
            figures.first().map(|figure| note(figure.name())).unwrap_or_default();
            kept.extend(figures);
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
    drop(writeln!(io::stderr(), "quorum: {words}"));
}

/// Measures until that is done, or until somebody has it end. All processes that were started end
/// either way, as they go with who holds them.
fn on_tokio(args: &Args, take: &mut dyn FnMut(Vec<Figure>)) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut ended = signal(SignalKind::terminate())?;
        tokio::select! {
            measured = measure(args, env!("CARGO_BIN_EXE_kraken"), take) => measured,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                anyhow::bail!("interrupted")
            }
            _ = ended.recv() => anyhow::bail!("told to end"),
        }
    });
    // What is left of the load waits for answers that nobody needs any more.
    runtime.shutdown_background();
    done
}
