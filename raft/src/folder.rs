//! The data folder of a member: its lock, its places, the file that says who this member is, and
//! the way in which files come to stand in it whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use kraken_engine::id::{ClusterId, MemberId};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;

/// A data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is of a member that held something else than the others.
    #[error(
        "the member of {path} held something else than a majority after entry {index}: remove it \
         from the cluster and let it join again with an empty data folder"
    )]
    Diverged {
        /// The mark.
        path: PathBuf,
        /// The entry after which it was seen.
        index: String,
    },
    /// Another process has it open.
    #[error("data folder {path} is in use by another process; stop that one first")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("data folder: cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file that says who this member is cannot be read.
    #[error(
        "{path} is damaged or of another release ({why}); remove this member from the cluster and \
         let it join again with an empty data folder"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Who this member is. Written before anything is done in that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    format: u32,
    /// The cluster it belongs to.
    pub(crate) cluster: ClusterId,
    /// Its id, never given to another.
    pub(crate) member: MemberId,
    /// How far it has come.
    pub(crate) phase: Phase,
}

/// How far a member has come in becoming one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It founds the cluster.
    Founding,
    /// It was given an id and asks these addresses to be let in.
    Joining(Vec<String>),
    /// The same, as one that does not vote.
    JoiningAsLearner(Vec<String>),
    /// It belongs.
    Member,
}

impl Identity {
    pub(crate) fn new(cluster: ClusterId, member: MemberId, phase: Phase) -> Self {
        Self { format: FORMAT, cluster, member, phase }
    }
}

/// An open data folder. Nobody else opens it until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the folder where it is missing, and locks it.
    pub(crate) fn open(root: &Path) -> Result<Self, FolderError> {
        for path in [root.to_owned(), root.join("raft"), root.join("state")] {
            fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        }
        Self::open_old(root)
    }

    /// Locks a folder that is there.
    pub(crate) fn open_old(root: &Path) -> Result<Self, FolderError> {
        let path = root.join("lock");
        let lock = File::create(&path).map_err(io_error("create", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse { path: root.to_owned() }),
            Err(error) => Err(io_error("lock", &path)(error.into())),
        }
    }

    /// Where the log is.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("raft")
    }

    /// Where snapshots are.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Removes everything, as long as this is nobody's: what was begun and not finished.
    pub(crate) fn clear(&self) -> Result<(), FolderError> {
        if self.identity()?.is_some() {
            return Ok(());
        }
        for path in [self.log(), self.state()] {
            fs::remove_dir_all(&path).map_err(io_error("clear", &path))?;
            fs::create_dir(&path).map_err(io_error("create", &path))?;
        }
        Ok(())
    }

    /// Who this member is, if it is one.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, FolderError> {
        let path = self.identity_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let damaged = |why| FolderError::Identity { path: path.clone(), why };
        let (body, crc) =
            bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it is too short".to_owned()))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("its checksum does not match".to_owned()));
        }
        let identity: Identity =
            rmp_serde::from_slice(body).map_err(|error| damaged(error.to_string()))?;
        if identity.format != FORMAT {
            return Err(damaged(format!("format {}", identity.format)));
        }
        Ok(Some(identity))
    }

    /// The same of a member that may go on.
    pub(crate) fn sound_identity(&self) -> Result<Option<Identity>, FolderError> {
        let path = self.diverged_path();
        match fs::read_to_string(&path) {
            Ok(index) => Err(FolderError::Diverged { path, index }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.identity(),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Marks that what is held here is not what a majority held after an entry.
    pub(crate) fn set_diverged(&self, index: u64) -> Result<(), FolderError> {
        let path = self.diverged_path();
        write_whole(&path, index.to_string().as_bytes()).map_err(io_error("write", &path))
    }

    fn diverged_path(&self) -> PathBuf {
        self.root.join("raft").join("diverged")
    }

    /// Writes who this member is.
    pub(crate) fn set_identity(&self, identity: &Identity) -> Result<(), FolderError> {
        let path = self.identity_path();
        let mut bytes = rmp_serde::to_vec_named(identity).map_err(|error| {
            FolderError::Identity { path: path.clone(), why: error.to_string() }
        })?;
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        write_whole(&path, &bytes).map_err(io_error("write", &path))
    }

    fn identity_path(&self) -> PathBuf {
        self.root.join("raft").join("member")
    }
}

pub(crate) fn io_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { what, path: path.clone(), source }
}

/// Puts a file into place, whole or not at all, also through a power cut.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let building = path.with_extension("tmp");
    let mut file = File::create(&building)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&building, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
