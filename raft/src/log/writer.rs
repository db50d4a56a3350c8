//! The one thread that writes the log.
//!
//! It takes everything that waits in its channel, writes it in one piece, syncs once, and then
//! answers all of it; what comes while it syncs is the next piece. Votes and entries pass through
//! in the order in which they came. The first error is the last thing it does: a disk that failed
//! to sync has no state that could be relied on, so that everything after is refused and the
//! process is told to end.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use openraft::{entry::RaftEntry, storage::IOFlushed};
use tokio::sync::{mpsc, oneshot};

use super::{
    index::{Index, Place},
    record::{self, SEAL_BYTES},
    recovery::{Recovered, Sealed},
    segment::{self, HEADER_BYTES, Header, Segment},
};
use crate::{
    disk::Disk,
    fatal::{Fatal, FatalError},
    types::{Entry, LogId, Types, Vote},
};

/// Requests that may wait for the writer.
pub(crate) const JOBS_MAX: usize = 4096;
/// Requests that are written in one piece.
const PIECE_JOBS_MAX: usize = 1024;
/// Bytes that are gathered before they are written.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// Bytes kept free in a new segment for what begins it: mark, vote, commit and purge position.
const STATE_BYTES_MAX: u64 = 256;

/// What the writer is asked.
pub(crate) enum Job {
    /// Put entries down and call back when they are durable.
    Append(Vec<Entry>, IOFlushed<Types>),
    /// Put down what is not an entry, and answer when it is durable.
    Put(Change, oneshot::Sender<io::Result<()>>),
    /// Put down the commit position with the next piece.
    Committed(LogId),
    /// End, and answer when all before is done.
    Stop(oneshot::Sender<()>),
}

/// What is put down beside entries.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// A vote.
    Vote(Vote),
    /// A truncation after this index.
    Truncate(Option<u64>),
    /// A purge up to and with this entry.
    Purge(LogId),
}

/// Where the writer writes.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The folder of the segments.
    pub(crate) folder: PathBuf,
    /// The cluster's id.
    pub(crate) cluster: u64,
    /// The member's id.
    pub(crate) member: u64,
    /// Bytes of a segment; one that has to hold a larger record is larger.
    pub(crate) segment_bytes: u64,
    /// How it writes.
    pub(crate) disk: Disk,
}

/// What has to be known at the start of every segment, so that older ones may go.
#[derive(Default)]
struct Standing {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

/// The writer's state, owned by its thread.
pub(crate) struct Writer {
    site: Site,
    index: Arc<Mutex<Index>>,
    fatal: Fatal,
    segment: Segment,
    sealed: VecDeque<Sealed>,
    standing: Standing,
    /// Offset in the segment up to which it is durable.
    durable: u64,
    buffer: Vec<u8>,
    /// Entries in the buffer: their id, offset and length there.
    unplaced: Vec<(LogId, usize, usize)>,
    spare: Option<JoinHandle<()>>,
}

impl Writer {
    /// Takes over a log as it was recovered.
    pub(crate) fn new(site: Site, recovered: Recovered, fatal: Fatal) -> io::Result<Self> {
        let Recovered { mut index, sealed, current, next, .. } = recovered;
        let standing =
            Standing { vote: index.vote, committed: index.committed, purged: index.purged };
        let segment = match current {
            Some(segment) => segment,
            None => create(&site, next, site.segment_bytes)?,
        };
        index.files.insert(segment.number, Arc::clone(&segment.file));
        let mut writer = Self {
            durable: segment.end,
            site,
            index: Arc::new(Mutex::new(index)),
            fatal,
            segment,
            sealed: sealed.into(),
            standing,
            buffer: Vec::new(),
            unplaced: Vec::new(),
            spare: None,
        };
        writer.restate()?;
        Ok(writer)
    }

    /// Puts down again what has to stand in the segment that is written to: a crash may have come
    /// between its creation and its first records, and the segments before it may go.
    fn restate(&mut self) -> io::Result<()> {
        if self.segment.end + STATE_BYTES_MAX + SEAL_BYTES as u64 > self.segment.size {
            self.rotate(0)?;
        } else {
            self.begin_segment();
        }
        self.flush()?;
        self.sync()
    }

    /// The index that the writer keeps.
    pub(crate) fn index(&self) -> Arc<Mutex<Index>> {
        Arc::clone(&self.index)
    }

    /// Works until it is stopped or nobody can ask any more.
    pub(crate) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut failed: Option<io::Error> = None;
        while let Some(first) = jobs.blocking_recv() {
            let mut piece = vec![first];
            while piece.len() < PIECE_JOBS_MAX
                && let Ok(job) = jobs.try_recv()
            {
                piece.push(job);
            }
            if failed.is_none()
                && let Err(error) = self.write_piece(&piece)
            {
                self.fatal.raise(FatalError::Log { why: error.to_string() });
                failed = Some(error);
            }
            if answer(piece, failed.as_ref()) {
                break;
            }
        }
        self.join_spare();
    }

    fn write_piece(&mut self, piece: &[Job]) -> io::Result<()> {
        record::put_batch(&mut self.buffer, self.durable);
        self.fit(0)?;
        let mut wanted = false;
        for job in piece {
            match job {
                Job::Append(entries, _) => {
                    entries.iter().try_for_each(|entry| self.put_entry(entry))?;
                    wanted = true;
                }
                Job::Put(change, _) => {
                    self.put_change(*change)?;
                    wanted = true;
                }
                Job::Committed(id) => {
                    self.standing.committed = Some(*id);
                    self.put(|out| record::put_committed(out, *id))?;
                }
                Job::Stop(_) => wanted = true,
            }
        }
        self.flush()?;
        if wanted {
            self.sync()?;
            self.drop_purged()?;
        }
        self.prepare_spare();
        Ok(())
    }

    fn put_entry(&mut self, entry: &Entry) -> io::Result<()> {
        let start = self.buffer.len();
        record::put_entry(&mut self.buffer, entry).map_err(io::Error::other)?;
        let start = self.fit(start)?;
        let id = entry.log_id();
        self.unplaced.push((id, start, self.buffer.len() - start));
        self.segment.last_index = self.segment.last_index.max(Some(id.index));
        Ok(())
    }

    fn put_change(&mut self, change: Change) -> io::Result<()> {
        match change {
            Change::Vote(vote) => {
                self.standing.vote = Some(vote);
                self.put(|out| record::put_vote(out, &vote))
            }
            Change::Truncate(keep) => self.put(|out| record::put_truncate(out, keep)),
            Change::Purge(upto) => {
                self.standing.purged = Some(upto);
                self.put(|out| record::put_purge(out, upto))
            }
        }
    }

    fn put(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let start = self.buffer.len();
        encode(&mut self.buffer);
        self.fit(start).map(|_| ())
    }

    /// Makes room for the record that begins at `start` in the buffer, in the next segment where
    /// this one is full, and answers with where in the buffer it is then.
    fn fit(&mut self, start: usize) -> io::Result<usize> {
        let full = self.segment.end + (self.buffer.len() + SEAL_BYTES) as u64 > self.segment.size;
        if !full && start < PIECE_BYTES_MAX {
            return Ok(start);
        }
        let record = self.buffer.split_off(start);
        self.flush()?;
        if full {
            self.rotate(record.len() as u64)?;
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&record);
        Ok(start)
    }

    fn rotate(&mut self, needed: u64) -> io::Result<()> {
        let crc = self.segment.checksum();
        record::put_seal(&mut self.buffer, crc);
        self.flush()?;
        self.sync()?;
        self.join_spare();
        let least = HEADER_BYTES as u64 + STATE_BYTES_MAX + needed + SEAL_BYTES as u64;
        let size = self.site.segment_bytes.max(least);
        let next = create(&self.site, (self.segment.number + 1, crc), size)?;
        let full = std::mem::replace(&mut self.segment, next);
        self.sealed.push_back(Sealed { number: full.number, last_index: full.last_index });
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.files.insert(self.segment.number, Arc::clone(&self.segment.file));
        drop(index);
        self.durable = self.segment.end;
        self.begin_segment();
        Ok(())
    }

    fn begin_segment(&mut self) {
        record::put_batch(&mut self.buffer, self.durable);
        if let Some(vote) = &self.standing.vote {
            record::put_vote(&mut self.buffer, vote);
        }
        if let Some(purged) = self.standing.purged {
            record::put_purge(&mut self.buffer, purged);
        }
        if let Some(committed) = self.standing.committed {
            record::put_committed(&mut self.buffer, committed);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let at = self.segment.write(&self.site.disk, &self.buffer)?;
        self.buffer.clear();
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, start, length) in self.unplaced.drain(..) {
            // Segments are created below 4 GiB.
            let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
            let (offset, length) = (narrow(at + start as u64), narrow(length as u64));
            index.placed(id, Place { segment: self.segment.number, offset, length });
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.site.disk.sync(&self.segment.file)?;
        self.durable = self.segment.end;
        Ok(())
    }

    /// Removes the segments of which nothing is needed any more.
    fn drop_purged(&mut self) -> io::Result<()> {
        let Some(purged) = self.standing.purged else { return Ok(()) };
        let gone = |sealed: &mut Sealed| sealed.last_index.is_none_or(|last| last <= purged.index);
        let mut any = false;
        while let Some(sealed) = self.sealed.pop_front_if(gone) {
            let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            index.files.remove(&sealed.number);
            drop(index);
            self.site.disk.remove(&self.site.folder.join(segment::name(sealed.number)))?;
            any = true;
        }
        if any { self.site.disk.sync_folder(&self.site.folder) } else { Ok(()) }
    }

    /// Fills the next segment with zeros beside the work, once half of this one is used.
    fn prepare_spare(&mut self) {
        if self.spare.is_some() || self.segment.end < self.segment.size / 2 {
            return;
        }
        let Site { folder, segment_bytes: bytes, disk, .. } = self.site.clone();
        let prepare = move || {
            if let Err(error) = segment::preallocate(&disk, &folder, bytes) {
                tracing::warn!(%error, "the next log segment cannot be prepared; make room");
            }
        };
        self.spare = std::thread::Builder::new().name("log-spare".into()).spawn(prepare).ok();
    }

    /// Whether it succeeded is seen when the segment is created.
    fn join_spare(&mut self) {
        if let Some(spare) = self.spare.take()
            && spare.join().is_err()
        {
            tracing::warn!("the thread that prepares log segments panicked");
        }
    }
}

fn create(site: &Site, (number, previous): (u64, u32), size: u64) -> io::Result<Segment> {
    let header = Header { cluster: site.cluster, member: site.member, number, previous };
    Segment::create(&site.disk, &site.folder, header, size)
}

/// Answers everything in a piece; true where it holds the end.
fn answer(piece: Vec<Job>, failed: Option<&io::Error>) -> bool {
    let result = || match failed {
        None => Ok(()),
        Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    let mut stop = false;
    for job in piece {
        match job {
            Job::Append(_, done) => done.io_completed(result()),
            // Who asked may be gone; then nobody relies on the answer.
            Job::Put(_, done) => drop(done.send(result())),
            Job::Stop(done) => {
                stop = true;
                let _ = done.send(());
            }
            Job::Committed(_) => {}
        }
    }
    stop
}
