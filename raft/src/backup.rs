//! Backups: all Cfg in one file, from which another quorum can be begun.
//!
//! `magic | version u32 | blocks | end`, numbers little-endian. A block is `length u32 | crc32 |
//! bytes`; the first is the header, the others are the store, both as named MessagePack. The end is
//! a length of 0 and the crc32 of all before it, so that a file that was cut off is known for one.
//! Nothing of a block is looked at before its sum is right, and a fault is told with its offset.

use std::io::{self, Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use kraken_engine::{
    id::{ClusterId, Epoch, Revision, Term},
    store::Store,
    time::Millis,
};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"KRAKNBAK";
const VERSION: u32 = 1;
/// Bytes of a block; the last one of a file is shorter.
const BLOCK_BYTES: usize = 256 << 10;
/// Largest block that is read, in bytes.
const BLOCK_BYTES_MAX: usize = 16 << 20;

/// A backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("the backup cannot be read at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("this is no backup of a cluster; give a file of `kraken cluster snapshot save`")]
    Stranger,
    /// It is of a release that writes it in another way.
    #[error("the backup has format {found}, this release reads {VERSION}; use the release of it")]
    Version {
        /// Its format.
        found: u32,
    },
    /// It ends too early.
    #[error("the backup ends at byte {offset}, before its end is written; take another copy of it")]
    Torn {
        /// Where it ends.
        offset: u64,
    },
    /// Bytes are not what was written.
    #[error("the backup is damaged at byte {offset}: {why}; take another copy of it")]
    Damaged {
        /// Where what is wrong begins.
        offset: u64,
        /// What is wrong.
        why: String,
    },
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupHeader {
    /// The release that wrote it.
    pub release: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch of its revisions.
    pub epoch: Epoch,
    /// The last entry that it holds.
    pub revision: Revision,
    /// The term of that entry.
    pub term: Term,
    /// When it was taken, by the clock of the member.
    pub at: Millis,
    /// How many objects it holds.
    pub objects: u64,
}

/// A backup that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// What it holds.
    #[serde(flatten)]
    pub header: BackupHeader,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Reads a backup to its end, all of Cfg included: what passes can be restored by this release.
pub fn verify(backup: impl Read) -> Result<Verified, BackupError> {
    let (header, _, bytes) = read(backup)?;
    Ok(Verified { header, bytes })
}

/// Writes a backup in pieces to whoever takes them.
pub(crate) fn write(
    header: &BackupHeader,
    store: &Store,
    take: impl FnMut(Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let mut blocks = Blocks { take, block: BytesMut::new(), sum: crc32fast::Hasher::new() };
    let mut head = BytesMut::new();
    head.put_slice(MAGIC);
    head.put_u32_le(VERSION);
    blocks.pass(head.freeze())?;
    let header = rmp_serde::to_vec_named(header).map_err(io::Error::other)?;
    blocks.write_all(&header)?;
    blocks.end_block()?;
    let mut serializer = rmp_serde::Serializer::new(&mut blocks).with_struct_map();
    store.serialize(&mut serializer).map_err(io::Error::other)?;
    blocks.end_block()?;
    blocks.end()
}

/// Gathers bytes to blocks.
struct Blocks<F> {
    take: F,
    block: BytesMut,
    sum: crc32fast::Hasher,
}

impl<F: FnMut(Bytes) -> io::Result<()>> Blocks<F> {
    fn pass(&mut self, bytes: Bytes) -> io::Result<()> {
        self.sum.update(&bytes);
        (self.take)(bytes)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let body = self.block.split().freeze();
        let mut head = BytesMut::new();
        head.put_u32_le(u32::try_from(body.len()).map_err(io::Error::other)?);
        head.put_u32_le(crc32fast::hash(&body));
        self.pass(head.freeze())?;
        self.pass(body)
    }

    fn end(mut self) -> io::Result<()> {
        let mut end = BytesMut::new();
        end.put_u32_le(0);
        end.put_u32_le(self.sum.finalize());
        (self.take)(end.freeze())
    }
}

impl<F: FnMut(Bytes) -> io::Result<()>> Write for Blocks<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a backup: what it says of itself, the store, and its size in bytes.
pub(crate) fn read(backup: impl Read) -> Result<(BackupHeader, Store, u64), BackupError> {
    let mut source = Source { inner: backup, offset: 0, sum: crc32fast::Hasher::new() };
    let mut head = [0; 12];
    let (magic, version) = match source.fill(&mut head) {
        Ok(()) => head.split_at(MAGIC.len()),
        Err(BackupError::Torn { .. }) => return Err(BackupError::Stranger),
        Err(error) => return Err(error),
    };
    if magic != MAGIC {
        return Err(BackupError::Stranger);
    }
    let version = number(version);
    if version != VERSION {
        return Err(BackupError::Version { found: version });
    }
    let offset = source.offset;
    let damaged = |why: String| BackupError::Damaged { offset, why };
    let first = source.block()?.ok_or_else(|| damaged("it has no header".to_owned()))?;
    let header = rmp_serde::from_slice(&first).map_err(|error| damaged(error.to_string()))?;
    let mut body = Body { source, block: Bytes::new(), ended: false, failed: None };
    let store = rmp_serde::from_read(&mut body);
    if let Some(error) = body.failed.take() {
        return Err(error);
    }
    let offset = body.source.offset;
    let damaged = |why: String| BackupError::Damaged { offset, why };
    let store = store.map_err(|error| damaged(error.to_string()))?;
    if !body.is_over()? {
        return Err(damaged("more follows than belongs to it".to_owned()));
    }
    Ok((header, store, body.source.offset))
}

struct Source<R> {
    inner: R,
    offset: u64,
    sum: crc32fast::Hasher,
}

impl<R: Read> Source<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let offset = self.offset;
        self.inner.read_exact(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Torn { offset },
            _ => BackupError::Read { offset, source },
        })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// The next block; `None` at the end.
    fn block(&mut self) -> Result<Option<Bytes>, BackupError> {
        let offset = self.offset;
        let damaged = |why: &str| BackupError::Damaged { offset, why: why.to_owned() };
        if offset == (MAGIC.len() + 4) as u64 {
            self.sum.update(MAGIC);
            self.sum.update(&VERSION.to_le_bytes());
        }
        let mut head = [0; 8];
        self.fill(&mut head)?;
        let (length, sum) = head.split_at(4);
        let (length, sum) = (number(length) as usize, number(sum));
        if length == 0 {
            let whole = self.sum.clone().finalize();
            return if sum == whole { Ok(None) } else { Err(damaged("the sum of all is wrong")) };
        }
        if length > BLOCK_BYTES_MAX {
            return Err(damaged("the length of a block is wrong"));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        if crc32fast::hash(&bytes) != sum {
            return Err(damaged("the sum of a block is wrong"));
        }
        self.sum.update(&head);
        self.sum.update(&bytes);
        Ok(Some(bytes.into()))
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The blocks after the header as one stream.
struct Body<R> {
    source: Source<R>,
    block: Bytes,
    ended: bool,
    failed: Option<BackupError>,
}

impl<R: Read> Body<R> {
    /// Makes sure that there is something to read, unless it is over.
    fn advance(&mut self) -> Result<(), BackupError> {
        if self.block.is_empty() && !self.ended {
            match self.source.block()? {
                Some(block) => self.block = block,
                None => self.ended = true,
            }
        }
        Ok(())
    }

    fn is_over(&mut self) -> Result<bool, BackupError> {
        self.advance()?;
        let mut beyond = [0];
        let more = self.source.inner.read(&mut beyond);
        let offset = self.source.offset;
        let more = more.map_err(|source| BackupError::Read { offset, source })?;
        Ok(self.block.is_empty() && more == 0)
    }
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Err(error) = self.advance() {
            let text = error.to_string();
            self.failed = Some(error);
            return Err(io::Error::other(text));
        }
        let taken = into.len().min(self.block.len());
        into[..taken].copy_from_slice(&self.block.split_to(taken));
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
