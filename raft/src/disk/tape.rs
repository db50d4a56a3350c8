//! A tape of everything that was done to a disk, from which the folder can be made again as a power
//! cut would have left it at any moment: what was synced is there; of what was not, nothing, all,
//! or any part, the last write torn anywhere.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, MutexGuard},
};

use tempfile::TempDir;

/// Bytes that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// What a system call says of a disk that fails.
const EIO: i32 = 5;

/// One thing that was done.
#[derive(Debug, Clone)]
enum Deed {
    Created {
        name: String,
        file: u64,
    },
    Wrote {
        file: u64,
        at: usize,
        bytes: Vec<u8>,
    },
    Synced {
        file: u64,
    },
    /// A sync failed: what waited in the file is no longer written, and still read.
    Dropped {
        file: u64,
    },
    Renamed {
        from: String,
        to: String,
    },
    Removed {
        name: String,
    },
    SyncedFolder,
    /// The step of this number was asked for.
    Asked(usize),
    /// The step of this number was answered.
    Answered(usize),
}

#[derive(Debug, Default)]
struct Reel {
    /// What was there before, durable.
    before: Disk,
    deeds: Vec<Deed>,
    /// What files are known by now: inodes are used again, these numbers are not.
    files: BTreeMap<u64, u64>,
    next: u64,
    /// Whether the disk fails whoever syncs.
    fails: bool,
}

/// Everything that was done in one folder since it was begun.
#[derive(Debug, Default)]
pub(crate) struct Tape(Mutex<Reel>);

/// What becomes of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// It is gone.
    Lost,
    /// It is there.
    Kept,
    /// Sectors of it are there, drawn with this seed.
    Torn(u64),
}

/// A folder as a power cut left it.
pub(crate) struct Wreck {
    pub(crate) folder: TempDir,
    /// How many steps had been answered.
    pub(crate) answered: usize,
    /// How many steps had been asked for.
    pub(crate) asked: usize,
}

impl Tape {
    /// A tape of a folder with files in it, which are durable.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut reel = Reel::default();
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            reel.next += 1;
            let number = reel.next;
            reel.files.insert(fs::metadata(&path).unwrap().ino(), number);
            reel.before.names.insert(name(&path), number);
            reel.before.contents.insert(number, fs::read(&path).unwrap());
        }
        Self(Mutex::new(reel))
    }

    fn reel(&self) -> MutexGuard<'_, Reel> {
        self.0.lock().unwrap()
    }

    pub(crate) fn created(&self, path: &Path, file: &File) {
        let mut reel = self.reel();
        reel.next += 1;
        let number = reel.next;
        reel.files.insert(file.metadata().unwrap().ino(), number);
        reel.deeds.push(Deed::Created { name: name(path), file: number });
    }

    pub(crate) fn wrote(&self, file: &File, bytes: &[u8], at: u64) {
        let mut reel = self.reel();
        let file = reel.files[&file.metadata().unwrap().ino()];
        let at = usize::try_from(at).unwrap();
        reel.deeds.push(Deed::Wrote { file, at, bytes: bytes.to_vec() });
    }

    pub(crate) fn synced(&self, file: &File) {
        let mut reel = self.reel();
        let file = reel.files[&file.metadata().unwrap().ino()];
        reel.deeds.push(Deed::Synced { file });
    }

    /// From now on every sync fails, or none.
    pub(crate) fn fail_syncs(&self, fails: bool) {
        self.reel().fails = fails;
    }

    /// Fails a sync, where all do.
    pub(crate) fn may_fail(&self, file: &File) -> io::Result<()> {
        let mut reel = self.reel();
        if !reel.fails {
            return Ok(());
        }
        let file = reel.files[&file.metadata().unwrap().ino()];
        reel.deeds.push(Deed::Dropped { file });
        Err(io::Error::from_raw_os_error(EIO))
    }

    pub(crate) fn renamed(&self, from: &Path, to: &Path) {
        self.reel().deeds.push(Deed::Renamed { from: name(from), to: name(to) });
    }

    pub(crate) fn removed(&self, path: &Path) {
        self.reel().deeds.push(Deed::Removed { name: name(path) });
    }

    pub(crate) fn synced_folder(&self) {
        self.reel().deeds.push(Deed::SyncedFolder);
    }

    /// A step is asked for.
    pub(crate) fn asked(&self, step: usize) {
        self.reel().deeds.push(Deed::Asked(step));
    }

    /// A step was answered.
    pub(crate) fn answered(&self, step: usize) {
        self.reel().deeds.push(Deed::Answered(step));
    }

    /// How many moments there are, the end included.
    pub(crate) fn moments(&self) -> usize {
        self.reel().deeds.len() + 1
    }

    /// The folder as it is when the power goes after so many deeds.
    pub(crate) fn cut(&self, after: usize, unsynced: Unsynced) -> Wreck {
        let (mut disk, deeds) = {
            let reel = self.reel();
            (reel.before.clone(), reel.deeds[..after].to_vec())
        };
        let (mut asked, mut answered) = (0, 0);
        for deed in deeds {
            match deed {
                Deed::Asked(step) => asked = step,
                Deed::Answered(step) => answered = step,
                deed => disk.take(deed),
            }
        }
        disk.lose_power(unsynced);
        let folder = TempDir::new().unwrap();
        for (name, file) in &disk.names {
            fs::write(folder.path().join(name), &disk.contents[file]).unwrap();
        }
        Wreck { folder, answered, asked }
    }
}

/// A disk: what is durable, and what waits to be.
#[derive(Debug, Clone, Default)]
struct Disk {
    contents: BTreeMap<u64, Vec<u8>>,
    names: BTreeMap<String, u64>,
    writes: Vec<(u64, usize, Vec<u8>)>,
    /// Changes of names: a journaling file system keeps their order.
    namings: Vec<Deed>,
}

impl Disk {
    fn take(&mut self, deed: Deed) {
        match deed {
            Deed::Wrote { file, at, bytes } => self.writes.push((file, at, bytes)),
            Deed::Synced { file } => {
                let (synced, waiting) = self.writes.drain(..).partition(|write| write.0 == file);
                self.writes = waiting;
                self.persist(synced);
            }
            Deed::Dropped { file } => self.writes.retain(|write| write.0 != file),
            Deed::SyncedFolder => {
                for naming in std::mem::take(&mut self.namings) {
                    self.name(naming);
                }
            }
            naming => self.namings.push(naming),
        }
    }

    fn persist(&mut self, writes: Vec<(u64, usize, Vec<u8>)>) {
        for (file, at, bytes) in writes {
            let content = self.contents.entry(file).or_default();
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[at..end].copy_from_slice(&bytes);
        }
    }

    fn name(&mut self, naming: Deed) {
        match naming {
            Deed::Created { name, file } => {
                self.contents.entry(file).or_default();
                self.names.insert(name, file);
            }
            Deed::Renamed { from, to } => {
                let file = self.names.remove(&from).unwrap();
                self.names.insert(to, file);
            }
            Deed::Removed { name } => {
                self.names.remove(&name);
            }
            _ => unreachable!("no naming"),
        }
    }

    fn lose_power(&mut self, unsynced: Unsynced) {
        let mut draw = match unsynced {
            Unsynced::Lost => return,
            Unsynced::Kept => None,
            Unsynced::Torn(seed) => Some(Draw(seed)),
        };
        let namings = std::mem::take(&mut self.namings);
        let kept = draw.as_mut().map_or(namings.len(), |draw| draw.below(namings.len() + 1));
        for naming in namings.into_iter().take(kept) {
            self.name(naming);
        }
        for (file, at, bytes) in std::mem::take(&mut self.writes) {
            let Some(draw) = &mut draw else {
                self.persist(vec![(file, at, bytes)]);
                continue;
            };
            let mut from = 0;
            while from < bytes.len() {
                let sector_end = (at + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - at;
                let end = sector_end.min(bytes.len());
                if draw.below(2) == 0 {
                    // Now and then a disk tears even a sector.
                    let whole = draw.below(8) > 0;
                    let end = if whole { end } else { from + draw.below(end - from + 1) };
                    self.persist(vec![(file, at + from, bytes[from..end].to_vec())]);
                }
                from = end;
            }
        }
    }
}

/// A small generator: the same seed draws the same.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
