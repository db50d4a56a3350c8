//! Ends what a node's services left running, without the node: for who has killed an agent.

use std::{
    io,
    path::Path,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    keeper::folders,
    process::Identity,
    record::{End, Folder, Record},
};

/// How often is looked whether all have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long the kernel may take to end what was killed.
const KILL_MAX: Duration = Duration::from_secs(5);

/// Services could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopAllError {
    /// The folder.
    #[error("cannot use the folder of the services: {0}")]
    Folder(#[source] io::Error),
    /// Some did not end, even killed.
    #[error("still running after SIGKILL: processes {0:?}")]
    StillRunning(Vec<i32>),
}

/// Stops every service that is on record below `data`, the folder of this module: each by its own
/// signal, after `grace` by SIGKILL. Returns how many ran. Blocks until all have ended, at most for
/// `grace` and 5 s more. No agent may be running on the folder: it would start them again.
pub fn stop_all(data: &Path, grace: Duration) -> Result<usize, StopAllError> {
    let runs: Vec<Run> = folders(data)
        .map_err(StopAllError::Folder)?
        .into_iter()
        .filter_map(|(_, folder)| Run::find(folder))
        .collect();
    let stopped = runs.len();
    for run in &runs {
        run.signal(Signal::from_str(&run.record.stop.signal).unwrap_or(Signal::SIGTERM));
    }
    let grace_over = Instant::now() + grace;
    let mut left: Vec<&Run> = runs.iter().collect();
    loop {
        left.retain(|run| run.is_left());
        if left.is_empty() {
            break;
        }
        if Instant::now() >= grace_over + KILL_MAX {
            let pids = left.iter().map(|run| run.identity.pid).collect();
            return Err(StopAllError::StillRunning(pids));
        }
        if Instant::now() >= grace_over {
            for run in &left {
                run.signal(Signal::SIGKILL);
            }
        }
        thread::sleep(LOOK_INTERVAL);
    }
    for run in &runs {
        run.put_on_record();
    }
    Ok(stopped)
}

struct Run {
    folder: Folder,
    record: Record,
    identity: Identity,
}

impl Run {
    /// The run that is on record and has members left.
    fn find(folder: Folder) -> Option<Self> {
        let record = match folder.read() {
            Ok(record) => record?,
            Err(error) => {
                tracing::error!(%error, "a record cannot be read; its service is left");
                return None;
            }
        };
        let identity = record.process.clone()?;
        let run = Self { folder, record, identity };
        run.is_left().then_some(run)
    }

    fn is_left(&self) -> bool {
        // Where the caller is the parent, the end must be taken from the kernel.
        if !self.identity.is_alive() {
            self.identity.reap();
        }
        !self.identity.members(&self.folder.marker()).is_empty()
    }

    fn signal(&self, signal: Signal) {
        self.identity.signal(&self.folder.marker(), signal);
    }

    fn put_on_record(&self) {
        let text = format!("process {} stopped with its agent", self.identity.pid);
        let end = End { success: false, asked: true, text };
        if let Err(error) = self.folder.amend(&self.record.nonce, |record| record.end = Some(end)) {
            tracing::error!(%error, "cannot amend a record");
        }
    }
}
