//! Reads the log of a member that starts again.
//!
//! The last write before a crash may stand in the file in part: that tail was never answered for
//! and is cut. Everything before it was, so that damage there is a refusal to start, never a
//! silently shorter log. What tells the two apart is the mark before each write, which says up to
//! where the file was durable by then.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    index::{Index, Place},
    record::{self, Broken, Record},
    segment::{self, HEADER_BYTES, Header, Segment},
    writer::Site,
};
use crate::{disk::Disk, types::LogId};

const REMEDY: &str = "remove this member from the cluster and let it join again with an empty \
                      data folder, or restore the file from a copy of this disk";

/// A log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refuses.
    #[error("log: cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Bytes that were durable are no longer what they were.
    #[error("log: {path} is damaged at byte {offset}: {why}; {REMEDY}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A whole record that this release cannot read.
    #[error(
        "log: {path} holds a record of kind {kind} at byte {offset} that this release cannot read; \
         start the release that wrote it"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The kind.
        kind: u8,
    },
    /// There is no log where there must be one.
    #[error("log: {path} holds no log though this is a member; {REMEDY}")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// A file of another cluster, member or place.
    #[error("log: {path} does not belong here: {why}; {REMEDY}")]
    Stranger {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
}

/// A segment that is no longer written to.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// Its number.
    pub(crate) number: u64,
    /// The greatest index of an entry in it.
    pub(crate) last_index: Option<u64>,
}

/// A log as it was found.
pub(crate) struct Recovered {
    /// What it holds.
    pub(crate) index: Index,
    /// Its sealed segments in order.
    pub(crate) sealed: Vec<Sealed>,
    /// The segment to go on in; `None` where a new one has to be begun.
    pub(crate) current: Option<Segment>,
    /// Number and checksum for the header of the next segment.
    pub(crate) next: (u64, u32),
    /// Bytes that were cut from the end.
    pub(crate) cut_bytes: u64,
    /// The first entry found, where those before it went with their segments: a purge has to
    /// account for them.
    begins: Option<u64>,
}

/// Reads all segments in `folder`.
pub(crate) fn recover(site: &Site) -> Result<Recovered, LogError> {
    let Site { disk, folder, cluster, member, .. } = site;
    let found = segment::list(disk, folder).map_err(io_error("list", folder))?;
    let mut log = Recovered {
        index: Index::default(),
        sealed: Vec::new(),
        current: None,
        next: (1, 0),
        cut_bytes: 0,
        begins: None,
    };
    let count = found.len();
    for (at, (number, path)) in found.into_iter().enumerate() {
        let last = at + 1 == count;
        if at > 0 && number != log.next.0 {
            let why = format!("expected segment {}", log.next.0);
            return Err(LogError::Stranger { path, why });
        }
        let reading = Reading::open(path, last)?;
        reading.check_header(*cluster, *member, number, (at > 0).then_some(log.next.1))?;
        reading.replay(disk, &mut log, number)?;
    }
    if let Some(begins @ 1..) = log.begins {
        let why = format!("the entries before {begins} are missing");
        return Err(LogError::Damaged { path: folder.to_owned(), offset: 0, why });
    }
    Ok(log)
}

fn io_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { what, path: path.clone(), source }
}

/// One segment as it is read.
struct Reading {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    last: bool,
}

impl Reading {
    fn open(path: PathBuf, last: bool) -> Result<Self, LogError> {
        let read = |path: &Path| {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = read(&path).map_err(io_error("read", &path))?;
        Ok(Self { path, file, bytes, last })
    }

    fn check_header(
        &self,
        cluster: u64,
        member: u64,
        number: u64,
        previous: Option<u32>,
    ) -> Result<(), LogError> {
        let header =
            Header::decode(&self.bytes).map_err(|error| self.damaged(0, error.to_string()))?;
        let expected =
            Header { cluster, member, number, previous: previous.unwrap_or(header.previous) };
        if header == expected {
            return Ok(());
        }
        let why = format!("its header says {header:?}, expected {expected:?}");
        Err(LogError::Stranger { path: self.path.clone(), why })
    }

    fn damaged(&self, offset: usize, why: String) -> LogError {
        LogError::Damaged { path: self.path.clone(), offset: offset as u64, why }
    }

    fn unknown(&self, offset: usize, kind: u8) -> LogError {
        LogError::Unknown { path: self.path.clone(), offset: offset as u64, kind }
    }

    fn replay(mut self, disk: &Disk, log: &mut Recovered, number: u64) -> Result<(), LogError> {
        let (mut at, mut proven) = (HEADER_BYTES, 0);
        let mut last_index = None;
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            match record::scan(rest) {
                Ok(Some((Record::Seal(crc), length))) => {
                    return self.seal(log, Sealed { number, last_index }, (at, length, crc));
                }
                Ok(Some((record, length))) => {
                    match &record {
                        Record::Entry(id) => last_index = last_index.max(Some(id.index)),
                        Record::Batch(durable) => proven = *durable,
                        _ => {}
                    }
                    let place = place(number, at, length);
                    log.replay(record, place).map_err(|why| self.damaged(at, why))?;
                    at += length;
                }
                Ok(None) if rest.iter().all(|byte| *byte == 0) => break,
                Ok(None) => {
                    self.cut(disk, log, at, "records follow where nothing was written".to_owned())?;
                    break;
                }
                // It was written as a whole.
                Err(Broken::Content(kind)) => return Err(self.unknown(at, kind)),
                Err(broken) => {
                    self.cut(disk, log, at, broken.to_string())?;
                    break;
                }
            }
        }
        if !self.last {
            return Err(self.damaged(at, "the segment ends without its seal".to_owned()));
        }
        self.write_again(disk, proven, at)?;
        self.resume(log, number, at, last_index);
        Ok(())
    }

    /// Writes down again what no mark says is durable. After a failed sync it may be read here, and
    /// be on no disk, and a later sync would not write it.
    fn write_again(&self, disk: &Disk, proven: u64, end: usize) -> Result<(), LogError> {
        let from = usize::try_from(proven).unwrap_or(end).min(end);
        let write = || {
            disk.write(&self.file, &self.bytes[from..end], from as u64)?;
            disk.sync_all(&self.file)
        };
        write().map_err(io_error("write the tail of", &self.path))
    }

    fn seal(
        self,
        log: &mut Recovered,
        sealed: Sealed,
        (at, length, crc): (usize, usize, u32),
    ) -> Result<(), LogError> {
        if crc32fast::hash(&self.bytes[HEADER_BYTES..at]) != crc {
            return Err(self.damaged(at, "the segment does not match its seal".to_owned()));
        }
        if self.bytes[at + length..].iter().any(|byte| *byte != 0) {
            return Err(self.damaged(at + length, "bytes follow the seal".to_owned()));
        }
        log.next = (sealed.number + 1, crc);
        log.index.files.insert(sealed.number, Arc::new(self.file));
        log.sealed.push(sealed);
        Ok(())
    }

    /// Cuts a torn tail off, or refuses: what stands after `at` tells whether `at` was durable.
    fn cut(
        &mut self,
        disk: &Disk,
        log: &mut Recovered,
        at: usize,
        why: String,
    ) -> Result<(), LogError> {
        let mut from = at;
        while let Some((start, durable)) = record::find_batch(&self.bytes[from..]) {
            if durable > at as u64 {
                return Err(self.damaged(at, why));
            }
            from += start + 1;
        }
        if !self.last {
            return Err(self.damaged(at, why));
        }
        let tail = &mut self.bytes[at..];
        log.cut_bytes = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        tail.fill(0);
        let zero = || {
            disk.write(&self.file, &self.bytes[at..], at as u64)?;
            disk.sync_all(&self.file)
        };
        zero().map_err(io_error("cut the torn tail of", &self.path))
    }

    fn resume(self, log: &mut Recovered, number: u64, at: usize, last_index: Option<u64>) {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.bytes[HEADER_BYTES..at]);
        let file = Arc::new(self.file);
        log.index.files.insert(number, Arc::clone(&file));
        log.next = (number + 1, 0);
        let size = self.bytes.len() as u64;
        log.current = Some(Segment { file, number, size, end: at as u64, crc, last_index });
    }
}

/// The offsets of a segment fit 32 bits: it is created no larger.
fn place(segment: u64, offset: usize, length: usize) -> Place {
    let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Place { segment, offset: narrow(offset), length: narrow(length) }
}

impl Recovered {
    /// Whether there was nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_none() && self.sealed.is_empty()
    }

    fn replay(&mut self, record: Record, place: Place) -> Result<(), String> {
        match record {
            Record::Entry(id) => return self.replay_entry(id, place),
            Record::Vote(vote) => self.index.vote = Some(vote),
            Record::Truncate(keep) => self.index.truncate(keep),
            Record::Purge(upto) => self.purge(upto),
            Record::Committed(committed) => self.index.committed = Some(committed),
            Record::Batch(_) | Record::Seal(_) => {}
        }
        Ok(())
    }

    /// A segment may hold entries that were purged later, and begin behind such that are gone with
    /// the segments before it.
    fn replay_entry(&mut self, id: LogId, place: Place) -> Result<(), String> {
        // Only the first segment of all may begin with any entry.
        let gap = id.index > self.index.next() && place.segment > 1;
        let begins = *self.begins.get_or_insert(if gap { id.index } else { 0 });
        if begins == id.index && gap {
            self.index.skip_to(begins);
        }
        if id.index < self.index.first() {
            return Ok(());
        }
        self.index.push_cold(id, place).map_err(|hole| hole.to_string())
    }

    fn purge(&mut self, upto: LogId) {
        self.index.purge(upto);
        if self.begins.is_some_and(|begins| upto.index + 1 >= begins) {
            self.begins = Some(0);
        }
    }
}
