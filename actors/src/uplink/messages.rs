//! The messages of an uplink. All but `Observe` come from its driver, which waits for each
//! answer; they fail only when the node stops.

use actix::Message;
use kraken_engine::{
    dsc::Sighting,
    event::Event,
    id::{Revision, Uid},
    order::{Answer, Holds},
    sync::{
        child::Effect,
        frame::{Below, Frame, Left},
        kept::Kept,
    },
};
use serde::Serialize;

/// Something came from the connection, the node or the clock; answered with what to do.
#[derive(Message)]
#[rtype(result = "Vec<Effect>")]
pub enum Input {
    /// A connection to this parent stands.
    Connected(String),
    /// The connection is gone.
    Disconnected,
    /// A frame came.
    Frame(Box<Frame>),
    /// Observations for which this node speaks.
    Seen(Vec<(Uid, Vec<Sighting>)>),
    /// Events of this node.
    Happened(Vec<Event>),
    /// What became of attempts.
    Answers(Vec<Answer>),
    /// What a node below has in hand.
    Holds(Holds),
    /// A node says Hello to this relay, or is attached to it.
    Arrives(Box<Below>),
    /// A node is attached to this relay no longer.
    Leaves(Left),
    /// Time has passed.
    Tick,
}

/// What is to be kept of the Cfg that is held.
#[derive(Message)]
#[rtype(result = "Option<Kept>")]
pub(super) struct ToKeep;

/// Show yourself. From `/v1/debug` and tests.
#[derive(Message)]
#[rtype(result = "UplinkSnapshot")]
pub(super) struct Observe;

/// An uplink as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UplinkSnapshot {
    /// The parent it is connected to.
    pub parent: Option<String>,
    /// Whether that has welcomed it.
    pub attached: bool,
    /// The revision of the Cfg that it holds.
    pub revision: Revision,
    /// Connections made since the start.
    pub connections: u64,
    /// Bytes sent since the start.
    pub bytes_sent: u64,
    /// Bytes received since the start.
    pub bytes_received: u64,
    /// Observations that wait to be sent.
    pub waiting_observations: usize,
    /// Events that wait to be sent.
    pub waiting_events: usize,
}
