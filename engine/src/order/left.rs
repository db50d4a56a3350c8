//! Intents that earlier leaders left open: the leader asks the node that each names, and closes it
//! once that says that its attempt has ended and cannot begin any more. First look, then act.
//!
//! | an intent that no attempt of this leader is of | what becomes of it |
//! |---|---|
//! | its node was not asked of late | ask it |
//! | its node says that the attempt has ended, or never begins | closed |
//! | its node has it in hand | open: its end is told, or asked for again |
//! | its node cannot be asked, or does not answer | open until its `ends by` is over |
//!
//! An attempt goes to the node that its intent names and to no other, and starts there at most
//! once: what that node says of it is true for the whole fleet. What is said on the way, for the
//! node, counts for nothing here.

use std::collections::BTreeMap;

use super::Answer;
use crate::{
    command::Intent,
    id::{AttemptId, Name, Uid},
    time::Millis,
};

/// How long an answer is waited for before the same is asked again, in milliseconds.
pub const ASK_AGAIN_MS: u64 = 2_000;
/// Most nodes that are asked at one time; others have their turn.
pub const ASKED_AT_ONCE_MAX: usize = 256;

/// The intents that were left open, as far as a leader has asked for them.
#[derive(Debug, Default)]
pub struct Left(BTreeMap<AttemptId, Asked>);

#[derive(Debug)]
struct Asked {
    uid: Uid,
    host: Name,
    at: Millis,
}

/// The end of an attempt that an earlier leader had begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its object.
    pub uid: Uid,
    /// The attempt, of which the intent is to be closed.
    pub attempt: AttemptId,
}

impl Left {
    /// What to ask for now, of all intents that earlier leaders left open: each attempt with its
    /// node. Those that are not among them any more are forgotten.
    pub fn ask(&mut self, left: &[Intent], now: Millis) -> Vec<(Name, AttemptId)> {
        let mut asked = std::mem::take(&mut self.0);
        let mut asks = Vec::new();
        for Intent { uid, host, attempt, .. } in left {
            let before = asked.remove(attempt);
            let at = before.as_ref().map(|before| before.at);
            let due = at.is_none_or(|at| now >= at.after_ms(ASK_AGAIN_MS));
            if due && asks.len() < ASKED_AT_ONCE_MAX {
                asks.push((host.clone(), attempt.clone()));
                let asked = Asked { uid: *uid, host: host.clone(), at: now };
                self.0.insert(attempt.clone(), asked);
            } else if let Some(before) = before {
                self.0.insert(attempt.clone(), before);
            }
        }
        asks
    }

    /// An answer has come; says which intent it closes.
    pub fn heard(&mut self, answer: &Answer) -> Option<Ended> {
        let asked = self.0.get(&answer.attempt)?;
        if asked.host != answer.node || !answer.said.is_end() {
            return None;
        }
        let uid = asked.uid;
        self.0.remove(&answer.attempt);
        Some(Ended { uid, attempt: answer.attempt.clone() })
    }
}
