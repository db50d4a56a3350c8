//! What a member says of itself and of the others.

use kraken_engine::id::{ClusterId, Epoch, MemberId, Name, Revision, Term};
use openraft::{RaftMetrics, ServerState};
use serde::Serialize;

use crate::types::Types;

/// What part a member plays at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Role {
    /// Decides.
    Leader,
    /// Votes and follows.
    Follower,
    /// Follows and does not vote.
    Learner,
    /// Stands for election.
    Candidate,
    /// Belongs to no cluster yet.
    Uninitialised,
}

/// A member as this one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its id, never given to another.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Its address for other members.
    pub address: String,
    /// Its HTTP URL.
    pub http: String,
    /// Its address for leaves and relays.
    pub sync: String,
    /// The feature level that it knows.
    pub level: u32,
    /// Whether it votes.
    pub voter: bool,
    /// The last entry that it has as well; known to the leader only.
    pub matched: Option<u64>,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster; 0 before there is one.
    pub cluster: ClusterId,
    /// The history that its revisions belong to.
    pub epoch: Epoch,
    /// This member's id; `None` before it has one.
    pub member: Option<MemberId>,
    /// What part it plays.
    pub role: Role,
    /// The term that it knows of.
    pub term: Term,
    /// The leader that it knows of.
    pub leader: Option<MemberId>,
    /// The feature level that is in use.
    pub level: u32,
    /// The last write of Cfg in the state of this member.
    pub revision: Revision,
    /// The last entry that was applied here, which need not be a write.
    pub applied: u64,
    /// The last entry in its log.
    pub last_log: Option<u64>,
    /// The last entry in its snapshot.
    pub snapshot: Option<u64>,
    /// The last entry that its log no longer has.
    pub purged: Option<u64>,
    /// All members in order of id.
    pub members: Vec<Member>,
}

/// Who leads, as this member sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if one is known.
    pub leader: Option<MemberId>,
    /// Whether it is this member.
    pub is_me: bool,
    /// The term.
    pub term: Term,
    /// This member leads, has applied the first entry of its term, and a quorum answered it within
    /// the lease, less a tenth for clocks of different rates. Only then may it decide anything.
    pub ready: bool,
}

impl Status {
    /// What is said before there is a cluster.
    pub(crate) fn uninitialised() -> Self {
        Self {
            cluster: ClusterId::default(),
            epoch: Epoch::FIRST,
            level: 0,
            member: None,
            role: Role::Uninitialised,
            term: Term::default(),
            leader: None,
            revision: Revision::default(),
            applied: 0,
            last_log: None,
            snapshot: None,
            purged: None,
            members: Vec::new(),
        }
    }

    /// What openraft says, in our words.
    pub(crate) fn from_metrics(
        cluster: ClusterId,
        applied: u64,
        metrics: &RaftMetrics<Types>,
    ) -> Self {
        let membership = metrics.membership_config.membership();
        let voters: std::collections::BTreeSet<u64> = membership.voter_ids().collect();
        let matched = |id: &u64| {
            let replication = metrics.replication.as_ref()?;
            replication.get(id)?.as_ref().map(|matched| matched.index)
        };
        let members = membership.nodes().map(|(id, peer)| Member {
            id: MemberId::new(*id),
            name: peer.name.clone(),
            address: peer.address.clone(),
            http: peer.http.clone(),
            sync: peer.sync.clone(),
            level: peer.level,
            voter: voters.contains(id),
            matched: matched(id),
        });
        Self {
            cluster,
            epoch: Epoch::FIRST,
            level: 0,
            revision: Revision::default(),
            member: Some(MemberId::new(metrics.id)),
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner | ServerState::Shutdown => Role::Learner,
            },
            term: Term::new(metrics.current_term),
            leader: metrics.current_leader.map(MemberId::new),
            applied,
            last_log: metrics.last_log_index,
            snapshot: metrics.snapshot.map(|id| id.index),
            purged: metrics.purged.map(|id| id.index),
            members: members.collect(),
        }
    }
}

/// Names a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// By id.
    Id(MemberId),
    /// By name.
    Name(Name),
}

impl From<MemberId> for Which {
    fn from(id: MemberId) -> Self {
        Self::Id(id)
    }
}

impl From<Name> for Which {
    fn from(name: Name) -> Self {
        Self::Name(name)
    }
}
