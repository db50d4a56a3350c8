//! Puts a fleet of light leaves on real members and measures what that takes; see docs/scale.md.

use std::{
    fmt::Display,
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use kraken_engine::sync::pace::Pace;
use kraken_testkit::load::{
    Agents, Hands, Load, Outcome, distributions, echo, growth, lines, table, work,
};

/// Measures members with many leaves attached
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// How many leaves; one fleet after the other
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    leaves: Vec<usize>,
    /// How many relays stand between them and the members
    #[arg(long, default_value_t = 0)]
    relays: usize,
    /// Heartbeats every ten seconds, not every one
    #[arg(long)]
    bulk: bool,
    /// That many real agents in place of light leaves
    #[arg(long, conflicts_with_all = ["leaves", "relays", "bulk", "ones", "plots"])]
    agents: Option<usize>,
    /// Without watchers of etcd beside, which are measured too where etcd is installed, leaves are
    /// at most 10,000, and there are no relays
    #[arg(long)]
    alone: bool,
    /// The program of the members; without it the `kraken` beside this one
    #[arg(long)]
    program: Option<PathBuf>,
    /// How many changes concern one leaf
    #[arg(long, default_value_t = 500)]
    ones: usize,
    /// How many changes concern all
    #[arg(long, default_value_t = 11)]
    alls: usize,
    /// Seconds that idle leaves and what leaves see are counted
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where the data of the members lies
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// One figure a line as an object
    #[arg(long)]
    json: bool,
    /// Draws pictures into this folder
    #[arg(long)]
    plots: Option<PathBuf>,
}

/// What this program starts of itself
#[derive(Debug, Subcommand)]
enum Part {
    /// Holds a part of the leaves
    #[command(hide = true)]
    Worker { desk: SocketAddr },
    /// Sends back what comes
    #[command(hide = true)]
    Echo { at: SocketAddr },
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.part {
        Some(Part::Worker { desk }) => work(desk),
        Some(Part::Echo { at }) => echo(at),
        None => tokio::runtime::Runtime::new()?.block_on(measure(args)),
    }
}

async fn measure(args: Args) -> Result<()> {
    let own = std::env::current_exe()?;
    let program = args.program.clone().unwrap_or_else(|| own.with_file_name("kraken"));
    let program = program.to_str().context("the program's path is no text")?.to_owned();
    let (alls, time) = (args.alls, Duration::from_secs(args.seconds));
    let mut all = Outcome::default();
    if let Some(leaves) = args.agents {
        let folder = args.folder.clone();
        let agents = Agents { program: program.clone(), folder, leaves, alls, time };
        all = agents.run(|what| note(&format_args!("{leaves} agents: {what}"))).await?;
        if args.json {
            print(&lines(&all.figures)?);
        }
    }
    let fleets = if args.agents.is_none() { args.leaves } else { Vec::new() };
    for leaves in fleets {
        let load = Load {
            program: program.clone(),
            hands: Hands::Processes(own.clone()),
            folder: args.folder.clone(),
            leaves,
            relays: args.relays,
            with_peer: !args.alone,
            pace: if args.bulk { Pace::BULK } else { Pace::NORMAL },
            ones: args.ones,
            alls,
            time,
        };
        let outcome = load.run(|what| note(&format_args!("{leaves}: {what}"))).await?;
        if args.json {
            print(&lines(&outcome.figures)?);
        }
        all.figures.extend(outcome.figures);
        all.curves.extend(outcome.curves);
    }
    if !args.json {
        print(&table(&all.figures));
    }
    args.plots.map_or(Ok(()), |folder| draw(&folder, &all))
}

/// Draws what was measured.
fn draw(folder: &std::path::Path, all: &Outcome) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let of = |part: &str| {
        let drawn = all.curves.iter().filter(|curve| curve.name.starts_with(part));
        drawn.cloned().collect::<Vec<_>>()
    };
    let grows = |title: &str, prefixes: &[&str]| growth(title, &all.figures, prefixes);
    for (file, picture) in [
        (
            "one.svg",
            distributions("A change of one leaf, from accepted to applied", &of("fanout.one.")),
        ),
        (
            "all.svg",
            distributions("A change of all leaves, from accepted to applied", &of("fanout.all.")),
        ),
        (
            "dsc.svg",
            distributions("What a leaf sees, until every member knows", &of("fanout.dsc.")),
        ),
        ("memory.svg", grows("Bytes of all members for an idle leaf", &["fanout.idle.memory"])),
        ("cpu.svg", grows("Cores of all members for idle leaves", &["fanout.idle.cpu"])),
    ] {
        fs::write(folder.join(file), picture).with_context(|| file)?;
    }
    Ok(())
}

/// Tells something that is no figure.
fn note(what: &dyn Display) {
    // Nobody to tell it to is no failure.
    drop(writeln!(io::stderr(), "load: {what}"));
}

fn print(text: &str) {
    drop(write!(io::stdout(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
        let args = Args::parse_from(["kraken-load", "--leaves", "1000,10000", "--json"]);
        assert_eq!(args.leaves, [1_000, 10_000]);
    }
}
