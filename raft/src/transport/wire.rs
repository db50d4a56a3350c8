//! What members say to each other. A connection begins with [`Hello`] and its [`Greeting`]; each
//! frame after that is a number that pairs answers with requests, big-endian in 8 bytes, and a
//! [`Request`] or [`Reply`] as named MessagePack.

use bytes::{BufMut, Bytes, BytesMut};
use kraken_engine::command::Outcome;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio_util::codec::LengthDelimitedCodec;

use crate::{
    machine::{Note, Verdict},
    types::{Data, Peer, SnapshotMeta, Types, Vote},
};

/// Version of this protocol.
pub(crate) const VERSION: u32 = 1;
/// Largest frame in bytes: the largest proposal and what is sent along with it.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;
/// Largest first frame in bytes, from somebody not yet known.
pub(crate) const HELLO_BYTES_MAX: usize = 4 << 10;

const SEQUENCE_BYTES: usize = 8;

/// What a connection is for. Each has one of its own, so that nothing waits behind what is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Channel {
    /// Entries to followers.
    Append,
    /// Signs of life.
    Heartbeat,
    /// Elections.
    Vote,
    /// Snapshots.
    Snapshot,
    /// Proposals and read indexes that are passed on to the leader.
    Forward,
    /// Changes of the membership; the one that somebody without an id may open.
    Membership,
}

/// The first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The sender's [`VERSION`].
    pub(crate) version: u32,
    /// The cluster that is meant; 0 from somebody who wants to join whichever it is.
    pub(crate) cluster: u64,
    /// The sender's id; 0 where it has none.
    pub(crate) from: u64,
    /// The id that is meant; 0 for anybody.
    pub(crate) to: u64,
    /// What the connection is for.
    pub(crate) channel: Channel,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Greeting {
    /// Go on.
    Welcome,
    /// The connection ends here, and why.
    Refused(String),
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    SnapshotBegin {
        vote: Vote,
        meta: SnapshotMeta,
        bytes: u64,
    },
    SnapshotPart(serde_bytes::ByteBuf),
    SnapshotEnd,
    Propose(Data),
    ReadIndex {
        lease: bool,
    },
    /// What a member holds after an entry.
    Note(Note),
    Join(Peer),
    Admit {
        member: u64,
        peer: Peer,
        /// It does not vote until it is promoted.
        #[serde(default)]
        learner: bool,
    },
    Remove(u64),
    Lead(u64),
    Promote(u64),
    /// Where a member is found now, by itself.
    Describe {
        member: u64,
        peer: Peer,
    },
}

impl Request {
    /// Whether a channel carries it. What a peer may ask depends on what it said it came for.
    pub(crate) fn fits(&self, channel: Channel) -> bool {
        match self {
            Self::Append(_) => matches!(channel, Channel::Append | Channel::Heartbeat),
            Self::Vote(_) | Self::PreVote(_) | Self::Transfer(_) => channel == Channel::Vote,
            Self::SnapshotBegin { .. } | Self::SnapshotPart(_) | Self::SnapshotEnd => {
                channel == Channel::Snapshot
            }
            Self::Propose(_) | Self::ReadIndex { .. } | Self::Note(_) => {
                channel == Channel::Forward
            }
            Self::Join(_)
            | Self::Admit { .. }
            | Self::Remove(_)
            | Self::Lead(_)
            | Self::Promote(_)
            | Self::Describe { .. } => channel == Channel::Membership,
        }
    }

    /// Whether somebody without an id may ask it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Join(_))
    }
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Transferred(TransferLeaderResponse<Types>),
    Received,
    Installed(SnapshotResponse<Types>),
    Outcome(Outcome),
    /// The index that has to be applied next where the read is made, at least.
    ReadIndex(u64),
    Joined {
        cluster: u64,
        member: u64,
    },
    Done,
    /// Ask this one instead, if it is known.
    NotLeader(Option<u64>),
    /// Not now; nothing was done.
    Unavailable(String),
    /// It may or may not have been done.
    Unknown(String),
    /// No, and asking again does not help.
    Refused(String),
    /// What became of comparing a note.
    Judged(Verdict),
    /// Not now, for there is too much to do; nothing was done.
    Overloaded,
}

/// The codec of a connection.
pub(crate) fn codec(frame_bytes_max: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(frame_bytes_max).new_codec()
}

/// Encodes what has no number.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Bytes, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(message).map(Bytes::from)
}

/// Decodes what has no number.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// A frame: number and body.
pub(crate) fn frame(sequence: u64, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(SEQUENCE_BYTES + body.len());
    frame.put_u64(sequence);
    frame.put_slice(body);
    frame.freeze()
}

/// The parts of a frame.
pub(crate) fn split(frame: &[u8]) -> Option<(u64, &[u8])> {
    let (sequence, body) = frame.split_first_chunk::<SEQUENCE_BYTES>()?;
    Some((u64::from_be_bytes(*sequence), body))
}
