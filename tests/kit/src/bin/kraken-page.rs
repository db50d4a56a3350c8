//! Shows a large fleet that changes all the time on the page, in a browser without a screen, and
//! measures what a frame of it takes; see docs/page.md.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use kraken_testkit::{
    browser::Browser,
    load::{lines, table},
    page::PageLoad,
};

/// Measures the page with many nodes on it
#[derive(Debug, Parser)]
struct Args {
    /// How many machines
    #[arg(long, default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=100_000))]
    nodes: u32,
    /// How many of them are asked for something else each second; without it one in a hundred
    #[arg(long)]
    changes: Option<u32>,
    /// Seconds that frames are counted
    #[arg(long, default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The program of the members; without it the `kraken` beside this one
    #[arg(long)]
    program: Option<PathBuf>,
    /// Puts pictures of it into this folder
    #[arg(long)]
    pictures: Option<PathBuf>,
    /// One figure a line as an object
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(Browser::program().is_some(), "this needs chromium; apt-get install chromium");
    let beside = std::env::current_exe()?.with_file_name("kraken");
    let program = args.program.unwrap_or(beside);
    let load = PageLoad {
        program: program.to_str().context("the program's path is no text")?.to_owned(),
        nodes: usize::try_from(args.nodes)?,
        changes_per_s: usize::try_from(args.changes.unwrap_or(args.nodes.div_ceil(100)))?,
        time: Duration::from_secs(args.seconds),
        pictures: args.pictures,
    };
    let figures = load.run(note).await?;
    let text = if args.json { lines(&figures)? } else { table(&figures) };
    // Nobody to tell it to is no failure.
    drop(write!(io::stdout(), "{text}"));
    Ok(())
}

/// Tells something that is no figure.
fn note(what: &dyn Display) {
    drop(writeln!(io::stderr(), "page: {what}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
        assert_eq!(Args::parse_from(["kraken-page", "--json"]).nodes, 10_000);
    }
}
