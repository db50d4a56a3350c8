//! The part of the desk that has orders carried out by this node's own modules.
//!
//! | an order for this node | answer |
//! |---|---|
//! | its attempt is in hand | Acknowledged, again |
//! | its attempt has ended, or was refused | the same as then: no id starts twice |
//! | its term is older than one that was seen | Declined |
//! | another attempt on its object is in hand, whoever decided it | Busy |
//! | what it was decided from has moved | Moved |
//! | its time to start is over | Declined |
//! | its module is full or does not run | Busy, Declined |
//! | else | Acknowledged, Started |

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use kraken_engine::{
    fleet::Fleet,
    id::{AttemptId, Name, Uid},
    mutation::{Context, Lane},
    order::{Answer, Held, Order, Ready, Said, recheck},
    time::Millis,
};

use super::{Input, desk::Desk};
use crate::{
    host::{Admission, HostHandle, Start},
    reconciler::subject::Known,
};

/// Orders of which the last answer is remembered; an older one would be carried out again if it
/// came again, but its time to start is long over.
const DONE_MAX: usize = 4_096;
/// How long past its time an attempt is believed to be in hand, whatever its module does.
const GRACE_MS: u64 = 10_000;

/// What this node has in hand for the quorum's lane, and what has come of the rest.
#[derive(Default)]
pub(super) struct Hands {
    held: BTreeMap<AttemptId, Carried>,
    done: BTreeMap<AttemptId, Said>,
    /// Of the done, oldest first.
    order: VecDeque<AttemptId>,
}

struct Carried {
    uid: Uid,
    until: Millis,
}

impl Hands {
    /// The object of an attempt that is in hand.
    pub(super) fn object_of(&self, attempt: &AttemptId) -> Option<Uid> {
        self.held.get(attempt).map(|carried| carried.uid)
    }

    /// What was answered last to an order that came before.
    fn answered(&self, attempt: &AttemptId) -> Option<Said> {
        let held = self.held.contains_key(attempt).then_some(Said::Acknowledged);
        held.or_else(|| self.done.get(attempt).cloned())
    }

    /// Another attempt on the same object.
    fn rival(&mut self, order: &Order, now: Millis) -> Option<AttemptId> {
        self.held.retain(|_, carried| now < carried.until);
        let mut held = self.held.iter();
        let rival = held.find(|(_, carried)| carried.uid == order.object.uid);
        rival.map(|(attempt, _)| attempt.clone())
    }

    fn take(&mut self, order: &Order, now: Millis) {
        let until = now.after_ms(order.timeout_ms).after_ms(GRACE_MS);
        let carried = Carried { uid: order.object.uid, until };
        self.held.insert(order.attempt.clone(), carried);
    }

    /// Nothing more comes of an attempt. Tells whether it was in hand.
    pub(super) fn close(&mut self, attempt: &AttemptId, said: Said) -> bool {
        let held = self.held.remove(attempt).is_some();
        if self.done.insert(attempt.clone(), said).is_none() {
            self.order.push_back(attempt.clone());
        }
        if self.order.len() > DONE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.done.remove(&oldest);
        }
        held
    }
}

impl Desk {
    /// Has orders carried out here, those that may be.
    pub(super) async fn carry_out(&mut self, orders: Vec<(Order, Millis)>) {
        if orders.is_empty() {
            return;
        }
        let (mut answers, mut asked) = (Vec::new(), Vec::new());
        for (order, start_by) in orders {
            if let Some(said) = self.screen(&order) {
                answers.push(self.refuse(order, said));
            } else {
                self.hands.take(&order, self.now());
                asked.push((order, start_by));
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
            let answers = begin(&host, starts, node).await;
            orders.tell(Input::Answers(answers)).await;
        });
    }

    /// What to answer to an order before anything is looked at; `None`: nothing stands against it.
    fn screen(&mut self, order: &Order) -> Option<Said> {
        if let Some(said) = self.hands.answered(&order.attempt) {
            return Some(said);
        }
        if let Some(said) = self.stale(order.term) {
            return Some(said);
        }
        let rival = self.hands.rival(order, self.now())?;
        Some(Said::Busy(format!("attempt {rival} on it is in hand")))
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
    })
}

/// Has the host begin; says what to answer. Nothing, where the host does not answer: then the
/// orders are asked for again, or their time runs out.
async fn begin(host: &HostHandle, starts: Vec<Start>, node: Name) -> Vec<Answer> {
    let named = |start: &Start| (start.attempt.clone(), start.mutation.module.clone());
    let asked: Vec<(AttemptId, Name)> = starts.iter().map(named).collect();
    let Some(admitted) = host.mutate_all(starts).await else { return Vec::new() };
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
    answers
}
