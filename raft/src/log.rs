//! The log of this member: every entry, vote and commit position, durable before it is answered.
//!
//! Segmented files of preallocated zeros, checksummed records, one writer thread that syncs once
//! for everything that waits. Why it is our own stands in `docs/adr/0002-own-log-store.md`.

mod index;
mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt::Debug,
    io,
    ops::{Bound, Range, RangeBounds, RangeInclusive},
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::{mpsc, oneshot};

pub use self::recovery::LogError;
pub(crate) use self::writer::Site;
use self::{
    index::{Found, Index},
    writer::{Change, JOBS_MAX, Job, Writer},
};
use crate::{
    fatal::Fatal,
    options::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN},
    types::{Entry, LogId, Types, Vote},
};

/// Bytes of entries that are read for one message to a follower.
pub(crate) const READ_BYTES_MAX: u64 = 1 << 20;

/// The log; clones are the same log.
#[derive(Clone)]
pub(crate) struct Log {
    index: Arc<Mutex<Index>>,
    jobs: mpsc::Sender<Job>,
}

/// The writer's thread, to be waited for at the end.
pub(crate) struct WriterThread {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl WriterThread {
    /// Writes what waits and ends the thread.
    pub(crate) async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.jobs.send(Job::Stop(done)).await.is_ok() {
            drop(stopped.await);
        }
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the log writer panicked");
        }
    }
}

impl Log {
    /// Opens the log of `site`, or begins one where `may_begin`: a member that has voted must not
    /// forget how.
    pub(crate) fn open(
        site: Site,
        may_begin: bool,
        fatal: Fatal,
    ) -> Result<(Self, WriterThread), LogError> {
        let bytes = site.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let site = Site { segment_bytes: bytes, ..site };
        let folder = site.folder.clone();
        let io_error = |source| LogError::Io { what: "write a segment in", path: folder, source };
        let recovered = recovery::recover(&site)?;
        if recovered.is_empty() && !may_begin {
            return Err(LogError::Missing { path: site.folder });
        }
        if recovered.cut_bytes > 0 {
            let bytes = recovered.cut_bytes;
            tracing::warn!(bytes, "cut the torn end of a write that was never answered");
        }
        let writer = Writer::new(site, recovered, fatal);
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let spawn = |writer: Writer| {
            let index = writer.index();
            let run = move || writer.run(waiting);
            let thread = std::thread::Builder::new().name("log-writer".into()).spawn(run)?;
            Ok((index, thread))
        };
        let (index, thread) = writer.and_then(spawn).map_err(io_error)?;
        Ok((Self { index, jobs: jobs.clone() }, WriterThread { jobs, thread }))
    }

    /// The last entry that is gone; a snapshot has to hold it.
    pub(crate) fn purged(&self) -> Option<u64> {
        self.index().purged.map(|purged| purged.index)
    }

    /// The last entry to purge behind a snapshot that ends with `snapshot`, where so many entries
    /// and bytes of them may stay.
    pub(crate) fn purge_target(
        &self,
        snapshot: Option<u64>,
        keep_entries: u64,
        keep_bytes: u64,
    ) -> Option<u64> {
        self.index().purge_target(snapshot?, keep_entries, keep_bytes)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing under this lock panics half-way.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, change: Change) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.jobs.send(Job::Put(change, done)).await.map_err(|_| closed())?;
        written.await.map_err(|_| closed())?
    }

    async fn read(&self, range: Range<u64>, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let Found { cold, mut warm } = self.index().read(range, bytes_max);
        if cold.is_empty() {
            return Ok(warm);
        }
        let read = move || {
            let mut entries = Vec::with_capacity(cold.len() + warm.len());
            let mut bytes = Vec::new();
            for (file, place) in cold {
                bytes.resize(place.length as usize, 0);
                file.read_exact_at(&mut bytes, u64::from(place.offset))?;
                entries.push(record::entry(&bytes).map_err(io::Error::other)?);
            }
            entries.append(&mut warm);
            Ok(entries)
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        self.read(half_open(&range), u64::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start..end, READ_BYTES_MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.index().vote)
    }

    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> io::Result<Vec<LogId>> {
        Ok(self.index().key_ids(range.start().index, range.end().index))
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let index = self.index();
        Ok(LogState { last_purged_log_id: index.purged, last_log_id: index.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.index().vote = Some(*vote);
        self.put(Change::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let Some(committed) = committed else { return Ok(()) };
        self.index().committed = Some(committed);
        self.jobs.send(Job::Committed(committed)).await.map_err(|_| closed())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.index().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut index = self.index();
            for entry in &entries {
                index.push(entry.clone()).map_err(io::Error::other)?;
            }
        }
        self.jobs.send(Job::Append(entries, callback)).await.map_err(|_| closed())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let keep = last_log_id.map(|id| id.index);
        self.index().truncate(keep);
        self.put(Change::Truncate(keep)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.index().purge(log_id);
        self.put(Change::Purge(log_id)).await
    }
}
