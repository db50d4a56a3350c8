//! What is left to end when the children have: nodes that somebody started by hand in the place of
//! a dead one, and processes that dead leaves had kept.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

use super::layout::{Node, Role};
use crate::{agent::service_folder, console::Console, daemon::holder, exit::Failure};

/// How long a node started by hand may take to end.
const END_WITHIN: Duration = Duration::from_secs(30);
/// How long managed processes may take to end before they are killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often is looked whether a node has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Ends what is left of the nodes; without patience where `at_once`.
pub(super) async fn clear(nodes: &[Node], at_once: bool, console: &Console) -> Result<(), Failure> {
    let mut failed = None;
    for node in nodes {
        end_holder(&node.data(), &node.name, at_once).await?;
        if node.role != Role::Leaf {
            continue;
        }
        let (folder, grace) =
            (service_folder(&node.data()), if at_once { Duration::ZERO } else { GRACE });
        if !folder.is_dir() {
            continue;
        }
        let stop = move || kraken_modules::service::stop_all(&folder, grace);
        match tokio::task::spawn_blocking(stop).await {
            Ok(Ok(0)) => {}
            Ok(Ok(1)) => console.note(format!("{}: ended 1 process", node.name)),
            Ok(Ok(ended)) => console.note(format!("{}: ended {ended} processes", node.name)),
            Ok(Err(error)) => failed = Some(format!("{}: {error}", node.name)),
            Err(error) => failed = Some(format!("{}: {error}", node.name)),
        }
    }
    failed.map_or(Ok(()), |words| Err(Failure::failed(words)))
}

/// Ends the process that has a node's folder to itself, if one has.
async fn end_holder(data: &Path, name: &str, at_once: bool) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut signalled = None;
    while let Some(pid) = holder(data) {
        let is_late = at_once || begun.elapsed() > END_WITHIN;
        let signal = if is_late { Signal::SIGKILL } else { Signal::SIGTERM };
        if signalled != Some(signal) {
            // It may have ended meanwhile, which is as good.
            kill(Pid::from_raw(pid), signal).ok();
            signalled = Some(signal);
        }
        if begun.elapsed() > END_WITHIN * 2 {
            return Err(Failure::failed(format!("{name} (pid {pid}) does not end")));
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}
