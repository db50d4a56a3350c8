//! Whole files replaced at once: a reader sees the old bytes or the new, never a part, and a crash
//! leaves one of the two.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Replaces the file at `path` by one of these bytes and this mode: a new file beside it, synced,
/// then renamed over it. What stood at `path`, a symbolic link included, is replaced and not
/// followed. `prepare` may change the new file before it takes the name (its owner, say).
pub(crate) fn replace(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let fresh = fresh_name(path)?;
    let written = write_new(&fresh, bytes, mode, prepare).and_then(|()| fs::rename(&fresh, path));
    if let Err(error) = written {
        // The first error is the one to tell; a file left over has a name that is never used again.
        drop(fs::remove_file(&fresh));
        return Err(error);
    }
    sync_folder(path)
}

fn fresh_name(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let kept: String = name.chars().take(64).collect();
    Ok(path.with_file_name(format!(".{kept}.{}-{count}.kraken", std::process::id())))
}

fn write_new(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    // `create_new` neither follows a link nor opens what somebody else has put there.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    prepare(&file)?;
    // After the owner: a change of owner clears set-uid bits. Set on the file, past any umask.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_new_bytes_have_the_mode_asked_for_and_nothing_is_left_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for (bytes, mode) in [(&b"one"[..], 0o644), (b"two", 0o600), (b"", 0o4755)] {
            replace(&path, bytes, mode, |_| Ok(())).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "kept").unwrap();
        symlink(&target, &link).unwrap();
        replace(&link, b"new", 0o644, |_| Ok(())).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let error = replace(&path, b"new", 0o644, |_| Err(io::Error::other("no")));
        assert!(error.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(Path::new("/"), b"", 0o644, |_| Ok(())).is_err());
    }
}
