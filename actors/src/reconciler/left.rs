//! The part of the driver that sees to the intents that earlier leaders left open: their nodes are
//! asked, and they are closed once it is sure that their attempts have ended.

use kraken_engine::{
    command::Intent,
    fleet::Fleet,
    id::{AttemptId, Name},
    order::{Recall, left::Ended},
    route::{Seen, first_to},
};

use super::{
    driver::Driver,
    messages::{ObjectsOf, Settle},
    subject::Sight,
};
use crate::{
    orders::Input,
    quorum::{Consistency, read},
    state::Stopped,
};

impl Driver {
    /// Closes intents whose time is over, and asks for those that no attempt of this leader is of.
    pub(super) async fn see_to_the_left(&mut self) -> Result<(), Stopped> {
        let Some(quorum) = self.quorum.as_deref() else { return Ok(()) };
        let open = read(quorum, Consistency::Stale, |store| {
            store.intents().values().cloned().collect::<Vec<Intent>>()
        });
        let open = open.await.unwrap_or_default();
        let now = self.clock.wall();
        let (over, open): (Vec<Intent>, Vec<Intent>) =
            open.into_iter().partition(|intent| intent.is_over(now));
        let over = over.into_iter().map(|Intent { uid, attempt, .. }| Ended { uid, attempt });
        self.settle(over.collect()).await?;
        let left = self.left_of(open).await?;
        let asks = self.left.ask(&left, now);
        self.ask(asks).await
    }

    /// Of open intents those that no attempt of this leader is of.
    async fn left_of(&self, mut open: Vec<Intent>) -> Result<Vec<Intent>, Stopped> {
        if open.is_empty() {
            return Ok(open);
        }
        let attempts = open.iter().map(|intent| intent.attempt.clone()).collect();
        let own = self.address.send(ObjectsOf(attempts)).await.map_err(|_| Stopped)?;
        let mut own = own.into_iter();
        open.retain(|_| own.next().flatten().is_none());
        Ok(open)
    }

    /// Asks nodes what became of attempts.
    pub(super) async fn ask(&self, asks: Vec<(Name, AttemptId)>) -> Result<(), Stopped> {
        if asks.is_empty() {
            return Ok(());
        }
        let members = self.orders.ways().members();
        let term = self.term;
        let find = move |fleet: &Fleet| {
            let standing = Seen::new(fleet, &members);
            let found = asks.into_iter().filter_map(|(to, attempt)| {
                let first = first_to(&to, &standing).ok()?;
                Some((Recall { to, attempt, asks: term }, first))
            });
            found.collect::<Vec<_>>()
        };
        for (recall, first) in self.state.read(find).await? {
            // Who does not answer is asked again.
            self.orders.try_tell(Input::Recall(recall, first));
        }
        Ok(())
    }

    /// Attempts that earlier leaders began have ended: what is decided from now on rests on what is
    /// seen after that.
    pub(super) async fn settle(&mut self, ended: Vec<Ended>) -> Result<(), Stopped> {
        if ended.is_empty() {
            return Ok(());
        }
        let objects = ended.iter().map(|ended| ended.uid).collect();
        let decided = self.address.send(Settle(objects)).await.map_err(|_| Stopped)?;
        self.close_intents(ended.into_iter().map(|ended| ended.attempt).collect());
        self.carry_out(decided, &Sight::default()).await
    }
}
