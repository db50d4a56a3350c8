//! A disk whose power can be cut: a file system in a file, of which nothing stays but what was on
//! stable storage.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::run;

/// Tells a file system to forget what it has not written yet, its journal included, and to fail
/// from now on. The request and its value are those of `FS_IOC_SHUTDOWN` and
/// `FS_SHUTDOWN_FLAGS_NOLOGFLUSH` in Linux.
const SHUT_DOWN: &str = "my $how = pack('L', 2); open(my $root, '<', $ARGV[0]) or die $!; \
                         ioctl($root, 0x8004587d, $how) or die $!";

/// A file with an ext4 file system in it that is mounted until dropped.
#[derive(Debug)]
pub struct Image {
    file: PathBuf,
    folder: PathBuf,
}

impl Image {
    /// Makes one of so many MiB in a file, and mounts it at a folder beside that, which is made.
    pub fn mount(folder: &Path, mib: u64) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let image = Self { file: folder.with_extension("img"), folder: folder.to_owned() };
        let file = File::create(&image.file)?;
        file.set_len(mib << 20).with_context(|| image.file.display().to_string())?;
        run("mkfs.ext4", ["-q", "-m", "0"], &image.file)?;
        image.attach()?;
        Ok(image)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Cuts the power: what was not on stable storage is gone, and all that is written fails.
    pub fn cut_power(&self) -> Result<()> {
        run("perl", ["-e", SHUT_DOWN], &self.folder)
    }

    /// Gives it power again. Nobody may be using it.
    pub fn restore_power(&self) -> Result<()> {
        run("umount", [], &self.folder)?;
        self.attach()
    }

    fn attach(&self) -> Result<()> {
        let file = self.file.to_str().context("the path is no text")?;
        run("mount", ["-o", "loop", file], &self.folder)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Lazily: a process may just be ending in it.
        drop(run("umount", ["-l"], &self.folder));
    }
}
