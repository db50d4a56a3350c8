//! `cargo bench --bench edge`: what the edge of three members gives out and takes in at once. What
//! it measures is told in docs/benchmarks.md.

// By its path, as the tests have the same file for their small form.
#[path = "measure.rs"]
mod measure;
#[path = "../told.rs"]
mod told;

use std::process::ExitCode;

use clap::Parser as _;

use self::{
    measure::{Args, measure},
    told::tell,
};

fn main() -> ExitCode {
    let args = Args::parse();
    tell("edge", args.json, async |take| {
        measure(&args, env!("CARGO_BIN_EXE_kraken"), &mut |figure| take(vec![figure])).await
    })
}
