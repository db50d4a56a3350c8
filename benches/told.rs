//! What measurements have in common: how figures are told as they come and all together, and how a
//! measurement is ended early.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Result, bail};
use kraken::{Figure, print_beside};
use tokio::signal::unix::{SignalKind, signal};

/// Measures, and tells each row once it is there: its name, or with `json` all of it; then the
/// table of all. `name` is the measurement's.
pub(crate) fn tell(
    name: &str,
    json: bool,
    measure: impl AsyncFnOnce(&mut dyn FnMut(Vec<Figure>)) -> Result<()>,
) -> ExitCode {
    let mut kept = Vec::new();
    let done = on_tokio(async {
        measure(&mut |figures| {
            if json {
                print_beside(&figures, true);
            } else {
                figures.first().map(|figure| note(name, figure.name())).unwrap_or_default();
                kept.extend(figures);
            }
        })
        .await
    });
    if !kept.is_empty() {
        print_beside(&kept, false);
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(name, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells something that is no figure.
pub(crate) fn note(name: &str, words: &str) {
    // Nobody to tell it to is no failure.
    drop(writeln!(io::stderr(), "{name}: {words}"));
}

/// Measures until that is done, or until somebody has it end. All processes that were started end
/// either way, as they go with who holds them.
fn on_tokio(measured: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut ended = signal(SignalKind::terminate())?;
        tokio::select! {
            measured = measured => measured,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bail!("interrupted")
            }
            _ = ended.recv() => bail!("told to end"),
        }
    });
    // What is left of the load waits for answers that nobody needs any more.
    runtime.shutdown_background();
    done
}
