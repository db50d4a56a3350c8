//! Orders at the two ends of a session, and the lease that a session is for its child.
//!
//! | lower end | input | what becomes of it |
//! |---|---|---|
//! | attached, lease holds | Dispatch to itself | Carry, open until its last answer |
//! | attached, lease holds | Dispatch to another | Carry: handed on |
//! | attached, lease over | Dispatch | answered Declined |
//! | attached, as many open as may be | Dispatch to itself | answered Busy |
//! | attached | Dispatch of what was refused before | the same answer: it never starts |
//! | attached, lease over | Dispatch of what was taken before | Carry: it does not start any more |
//! | attached, lease over | Dispatch of what was handed on before | |
//! | attached | Cancel, Look | Recall, LookAt |
//! | attached | an answer | Answers |
//! | not attached | an answer | kept, sent with the next session |
//! | Welcome | | what was not surely received again, then Holds |
//!
//! | upper end | input | what becomes of it |
//! |---|---|---|
//! | attached, the child takes orders | `dispatch` | Dispatch, open until the last answer |
//! | attached, its heartbeats are far apart, none is young | `dispatch`, `ask` | kept: Ping |
//! | attached, orders are kept | Heartbeat, Beat | Dispatch behind the echo |
//! | attached, kept too long or called back | `tick`, `recall` | Declined, if no copy went |
//! | not attached, full, or silent at a heartbeat a second | `dispatch` | refused |
//! | attached | Answers, Holds of the child's own node, or of a member | Answered, Holding |
//! | attached | those of another node | Alarm |
//! | over | | its open orders are lost once no lease can hold any more |
//!
//! A child starts what it was handed only while a heartbeat that it sent at most [`LEASE_MS`] ago
//! was answered; an answer shares one ordered stream with orders. So what was handed to a session
//! that is silent for [`DEAD_AFTER_MS`] never starts. What a node on the way keeps comes later by
//! [`KEEP_MS`] at the most, and only the last one on a way keeps: leaves alone are heard of seldom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    ANSWERS_FRAME_MAX, ANSWERS_PENDING_MAX, DEAD_AFTER_MS, KEEP_MS, LEASE_MS, ORDERS_OPEN_MAX,
};
use crate::{
    catalog::Catalog,
    id::{AttemptId, Name, Uid},
    order::{Answer, Order, Said, latest::Latest},
    path::Path,
    time::Millis,
};

/// How long past its time an order still counts as in hand where its answer went another way, in
/// milliseconds.
const OPEN_GRACE_MS: u64 = 10_000;
/// How often a child looks for orders that are over for sure, at most, in milliseconds.
const SWEEP_MS: u64 = 1_000;
/// Orders that have ended and of whose paths the child may still speak, the latest.
const GRANTS_KEPT_MAX: usize = 64;

/// Orders that this end has refused, or handed on, and still knows, the latest: whoever decided one
/// sends it again for seconds at most.
pub const ORDERS_REFUSED_MAX: usize = 4_096;

/// The lower end's orders.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// When the latest heartbeat that was answered in this session was sent.
    answered: Option<Millis>,
    /// What this node itself has in hand, and until when at the longest: an answer may have gone
    /// another way.
    open: BTreeMap<AttemptId, Millis>,
    /// When it was looked last for what is over.
    swept: Millis,
    pending: VecDeque<Answer>,
    /// What was sent, and when; a heartbeat that was sent later and is answered says that it came.
    sent: VecDeque<(Millis, Answer)>,
    dropped: u64,
    /// What was refused: its decider has gone on.
    refused: Latest<Said, ORDERS_REFUSED_MAX>,
    /// What was handed on to another node.
    handed: Latest<(), ORDERS_REFUSED_MAX>,
}

/// What becomes of an order at the lower end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Take {
    /// It is carried out, or handed on; it may be started until this moment.
    Carried(Millis),
    /// It is not, and this is to be answered.
    Refused(Said),
    /// It is another copy of what was handed on, and comes too late for that.
    Ignored,
}

impl Taken {
    /// A session is greeted: it is no lease yet.
    pub(super) fn begin(&mut self) {
        self.answered = None;
        for (_, answer) in std::mem::take(&mut self.sent).into_iter().rev() {
            self.pending.push_front(answer);
        }
        self.cut();
    }

    /// The parent has answered what this end sent at a moment.
    pub(super) fn answered(&mut self, sent: Millis, now: Millis) {
        let sent = sent.min(now);
        self.answered = self.answered.max(Some(sent));
        while self.sent.front().is_some_and(|(at, _)| *at < sent) {
            self.sent.pop_front();
        }
    }

    /// When the latest heartbeat, or Hello, was sent that was answered in this session.
    pub(super) fn last_answered(&self) -> Option<Millis> {
        self.answered
    }

    /// Until when this end may start what it is handed.
    pub(super) fn lease_until(&self) -> Option<Millis> {
        self.answered.map(|answered| answered.after_ms(LEASE_MS))
    }

    /// Takes an order.
    pub(super) fn take(&mut self, order: &Order, me: &Name, now: Millis) -> Take {
        let attempt = &order.attempt;
        if let Some(said) = self.refused.get(attempt) {
            return Take::Refused(said.clone());
        }
        let lease = self.answered.map(|at| at.after_ms(LEASE_MS.min(order.wait_ms)));
        let start_by = lease.filter(|until| now <= *until);
        self.sweep(now);
        let said = match start_by {
            Some(_) if order.to != *me || self.has_room(attempt) => None,
            Some(_) => Some(Said::Busy(format!("{ORDERS_OPEN_MAX} orders are in hand"))),
            // The first copy may have started: what has become of it is said by who has it.
            None if self.open.contains_key(attempt) => return Take::Carried(Millis::ZERO),
            None if self.handed.get(attempt).is_some() => return Take::Ignored,
            None => Some(Said::Declined("the lease of its session is over".to_owned())),
        };
        if let Some(said) = said {
            self.refused.put(attempt.clone(), said.clone());
            return Take::Refused(said);
        }
        if order.to == *me {
            let until = now.after_ms(order.timeout_ms).after_ms(OPEN_GRACE_MS);
            self.open.insert(attempt.clone(), until);
        } else {
            self.handed.put(attempt.clone(), ());
        }
        Take::Carried(start_by.unwrap_or_default())
    }

    /// Forgets what is over for sure, now and then: each time would be a walk through all of it for
    /// every order.
    fn sweep(&mut self, now: Millis) {
        if now >= self.swept.after_ms(SWEEP_MS) || now < self.swept {
            self.swept = now;
            self.open.retain(|_, until| now < *until);
        }
    }

    fn has_room(&self, attempt: &AttemptId) -> bool {
        self.open.len() < ORDERS_OPEN_MAX || self.open.contains_key(attempt)
    }

    /// What this node has in hand.
    pub(super) fn open(&self) -> Vec<AttemptId> {
        self.open.keys().cloned().collect()
    }

    pub(super) fn answer(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            if answer.said.is_last() {
                self.open.remove(&answer.attempt);
            }
            self.pending.push_back(answer);
        }
        self.cut();
    }

    fn cut(&mut self) {
        while self.pending.len() + self.sent.len() > ANSWERS_PENDING_MAX {
            // What was sent has come, most likely.
            if self.sent.pop_front().is_none() {
                self.pending.pop_front();
                self.dropped = self.dropped.saturating_add(1);
            }
        }
    }

    /// The next answers to be sent.
    pub(super) fn next(&mut self, now: Millis) -> Option<Vec<Answer>> {
        let count = self.pending.len().min(ANSWERS_FRAME_MAX);
        let answers: Vec<Answer> = self.pending.drain(..count).collect();
        self.sent.extend(answers.iter().map(|answer| (now, answer.clone())));
        (!answers.is_empty()).then_some(answers)
    }

    /// How many answers could not be kept.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The upper end's orders.
#[derive(Debug, Default)]
pub(super) struct Given {
    open: BTreeMap<AttemptId, Grant>,
    /// The open ones of each object.
    by_object: BTreeMap<Uid, BTreeSet<AttemptId>>,
    closed: VecDeque<Grant>,
}

/// What an order lets the child speak of.
#[derive(Debug)]
struct Grant {
    to: Name,
    uid: Uid,
    paths: Vec<Path>,
    /// Whether a copy went to the child.
    sent: bool,
}

impl Given {
    /// Whether another order may be given.
    pub(super) fn has_room(&self, attempt: &AttemptId) -> bool {
        self.open.len() < ORDERS_OPEN_MAX || self.open.contains_key(attempt)
    }

    pub(super) fn give(&mut self, order: &Order, catalog: &Catalog) {
        let (to, uid) = (order.to.clone(), order.object.uid);
        let sent = self.is_sent(&order.attempt);
        let grant = Grant { to, uid, paths: order.changes(catalog), sent };
        self.by_object.entry(uid).or_default().insert(order.attempt.clone());
        self.open.insert(order.attempt.clone(), grant);
    }

    /// A copy of it goes to the child.
    pub(super) fn send(&mut self, attempt: &AttemptId) {
        if let Some(grant) = self.open.get_mut(attempt) {
            grant.sent = true;
        }
    }

    /// Whether a copy of one that is open went to the child, who says what becomes of it.
    pub(super) fn is_sent(&self, attempt: &AttemptId) -> bool {
        self.open.get(attempt).is_some_and(|grant| grant.sent)
    }

    pub(super) fn answered(&mut self, answer: &Answer) {
        if answer.said.is_last()
            && let Some(grant) = self.open.remove(&answer.attempt)
        {
            if let Some(of_object) = self.by_object.get_mut(&grant.uid) {
                of_object.remove(&answer.attempt);
                if of_object.is_empty() {
                    self.by_object.remove(&grant.uid);
                }
            }
            self.closed.push_back(grant);
            if self.closed.len() > GRANTS_KEPT_MAX {
                self.closed.pop_front();
            }
        }
    }

    /// The nodes that are to carry out what is open.
    pub(super) fn nodes(&self) -> BTreeSet<Name> {
        self.open.values().map(|grant| grant.to.clone()).collect()
    }

    /// Whether an order lets a child speak of a path of an object.
    pub(super) fn grants(&self, node: &Name, uid: Uid, path: &Path) -> bool {
        let open = self.by_object.get(&uid).into_iter().flatten();
        let mut grants = open.filter_map(|of| self.open.get(of)).chain(&self.closed);
        grants.any(|g| g.to == *node && g.uid == uid && g.paths.contains(path))
    }
}

/// When an order that was taken goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// It is to be sent now.
    Now,
    /// The session sends it, once the child's lease is sure to hold.
    AfterHeartbeat,
}

/// Orders that wait for a heartbeat of a child whose heartbeats are far apart. They count as given.
#[derive(Debug, Default)]
pub(super) struct Kept {
    orders: BTreeMap<AttemptId, (Order, Millis)>,
    /// Whether a heartbeat was asked for on account of them.
    asked: bool,
}

impl Kept {
    pub(super) fn keep(&mut self, order: Order, now: Millis) {
        let until = now.after_ms(KEEP_MS.min(order.wait_ms));
        self.orders.entry(order.attempt.clone()).or_insert((order, until));
    }

    /// Whether a heartbeat is to be asked for.
    pub(super) fn ask(&mut self) -> bool {
        !self.orders.is_empty() && !std::mem::replace(&mut self.asked, true)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// All that have not waited too long.
    pub(super) fn take(&mut self, now: Millis) -> Vec<Order> {
        let taken = self.orders.extract_if(.., |_, (_, until)| now <= *until);
        let taken = taken.map(|(_, (order, _))| order).collect();
        self.asked = false;
        taken
    }

    /// Those that have waited too long.
    pub(super) fn overdue(&mut self, now: Millis) -> Vec<Order> {
        let overdue = self.orders.extract_if(.., |_, (_, until)| now > *until);
        let overdue = overdue.map(|(_, (order, _))| order).collect();
        self.asked &= !self.orders.is_empty();
        overdue
    }

    /// The one of an attempt.
    pub(super) fn withdraw(&mut self, attempt: &AttemptId) -> Option<Order> {
        self.orders.remove(attempt).map(|(order, _)| order)
    }
}

/// An order of a session that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The node that was to carry it out.
    pub node: Name,
    /// The attempt.
    pub attempt: AttemptId,
    /// When it certainly is not started any more, unless it was before.
    pub lost_at: Millis,
}

impl From<Orphan> for Answer {
    fn from(orphan: Orphan) -> Self {
        let Orphan { node, attempt, .. } = orphan;
        Self { node, attempt, said: Said::Lost }
    }
}

impl Given {
    /// What is open, once the session is over that was last heard at a moment.
    /// `hops_ms`: how much later the sessions on the way from the child to a node are over.
    pub(super) fn orphans(&mut self, heard: Millis, hops_ms: impl Fn(&Name) -> u64) -> Vec<Orphan> {
        let orphan = |(attempt, grant): (AttemptId, Grant)| {
            let lost_at = heard.after_ms(DEAD_AFTER_MS + hops_ms(&grant.to));
            Orphan { node: grant.to, attempt, lost_at }
        };
        self.by_object.clear();
        std::mem::take(&mut self.open).into_iter().map(orphan).collect()
    }
}
