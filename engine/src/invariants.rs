//! What must hold of the whole system, each a predicate over a recorded trace.
//!
//! A trace is what an observer who sees everything writes down: the simulated world does, and tests
//! may. The predicates know nothing of how it came about.
//!
//! | # | invariant | predicate |
//! |---|---|---|
//! | 1 | an acknowledged write is never lost, reads never go back | [`acknowledged_writes_stay`] |
//! | 2 | nothing is dispatched whose requirements do not hold | [`dispatches_are_justified`] |
//! | 3 | one attempt an object, lane, leader; one that disrupts | [`attempts_run_one_at_a_time`] |
//! | 4 | a frozen object is left alone | [`frozen_objects_are_left_alone`] |
//! | 5 | the same question has the same plan | [`plans_are_the_same_everywhere`] |
//! | 6 | replicas that have seen the same are equal | [`replicas_agree`] |
//! | 7 | Cfg at a leaf is of some revision, and never goes back | [`leaves_hold_their_cfg`] |
//! | 8 | every queue has a bound | [`queues_hold_their_bounds`] |
//! | 9 | every object ends somewhere, with a reason | [`objects_settle`] |
//! | 10 | a peer speaks only for what is its own | [`peers_speak_for_their_own`] |
//! | | no more is disrupted at a time than policies allow | [`policies_hold`] |
//! | | what must never run twice has one tenant at a time | [`singletons_have_one_tenant`] |
//!
//! Stated elsewhere: that a host checks requirements again at start, of 2, where hosts are; that a
//! writer is told at the bound, of 8, by the tests of each bound; consensus itself, on which 1
//! rests, by the tests of the quorum.

mod attempts;
mod dispatches;
mod ends;
mod freezes;
#[cfg(test)]
mod kit;
mod leaves;
mod peers;
mod plans;
mod policies;
mod queues;
mod replicas;
mod singletons;
mod writes;

pub use self::{
    attempts::attempts_run_one_at_a_time,
    dispatches::dispatches_are_justified,
    ends::objects_settle,
    freezes::frozen_objects_are_left_alone,
    leaves::leaves_hold_their_cfg,
    peers::peers_speak_for_their_own,
    plans::plans_are_the_same_everywhere,
    policies::{policies_hold, used},
    queues::queues_hold_their_bounds,
    replicas::replicas_agree,
    singletons::singletons_have_one_tenant,
    writes::acknowledged_writes_stay,
};

use crate::{
    id::{AttemptId, Name, Revision, Uid},
    mutation::Lane,
    status::Status,
    time::Millis,
};

/// What was recorded, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace(Vec<Entry>);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, by the observer's clock.
    pub at: Millis,
    /// The node at which it happened.
    pub node: Name,
    /// What it was.
    pub what: What,
}

/// What may be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A write of Cfg was acknowledged to its author.
    Acknowledged(Revision),
    /// Cfg was read, linearizably, as of this revision.
    Read(Revision),
    /// A write made the Cfg of a node this.
    Written {
        /// The revision of the write.
        revision: Revision,
        /// Whose Cfg it is.
        of: Name,
        /// A digest of it; `None`: it was removed.
        digest: Option<u64>,
    },
    /// A member has applied so much of the log.
    Applied {
        /// How many entries.
        entries: u64,
        /// A digest of what it holds.
        digest: u64,
    },
    /// The node at which this happened holds its own Cfg as of a revision.
    Holds {
        /// The revision.
        revision: Revision,
        /// A digest of what it holds; `None`: nothing.
        digest: Option<u64>,
    },
    /// A question was answered with a plan.
    Planned {
        /// A digest of everything that was asked.
        question: u64,
        /// A digest of the answer.
        plan: u64,
    },
    /// A decider dispatched an attempt.
    Dispatched(Dispatched),
    /// A decider presumed something of an object.
    Presumed {
        /// The object.
        uid: Uid,
        /// Whether it was frozen in the Cfg that the decider holds.
        frozen: bool,
    },
    /// A host started an attempt.
    Started {
        /// The attempt.
        attempt: AttemptId,
        /// The object.
        uid: Uid,
        /// The lane that decided it.
        lane: Lane,
        /// The term or the life in which its decider decided it.
        reign: u64,
        /// Whether it interrupts what runs on the object.
        disruptive: bool,
        /// When its host ends it at the latest: it does nothing from then on.
        until: Millis,
    },
    /// An attempt changed something.
    Acted(AttemptId),
    /// An attempt does not run any more: it ended, or its host did.
    Ended(AttemptId),
    /// The decider of an attempt was told that no way leads to it any more: it may run on where it
    /// is, and what repeats no harm may be tried elsewhere.
    Lost(AttemptId),
    /// A node has something done for an object that must never run twice, and that it may go on
    /// with as far as it knows.
    Tenant {
        /// The object.
        uid: Uid,
        /// Who else may go on with it as far as they know, or is bringing it about.
        others: Vec<Name>,
    },
    /// An intent was opened: so much is in use under a policy now.
    Used {
        /// The policy.
        policy: Name,
        /// What of it.
        what: &'static str,
        /// How much is in use.
        used: u32,
        /// How much may be.
        most: u32,
    },
    /// A session merged what a peer said.
    Merged {
        /// The peer.
        peer: Name,
        /// The object that it spoke of.
        uid: Uid,
        /// Whether that is the peer's own, and so is the name that it spoke in.
        own: bool,
    },
    /// A queue held so much.
    Queued {
        /// Which queue.
        queue: &'static str,
        /// What was in it.
        held: usize,
        /// What may be.
        most: usize,
    },
    /// Nothing is on its way: what this node knows of an object that a writer wrote.
    Replica {
        /// The object.
        uid: Uid,
        /// Who wrote it.
        writer: Name,
        /// A digest of it.
        digest: u64,
    },
    /// Faults have stopped long ago: this is where an object stands; `None`: nobody knows.
    Settled {
        /// The object.
        uid: Uid,
        /// What its deciders say.
        status: Option<Status>,
        /// Whether it really is as its Cfg asks.
        reached: bool,
    },
}

/// An attempt as it was dispatched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatched {
    /// The attempt.
    pub attempt: AttemptId,
    /// The object.
    pub uid: Uid,
    /// What does not hold of what it requires, in the Dsc that was decided from.
    pub unmet: Option<String>,
    /// Whether the object was frozen in the Cfg that the decider holds.
    pub frozen: bool,
    /// Whether it interrupts what runs on the object.
    pub disruptive: bool,
    /// Whether its intent is committed and open.
    pub intended: bool,
}

/// An invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is broken at {at} on {node}: {why}")]
pub struct Violation {
    /// The predicate's name.
    pub invariant: &'static str,
    /// When.
    pub at: Millis,
    /// Where.
    pub node: Name,
    /// How.
    pub why: String,
}

impl Trace {
    /// A trace of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes something down.
    pub fn record(&mut self, at: Millis, node: Name, what: What) {
        self.0.push(Entry { at, node, what });
    }

    /// Everything that was written down, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The first violation of any invariant.
    pub fn check(&self) -> Result<(), Violation> {
        let checks: [(&'static str, Check); 12] = [
            ("acknowledged_writes_stay", acknowledged_writes_stay),
            ("dispatches_are_justified", dispatches_are_justified),
            ("attempts_run_one_at_a_time", attempts_run_one_at_a_time),
            ("frozen_objects_are_left_alone", frozen_objects_are_left_alone),
            ("plans_are_the_same_everywhere", plans_are_the_same_everywhere),
            ("replicas_agree", replicas_agree),
            ("leaves_hold_their_cfg", leaves_hold_their_cfg),
            ("queues_hold_their_bounds", queues_hold_their_bounds),
            ("objects_settle", objects_settle),
            ("peers_speak_for_their_own", peers_speak_for_their_own),
            ("policies_hold", policies_hold),
            ("singletons_have_one_tenant", singletons_have_one_tenant),
        ];
        for (invariant, check) in checks {
            check(self).map_err(|Broken(entry, why)| Violation {
                invariant,
                at: entry.at,
                node: entry.node.clone(),
                why,
            })?;
        }
        Ok(())
    }
}

type Check = fn(&Trace) -> Result<(), Broken<'_>>;

/// The entry at which an invariant broke, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken<'a>(pub &'a Entry, pub String);
