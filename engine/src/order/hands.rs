//! What a node has in hand of orders, and what was said last of those that it knew: so that no
//! attempt starts twice, and none that was refused starts after all.
//!
//! | an order comes | said |
//! |---|---|
//! | its attempt is in hand | Acknowledged, again |
//! | its attempt is in hand, and its host did not say whether it took it | nothing: ask it again |
//! | its last answer was given here, or has passed here | the same again |
//! | another copy was handed on, and this one cannot be | nothing at all: that one may run |
//! | its term is older than one that was seen | Declined |
//! | it is for this node, and another attempt on its object is in hand | Busy |
//! | else | nothing yet |
//!
//! | a child says of what was handed to it | passed on |
//! |---|---|
//! | what became of the attempt itself | yes |
//! | that this copy does not start: Busy, Declined, Lost; and no other was handed on | yes |
//! | the same, and another copy went another way | no: that one may run |
//!
//! | the session is over to which it was handed | said |
//! |---|---|
//! | the child is attached here again | nothing: it was asked for what it has |
//! | another copy went another way | nothing: that one may run |
//! | else, once no copy of it can start any more | Lost |
//!
//! | one who leads asks what became of an attempt | said |
//! |---|---|
//! | it is in hand here | nothing: its end is told |
//! | its end is known | the same again |
//! | else | Abandoned, once its host is sure that it does not run; from now on it never starts |

use std::collections::BTreeMap;

use super::{Answer, Order, Said, latest::Latest};
use crate::{
    id::{AttemptId, Name, Term, Uid},
    sync::orders::Orphan,
    time::Millis,
};

/// Orders of which the last answer is remembered, and that they were handed on. Whoever decided an
/// order sends it again for a few seconds at most, and its time to start is over as soon.
pub const ANSWERED_MAX: usize = 65_536;
/// How long past its time an attempt is believed to be in hand, whatever its module does, in
/// milliseconds.
const GRACE_MS: u64 = 10_000;

/// Ways by which copies of one order may be underway; past that it is not handed on again.
pub const WAYS_MAX: usize = 16;

/// A session by which orders go down to a child: no two of a node have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way(pub u64);

/// The orders that a node carries out or has heard the end of.
#[derive(Debug, Default)]
pub struct Hands {
    held: BTreeMap<AttemptId, Carried>,
    /// The attempt in hand of an object.
    by_object: BTreeMap<Uid, AttemptId>,
    answered: Latest<Said, ANSWERED_MAX>,
    /// The ways by which copies went on from here that may still start, and how many by each.
    handed: Latest<BTreeMap<Way, u32>, ANSWERED_MAX>,
    /// The latest term that was seen.
    fence: Term,
}

/// What is to be done with an order that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Screened {
    /// Nothing stands against it.
    Goes,
    /// This is to be answered, and no more.
    Said(Said),
    /// Nothing is to be done or said: what has become of another copy is said by who has it.
    Ignored,
}

#[derive(Debug)]
struct Carried {
    uid: Uid,
    until: Millis,
    /// Whether the host may not have it.
    unsure: bool,
}

impl Hands {
    /// The object of an attempt that is in hand.
    pub fn object_of(&self, attempt: &AttemptId) -> Option<Uid> {
        self.held.get(attempt).map(|carried| carried.uid)
    }

    /// A term has begun: what was decided in an earlier one is not carried out any more.
    pub fn see_term(&mut self, term: Term) {
        self.fence = self.fence.max(term);
    }

    /// Looks at an order for `me` or another.
    pub fn screen(&mut self, order: &Order, me: &Name, now: Millis) -> Screened {
        match self.held.get(&order.attempt) {
            Some(held) if held.unsure => return Screened::Goes,
            Some(_) => return Screened::Said(Said::Acknowledged),
            None => {}
        }
        if let Some(said) = self.answered.get(&order.attempt) {
            return Screened::Said(said.clone());
        }
        self.see_term(order.term);
        if order.term < self.fence {
            let (term, fence) = (order.term, self.fence);
            let said = Said::Declined(format!("it is of term {term}, and {fence} began"));
            return self.refusal(&order.attempt, said);
        }
        if self.handed.get(&order.attempt).is_some_and(|ways| ways.len() >= WAYS_MAX) {
            return Screened::Ignored;
        }
        match self.rival(order, now).filter(|_| order.to == *me) {
            Some(rival) => Screened::Said(Said::Busy(format!("attempt {rival} on it is in hand"))),
            None => Screened::Goes,
        }
    }

    /// What to say where an order cannot be handed on: that it is refused, unless another copy was
    /// handed on before. That one may have started.
    pub fn refusal(&self, attempt: &AttemptId, said: Said) -> Screened {
        let handed = self.handed.get(attempt).is_some_and(|ways| !ways.is_empty());
        if handed { Screened::Ignored } else { Screened::Said(said) }
    }

    /// One who leads asks for an attempt that was meant for this node. `None`: it is in hand. What
    /// is said stands once the host of this node has said that it does not run there, and never
    /// will.
    pub fn asked(&mut self, attempt: &AttemptId, term: Term) -> Option<Said> {
        self.see_term(term);
        if self.held.contains_key(attempt) {
            return None;
        }
        let known = self.answered.get(attempt).filter(|said| said.is_end()).cloned();
        let said = known.unwrap_or(Said::Abandoned);
        self.close(attempt, said.clone());
        Some(said)
    }

    /// A copy that was handed on comes back, for its way was not open: the same as a refusal of it.
    pub fn hand_back(&mut self, attempt: &AttemptId, way: Way, said: Said) -> Screened {
        if let Some(ways) = self.handed.get_mut(attempt)
            && let Some(copies) = ways.get_mut(&way)
        {
            *copies = copies.saturating_sub(1);
            if *copies == 0 {
                ways.remove(&way);
            }
        }
        self.refusal(attempt, said)
    }

    /// An order was handed on by a way.
    pub fn hand_on(&mut self, attempt: &AttemptId, way: Way) {
        match self.handed.get_mut(attempt) {
            Some(ways) => {
                let copies = ways.entry(way).or_default();
                *copies = copies.saturating_add(1);
            }
            None => self.handed.put(attempt.clone(), BTreeMap::from([(way, 1)])),
        }
    }

    /// The copies of an attempt that went by a way do not start any more, unless they did.
    pub fn forget_way(&mut self, attempt: &AttemptId, way: Way) {
        if let Some(ways) = self.handed.get_mut(attempt) {
            ways.remove(&way);
        }
    }

    /// A child, or whoever holds its session, says something of an attempt that was handed to it:
    /// whether that is true of the attempt, and not only of the copies that went this way.
    pub fn hear(&mut self, answer: &Answer, way: Way) -> bool {
        let Answer { attempt, said, .. } = answer;
        if said.is_of_a_copy() {
            self.forget_way(attempt, way);
            if self.refusal(attempt, said.clone()) == Screened::Ignored {
                return false;
            }
        }
        if said.is_last() {
            self.close(attempt, said.clone());
        }
        true
    }

    /// A session is over, and what was handed to it will not start any more unless it did: what of
    /// that is now known to be lost. A child that is attached here again was asked for what it has.
    pub fn orphaned(&mut self, orphans: Vec<Orphan>, way: Way, is_back: bool) -> Vec<Answer> {
        let mut lost: Vec<Answer> = orphans.into_iter().map(Answer::from).collect();
        lost.retain(|answer| {
            if is_back {
                self.forget_way(&answer.attempt, way);
            }
            !is_back && self.hear(answer, way)
        });
        lost
    }

    /// Another attempt on the same object.
    fn rival(&mut self, order: &Order, now: Millis) -> Option<AttemptId> {
        let rival = self.by_object.get(&order.object.uid)?.clone();
        if self.held.get(&rival).is_some_and(|carried| now < carried.until) {
            return Some(rival);
        }
        self.drop(&rival);
        None
    }

    /// An order for this node is in hand from now on.
    pub fn take(&mut self, order: &Order, now: Millis) {
        let until = now.after_ms(order.timeout_ms).after_ms(GRACE_MS);
        let carried = Carried { uid: order.object.uid, until, unsure: false };
        self.by_object.insert(order.object.uid, order.attempt.clone());
        self.held.insert(order.attempt.clone(), carried);
    }

    /// The host did not say whether it took an attempt.
    pub fn doubt(&mut self, attempt: &AttemptId) {
        if let Some(carried) = self.held.get_mut(attempt) {
            carried.unsure = true;
        }
    }

    fn drop(&mut self, attempt: &AttemptId) {
        if let Some(carried) = self.held.remove(attempt)
            && self.by_object.get(&carried.uid) == Some(attempt)
        {
            self.by_object.remove(&carried.uid);
        }
    }

    /// Nothing more comes of an attempt, here or where it was handed on to.
    pub fn close(&mut self, attempt: &AttemptId, said: Said) {
        self.drop(attempt);
        self.answered.put(attempt.clone(), said);
    }
}
