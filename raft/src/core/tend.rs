//! What is done on the side as long as this is a member: who leads is told, snapshots are taken,
//! the log is purged behind them, and what a lost leader left half-done is finished.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use kraken_engine::{
    command::{Command, Proposal},
    id::{MemberId, Term},
    store::Store,
    time::Millis,
};
use openraft::{
    ChangeMembers, RaftMetrics, ServerState, async_runtime::watch::WatchReceiver, errors::Fatal,
};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Core, Node, lead::ANSWERED_MAX, propose::prepare};
use crate::{fatal::FatalError, options::Limits, status::Leadership, types::Types};

/// Between looks at the lease and at the size of the log.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long nothing may be heard of a leader, or by it, that is told as one.
const SILENT_MAX: Duration = Duration::from_secs(3);

/// Who does not answer this leader.
#[derive(Default)]
struct Silence {
    /// Before some time of that nobody can have been missed.
    leads_since: Option<Instant>,
    of: BTreeSet<u64>,
}

impl Core {
    /// Begins to tend a member, until it ends.
    pub(super) fn tend(self: &Arc<Self>, node: &Arc<Node>) {
        let (core, tended) = (Arc::clone(self), Arc::clone(node));
        let ended = self.ended.clone();
        tokio::spawn(async move { ended.run_until_cancelled(core.tend_leadership(&tended)).await });
        let (core, tended) = (Arc::clone(self), Arc::clone(node));
        let ended = self.ended.clone();
        tokio::spawn(async move { ended.run_until_cancelled(core.tend_log(&tended)).await });
        let (core, tended) = (Arc::clone(self), Arc::clone(node));
        let ended = self.ended.clone();
        tokio::spawn(async move { ended.run_until_cancelled(core.tend_notes(&tended)).await });
    }

    async fn tend_leadership(&self, node: &Node) {
        // Says who leads and no more; what else is needed is looked at when the time comes.
        let mut server = node.raft.server_metrics();
        let mut applied = self.shared.watch();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            server.borrow_and_update();
            applied.borrow_and_update();
            let now = node.metrics();
            if now.running_state.is_err() {
                return self.core_is_gone(&now);
            }
            let mut leadership = Leadership::default();
            self.leadership.send_if_modified(|told| {
                // Looked at under the lock: what gives the lead away takes back `ready` under it.
                leadership = self.leadership_of(node, &now);
                std::mem::replace(told, leadership) != leadership
            });
            tokio::select! {
                changed = server.changed() => if changed.is_err() {
                    return self.core_is_gone(&node.metrics());
                },
                _ = applied.changed(), if leadership.is_me && !leadership.ready => {}
                _ = look.tick() => {}
            }
        }
    }

    /// openraft's core has ended. Unless it was told to, the process must end too.
    fn core_is_gone(&self, last: &RaftMetrics<Types>) {
        self.leadership.send_replace(Leadership::default());
        if !self.ended.is_cancelled() {
            let why = last.running_state.as_ref().err().map(ToString::to_string);
            let why = why.unwrap_or_else(|| "it did not say why".to_owned());
            self.fatal.raise(FatalError::Consensus { why });
        }
    }

    fn leadership_of(&self, node: &Node, metrics: &RaftMetrics<Types>) -> Leadership {
        let is_me = metrics.state == ServerState::Leader;
        let in_term = || {
            let applied = self.shared.applied();
            applied.is_some_and(|id| *id.leader_id == metrics.current_term)
        };
        Leadership {
            leader: node.standing_leader(metrics).map(MemberId::new),
            is_me,
            term: Term::new(metrics.current_term),
            ready: is_me && node.may_lead(metrics) && in_term() && node.holds_lease(metrics),
        }
    }

    async fn tend_log(&self, node: &Node) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut purged_behind, mut silence) = (None, Silence::default());
        loop {
            look.tick().await;
            let metrics = node.metrics();
            node.tell_silence(&mut silence, &metrics);
            if self.is_snapshot_due(node)
                && let Err(error) = node.raft.trigger().snapshot().await
            {
                tracing::warn!(%error, "no snapshot could be asked for");
            }
            let snapshot = metrics.snapshot.map(|id| id.index);
            if snapshot.is_some() && snapshot != purged_behind {
                purged_behind = snapshot;
                node.purge(&self.options.limits, snapshot).await;
            }
            let members: BTreeSet<u64> =
                metrics.membership_config.nodes().map(|(id, _)| *id).collect();
            node.links.retain(|member| members.contains(&member));
            if metrics.state == ServerState::Leader {
                node.finish_change(&metrics).await;
                node.raise_level(&metrics).await;
            }
        }
    }

    fn is_snapshot_due(&self, node: &Node) -> bool {
        let limits = &self.options.limits;
        let (entries, bytes) = self.shared.growth.get();
        let last = || node.snapshots.current().map_or(0, |(_, image)| image.bytes);
        if bytes >= limits.snapshot_bytes && bytes >= last() {
            return true;
        }
        let objects = || self.shared.with(|store| store.objects().count() as u64).unwrap_or(0);
        entries >= limits.snapshot_entries && entries >= objects()
    }
}

/// When something was heard of a leader last.
#[derive(Default)]
pub(super) struct Heard(Mutex<Option<Instant>>);

impl Heard {
    /// Now.
    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago; `None`: never.
    fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }
}

impl Node {
    /// The leader, as long as there are signs of it: of another one its words, of this one a
    /// majority that follows it. openraft names the last one until there is another.
    pub(super) fn standing_leader(&self, metrics: &RaftMetrics<Types>) -> Option<u64> {
        let leader = metrics.current_leader?;
        let age = if metrics.state == ServerState::Leader {
            self.majority_age(metrics)
        } else {
            self.heard.age()
        };
        age.is_some_and(|age| age <= SILENT_MAX).then_some(leader)
    }

    /// How long ago what a majority has answered was sent; none yet: `None`. Who votes alone needs
    /// no answer.
    pub(super) fn majority_age(&self, metrics: &RaftMetrics<Types>) -> Option<Duration> {
        if metrics.membership_config.voter_ids().eq([self.member]) {
            return Some(Duration::ZERO);
        }
        metrics.last_quorum_acked.as_ref().map(|acked| openraft::Instant::elapsed(&**acked))
    }

    fn holds_lease(&self, metrics: &RaftMetrics<Types>) -> bool {
        self.majority_age(metrics).is_some_and(|age| age < self.lease)
    }

    /// A leader that gave the lead away, or is no longer a voter, leads for others' sake only.
    pub(super) fn may_lead(&self, metrics: &RaftMetrics<Types>) -> bool {
        let resigned = self.resigned.load(Ordering::SeqCst);
        let mut voters = metrics.membership_config.voter_ids();
        resigned != metrics.current_term && voters.any(|voter| voter == self.member)
    }

    /// Gives the lead away. From before the first word of it is sent, this member decides nothing:
    /// its lease does not hold against a successor that it named itself.
    pub(super) async fn give_lead(&self, to: u64, term: u64) -> Result<(), Fatal<Types>> {
        self.resigned.store(term, Ordering::SeqCst);
        self.leadership.send_modify(|leadership| leadership.ready = false);
        self.raft.trigger().transfer_leader(to).await
    }

    async fn purge(&self, limits: &Limits, snapshot: Option<u64>) {
        let upto = self.log.purge_target(snapshot, limits.keep_entries, limits.keep_bytes);
        if let Some(upto) = upto
            && let Err(error) = self.raft.trigger().purge_log(upto).await
        {
            tracing::warn!(%error, "the log could not be purged");
        }
    }

    /// Says, as the leader, who does not answer, and who does again.
    fn tell_silence(&self, silence: &mut Silence, metrics: &RaftMetrics<Types>) {
        if metrics.state != ServerState::Leader {
            *silence = Silence::default();
            return;
        }
        if silence.leads_since.get_or_insert_with(Instant::now).elapsed() < ANSWERED_MAX {
            return;
        }
        let silent = &mut silence.of;
        let answering = self.answering(metrics);
        for (id, peer) in metrics.membership_config.nodes() {
            let name = &peer.name;
            if answering.contains(id) {
                if silent.remove(id) {
                    tracing::info!(member = id, "{name} answers again");
                }
            } else if silent.insert(*id) {
                tracing::warn!(member = id, address = peer.address, "{name} does not answer");
            }
        }
    }

    /// The feature level is what every member knows, learners too.
    async fn raise_level(&self, metrics: &RaftMetrics<Types>) {
        let known = metrics.membership_config.nodes().map(|(_, peer)| peer.level).min();
        let held = self.shared.with(Store::level);
        let (Some(level), Some(held)) = (known, held) else { return };
        if level <= held {
            return;
        }
        let author = self.address(self.member).unwrap_or_default();
        let command = Command::Raise { level };
        let proposal = Proposal { request: None, author, at: Millis::ZERO, command };
        let Ok(data) = prepare(proposal) else { return };
        // Where it is not written it is looked at again.
        if let Ok(Ok(_)) = timeout(LOOK_EVERY * 10, self.raft.client_write(data)).await {
            tracing::info!(level, "every member knows a higher feature level: it is in use");
        }
    }

    /// A joint membership has two quorums; one on which nobody here is at work is made simple
    /// again: the leader that began it is gone, or its second step failed.
    async fn finish_change(&self, metrics: &RaftMetrics<Types>) {
        let stored = &metrics.membership_config;
        let settled = metrics.committed_membership_config.log_id() == stored.log_id();
        if stored.get_joint_config().len() < 2 || !settled || self.changes.any() {
            return;
        }
        let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
        match self.commit_change(nothing, false, *stored.log_id()).await {
            Ok(_) => tracing::info!("finished a change of the membership that was left half-done"),
            Err(reply) => tracing::warn!(?reply, "a change of the membership stays half-done"),
        }
    }
}
