//! The calls by which the log and the snapshots change their disk, in one place, so that tests can
//! put them on a tape and ask of every moment what a power cut would have left
//! (`log/tests/power.rs`, `machine/snapshot/tests.rs`).

#[cfg(test)]
pub(crate) mod tape;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

/// A file system. Without a tape it is the one of the machine, and nothing else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    tape: Option<std::sync::Arc<tape::Tape>>,
}

#[cfg_attr(not(test), expect(clippy::unused_self, reason = "only a test's disk has a tape"))]
impl Disk {
    /// Creates an empty file, in the stead of one that is there.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        #[cfg(test)]
        self.put(|tape| tape.created(path, &file));
        Ok(file)
    }

    /// Writes all of `bytes`; durable after the next sync.
    pub(crate) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        // Before it is done: a power cut may come in the middle.
        #[cfg(test)]
        self.put(|tape| tape.wrote(file, bytes, at));
        file.write_all_at(bytes, at)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.fail(file)?;
        file.sync_data()?;
        #[cfg(test)]
        self.put(|tape| tape.synced(file));
        Ok(())
    }

    /// Makes what was written, and how long the file is, durable.
    pub(crate) fn sync_all(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.fail(file)?;
        file.sync_all()?;
        #[cfg(test)]
        self.put(|tape| tape.synced(file));
        Ok(())
    }

    /// Gives a file another name; durable after the folder's next sync.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        #[cfg(test)]
        self.put(|tape| tape.renamed(from, to));
        Ok(())
    }

    /// Removes a file; durable after the folder's next sync.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        #[cfg(test)]
        self.put(|tape| tape.removed(path));
        Ok(())
    }

    /// Makes the names in a folder durable.
    pub(crate) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()?;
        #[cfg(test)]
        self.put(tape::Tape::synced_folder);
        Ok(())
    }
}

#[cfg(test)]
impl Disk {
    /// The disk of the machine, with everything put on a tape.
    pub(crate) fn on(tape: std::sync::Arc<tape::Tape>) -> Self {
        Self { tape: Some(tape) }
    }

    fn fail(&self, file: &File) -> io::Result<()> {
        self.tape.as_ref().map_or(Ok(()), |tape| tape.may_fail(file))
    }

    fn put(&self, put: impl FnOnce(&tape::Tape)) {
        if let Some(tape) = &self.tape {
            put(tape);
        }
    }
}
