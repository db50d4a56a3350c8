//! A small disk, so that it can be full: a file system in memory. Needs root.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// What fills a disk up.
const FILLER: &str = "filler";
/// Bytes that are written at a time to fill a disk up, first and last: to the last page.
const FILLING_BYTES: [usize; 2] = [1 << 20, 1 << 12];

/// A file system in memory, until dropped.
#[derive(Debug)]
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of so many MiB at a folder, which is made.
    pub fn mount(folder: &Path, mib: u32) -> Result<Self> {
        fs::create_dir_all(folder)?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "kraken"], folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Gives it another size.
    pub fn resize(&self, mib: u32) -> Result<()> {
        run("mount", &["-o", &format!("remount,size={mib}m")], &self.0)
    }

    /// Leaves no room on it.
    pub fn fill(&self) -> Result<()> {
        let mut filler = File::create(self.0.join(FILLER))?;
        for bytes in FILLING_BYTES {
            let block = vec![1; bytes];
            let full = loop {
                if let Err(full) = filler.write_all(&block) {
                    break full;
                }
            };
            ensure!(full.kind() == ErrorKind::StorageFull, "the disk is not full: {full}");
        }
        Ok(())
    }

    /// Takes back what filled it up.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join(FILLER))?)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process may just be ending in it.
        drop(run("umount", &["-l"], &self.0));
    }
}

fn run(program: &str, args: &[&str], folder: &Path) -> Result<()> {
    let output =
        Command::new(program).args(args).arg(folder).output().context(program.to_owned())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {args:?}: {}", errors.trim());
    Ok(())
}
