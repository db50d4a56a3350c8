//! The history of Cfg on disk: each write with what its objects were before it.
//!
//! One thread appends; whoever reads gets the files as they are and reads beside it. The history is
//! made of the log and needs no sync of its own: what a crash takes of it is applied anew from the
//! log. It is synced before a snapshot takes the place of log entries. A member that was brought up
//! to date by a snapshot of another member knows nothing of what lies before that; every answer
//! says how far back it reaches.
//!
//! A history that cannot be written costs the past and never the present: it begins anew with the
//! next write, and says so in the log of the process.

mod file;
#[cfg(test)]
mod tests;

use std::{
    io,
    ops::ControlFlow,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use kraken_engine::{
    history::{Changed, Record},
    id::Revision,
};
use tokio::sync::oneshot;

use self::file::{Files, Part};
use crate::machine::AppliedEntry;

/// How long a write is remembered by default: seven days.
pub const HISTORY_AGE: Duration = Duration::from_hours(7 * 24);
/// How many writes are remembered by default.
pub const HISTORY_REVISIONS: u64 = 100_000;
/// Bytes of writes that are remembered by default.
pub const HISTORY_BYTES: u64 = 1 << 30;
/// Writes that may wait for the thread; past that, applying waits for the disk.
const JOBS_MAX: usize = 1_024;

/// How much of the past is kept: what exceeds any of these goes, in whole files, oldest first. Ages
/// are told by the times in the writes, not by a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The age of the oldest write. Default [`HISTORY_AGE`].
    pub age: Duration,
    /// Writes. Default [`HISTORY_REVISIONS`].
    pub revisions: u64,
    /// Bytes on disk. Default [`HISTORY_BYTES`].
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: HISTORY_AGE, revisions: HISTORY_REVISIONS, bytes: HISTORY_BYTES }
    }
}

/// The past cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It reaches less far back.
    #[error("the history of this member begins after revision {horizon}")]
    Gone {
        /// The oldest revision that can be told.
        horizon: Revision,
    },
    /// This is no member, or it is ending.
    #[error("this member keeps no history now")]
    Stopped,
    /// The files cannot be read.
    #[error("the history cannot be read")]
    Read(#[source] io::Error),
}

/// The records after a revision, as files to be read.
#[derive(Debug)]
pub struct Reading {
    after: Revision,
    parts: Vec<Part>,
}

impl Reading {
    /// Hands over the records after the revision that was asked for, oldest first, until told to
    /// stop. Reads files: not to be called where waiting for a disk is not allowed.
    pub fn each(&self, mut see: impl FnMut(Record) -> ControlFlow<()>) -> Result<(), HistoryError> {
        for part in &self.parts {
            let wanted = |record: Record| {
                // What changes nothing only marks up to where the history was durable.
                let is_told = record.revision > self.after && !record.changes.is_empty();
                if is_told { see(record) } else { ControlFlow::Continue(()) }
            };
            if part.each(wanted).map_err(HistoryError::Read)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

enum Job {
    Write(Record),
    /// Everything before this revision is unknown from now on.
    Restart(Revision),
    /// Make everything up to this revision durable.
    Sync(Revision, oneshot::Sender<io::Result<()>>),
    Read(Revision, oneshot::Sender<Result<Reading, HistoryError>>),
}

/// Where a history is kept.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pub(crate) folder: PathBuf,
    pub(crate) cluster: u64,
    pub(crate) retention: Retention,
}

/// The history; ends its thread when it is dropped.
pub(crate) struct History {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl History {
    /// Opens the history of a state machine that begins at `state`, or begins one there.
    pub(crate) fn open(shelf: Shelf, state: Revision) -> io::Result<Self> {
        let files = Files::open(shelf, state)?;
        let (jobs, waiting) = sync_channel(JOBS_MAX);
        let run = move || Keeper { files, in_trouble: false }.run(&waiting);
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn ask(&self, job: Job) {
        // Nobody takes it only after the thread has panicked; what it would have told is missing
        // then, and `read` says so.
        if let Some(jobs) = &self.jobs
            && jobs.send(job).is_err()
        {
            tracing::error!("the thread that keeps the history has ended");
        }
    }

    /// Remembers a write. Waits where the disk does not keep up.
    pub(crate) fn write(&self, entry: &AppliedEntry) {
        if entry.changes.is_empty() {
            return;
        }
        self.ask(Job::Write(Record {
            revision: entry.revision,
            at: entry.at,
            author: entry.author.clone(),
            note: entry.note.clone(),
            changes: entry.changes.iter().map(Changed::of).collect(),
        }));
    }

    /// Forgets everything: the state was replaced by one whose past is not known.
    pub(crate) fn restart(&self, at: Revision) {
        self.ask(Job::Restart(at));
    }

    /// Makes what was written up to a revision durable, and marks that it is: a snapshot of it is
    /// to be made. Not to be called where waiting is not allowed.
    pub(crate) fn sync(&self, upto: Revision) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        self.ask(Job::Sync(upto, done));
        synced.blocking_recv().map_err(io::Error::other)?
    }

    /// The records after a revision; all that was written before the call is among them.
    pub(crate) async fn read(&self, after: Revision) -> Result<Reading, HistoryError> {
        let (done, read) = oneshot::channel();
        self.ask(Job::Read(after, done));
        read.await.unwrap_or(Err(HistoryError::Stopped))
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps the history panicked");
        }
    }
}

struct Keeper {
    files: Files,
    in_trouble: bool,
}

impl Keeper {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            self.take(first);
            // What waits is written in one piece.
            for _ in 0..JOBS_MAX {
                let Ok(next) = jobs.try_recv() else { break };
                self.take(next);
            }
            let flushed = self.files.flush();
            self.judge(flushed);
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Write(record) => {
                let written = self.files.append(&record);
                // What was only taken into memory does not say that the disk takes it again.
                if written.is_err() {
                    self.judge(written);
                }
            }
            Job::Restart(at) => {
                let restarted = self.files.restart(at);
                self.judge(restarted);
            }
            Job::Sync(upto, done) => {
                let synced = self.files.mark(upto).and_then(|()| self.files.sync());
                // Who asked may be gone.
                drop(done.send(synced));
            }
            Job::Read(after, done) => {
                let read = self.read(after);
                drop(done.send(read));
            }
        }
    }

    fn read(&mut self, after: Revision) -> Result<Reading, HistoryError> {
        self.files.flush().map_err(HistoryError::Read)?;
        if self.files.is_broken() {
            return Err(HistoryError::Stopped);
        }
        let horizon = self.files.horizon();
        if after < horizon {
            return Err(HistoryError::Gone { horizon });
        }
        Ok(Reading { after, parts: self.files.parts(after) })
    }

    fn judge(&mut self, result: io::Result<()>) {
        let is_bad = result.is_err();
        if let Err(error) = result
            && !self.in_trouble
        {
            tracing::error!(%error, "the history cannot be written; make room, or it begins anew");
        }
        self.in_trouble = is_bad;
    }
}
