//! Backups of the running member, and the beginning of a quorum from one.

use std::{
    io,
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use kraken_engine::{
    id::{MemberId, Revision, Term},
    time::Millis,
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Instant,
};

use super::{Core, MembershipError, ReadError};
use crate::{
    background,
    backup::{self, BackupError, BackupHeader},
    folder::Folder,
    genesis::{self, Genesis},
};

/// Pieces of a backup that wait for who takes them.
const PIECES_MAX: usize = 4;
/// Largest backup that is taken in, in bytes.
pub const BACKUP_BYTES_MAX: u64 = 8 << 30;

impl Core {
    /// What this member has applied, as the pieces of a backup.
    pub(crate) fn backup(&self) -> Result<Receiver<Bytes>, ReadError> {
        let held = self.shared.held_last();
        let why = "this is no member yet".to_owned();
        let (store, last, _) = held.ok_or(ReadError::Unavailable { why })?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let header = BackupHeader {
            release: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: store.cluster(),
            epoch: store.epoch(),
            revision: Revision::new(last.index),
            term: Term::new(*last.leader_id),
            at: Millis::ZERO.after(since),
            objects: store.objects().count() as u64,
        };
        let (pieces, taken) = channel(PIECES_MAX);
        let write = move || {
            let written = backup::write(&header, &store, |piece| pass(&pieces, piece));
            if let Err(error) = written {
                tracing::info!(%error, "a backup was not taken to its end");
            }
        };
        tokio::spawn(async move {
            if let Err(error) = background::run("backup", write).await {
                tracing::warn!(%error, "a backup was not taken to its end");
            }
        });
        Ok(taken)
    }

    /// Begins a quorum of this one with what a backup holds, in another epoch.
    pub(crate) async fn restore(
        self: &Arc<Self>,
        pieces: Receiver<Bytes>,
    ) -> Result<MemberId, MembershipError> {
        let _becoming = self.becoming.lock().await;
        self.expect_nobody()?;
        let folder = self.take_folder()?;
        let begun = self.restore_into(&folder, pieces).await;
        self.put_folder(folder);
        let identity = begun?;
        self.open_node(&identity).await.map_err(MembershipError::start)?;
        self.resume().await.map_err(MembershipError::start)?;
        let deadline = Instant::now() + self.options.timers.membership;
        let node = self.node().ok_or_else(MembershipError::stopped)?;
        let leads = node.until(deadline, |metrics| metrics.current_leader == Some(node.member));
        leads.await.ok_or(MembershipError::Timeout)?;
        Ok(identity.member)
    }

    async fn restore_into(
        &self,
        folder: &Folder,
        mut pieces: Receiver<Bytes>,
    ) -> Result<crate::folder::Identity, MembershipError> {
        let path = folder.state().join("restoring.tmp");
        let unreadable = |source| BackupError::Read { offset: 0, source };
        let receive = move || {
            let file = receive(&path, &mut pieces).map_err(unreadable);
            // Its name is not needed while it is open.
            drop(std::fs::remove_file(&path));
            backup::read(io::BufReader::new(file?))
        };
        let read = tokio::task::spawn_blocking(receive).await;
        let unavailable = |why: String| MembershipError::Unavailable { why };
        let (header, store, _) = read.map_err(|error| unavailable(error.to_string()))??;
        let genesis = Genesis {
            store,
            index: header.revision.get(),
            term: header.term.get(),
            peer: self.peer.clone(),
        };
        let segment_bytes = self.options.limits.segment_bytes;
        let begun = genesis::begin(folder, segment_bytes, genesis).await;
        let (identity, begun) = begun.map_err(MembershipError::start)?;
        tracing::info!(epoch = %begun.epoch, revision = %begun.revision, "began from a backup");
        Ok(identity)
    }

    fn take_folder(&self) -> Result<Folder, MembershipError> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        folder.take().ok_or_else(MembershipError::stopped)
    }

    fn put_folder(&self, folder: Folder) {
        *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
    }
}

fn pass(pieces: &Sender<Bytes>, piece: Bytes) -> io::Result<()> {
    pieces.blocking_send(piece).map_err(|_| io::Error::other("nobody takes it any more"))
}

/// Writes what comes into a file, and goes back to its beginning.
fn receive(path: &std::path::Path, pieces: &mut Receiver<Bytes>) -> io::Result<std::fs::File> {
    use io::{Seek, Write};
    let mut options = std::fs::File::options();
    let mut file = options.read(true).write(true).create(true).truncate(true).open(path)?;
    let mut bytes = 0;
    while let Some(piece) = pieces.blocking_recv() {
        bytes += piece.len() as u64;
        if bytes > BACKUP_BYTES_MAX {
            return Err(io::Error::other(format!("it is over {BACKUP_BYTES_MAX} bytes")));
        }
        file.write_all(&piece)?;
    }
    file.rewind()?;
    Ok(file)
}
