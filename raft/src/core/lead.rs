//! Changes of the membership at the leader: whether each is safe, and making it.

use std::{collections::BTreeSet, time::Duration};

use kraken_engine::{
    command::{Command, Proposal},
    store::Store,
    time::Millis,
};
use openraft::{
    ChangeMembers, Precondition, RaftMetrics,
    errors::{ClientWriteError, RaftError},
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Node,
    change::{ASK_TIMEOUT, MEMBERS_MAX},
    propose::prepare,
};
use crate::{
    transport::{Reply, Request},
    types::{LogId, Peer, Types},
};

impl Node {
    /// Makes a change as the leader.
    pub(super) async fn lead_change(&self, request: Request, deadline: Instant) -> Reply {
        let change = async {
            match request {
                Request::Join(peer) => self.lead_join(peer).await,
                Request::Admit { member, peer, learner } => {
                    self.lead_admit(member, peer, learner).await
                }
                Request::Describe { member, peer } => {
                    self.lead_describe(&self.lead_metrics()?, member, peer).await
                }
                Request::Promote(member) => self.lead_promote(member).await,
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
                | Request::Note(_)
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
        self.check_level(&peer)?;
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

    /// Who does not know what is in use cannot follow.
    fn check_level(&self, peer: &Peer) -> Result<(), Reply> {
        let held = self.shared.with(Store::level).unwrap_or_default();
        if peer.level >= held {
            return Ok(());
        }
        let known = peer.level;
        Err(refused(format!(
            "feature level {held} is in use and its release knows {known}; start a newer one there"
        )))
    }

    async fn lead_admit(&self, member: u64, peer: Peer, learner: bool) -> Result<Reply, Reply> {
        let metrics = self.lead_metrics()?;
        let stored = &metrics.membership_config;
        let (is_known, is_voter) =
            (stored.get_node(&member).is_some(), stored.voter_ids().any(|voter| voter == member));
        if is_voter || (is_known && learner) {
            return self.lead_describe(&metrics, member, peer).await;
        }
        check_peer(&metrics, Some(member), &peer)?;
        self.check_level(&peer)?;
        given_out(&metrics, member)?;
        if !is_known {
            let added = self.raft.add_learner(member, peer, true).await;
            added.map_err(|error| missed(&error))?;
        }
        if learner {
            return Ok(Reply::Done);
        }
        self.let_vote(member).await
    }

    async fn lead_promote(&self, member: u64) -> Result<Reply, Reply> {
        let metrics = self.lead_metrics()?;
        let stored = &metrics.membership_config;
        if stored.voter_ids().any(|voter| voter == member) {
            return Ok(Reply::Done);
        }
        if stored.get_node(&member).is_none() {
            return Err(refused(format!("there is no member {member}; it has to join first")));
        }
        self.let_vote(member).await
    }

    /// Lets a member vote, once it has what it would be asked about.
    async fn let_vote(&self, member: u64) -> Result<Reply, Reply> {
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
        let Some(told) = stored.get_node(&member) else {
            return Err(refused(format!("there is no member {member} any more: it was removed")));
        };
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
            // Who asks again after a lost answer finds it gone, as was asked for.
            return given_out(&metrics, member).map(|()| Reply::Done);
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
    pub(super) fn answering(&self, metrics: &RaftMetrics<Types>) -> BTreeSet<u64> {
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

    /// Commits a change, unless the membership has changed since `last`. It takes two steps and
    /// goes on when whoever asked does not wait any more.
    pub(super) async fn commit_change(
        &self,
        change: ChangeMembers<u64, Peer>,
        retain: bool,
        last: Option<LogId>,
    ) -> Result<Reply, Reply> {
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: last };
        let (raft, under_way) = (self.raft.clone(), self.changes.begin());
        let changed = tokio::spawn(async move {
            let changed = raft.change_membership_if(change, retain, [unchanged]).await;
            drop(under_way);
            changed
        });
        match timeout(ASK_TIMEOUT, changed).await {
            Ok(Ok(Ok(made))) => {
                // The answer comes by another way than what is told of the members.
                let shows = |now: &RaftMetrics<Types>| {
                    now.membership_config.log_id().is_some_and(|at| at.index >= made.log_id.index)
                };
                self.until(Instant::now() + SHOWN_TIMEOUT, shows).await;
                Ok(Reply::Done)
            }
            Ok(Ok(Err(error))) => Err(missed(&error)),
            Ok(Err(_)) => Err(Reply::Unknown("this member ends".to_owned())),
            Err(_) => Err(Reply::Unknown("the quorum did not answer".to_owned())),
        }
    }
}

/// Entries that a new member may lack when it begins to vote.
const LAG_MAX: u64 = 1024;
/// Time for a new member to come as near as that.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for a change that was made to be told of here.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for another member to take the lead from one that ends.
const RESIGN_TIMEOUT: Duration = Duration::from_millis(500);
/// Who answered longer ago counts as away.
pub(super) const ANSWERED_MAX: Duration = Duration::from_secs(2);

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

/// Whether an id was given out: it is the index of an entry, which whoever leads has.
fn given_out(metrics: &RaftMetrics<Types>, member: u64) -> Result<(), Reply> {
    if metrics.last_log_index.is_none_or(|last| last < member) {
        return Err(refused(format!("id {member} was never given out")));
    }
    if metrics.last_applied.is_none_or(|applied| applied.index < member) {
        return Err(Reply::Unavailable("the leader has just begun".to_owned()));
    }
    Ok(())
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
