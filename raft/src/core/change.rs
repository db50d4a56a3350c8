//! Changes of the membership: joining, letting in, removing, handing over the lead.
//!
//! A member asks whoever leads; the leader checks that the change cannot lose the quorum, and does
//! it. Each step can be repeated, so that an answer that was lost costs a second try and no more.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kraken_engine::{
    command::{Command, Proposal},
    id::{ClusterId, MemberId},
    time::Millis,
};
use openraft::{
    ChangeMembers, Precondition, RaftMetrics,
    errors::{ClientWriteError, RaftError},
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Core, Node, StartError,
    propose::{Missed, Pauses, describe, prepare},
};
use crate::{
    folder::{FolderError, Identity, Phase},
    status::Which,
    transport::{Channel, LinkError, Reply, Request, decode, encoded, stranger},
    types::{LogId, Peer, Types},
};

/// Time for one member to answer a change before another one is asked.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Members of a cluster, learners included.
pub const MEMBERS_MAX: usize = 9;

/// The membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// This data folder is a member's already.
    #[error("this is member {member} of a cluster already")]
    Member {
        /// Its id.
        member: MemberId,
    },
    /// The change makes no sense or would do harm.
    #[error("refused: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// Nobody could do it in time; it was not done.
    #[error("the quorum is not available: {why}")]
    Unavailable {
        /// What the last attempt met.
        why: String,
    },
    /// The time was up; it may still be done. Look at the status, or repeat it.
    #[error("no answer in time; the change may or may not have been made")]
    Timeout,
    /// The data folder cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// This member cannot be started.
    #[error(transparent)]
    Start(Box<StartError>),
}

impl MembershipError {
    /// Whether the same change may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Timeout => true,
            Self::Member { .. } | Self::Refused { .. } | Self::Folder(_) | Self::Start(_) => false,
        }
    }

    fn given_up(unknown: bool, why: String) -> Self {
        if unknown { Self::Timeout } else { Self::Unavailable { why } }
    }

    pub(crate) fn stopped() -> Self {
        Self::Unavailable { why: "this member has stopped".to_owned() }
    }

    pub(super) fn start(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

/// What asking came to.
enum Asked {
    Reply(Reply),
    Again(Missed),
}

impl Core {
    /// Joins through the members at these addresses.
    pub(crate) async fn join(
        self: &Arc<Self>,
        via: Vec<String>,
    ) -> Result<MemberId, MembershipError> {
        let _becoming = self.becoming.lock().await;
        self.expect_nobody()?;
        let request = Request::Join(self.peer.clone());
        let (cluster, member) = match self.ask_strangers(&via, (0, 0), &request).await? {
            Reply::Joined { cluster, member } => (ClusterId::new(cluster), MemberId::new(member)),
            other => return Err(MembershipError::Unavailable { why: describe(&other) }),
        };
        let identity = Identity::new(cluster, member, Phase::Joining(via.clone()));
        self.set_identity(&identity)?;
        self.open_node(&identity).await.map_err(MembershipError::start)?;
        self.be_admitted(via).await?;
        Ok(member)
    }

    /// Does what is left to do of joining.
    pub(super) async fn be_admitted(&self, via: Vec<String>) -> Result<(), MembershipError> {
        let node = self.node().ok_or_else(MembershipError::stopped)?;
        let (cluster, member) = (node.cluster, node.member);
        let request = Request::Admit { member, peer: self.peer.clone() };
        match self.ask_strangers(&via, (cluster, member), &request).await? {
            Reply::Done => {}
            other => return Err(MembershipError::Unavailable { why: describe(&other) }),
        }
        let identity = Identity::new(ClusterId::new(cluster), MemberId::new(member), Phase::Member);
        self.set_identity(&identity)
    }

    /// Tells the others where this member's clients and leaves find it now.
    pub(super) async fn describe(self: Arc<Self>) {
        let Some(node) = self.node() else { return };
        let member = node.member;
        loop {
            match self.change(|| Request::Admit { member, peer: self.peer.clone() }).await {
                Ok(()) => return,
                Err(error) if error.is_transient() => {}
                Err(error) => {
                    tracing::warn!(%error, "the others cannot be told where this member is now");
                    return;
                }
            }
        }
    }

    /// Asks those at these addresses in turn, and the leader that they name, until one decides.
    async fn ask_strangers(
        &self,
        via: &[String],
        (cluster, from): (u64, u64),
        request: &Request,
    ) -> Result<Reply, MembershipError> {
        let deadline = Instant::now() + self.options.timers.membership;
        let (mut pauses, mut unknown) = (Pauses::new(), false);
        let mut why = "no address was given".to_owned();
        loop {
            for address in via {
                let link = stranger(address, cluster, from);
                match ask(&link, request, deadline).await {
                    Asked::Reply(Reply::Refused(why)) => {
                        return Err(MembershipError::Refused { why });
                    }
                    Asked::Reply(reply) => return Ok(reply),
                    Asked::Again(missed) => {
                        unknown |= missed.unknown;
                        why = missed.why;
                    }
                }
            }
            if !pauses.wait(deadline).await {
                return Err(MembershipError::given_up(unknown, why));
            }
        }
    }

    /// Removes a member.
    pub(crate) async fn remove(self: &Arc<Self>, which: Which) -> Result<(), MembershipError> {
        let member = self.find(&which)?;
        self.change(|| Request::Remove(member)).await
    }

    /// Hands the lead over and waits until it is taken.
    pub(crate) async fn transfer(self: &Arc<Self>, to: MemberId) -> Result<(), MembershipError> {
        self.change(|| Request::Lead(to.get())).await?;
        let node = self.node().ok_or_else(MembershipError::stopped)?;
        let deadline = Instant::now() + self.options.timers.request;
        let taken = node.until(deadline, |metrics| metrics.current_leader == Some(to.get()));
        taken.await.map(|_| ()).ok_or(MembershipError::Timeout)
    }

    fn find(&self, which: &Which) -> Result<u64, MembershipError> {
        let name = match which {
            Which::Id(id) => return Ok(id.get()),
            Which::Name(name) => name,
        };
        let members = self.status().members;
        let found = members.iter().find(|member| member.name == name.as_str());
        found.map(|member| member.id.get()).ok_or_else(|| MembershipError::Refused {
            why: format!("there is no member called {name}"),
        })
    }

    async fn change(
        self: &Arc<Self>,
        request: impl Fn() -> Request,
    ) -> Result<(), MembershipError> {
        let deadline = Instant::now() + self.options.timers.membership;
        let (mut pauses, mut unknown) = (Pauses::new(), false);
        loop {
            let why = match self.ask_leader(request(), deadline).await {
                Ok(Reply::Done) => return Ok(()),
                Ok(Reply::Refused(why)) => return Err(MembershipError::Refused { why }),
                Ok(other) => {
                    unknown |= matches!(other, Reply::Unknown(_));
                    describe(&other)
                }
                Err(missed) => {
                    unknown |= missed.unknown;
                    missed.why
                }
            };
            if !pauses.wait(deadline).await {
                return Err(MembershipError::given_up(unknown, why));
            }
        }
    }

    /// Asks the leader once, which may be this member.
    pub(super) async fn ask_leader(
        self: &Arc<Self>,
        request: Request,
        deadline: Instant,
    ) -> Result<Reply, Missed> {
        let node = self.node().ok_or_else(|| Missed::clean("this is no member yet"))?;
        let leader = node.leader().ok_or_else(|| Missed::clean("no leader is known"))?;
        if leader == node.member {
            return Ok(node.lead_change(request, deadline).await);
        }
        let limit = ASK_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        node.ask(leader, Channel::Membership, &request, limit).await
    }
}

async fn ask(link: &crate::transport::Link, request: &Request, deadline: Instant) -> Asked {
    let clean = |why: String| Asked::Again(Missed { unknown: false, why });
    let body = match encoded(request) {
        Ok(body) => body,
        Err(error) => return clean(error.to_string()),
    };
    let limit = ASK_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
    match link.call(body, limit).await {
        Ok(reply) => match decode(&reply) {
            Ok(reply @ (Reply::NotLeader(_) | Reply::Unavailable(_))) => clean(describe(&reply)),
            Ok(Reply::Unknown(why)) => Asked::Again(Missed { unknown: true, why }),
            Ok(reply) => Asked::Reply(reply),
            Err(error) => clean(error.to_string()),
        },
        Err(LinkError::Refused { address, why }) => clean(format!("{address} refuses: {why}")),
        Err(error) => Asked::Again(Missed { unknown: !error.is_unsent(), why: error.to_string() }),
    }
}

impl Node {
    /// Makes a change as the leader.
    pub(super) async fn lead_change(&self, request: Request, deadline: Instant) -> Reply {
        let change = async {
            match request {
                Request::Join(peer) => self.lead_join(peer).await,
                Request::Admit { member, peer } => self.lead_admit(member, peer).await,
                Request::Remove(member) => self.lead_remove(member).await,
                Request::Lead(to) => self.lead_transfer(to).await,
                Request::Append(_)
                | Request::Vote(_)
                | Request::PreVote(_)
                | Request::Transfer(_)
                | Request::SnapshotBegin { .. }
                | Request::SnapshotPart(_)
                | Request::SnapshotEnd
                | Request::Propose(_)
                | Request::ReadIndex { .. } => Err(refused("this is no change of the membership")),
            }
        };
        match timeout_at(deadline, change).await {
            Ok(Ok(reply) | Err(reply)) => reply,
            Err(_) => Reply::Unknown("the quorum did not answer".to_owned()),
        }
    }

    fn lead_metrics(&self) -> Result<RaftMetrics<Types>, Reply> {
        let metrics = self.metrics();
        match metrics.current_leader {
            Some(leader) if leader == self.member => Ok(metrics),
            leader => Err(Reply::NotLeader(leader)),
        }
    }

    /// Gives out an id: the index of an entry of its own, so that no other member ever had it.
    async fn lead_join(&self, peer: Peer) -> Result<Reply, Reply> {
        check_peer(&self.lead_metrics()?, None, &peer)?;
        let proposal =
            Proposal { request: None, author: peer.name, at: Millis::ZERO, command: Command::Mark };
        let data = prepare(proposal).map_err(|error| refused(error.to_string()))?;
        match self.raft.client_write(data).await {
            Ok(response) => {
                Ok(Reply::Joined { cluster: self.cluster, member: response.log_id.index })
            }
            Err(error) => Err(missed(&error)),
        }
    }

    async fn lead_admit(&self, member: u64, peer: Peer) -> Result<Reply, Reply> {
        let metrics = self.lead_metrics()?;
        let stored = &metrics.membership_config;
        if stored.voter_ids().any(|voter| voter == member) {
            return self.lead_describe(&metrics, member, peer).await;
        }
        check_peer(&metrics, Some(member), &peer)?;
        if metrics.last_applied.is_none_or(|applied| applied.index < member) {
            return Err(refused(format!("id {member} was never given out")));
        }
        if stored.get_node(&member).is_none() {
            let added = self.raft.add_learner(member, peer, true).await;
            added.map_err(|error| missed(&error))?;
        }
        self.reached(member).await?;
        let last = *self.lead_metrics()?.membership_config.log_id();
        let promote = ChangeMembers::AddVoterIds(BTreeSet::from([member]));
        self.commit_change(promote, true, last).await
    }

    /// Where a member's clients and leaves find it may change; where members find it and what it is
    /// called may not, lest a message reach another one in its name.
    async fn lead_describe(
        &self,
        metrics: &RaftMetrics<Types>,
        member: u64,
        peer: Peer,
    ) -> Result<Reply, Reply> {
        let stored = &metrics.membership_config;
        let Some(told) = stored.get_node(&member) else { return Ok(Reply::Done) };
        if (&told.name, &told.address) != (&peer.name, &peer.address) {
            return Err(refused(format!(
                "member {member} is {} at {}; remove it and let it join again with an empty data \
                 folder to change that",
                told.name, told.address
            )));
        }
        if *told == peer {
            return Ok(Reply::Done);
        }
        let change = ChangeMembers::SetNodes([(member, peer)].into());
        self.commit_change(change, true, *stored.log_id()).await
    }

    /// Hands the lead to whoever has most of the log, so that nobody has to notice that this
    /// leader is gone.
    pub(super) async fn resign(&self) {
        let metrics = self.metrics();
        let answering = self.answering(&metrics);
        let replication = metrics.replication.iter().flatten();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let next = replication
            .filter(|(id, _)| **id != self.member && voters.contains(id) && answering.contains(id))
            .max_by_key(|(_, matched)| **matched);
        let Some((next, _)) = next else { return };
        if self.give_lead(*next, metrics.current_term).await.is_ok() {
            let deadline = Instant::now() + RESIGN_TIMEOUT;
            self.until(deadline, |metrics| metrics.current_leader == Some(*next)).await;
        }
    }

    /// A member votes only once it has nearly everything; else the quorum would wait for it.
    async fn reached(&self, member: u64) -> Result<(), Reply> {
        let fits = |metrics: &RaftMetrics<Types>| {
            let replication = metrics.replication.as_ref();
            let matched = replication.and_then(|all| all.get(&member).copied().flatten());
            let wanted = metrics.last_log_index.unwrap_or(0).saturating_sub(LAG_MAX);
            matched.is_some_and(|matched| matched.index >= wanted)
        };
        let caught_up = self.until(Instant::now() + CATCH_UP_TIMEOUT, fits).await;
        caught_up.map(|_| ()).ok_or_else(|| {
            Reply::Unavailable("the new member cannot be reached, or lags behind".to_owned())
        })
    }

    async fn lead_remove(&self, member: u64) -> Result<Reply, Reply> {
        let metrics = self.lead_metrics()?;
        let stored = &metrics.membership_config;
        if stored.get_node(&member).is_none() {
            return Err(refused(format!("there is no member {member}")));
        }
        if stored.get_joint_config().len() > 1 {
            return Err(Reply::Unavailable("another change is under way".to_owned()));
        }
        let voters: BTreeSet<u64> = stored.voter_ids().collect();
        let gone = BTreeSet::from([member]);
        if !voters.contains(&member) {
            let change = ChangeMembers::RemoveNodes(gone);
            return self.commit_change(change, false, *stored.log_id()).await;
        }
        let remaining: BTreeSet<u64> = voters.difference(&gone).copied().collect();
        if let Some(why) = quorum_lost(&voters, &remaining, &self.answering(&metrics)) {
            return Err(refused(why));
        }
        self.commit_change(ChangeMembers::RemoveVoters(gone), false, *stored.log_id()).await
    }

    /// The members that answered this leader a moment ago, itself included.
    fn answering(&self, metrics: &RaftMetrics<Types>) -> BTreeSet<u64> {
        let heard = metrics.heartbeat.iter().flatten();
        let recent = heard.filter(|(_, at)| {
            at.as_ref().is_some_and(|at| openraft::Instant::elapsed(&**at) < ANSWERED_MAX)
        });
        recent.map(|(id, _)| *id).chain([self.member]).collect()
    }

    async fn lead_transfer(&self, to: u64) -> Result<Reply, Reply> {
        let metrics = self.metrics();
        if metrics.current_leader == Some(to) {
            return Ok(Reply::Done);
        }
        let metrics = self.lead_metrics().map(|_| metrics)?;
        if !metrics.membership_config.voter_ids().any(|voter| voter == to) {
            return Err(refused(format!("{to} is no voting member")));
        }
        if !self.answering(&metrics).contains(&to) {
            return Err(refused(format!("member {to} does not answer")));
        }
        let asked = self.give_lead(to, metrics.current_term).await;
        asked.map(|()| Reply::Done).map_err(|error| Reply::Unavailable(error.to_string()))
    }

    /// Commits a change, unless the membership has changed since `last`.
    pub(super) async fn commit_change(
        &self,
        change: ChangeMembers<u64, Peer>,
        retain: bool,
        last: Option<LogId>,
    ) -> Result<Reply, Reply> {
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: last };
        let changed = self.raft.change_membership_if(change, retain, [unchanged]);
        match timeout(ASK_TIMEOUT, changed).await {
            Ok(Ok(_)) => Ok(Reply::Done),
            Ok(Err(error)) => Err(missed(&error)),
            Err(_) => Err(Reply::Unknown("the quorum did not answer".to_owned())),
        }
    }
}

/// Entries that a new member may lack when it begins to vote.
const LAG_MAX: u64 = 1024;
/// Time for a new member to come as near as that.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for another member to take the lead from one that ends.
const RESIGN_TIMEOUT: Duration = Duration::from_millis(500);
/// Who answered longer ago counts as away.
const ANSWERED_MAX: Duration = Duration::from_secs(2);

fn refused(why: impl Into<String>) -> Reply {
    Reply::Refused(why.into())
}

fn missed(error: &RaftError<Types, ClientWriteError<Types>>) -> Reply {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Reply::NotLeader(forward.leader_id)
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) | RaftError::Fatal(_) => {
            Reply::Unknown(error.to_string())
        }
        RaftError::APIError(
            ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_),
        ) => Reply::Unavailable(error.to_string()),
    }
}

/// Names and addresses are unique, and a cluster stays small.
fn check_peer(metrics: &RaftMetrics<Types>, member: Option<u64>, peer: &Peer) -> Result<(), Reply> {
    let others = || metrics.membership_config.nodes().filter(|(id, _)| Some(**id) != member);
    if let Some((id, _)) = others().find(|(_, other)| other.name == peer.name) {
        let name = &peer.name;
        return Err(refused(format!(
            "member {id} is called {name}; remove that one first, or take another name"
        )));
    }
    if let Some((id, _)) = others().find(|(_, other)| other.address == peer.address) {
        let address = &peer.address;
        return Err(refused(format!("member {id} is at {address}; remove that one first")));
    }
    if others().count() >= MEMBERS_MAX {
        return Err(refused(format!("a cluster has at most {MEMBERS_MAX} members")));
    }
    Ok(())
}

/// Why the quorum would be lost, if it would.
fn quorum_lost(
    voters: &BTreeSet<u64>,
    remaining: &BTreeSet<u64>,
    answering: &BTreeSet<u64>,
) -> Option<String> {
    if remaining.is_empty() {
        return Some("the last voting member cannot be removed".to_owned());
    }
    let (answer, needed) = (remaining.intersection(answering).count(), remaining.len() / 2 + 1);
    if answer < needed {
        let silent: Vec<String> =
            remaining.difference(answering).map(ToString::to_string).collect();
        return Some(format!(
            "the quorum would be lost: {needed} of the {} that remain are needed and {answer} \
             answer; bring back or remove member {} first",
            remaining.len(),
            silent.join(", "),
        ));
    }
    let (answer, needed) = (voters.intersection(answering).count(), voters.len() / 2 + 1);
    (answer < needed).then(|| {
        format!("{needed} of {} members are needed for a change and {answer} answer", voters.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_that_loses_the_quorum_is_refused() {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        // Voters, who is removed, who answers, whether it is allowed.
        let table: [(&[u64], u64, &[u64], bool); 7] = [
            (&[1], 1, &[1], false),
            (&[1, 2], 2, &[1, 2], true),
            (&[1, 2], 2, &[1], false),
            (&[1, 2, 3], 3, &[1, 2, 3], true),
            (&[1, 2, 3], 3, &[1, 2], true),
            (&[1, 2, 3], 2, &[1, 2], false),
            (&[1, 2, 3, 4, 5], 5, &[1, 2, 3], true),
        ];
        for (voters, gone, answering, allowed) in table {
            let voters = set(voters);
            let remaining = voters.iter().copied().filter(|id| *id != gone).collect();
            let why = quorum_lost(&voters, &remaining, &set(answering));
            assert_eq!(why.is_none(), allowed, "{voters:?} - {gone}, {answering:?}: {why:?}");
        }
    }
}
