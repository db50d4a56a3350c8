//! One cluster at a time: two at once on a small machine would measure each other.

use std::{env, fs::File, path::PathBuf};

use anyhow::{Context as _, Result};

/// The right to run a cluster, until dropped. Held against all threads and processes of this user.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for its turn, however long the others take.
    pub fn take() -> Result<Self> {
        let path = file();
        let named = || format!("cannot lock {}", path.display());
        let file = File::options().create(true).append(true).open(&path).with_context(named)?;
        file.lock().with_context(named)?;
        Ok(Self { _file: file })
    }
}

fn file() -> PathBuf {
    env::temp_dir().join(format!("kraken-cluster-{}.lock", nix::unistd::Uid::effective()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_cluster_waits_for_the_first() {
        let lock = Lock::take().unwrap();
        let second = File::options().append(true).open(file()).unwrap();
        assert!(second.try_lock().is_err());
        drop(lock);
    }
}
