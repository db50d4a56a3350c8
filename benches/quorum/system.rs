//! Three members of ours or three etcd, as a measurement sees them: by number.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
pub(crate) use kraken_testkit::etcd::MEMBERS;
use kraken_testkit::{etcd::Etcd, process::Process, wait_until};
use tokio::time::timeout;

use super::{
    members::Members,
    times::float,
    wire::{Place, Read, Standing, Value, Wire},
};

/// How long a system may take until it serves.
const READY_MAX: Duration = Duration::from_mins(3);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Bytes of a block in which the file system counts.
const BLOCK_BYTES: u64 = 512;
/// A key that no load writes: it tells how far a member is.
const SIGN: u64 = 9_999_999;

/// Which system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Ours.
    Kraken,
    /// The peer.
    Etcd,
}

/// A running system.
pub(crate) enum System {
    /// Ours.
    Kraken(Box<Members>),
    /// The peer.
    Etcd(Etcd),
}

impl System {
    /// Starts three members with their data below `folder`.
    pub(crate) async fn start(who: Who, program: &str, folder: &Path) -> Result<Self> {
        let system = match who {
            Who::Kraken => Self::Kraken(Box::new(Members::start(program, folder).await?)),
            Who::Etcd => Self::Etcd(Etcd::start(folder)?),
        };
        system.all_serve().await?;
        Ok(system)
    }

    pub(crate) fn who(&self) -> Who {
        match self {
            Self::Kraken(_) => Who::Kraken,
            Self::Etcd(_) => Who::Etcd,
        }
    }

    /// Where a client of this number goes: they are spread evenly.
    pub(crate) fn place(&self, client: usize) -> Place {
        let member = client % MEMBERS;
        match self {
            Self::Kraken(members) => Place::Rest(members.address(member)),
            Self::Etcd(etcd) => Place::Grpc(etcd.address(member)),
        }
    }

    pub(crate) fn process(&self, member: usize) -> Result<Process> {
        match self {
            Self::Kraken(members) => members.process(member),
            Self::Etcd(etcd) => etcd.process(member),
        }
    }

    /// All processes.
    pub(crate) fn processes(&self) -> Result<Vec<Process>> {
        (0..MEMBERS).map(|member| self.process(member)).collect()
    }

    pub(crate) fn kill9(&mut self, member: usize) -> Result<()> {
        match self {
            Self::Kraken(members) => members.kill9(member),
            Self::Etcd(etcd) => etcd.kill9(member),
        }
    }

    pub(crate) fn start_again(&mut self, member: usize) -> Result<()> {
        match self {
            Self::Kraken(members) => members.start_again(member),
            Self::Etcd(etcd) => etcd.start_again(member),
        }
    }

    /// The member that leads.
    pub(crate) async fn leader(&self) -> Result<usize> {
        wait_until("a member leads", READY_MAX, async || {
            for member in 0..MEMBERS {
                if standing(self.place(member)).await.is_ok_and(|standing| standing.leads) {
                    return Ok(member);
                }
            }
            bail!("nobody does")
        })
        .await
    }

    /// Waits until each member answers, takes part and has caught up.
    pub(crate) async fn all_serve(&self) -> Result<()> {
        for member in 0..MEMBERS {
            let place = self.place(member);
            let look = async || standing(place).await;
            wait_until("all members answer", READY_MAX, look).await?;
        }
        let leader = self.place(self.leader().await?);
        let sign = sign();
        wait_until("writes are taken", READY_MAX, async || mark(leader, sign).await).await?;
        for member in 0..MEMBERS {
            let place = self.place(member);
            let look = async || shows(place, sign).await;
            wait_until("a member has caught up", READY_MAX, look).await?;
        }
        Ok(())
    }

    /// Resident memory of the member that holds the most, in bytes.
    pub(crate) fn memory(&self) -> Result<f64> {
        let mut most = 0;
        for process in self.processes()? {
            most = most.max(process.memory()?);
        }
        Ok(float(most))
    }

    /// Bytes that the members' folders take, on average.
    pub(crate) fn bytes_on_disk(&self) -> Result<u64> {
        let folder = match self {
            Self::Kraken(members) => members.folder(),
            Self::Etcd(etcd) => etcd.folder(),
        };
        Ok(bytes_below(folder)? / MEMBERS as u64)
    }

    /// Ends it in good order; it ends at once where this is not called.
    pub(crate) fn end(self) -> Result<()> {
        match self {
            Self::Kraken(members) => (*members).end(),
            Self::Etcd(_) => Ok(()),
        }
    }
}

/// How the member at this place says that it stands.
pub(crate) async fn standing(place: Place) -> Result<Standing> {
    let asked = async { Wire::connect(place).await?.standing().await };
    timeout(LOOK_MAX, asked).await.context("no answer")?
}

/// A sign that was not written before.
pub(crate) fn sign() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Writes a sign by which it is seen how far a member is.
pub(crate) async fn mark(place: Place, sign: u64) -> Result<()> {
    let put = async { Wire::connect(place).await?.put(SIGN, &Value::new(sign)).await };
    timeout(LOOK_MAX, put).await.context("no answer")?
}

/// Whether a member has applied the sign and serves linearizable reads as well.
pub(crate) async fn shows(place: Place, sign: u64) -> Result<()> {
    let looked = async {
        let mut wire = Wire::connect(place).await?;
        let applied = wire.read(SIGN, Read::Stale).await?;
        anyhow::ensure!(applied == Some(sign), "it shows {applied:?} and not {sign}");
        wire.read(SIGN, Read::Linearizable).await
    };
    timeout(LOOK_MAX, looked).await.context("no answer")?.map(drop)
}

/// Bytes on the disk of all files below a folder. One that goes meanwhile is not counted.
fn bytes_below(folder: &Path) -> Result<u64> {
    let entries = fs::read_dir(folder);
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let mut bytes = 0;
    for entry in entries {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(data) if data.is_dir() => bytes += bytes_below(&path)?,
            Ok(data) => bytes += data.blocks() * BLOCK_BYTES,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}
