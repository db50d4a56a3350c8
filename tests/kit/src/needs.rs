//! What a test needs of the machine, and what it has to tell to people.
//!
//! Both are written past the capture of the test harness: a test that was passed over, and a time
//! that somebody wants to quote, must be seen although the test succeeds.

use std::{
    fmt::Display,
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Result, bail};

/// The variable that forbids passing tests over: with `all` whatever is missing is a failure.
const REQUIRE: &str = "KRAKEN_REQUIRE";

/// Whether a test may go on. Where `there` is false it may not: it is passed over, and says so, or
/// fails where nothing may be passed over.
pub fn needs(what: impl Display, there: bool) -> Result<bool> {
    if !there && std::env::var(REQUIRE).is_ok_and(|required| required == "all") {
        bail!("{REQUIRE}=all, and this needs {what}");
    }
    if !there {
        tell(format_args!("skipped: needs {what}"));
    }
    Ok(there)
}

/// Tells a time that was measured.
pub fn measured(what: impl Display, time: Duration) {
    tell(format_args!("measured: {what}: {:.2} s", time.as_secs_f64()));
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn tell(line: impl Display) {
    // Nobody to tell it to is no reason to fail.
    drop(writeln!(io::stderr(), "{line}"));
}
