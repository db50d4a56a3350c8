//! `cargo bench --bench quorum`: three members beside three etcd under the same load on the same
//! disk. What it measures is told in docs/benchmarks.md.

// By its path, as the tests have the same file for their small form.
#[path = "measure.rs"]
mod measure;
#[path = "../told.rs"]
mod told;

use std::process::ExitCode;

use clap::Parser as _;

use self::{
    measure::{Args, etcd_program, measure},
    told::{note, tell},
};

fn main() -> ExitCode {
    let args = Args::parse();
    if etcd_program().is_none() {
        note("quorum", "there is no etcd on the path, so that ours stands alone");
    }
    tell("quorum", args.json, async |take| measure(&args, env!("CARGO_BIN_EXE_kraken"), take).await)
}
