//! The messages of the register of children. All but `Observe` come from sessions and from the
//! task that watches Cfg; they fail only when the node stops.

use std::collections::BTreeSet;

use actix::Message;
use kraken_engine::{
    id::{Name, SessionEpoch, Uid},
    sync::frame::Role,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::dirty::Dirty;

/// A child was accepted. An older session of it is closed; answered with false where there is no
/// room, or a newer one.
#[derive(Message)]
#[rtype(result = "bool")]
pub(super) struct Register {
    pub(super) node: Name,
    pub(super) uid: Uid,
    pub(super) epoch: SessionEpoch,
    pub(super) role: Role,
    pub(super) peer: String,
    pub(super) dirty: Dirty<Uid>,
    pub(super) close: CancellationToken,
}

/// A session is over; answered with whether it was the child's present one.
#[derive(Message)]
#[rtype(result = "bool")]
pub(super) struct Unregister {
    pub(super) node: Name,
    pub(super) epoch: SessionEpoch,
}

/// A session tells of these objects: it is to hear when one changes.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Serves {
    pub(super) node: Name,
    pub(super) epoch: SessionEpoch,
    pub(super) uids: BTreeSet<Uid>,
}

/// Is this node attached here?
#[derive(Message)]
#[rtype(result = "bool")]
pub(super) struct IsAttached(pub(super) Name);

/// These objects have changed; and these nodes have some of them in their charge.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Marked {
    pub(super) uids: BTreeSet<Uid>,
    pub(super) nodes: BTreeSet<Name>,
}

/// Show yourself. From `/v1/debug` and tests.
#[derive(Message)]
#[rtype(result = "DownlinkSnapshot")]
pub(super) struct Observe;

/// The register as it is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DownlinkSnapshot {
    /// Who is attached, by name.
    pub children: Vec<ChildSnapshot>,
    /// Sessions that a newer one of the same child has closed.
    pub superseded: u64,
    /// How often a leaf was told to come back, because too many came at once.
    pub deferred: u64,
}

/// One attached child.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildSnapshot {
    /// Its name.
    pub node: Name,
    /// What it is.
    pub role: Role,
    /// Where it connects from.
    pub peer: String,
    /// Its session.
    pub epoch: SessionEpoch,
}
