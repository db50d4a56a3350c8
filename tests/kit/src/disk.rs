//! Disks of a test's own, so that they can be full, fail, and lose power: a file system in memory,
//! and one in a file. Both need root.

mod image;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};

pub use self::image::Image;
use crate::tool;

/// What fills a disk up.
const FILLER: &str = "filler";
/// Bytes that are taken at a time to fill a disk up, at first and at last.
const FILLING_BYTES: (i64, i64) = (1 << 26, 1 << 12);

/// A file system in memory, until dropped.
#[derive(Debug)]
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of so many MiB at a folder, which is made.
    pub fn mount(folder: &Path, mib: u32) -> Result<Self> {
        fs::create_dir_all(folder)?;
        run("mount", ["-t", "tmpfs", "-o", &format!("size={mib}m"), "kraken"], folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Gives it another size.
    pub fn resize(&self, mib: u32) -> Result<()> {
        run("mount", ["-o", &format!("remount,size={mib}m")], &self.0)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process may just be ending in it.
        drop(run("umount", ["-l"], &self.0));
    }
}

/// Leaves no room on the disk of a folder.
pub fn fill(folder: &Path) -> Result<()> {
    let filler = File::create(folder.join(FILLER))?;
    let (mut length, mut bytes) = (0, FILLING_BYTES.0);
    while bytes >= FILLING_BYTES.1 {
        match fallocate(&filler, FallocateFlags::empty(), length, bytes) {
            Ok(()) => length += bytes,
            Err(Errno::ENOSPC) => bytes /= 2,
            Err(error) => return Err(error).context("cannot fill the disk"),
        }
    }
    Ok(())
}

/// Takes back what filled it up, unless a power cut has done that.
pub fn free(folder: &Path) -> Result<()> {
    match fs::remove_file(folder.join(FILLER)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.context("cannot free the disk"),
    }
}

fn run<const N: usize>(program: &str, args: [&str; N], last: &Path) -> Result<()> {
    tool::run(program, args.map(OsStr::new).into_iter().chain([last.as_os_str()]))
}
