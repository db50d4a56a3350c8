//! Simulated machines, one small file each, so that they outlive the agents that control them and
//! are the same for all that share the folder.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::PathBuf,
};

use kraken_engine::id::Name;
use serde::{Deserialize, Serialize};

use crate::atomic_file;

/// The version of the file's format.
const MACHINE_VERSION: u32 = 1;

/// A machine could not be seen or changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The file or the folder.
    #[error("cannot use {path:?}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not one of a machine.
    #[error("{path:?} is not a machine of version {MACHINE_VERSION}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// One machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    version: u32,
    /// Its power.
    pub(super) phys: Phys,
    /// How far its system is; means nothing without power.
    pub(super) run: Run,
    /// How many attempts have been made on it.
    attempts: u64,
}

/// The power of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phys {
    #[serde(rename = "POWER_OFF")]
    Off,
    #[serde(rename = "POWER_ON")]
    On,
    #[serde(rename = "POWER_CYCLE")]
    Cycling,
}

/// How far the system of a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Run {
    Init,
    Sync,
    Error,
}

/// All machines of a folder.
#[derive(Debug, Clone)]
pub(super) struct World {
    folder: PathBuf,
}

impl Machine {
    /// A machine that was never switched on.
    const NEW: Self =
        Self { version: MACHINE_VERSION, phys: Phys::Off, run: Run::Init, attempts: 0 };

    /// The same machine, just switched on.
    pub(super) fn powered_on(self) -> Self {
        Self { phys: Phys::On, run: Run::Init, ..self }
    }
}

impl Phys {
    /// The value of the state path.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "POWER_OFF",
            Self::On => "POWER_ON",
            Self::Cycling => "POWER_CYCLE",
        }
    }
}

impl Run {
    /// The value of the state path.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Init => "INIT",
            Self::Sync => "SYNC",
            Self::Error => "ERROR",
        }
    }
}

impl World {
    /// The world of a folder, which is made if it is not there.
    pub(super) fn open(folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        Ok(Self { folder })
    }

    /// A machine as it is now.
    pub(super) fn machine(&self, name: &Name) -> Result<Machine, Error> {
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Machine::NEW),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let read: Result<Machine, _> = serde_json::from_slice(&bytes);
        match read {
            Ok(machine) if machine.version == MACHINE_VERSION => Ok(machine),
            Ok(machine) => Err(Error::Unreadable {
                path,
                why: format!("it is of version {}", machine.version),
            }),
            Err(error) => Err(Error::Unreadable { path, why: error.to_string() }),
        }
    }

    /// Changes a machine; whoever else does so at the same time waits.
    pub(super) fn change(
        &self,
        name: &Name,
        change: impl FnOnce(&mut Machine),
    ) -> Result<(), Error> {
        let _lock = self.lock(name)?;
        let before = self.machine(name)?;
        let mut machine = before;
        change(&mut machine);
        if machine == before {
            return Ok(());
        }
        let path = self.path(name);
        let bytes = serde_json::to_vec(&machine).unwrap_or_default();
        atomic_file::replace(&path, &bytes, 0o644, |_| Ok(()))
            .map_err(|source| Error::Io { path, source })
    }

    /// Counts one more attempt on a machine, and tells which it is.
    pub(super) fn count(&self, name: &Name) -> Result<u64, Error> {
        let mut count = 0;
        self.change(name, |machine| {
            machine.attempts = machine.attempts.wrapping_add(1);
            count = machine.attempts;
        })?;
        Ok(count)
    }

    fn lock(&self, name: &Name) -> Result<File, Error> {
        let path = self.folder.join(format!("{name}.lock"));
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let locked = opened.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| Error::Io { path, source })
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, World) {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path().join("world")).unwrap();
        (folder, world)
    }

    #[test]
    fn a_machine_is_off_until_somebody_switches_it_on_and_then_stays_on() {
        let (_folder, world) = world();
        let name = Name::new("n1").unwrap();
        assert_eq!(world.machine(&name).unwrap(), Machine::NEW);
        world.change(&name, |machine| *machine = machine.powered_on()).unwrap();
        let again = World::open(world.folder.clone()).unwrap();
        assert_eq!(again.machine(&name).unwrap().phys, Phys::On);
        assert_eq!(world.machine(&Name::new("n2").unwrap()).unwrap(), Machine::NEW);
    }

    #[test]
    fn the_format_of_version_1_stands() {
        let text = r#"{"version":1,"phys":"POWER_CYCLE","run":"SYNC","attempts":3}"#;
        let machine = Machine { phys: Phys::Cycling, run: Run::Sync, attempts: 3, ..Machine::NEW };
        assert_eq!(serde_json::to_string(&machine).unwrap(), text);
        assert_eq!(serde_json::from_str::<Machine>(text).unwrap(), machine);
    }

    #[test]
    fn a_file_that_is_no_machine_is_an_error() {
        let (_folder, world) = world();
        let name = Name::new("n1").unwrap();
        for text in ["", "{}", r#"{"version":2,"phys":"POWER_ON","run":"SYNC","attempts":0}"#] {
            fs::write(world.path(&name), text).unwrap();
            assert!(matches!(world.machine(&name), Err(Error::Unreadable { .. })), "{text}");
        }
    }

    #[test]
    fn attempts_are_counted_by_all_that_share_the_folder() {
        let (_folder, world) = world();
        let name = Name::new("n1").unwrap();
        let counts: Vec<u64> = std::thread::scope(|scope| {
            let count = || (0..20).map(|_| world.count(&name).unwrap()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let distinct: std::collections::BTreeSet<u64> = counts.iter().copied().collect();
        assert_eq!(distinct, (1..=80).collect());
    }
}
