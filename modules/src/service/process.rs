//! Processes of the machine: who one is for certain, when it has ended and how, and who came of it.
//!
//! A pid alone is not an identity: it is given out again. Pid, start time and boot id together are.

use std::{
    collections::BTreeSet, fmt, fs, os::fd::OwnedFd, path::Path, sync::OnceLock, time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::process::{PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

/// How often a process is looked at where the kernel has no pidfd.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One process for all time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    /// The process id.
    pub(super) pid: i32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub(super) start_time: u64,
    /// The boot during which it started.
    pub(super) boot_id: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Killed(Signal),
    /// Not known: it was not a child of this agent.
    Unknown,
}

/// What `/proc/<pid>/stat` says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    session: i32,
    start_time: u64,
}

impl Identity {
    /// The identity of the process that has this pid now; `None` if there is none.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        Some(Self { pid, start_time: stat.start_time, boot_id: boot_id().to_owned() })
    }

    /// Whether the process still runs. A zombie does not.
    pub(super) fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
    }

    /// Whether it is of the boot that the machine is in.
    pub(super) fn is_of_this_boot(&self) -> bool {
        self.boot_id == boot_id()
    }

    /// Waits until the process has ended, and tells how. Cancel-safe.
    pub(super) async fn ended(&self) -> Exit {
        match self.pidfd() {
            Some(fd) if self.is_alive() => {
                // An error of the wait means that the runtime ends; what is seen then is as good.
                drop(fd.readable().await);
            }
            Some(_) => {}
            None => {
                while self.is_alive() {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
            }
        }
        self.reap()
    }

    /// Takes the exit status of an ended child from the kernel; `Unknown` for what is no child.
    pub(super) fn reap(&self) -> Exit {
        if self.stat().is_none() {
            return Exit::Unknown;
        }
        match waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Exit::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Exit::Killed(signal),
            Ok(_) | Err(_) => Exit::Unknown,
        }
    }

    /// The processes that came of this one and still run, itself included: those of its session and
    /// those that carry `marker` in their environment.
    pub(super) fn members(&self, marker: &str) -> BTreeSet<i32> {
        if !self.is_of_this_boot() {
            return BTreeSet::new();
        }
        // While a session has members its number is not given out as a pid; so another process
        // under our number means that the session is gone and that this number means nothing.
        let session_is_ours = stat(self.pid).is_none_or(|s| s.start_time == self.start_time);
        let own = std::process::id();
        pids()
            .filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != own))
            .filter(|pid| {
                stat(*pid).is_some_and(|stat| {
                    !matches!(stat.state, 'Z' | 'X')
                        && stat.start_time >= self.start_time
                        && (session_is_ours && stat.session == self.pid || is_marked(*pid, marker))
                })
            })
            .collect()
    }

    /// Sends a signal to all that came of this process; tells how many there are.
    pub(super) fn signal(&self, marker: &str, signal: Signal) -> usize {
        let members = self.members(marker);
        for pid in &members {
            if let Err(error) = kill(Pid::from_raw(*pid), signal)
                && error != Errno::ESRCH
            {
                tracing::warn!(pid, %signal, %error, "cannot signal a process of a service");
            }
        }
        members.len()
    }

    fn stat(&self) -> Option<Stat> {
        stat(self.pid).filter(|s| s.start_time == self.start_time && self.is_of_this_boot())
    }

    #[expect(
        deprecated,
        reason = "its successor is unsafe, for descriptors that are not owned; this one is"
    )]
    fn pidfd(&self) -> Option<AsyncFd<OwnedFd>> {
        let pid = rustix::process::Pid::from_raw(self.pid)?;
        let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        AsyncFd::with_interest(fd, Interest::READABLE).ok()
    }
}

impl Exit {
    /// Whether the process said that all was well.
    pub(super) fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Killed(signal) => write!(f, "killed by signal {} ({signal})", *signal as i32),
            Self::Unknown => f.write_str("ended, nobody saw how"),
        }
    }
}

/// The live process that carries `marker` and leads its session, where a record of it was lost.
pub(super) fn find_marked(marker: &str) -> Option<Identity> {
    let leads = |pid: &i32| stat(*pid).is_some_and(|stat| stat.session == *pid);
    pids().filter(leads).find(|pid| is_marked(*pid, marker)).and_then(Identity::of)
}

/// Whether an entry of the environment of a process begins with `marker`.
fn is_marked(pid: i32, marker: &str) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environ.split(|byte| *byte == 0).any(|entry| entry.starts_with(marker.as_bytes()))
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir(Path::new("/proc")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// See proc_pid_stat(5). The command's name stands in parentheses and may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let session = fields.nth(2)?.parse().ok()?;
    let start_time = fields.nth(15)?.parse().ok()?;
    Some(Stat { state, session, start_time })
}

/// Tells one boot of the machine from another; empty where the kernel does not say.
fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn sh(script: &str) -> std::process::Child {
        Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap()
    }

    fn identity(child: &std::process::Child) -> Identity {
        Identity::of(i32::try_from(child.id()).unwrap()).unwrap()
    }

    #[test]
    fn a_command_name_cannot_forge_the_fields_after_it() {
        let tail = "S 1 7 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        for name in ["sh", "a b", "x) Z 9 9 9 (y", "(((", "äö"] {
            let parsed = parse_stat(&format!("7 ({name}) {tail}"));
            assert_eq!(parsed, Some(Stat { state: 'S', session: 42, start_time: 12345 }), "{name}");
        }
        for broken in ["", "7", "7 (sh)", "7 (sh) S 1", "7 (sh) S 1 7 x"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            parse_stat(&text);
        }
    }

    #[tokio::test]
    #[expect(clippy::zombie_processes, reason = "it is reaped by its identity")]
    async fn the_end_of_a_child_is_seen_with_its_status() {
        for (script, expected) in [
            ("exit 0", Exit::Code(0)),
            ("exit 3", Exit::Code(3)),
            ("kill -9 $$", Exit::Killed(Signal::SIGKILL)),
        ] {
            let child = sh(script);
            assert_eq!(identity(&child).ended().await, expected, "{script}");
        }
    }

    #[tokio::test]
    async fn a_pid_that_was_given_out_again_is_not_the_process() {
        let mut child = sh("exec sleep 600");
        let real = identity(&child);
        assert!(real.is_alive());
        let reused = Identity { start_time: real.start_time + 1, ..real.clone() };
        let rebooted = Identity { boot_id: "another".to_owned(), ..real.clone() };
        for other in [reused, rebooted] {
            assert!(!other.is_alive());
            assert_eq!(other.ended().await, Exit::Unknown);
            assert_eq!(other.signal("KRAKEN_RUN=/nowhere/at-all", Signal::SIGKILL), 0);
        }
        assert!(real.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!real.is_alive());
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "it is reaped by its identity")]
    fn a_zombie_is_not_alive_and_is_reaped() {
        let child = sh("exit 0");
        let identity = identity(&child);
        while identity.is_alive() {
            std::thread::yield_now();
        }
        assert_eq!(identity.reap(), Exit::Code(0));
        assert_eq!(identity.reap(), Exit::Unknown);
    }

    #[test]
    fn endings_are_told_in_words() {
        for (exit, words) in [
            (Exit::Code(1), "exited with code 1"),
            (Exit::Killed(Signal::SIGKILL), "killed by signal 9 (SIGKILL)"),
            (Exit::Unknown, "ended, nobody saw how"),
        ] {
            assert_eq!(exit.to_string(), words);
        }
    }
}
