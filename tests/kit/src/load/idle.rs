//! What leaves cost that do nothing: memory, processor time and bytes, beside bare connections on
//! which as many bytes go back and forth as often.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use kraken_actors::downlink::CHILDREN_MAX;
use kraken_engine::sync::{self, frame::Frame};
use tokio::{net::TcpStream, time::Instant};

use super::{
    Load, Outcome,
    crew::{Crew, Hands},
    figure::{Figure, float, size},
    peer::PEER,
    system::{MEMBERS, System, Used, pass},
};
use crate::{job::Job, ports, process::Process, wait_until};

/// How long all is left alone before it is measured.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a server may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(10);
/// The length before each frame, in bytes.
const LENGTH_BYTES: usize = 4;

/// What members use by themselves: memory, and cores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    memory: u64,
    cores: f64,
}

/// Cores that were used from one look to another.
fn cores(before: Used, after: Used, since: Instant) -> f64 {
    (after.cpu - before.cpu).max(0.0) / since.elapsed().as_secs_f64()
}

/// What members use without a leaf.
pub(super) async fn rest(system: &System, time: Duration) -> Result<Rest> {
    pass(SETTLE).await;
    let (before, since) = (system.used()?, Instant::now());
    pass(time).await;
    let after = system.used()?;
    Ok(Rest { memory: after.memory, cores: cores(before, after, since) })
}

/// Cores that as many servers as there are members use for bare connections; `None` where they are
/// no processes of their own, or could not hold as many.
pub(super) async fn bare(load: &Load, crew: &mut Crew, folder: &Path) -> Result<Option<f64>> {
    let Hands::Processes(program) = &load.hands else { return Ok(None) };
    if load.leaves > MEMBERS * CHILDREN_MAX {
        return Ok(None);
    }
    let (mut jobs, mut addresses) = (Vec::new(), Vec::new());
    for number in 1..=MEMBERS {
        let at: SocketAddr = ports::free()?;
        let job = Job::new(&format!("echo{number}"), program, folder);
        let mut job = job.args(["echo", &at.to_string()]);
        job.start()?;
        wait_until("a server listens", LISTEN_MAX, async || {
            Ok(TcpStream::connect(at).await.map(drop)?)
        })
        .await?;
        jobs.push(job);
        addresses.push(at);
    }
    let period = Duration::from_millis(load.pace.heartbeat_ms());
    crew.beat(load.leaves, &addresses, (beat_bytes()?, period)).await?;
    crew.attached(load.leaves, |_| true).await?;
    pass(SETTLE).await;
    let processes = jobs.iter().map(Job::process).collect::<Result<Vec<Process>>>()?;
    let cpu = || processes.iter().map(Process::cpu_seconds).sum::<Result<f64>>();
    let (before, since) = (cpu()?, Instant::now());
    pass(load.time).await;
    let cores = (cpu()? - before) / since.elapsed().as_secs_f64();
    crew.leave().await?;
    Ok(Some(cores))
}

/// Bytes of a heartbeat on its way.
fn beat_bytes() -> Result<usize> {
    Ok(sync::encode(&Frame::Beat(100, u64::MAX))?.len() + LENGTH_BYTES)
}

/// The rows of idle leaves; returns how many bytes one of them moves in a second.
pub(super) async fn measure(
    load: &Load,
    crew: &mut Crew,
    system: &System,
    (rest, bare, peer): (Rest, Option<f64>, Option<f64>),
    outcome: &mut Outcome,
) -> Result<f64> {
    pass(SETTLE).await;
    let (used, moved, since) = (system.used()?, crew.report().await?, Instant::now());
    pass(load.time).await;
    let (used_after, seconds) = (system.used()?, since.elapsed().as_secs_f64());
    let cores = cores(used, used_after, since);
    let moved_after = crew.report().await?;
    let bytes =
        u32::try_from(moved_after.moved() - moved.moved()).context("bytes of idle leaves")?;
    let grown = used_after.memory.saturating_sub(rest.memory) >> 10;
    let grown = f64::from(u32::try_from(grown)?) * 1_024.0;
    let (leaves, named) = (float(load.leaves), size(load.leaves));
    let bytes_per_s = f64::from(bytes) / leaves / seconds;
    let name = |what: &str| format!("fanout.idle.{what}.{named}");
    outcome.figures.extend([
        Figure::new(name("memory"), grown / leaves, "bytes", load.leaves)
            .beside(PEER, peer)
            .target(8_192.0),
        Figure::new(name("bytes"), bytes_per_s, "bytes_per_s", load.leaves).target(40.0),
        Figure::new(name("cpu"), (cores - rest.cores).max(0.0), "cores", 1).beside("bare", bare),
        Figure::new(name("rest"), rest.cores, "cores", 1),
    ]);
    Ok(bytes_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_beat_has_the_bytes_of_a_heartbeat() {
        let bytes = beat_bytes().unwrap();
        assert!((10..30).contains(&bytes), "{bytes}");
    }
}
