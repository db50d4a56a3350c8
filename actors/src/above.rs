//! The way from the downlink of a relay to its uplink: who wants to attach to the relay is asked
//! about above, and who has left is told there.
//!
//! While the relay is attached to nobody, there is nobody to ask; the downlink then answers by
//! itself what it can.

use std::collections::BTreeMap;

use kraken_engine::{
    id::{ClusterId, Epoch, Name, SessionEpoch},
    sync::frame::{Admission, Admitted, Below, Left, Refused, RefusedReason},
};
use tokio::sync::{mpsc, oneshot, watch};

/// Asks that wait for the uplink; at the bound those who ask wait.
pub(crate) const ASKS_MAX: usize = 1_024;

/// What a relay is to its own parent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The cluster that it belongs to.
    pub(crate) cluster: ClusterId,
    /// The epoch of the Cfg that it holds.
    pub(crate) epoch: Epoch,
    /// Which session of its uplink it is attached in, counted; `None`: it is not.
    pub(crate) session: Option<u64>,
}

/// What the downlink has to say above.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A node says Hello, or is attached: may it?
    Arrives(Box<Below>, oneshot::Sender<Admission>),
    /// A node is attached no longer.
    Leaves(Left),
}

/// What an answer means for which nobody waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// The node was let in, and has left meanwhile.
    Gone(Left),
    /// The node was let in before, and has a newer session elsewhere: this one is over.
    Outdated(Left, SessionEpoch),
}

/// The parent of a relay, as its downlink knows it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Above {
    asks: mpsc::Sender<Ask>,
    standing: watch::Receiver<Standing>,
}

/// The end of that way in the uplink.
#[derive(Debug)]
pub struct AboveEnd {
    pub(crate) asks: mpsc::Receiver<Ask>,
    standing: watch::Sender<Standing>,
    sessions: u64,
    waiting: BTreeMap<(Name, SessionEpoch), oneshot::Sender<Admission>>,
}

/// Both ends.
pub(crate) fn above() -> (Above, AboveEnd) {
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let (told, standing) = watch::channel(Standing::default());
    let end = AboveEnd { asks: asked, standing: told, sessions: 0, waiting: BTreeMap::new() };
    (Above { asks, standing }, end)
}

impl Above {
    /// How the relay stands; changes are seen.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Asks about a node; `None` where nobody answers.
    pub(crate) async fn admit(&self, below: Below) -> Option<Admission> {
        let session = self.standing.borrow().session?;
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Arrives(Box::new(below), answer)).await.ok()?;
        // Another session does not know that it was asked.
        let mut standing = self.standing.clone();
        tokio::select! {
            answered = answered => answered.ok(),
            _ = standing.wait_for(|now| now.session != Some(session)) => None,
        }
    }

    /// Tells that a node has left.
    pub(crate) async fn leaves(&self, left: Left) {
        if self.asks.send(Ask::Leaves(left)).await.is_err() {
            tracing::debug!("told of a node after the relay has stopped");
        }
    }
}

impl AboveEnd {
    /// The relay is attached.
    pub(crate) fn attached(&mut self, cluster: ClusterId, epoch: Epoch) {
        self.sessions += 1;
        self.standing.send_replace(Standing { cluster, epoch, session: Some(self.sessions) });
    }

    /// It is not any more: whoever waits is not answered.
    pub(crate) fn cut_off(&mut self) {
        self.waiting.clear();
        while self.asks.try_recv().is_ok() {}
        self.standing.send_modify(|standing| standing.session = None);
    }

    /// Somebody waits for what becomes of a node.
    pub(crate) fn waits(&mut self, below: &Below, answer: oneshot::Sender<Admission>) {
        let Below { hello, .. } = below;
        self.waiting.insert((hello.node.clone(), hello.epoch), answer);
    }

    /// The answer has come; says what it means where nobody waits for it.
    pub(crate) fn answered(&mut self, admitted: Admitted) -> Option<Unasked> {
        let Admitted { node, epoch, answer } = admitted;
        let left = Left { node, epoch };
        let Some(waits) = self.waiting.remove(&(left.node.clone(), epoch)) else {
            let Admission::Refused(Refused { reason: RefusedReason::Epoch(newest), .. }) = answer
            else {
                return None;
            };
            return Some(Unasked::Outdated(left, newest));
        };
        let unheard = waits.send(answer).err()?;
        matches!(unheard, Admission::Welcome(_)).then_some(Unasked::Gone(left))
    }
}

/// What is to be said above next; for ever nothing where nothing is below.
pub(crate) async fn next(end: &mut Option<AboveEnd>) -> Option<Ask> {
    match end {
        Some(end) => end.asks.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use kraken_engine::{
        object::Labels,
        sync::{
            PROTOCOL_VERSION,
            frame::{Hello, Role, Welcome},
            pace::Pace,
        },
    };

    use super::*;

    fn below() -> Below {
        let hello = Hello {
            version: PROTOCOL_VERSION,
            node: Name::new("n1").unwrap(),
            role: Role::Leaf,
            epoch: SessionEpoch::new(5),
            cluster: ClusterId::new(7),
            revision: <_>::default(),
            uid: None,
            labels: Labels::new(),
            takes_orders: true,
            cfg_epoch: Epoch::FIRST,
            takes_views: true,
            declared: None,
            pace: Pace::NORMAL,
        };
        Below { hello, hops: 0 }
    }

    fn answer(answer: Admission) -> Admitted {
        Admitted { node: below().hello.node, epoch: below().hello.epoch, answer }
    }

    fn welcome() -> Admission {
        Admission::Welcome(Welcome {
            cluster: ClusterId::new(7),
            uid: None,
            hybrid_ms: 1,
            takes_answers: true,
            spoken_ms: 0,
            cfg_epoch: Epoch::FIRST,
            takes_beats: true,
        })
    }

    #[tokio::test]
    async fn who_is_let_in_and_does_not_wait_any_more_has_left() {
        let (_above, mut end) = above();
        for (heard, admission, is_left) in [
            (true, welcome(), false),
            (false, welcome(), true),
            (
                false,
                Admission::Refused(Refused {
                    reason: RefusedReason::NotReady,
                    text: String::new(),
                }),
                false,
            ),
        ] {
            let (tell, told) = oneshot::channel();
            end.waits(&below(), tell);
            let told = heard.then_some(told);
            let left = end.answered(answer(admission));
            assert_eq!(matches!(left, Some(Unasked::Gone(_))), is_left, "{heard}");
            drop(told);
        }
        assert_eq!(end.answered(answer(welcome())), None, "of another session");
    }

    #[tokio::test]
    async fn who_is_refused_without_having_asked_has_a_newer_session_elsewhere() {
        let (_above, mut end) = above();
        let refused = |reason| Admission::Refused(Refused { reason, text: String::new() });
        let newest = SessionEpoch::new(9);
        let left = Left { node: below().hello.node, epoch: below().hello.epoch };
        let outdated = end.answered(answer(refused(RefusedReason::Epoch(newest))));
        assert_eq!(outdated, Some(Unasked::Outdated(left, newest)));
        assert_eq!(end.answered(answer(refused(RefusedReason::NotReady))), None, "too late");
    }
}
