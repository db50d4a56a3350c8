//! A machine that is too small: threads that want all of its processors and do nothing with them.

use std::{
    hint,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::Result;

/// How politely starved processes ask for a processor, as `nice` counts: they get about a tenth of
/// what somebody gets who does not ask politely.
pub(crate) const NICE: u8 = 10;

/// Threads that want a processor each, until dropped.
#[derive(Debug)]
pub(crate) struct Hogs {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    /// Starts so many.
    pub(crate) fn start(count: usize) -> Result<Self> {
        let mut hogs = Self { enough: Arc::default(), threads: Vec::new() };
        for _ in 0..count {
            let enough = hogs.enough.clone();
            let hog = std::thread::Builder::new().name("hog".to_owned()).spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
            hogs.threads.push(hog?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for hog in self.threads.drain(..) {
            // It cannot have failed: it does nothing.
            drop(hog.join());
        }
    }
}
