//! Recovery after a disaster: of a quorum that has lost its majority for good, one member is left,
//! and what it holds becomes the beginning of another epoch.
//!
//! Everything in its log counts, also what it does not know to be committed: an acknowledged write
//! that reached it is kept, and a write whose answer nobody got may be. What the lost members had
//! and this one had not is lost.

use std::path::{Path, PathBuf};

use kraken_engine::id::{ClusterId, Epoch, Revision};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{
    core::StartError,
    disk::Disk,
    fatal::Fatal,
    folder::{Folder, FolderError, Phase, io_error, sync_folder},
    genesis::{self, Genesis},
    log::{Log, Site},
    machine::{Shared, Snapshots},
    options::SEGMENT_BYTES,
};

/// What was recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The cluster, which is the same.
    pub cluster: ClusterId,
    /// Its new epoch.
    pub epoch: Epoch,
    /// The last entry of the old epoch that was kept.
    pub held: Revision,
    /// The first revision of the new one.
    pub revision: Revision,
    /// How many objects there are.
    pub objects: u64,
    /// Where the old folder is now.
    pub kept: PathBuf,
}

/// Makes the member in a data folder the only one of its cluster, in another epoch. No process may
/// be using the folder; the other members must never be started again as they are. What is not
/// finished when this ends early has changed nothing and can be repeated.
pub async fn recover(data: &Path) -> Result<Recovered, StartError> {
    let folder = Folder::open_old(data)?;
    let identity = folder.sound_identity()?.filter(|identity| identity.phase == Phase::Member);
    let identity = identity.ok_or_else(|| StartError::Nobody { path: data.to_owned() })?;
    let (cluster, member) = (identity.cluster.get(), identity.member.get());
    let (snapshots, newest) = Snapshots::open(Disk::default(), folder.state(), cluster)?;
    let disk = Disk::default();
    let site = Site { folder: folder.log(), cluster, member, segment_bytes: SEGMENT_BYTES, disk };
    let (log, writer) = Log::open(site, false, Fatal::new())?;
    let reaches = snapshots.check_reaches(newest.as_ref().map(|(meta, _)| meta), log.purged());
    let shared = Shared::default();
    let consensus = |error: std::io::Error| StartError::Consensus(error.to_string());
    let replayed = match reaches {
        Ok(()) => shared.replay(newest, &log).await.map_err(consensus),
        Err(error) => Err(error.into()),
    };
    drop(log);
    writer.stop().await;
    replayed?;
    let held = shared.held_last().ok_or_else(|| StartError::Nobody { path: data.to_owned() })?;
    let (store, last, membership) = held;
    let peer = membership.get_node(&member).cloned();
    let peer = peer.ok_or_else(|| StartError::Removed { path: data.to_owned() })?;
    let (index, term) = (last.index, *last.leader_id);
    let (cluster, old) = (store.cluster(), store.epoch());
    let objects = store.objects().count() as u64;

    // Where the old folder will be, the new one is made: as long as this epoch is the one in use,
    // nothing else can be there but what an earlier attempt left.
    let kept = beside(data, old);
    let begun = begin(&kept, Genesis { store, index, term, peer }).await?;
    exchange(data, &kept)?;
    let genesis::Begun { epoch, revision } = begun;
    Ok(Recovered { cluster, epoch, held: Revision::new(index), revision, objects, kept })
}

async fn begin(folder: &Path, genesis: Genesis) -> Result<genesis::Begun, StartError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io_error("clear", folder)(error).into());
        }
        Ok(()) | Err(_) => {}
    }
    let folder = Folder::open(folder)?;
    Ok(genesis::begin(&folder, SEGMENT_BYTES, genesis).await?.1)
}

/// The folder beside another one in which what it held in an epoch is kept.
fn beside(data: &Path, epoch: Epoch) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(format!(".epoch-{epoch}"));
    name.into()
}

/// Puts two folders in each other's place, both at once.
fn exchange(data: &Path, other: &Path) -> Result<(), FolderError> {
    renameat_with(CWD, other, CWD, data, RenameFlags::EXCHANGE)
        .map_err(|error| io_error("exchange", data)(error.into()))?;
    data.parent().map_or(Ok(()), sync_folder).map_err(io_error("sync the folder of", data))
}
