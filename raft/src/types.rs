//! The types with which openraft is instantiated. Nothing in here is public, so that no other crate
//! compiles openraft's generics again.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use kraken_engine::{
    command::{Outcome, Proposal},
    store::{LEVEL_FIRST, is_level_first, level_first},
};
use openraft::{impls::leader_id_std, vote::RaftLeaderId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

openraft::declare_raft_types!(
    /// Standard Raft: at most one leader a term, so that a term alone is a fence.
    pub(crate) Types:
        D = Data,
        R = Answer,
        NodeId = u64,
        Node = Peer,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<Types, crate::machine::Machine>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub(crate) type Payload = openraft::alias::PayloadOf<Types>;

/// The log id of `index` in `term`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    let leader = leader_id_std::LeaderId::new(term, 0).to_committed();
    LogId::new(leader, index)
}

/// Where a member is found and what it is called; replicated with the membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// Its name among the members.
    pub(crate) name: String,
    /// Its address for Raft, as `host:port`.
    pub(crate) address: String,
    /// Its HTTP URL, opaque here.
    pub(crate) http: String,
    /// Its address for leaves and relays, opaque here.
    pub(crate) sync: String,
    /// The feature level that it knows.
    #[serde(default = "level_first", skip_serializing_if = "is_level_first")]
    pub(crate) level: u32,
}

impl Default for Peer {
    fn default() -> Self {
        let nothing = String::new;
        let (name, address, http, sync) = (nothing(), nothing(), nothing(), nothing());
        Self { name, address, http, sync, level: LEVEL_FIRST }
    }
}

/// A proposal as it stands in the log: encoded once where it is proposed, decoded once a replica.
#[derive(Clone)]
pub(crate) struct Data {
    bytes: Bytes,
    proposal: Arc<Proposal>,
}

impl Data {
    /// Encodes a proposal.
    pub(crate) fn encode(proposal: Proposal) -> Result<Self, rmp_serde::encode::Error> {
        let bytes = rmp_serde::to_vec_named(&proposal)?.into();
        Ok(Self { bytes, proposal: Arc::new(proposal) })
    }

    /// Decodes a proposal and keeps its bytes.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, rmp_serde::decode::Error> {
        let proposal = Arc::new(rmp_serde::from_slice(&bytes)?);
        Ok(Self { bytes, proposal })
    }

    /// The encoded proposal.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The proposal.
    pub(crate) fn proposal(&self) -> &Proposal {
        &self.proposal
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes by {}", self.bytes.len(), self.proposal.author)
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Self::decode(bytes.into_vec().into()).map_err(de::Error::custom)
    }
}

/// What apply answers: the outcome of a proposal, nothing for Raft's own entries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer(pub(crate) Option<Outcome>);
