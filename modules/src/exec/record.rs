//! What an exec's folder holds: the record of the last run of `apply`, which survives the agent,
//! and the working folder.
//!
//! ```text
//! <module's data>/<exec>/record.json   the record, mode 0600, replaced as a whole
//!                        work/         where commands run unless Cfg says otherwise
//! ```
//!
//! It is written before the run, without an end, and after it, with one. So a record without an end
//! tells a run that was cut short.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use kraken_engine::{id::Name, time::whole_ms};
use serde::{Deserialize, Serialize};

use crate::atomic_file;

/// The version of the record's format.
pub(super) const RECORD_VERSION: u32 = 1;
/// Longest record in bytes; output and error are bounded far below.
const RECORD_BYTES_MAX: u64 = 256 << 10;
/// The variable that marks every process of a run.
pub(super) const RUN_VARIABLE: &str = "KRAKEN_EXEC_RUN";

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
    #[error("{path:?} is not a record of version {RECORD_VERSION}, and is to be removed: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// One run of `apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// [`RECORD_VERSION`].
    pub(super) version: u32,
    /// Tells this run from every other.
    pub(super) nonce: String,
    /// The digest of what was run.
    pub(super) spec: String,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub(super) ran_at_ms: u64,
    /// How it ended; absent while it runs, and where it was cut short.
    pub(super) end: Option<End>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct End {
    /// The exit code, where it ended by itself.
    pub(super) exit_code: Option<i32>,
    /// What went wrong; absent where all is well.
    pub(super) failure: Option<Failure>,
}

/// What went wrong with a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    /// In words.
    pub(super) error: String,
    /// The end of what it printed, printable.
    pub(super) output: String,
}

/// What is known of the last run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Past {
    /// There was none.
    Never,
    /// This one.
    Ran(Record),
    /// There may have been one: its record cannot be read.
    Unreadable(String),
}

/// The folder of one exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder(PathBuf);

impl Record {
    /// A run that begins now.
    pub(super) fn begun(spec: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            version: RECORD_VERSION,
            nonce: format!("{:x}-{:x}", now.as_nanos(), std::process::id()),
            spec: spec.to_owned(),
            ran_at_ms: whole_ms(now),
            end: None,
        }
    }

    /// Whether this was run to a good end.
    pub(super) fn has_done(&self, spec: &str) -> bool {
        self.spec == spec && self.end.as_ref().is_some_and(|end| end.failure.is_none())
    }

    /// Whether the command came to an end of its own, and was neither killed nor cut short.
    pub(super) fn ended_by_itself(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.exit_code.is_some())
    }
}

impl Past {
    /// The last run, if one is known.
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Ran(record) => Some(record),
            Self::Never | Self::Unreadable(_) => None,
        }
    }
}

impl Folder {
    /// The folder of an exec below the module's.
    pub(super) fn new(data: &Path, exec: &Name) -> Self {
        Self(data.join(exec.as_str()))
    }

    /// Where commands run unless Cfg says otherwise.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The entry that every process of a run has in its environment, as the value of
    /// [`RUN_VARIABLE`].
    pub(super) fn run(&self, nonce: &str) -> String {
        format!("{}/{nonce}", self.0.display())
    }

    /// Makes the folder and the working folder.
    pub(super) fn create(&self) -> Result<(), Error> {
        let work = self.work();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&work);
        made.map_err(|error| io_at(&work, error))
    }

    /// What is known of the last run.
    pub(super) fn past(&self) -> Past {
        match self.read() {
            Ok(Some(record)) => Past::Ran(record),
            Ok(None) => Past::Never,
            Err(error) => Past::Unreadable(error.to_string()),
        }
    }

    fn read(&self) -> Result<Option<Record>, Error> {
        let path = self.record();
        let unreadable = |why: String| Error::Unreadable { path: path.clone(), why };
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|f| f.take(RECORD_BYTES_MAX + 1).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_at(&path, error)),
            Ok(length) if length as u64 > RECORD_BYTES_MAX => {
                return Err(unreadable(format!("longer than {RECORD_BYTES_MAX} bytes")));
            }
            Ok(_) => {}
        }
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if record.version != RECORD_VERSION {
            return Err(unreadable(format!("it is of version {}", record.version)));
        }
        Ok(Some(record))
    }

    /// Replaces the record. Blocks until it is on the disk.
    pub(super) fn write(&self, record: &Record) -> Result<(), Error> {
        self.create()?;
        let path = self.record();
        let bytes = serde_json::to_vec_pretty(record).unwrap_or_default();
        atomic_file::replace(&path, &bytes, 0o600, |_| Ok(())).map_err(|e| io_at(&path, e))
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
    use super::*;

    const GOLDEN: &str = include_str!("record.golden.json");

    fn record() -> Record {
        Record {
            version: RECORD_VERSION,
            nonce: "5f-1".to_owned(),
            spec: "00ff".to_owned(),
            ran_at_ms: 1_700_000_000_000,
            end: Some(End {
                exit_code: Some(3),
                failure: Some(Failure {
                    error: "exited with code 3".to_owned(),
                    output: "no space\nleft".to_owned(),
                }),
            }),
        }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let top = tempfile::tempdir().unwrap();
        let folder = Folder::new(top.path(), &Name::new("tune").unwrap());
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
        assert_eq!(folder.past(), Past::Never);
        folder.write(&record()).unwrap();
        assert_eq!(folder.past(), Past::Ran(record()));
        let begun = Record::begun("00ff");
        folder.write(&begun).unwrap();
        assert_eq!(folder.past(), Past::Ran(begun));
    }

    #[test]
    fn what_is_no_record_of_this_version_is_no_absence() {
        let (_top, folder) = folder();
        folder.create().unwrap();
        let newer = GOLDEN.replace("\"version\": 1", "\"version\": 2");
        let at_limit =
            format!("{GOLDEN}{}", " ".repeat(usize::try_from(RECORD_BYTES_MAX).unwrap()));
        for text in ["", "{}", "\0", &newer, &at_limit] {
            fs::write(folder.record(), text).unwrap();
            assert!(matches!(folder.past(), Past::Unreadable(_)), "{text:.60}");
        }
        fs::write(folder.record(), &at_limit[..usize::try_from(RECORD_BYTES_MAX).unwrap()])
            .unwrap();
        assert_eq!(folder.past(), Past::Ran(record()));
    }

    #[test]
    fn only_a_good_end_of_the_same_spec_is_done() {
        let good = Record { end: Some(End { exit_code: Some(0), failure: None }), ..record() };
        let cut = Record { end: None, ..record() };
        for (record, spec, done) in [
            (&good, "00ff", true),
            (&good, "00fe", false),
            (&record(), "00ff", false),
            (&cut, "00ff", false),
        ] {
            assert_eq!(record.has_done(spec), done, "{record:?}");
        }
        let killed = Record { end: Some(End { exit_code: None, failure: None }), ..record() };
        for (record, by_itself) in [(good, true), (record(), true), (cut, false), (killed, false)] {
            assert_eq!(record.ended_by_itself(), by_itself, "{record:?}");
        }
    }
}
