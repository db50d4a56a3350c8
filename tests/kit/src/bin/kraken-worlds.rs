//! Runs fresh simulated worlds for a time or for a number, on all cores, and tells each minute how
//! many held. The first one that breaks an invariant ends it: its seed is printed, and the exit is
//! 1.

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::Parser;
use kraken_testkit::worlds::{self, Run};

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is told how far the run is.
const TELL: Duration = Duration::from_mins(1);

/// Runs simulated worlds and holds each against every invariant
#[derive(Debug, Parser)]
struct Args {
    /// For how long
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// How many at most
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
    /// On how many threads; without it on one a core
    #[arg(long)]
    threads: Option<usize>,
    /// The first seed; without it another one each time
    #[arg(long)]
    from: Option<u64>,
    /// Runs the world of this seed, and no other
    #[arg(long, conflicts_with_all = ["minutes", "count", "threads", "from"])]
    seed: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        return Ok(match worlds::check(seed) {
            Ok(outcome) => {
                tell(format_args!("seed {seed} holds: {} events", outcome.events));
                ExitCode::SUCCESS
            }
            Err(broken) => {
                tell(broken);
                ExitCode::FAILURE
            }
        });
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let first = match args.from {
        Some(first) => first,
        None => fresh()?,
    };
    let run = Run::from(first);
    let started = Instant::now();
    let limit = Duration::from_secs(args.minutes.saturating_mul(60));
    let mut told = Duration::ZERO;
    tell(format_args!("worlds from seed {first} on"));
    run.go(args.count, args.threads.unwrap_or(cores), |run| {
        thread::park_timeout(LOOK);
        let passed = started.elapsed();
        if passed >= told + TELL {
            told = passed;
            tell(summary(run, passed));
        }
        passed < limit
    });
    tell(summary(&run, started.elapsed()));
    let broken = run.into_broken();
    broken.iter().for_each(tell);
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A seed that nobody has tried.
fn fresh() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    // Runs that start within one second are still far apart.
    Ok(now.as_secs() << 32 | u64::from(now.subsec_nanos()))
}

fn summary(run: &Run, passed: Duration) -> String {
    let (done, events) = run.done();
    let a_minute =
        done.saturating_mul(60_000) / u64::try_from(passed.as_millis()).unwrap_or(1).max(1);
    format!(
        "{:>6} s: {done} worlds hold, {events} events, {a_minute} worlds a minute",
        passed.as_secs()
    )
}

fn tell(line: impl Display) {
    // Nobody to tell it to is no reason to stop.
    drop(writeln!(io::stdout(), "{line}"));
}
