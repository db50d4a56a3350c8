//! The `kraken` binary: the built-in modules and nothing besides.

use std::process::ExitCode;

/// A member holds many small values and moves them between threads all the time; the system's
/// allocator spent a quarter of its processor time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kraken::run([])
}
