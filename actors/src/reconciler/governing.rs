//! What the driver does about policies while this member leads: it hands them, with what is counted
//! under them, to the decider, after every commit and before every decision.

use std::sync::Arc;

use kraken_engine::policy::Rules;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{driver::Driver, messages::Govern, subject::Sight};
use crate::{
    quorum::{Commit, Consistency, read},
    state::Stopped,
};

impl Driver {
    /// Reads the policies as they are committed here; where they have moved, the decider takes
    /// them, and what follows is carried out.
    pub(super) async fn govern(&mut self) -> Result<(), Stopped> {
        let (Some(quorum), Some(term)) = (self.quorum.clone(), self.term) else { return Ok(()) };
        let rules = read(&*quorum, Consistency::Stale, |store| store.rules().clone()).await;
        let Ok(rules) = rules else { return Ok(()) };
        if self.governed.as_ref().is_some_and(|held| held.0 == term && Arc::ptr_eq(&held.1, &rules))
        {
            return Ok(());
        }
        self.governed = Some((term, Arc::<Rules>::clone(&rules)));
        let decided = self.address.send(Govern { rules, term }).await.map_err(|_| Stopped)?;
        self.carry_out(decided, &Sight::default()).await
    }
}

/// Waits until something is committed; for ever where there is no quorum. What was missed is as
/// good as seen: whoever wakes reads everything.
pub(super) async fn committed(commits: &mut Option<Receiver<Arc<Commit>>>) {
    if let Some(receiver) = commits {
        match receiver.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {
                while receiver.try_recv().is_ok() {}
                return;
            }
            Err(RecvError::Closed) => {}
        }
    }
    std::future::pending::<()>().await;
}
