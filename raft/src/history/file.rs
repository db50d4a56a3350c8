//! The files of the history: `magic | version u32 | cluster u64 | after u64 | records u64 | newest
//! u64 | crc32`, then records as `length u32 | crc32 | record`, numbers little-endian, records as
//! named MessagePack. `after` is the revision before the first that a file can hold, and names it;
//! `records` and `newest` tell how many writes the file before holds and the time of the newest,
//! so that only the last file is read at start.

use std::{
    fs::{self, File},
    io,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut};
use kraken_engine::{history::Record, id::Revision, time::Millis};

use super::{Retention, Shelf};
use crate::folder::sync_folder;

const MAGIC: &[u8; 8] = b"KRAKPAST";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 48;
const RECORD_HEAD_BYTES: usize = 8;
/// Bytes after which a file is followed by the next one.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Writes after which a file is followed by the next one.
const FILE_RECORDS_MAX: u64 = 4_096;
/// Bytes that are gathered before they are written.
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// Bytes that are kept for a disk that takes nothing.
const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// One file as far as it is written.
#[derive(Debug, Clone)]
pub(super) struct Part {
    file: Arc<File>,
    end: u64,
}

impl Part {
    /// Hands over its records until told to stop.
    pub(super) fn each(
        &self,
        mut see: impl FnMut(Record) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let mut reader = Reader { file: &self.file, at: HEADER_BYTES as u64, end: self.end };
        while let Some(record) = reader.next()? {
            if see(record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

struct Reader<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Reader<'_> {
    /// The next record; `None` at the end. What is broken is an error of kind `InvalidData`.
    fn next(&mut self) -> io::Result<Option<Record>> {
        let broken = |why: &str| {
            let why = format!("broken at byte {}: {why}", self.at);
            io::Error::new(io::ErrorKind::InvalidData, why)
        };
        let left = self.end.saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        let mut head = [0; RECORD_HEAD_BYTES];
        if left < RECORD_HEAD_BYTES as u64 {
            return Err(broken("half a record"));
        }
        self.file.read_exact_at(&mut head, self.at)?;
        let mut rest = &head[..];
        let (length, crc) = (rest.get_u32_le(), rest.get_u32_le());
        if u64::from(length) > left - RECORD_HEAD_BYTES as u64 {
            return Err(broken("a record that is longer than the file"));
        }
        let mut body = vec![0; length as usize];
        self.file.read_exact_at(&mut body, self.at + RECORD_HEAD_BYTES as u64)?;
        if crc32fast::hash(&body) != crc {
            return Err(broken("the checksum does not match"));
        }
        let record = rmp_serde::from_slice(&body).map_err(|error| broken(&error.to_string()))?;
        self.at += RECORD_HEAD_BYTES as u64 + u64::from(length);
        Ok(Some(record))
    }
}

impl Reader<'_> {
    /// The next record; `None` also where the rest is broken.
    fn next_whole(&mut self) -> io::Result<Option<Record>> {
        match self.next() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            next => next,
        }
    }
}

/// A file that is kept, with what retention has to know of it.
#[derive(Debug)]
struct Volume {
    path: PathBuf,
    part: Part,
    /// Nothing up to this revision is in it.
    after: Revision,
    /// The time of its newest write.
    newest_at: Millis,
    records: u64,
}

/// All files, oldest first; the last one is written to.
#[derive(Debug)]
pub(super) struct Files {
    shelf: Shelf,
    volumes: Vec<Volume>,
    /// The newest revision that is held.
    last: Revision,
    /// The newest revision of which the disk did not take the record.
    lost: Option<Revision>,
    buffer: Vec<u8>,
}

impl Files {
    /// Reads what there is and goes on behind it; where there is nothing, begins at `state`, what
    /// is held before the log is applied. What lies before damage, or before what is missing up to
    /// there, is forgotten, for it could not be told without a hole.
    pub(super) fn open(shelf: Shelf, state: Revision) -> io::Result<Self> {
        fs::create_dir_all(&shelf.folder)?;
        let (volumes, buffer) = (Vec::new(), Vec::new());
        let mut files = Self { shelf, volumes, last: Revision::default(), lost: None, buffer };
        files.read_all()?;
        if files.volumes.is_empty() {
            files.last = state;
            files.begin(state)?;
        } else if files.last < state {
            let (last, state) = (files.last, state);
            tracing::warn!(%last, %state, "the history ends too early: a part of it is lost");
            files.restart(state)?;
        }
        Ok(files)
    }

    fn read_all(&mut self) -> io::Result<()> {
        let mut paths = list(&self.shelf.folder)?;
        // The last file without a header was about to be begun, and holds nothing.
        paths
            .pop_if(|path| !has_header(path, self.shelf.cluster))
            .map_or(Ok(()), fs::remove_file)?;
        let count = paths.len();
        for (at, path) in paths.into_iter().enumerate() {
            match self.read_volume(&path, at + 1 == count) {
                Ok((volume, before)) => {
                    if let Some(last) = self.volumes.last_mut() {
                        (last.records, last.newest_at) = (before.records, before.newest_at);
                    }
                    self.volumes.push(volume);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(path = %path.display(), %error, "a part of the history is lost");
                    fs::remove_file(&path)?;
                    for volume in self.volumes.drain(..) {
                        fs::remove_file(volume.path)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A file, and what its header says of the one before. Of the last one the records are read,
    /// and a torn end is cut: it is applied anew from the log.
    fn read_volume(&mut self, path: &Path, is_last: bool) -> io::Result<(Volume, Header)> {
        let file = File::options().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        let header = Header::read(&file, length, self.shelf.cluster)?;
        let (after, path) = (header.after, path.to_owned());
        self.last = after;
        let (mut newest_at, mut records) = (Millis::ZERO, 0);
        let mut reader = Reader { file: &file, at: HEADER_BYTES as u64, end: length };
        let mut end = length;
        if is_last {
            while let Some(record) = reader.next_whole()? {
                newest_at = newest_at.max(record.at);
                records += 1;
                self.last = record.revision;
            }
            end = reader.at;
            file.set_len(end)?;
        }
        let part = Part { file: Arc::new(file), end };
        Ok((Volume { path, part, after, newest_at, records }, header))
    }

    /// Whether records are missing before the next one that is written.
    pub(super) fn is_broken(&self) -> bool {
        self.lost.is_some()
    }

    /// The oldest revision that can be told.
    pub(super) fn horizon(&self) -> Revision {
        self.volumes.first().map_or(self.last, |volume| volume.after)
    }

    /// The files that hold what comes after a revision.
    pub(super) fn parts(&self, after: Revision) -> Vec<Part> {
        let from = self.volumes.iter().rposition(|volume| volume.after <= after).unwrap_or(0);
        self.volumes.iter().skip(from).map(|volume| volume.part.clone()).collect()
    }

    /// Adds a record; one that is held, as after a restart, is passed over. An error says that the
    /// disk is in trouble: what it does not take stays in memory up to a limit, past which the
    /// history begins anew.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        if record.revision <= self.last {
            return Ok(());
        }
        if self.buffer.len() > BACKLOG_BYTES_MAX {
            self.lost = Some(self.last);
        }
        if let Some(lost) = self.lost {
            self.lost = Some(record.revision);
            self.restart(lost)?;
        }
        let turned = self.turn(record.at);
        self.put(record)?;
        turned?;
        if self.buffer.len() > BUFFER_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    /// Marks that everything up to a revision is held.
    pub(super) fn mark(&mut self, upto: Revision) -> io::Result<()> {
        let at = self.volumes.last().map(|volume| volume.newest_at).unwrap_or_default();
        let (author, changes) = (String::new(), Vec::new());
        self.append(&Record { revision: upto, at, author, note: None, changes })
    }

    /// Begins the next file where the last one is full.
    fn turn(&mut self, now: Millis) -> io::Result<()> {
        let full = self.volumes.last().is_none_or(|volume| {
            volume.part.end + self.buffer.len() as u64 >= FILE_BYTES_MAX
                || volume.records >= FILE_RECORDS_MAX
        });
        if full {
            self.sync()?;
            self.begin(self.last)?;
            self.cut(now)?;
        }
        Ok(())
    }

    fn put(&mut self, record: &Record) -> io::Result<()> {
        let body = rmp_serde::to_vec_named(record).map_err(io::Error::other)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        self.buffer.put_u32_le(length);
        self.buffer.put_u32_le(crc32fast::hash(&body));
        self.buffer.extend_from_slice(&body);
        self.last = record.revision;
        if let Some(volume) = self.volumes.last_mut() {
            volume.records += 1;
            volume.newest_at = volume.newest_at.max(record.at);
        }
        Ok(())
    }

    /// Writes what has gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(volume) = self.volumes.last_mut().filter(|_| !self.buffer.is_empty()) {
            volume.part.file.write_all_at(&self.buffer, volume.part.end)?;
            volume.part.end += self.buffer.len() as u64;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Makes what was added durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.volumes.last().map_or(Ok(()), |volume| volume.part.file.sync_data())
    }

    /// Forgets everything; what comes after `at` is held from now on.
    pub(super) fn restart(&mut self, at: Revision) -> io::Result<()> {
        self.buffer.clear();
        self.last = at;
        for volume in self.volumes.drain(..) {
            fs::remove_file(&volume.path)?;
        }
        self.begin(at)?;
        self.lost = None;
        Ok(())
    }

    fn begin(&mut self, after: Revision) -> io::Result<()> {
        let path = self.shelf.folder.join(format!("{:020}.past", after.get()));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let before = self.volumes.last();
        let header = Header {
            after,
            records: before.map_or(0, |volume| volume.records),
            newest_at: before.map_or(Millis::ZERO, |volume| volume.newest_at),
        };
        file.write_all_at(&header.encode(self.shelf.cluster), 0)?;
        file.sync_all()?;
        sync_folder(&self.shelf.folder)?;
        let part = Part { file: Arc::new(file), end: HEADER_BYTES as u64 };
        self.volumes.push(Volume { path, part, after, newest_at: Millis::ZERO, records: 0 });
        Ok(())
    }

    /// Removes what retention no longer keeps; never the file that is written to.
    fn cut(&mut self, now: Millis) -> io::Result<()> {
        let Retention { age, revisions, bytes } = self.shelf.retention;
        while self.volumes.len() > 1 {
            let held: u64 = self.volumes.iter().map(|volume| volume.part.end).sum();
            let records: u64 = self.volumes.iter().map(|volume| volume.records).sum();
            let oldest = &self.volumes[0];
            let too_old = now.since(oldest.newest_at) > age;
            if !too_old && held <= bytes && records <= revisions {
                break;
            }
            fs::remove_file(&oldest.path)?;
            self.volumes.remove(0);
        }
        Ok(())
    }
}

#[cfg(test)]
impl Files {
    /// Puts another file in the place of the one that is written to.
    pub(super) fn replace_file(&mut self, file: Arc<File>) -> Arc<File> {
        let volume = self.volumes.last_mut().unwrap();
        std::mem::replace(&mut volume.part.file, file)
    }
}

/// What stands at the beginning of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    after: Revision,
    /// How many writes the file before holds.
    records: u64,
    /// The time of the newest of them.
    newest_at: Millis,
}

impl Header {
    fn encode(self, cluster: u64) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = &mut bytes[..];
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u64_le(cluster);
        out.put_u64_le(self.after.get());
        out.put_u64_le(self.records);
        out.put_u64_le(self.newest_at.get());
        let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn read(file: &File, length: u64, cluster: u64) -> io::Result<Self> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let mut bytes = [0; HEADER_BYTES];
        if length < HEADER_BYTES as u64 {
            return Err(invalid("the header is cut off".to_owned()));
        }
        file.read_exact_at(&mut bytes, 0)?;
        let (body, crc) = bytes.split_at(HEADER_BYTES - 4);
        if !body.starts_with(MAGIC) || crc32fast::hash(body).to_le_bytes() != crc {
            return Err(invalid("the header is damaged".to_owned()));
        }
        let mut rest = &body[MAGIC.len()..];
        let (version, found) = (rest.get_u32_le(), rest.get_u64_le());
        if version != VERSION || found != cluster {
            return Err(invalid(format!("format {version} of cluster {found:x}")));
        }
        Ok(Self {
            after: Revision::new(rest.get_u64_le()),
            records: rest.get_u64_le(),
            newest_at: Millis::new(rest.get_u64_le()),
        })
    }
}

fn has_header(path: &Path, cluster: u64) -> bool {
    let read = |file: File| Header::read(&file, file.metadata()?.len(), cluster);
    File::open(path).and_then(read).is_ok()
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        if path.extension().is_some_and(|extension| extension == "past") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
