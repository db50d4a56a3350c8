//! What the state is told of the quorum, for what must never run twice.

use std::sync::Arc;

use kraken_engine::{
    id::{Name, Revision, Uid},
    object::Object,
    time::Millis,
};
use serde::Serialize;

use super::{State, StateHandle};

impl StateHandle {
    /// Word of the quorum came: of the moment `at`, good once Cfg up to `revision` is held.
    pub async fn assure(&self, at: Millis, revision: Revision) {
        self.tell(move |state| state.assure(at, revision)).await;
    }

    /// What it holds of Cfg, and how old the latest word of the quorum is; `None` once the node
    /// stops.
    pub async fn observe(&self) -> Option<StateSnapshot> {
        let snapshot = |state: &mut State| {
            let (now, good) = (state.clock.wall(), state.fleet.assured().good());
            let ago = |(at, _)| now.since_ms(at);
            StateSnapshot { revision: state.fleet.revision(), assured_ago_ms: good.map(ago) }
        };
        self.ask(snapshot).await.ok()
    }

    /// All at once: these objects are no longer this node's, these are now so, and word of the
    /// quorum came with that. Nothing is looked at in between.
    pub async fn take_cfg(&self, cfg: Cfg) {
        self.pass_floors(&cfg.set);
        self.tell(move |state| {
            state.remove_objects(cfg.gone);
            state.set_objects(cfg.set);
            if !cfg.whole.is_empty() {
                let told_again = state.fleet.set_whole(cfg.whole);
                state.touched(told_again, false);
            }
            if let Some(revision) = cfg.reached {
                let regained = state.fleet.set_revision(revision, state.clock.wall());
                state.mark(regained, false);
            }
            if let Some((at, revision)) = cfg.assured {
                state.assure(at, revision);
            }
        })
        .await;
    }

    /// A session of this relay begins: what it holds for those below it may be old.
    pub(crate) async fn begin_below(&self) {
        self.tell(|state| state.fleet.begin_below()).await;
    }

    /// Moves the clock beyond what earlier hosts of objects have said.
    pub(super) fn pass_floors(&self, objects: &[Arc<Object>]) {
        if let Some(floor_ms) = objects.iter().map(|o| o.tenure.floor_ms).max().filter(|ms| *ms > 0)
        {
            self.stamps.advance_to(floor_ms);
        }
    }
}

/// The state as it is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateSnapshot {
    /// All writes of Cfg up to this one are held, by a member.
    pub revision: Revision,
    /// How long ago the quorum was known to have that Cfg, in milliseconds; absent: it never was.
    pub assured_ago_ms: Option<u64>,
}

/// Cfg as it came from a parent.
#[derive(Debug, Default)]
pub struct Cfg {
    /// Objects as they are now.
    pub set: Vec<Arc<Object>>,
    /// Objects that are no longer here.
    pub gone: Vec<Uid>,
    /// The nodes below a relay of which this is all that it is to hold.
    pub whole: Vec<Name>,
    /// The revision up to which this is all of what a relay is to hold.
    pub reached: Option<Revision>,
    /// Word of the quorum: its moment, and the revision that is to be held for it.
    pub assured: Option<(Millis, Revision)>,
}

impl State {
    fn assure(&mut self, at: Millis, revision: Revision) {
        let regained = self.fleet.assure(at, revision, self.clock.wall());
        self.mark(regained, false);
    }
}
