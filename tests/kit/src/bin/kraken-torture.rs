//! Tortures a quorum of real processes for a time, and checks every answer. Prints what it does;
//! an answer that no order explains ends it with exit 1.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::Parser;
use kraken_testkit::torture::{Answers, Nemesis, Outcome, Torture};

/// How long one cluster is tortured before its answers are checked and the next one is.
const ROUND: Duration = Duration::from_mins(2);

/// Tortures a quorum and checks every answer
#[derive(Debug, Parser)]
struct Args {
    /// For how long
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// The program; without it the `kraken` beside this one
    #[arg(long)]
    program: Option<PathBuf>,
    /// How many members
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// How many clients
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// How many keys they share
    #[arg(long, default_value_t = 8)]
    keys: usize,
    /// The first seed; without it another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// Threads that take the processors away from the members
    #[arg(long, default_value_t = 0)]
    starve: usize,
    /// Only this nemesis, by the name that is printed when it strikes; may be given again
    #[arg(long)]
    only: Vec<Nemesis>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("kraken"));
    let program = args.program.clone().map_or_else(beside, Ok)?;
    let program = program.to_str().context("the program's path is no text")?.to_owned();
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map(|now| now.as_secs());
    let first = args.seed.map_or_else(fresh, Ok).context("the clock is before 1970")?;
    let (began, limit) = (Instant::now(), Duration::from_secs(args.minutes.saturating_mul(60)));
    let mut seed = first;
    loop {
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() && seed > first {
            return Ok(ExitCode::SUCCESS);
        }
        let torture = Torture {
            program: program.clone(),
            members: args.members,
            clients: args.clients,
            keys: args.keys,
            seed,
            lasts: left.min(ROUND),
            hogs: args.starve,
            only: args.only.clone(),
        };
        match torture.run(|done| tell(done)).await {
            Ok(outcome) => {
                let Outcome { checked, appended, served, attacks } = outcome;
                let attacks = attacks.len();
                tell(format_args!(
                    "seed {seed} holds: {attacks} attacks, {checked:?}, {appended} appends"
                ));
                for (member, Answers { reads, writes }) in served {
                    tell(format_args!("  {member} answered {reads} reads and {writes} writes"));
                }
            }
            Err(broken) => {
                tell(format_args!("seed {seed} does not hold: {broken:#}"));
                return Ok(ExitCode::FAILURE);
            }
        }
        seed += 1;
    }
}

fn tell(line: impl Display) {
    // Nobody to tell it to is no reason to stop.
    drop(writeln!(io::stdout(), "{line}"));
}
