//! One segment file of the log: its name, its header, its preallocation, its writes.
//!
//! A segment is filled with zeros before it is used, so that a write never allocates: a full disk
//! is met when the log rotates and not in the middle of a record, and `fdatasync` has no metadata
//! to write.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut};

use crate::disk::Disk;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 64;
const HEADER_USED: usize = 48;
const MAGIC: &[u8; 8] = b"KRAKNLOG";
const VERSION: u32 = 1;
const SPARE: &str = "spare.tmp";
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Whose log a segment belongs to and where it stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The cluster's id.
    pub(crate) cluster: u64,
    /// The member's id.
    pub(crate) member: u64,
    /// From 1, without gaps.
    pub(crate) number: u64,
    /// The checksum with which the segment before was sealed; 0 in the first.
    pub(crate) previous: u32,
}

/// A header that is none of this release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// Magic or checksum do not match.
    #[error("the header is damaged")]
    Damaged,
    /// Another format.
    #[error("format {0} is not read by this release, which reads {VERSION}")]
    Version(u32),
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = &mut bytes[..];
        out.put_slice(MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(0);
        out.put_u64_le(self.cluster);
        out.put_u64_le(self.member);
        out.put_u64_le(self.number);
        out.put_u32_le(self.previous);
        let crc = crc32fast::hash(&bytes[..HEADER_USED - 4]);
        bytes[HEADER_USED - 4..HEADER_USED].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let used = bytes.get(..HEADER_USED).ok_or(HeaderError::Damaged)?;
        let mut rest = used.strip_prefix(MAGIC).ok_or(HeaderError::Damaged)?;
        let version = rest.get_u32_le();
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        rest.advance(4);
        let header = Self {
            cluster: rest.get_u64_le(),
            member: rest.get_u64_le(),
            number: rest.get_u64_le(),
            previous: rest.get_u32_le(),
        };
        if rest.get_u32_le() != crc32fast::hash(&used[..HEADER_USED - 4]) {
            return Err(HeaderError::Damaged);
        }
        Ok(header)
    }
}

/// A segment that is written to.
pub(crate) struct Segment {
    pub(crate) file: Arc<File>,
    pub(crate) number: u64,
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Where the next record goes.
    pub(crate) end: u64,
    /// Of all bytes from the header to `end`.
    pub(crate) crc: crc32fast::Hasher,
    /// The greatest index of an entry in here.
    pub(crate) last_index: Option<u64>,
}

impl Segment {
    /// Creates a segment of `size` bytes, from the spare file where that is large enough.
    pub(crate) fn create(
        disk: &Disk,
        folder: &Path,
        header: Header,
        size: u64,
    ) -> io::Result<Self> {
        let spare = folder.join(SPARE);
        if !fs::metadata(&spare).is_ok_and(|found| found.len() >= size) {
            preallocate(disk, folder, size)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&spare)?;
        let size = file.metadata()?.len();
        disk.write(&file, &header.encode(), 0)?;
        disk.sync_all(&file)?;
        disk.rename(&spare, &folder.join(name(header.number)))?;
        disk.sync_folder(folder)?;
        Ok(Self {
            file: Arc::new(file),
            number: header.number,
            size,
            end: HEADER_BYTES as u64,
            crc: crc32fast::Hasher::new(),
            last_index: None,
        })
    }

    /// Writes at the end and answers with where.
    pub(crate) fn write(&mut self, disk: &Disk, bytes: &[u8]) -> io::Result<u64> {
        let at = self.end;
        disk.write(&self.file, bytes, at)?;
        self.crc.update(bytes);
        self.end += bytes.len() as u64;
        Ok(at)
    }

    /// The checksum of everything written after the header.
    pub(crate) fn checksum(&self) -> u32 {
        self.crc.clone().finalize()
    }
}

/// Writes a spare file of zeros, so that the next [`Segment::create`] has nothing to allocate.
pub(crate) fn preallocate(disk: &Disk, folder: &Path, size: u64) -> io::Result<()> {
    let path = folder.join(SPARE);
    let building = folder.join("building.tmp");
    let written = zeros(disk, &building, size);
    if written.is_err() {
        // Give the space back; the error that counts is the first one.
        drop(disk.remove(&building));
    }
    written?;
    disk.rename(&building, &path)
}

fn zeros(disk: &Disk, path: &Path, size: u64) -> io::Result<()> {
    let file = disk.create(path)?;
    let mut at = 0;
    while at < size {
        let part = usize::try_from(size - at).unwrap_or(usize::MAX).min(ZEROS.len());
        disk.write(&file, &ZEROS[..part], at)?;
        at += part as u64;
    }
    disk.sync_all(&file)
}

/// The file name of a segment.
pub(crate) fn name(number: u64) -> String {
    format!("{number:020}.log")
}

/// The segments in a folder in order. Files that were being built when the process ended are
/// removed.
pub(crate) fn list(disk: &Disk, folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            disk.remove(&path)?;
        } else if let Some(number) = file.strip_suffix(".log").and_then(|stem| stem.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}
