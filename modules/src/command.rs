//! Runs one short command to its end: in a process group of its own, within a time limit, keeping
//! only the end of what it printed. Dropping the future kills the group.

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    process::{Child, Command},
    time::{Instant, timeout},
};

/// How many bytes of output are kept: the last ones.
pub(crate) const OUTPUT_BYTES_MAX: usize = 4_096;
/// How long output is still read after the command itself has ended: what it left running in the
/// background may hold the pipe for ever.
const DRAIN: Duration = Duration::from_millis(50);

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// The end of what it printed, of both streams.
    pub(crate) output: String,
}

/// A command did not end as commands should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It could not be started.
    #[error("cannot run {program:?}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("{program:?} did not end within {limit:?} and was killed{}", after_colon(output))]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
        /// The end of what it printed.
        output: String,
    },
}

/// ": text", or nothing where there is no text.
pub(crate) fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Runs a command to its end. The caller has set program, arguments, environment and folder.
pub(crate) async fn run(mut command: Command, limit: Duration) -> Result<Finished, Error> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let deadline = Instant::now() + limit;
    let started = start(&mut command);
    // The command holds the writing end of the pipe; without it the end of output is seen.
    drop(command);
    let (mut group, mut output) =
        started.map_err(|source| Error::Start { program: program.clone(), source })?;
    let mut tail = Tail::default();
    let status = loop {
        tokio::select! {
            status = group.0.wait() => break status,
            () = tail.read(&mut output) => {}
            () = tokio::time::sleep_until(deadline) => {
                return Err(Error::TimedOut { program, limit, output: tail.text() });
            }
        }
    };
    drop(timeout(DRAIN, tail.read_all(&mut output)).await);
    let status = status.map_err(|source| Error::Start { program, source })?;
    Ok(Finished { status, output: tail.text() })
}

fn start(command: &mut Command) -> io::Result<(Group, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((Group(child), Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// Kills the group of a child that has not ended when it is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // The id is there only until the child was reaped, so that it cannot be another's.
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok())
            && let Err(error) = killpg(Pid::from_raw(pid), Signal::SIGKILL)
        {
            tracing::debug!(pid, %error, "a command's group has ended by itself");
        }
    }
}

#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Tail {
    /// Reads once; at the end of output it never returns, so that others may be waited for.
    async fn read(&mut self, output: &mut Receiver) {
        if self.ended {
            return std::future::pending().await;
        }
        let mut buffer = [0; 1_024];
        match output.read(&mut buffer).await {
            Ok(0) | Err(_) => self.ended = true,
            Ok(count) => {
                self.bytes.extend(&buffer[..count]);
                let excess = self.bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
                self.bytes.drain(..excess);
            }
        }
    }

    async fn read_all(&mut self, output: &mut Receiver) {
        while !self.ended {
            self.read(output).await;
        }
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn status_and_both_streams_come_back() {
        let finished = run(sh("echo out; echo err >&2; exit 3"), LIMIT).await.unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.output, "out\nerr");
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_output_is_kept() {
        let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done";
        let output = run(sh(script), LIMIT).await.unwrap().output;
        assert!(output.len() <= OUTPUT_BYTES_MAX);
        assert!(output.ends_with("line 1999"));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; echo begun; wait", pid_file.display());
        let error = run(sh(&script), Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(&error, Error::TimedOut { output, .. } if output == "begun"), "{error}");
        let pid: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        let gone = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        };
        let deadline = std::time::Instant::now() + LIMIT;
        while !gone() {
            assert!(std::time::Instant::now() < deadline, "{pid} still runs");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_stays_in_the_background_does_not_hold_the_answer() {
        let begun = Instant::now();
        let finished = run(sh("sleep 30 & echo $!"), LIMIT).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        let pid: i32 = finished.output.parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = run(Command::new("/no/such/program"), LIMIT).await.unwrap_err().to_string();
        assert!(error.contains("/no/such/program"), "{error}");
    }
}
