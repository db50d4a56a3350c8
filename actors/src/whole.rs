//! Files that are written as a whole, and stand under their names as a whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Puts a file with these bytes in the place of the one of that name in a folder, which is made
/// where it is missing; on stable storage when this returns. The file is open for appending more.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join(name);
    let writing = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&writing)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&writing, path)?;
        Ok(file)
    };
    // A part of it would only take room.
    let file = write().inspect_err(|_: &io::Error| drop(fs::remove_file(&writing)))?;
    sync(folder)?;
    Ok(file)
}

/// Makes the names in a folder durable.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
