//! What a session does with orders; see [`crate::sync::orders`].

use std::collections::BTreeSet;

use super::Session;
use crate::{
    catalog::Catalog,
    id::Name,
    order::{Order, Said},
    sync::{HOP_MS, LEASE_MS, ORDERS_OPEN_MAX, orders::Orphan},
    time::Millis,
};

impl Session {
    /// Hands an order to the child, which carries it out or hands it on; or says what to answer.
    pub fn dispatch(&mut self, order: &Order, catalog: &Catalog, now: Millis) -> Result<(), Said> {
        let takes = self.hello.as_ref().is_some_and(|hello| hello.takes_orders);
        if !self.is_attached() || !takes {
            return Err(Said::Declined(format!("the way to {} is not open", order.to)));
        }
        if now > self.heard.after_ms(LEASE_MS) {
            return Err(Said::Declined(format!("nothing is heard on the way to {}", order.to)));
        }
        if !self.orders.has_room(&order.attempt) {
            return Err(Said::Busy(format!("{ORDERS_OPEN_MAX} orders are on their way")));
        }
        self.orders.give(order, catalog);
        Ok(())
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
