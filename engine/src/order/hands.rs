//! What a node has in hand of orders, and what was said last of those that it knew: so that no
//! attempt starts twice, and none that was refused starts after all.
//!
//! | an order comes | said |
//! |---|---|
//! | its attempt is in hand | Acknowledged, again |
//! | its last answer was given here, or has passed here | the same again |
//! | its term is older than one that was seen | Declined |
//! | it is for this node, and another attempt on its object is in hand | Busy |
//! | else | nothing yet |

use std::collections::{BTreeMap, VecDeque};

use super::{Order, Said};
use crate::{
    id::{AttemptId, Name, Term, Uid},
    time::Millis,
};

/// Orders of which the last answer is remembered. Whoever decided an order sends it again for a few
/// seconds at most, and its time to start is over as soon.
pub const ANSWERED_MAX: usize = 65_536;
/// How long past its time an attempt is believed to be in hand, whatever its module does, in
/// milliseconds.
const GRACE_MS: u64 = 10_000;

/// The orders that a node carries out or has heard the end of.
#[derive(Debug, Default)]
pub struct Hands {
    held: BTreeMap<AttemptId, Carried>,
    answered: BTreeMap<AttemptId, Said>,
    /// Of the answered, oldest first.
    order: VecDeque<AttemptId>,
    /// The latest term that was seen.
    fence: Term,
}

#[derive(Debug)]
struct Carried {
    uid: Uid,
    until: Millis,
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

    /// What to say at once to an order for `me` or another; `None`: nothing stands against it.
    pub fn screen(&mut self, order: &Order, me: &Name, now: Millis) -> Option<Said> {
        if self.held.contains_key(&order.attempt) {
            return Some(Said::Acknowledged);
        }
        if let Some(said) = self.answered.get(&order.attempt) {
            return Some(said.clone());
        }
        self.see_term(order.term);
        if order.term < self.fence {
            let (term, fence) = (order.term, self.fence);
            return Some(Said::Declined(format!("it is of term {term}, and {fence} began")));
        }
        let rival = self.rival(order, now).filter(|_| order.to == *me)?;
        Some(Said::Busy(format!("attempt {rival} on it is in hand")))
    }

    /// Another attempt on the same object.
    fn rival(&mut self, order: &Order, now: Millis) -> Option<AttemptId> {
        self.held.retain(|_, carried| now < carried.until);
        let mut held = self.held.iter();
        let rival = held.find(|(_, carried)| carried.uid == order.object.uid);
        rival.map(|(attempt, _)| attempt.clone())
    }

    /// An order for this node is in hand from now on.
    pub fn take(&mut self, order: &Order, now: Millis) {
        let until = now.after_ms(order.timeout_ms).after_ms(GRACE_MS);
        let carried = Carried { uid: order.object.uid, until };
        self.held.insert(order.attempt.clone(), carried);
    }

    /// Nothing more comes of an attempt, here or where it was handed on to.
    pub fn close(&mut self, attempt: &AttemptId, said: Said) {
        self.held.remove(attempt);
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
