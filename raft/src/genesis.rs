//! The beginning of another epoch: a quorum of one whose first state is given, from a backup or
//! from what one member was left with.
//!
//! It is another group than the one before, with an identity of its own in every connection and
//! file, so that members of the old one are refused and the two never mix. Its entries and terms
//! lie beyond those of the old one by a wide margin, so that what was written or ordered after the
//! backup is older than everything that comes.

use std::{collections::BTreeSet, time::SystemTime};

use kraken_engine::{
    id::{ClusterId, Epoch, MemberId, Revision},
    store::Store,
};
use openraft::storage::RaftLogStorage;

use crate::{
    core::StartError,
    disk::Disk,
    entropy,
    fatal::Fatal,
    folder::{Folder, Identity, Phase},
    log::{Log, Site},
    machine::Snapshots,
    types::{Membership, Peer, SnapshotMeta, StoredMembership, Vote, log_id},
};

/// How far the first revision of an epoch lies beyond the last one that is known of the one before.
pub const REVISIONS_BEYOND: u64 = 1_000_000_000;
/// The same for terms.
const TERMS_BEYOND: u64 = 1_000_000;

/// What a new quorum begins with.
pub(crate) struct Genesis {
    /// All Cfg.
    pub(crate) store: Store,
    /// The last entry that is part of it.
    pub(crate) index: u64,
    /// The term of that entry.
    pub(crate) term: u64,
    /// Where its one member is found.
    pub(crate) peer: Peer,
}

/// What was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
}

/// The epoch after another one. Its number is the time, so that two quorums that were begun from
/// the same backup are not taken for one.
fn epoch_after(before: Epoch) -> Epoch {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    Epoch::new(seconds.max(before.get() + 1))
}

/// Writes a member and its first state into a folder that holds none. Who the member is comes last:
/// what a crash leaves before that is nobody's.
pub(crate) async fn begin(
    folder: &Folder,
    segment_bytes: u64,
    genesis: Genesis,
) -> Result<(Identity, Begun), StartError> {
    let Genesis { store, index, term, peer } = genesis;
    let (group, member) = (entropy::number(), MemberId::new(1));
    let index = index.max(store.revision().get()) + REVISIONS_BEYOND;
    let term = term + TERMS_BEYOND;
    let epoch = epoch_after(store.epoch());
    let store = store.in_epoch(epoch, Revision::new(index));
    let begun = Begun { epoch: store.epoch(), revision: store.revision() };
    let last = log_id(term, index);
    let voters = vec![BTreeSet::from([member.get()])];
    let membership = Membership::new(voters, [(member.get(), peer)].into_iter().collect::<Nodes>())
        .map_err(|error| StartError::Consensus(error.to_string()))?;
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: StoredMembership::new(Some(last), membership),
    };
    folder.clear()?;
    let (log, state) = (folder.log(), folder.state());
    let write = move || {
        let (snapshots, _) = Snapshots::open(Disk::default(), state.clone(), group)?;
        snapshots.save(&meta, &store).map_err(|source| {
            let what = "write a snapshot in";
            crate::machine::StateError::Io { what, path: state, source }
        })?;
        let disk = Disk::default();
        let site = Site { folder: log, cluster: group, member: member.get(), segment_bytes, disk };
        Ok::<_, StartError>(Log::open(site, true, Fatal::new())?)
    };
    let written = tokio::task::spawn_blocking(write).await;
    let (mut log, writer) = written.map_err(|error| StartError::Consensus(error.to_string()))??;
    let voted = log.save_vote(&Vote::new(term, member.get())).await;
    drop(log);
    writer.stop().await;
    voted.map_err(|error| StartError::Consensus(error.to_string()))?;
    let identity = Identity::new(ClusterId::new(group), member, Phase::Member);
    folder.set_identity(&identity)?;
    Ok((identity, begun))
}

type Nodes = std::collections::BTreeMap<u64, Peer>;
