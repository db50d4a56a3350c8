//! A disk that fails once, as the process of a member sees it: `strace` answers its next request to
//! write everything out with an error, although it was written. Needs root.

use std::path::Path;

use anyhow::Result;

use crate::{job::Job, process::Process};

/// The requests, and how the first one of each thread fails.
const TRACED: &str = "trace=fsync,fdatasync";
const FAILS: &str = "inject=fsync,fdatasync:error=EIO:when=1";

/// Has the next request of a process fail, as long as what is returned is kept.
pub(crate) fn fail_next_sync(process: &Process, folder: &Path) -> Result<Job> {
    let pid = process.pid.to_string();
    let job = Job::new("strace", "strace", folder);
    let mut job = job.args(["-f", "-q", "-e", TRACED, "-e", FAILS, "-p", pid.as_str()]);
    job.start()?;
    Ok(job)
}
