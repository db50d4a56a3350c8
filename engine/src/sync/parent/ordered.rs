//! What a session does with orders; see [`crate::sync::orders`].

use std::collections::BTreeSet;

use super::{Effect, Session};
use crate::{
    catalog::Catalog,
    id::Name,
    order::{Answer, Order, Recall, Said},
    sync::{
        HOP_MS, LEASE_MS, ORDERS_FRAME_MAX, ORDERS_OPEN_MAX,
        frame::Frame,
        orders::{Goes, Orphan},
    },
    time::Millis,
};

impl Session {
    /// Hands an order to the child, which carries it out or hands it on; or says what to answer.
    /// One that is kept goes once the child has sent a heartbeat, see [`Session::ask`].
    pub fn dispatch(
        &mut self,
        order: &Order,
        catalog: &Catalog,
        now: Millis,
    ) -> Result<Goes, Said> {
        let takes = self.hello.as_ref().is_some_and(|hello| hello.takes_orders);
        if !self.is_attached() || !takes {
            return Err(Said::Declined(format!("the way to {} is not open", order.to)));
        }
        let beats_seldom = self.beats_seldom();
        if now > self.heard.after_ms(LEASE_MS) && !beats_seldom {
            return Err(Said::Declined(format!("nothing is heard on the way to {}", order.to)));
        }
        if !self.orders.has_room(&order.attempt) {
            return Err(Said::Busy(format!("{ORDERS_OPEN_MAX} orders are on their way")));
        }
        self.orders.give(order, catalog);
        if beats_seldom && now > self.beaten.after_ms(LEASE_MS / 2) {
            self.kept.keep(order.clone(), now);
            return Ok(Goes::AfterHeartbeat);
        }
        self.kept.withdraw(&order.attempt);
        self.orders.send(&order.attempt);
        Ok(Goes::Now)
    }

    /// Asks the child for a heartbeat, where an order waits for one that was not asked for yet.
    pub fn ask(&mut self) -> Vec<Effect> {
        let asks = self.is_attached() && self.kept.ask();
        asks.then_some(Effect::Send(Frame::Ping)).into_iter().collect()
    }

    /// The child has sent a heartbeat, and its echo is on the way: what waited goes behind it.
    pub(super) fn hand_kept(&mut self) -> Vec<Effect> {
        let kept = self.kept.take(self.now);
        for order in &kept {
            self.orders.send(&order.attempt);
        }
        let frames = kept.chunks(ORDERS_FRAME_MAX);
        let frames = frames.map(|orders| Effect::Send(Frame::Dispatch(orders.to_vec())));
        let mut effects: Vec<Effect> = frames.collect();
        effects.extend(self.give_up_kept(self.now));
        effects
    }

    /// What waits for a heartbeat that does not come is not handed over any more.
    pub(super) fn give_up_kept(&mut self, now: Millis) -> Vec<Effect> {
        let overdue = self.kept.overdue(now);
        self.hand_back(overdue, "no heartbeat came")
    }

    /// Calls an attempt back, or has it said what became of it.
    pub fn recall(&mut self, recall: Recall) -> Vec<Effect> {
        let kept = self.kept.withdraw(&recall.attempt);
        let mut effects = self.hand_back(kept.into_iter().collect(), "it was called back");
        effects.push(Effect::Send(Frame::Cancel(recall)));
        effects
    }

    /// What a copy went of before is not spoken of: the child says what becomes of that.
    fn hand_back(&mut self, mut orders: Vec<Order>, why: &str) -> Vec<Effect> {
        orders.retain(|order| !self.orders.is_sent(&order.attempt));
        let refused = |Order { attempt, to, .. }: Order| {
            let why = format!("on the way to {to}: {why}");
            Answer { node: to, attempt, said: Said::Declined(why) }
        };
        let answers: Vec<Answer> = orders.into_iter().map(refused).collect();
        for answer in &answers {
            self.orders.answered(answer);
        }
        if answers.is_empty() { Vec::new() } else { vec![Effect::Answered(answers)] }
    }

    /// The nodes that are to carry out the orders that are open.
    pub fn ordered(&self) -> BTreeSet<Name> {
        self.orders.nodes()
    }

    /// The orders that are open, once the session is over, with when each is surely lost. `further`
    /// says of a node how many sessions are between it and the child, at the most.
    pub fn orphans(&mut self, further: impl Fn(&Name) -> u32) -> Vec<Orphan> {
        let Some(hello) = &self.hello else { return Vec::new() };
        let hops = |node: &Name| {
            if *node == hello.node {
                return 0;
            }
            self.below.hops_to(node).unwrap_or_else(|| further(node)).max(1)
        };
        self.orders.orphans(self.heard, |node| u64::from(hops(node)) * HOP_MS)
    }
}
