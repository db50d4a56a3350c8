//! What a session does with orders: sends them down, hands back what cannot be sent, and says what
//! is lost when it is over.

use std::collections::BTreeMap;

use kraken_engine::{
    fleet::Fleet,
    id::Name,
    order::{Answer, Order, Said},
    sync::{ORDERS_FRAME_MAX, frame::Frame, orders::Goes, parent::Effect},
};

use super::Driver;
use crate::orders::{Down, Input};

impl Driver {
    /// Sends orders down, as many in one frame as wait.
    pub(super) async fn hand_down(&mut self, down: Down) -> Vec<Effect> {
        let mut more = vec![down];
        while more.len() < ORDERS_FRAME_MAX
            && let Some(down) = self.way.as_mut().and_then(|way| way.taken.try_recv().ok())
        {
            more.push(down);
        }
        let Ok(catalog) = self.options.state.read(|fleet| fleet.catalog().clone()).await else {
            return Vec::new();
        };
        let (now, mut effects) = (self.options.clock.wall(), Vec::new());
        let (mut orders, mut refused) = (Vec::new(), Vec::new());
        for down in more {
            match down {
                Down::Order(order) => match self.session.dispatch(&order, &catalog, now) {
                    Ok(Goes::Now) => orders.push(*order),
                    Ok(Goes::AfterHeartbeat) => {}
                    Err(said) => {
                        let Order { attempt, to: node, .. } = *order;
                        refused.push(Answer { node, attempt, said });
                    }
                },
                Down::Recall(recall) => effects.extend(self.session.recall(recall)),
                Down::Look(look) => effects.push(Effect::Send(Frame::Look(look))),
                Down::Expel(left, newest) => effects.extend(self.expel(&left, newest)),
            }
        }
        // Orders first: a recall is of one that was given before it.
        if !orders.is_empty() {
            effects.insert(0, Effect::Send(Frame::Dispatch(orders)));
        }
        effects.extend(self.session.ask());
        self.hand_back(refused).await;
        effects
    }

    /// Tells of orders that were not sent.
    pub(super) async fn hand_back(&self, refused: Vec<Answer>) {
        if let Some(way) = self.way.as_ref().map(|way| way.way).filter(|_| !refused.is_empty()) {
            self.options.orders.tell(Input::HandedBack(refused, way)).await;
        }
    }

    /// No more orders are taken for this session; those that wait for it come back.
    pub(super) async fn close_way(&mut self, node: &Name) {
        let Some(way) = &mut self.way else { return };
        let unsent = self.options.orders.ways().child_gone(node, way);
        let back = |order: Order| {
            let said = Said::Declined(format!("the session of {node} is over"));
            Answer { node: order.to, attempt: order.attempt, said }
        };
        self.hand_back(unsent.into_iter().map(back).collect()).await;
    }

    /// What was handed to this session and may never have started, is lost once that is sure.
    pub(super) async fn tell_orphans(&mut self, node: &Name) {
        let (child, nodes) = (node.clone(), self.session.ordered());
        let hops = move |fleet: &Fleet| -> BTreeMap<Name, u32> {
            nodes.into_iter().map(|to| (to.clone(), fleet.hops_below(&child, &to))).collect()
        };
        // Who cannot be asked has stopped.
        let hops = self.options.state.read(hops).await.unwrap_or_default();
        let orphans = self.session.orphans(|to| hops.get(to).copied().unwrap_or(1));
        let Some(way) = self.way.as_ref().map(|way| way.way) else { return };
        let Some(lost_at) = orphans.iter().map(|orphan| orphan.lost_at).max() else { return };
        let (orders, wait) =
            (self.options.orders.clone(), lost_at.since(self.options.clock.wall()));
        let node = node.clone();
        actix_rt::spawn(async move {
            tokio::time::sleep(wait).await;
            orders.tell(Input::Orphaned(node, orphans, way)).await;
        });
    }
}
