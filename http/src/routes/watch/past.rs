//! Writes that a watcher has missed, out of the history: the same that it would have been told.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use kraken_actors::quorum::{Commit, Consistency, Quorum, QuorumError, Records, read};
use kraken_engine::{
    history::{Record, Replay},
    id::{Revision, Uid},
    object::Object,
};

use crate::aside::aside;

/// Most writes that are recalled at a time.
const RECALLED_MAX: usize = 512;
/// Writes are recalled until they have changed so many objects.
const RECALLED_CHANGES_MAX: usize = 10_000;

/// The first writes after a revision; none where there are none. The past may have ended meanwhile.
pub(super) async fn recall(
    quorum: &dyn Quorum,
    after: Revision,
) -> Result<Vec<Commit>, QuorumError> {
    let records = quorum.history(after).await?;
    let first = run(move || take_first(&*records)).await?;
    let Some(last) = first.last().map(|record| record.revision) else { return Ok(Vec::new()) };
    let mut replay = Replay::of(first);
    let uids: BTreeSet<Uid> = replay.uids().collect();
    let look = |store: &kraken_engine::store::Store| -> BTreeMap<Uid, Arc<Object>> {
        uids.iter().filter_map(|uid| Some((*uid, store.object(*uid)?.clone()))).collect()
    };
    let now = read(quorum, Consistency::Stale, look).await?;
    // After the look: what was written up to it is among these.
    let records = quorum.history(last).await?;
    run(move || {
        records.each(&mut |record| {
            replay.see(&record, |uid| uids.contains(&uid));
            ControlFlow::Continue(())
        })?;
        let told = replay.tell(|uid| now.get(&uid).cloned());
        let commit = |(record, changes): (Record, _)| Commit {
            revision: record.revision,
            author: record.author,
            at: record.at,
            note: record.note,
            changes,
            declared: false,
            reset: false,
        };
        Ok(told.into_iter().map(commit).collect())
    })
    .await
}

fn take_first(records: &dyn Records) -> Result<Vec<Record>, QuorumError> {
    let (mut first, mut changes) = (Vec::new(), 0);
    records.each(&mut |record| {
        changes += record.changes.len();
        first.push(record);
        if first.len() < RECALLED_MAX && changes < RECALLED_CHANGES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(first)
}

/// Runs what reads files where that is allowed.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, QuorumError> + Send + 'static,
) -> Result<T, QuorumError> {
    aside(work).await.map_err(|error| QuorumError::Unavailable(error.to_string()))?
}
