//! What a session does for nodes that are attached below its child, a relay; and, where this node
//! is a relay itself, what it tells above of its child.

use std::{sync::Arc, time::Duration};

use kraken_engine::{
    fleet::Link,
    id::{Name, SessionEpoch},
    sync::{
        frame::{Admission, Below, Left, Refused, RefusedReason, Role},
        parent::Effect,
    },
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{sleep, timeout},
};

use super::{Door, Driver, admission};
use crate::{
    above::{Above, Standing},
    downlink::DownlinkOptions,
};

/// Nodes below one child about which it is decided at a time; others wait their turn.
const ARRIVALS_MAX: usize = 256;
/// How long a node may wait for its turn.
const TURN_MAX: Duration = Duration::from_secs(5);
/// How long an answer from above is waited for before it is asked again: it comes, or the session
/// there ends, but a parent that has thousands to answer may take long.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// How long a parent that is not ready is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What was decided about a node below.
pub(super) type Decided = (Box<Below>, Result<admission::Admitted, admission::Rejected>);

/// Nodes below about which it is being decided, many at a time.
pub(super) struct Arrivals {
    turns: Arc<Semaphore>,
    tell: mpsc::Sender<Decided>,
    decided: mpsc::Receiver<Decided>,
}

impl Arrivals {
    fn new() -> Self {
        let (tell, decided) = mpsc::channel(ARRIVALS_MAX);
        Self { turns: Arc::new(Semaphore::new(ARRIVALS_MAX)), tell, decided }
    }

    /// Has it decided about a node.
    fn ask(&self, below: Box<Below>, options: DownlinkOptions) {
        let (turns, tell) = (self.turns.clone(), self.tell.clone());
        actix_rt::spawn(async move {
            let turn = timeout(TURN_MAX, turns.acquire_owned()).await;
            let decided = match turn {
                Ok(Ok(_)) => {
                    // One relay further than whoever sent this.
                    let further = Below { hops: below.hops + 1, ..(*below).clone() };
                    admission::admit(&further, &options).await
                }
                _ => Err(admission::not_ready("too many attach at the same time")),
            };
            // Who is not there any more has nobody to tell it to.
            drop(tell.send((below, decided)).await);
        });
    }
}

/// What was decided next; for ever nothing of a child that is no relay.
pub(super) async fn next(arrivals: &mut Option<Arrivals>) -> Option<Decided> {
    match arrivals {
        Some(arrivals) => arrivals.decided.recv().await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// A node wants to attach below the child.
    pub(super) fn arrives(&mut self, below: Box<Below>) {
        self.arrivals.get_or_insert_with(Arrivals::new).ask(below, self.options.clone());
    }

    /// It was decided about a node below.
    pub(super) async fn decided(&mut self, (below, decided): Decided) -> Vec<Effect> {
        let attached = self.attached.clone().filter(|_| self.session.expects(&below));
        let Some(attached) = attached else { return Vec::new() };
        let admitted = match decided {
            Ok(admitted) => admitted,
            Err(rejected) => {
                let refused = Refused { reason: rejected.reason, text: rejected.text };
                return self.session.turn_away(&below, refused);
            }
        };
        let node = below.hello.node.clone();
        if let Some(way) = &self.way {
            let session = (&node, below.hello.epoch);
            let ways = self.options.orders.ways();
            if !ways.child_below(session, &attached.node, way.way) {
                let rejected = admission::not_ready("a newer session of it is here");
                let refused = Refused { reason: rejected.reason, text: rejected.text };
                return self.session.turn_away(&below, refused);
            }
        }
        self.options.state.set_attached(node, true).await;
        let effects = self.session.admit(&below, admitted.uid, admitted.welcome);
        self.audience.add(below.hello.node.clone(), admitted.uid);
        self.remember(*below);
        // Its Cfg goes with that of all that are let in meanwhile.
        self.dirty.mark([admitted.uid]);
        effects
    }

    /// A node is below the child no longer.
    pub(super) async fn has_left(&mut self, left: Left) {
        self.told.remove(&left.node);
        self.audience.remove(&left.node);
        let Some(way) = self.way.as_ref().map(|way| way.way) else { return };
        if !self.options.orders.ways().child_below_gone(&left.node, way) {
            return;
        }
        let Left { node, epoch } = left;
        let name = node.clone();
        let uid = self.options.state.read(move |fleet| fleet.node(&name).map(|node| node.uid));
        if let Ok(Some(uid)) = uid.await {
            self.options.state.set_link(uid, epoch, Link::Down).await;
            // What was in its charge goes.
            self.dirty.mark([uid]);
        }
        self.options.state.set_attached(node.clone(), false).await;
        self.tell_left(node, epoch).await;
    }

    /// The session of the child, or of a node below it, is over: there is a newer one.
    pub(super) fn expel(&mut self, left: &Left, newest: SessionEpoch) -> Vec<Effect> {
        let own = self.attached.as_ref().filter(|attached| attached.node == left.node);
        match own {
            Some(attached) if attached.epoch == left.epoch => {
                vec![Effect::Close("a newer session of it was heard of".to_owned())]
            }
            Some(_) => Vec::new(),
            None => self.session.expel(left, newest),
        }
    }

    /// The session with a relay is over. What was below it may be there all the same, and come by
    /// another way.
    pub(super) async fn all_have_left(&mut self) {
        let Some(way) = self.way.as_ref().map(|way| way.way) else { return };
        for Left { node, epoch } in self.session.abandoned() {
            if self.options.orders.ways().child_below_gone(&node, way) {
                self.options.state.set_attached(node.clone(), false).await;
                self.tell_left(node, epoch).await;
            }
        }
    }

    /// How this relay stands to its own parent; `None` on a member.
    pub(super) fn standing(&self) -> Option<watch::Receiver<Standing>> {
        match &self.options.door {
            Door::Above(above) => Some(above.standing()),
            Door::Quorum(_) => None,
        }
    }

    /// Remembers what was said of a node, to tell it above again.
    pub(super) fn remember(&mut self, below: Below) {
        if matches!(self.options.door, Door::Above(_)) {
            self.told.insert(below.hello.node.clone(), below);
        }
    }

    /// Whether somebody above knows of the child: a relay that is attached to nobody speaks for it
    /// once its own parent has let it in.
    pub(super) fn is_told_above(&self) -> bool {
        self.standing().is_none_or(|standing| standing.borrow().session.is_some())
    }

    /// This relay is attached in another session, or to nobody: whoever is below it has to be let
    /// in above again before it is spoken for. Who is refused there is refused here. A relay below
    /// attaches anew: what it was told of those below it is as of the last session.
    pub(super) async fn stands(&mut self, session: Option<u64>) {
        let Some(attached) = self.attached.clone() else { return };
        let Door::Above(above) = self.options.door.clone() else { return };
        for below in self.told.values() {
            let node = below.hello.node.clone();
            self.options.state.set_attached(node.clone(), false).await;
            let Some(session) = session.filter(|_| attached.role == Role::Leaf) else { continue };
            let hops = if node == attached.node { 0 } else { below.hops + 1 };
            let below = Below { hops, ..below.clone() };
            let (state, above, close) =
                (self.options.state.clone(), above.clone(), self.close.clone());
            actix_rt::spawn(async move {
                match let_in_again(&below, session, &above).await {
                    Some(Ok(())) => state.set_attached(node, true).await,
                    Some(Err(refused)) => {
                        tracing::info!("{node} is not let in above: {}", refused.text);
                        close.cancel();
                    }
                    None => {}
                }
            });
        }
        if session.is_some() && attached.role == Role::Relay {
            self.close.cancel();
        }
    }

    /// Tells above that a node has left.
    pub(super) async fn tell_left(&self, node: Name, epoch: SessionEpoch) {
        if let Door::Above(above) = &self.options.door {
            above.leaves(Left { node, epoch }).await;
        }
    }
}

/// Asks above about a node that is attached, until that is answered for good; `None` where this
/// relay is not in that session any more, the next of which has it asked again.
async fn let_in_again(below: &Below, session: u64, above: &Above) -> Option<Result<(), Refused>> {
    loop {
        if above.standing().borrow().session != Some(session) {
            return None;
        }
        match timeout(ANSWER_MAX, above.admit(below.clone())).await {
            Ok(Some(Admission::Welcome(_))) => return Some(Ok(())),
            Ok(Some(Admission::Refused(refused))) => match refused.reason {
                RefusedReason::NotReady | RefusedReason::Busy(_) => {}
                RefusedReason::Version
                | RefusedReason::Cluster
                | RefusedReason::Epoch(_)
                | RefusedReason::Gone => return Some(Err(refused)),
            },
            Ok(None) => return None,
            Err(_) => continue,
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Waits until this relay stands otherwise to its parent; says in which session it is attached. For
/// ever on a member.
pub(super) async fn moved(standing: &mut Option<watch::Receiver<Standing>>) -> Option<u64> {
    if let Some(standing) = standing
        && standing.changed().await.is_ok()
    {
        return standing.borrow_and_update().session;
    }
    std::future::pending().await
}
