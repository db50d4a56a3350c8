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

use std::collections::{BTreeMap, VecDeque};

use super::{Order, Said};
use crate::{
    id::{AttemptId, Name, Term, Uid},
    time::Millis,
};

/// Orders of which the last answer is remembered, and that they were handed on. Whoever decided an
/// order sends it again for a few seconds at most, and its time to start is over as soon.
pub const ANSWERED_MAX: usize = 65_536;
/// How long past its time an attempt is believed to be in hand, whatever its module does, in
/// milliseconds.
const GRACE_MS: u64 = 10_000;

/// The orders that a node carries out or has heard the end of.
#[derive(Debug, Default)]
pub struct Hands {
    held: BTreeMap<AttemptId, Carried>,
    /// The attempt in hand of an object.
    by_object: BTreeMap<Uid, AttemptId>,
    answered: BTreeMap<AttemptId, Said>,
    /// Of the answered, oldest first.
    order: VecDeque<AttemptId>,
    /// What was handed on from here, and how often.
    handed: BTreeMap<AttemptId, u32>,
    /// Of those, oldest first.
    ways: VecDeque<AttemptId>,
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
        match self.rival(order, now).filter(|_| order.to == *me) {
            Some(rival) => Screened::Said(Said::Busy(format!("attempt {rival} on it is in hand"))),
            None => Screened::Goes,
        }
    }

    /// What to say where an order cannot be handed on: that it is refused, unless another copy was
    /// handed on before. That one may have started.
    pub fn refusal(&self, attempt: &AttemptId, said: Said) -> Screened {
        let handed = self.handed.get(attempt).is_some_and(|copies| *copies > 0);
        if handed { Screened::Ignored } else { Screened::Said(said) }
    }

    /// A copy that was handed on comes back, for its way was not open: the same as a refusal of it.
    pub fn hand_back(&mut self, attempt: &AttemptId, said: Said) -> Screened {
        let more = self.handed.get_mut(attempt).is_some_and(|copies| {
            *copies = copies.saturating_sub(1);
            *copies > 0
        });
        if more { Screened::Ignored } else { Screened::Said(said) }
    }

    /// An order was handed on.
    pub fn hand_on(&mut self, attempt: &AttemptId) {
        let known = self.handed.get(attempt).copied();
        self.handed.insert(attempt.clone(), known.unwrap_or_default().saturating_add(1));
        if known.is_none() {
            self.ways.push_back(attempt.clone());
        }
        if self.ways.len() > ANSWERED_MAX
            && let Some(oldest) = self.ways.pop_front()
        {
            self.handed.remove(&oldest);
        }
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
        if self.answered.insert(attempt.clone(), said).is_none() {
            self.order.push_back(attempt.clone());
        }
        if self.order.len() > ANSWERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.answered.remove(&oldest);
        }
    }
}
