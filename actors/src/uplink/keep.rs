//! The file in which a leaf keeps the Cfg that it holds, over its restarts.
//!
//! It is written anew as a whole and takes the place of the last one at once. Where that fails
//! there is none: a leaf that starts with nothing asks for nothing, one that starts with old Cfg
//! would go back.

use std::{fs, io::ErrorKind, path::PathBuf};

use kraken_engine::sync::kept::Kept;

use crate::whole;

/// The file.
const NAME: &str = "cfg";

/// A folder for the file.
#[derive(Debug, Clone)]
pub struct Keep {
    folder: PathBuf,
}

impl Keep {
    /// In this folder, which is made where it is missing.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// What is kept, if anything. What cannot be used is taken away, and said.
    pub(super) fn load(&self) -> Option<Kept> {
        let path = self.folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the Cfg that was kept is lost");
                return None;
            }
        };
        match Kept::decode(&bytes) {
            Ok(kept) => Some(kept),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the Cfg that was kept is lost");
                self.remove();
                None
            }
        }
    }

    /// Keeps this from now on; on stable storage when this returns. Waits for the disk.
    pub(super) fn keep(&self, kept: &Kept) {
        if let Err(error) = whole::replace(&self.folder, NAME, &kept.encode()) {
            let path = self.folder.display();
            tracing::warn!(%error, %path, "cannot keep Cfg: a restart begins without any");
            self.remove();
        }
    }

    /// Keeps nothing.
    pub(super) fn remove(&self) {
        let removed =
            fs::remove_file(self.folder.join(NAME)).and_then(|()| whole::sync(&self.folder));
        if let Err(error) = removed
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.folder.display(), "cannot remove old Cfg");
        }
    }
}

#[cfg(test)]
mod tests {
    use kraken_engine::id::{ClusterId, Epoch, Revision};

    use super::*;

    fn kept(revision: u64) -> Kept {
        Kept {
            cluster: ClusterId::new(7),
            epoch: Epoch::FIRST,
            revision: Revision::new(revision),
            objects: Vec::new(),
            manifests: Vec::new(),
        }
    }

    #[test]
    fn the_last_is_kept_and_nothing_older_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path().join("sync"));
        assert_eq!(keep.load(), None);
        for revision in [3, 4] {
            keep.keep(&kept(revision));
            assert_eq!(keep.load(), Some(kept(revision)));
        }
        // Nothing can be written: what is there would be old.
        fs::create_dir(folder.path().join("sync").join("cfg.tmp")).unwrap();
        keep.keep(&kept(5));
        assert_eq!(keep.load(), None);
    }

    #[test]
    fn what_is_damaged_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path());
        keep.keep(&kept(3));
        let file = folder.path().join(NAME);
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(keep.load(), None);
        assert!(!file.exists());
    }
}
