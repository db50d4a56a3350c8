//! A leader gives objects that must never run twice to their next hosts.

use kraken_engine::{
    command::{Command, Op, Txn},
    event::{EventKind, Happening},
    fleet::Fleet,
    id::Uid,
    singleton::Release,
};

use super::{
    driver::Driver,
    subject::{Known, Sight},
};
use crate::state::Stopped;

impl Driver {
    /// Sees to the objects among these that go from one host to another.
    pub(super) async fn hand_over(&mut self, sight: &Sight) -> Result<(), Stopped> {
        let is_moving = |known: &Known| known.object.tenure.former.is_some();
        let moving = sight.objects.iter().filter(|(uid, known)| {
            known.as_ref().is_some_and(is_moving) || self.handovers.watches(*uid)
        });
        let moving: Vec<Uid> = moving.map(|(uid, _)| *uid).collect();
        if self.term.is_none() || moving.is_empty() {
            return Ok(());
        }
        let (mut handovers, now) = (std::mem::take(&mut self.handovers), self.clock.wall());
        let look = move |fleet: &Fleet| {
            let released = moving.iter().filter_map(|uid| handovers.look(*uid, fleet, now));
            let released = released.collect();
            (handovers, released)
        };
        let released: Vec<Release>;
        (self.handovers, released) = self.state.read(look).await?;
        for Release { uid, revision, why } in released {
            tracing::info!(object = %uid, "{why}");
            let floor_ms = self.state.stamps().reading().get();
            let ops = vec![Op::Release { uid, revision, floor_ms }];
            let txn = Txn { ops, note: Some(why.clone()), ..Txn::default() };
            self.propose(Command::Txn(txn));
            let (kind, uid, attempt) = (EventKind::CfgSet, Some(uid), None);
            let happening = Happening { kind, uid, revision: None, attempt, text: why };
            self.state.record(happening).await;
        }
        Ok(())
    }
}
