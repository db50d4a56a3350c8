//! Snapshots in files:
//! `magic | version u32 | cluster u64 | meta length u32 | meta | store | crc32`, numbers
//! little-endian, meta and store as named MessagePack. A file stands under its name only when it is
//! whole and durable; one is kept.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Buf;
use kraken_engine::store::Store;
use serde::Serialize;

use crate::{background::Turns, disk::Disk, types::SnapshotMeta};

#[cfg(test)]
mod tests;

const MAGIC: &[u8; 8] = b"KRAKNSNP";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 24;
/// Bytes that are written in one piece.
const PIECE_BYTES: usize = 1 << 18;
/// Bytes of the file system that stay free when a snapshot is built.
const RESERVE_BYTES: u64 = 16 << 20;

/// The state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refuses.
    #[error("state: cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A snapshot is not what was written.
    #[error(
        "state: {path} cannot be read: {why}; remove this member from the cluster and let it join \
         again with an empty data folder"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// An open snapshot file. It can be read also when its name is gone.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) file: Arc<File>,
    pub(crate) bytes: u64,
    /// Where it stands as long as it is not in place.
    path: Option<PathBuf>,
}

/// The snapshots of one member.
pub(crate) struct Snapshots {
    disk: Disk,
    folder: PathBuf,
    cluster: u64,
    current: Mutex<Option<(SnapshotMeta, Image)>>,
    /// Held while one is put into place: one that was built may come at the same time as one that
    /// another member sent.
    placing: Mutex<()>,
    received: AtomicU64,
}

impl Snapshots {
    /// Opens the folder and reads the newest snapshot in it.
    pub(crate) fn open(
        disk: Disk,
        folder: PathBuf,
        cluster: u64,
    ) -> Result<(Self, Option<(SnapshotMeta, Store)>), StateError> {
        let newest = newest(&disk, &folder).map_err(|source| StateError::Io {
            what: "list",
            path: folder.clone(),
            source,
        })?;
        let (current, received) = (Mutex::new(None), AtomicU64::new(0));
        let placing = Mutex::new(());
        let snapshots = Self { disk, folder, cluster, current, placing, received };
        let Some(path) = newest else { return Ok((snapshots, None)) };
        let io_error = |source| StateError::Io { what: "read", path: path.clone(), source };
        let file = Arc::new(File::open(&path).map_err(io_error)?);
        let bytes = file.metadata().map_err(io_error)?.len();
        let image = Image { file, bytes, path: None };
        let damaged =
            |error: io::Error| StateError::Damaged { path: path.clone(), why: error.to_string() };
        let (meta, store) = snapshots.decode(&image).map_err(damaged)?;
        snapshots.set_current(meta.clone(), image);
        Ok((snapshots, Some((meta, store))))
    }

    /// Checks that the newest snapshot holds what the log no longer has.
    pub(crate) fn check_reaches(
        &self,
        newest: Option<&SnapshotMeta>,
        purged: Option<u64>,
    ) -> Result<(), StateError> {
        let held = newest.and_then(|meta| meta.last_log_id).map(|id| id.index);
        if purged <= held {
            return Ok(());
        }
        let why = format!("a snapshot up to entry {purged:?} is missing, there is one to {held:?}");
        Err(StateError::Damaged { path: self.folder.clone(), why })
    }

    /// The snapshot in place.
    pub(crate) fn current(&self) -> Option<(SnapshotMeta, Image)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is room for another one.
    pub(crate) fn room(&self) -> bool {
        let needed = self.current().map_or(0, |(_, image)| image.bytes * 2) + RESERVE_BYTES;
        rustix::fs::statvfs(&self.folder)
            .map_or(true, |room| room.f_bavail.saturating_mul(room.f_frsize) > needed)
    }

    /// Writes a snapshot and puts it into place.
    pub(crate) fn save(&self, meta: &SnapshotMeta, store: &Store) -> io::Result<Image> {
        let path = self.folder.join("building.tmp");
        let write = || {
            let file = self.disk.create(&path)?;
            let (disk, turns) = (&self.disk, Turns::new());
            let mut out = Summed { disk, file: &file, end: 0, crc: <_>::default(), turns };
            let mut buffered = BufWriter::with_capacity(PIECE_BYTES, &mut out);
            self.encode(&mut buffered, meta, store)?;
            buffered.flush()?;
            drop(buffered);
            let crc = out.crc.clone().finalize();
            out.write_all(&crc.to_le_bytes())?;
            let bytes = out.end;
            self.disk.sync_all(&file)?;
            Ok(Image { file: Arc::new(file), bytes, path: Some(path.clone()) })
        };
        let image = write().inspect_err(|_: &io::Error| drop(self.disk.remove(&path)))?;
        self.place(meta, image)
    }

    fn encode(&self, out: &mut impl Write, meta: &SnapshotMeta, store: &Store) -> io::Result<()> {
        let meta = rmp_serde::to_vec_named(meta).map_err(io::Error::other)?;
        let length = u32::try_from(meta.len()).map_err(io::Error::other)?;
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&self.cluster.to_le_bytes())?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&meta)?;
        let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
        store.serialize(&mut serializer).map_err(io::Error::other)
    }

    /// Reads and checks a snapshot.
    pub(crate) fn decode(&self, image: &Image) -> io::Result<(SnapshotMeta, Store)> {
        let length = usize::try_from(image.bytes).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        image.file.read_exact_at(&mut bytes, 0)?;
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let (body, crc) = bytes
            .split_last_chunk::<4>()
            .filter(|(body, _)| body.len() >= HEAD_BYTES && body.starts_with(MAGIC))
            .ok_or_else(|| invalid("it is no snapshot".to_owned()))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(invalid("the checksum does not match".to_owned()));
        }
        let mut rest = &body[MAGIC.len()..];
        let (version, cluster) = (rest.get_u32_le(), rest.get_u64_le());
        if version != VERSION {
            return Err(invalid(format!("format {version}, this release reads {VERSION}")));
        }
        if cluster != self.cluster {
            return Err(invalid("it is of another cluster".to_owned()));
        }
        let length = rest.get_u32_le() as usize;
        let (meta, store) =
            rest.split_at_checked(length).ok_or_else(|| invalid("it is too short".to_owned()))?;
        let meta = rmp_serde::from_slice(meta).map_err(|error| invalid(error.to_string()))?;
        let store = rmp_serde::from_slice(store).map_err(|error| invalid(error.to_string()))?;
        Ok((meta, store))
    }

    /// A new file for a snapshot that comes in.
    pub(crate) fn receive(&self) -> io::Result<Incoming> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("receiving-{number}.tmp"));
        let (disk, file) = (self.disk.clone(), self.disk.create(&path)?);
        Ok(Incoming { disk, file, path, bytes: 0, kept: false })
    }

    /// Puts a snapshot into place, in the stead of the one before: the newest one counts, whichever
    /// of a build and a transfer ends last.
    pub(crate) fn place(&self, meta: &SnapshotMeta, image: Image) -> io::Result<Image> {
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current().map(|(held, _)| held);
        if image.path.is_none() && current.as_ref() == Some(meta) {
            return Ok(image);
        }
        if current.is_some_and(|held| held.last_log_id > meta.last_log_id) {
            // A newer one has come while this one was built.
            if let Some(path) = &image.path {
                self.disk.remove(path)?;
            }
            return Ok(Image { path: None, ..image });
        }
        let image = if image.path.is_none() { self.copy(&image)? } else { image };
        let Some(path) = &image.path else { return Ok(image) };
        let name = meta.last_log_id.map_or_else(
            || "snapshot-none.state".to_owned(),
            |id| format!("snapshot-{:020}-{}.state", id.index + 1, id.leader_id),
        );
        self.disk.rename(path, &self.folder.join(&name))?;
        self.disk.sync_folder(&self.folder)?;
        let image = Image { path: None, ..image };
        self.set_current(meta.clone(), image.clone());
        for other in files(&self.folder)? {
            if other.file_name().is_some_and(|found| found < name.as_str()) {
                self.disk.remove(&other)?;
            }
        }
        Ok(image)
    }

    /// A file of our own with what stands in another one.
    fn copy(&self, image: &Image) -> io::Result<Image> {
        let mut copy = self.receive()?;
        let mut part = vec![0; PIECE_BYTES];
        while copy.bytes < image.bytes {
            let read = image.file.read_at(&mut part, copy.bytes)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            copy.write(&part[..read])?;
        }
        copy.finish()
    }

    fn set_current(&self, meta: SnapshotMeta, image: Image) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((meta, image));
    }
}

/// A snapshot that is being received; removed unless it is finished.
pub(crate) struct Incoming {
    disk: Disk,
    file: File,
    path: PathBuf,
    /// Bytes received.
    pub(crate) bytes: u64,
    kept: bool,
}

impl Incoming {
    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(&self.file, bytes, self.bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes it durable; it is put into place when it is installed.
    pub(crate) fn finish(mut self) -> io::Result<Image> {
        self.disk.sync_all(&self.file)?;
        self.kept = true;
        let file = Arc::new(self.file.try_clone()?);
        Ok(Image { file, bytes: self.bytes, path: Some(self.path.clone()) })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is removed at the next start.
            drop(self.disk.remove(&self.path));
        }
    }
}

/// What is written to a new file without haste, with the checksum of all of it.
struct Summed<'a> {
    disk: &'a Disk,
    file: &'a File,
    end: u64,
    crc: crc32fast::Hasher,
    turns: Turns,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(self.file, bytes, self.end)?;
        self.crc.update(bytes);
        self.end += bytes.len() as u64;
        self.turns.rest();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The newest snapshot; what was being written when the process ended is removed.
fn newest(disk: &Disk, folder: &Path) -> io::Result<Option<PathBuf>> {
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            disk.remove(&path)?;
        }
    }
    Ok(files(folder)?.into_iter().max())
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        if path.extension().is_some_and(|extension| extension == "state") {
            found.push(path);
        }
    }
    Ok(found)
}
