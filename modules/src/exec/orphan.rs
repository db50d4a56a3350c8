//! What a run leaves behind whose agent was killed: its processes, found by the mark in their
//! environment, so that a second run never goes beside the first.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{task::spawn_blocking, time::Instant};

use super::record::RUN_VARIABLE;

/// How long the kernel may take to end what was killed.
const KILL_MAX: Duration = Duration::from_secs(5);
/// How often is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Kills every process of a run; an error tells how many did not end.
pub(super) async fn end_all(run: &str) -> Result<(), usize> {
    let mark = format!("{RUN_VARIABLE}={run}");
    let deadline = Instant::now() + KILL_MAX;
    loop {
        let sought = mark.clone();
        // The module ends where the work is cancelled; then nothing is begun either.
        let Ok(found) = spawn_blocking(move || find(&sought)).await else { return Err(0) };
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(found.len());
        }
        for pid in found {
            if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
                tracing::debug!(pid, %error, "what a run left behind has ended by itself");
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The processes that carry a mark. A process that has ended carries nothing, reaped or not.
fn find(mark: &str) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own && is_marked(*pid, mark)).collect()
}

fn is_marked(pid: i32, mark: &str) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(run: &str) -> Child {
        Command::new("sleep").arg("600").env(RUN_VARIABLE, run).spawn().unwrap()
    }

    #[tokio::test]
    async fn only_the_processes_of_the_run_are_ended() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("1-1").display().to_string();
        let (mut left, mut other) = (sleeper(&run), sleeper(&format!("{run}2")));
        end_all(&run).await.unwrap();
        assert!(!left.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        end_all(&run).await.unwrap();
    }
}
