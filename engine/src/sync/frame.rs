//! The frames of the sync protocol: plain data, encoded with named fields so that later versions
//! may add to them.

use serde::{Deserialize, Serialize};

use super::{
    declared::{Declared, Digests},
    delta::ObjectDelta,
    pace::Pace,
    views::ViewDelta,
};
use crate::{
    dsc::Sighting,
    event::Event,
    id::{ClusterId, Epoch, Name, Revision, SessionEpoch, Uid},
    object::Labels,
    order::{Answer, Holds, LookAt, Order, Recall},
    singleton::Assurance,
};

/// One frame, either way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Frame {
    /// Child to parent, first: who I am and what I hold.
    Hello(Hello),
    /// Parent to child: attached.
    Welcome(Welcome),
    /// Parent to child, in place of a Welcome; the connection ends.
    Refused(Refused),
    /// Parent to child: your Cfg has changed.
    CfgDelta(CfgDelta),
    /// Child to parent: the Cfg up to this delta is applied.
    CfgAck {
        /// The delta's number.
        seq: u64,
    },
    /// Child to parent: what was seen, and what happened.
    DscDelta(DscDelta),
    /// Parent to child: deltas up to this one are merged.
    DscAck {
        /// The delta's number.
        seq: u64,
    },
    /// Child to parent, and echoed back.
    Heartbeat(Heartbeat),
    /// Child to parent that takes it, in place of a Heartbeat: the number of this one in the
    /// session, and the digest. Names and times would be most of it.
    #[serde(rename = "b")]
    Beat(u64, u64),
    /// Parent to child: the number of the Beat that is echoed, and what an echo says of the quorum.
    #[serde(rename = "e")]
    Echo(u64, Option<Assurance>),
    /// Parent to child: send a heartbeat now.
    Ping,
    /// Parent to child: our digests differ; send all that you hold, and count digests afresh.
    Resync,
    /// Parent to child: carry these out, or hand them on to who does.
    Dispatch(Vec<Order>),
    /// Parent to child: give an attempt up.
    Cancel(Recall),
    /// Parent to child: look at an object, and tell it afresh.
    Look(LookAt),
    /// Child to parent: what became of attempts.
    Answers(Vec<Answer>),
    /// Child to parent, first after its Welcome: what it has in hand.
    Holds(Holds),
    /// Parent to child: what its decisions need of elsewhere.
    ViewDelta(ViewDelta),
    /// Child to parent: views up to this delta are held.
    ViewAck {
        /// The delta's number.
        seq: u64,
    },
    /// Relay to parent: a node wants to attach to me, or has.
    Below(Box<Below>),
    /// Parent to relay: what became of that.
    Admitted(Box<Admitted>),
    /// Relay to parent: a node is attached to me no longer.
    Left(Left),
}

impl Frame {
    /// Whether it is a child's heartbeat.
    pub fn is_heartbeat(&self) -> bool {
        matches!(self, Self::Heartbeat(_) | Self::Beat(..))
    }
}

/// A node that says Hello to a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Below {
    /// What it says.
    pub hello: Hello,
    /// Relays between it and whoever sends this.
    pub hops: u32,
}

/// What becomes of a node that said Hello to a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The node.
    pub node: Name,
    /// Its session.
    pub epoch: SessionEpoch,
    /// What it is to be answered.
    pub answer: Admission,
}

/// What a Hello is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Admission {
    /// It is attached.
    Welcome(Welcome),
    /// It is not.
    Refused(Refused),
}

/// The end of a session with a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The node.
    pub node: Name,
    /// The session.
    pub epoch: SessionEpoch,
}

/// What a child says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION).
    pub version: u32,
    /// The child's name.
    pub node: Name,
    /// What it is.
    pub role: Role,
    /// Orders this session among all of the child.
    pub epoch: SessionEpoch,
    /// The cluster of the Cfg that it holds; 0: none yet.
    pub cluster: ClusterId,
    /// The revision of the Cfg that it holds: it will take none from before.
    pub revision: Revision,
    /// The uid that it knows itself by.
    pub uid: Option<Uid>,
    /// The labels that it would be registered with.
    pub labels: Labels,
    /// Whether it takes orders.
    #[serde(default, skip_serializing_if = "is_false")]
    pub takes_orders: bool,
    /// The epoch of the Cfg that it holds.
    #[serde(default = "Epoch::first", skip_serializing_if = "Epoch::is_first")]
    pub cfg_epoch: Epoch,
    /// Whether it takes views.
    #[serde(default, skip_serializing_if = "is_false")]
    pub takes_views: bool,
    /// The manifests that it holds, by their digests; absent: it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Digests>,
    /// How often it will be heard of.
    #[serde(default, skip_serializing_if = "Pace::is_normal")]
    pub pace: Pace,
}

/// What a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Speaks for itself.
    Leaf,
    /// Another member: speaks for what is attached to it.
    Member,
    /// Speaks for itself and for what is attached to it, as far as its parent let that in.
    Relay,
}

impl Role {
    /// Whether it lives on what its parent tells it, and knows no quorum of its own.
    pub fn is_below(self) -> bool {
        match self {
            Self::Leaf | Self::Relay => true,
            Self::Member => false,
        }
    }
}

/// What a parent answers to a Hello that it accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The cluster.
    pub cluster: ClusterId,
    /// The child's object.
    pub uid: Option<Uid>,
    /// Beyond every stamp that the parent holds of the child: its clock starts here.
    pub hybrid_ms: u64,
    /// Whether the parent takes answers about orders.
    #[serde(default, skip_serializing_if = "is_false")]
    pub takes_answers: bool,
    /// The latest stamp that the parent holds in the child's name of the child's object; 0: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spoken_ms: u64,
    /// The epoch of the Cfg that it will send.
    #[serde(default = "Epoch::first", skip_serializing_if = "Epoch::is_first")]
    pub cfg_epoch: Epoch,
    /// Whether the parent takes Beats.
    #[serde(default, skip_serializing_if = "is_false")]
    pub takes_beats: bool,
}

/// What a parent answers to a Hello that it does not accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub reason: RefusedReason,
    /// In words, for the child's log.
    pub text: String,
}

/// Why a child was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusedReason {
    /// Another protocol version.
    Version,
    /// The child holds Cfg of another cluster, or of a later epoch.
    Cluster,
    /// The epoch is not beyond the last one: try again with a higher one.
    Epoch(SessionEpoch),
    /// The parent cannot serve now: try another, or later.
    NotReady,
    /// The child's object has been removed: stop deciding for it.
    Gone,
    /// Too many come at once: come back to this parent after so many milliseconds.
    Busy(u64),
}

/// A change of the Cfg that a child may see. The first of a session is all of it: what the child
/// holds besides is no longer its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CfgDelta {
    /// Counts deltas of the session, from 1.
    pub seq: u64,
    /// The revision that the child holds after this.
    pub revision: Revision,
    /// What changed, by object.
    pub objects: Vec<ObjectDelta>,
    /// What is declared besides what the child holds, if it takes that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Declared>,
    /// That the quorum has this Cfg, for a child that needs to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assurance: Option<Assurance>,
    /// Nodes that were let in below the child, a relay, and of whose objects this has all that the
    /// child does not hold for other nodes: what it held of them besides is no longer there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whole_of: Vec<Name>,
    /// Where an object comes into the child's charge: beyond every stamp that the parent holds of
    /// it. The child's clock goes on from here. 0: it need not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hybrid_ms: u64,
}

/// What a child has seen since its last delta.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DscDelta {
    /// Counts deltas of the session, from 1.
    pub seq: u64,
    /// The answer to a Resync: digests count from this delta on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub afresh: bool,
    /// What the child could not keep or send since its last delta: events and too large
    /// observations.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// Observations by object.
    pub changes: Vec<(Uid, Vec<Sighting>)>,
    /// Events, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(truth: &bool) -> bool {
    !truth
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A sign of life, with what is needed to find a divergence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The child's clock when it sent this; echoed.
    pub sent_ms: u64,
    /// The last delta sent before this.
    pub seq: u64,
    /// Digest of all observations sent since the session began, or since the last Resync was
    /// answered; of each path the last.
    pub digest: u64,
    /// In an echo: that the quorum has the Cfg that was sent before this, for a child that needs to
    /// know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assurance: Option<Assurance>,
}
