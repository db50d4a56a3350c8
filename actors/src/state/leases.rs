//! What the state is told of the quorum, for what must never run twice.

use std::{sync::Arc, time::Duration};

use kraken_engine::{id::Revision, object::Object, time::Millis};

use super::{State, StateHandle};

impl StateHandle {
    /// Word of the quorum came: of the moment `at`, good once Cfg up to `revision` is held.
    pub async fn assure(&self, at: Millis, revision: Revision) {
        self.tell(move |state| state.assure(at, revision)).await;
    }

    /// A majority followed this member so long ago at most.
    pub async fn assure_leader(&self, ago: Duration) {
        self.tell(move |state| {
            let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
            let at = Millis::new(state.clock.wall().get().saturating_sub(ago));
            state.assure(at, state.fleet.revision());
        })
        .await;
    }

    /// Moves the clock beyond what earlier hosts of objects have said.
    pub(super) fn pass_floors(&self, objects: &[Arc<Object>]) {
        if let Some(floor_ms) = objects.iter().map(|o| o.tenure.floor_ms).max().filter(|ms| *ms > 0)
        {
            self.stamps.advance_to(floor_ms);
        }
    }
}

impl State {
    fn assure(&mut self, at: Millis, revision: Revision) {
        let regained = self.fleet.assure(at, revision, self.clock.wall());
        self.mark(regained, false);
    }
}
