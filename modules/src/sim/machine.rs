//! Simulated machines, one small file each, so that they outlive the agents that control them and
//! are the same for all that share the folder; or in memory, for one agent alone and its life.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use kraken_engine::id::Name;
use serde::{Deserialize, Serialize};

/// The version of the file's format.
const MACHINE_VERSION: u32 = 1;

/// Most bytes of a machine's file.
const MACHINE_BYTES_MAX: usize = 256;

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

/// A machine could not be changed; the file is known further up.
#[derive(Debug, thiserror::Error)]
enum Changing {
    #[error("the file")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Machine(#[from] Error),
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
    /// Whether it takes no work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) drained: bool,
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

/// All machines.
#[derive(Debug)]
pub(super) enum World {
    /// Those of a folder.
    Folder(PathBuf),
    /// Those that this agent alone knows.
    Memory(Mutex<BTreeMap<Name, Machine>>),
}

/// The machine in a file. One that nothing was written to yet is new.
fn parse(path: &Path, bytes: &[u8]) -> Result<Machine, Error> {
    if bytes.is_empty() {
        return Ok(Machine::NEW);
    }
    let unreadable = |why: String| Error::Unreadable { path: path.to_path_buf(), why };
    let read: Result<Machine, _> = serde_json::from_slice(bytes);
    match read {
        Ok(machine) if machine.version == MACHINE_VERSION => Ok(machine),
        Ok(machine) => Err(unreadable(format!("it is of version {}", machine.version))),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

impl Machine {
    /// A machine that was never switched on.
    const NEW: Self = Self {
        version: MACHINE_VERSION,
        phys: Phys::Off,
        run: Run::Init,
        drained: false,
        attempts: 0,
    };

    /// How many attempts have been made on it.
    pub(super) fn attempts(self) -> u64 {
        self.attempts
    }

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
        Ok(Self::Folder(folder))
    }

    /// A world that ends with its holder.
    pub(super) fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// A machine as it is now.
    pub(super) fn machine(&self, name: &Name) -> Result<Machine, Error> {
        let path = match self {
            Self::Folder(folder) => path(folder, name),
            Self::Memory(machines) => {
                let held = machines.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(held.get(name).copied().unwrap_or(Machine::NEW));
            }
        };
        match fs::read(&path) {
            Ok(bytes) => parse(&path, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Machine::NEW),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// Changes a machine, and tells how it is then; whoever else does so at the same time waits.
    ///
    /// The file is written in place by one call, and not forced to the disk: it survives whoever
    /// writes it, and what does not exist need not survive a loss of power.
    pub(super) fn change(
        &self,
        name: &Name,
        change: impl FnOnce(&mut Machine),
    ) -> Result<Machine, Error> {
        let path = match self {
            Self::Folder(folder) => path(folder, name),
            Self::Memory(machines) => {
                let mut held = machines.lock().unwrap_or_else(PoisonError::into_inner);
                let machine = held.entry(name.clone()).or_insert(Machine::NEW);
                change(machine);
                return Ok(*machine);
            }
        };
        change_at(&path, change).map_err(|error| match error {
            Changing::Io(source) => Error::Io { path, source },
            Changing::Machine(error) => error,
        })
    }

    /// Counts one more attempt on a machine, and tells how it is.
    pub(super) fn count(&self, name: &Name) -> Result<Machine, Error> {
        self.change(name, |machine| machine.attempts = machine.attempts.wrapping_add(1))
    }
}

/// The file of a machine.
fn path(folder: &Path, name: &Name) -> PathBuf {
    folder.join(format!("{name}.json"))
}

fn change_at(path: &Path, change: impl FnOnce(&mut Machine)) -> Result<Machine, Changing> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).read(true).write(true).open(path)?;
    // Goes with the file.
    file.lock()?;
    let mut held = [0; MACHINE_BYTES_MAX];
    let count = file.read_at(&mut held, 0)?;
    let before = parse(path, held.get(..count).unwrap_or_default())?;
    let mut machine = before;
    change(&mut machine);
    if machine != before || count == 0 {
        let mut bytes = serde_json::to_vec(&machine).unwrap_or_default();
        // Over all that was there before.
        bytes.resize(bytes.len().max(count), b' ');
        file.write_all_at(&bytes, 0)?;
    }
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A world in a folder of its own, and the file of one machine in it.
    fn world() -> (tempfile::TempDir, World, impl Fn(&Name) -> PathBuf) {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().join("world");
        let world = World::open(folder.clone()).unwrap();
        (kept, world, move |name| path(&folder, name))
    }

    #[test]
    fn a_machine_is_off_until_somebody_switches_it_on_and_then_stays_on() {
        let (_kept, world, file) = world();
        let name = Name::new("n1").unwrap();
        assert_eq!(world.machine(&name).unwrap(), Machine::NEW);
        world.change(&name, |machine| *machine = machine.powered_on()).unwrap();
        let again = World::open(file(&name).parent().unwrap().into()).unwrap();
        assert_eq!(again.machine(&name).unwrap().phys, Phys::On);
        assert_eq!(world.machine(&Name::new("n2").unwrap()).unwrap(), Machine::NEW);
    }

    #[test]
    fn a_machine_in_memory_is_as_it_was_left_and_ends_with_its_world() {
        let name = Name::new("n1").unwrap();
        let world = World::in_memory();
        assert_eq!(world.machine(&name).unwrap(), Machine::NEW);
        world.change(&name, |machine| *machine = machine.powered_on()).unwrap();
        assert_eq!(world.count(&name).unwrap().attempts, 1);
        assert_eq!(world.machine(&name).unwrap().phys, Phys::On);
        assert_eq!(World::in_memory().machine(&name).unwrap(), Machine::NEW);
    }

    #[test]
    fn the_format_of_version_1_stands() {
        let text = r#"{"version":1,"phys":"POWER_CYCLE","run":"SYNC","attempts":3}"#;
        let machine = Machine { phys: Phys::Cycling, run: Run::Sync, attempts: 3, ..Machine::NEW };
        assert_eq!(serde_json::to_string(&machine).unwrap(), text);
        assert_eq!(serde_json::from_str::<Machine>(text).unwrap(), machine);
    }

    #[test]
    fn a_shorter_machine_is_written_over_all_of_a_longer_one() {
        let (_kept, world, file) = world();
        let name = Name::new("n1").unwrap();
        for phys in [Phys::Cycling, Phys::On, Phys::Off] {
            world.change(&name, |machine| machine.phys = phys).unwrap();
            assert_eq!(world.machine(&name).unwrap().phys, phys);
        }
        let begun = file(&Name::new("n2").unwrap());
        fs::write(&begun, "").unwrap();
        assert_eq!(world.machine(&Name::new("n2").unwrap()).unwrap(), Machine::NEW);
    }

    #[test]
    fn a_file_that_is_no_machine_is_an_error() {
        let (_kept, world, file) = world();
        let name = Name::new("n1").unwrap();
        for text in ["{}", "\0", r#"{"version":2,"phys":"POWER_ON","run":"SYNC","attempts":0}"#] {
            fs::write(file(&name), text).unwrap();
            assert!(matches!(world.machine(&name), Err(Error::Unreadable { .. })), "{text}");
        }
    }

    #[test]
    fn attempts_are_counted_by_all_that_share_the_folder() {
        let (_kept, world, _file) = world();
        let name = Name::new("n1").unwrap();
        let counts: Vec<u64> = std::thread::scope(|scope| {
            let count =
                || (0..20).map(|_| world.count(&name).unwrap().attempts).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let distinct: std::collections::BTreeSet<u64> = counts.iter().copied().collect();
        assert_eq!(distinct, (1..=80).collect());
    }
}
