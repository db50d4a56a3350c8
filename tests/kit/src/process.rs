//! Processes of this machine as /proc shows them: who one is for certain, and which belong to a
//! folder. A pid alone is no identity, as it is given out again: pid and start time together are.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Ticks in a second in which the kernel tells times to programs, the same on all machines.
const TICKS_A_SECOND: f64 = 100.0;

/// One process, for as long as the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did: field 22 of `/proc/<pid>/stat`.
    pub started: u64,
}

impl Process {
    /// The process that has this pid now. A zombie is none.
    pub fn of(pid: i32) -> Option<Self> {
        let (state, process) = Self::look(pid)?;
        (!matches!(state, 'Z' | 'X')).then_some(process)
    }

    /// The process that has this pid now, even if it is a zombie, with the letter of its state.
    pub(crate) fn look(pid: i32) -> Option<(char, Self)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in brackets, which may hold spaces and brackets itself.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?.chars().next()?;
        Some((state, Self { pid, started: fields.nth(18)?.parse().ok()? }))
    }

    /// All processes of the machine.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::of).collect()
    }

    /// Processes that work in `folder` or below, or name it in their arguments or environment.
    pub fn within(folder: &Path) -> Vec<Self> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let all = Self::all().into_iter();
        all.filter(|process| process.pid != own && process.belongs_to(folder)).collect()
    }

    fn belongs_to(&self, folder: &Path) -> bool {
        let place = |name: &str| format!("/proc/{}/{name}", self.pid);
        let named = folder.as_os_str().as_bytes();
        let names = |file: &str| {
            let text = fs::read(place(file)).unwrap_or_default();
            text.windows(named.len()).any(|window| window == named)
        };
        let works = fs::read_link(place("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        works || names("cmdline") || names("environ")
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }

    /// Its program and arguments, with spaces between.
    pub fn command(&self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let words =
            bytes.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_string_lossy());
        words.collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// The value of a variable that it was started with.
    pub fn variable(&self, name: &str) -> Option<String> {
        let bytes = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let wanted = format!("{name}=");
        let mut variables = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.find_map(|variable| variable.strip_prefix(&wanted).map(str::to_owned))
    }

    /// The memory that it holds, in bytes.
    pub fn memory(&self) -> Result<u64> {
        let file = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&file).context(file)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(words.parse::<u64>()? << 10)
    }

    /// Seconds that it has had of processors, all its threads together.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let file = format!("/proc/{}/stat", self.pid);
        let stat = fs::read_to_string(&file).context(file)?;
        let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
        // Fields 14 and 15, in its own code and in the kernel's; the first one here is the third.
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        let ticks = ticks.sum::<Result<u32, _>>()?;
        Ok(f64::from(ticks) / TICKS_A_SECOND)
    }

    /// Sends it a signal. One that has ended meanwhile is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("{signal} to {}", self.pid)),
        }
    }

    /// Ends it at once.
    pub fn kill9(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }
}

/// Ends all processes of a folder when it is dropped, so that a test that fails leaves none.
#[derive(Debug)]
pub struct Sweep(PathBuf);

/// Rounds of looking for processes that are left: one that is ended may just have started another.
const SWEEP_ROUNDS_MAX: usize = 1_000;

impl Sweep {
    /// Of this folder.
    pub fn of(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        for _ in 0..SWEEP_ROUNDS_MAX {
            let left = Process::within(&self.0);
            if left.is_empty() {
                return;
            }
            for process in left {
                // The next round sees whether it worked.
                drop(process.kill9());
            }
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_process_is_found_by_its_folder_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo; read _"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.current_dir(folder.path()).spawn().unwrap();
        // /proc shows no arguments until the program itself runs, which is after it was spawned.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = Process::of(pid).unwrap();
        assert_eq!(Process::within(folder.path()), [process]);
        assert_eq!(process.command(), "sh -c echo; read _");
        assert!(process.memory().unwrap() > 0);
        assert!(process.cpu_seconds().unwrap() < 10.0);
        process.kill9().unwrap();
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(Process::within(folder.path()).is_empty());
    }
}
