//! The desk: one task that hands orders on, has those for this node carried out, and takes answers
//! to whoever leads.

use std::sync::Arc;

use kraken_engine::{
    event::{EventKind, Happening},
    id::{AttemptId, Name, Term},
    order::{
        Answer, Holds, LookAt, Order, Recall, Said,
        hands::{Hands, Screened, Way},
    },
    sync::orders::Orphan,
    time::Millis,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Input, Orders, Told,
    ways::{Blocked, Down, Up},
};
use crate::{
    clock::Clock,
    host::{AttemptEnded, Fault, HostHandle},
    quorum::Quorum,
    state::StateHandle,
};

/// Inputs that are taken at one time.
const BATCH_MAX: usize = 512;

/// What a desk is made of.
pub(crate) struct DeskOptions {
    pub(crate) node: Name,
    pub(crate) state: StateHandle,
    pub(crate) host: HostHandle,
    /// On a member.
    pub(crate) quorum: Option<Arc<dyn Quorum>>,
    pub(crate) clock: Clock,
    /// Ends of attempts that this node decided itself.
    pub(crate) ends: mpsc::Sender<AttemptEnded>,
    /// News for the reconciler.
    pub(crate) told: mpsc::Sender<Told>,
    pub(crate) stop: CancellationToken,
}

/// Starts the desk of a handle on the present arbiter.
pub(crate) fn start(
    orders: Orders,
    mut inputs: mpsc::Receiver<Input>,
    mut ends: mpsc::Receiver<AttemptEnded>,
    options: DeskOptions,
) {
    let stop = options.stop.clone();
    let mut desk = Desk { orders, options, hands: Hands::default() };
    actix_rt::spawn(async move {
        let (mut batch, mut ended) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ends.recv_many(&mut ended, BATCH_MAX) => {
                    batch.extend(ended.drain(..).map(Input::Ended));
                }
                _ = inputs.recv_many(&mut batch, BATCH_MAX) => {}
            }
            desk.take_all(&mut batch).await;
        }
    });
}

pub(super) struct Desk {
    pub(super) orders: Orders,
    pub(super) options: DeskOptions,
    /// What this node carries out for the quorum's lane.
    pub(super) hands: Hands,
}

impl Desk {
    /// Takes inputs in their order; orders for this node that follow each other are prepared
    /// together.
    async fn take_all(&mut self, batch: &mut Vec<Input>) {
        let mut own = Vec::new();
        for input in batch.drain(..) {
            match input {
                Input::Carry(order, start_by) if order.to == self.options.node => {
                    own.push((*order, start_by));
                }
                input => {
                    self.carry_out(std::mem::take(&mut own)).await;
                    self.take(input).await;
                }
            }
        }
        self.carry_out(own).await;
    }

    async fn take(&mut self, input: Input) {
        match input {
            Input::Give(order, first) => self.hand_on(order, &first).await,
            Input::Carry(order, _) => {
                let to = order.to.clone();
                self.hand_on(order, &to).await;
            }
            Input::Recall(recall, first) => self.recall(recall, first),
            Input::Look(look, first) => self.look(look, first).await,
            Input::Answers(answers) => {
                for answer in answers.iter().filter(|answer| answer.said.is_last()) {
                    self.hands.close(&answer.attempt, answer.said.clone());
                }
                self.answer_all(answers).await;
            }
            Input::Heard(mut answers, way) => {
                answers.retain(|answer| self.hands.hear(answer, way));
                self.answer_all(answers).await;
            }
            Input::HandedBack(answers, way) => self.handed_back(answers, way).await,
            Input::Orphaned(child, orphans, way) => self.orphaned(&child, orphans, way).await,
            Input::Doubted(attempts) => attempts.iter().for_each(|of| self.hands.doubt(of)),
            Input::Holds(holds) => self.holds(holds).await,
            Input::Ended(ended) => self.ended(ended).await,
            Input::Progress(attempt, text) => self.progress(attempt, text).await,
        }
    }

    /// Hands an order to a child, unless a leader of a later term or its end is known here.
    async fn hand_on(&mut self, order: Box<Order>, first: &Name) {
        self.see_term();
        let mut screened = self.hands.screen(&order, &self.options.node, self.now());
        if screened == Screened::Goes {
            match self.pass_down(&order, first) {
                Ok(way) => self.hands.hand_on(&order.attempt, way),
                Err(said) => screened = self.hands.refusal(&order.attempt, said),
            }
        }
        if let Screened::Said(said) = screened {
            let Order { attempt, to: node, .. } = *order;
            if said.is_last() {
                self.hands.close(&attempt, said.clone());
            }
            self.answer(Answer { node, attempt, said }).await;
        }
    }

    /// Orders come back, for their way is not open: refused, where no other copy is on its way.
    async fn handed_back(&mut self, answers: Vec<Answer>, way: Way) {
        for Answer { node, attempt, said } in answers {
            if let Screened::Said(said) = self.hands.hand_back(&attempt, way, said) {
                self.hands.close(&attempt, said.clone());
                self.answer(Answer { node, attempt, said }).await;
            }
        }
    }

    /// What was handed to a session that is over, and may never have started, is told lost.
    async fn orphaned(&mut self, child: &Name, orphans: Vec<Orphan>, way: Way) {
        let is_back = self.orders.ways().has_child(child);
        let lost = self.hands.orphaned(orphans, way, is_back);
        self.answer_all(lost).await;
    }

    fn pass_down(&self, order: &Order, first: &Name) -> Result<Way, Said> {
        let sent = self.orders.ways().down(first, Down::Order(Box::new(order.clone())));
        sent.map_err(|blocked| match blocked {
            Blocked::Gone => Said::Declined(format!("{first} is not attached")),
            Blocked::Full => Said::Busy(format!("too much waits for {first}")),
        })
    }

    /// Takes note of the term that the quorum is in.
    pub(super) fn see_term(&mut self) {
        if let Some(quorum) = &self.options.quorum {
            self.hands.see_term(quorum.leadership().borrow().term);
        }
    }

    fn recall(&mut self, recall: Recall, first: Option<Name>) {
        if recall.to == self.options.node {
            let host = self.options.host.clone();
            match recall.asks {
                Some(term) => self.asked(recall.attempt, term),
                None => drop(actix_rt::spawn(async move { host.cancel(recall.attempt).await })),
            }
            return;
        }
        let first = first.unwrap_or_else(|| recall.to.clone());
        // What cannot be recalled ends by itself.
        self.orders.ways().down(&first, Down::Recall(recall)).ok();
    }

    /// A leader asks what became of an attempt that was meant for this node.
    fn asked(&mut self, attempt: AttemptId, term: Term) {
        let Some(said) = self.hands.asked(&attempt, term) else { return };
        let (host, orders) = (self.options.host.clone(), self.orders.clone());
        let node = self.options.node.clone();
        actix_rt::spawn(async move {
            // Without an answer, and for what runs, the leader asks again.
            if host.bar(attempt.clone()).await == Some(true) {
                orders.tell(Input::Answers(vec![Answer { node, attempt, said }])).await;
            }
        });
    }

    async fn look(&mut self, look: LookAt, first: Option<Name>) {
        if look.to == self.options.node {
            self.options.state.renew(look.uid).await;
            self.options.host.look(look.uid);
            return;
        }
        let first = first.unwrap_or_else(|| look.to.clone());
        // Who waits for the look asks again.
        self.orders.ways().down(&first, Down::Look(look)).ok();
    }

    /// Takes an answer to whoever leads: only that one may still wait for it.
    pub(super) async fn answer(&self, answer: Answer) {
        self.answer_all(vec![answer]).await;
    }

    /// The same for many.
    pub(super) async fn answer_all(&self, answers: Vec<Answer>) {
        if answers.is_empty() {
            return;
        }
        let count = answers.len();
        let taken = match self.leader() {
            Leader::Me => {
                for answer in answers {
                    // Fails only when the node stops.
                    self.options.told.send(Told::Answer(answer)).await.ok();
                }
                true
            }
            Leader::At(node) => self.orders.ways().up(node.as_ref(), Up::Answers(answers)),
            Leader::Nobody => false,
        };
        if !taken {
            tracing::debug!(count, "answers that nobody takes");
        }
    }

    async fn holds(&self, holds: Holds) {
        match self.leader() {
            Leader::Me => {
                // Fails only when the node stops.
                self.options.told.send(Told::Holds(holds)).await.ok();
            }
            Leader::At(node) => {
                self.orders.ways().up(node.as_ref(), Up::Holds(holds));
            }
            Leader::Nobody => {}
        }
    }

    fn leader(&self) -> Leader {
        let Some(quorum) = &self.options.quorum else { return Leader::At(None) };
        if quorum.leadership().borrow().is_me {
            return Leader::Me;
        }
        let status = quorum.status();
        let leader = status.members.into_iter().find(|member| Some(member.id) == status.leader);
        leader.map_or(Leader::Nobody, |leader| Leader::At(Some(leader.name)))
    }

    async fn ended(&mut self, ended: AttemptEnded) {
        if self.hands.object_of(&ended.attempt).is_none() {
            // Fails only when the node stops.
            self.options.ends.send(ended).await.ok();
            return;
        }
        let said = match ended.outcome {
            Ok(()) => Said::Succeeded,
            Err(error) if error.fault == Fault::Cancelled => Said::Abandoned,
            Err(error) => Said::Failed { error: error.text, permanent: error.permanent },
        };
        let node = self.options.node.clone();
        self.hands.close(&ended.attempt, said.clone());
        self.answer(Answer { node, attempt: ended.attempt, said }).await;
    }

    async fn progress(&mut self, attempt: AttemptId, text: String) {
        let Some(uid) = self.hands.object_of(&attempt) else {
            // Fails only when the node stops.
            self.options.told.send(Told::Progress(attempt, text)).await.ok();
            return;
        };
        let (kind, of) = (EventKind::AttemptProgressed, Some(attempt.clone()));
        let happening =
            Happening { kind, uid: Some(uid), revision: None, attempt: of, text: text.clone() };
        self.options.state.record(happening).await;
        let node = self.options.node.clone();
        self.answer(Answer { node, attempt, said: Said::Progress(text) }).await;
    }

    pub(super) fn now(&self) -> Millis {
        self.options.clock.wall()
    }
}

/// Who leads, seen from here.
enum Leader {
    Me,
    /// The way up that leads to it.
    At(Option<Name>),
    Nobody,
}
