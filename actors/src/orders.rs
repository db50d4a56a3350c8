//! Orders between nodes: takes what a leader decided to where it is carried out, carries out what
//! is meant for this node, and takes the answers back to whoever leads now.
//!
//! One task on every node (`desk`), which never waits for a child, a parent or a module, so that
//! none can hold up the orders of another: what a full queue does not take is answered as busy.
//! What may be started is decided in `kraken_engine::order`, until when in
//! `kraken_engine::sync::orders`.
//!
//! The task ends with the node. What it knows of attempts in hand is lost then, and so are they.

mod carry;
mod desk;
mod ways;

use kraken_engine::{
    id::{AttemptId, Name},
    order::{Answer, Holds, LookAt, Order, Recall, hands::Way},
    sync::orders::Orphan,
    time::Millis,
};
use tokio::sync::mpsc;

pub(crate) use self::{
    desk::{DeskOptions, start},
    ways::{ChildWay, Down, Up, Ways},
};
use crate::host::AttemptEnded;

/// What waits for the desk; at the bound those who tell it wait.
pub(crate) const ORDERS_QUEUE_MAX: usize = 8_192;
/// Orders that wait for one child's session; at the bound an order is answered as busy.
pub(crate) const DOWN_QUEUE_MAX: usize = 4_096;
/// Times that answers were given for one parent and wait for it to be there; at the bound an answer
/// is dropped.
pub(crate) const UP_QUEUE_MAX: usize = 65_536;

/// What the desk is told.
#[derive(Debug)]
pub(crate) enum Input {
    /// This node leads and has decided: hand an order to the first node on its way.
    Give(Box<Order>, Name),
    /// A parent handed it over; it may be started until this moment.
    Carry(Box<Order>, Millis),
    /// Give an attempt up, by way of this node; `None`: straight.
    Recall(Recall, Option<Name>),
    /// Look at an object, by way of this node; `None`: straight.
    Look(LookAt, Option<Name>),
    /// The host said what became of attempts.
    Answers(Vec<Answer>),
    /// A child said by a way what became of what was handed to it.
    Heard(Vec<Answer>, Way),
    /// Orders could not be sent on by a way, and what to say of them.
    HandedBack(Vec<Answer>, Way),
    /// A session of a child is over, and what was open of it is lost by now.
    Orphaned(Name, Vec<Orphan>, Way),
    /// The host did not say whether it took these.
    Doubted(Vec<AttemptId>),
    /// A child said what it has in hand.
    Holds(Holds),
    /// Here an attempt ended.
    Ended(AttemptEnded),
    /// Here an attempt moves on.
    Progress(AttemptId, String),
}

/// What the reconciler of the leader is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// What became of an attempt.
    Answer(Answer),
    /// What a node has in hand.
    Holds(Holds),
    /// An attempt of this node's own lane moves on.
    Progress(AttemptId, String),
}

/// The way to the desk. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    inputs: mpsc::Sender<Input>,
    ways: Ways,
}

impl Orders {
    /// A desk's handle, and what its task takes from.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Input>) {
        let (inputs, taken) = mpsc::channel(ORDERS_QUEUE_MAX);
        (Self { inputs, ways: Ways::default() }, taken)
    }

    /// Tells the desk; waits while it has too much to do.
    pub(crate) async fn tell(&self, input: Input) {
        if self.inputs.send(input).await.is_err() {
            tracing::debug!("told of an order after the node has stopped");
        }
    }

    /// Tells the desk, unless it has too much to do; says whether it took it.
    pub(crate) fn try_tell(&self, input: Input) -> bool {
        self.inputs.try_send(input).is_ok()
    }

    /// The ways to children and parents.
    pub(crate) fn ways(&self) -> &Ways {
        &self.ways
    }
}
