//! The files themselves and the record of what was written. Everything here blocks.
//!
//! `records/<name>.json` in the module's folder holds what was written last of each file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use kraken_actors::module::MutateError;
use kraken_engine::{id::Name, state::State, value::STRING_BYTES_MAX};
use nix::{errno::Errno, fcntl::OFlag};
use serde::{Deserialize, Serialize};

use super::{
    sight::{self, Sight},
    wanted::{self, Wanted, only_reports, place, wanted},
};
use crate::atomic_file;

/// The version of the record's format.
const RECORD_VERSION: u32 = 1;

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    File(Contents),
    /// Something that is no regular file, in words.
    Other(String),
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    /// Its first bytes: all, unless it is longer than any that Cfg could ask for.
    pub(super) bytes: Vec<u8>,
    /// How long it is.
    pub(super) length: u64,
    /// Its permissions.
    pub(super) mode: u32,
    /// Its user.
    pub(super) uid: u32,
    /// Its group.
    pub(super) gid: u32,
}

/// Why a file could not be written or removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// What is asked for cannot be.
    #[error(transparent)]
    Wanted(#[from] wanted::Error),
    /// The file or a folder of it.
    #[error("cannot {what} {path:?}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a thing to replace by a file.
    #[error("{path:?} is {what}; move it away")]
    InTheWay {
        /// The place.
        path: PathBuf,
        /// What is there.
        what: String,
    },
    /// Drift that Cfg says to leave.
    #[error("{path:?} has drifted and is only to be reported: {drift}")]
    OnlyReported {
        /// The place.
        path: PathBuf,
        /// How it differs.
        drift: String,
    },
}

/// The folder of the module, and where relative paths start.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    records: PathBuf,
    root: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    written: Wanted,
}

impl From<Error> for MutateError {
    fn from(error: Error) -> Self {
        if error.is_permanent() { Self::permanent(error) } else { Self::transient(error) }
    }
}

impl Error {
    fn is_permanent(&self) -> bool {
        match self {
            Self::Wanted(_) | Self::InTheWay { .. } | Self::OnlyReported { .. } => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::InvalidFilename
            ),
        }
    }
}

impl Folder {
    /// Opens the folder of the module; relative paths start at `root`.
    pub(super) fn open(data: &Path, root: PathBuf) -> io::Result<Self> {
        let records = data.join("records");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&records)?;
        fs::create_dir_all(&root)?;
        Ok(Self { records, root })
    }

    /// What a file is. One that is as Cfg asks is taken as written, whoever wrote it.
    pub(super) fn see(&self, node: &Name, name: &Name, cfg: &State) -> Sight {
        let wanted = match wanted(node, name, cfg, &self.root) {
            Ok(wanted) => wanted,
            Err(error) => return Sight::drifted(String::new(), error.to_string()),
        };
        let found = match look(&wanted.at) {
            Ok(found) => found,
            Err(error) => Found::Other(format!("not to be read: {error}")),
        };
        let written = self.written_at(name, &wanted.at);
        let sight = Sight::of(&found, &wanted, written.as_ref());
        let as_wanted = sight.spec.as_ref() == Some(&wanted.spec);
        if as_wanted && written.is_none_or(|written| written != wanted) {
            self.record(name, &wanted);
        }
        sight
    }

    /// Writes a file as Cfg asks.
    pub(super) fn write(&self, node: &Name, name: &Name, cfg: &State) -> Result<(), Error> {
        let wanted = wanted(node, name, cfg, &self.root)?;
        let path = wanted.at.clone();
        let io_at = |what| {
            let path = path.clone();
            move |source| Error::Io { what, path, source }
        };
        let sight = self.see(node, name, cfg);
        if let Some(drift) = sight.drift.filter(|_| only_reports(name, cfg)) {
            return Err(Error::OnlyReported { path, drift });
        }
        if fs::symlink_metadata(&wanted.at).is_ok_and(|found| found.is_dir()) {
            return Err(Error::InTheWay { path, what: "a folder".to_owned() });
        }
        if let Some(parent) = wanted.at.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .map_err(io_at("make the folder of"))?;
        }
        let own = |file: &File| match (wanted.uid, wanted.gid) {
            (None, None) => Ok(()),
            (uid, gid) => fchown(file, uid, gid),
        };
        let before = self.written(name);
        atomic_file::replace(&wanted.at, wanted.content.as_bytes(), wanted.mode, own)
            .map_err(io_at("write"))?;
        self.record(name, &wanted);
        if let Some(before) = before.filter(|before| before.at != wanted.at) {
            remove_unchanged(&before);
        }
        Ok(())
    }

    /// Removes a file, whatever it holds.
    pub(super) fn remove(&self, node: &Name, name: &Name, cfg: &State) -> Result<(), Error> {
        let path = place(node, name, cfg, &self.root)?;
        let drift = self.see(node, name, cfg).drift;
        if let Some(drift) =
            drift.filter(|_| only_reports(name, cfg) && fs::symlink_metadata(&path).is_ok())
        {
            return Err(Error::OnlyReported { path, drift });
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_nothing(&error) => {}
            Err(_) if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) => {
                return Err(Error::InTheWay { path, what: "a folder".to_owned() });
            }
            Err(source) => return Err(Error::Io { what: "remove", path, source }),
        }
        match fs::remove_file(self.record_path(name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Io { what: "remove", path: self.record_path(name), source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn written_at(&self, name: &Name, at: &Path) -> Option<Wanted> {
        self.written(name).filter(|written| written.at == at)
    }

    /// What was written last. A record that cannot be read is as none: then what is found and is
    /// not as asked counts as drift, which is the careful side.
    fn written(&self, name: &Name) -> Option<Wanted> {
        let bytes = fs::read(self.record_path(name)).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        (record.version == RECORD_VERSION).then_some(record.written)
    }

    fn record(&self, name: &Name, written: &Wanted) {
        let record = Record { version: RECORD_VERSION, written: written.clone() };
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        let path = self.record_path(name);
        if let Err(error) = atomic_file::replace(&path, &bytes, 0o600, |_| Ok(())) {
            // The file itself is as asked; the next look puts that on record.
            tracing::warn!(?path, %error, "cannot write a record");
        }
    }

    fn record_path(&self, name: &Name) -> PathBuf {
        self.records.join(format!("{name}.json"))
    }
}

/// Looks at a place, without following a link there and without waiting for a pipe.
pub(super) fn look(path: &Path) -> io::Result<Found> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if is_nothing(&error) => return Ok(Found::Nothing),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            return Ok(Found::Other("a symbolic link".to_owned()));
        }
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(Found::Other("a folder".to_owned()));
    }
    if !metadata.is_file() {
        return Ok(Found::Other("not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(STRING_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Found::File(Contents {
        bytes,
        length: metadata.len(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    }))
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Removes a file from the place that it was moved from, if nobody has changed it.
fn remove_unchanged(written: &Wanted) {
    let unchanged =
        look(&written.at).is_ok_and(|found| sight::difference(&found, written).is_none());
    if !unchanged {
        return;
    }
    if let Err(error) = fs::remove_file(&written.at) {
        tracing::warn!(path = ?written.at, %error, "cannot remove a file from its old place");
    }
}
