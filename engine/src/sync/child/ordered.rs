//! What a child does with orders: takes them, refuses them, and tells what became of them.

use super::{Child, Effect};
use crate::{
    id::SessionEpoch,
    order::{Answer, Order, Said},
    sync::{frame::Frame, orders::Take},
    time::Millis,
};

impl Child {
    pub(super) fn tell_answers(&mut self, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_attached() && self.answers {
            while let Some(answers) = self.orders.next(now) {
                effects.push(Effect::Send(Frame::Answers(answers)));
            }
        }
        effects
    }

    pub(super) fn ordered(&mut self, orders: Vec<Order>, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        for order in orders {
            let take = if self.is_of_an_earlier_life(&order) {
                Take::Refused(Said::Abandoned)
            } else {
                self.orders.take(&order, &self.identity.node, now)
            };
            match take {
                Take::Carried(start_by) => effects.push(Effect::Carry(Box::new(order), start_by)),
                Take::Ignored => {}
                Take::Refused(said) => {
                    let Order { attempt, to: node, .. } = order;
                    effects.extend(self.answer(vec![Answer { node, attempt, said }], now));
                }
            }
        }
        effects
    }

    /// Whether a copy of an order may have been taken before this node started: what became of it
    /// nobody knows. A member has a session with each other one, which do not order its lives.
    fn is_of_an_earlier_life(&self, order: &Order) -> bool {
        let known = order.session != SessionEpoch::default() && order.to == self.identity.node;
        let born = self.born.filter(|_| known && self.identity.role.is_below());
        born.is_some_and(|born| order.session < born)
    }
}
