//! Wall clocks that are wrong: `libfaketime` tells a process another time. What measures how long
//! something takes is left as it is, as it would be on a machine whose clock was set.

use std::{fs, path::PathBuf};

/// Where the library lies, below the folder of each architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// What the library keeps for each process, and leaves behind for one that is killed.
const KEPT: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];

/// The library, where the machine has it.
pub fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    folders.map(|folder| folder.path().join(LIBRARY)).find(|path| path.exists())
}

/// What a process needs in its environment so that its clock is off by so many seconds.
pub(crate) fn environment(library: PathBuf, seconds: i64) -> [(&'static str, PathBuf); 3] {
    [
        ("LD_PRELOAD", library),
        ("FAKETIME", format!("{seconds:+}s").into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

/// Removes what the library has kept for processes, once this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<i32>);

impl Kept {
    /// For the process of this pid as well.
    pub(crate) fn add(&mut self, pid: i32) {
        self.0.push(pid);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (pid, kind) in self.0.iter().flat_map(|pid| KEPT.map(|kind| (pid, kind))) {
            // It is gone where the process ended in good order.
            drop(fs::remove_file(format!("/dev/shm/{kind}{pid}")));
        }
    }
}
