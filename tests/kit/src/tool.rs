//! Programs of the machine that are run to their end.

use std::{ffi::OsStr, process::Command};

use anyhow::{Context as _, Result, ensure};

/// Whether this machine has a program, which must know `--version`.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Runs a program; what it said when it failed is the error.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Result<()> {
    let mut command = Command::new(program);
    let output = command.args(args).output().with_context(|| format!("cannot run {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", errors.trim());
    Ok(())
}
