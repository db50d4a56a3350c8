//! The signal that this process must end: what it wrote, or what it holds, can no longer be relied
//! on. The first cause counts.

use std::sync::Arc;

use tokio::sync::watch;

/// Why the process must end. A supervisor may start it again at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FatalError {
    /// The log could not be written or synced.
    #[error("the log cannot be written: {why}; make room or replace the disk, then start again")]
    Log {
        /// What the file system said.
        why: String,
    },
    /// What this member holds is not what a majority holds.
    #[error(
        "after entry {index} this member holds something else than a majority of the members: it \
         steps out; remove it from the cluster and let it join again with an empty data folder"
    )]
    Diverged {
        /// The entry after which it was seen.
        index: u64,
    },
    /// The consensus core stopped: a snapshot could not be kept, an entry not be applied, or it
    /// found a fault in itself.
    #[error("consensus stopped: {why}; start again")]
    Consensus {
        /// What it said.
        why: String,
    },
}

/// Raises and awaits the signal; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Fatal(Arc<watch::Sender<Option<FatalError>>>);

impl Fatal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Raises it, unless it was raised before.
    pub(crate) fn raise(&self, error: FatalError) {
        self.0.send_if_modified(|raised| {
            let first = raised.is_none();
            if first {
                tracing::error!(%error, "this process must end");
                *raised = Some(error);
            }
            first
        });
    }

    /// Waits until it is raised. Cancel safe.
    pub(crate) async fn raised(&self) -> FatalError {
        let mut raised = self.0.subscribe();
        loop {
            if let Some(error) = raised.borrow_and_update().clone() {
                return error;
            }
            if raised.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
