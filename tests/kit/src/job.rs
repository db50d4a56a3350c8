//! A process that a test runs beside itself: started, signalled, awaited, started again, and ended
//! by its pid when it is dropped. What it writes goes to files, so that it never waits for a reader
//! and can still be read when it has ended.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::{process::Process, wait_until};

/// The end of what a process wrote that is shown when a test fails, in bytes.
const SHOWN_BYTES_MAX: usize = 6_000;

/// A program with its arguments, and the process that it is at the moment.
#[derive(Debug)]
pub struct Job {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    folder: PathBuf,
    child: Option<Child>,
    /// How long its errors were when it was started last.
    errors_before: usize,
}

impl Job {
    /// A program that is yet to be started. `folder` is where it keeps what it writes, in files of
    /// its `name`; it exists.
    pub fn new(name: &str, program: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: folder.into(),
            child: None,
            errors_before: 0,
        }
    }

    /// Gives it arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Gives it a variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Gives it a variable from its next start on, in the place of an earlier one.
    pub fn set_env(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it in a process group of its own. The pipe to its standard input is closed with this
    /// process, however that ends. None of our own configuration reaches it.
    pub fn start(&mut self) -> Result<Process> {
        if self.child.is_some() {
            bail!("{} runs already", self.name);
        }
        self.errors_before = self.errors().len();
        let append = |path: PathBuf| {
            let file = File::options().create(true).append(true).open(&path);
            file.with_context(|| format!("cannot write {}", path.display()))
        };
        let mut command = Command::new(&self.program);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.as_encoded_bytes().starts_with(b"KRAKEN_")) {
            command.env_remove(name);
        }
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(append(self.output_file())?)
            .stderr(append(self.errors_file())?)
            .process_group(0);
        let child = command.spawn();
        let child = child.with_context(|| format!("cannot run {}", self.program.display()))?;
        // Even if it has ended already: it is ours, and a zombie until we take note of that.
        let found = Process::look(i32::try_from(child.id())?);
        self.child = Some(child);
        Ok(found.context("a child is not in /proc")?.1)
    }

    /// Its process.
    pub fn process(&self) -> Result<Process> {
        let child = self.child.as_ref().with_context(|| format!("{} does not run", self.name))?;
        let pid = i32::try_from(child.id())?;
        Process::of(pid).with_context(|| format!("{} has ended; {}", self.name, self.tail()))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process()?.signal(signal)
    }

    /// Whether it was started, and nobody has taken note of its end since.
    pub fn was_started(&self) -> bool {
        self.child.is_some()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let child = self.child.as_mut().with_context(|| format!("{} does not run", self.name))?;
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Waits until it has ended by itself.
    pub async fn end_within(&mut self, bound: Duration) -> Result<ExitStatus> {
        let what = format!("{} has ended", self.name);
        let ended = wait_until(&what, bound, async || {
            self.ended()?.with_context(|| "it still runs".to_owned())
        });
        let ended = ended.await;
        ended.with_context(|| self.tail())
    }

    /// Ends it at once, as a crash does, and waits until the kernel has taken it away.
    pub fn kill9(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("{} does not run", self.name) };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// All that it wrote to standard output.
    pub fn output(&self) -> String {
        read(&self.output_file())
    }

    /// All that it wrote to standard error.
    pub fn errors(&self) -> String {
        read(&self.errors_file())
    }

    /// What it wrote to standard error since it was started last.
    pub fn errors_since_start(&self) -> String {
        self.errors().split_off(self.errors_before)
    }

    /// The end of all that it wrote, for people.
    pub fn tail(&self) -> String {
        let (output, errors) = (self.output(), self.errors());
        format!("{}:\n{}\n{}", self.name, last_bytes(&output), last_bytes(&errors))
    }

    fn output_file(&self) -> PathBuf {
        self.folder.join(format!("{}.out", self.name))
    }

    fn errors_file(&self) -> PathBuf {
        self.folder.join(format!("{}.err", self.name))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already, which is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn last_bytes(text: &str) -> &str {
    let from = text.len().saturating_sub(SHOWN_BYTES_MAX);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_it_writes_and_how_it_ends_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo data; echo \"$WORD\" >&2; exit 7";
        let job = Job::new("job", "/bin/sh", folder.path()).args(["-c", script]);
        let mut job = job.env("WORD", "words");
        for _ in 0..2 {
            job.start().unwrap();
            let status = job.end_within(Duration::from_secs(5)).await.unwrap();
            assert_eq!(status.code(), Some(7));
        }
        assert_eq!(job.output(), "data\ndata\n");
        assert_eq!(job.errors_since_start(), "words\n");
        assert!(job.process().is_err());
    }

    #[test]
    fn it_does_not_outlive_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut job = Job::new("job", "sleep", folder.path()).args(["100"]);
        let process = job.start().unwrap();
        assert!(process.is_alive());
        drop(job);
        assert!(!process.is_alive());
    }
}
