//! Work that takes long and may take longer: on a thread of its own that stands back for whoever
//! answers requests, where the processors do not suffice for both.

use std::{io, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

/// How much more willingly than others such a thread gives way. Where others want all of the
/// processors it is left a tenth of one, so that it ends nevertheless.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Does it beside all else. An error where there is no thread for it, or where it panicked.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        stand_back();
        // Who asked may be gone.
        drop(done.send(work()));
    })?;
    result.await.map_err(|_| io::Error::other(format!("the thread {name} panicked")))
}

/// Of this thread alone, for as long as it lives: to take it back needs a right that we may lack.
#[cfg(target_os = "linux")]
fn stand_back() {
    let stand_back = || match rustix::process::getpriority_process(None)? {
        held if held < NICENESS => rustix::process::setpriority_process(None, NICENESS),
        _ => Ok(()),
    };
    if let Err(error) = stand_back() {
        tracing::debug!(%error, "the priority of a thread stays as it is");
    }
}

/// Elsewhere priorities are those of whole processes.
#[cfg(not(target_os = "linux"))]
fn stand_back() {}

/// How many times as long as it works a thread rests: neither niceness nor the kernel's groups of
/// processes keep it from the processors that other processes need.
const RESTS: u32 = 4;

/// Takes turns of work and rest.
pub(crate) struct Turns {
    /// The thread's processor time when it last went on.
    since: Duration,
}

impl Turns {
    /// Of this thread, at work from now on.
    pub(crate) fn new() -> Self {
        Self { since: processor_time() }
    }

    /// Rests for what was done since the last rest.
    pub(crate) fn rest(&mut self) {
        let now = processor_time();
        std::thread::sleep(now.saturating_sub(self.since) * RESTS);
        self.since = now;
    }
}

/// What this thread has had of the processors.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{RESTS, Turns, processor_time};

    #[test]
    fn rest_is_a_multiple_of_work() {
        let (begun, before) = (Instant::now(), processor_time());
        let mut turns = Turns::new();
        let work = Duration::from_millis(5);
        while processor_time() < before + work {}
        turns.rest();
        assert!(begun.elapsed() >= work * (RESTS + 1));
    }

    #[tokio::test]
    async fn it_runs_and_a_panic_is_an_error() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let within = super::run("test", niceness).await.unwrap();
        let wanted = if cfg!(target_os = "linux") { before.max(10) } else { before };
        assert_eq!(within, wanted);
        assert_eq!(niceness(), before, "of that thread alone");
        let error = super::run("test", || panic!("expected")).await.unwrap_err();
        assert_eq!(error.to_string(), "the thread test panicked");
    }
}
