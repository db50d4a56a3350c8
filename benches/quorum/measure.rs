//! What is measured, in which order, and under which names.

mod endure;
mod held;
mod load;
mod loads;
mod lost;
mod members;
mod pair;
mod rest;
mod system;
mod times;
mod watchers;
mod wire;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use kraken::Figure;

use self::pair::Pair;
pub(crate) use kraken_testkit::etcd::program as etcd_program;

/// Objects that are held while loads run.
const OBJECTS: u64 = 100_000;
/// Objects of the small form.
const OBJECTS_QUICK: u64 = 1_000;

/// Measures three members beside three etcd under the same load on the same disk
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// Only these rows and those below them, such as put, quorum.put.64 or watch.100
    pub(crate) rows: Vec<String>,
    /// One row a line as an object
    #[arg(long)]
    pub(crate) json: bool,
    /// How often each row is measured, ours and the peer's by turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) runs: u16,
    /// Seconds that each load is counted
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) seconds: u16,
    /// Minutes of the row endure, which is measured only when it is asked for by its name
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) minutes: u16,
    /// A small form: once, a quarter of a second, few clients, 1,000 objects
    #[arg(long)]
    pub(crate) quick: bool,
    /// Ours alone, also where there is a peer
    #[arg(long)]
    pub(crate) alone: bool,
    /// Where the data of both lies; below the build by default
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub(crate) folder: PathBuf,
    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What it takes to measure.
pub(crate) struct Bench<'a> {
    args: &'a Args,
    program: &'a str,
    /// Takes what was measured, a group of rows at a time.
    take: &'a mut dyn FnMut(Vec<Figure>),
}

impl Bench<'_> {
    /// Whether any of these rows, or one below them, is asked for.
    fn wants(&self, names: &[String]) -> bool {
        let wanted = |row: &String| {
            let row = short(row);
            let below = |long: &str, short: &str| {
                long.strip_prefix(short)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            names.iter().any(|name| below(name, row) || below(row, name))
        };
        self.args.rows.is_empty() || self.args.rows.iter().any(wanted)
    }

    /// Whether a row is asked for by its own name.
    fn names(&self, name: &str) -> bool {
        self.args.rows.iter().any(|row| short(row) == name)
    }

    /// How often each row is measured.
    fn runs(&self) -> u16 {
        if self.args.quick { 1 } else { self.args.runs }
    }

    /// How long each load is counted.
    fn time(&self) -> Duration {
        if self.args.quick {
            return Duration::from_millis(250);
        }
        Duration::from_secs(self.args.seconds.into())
    }

    /// Objects that are held while loads run.
    fn objects(&self) -> u64 {
        if self.args.quick { OBJECTS_QUICK } else { OBJECTS }
    }

    /// Both systems, with nothing in them yet.
    async fn pair(&self) -> Result<Pair> {
        Pair::start(self.program, &self.args.folder, self.args.alone).await
    }

    fn take(&mut self, figures: Vec<Figure>) {
        (self.take)(figures);
    }
}

/// The name of a row as it stands here.
fn short(row: &str) -> &str {
    row.strip_prefix("quorum.").unwrap_or(row)
}

/// Measures what is asked for. All that was started has ended when this returns or is dropped.
pub(crate) async fn measure(
    args: &Args,
    program: &str,
    take: &mut dyn FnMut(Vec<Figure>),
) -> Result<()> {
    let named = || format!("cannot make {}", args.folder.display());
    fs::create_dir_all(&args.folder).with_context(named)?;
    let mut bench = Bench { args, program, take };
    loads::measure(&mut bench).await?;
    held::measure(&mut bench).await?;
    endure::measure(&mut bench).await
}
