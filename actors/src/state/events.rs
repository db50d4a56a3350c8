//! What happened, as the state keeps it: from here and from others, told by number.

use std::sync::Arc;

use kraken_engine::event::Event;
use tokio::sync::watch;

use super::{StateHandle, Stopped};

impl StateHandle {
    /// Events of other nodes.
    pub async fn keep(&self, events: Vec<Event>) {
        self.tell(move |state| state.keep(events)).await;
    }

    /// The events that arrived after a number, oldest first, at most `limit`, each with its number.
    pub async fn events_since(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Arc<Event>)>, Stopped> {
        self.ask(move |state| state.events.since(after).take(limit).cloned().collect()).await
    }

    /// The same of those only that this node or one that is attached to it has written, and the
    /// number up to which that is; `None`: nothing has arrived.
    pub(crate) async fn spoken_since(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Option<(u64, Vec<Event>)>, Stopped> {
        self.ask(move |state| {
            let (mut last, mut spoken) = (None, Vec::new());
            for (number, event) in state.events.since(after).take(limit) {
                last = Some(*number);
                if state.fleet.speaks_for_node(&event.id.node) {
                    spoken.push((**event).clone());
                }
            }
            last.map(|last| (last, spoken))
        })
        .await
    }

    /// The newest `limit` events, oldest first, each with its number.
    pub async fn newest_events(&self, limit: usize) -> Result<Vec<(u64, Arc<Event>)>, Stopped> {
        self.ask(move |state| {
            let mut newest: Vec<_> = state.events.since(0).rev().take(limit).cloned().collect();
            newest.reverse();
            newest
        })
        .await
    }

    /// The number of the last event; changes as events arrive.
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.clone()
    }
}
