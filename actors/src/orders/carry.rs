//! The part of the desk that has orders carried out by this node's own modules.
//!
//! | an order for this node | answer |
//! |---|---|
//! | it is known, of an older term, or has a rival | as [`kraken_engine::order::hands`] says |
//! | what it was decided from has moved | Moved |
//! | its time to start is over | Declined |
//! | its module is full or does not run | Busy, Declined |
//! | else | Acknowledged, Started |

use std::time::Duration;

use kraken_engine::{
    fleet::Fleet,
    id::{AttemptId, Name},
    mutation::{Context, Lane},
    order::{Answer, Held, Order, Ready, Said, hands::Screened, recheck},
    time::Millis,
};

use super::{Input, desk::Desk};
use crate::{
    host::{Admission, HostHandle, Start},
    reconciler::subject::Known,
};

impl Desk {
    /// Has orders carried out here, those that may be.
    pub(super) async fn carry_out(&mut self, orders: Vec<(Order, Millis)>) {
        if orders.is_empty() {
            return;
        }
        let (mut answers, mut asked) = (Vec::new(), Vec::new());
        for (order, start_by) in orders {
            self.see_term();
            let (node, now) = (self.options.node.clone(), self.now());
            match self.hands.screen(&order, &node, now) {
                Screened::Ignored => {}
                Screened::Said(said) => answers.push(self.refuse(order, said)),
                Screened::Goes => {
                    self.hands.take(&order, now);
                    asked.push((order, start_by));
                }
            }
        }
        let node = self.options.node.clone();
        // A leaf knows nobody but itself.
        let knows_others = self.options.quorum.is_some();
        let look = move |fleet: &Fleet| {
            let looked = |(order, start_by): (Order, Millis)| {
                let found = ready(&order, fleet, &node, knows_others);
                (order, found.map(|start| Start { start_by, ..start }))
            };
            asked.into_iter().map(looked).collect::<Vec<_>>()
        };
        let Ok(looked) = self.options.state.read(look).await else { return };
        let mut starts = Vec::new();
        for (order, found) in looked {
            match found {
                Ok(start) => starts.push(start),
                Err(said) => answers.push(self.refuse(order, said)),
            }
        }
        self.answer_all(answers).await;
        if starts.is_empty() {
            return;
        }
        let (host, orders) = (self.options.host.clone(), self.orders.clone());
        let node = self.options.node.clone();
        actix_rt::spawn(async move {
            let asked = starts.iter().map(|start| start.attempt.clone()).collect();
            let input = match begin(&host, starts, node).await {
                Some(answers) => Input::Answers(answers),
                None => Input::Doubted(asked),
            };
            orders.tell(input).await;
        });
    }

    /// An answer; what is said last is remembered.
    fn refuse(&mut self, order: Order, said: Said) -> Answer {
        if said.is_last() {
            self.hands.close(&order.attempt, said.clone());
        }
        Answer { node: order.to, attempt: order.attempt, said }
    }
}

/// Looks at an order once more, from what this node knows.
fn ready(order: &Order, fleet: &Fleet, node: &Name, knows_others: bool) -> Result<Start, Said> {
    let uid = order.object.uid;
    let (dsc, catalog) = (fleet.dsc(uid), fleet.catalog().clone());
    let related = knows_others.then_some(fleet as &dyn kraken_engine::view::Related);
    let held = Held { object: fleet.object(uid), dsc: &dsc, catalog: &catalog, related };
    let Ready { instance, object, dsc } = recheck(order, held)?;
    let as_parent = instance.mutation.context == Context::Parent;
    let known = Known::of(object, dsc, as_parent);
    let lookers = known.lookers(node, false, &catalog);
    Ok(Start {
        attempt: order.attempt.clone(),
        mutation: instance.mutation.id.clone(),
        cancellable: instance.mutation.cancellable,
        bindings: instance.bindings,
        object: known.view(&catalog, lookers),
        timeout: Duration::from_millis(order.timeout_ms),
        start_by: Millis::ZERO,
        lane: Lane::Quorum,
        span: order.span,
    })
}

/// Has the host begin; says what to answer. `None` where the host does not answer: then the orders
/// come again, and it is asked again, or their time runs out.
async fn begin(host: &HostHandle, starts: Vec<Start>, node: Name) -> Option<Vec<Answer>> {
    let named = |start: &Start| (start.attempt.clone(), start.mutation.module.clone());
    let asked: Vec<(AttemptId, Name)> = starts.iter().map(named).collect();
    let admitted = host.mutate_all(starts).await?;
    let mut answers = Vec::new();
    for ((attempt, module), admission) in asked.into_iter().zip(admitted) {
        let said = match admission {
            Admission::Accepted => vec![Said::Acknowledged, Said::Started],
            Admission::Busy => vec![Said::Busy(format!("module {module} has no room"))],
            Admission::Late => vec![Said::Declined("its time to start is over".to_owned())],
            Admission::NoModule => {
                vec![Said::Declined(format!("module {module} does not run on {node}"))]
            }
        };
        let answer = |said| Answer { node: node.clone(), attempt: attempt.clone(), said };
        answers.extend(said.into_iter().map(answer));
    }
    Some(answers)
}
