//! What a watcher missed that comes back after the last commits have moved on: read from the
//! history, as far back as that goes.

use std::{collections::BTreeMap, sync::Arc};

use kraken_actors::quorum::{Consistency, QuorumError};
use kraken_engine::{
    history::{AtThatTime, Replay, Replayed},
    id::{Revision, Uid},
    object::Object,
    store::Store,
};

use crate::{aside::aside, call::Call, hub::WATCH_CHANGES_MAX, problem::Problem};

/// What came after a revision, up to another one; 410 where that is not remembered, or where there
/// are more changes than [`WATCH_CHANGES_MAX`]: who is so far behind has less to read in a list.
pub(super) async fn since(
    from: Revision,
    call: &Call,
) -> Result<(Vec<Replayed>, Revision), Problem> {
    let quorum = &call.shared.api.quorum;
    let gone = |oldest: Revision| Problem::Gone { from: from.get(), oldest: oldest.get() };
    let unread = |error: QuorumError| match error {
        QuorumError::Gone { horizon } => gone(horizon),
        error => error.into(),
    };
    let records = quorum.history(from).await.map_err(unread)?;
    let replay = aside(move || {
        let mut replay = Replay::after(from, WATCH_CHANGES_MAX);
        records.each(&mut |record| replay.see(record))?;
        Ok::<_, QuorumError>(replay)
    });
    let replay = replay.await??;
    if !replay.is_whole() {
        return Err(gone(quorum.status().revision));
    }
    let until = replay.until();
    let there = replay.there();
    let find = move |store: &Store| -> (Revision, BTreeMap<Uid, Arc<Object>>) {
        let found = there.iter().filter_map(|uid| Some((*uid, store.object(*uid)?.clone())));
        (store.revision(), found.collect())
    };
    // A member that has started holds in its history what its store is yet to apply again.
    call.shared.hub.reached(until).await;
    // The store before the rest of the history, which then holds all that the store has.
    let (revision, now) = call.read(Consistency::Stale, find).await?;
    if revision < until {
        let why = format!("this member has started and comes to revision {until} again");
        return Err(QuorumError::Unavailable(why).into());
    }
    let rest = quorum.history(until).await.map_err(unread)?;
    let told = aside(move || {
        let mut then = AtThatTime::of(until, revision, now);
        rest.each(&mut |record| then.see(&record))?;
        Ok::<_, QuorumError>(then.finish().and_then(|then| replay.tell(then)))
    });
    // What is missing was there by the history: a snapshot has taken the place of both meanwhile,
    // or the history could not be written.
    told.await??.map(|told| (told, until)).ok_or_else(|| gone(revision))
}
