//! The `kraken` binary: the built-in modules and nothing besides.

use std::process::ExitCode;

fn main() -> ExitCode {
    kraken::run([])
}
