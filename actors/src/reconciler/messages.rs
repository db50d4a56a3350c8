//! The messages of the reconciler. All but `Observe`, `ObjectsOf` and `Release` come only from
//! its driver, which waits for each answer; they fail only when the node stops.

use std::{collections::BTreeMap, sync::Arc};

use actix::Message;
use kraken_engine::{
    id::{AttemptId, Term, Uid},
    machine::{Attempted, Effect},
    mutation::Lane,
    policy::Rules,
    time::Millis,
};
use serde::Serialize;

use super::subject::Sight;

/// Look at objects that may have changed; `None`: gone.
#[derive(Message)]
#[rtype(result = "Decided")]
pub(super) struct Look {
    pub(super) sight: Arc<Sight>,
}

/// What happened to attempts, in order.
pub(super) type Answers = Vec<(AttemptId, Attempted)>;

/// Something happened to attempts of objects that are in sight.
#[derive(Message)]
#[rtype(result = "Decided")]
pub(super) struct Happened {
    pub(super) answers: Vec<(AttemptId, Uid, Attempted)>,
    pub(super) sight: Arc<Sight>,
}

/// Which objects' timers have fired, and what follows of the time alone?
#[derive(Message)]
#[rtype(result = "(Vec<Uid>, Decided)")]
pub(super) struct Due;

/// Whose attempts are these, where they are in flight? Answered in their order.
#[derive(Message)]
#[rtype(result = "Vec<Option<Uid>>")]
pub(super) struct ObjectsOf(pub(super) Vec<AttemptId>);

/// This member leads in a term, or no longer.
#[derive(Message)]
#[rtype(result = "Decided")]
pub(super) struct Lead(pub(super) Option<Term>);

/// These are the policies, and what is counted under them, in a term that this member leads.
#[derive(Message)]
#[rtype(result = "Decided")]
pub(super) struct Govern {
    pub(super) rules: Arc<Rules>,
    pub(super) term: Term,
}

/// Attempts that an earlier leader began on these objects have ended, or must have.
#[derive(Message)]
#[rtype(result = "Decided")]
pub(super) struct Settle(pub(super) Vec<Uid>);

/// Decide nothing for the own object any more. From the uplink.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Release;

/// Decide for the own object again, as there is one. From the uplink.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Resume;

/// Show yourself. From `/v1/debug` and tests.
#[derive(Message)]
#[rtype(result = "ReconcilerSnapshot")]
pub(super) struct Observe;

/// What was decided.
pub(super) struct Decided {
    pub(super) effects: Vec<(Lane, Effect)>,
    /// When a timer fires next.
    pub(super) wake_at: Millis,
    /// The term in which this member leads.
    pub(super) term: Option<Term>,
}

/// The reconciler as it is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconcilerSnapshot {
    /// The lanes decided here.
    pub lanes: BTreeMap<&'static str, LaneSnapshot>,
    /// The term in which this member leads.
    pub term: Option<Term>,
    /// Whether the own object was removed.
    pub released: bool,
}

/// One lane as it is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneSnapshot {
    /// How many objects are decided.
    pub objects: usize,
    /// The attempts in flight.
    pub attempts: Vec<AttemptId>,
    /// When a timer fires next, in milliseconds since the Unix epoch.
    pub wake_at: Millis,
}
