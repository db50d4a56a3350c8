//! What a service's folder holds: the record of its process, the lock round it, its output and the
//! working folder. The record is what survives the agent.
//!
//! ```text
//! <module's data>/<service>/record.json   the record, mode 0600, replaced as a whole
//!                           lock          held while the record is compared and replaced
//!                           out.log       what the process writes; out.log.1 is the one before
//!                           work/         where it runs unless Cfg says otherwise
//! ```
//!
//! Before a process is started, an intent with a fresh nonce is written; the process itself, before
//! it becomes the service, writes its identity under that nonce, and goes on only if its agent
//! still lives (see `shim`). Whoever starts looks under the lock first. So no crash, wherever it
//! falls, leaves a process that nobody knows of, or starts a second one.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use kraken_engine::id::Name;
use serde::{Deserialize, Serialize};

use super::{
    process::Identity,
    spec::{Launch, Owner, StopRule},
};
use crate::atomic_file;

/// The version of the record's format.
pub(super) const RECORD_VERSION: u32 = 1;
/// Longest record in bytes; Cfg bounds it far below.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// The variable that every process of a service carries: the service's folder and the run's nonce.
pub(super) const RUN_VARIABLE: &str = "KRAKEN_RUN";

/// A record could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The file or its folder.
    #[error("cannot use {path:?}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not a record of a version that is known here.
    #[error("{path:?} is not a record of version {RECORD_VERSION}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// One run of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// [`RECORD_VERSION`].
    pub(super) version: u32,
    /// Tells this run from every other.
    pub(super) nonce: String,
    /// The digest of the Cfg that it was started with.
    pub(super) spec: String,
    /// The agent that started it.
    pub(super) agent_pid: i32,
    /// When, in milliseconds since the Unix epoch.
    pub(super) started_ms: u64,
    /// How often the service was started anew after it had ended by itself.
    pub(super) restarts: u64,
    /// How to stop it.
    pub(super) stop: StopRule,
    /// What the process is to become.
    pub(super) launch: Launch,
    /// The process, once there is one.
    pub(super) process: Option<Identity>,
    /// Whether it has passed its probe.
    pub(super) ready: bool,
    /// How it ended, once it has.
    pub(super) end: Option<End>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct End {
    /// Whether all was well.
    pub(super) success: bool,
    /// Whether it was asked to.
    pub(super) asked: bool,
    /// How, in words.
    pub(super) text: String,
}

/// The folder of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder of a service below the module's.
    pub(super) fn new(data: &Path, service: &Name) -> Self {
        Self(data.join(service.as_str()))
    }

    /// The folder at a path.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The file that takes the output.
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("out.log")
    }

    /// Where the service runs unless Cfg says otherwise.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// What the environment of every process of the service begins an entry with.
    pub(super) fn marker(&self) -> String {
        format!("{RUN_VARIABLE}={}/", self.0.display())
    }

    /// The value of [`RUN_VARIABLE`] in the run of this nonce.
    pub(super) fn run(&self, nonce: &str) -> String {
        format!("{}/{nonce}", self.0.display())
    }

    /// Makes the folder, and the working folder as one of `owner`.
    pub(super) fn create(&self, owner: Option<&Owner>) -> Result<(), Error> {
        // Others may pass through to the working folder; they may not list.
        let make = |path: &Path, mode| {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path)
                .map_err(|e| io_at(path, e))
        };
        make(&self.0, 0o711)?;
        let work = self.work();
        make(&work, 0o755)?;
        if let Some(owner) = owner {
            std::os::unix::fs::lchown(&work, Some(owner.uid), Some(owner.gid))
                .map_err(|error| io_at(&work, error))?;
        }
        Ok(())
    }

    /// Takes the lock; it is given back when the file is dropped, also by the end of the process.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let path = self.0.join("lock");
        let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = open.map_err(|error| io_at(&path, error))?;
        file.lock().map_err(|error| io_at(&path, error))?;
        Ok(file)
    }

    /// The record; `None` if there is none.
    pub(super) fn read(&self) -> Result<Option<Record>, Error> {
        let path = self.record();
        let unreadable = |why: String| Error::Unreadable { path: path.clone(), why };
        match fs::metadata(&path) {
            Ok(found) if found.len() > RECORD_BYTES_MAX => {
                return Err(unreadable(format!("longer than {RECORD_BYTES_MAX} bytes")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(io_at(&path, error)),
        }
        let bytes = fs::read(&path).map_err(|error| io_at(&path, error))?;
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if record.version != RECORD_VERSION {
            return Err(unreadable(format!("it is of version {}", record.version)));
        }
        Ok(Some(record))
    }

    /// Replaces the record.
    pub(super) fn write(&self, record: &Record) -> Result<(), Error> {
        let path = self.record();
        let bytes = serde_json::to_vec_pretty(record).unwrap_or_default();
        atomic_file::replace(&path, &bytes, 0o600, |_| Ok(())).map_err(|e| io_at(&path, e))
    }

    /// Changes the record of the run of this nonce, under the lock; a record of another run is
    /// left.
    pub(super) fn amend(&self, nonce: &str, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let _lock = self.lock()?;
        match self.read()? {
            Some(mut record) if record.nonce == nonce => {
                change(&mut record);
                self.write(&record)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Sets a record aside that cannot be read, so that people may look at it.
    pub(super) fn set_aside(&self) -> Result<(), Error> {
        let path = self.record();
        fs::rename(&path, path.with_extension("unreadable")).map_err(|error| io_at(&path, error))
    }

    /// The services that have a folder below the module's.
    pub(super) fn all(data: &Path) -> Vec<(Name, Self)> {
        let entries = fs::read_dir(data).into_iter().flatten().flatten();
        let mut all: Vec<_> = entries
            .filter_map(|entry| Name::new(entry.file_name().to_str()?).ok())
            .map(|name| (name.clone(), Self::new(data, &name)))
            .filter(|(_, folder)| folder.0.is_dir())
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }
}

fn io_at(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const GOLDEN: &str = include_str!("record.golden.json");

    fn record() -> Record {
        Record {
            version: RECORD_VERSION,
            nonce: "5f-1".to_owned(),
            spec: "00ff".to_owned(),
            agent_pid: 7,
            started_ms: 1_700_000_000_000,
            restarts: 2,
            stop: StopRule { signal: "SIGTERM".to_owned(), grace_ms: 10_000 },
            launch: Launch {
                program: "/bin/sh".into(),
                name: "sh".to_owned(),
                args: vec!["-c".to_owned(), "true".to_owned()],
                env: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
                folder: "/".into(),
                user: Some(Owner { name: "web".to_owned(), uid: 1_000, gid: 100 }),
            },
            process: Some(Identity { pid: 9, start_time: 88, boot_id: "b".to_owned() }),
            ready: true,
            end: Some(End { success: false, asked: false, text: "exited with code 1".to_owned() }),
        }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let top = tempfile::tempdir().unwrap();
        let folder = Folder::new(top.path(), &Name::new("web").unwrap());
        folder.create(None).unwrap();
        (top, folder)
    }

    #[test]
    fn the_format_of_version_1_stands() {
        assert_eq!(serde_json::to_string_pretty(&record()).unwrap(), GOLDEN.trim_end());
        assert_eq!(serde_json::from_str::<Record>(GOLDEN).unwrap(), record());
    }

    #[test]
    fn a_record_is_read_as_written_and_none_is_no_error() {
        let (_top, folder) = folder();
        assert!(folder.read().unwrap().is_none());
        folder.write(&record()).unwrap();
        assert_eq!(folder.read().unwrap(), Some(record()));
    }

    #[test]
    fn what_is_no_record_of_this_version_is_an_error_and_not_an_absence() {
        let (_top, folder) = folder();
        let newer = GOLDEN.replace("\"version\": 1", "\"version\": 2");
        for text in ["", "{}", "\0", &newer] {
            fs::write(folder.record(), text).unwrap();
            assert!(matches!(folder.read(), Err(Error::Unreadable { .. })), "{text}");
        }
        folder.set_aside().unwrap();
        assert!(folder.read().unwrap().is_none());
    }

    #[test]
    fn only_the_run_that_is_meant_is_amended() {
        let (_top, folder) = folder();
        folder.write(&record()).unwrap();
        folder.amend("another", |record| record.ready = false).unwrap();
        assert!(folder.read().unwrap().unwrap().ready);
        folder.amend("5f-1", |record| record.ready = false).unwrap();
        assert!(!folder.read().unwrap().unwrap().ready);
    }
}
