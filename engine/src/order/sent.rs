//! What a leader has sent out: to which node each attempt went, and whether that has taken it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Holds, Said};
use crate::{
    id::{AttemptId, Name, SessionEpoch},
    machine::Attempted,
    time::Millis,
};

/// Where the attempts of the quorum's lane were sent, while a member leads.
#[derive(Debug, Default)]
pub struct Sent(BTreeMap<AttemptId, Carrier>);

/// The node that carries out an attempt.
#[derive(Debug)]
struct Carrier {
    node: Name,
    /// Whether it has said so.
    acknowledged: bool,
    /// When nothing more is heard of it.
    until: Millis,
    /// The last session of the node when the first copy was sent.
    session: Option<SessionEpoch>,
}

impl Sent {
    /// Forgets what nothing more is heard of.
    pub fn sweep(&mut self, now: Millis) {
        self.0.retain(|_, carrier| now < carrier.until);
    }

    /// An attempt goes to a node, where it does not already; something may be heard of it until a
    /// moment.
    pub fn put(&mut self, attempt: &AttemptId, node: &Name, until: Millis) {
        let (acknowledged, session) = (false, None);
        let new = || Carrier { node: node.clone(), acknowledged, until, session };
        self.0.entry(attempt.clone()).or_insert_with(new).until = until;
    }

    /// A copy of an order goes out, and this is the last session of its node: says what that was
    /// when the first copy went.
    pub fn first_session(&mut self, attempt: &AttemptId, last: SessionEpoch) -> SessionEpoch {
        let carrier = self.0.get_mut(attempt);
        carrier.map_or(last, |carrier| *carrier.session.get_or_insert(last))
    }

    /// The node to which an attempt went.
    pub fn node_of(&self, attempt: &AttemptId) -> Option<Name> {
        self.0.get(attempt).map(|carrier| carrier.node.clone())
    }

    /// The attempts that a node has taken and, by what it says, does not hold: it is to be asked
    /// what became of them. It may have said so before it took them, and was heard late.
    pub fn missing(&self, holds: &Holds) -> Vec<AttemptId> {
        let held: BTreeSet<&AttemptId> = holds.attempts.iter().collect();
        let taken = self.0.iter().filter(|(_, at)| at.node == holds.node && at.acknowledged);
        let gone = taken.filter(|(attempt, _)| !held.contains(attempt));
        gone.map(|(attempt, _)| attempt.clone()).collect()
    }

    /// What an answer means to the decider, if it is about something that its node was sent.
    pub fn heard(&mut self, answer: Answer) -> Option<(AttemptId, Attempted)> {
        let Answer { node, attempt, said } = answer;
        let carrier = self.0.get_mut(&attempt).filter(|carrier| carrier.node == node)?;
        carrier.acknowledged = true;
        if said.is_last() && said != Said::Lost {
            self.0.remove(&attempt);
        }
        let what = match said {
            Said::Acknowledged | Said::Started => Attempted::Acknowledged,
            Said::Progress(text) => Attempted::Progressed(text),
            Said::Succeeded => Attempted::Succeeded,
            Said::Failed { error, permanent } => Attempted::Failed { error, permanent },
            Said::Abandoned => Attempted::Abandoned,
            Said::Moved(why) => Attempted::Moved(why),
            Said::Busy(why) | Said::Declined(why) => {
                Attempted::NoService(format!("{why} (on {node})"))
            }
            Said::Lost => Attempted::Lost,
        };
        Some((attempt, what))
    }
}
