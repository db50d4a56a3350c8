//! The reconciler: drives the engine's machines. One on every node: it decides the node's own lane
//! for the object that the node hosts and, while this member leads, the quorum's lane for the
//! fleet.
//!
//! Two halves. The actor holds the deciders; its handlers are synchronous and ask nobody. The
//! driver (`driver`) reads what they need, sends it, and carries out the effects that come back.
//!
//! Restarted by: nobody; a panic in it is a defect that ends the node. Attempts in hand end with
//! the node's modules, and everything is decided anew from what is seen.

mod dispatching;
mod driver;
mod governing;
mod handing;
mod left;
pub mod messages;
mod spans;
pub(crate) mod subject;

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, Addr, Context, Handler, MessageResult};
use kraken_engine::{
    catalog::Catalog,
    decider::Decider,
    id::{AttemptId, Name, Term, Uid},
    machine::{Attempted, Effect},
    mutation::Lane,
    time::Millis,
    view::Subject,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    messages::{
        Decided, Due, Govern, Happened, Lead, Look, ObjectsOf, Observe, ReconcilerSnapshot,
        Release, Resume, Settle,
    },
    subject::Known,
};
use crate::{
    clock::Clock,
    host::{AttemptEnded, HostHandle},
    orders::{Orders, Told},
    quorum::Quorum,
    spans::Spans,
    state::StateHandle,
};

/// Messages that wait for the reconciler; its only sender waits for each answer.
pub const RECONCILER_MAILBOX_MAX: usize = 64;
/// Batches of answers about attempts that wait to be taken; at the bound those who answer wait.
pub const ANSWERS_MAX: usize = 256;

/// What a reconciler is made of.
pub(crate) struct ReconcilerOptions {
    /// The node.
    pub(crate) node: Name,
    /// What the node knows.
    pub(crate) state: StateHandle,
    /// Its modules.
    pub(crate) host: HostHandle,
    /// The way to the modules of other nodes.
    pub(crate) orders: Orders,
    /// News of what other nodes carry out.
    pub(crate) told: mpsc::Receiver<Told>,
    /// Where ended attempts are told.
    pub(crate) ends: mpsc::Receiver<AttemptEnded>,
    /// The quorum, on a member.
    pub(crate) quorum: Option<Arc<dyn Quorum>>,
    /// The node's clock.
    pub(crate) clock: Clock,
    /// The way of the node's spans.
    pub(crate) spans: Spans,
    /// Ends the driver.
    pub(crate) stop: CancellationToken,
}

/// The way to the reconciler. Cheap to clone.
#[derive(Clone)]
pub struct ReconcilerHandle {
    address: Addr<Reconciler>,
}

impl ReconcilerHandle {
    /// Starts a reconciler on the present arbiter.
    pub(crate) async fn start(options: ReconcilerOptions) -> Self {
        let actor = Reconciler {
            own: Decider::new(Lane::Itself, options.node.clone(), options.clock.wall()),
            node: options.node.clone(),
            led: None,
            released: false,
            clock: options.clock,
        };
        let address = Reconciler::create(|context| {
            context.set_mailbox_capacity(RECONCILER_MAILBOX_MAX);
            actor
        });
        driver::spawn(address.clone(), options).await;
        Self { address }
    }

    /// The node's object was removed: decide nothing for it any more, and leave what runs.
    pub async fn release(&self) {
        if self.address.send(Release).await.is_err() {
            tracing::debug!("released after the node has stopped");
        }
    }

    /// The node has an object of its own: decide for it, also after an earlier one was removed.
    pub async fn resume(&self) {
        if self.address.send(Resume).await.is_err() {
            tracing::debug!("resumed after the node has stopped");
        }
    }

    /// The object of an attempt that is in flight.
    pub async fn object_of(&self, attempt: AttemptId) -> Option<Uid> {
        self.address.send(ObjectsOf(vec![attempt])).await.ok()?.pop().flatten()
    }

    /// The reconciler as it is; `None` once the node stops.
    pub async fn observe(&self) -> Option<ReconcilerSnapshot> {
        self.address.send(Observe).await.ok()
    }
}

/// The actor: the deciders of this node.
struct Reconciler {
    node: Name,
    own: Decider,
    led: Option<Led>,
    released: bool,
    clock: Clock,
}

/// The quorum's lane, while this member leads.
struct Led {
    term: Term,
    since: Millis,
    decider: Decider,
}

impl Actor for Reconciler {
    type Context = Context<Self>;
}

impl Reconciler {
    /// Looks at one object in every lane that is decided here.
    fn look(&mut self, known: &Known, catalog: &Catalog, now: Millis) -> Vec<(Lane, Effect)> {
        let mut effects = Vec::new();
        if known.is_hosted_by(&self.node) && !self.released {
            let own = self.own.look(known.subject_of_host(catalog), now);
            effects.extend(in_lane(Lane::Itself, own));
        } else if self.own.decides(known.object.uid) {
            effects.extend(in_lane(Lane::Itself, self.own.forget(known.object.uid)));
        }
        if let Some(led) = &mut self.led
            && known.concerns_quorum(catalog)
        {
            let quorum = led.decider.look(known.subject(catalog, led.since), now);
            effects.extend(in_lane(Lane::Quorum, quorum));
        }
        effects
    }

    fn attempted(
        &mut self,
        attempt: &AttemptId,
        what: Attempted,
        known: &Known,
        catalog: &Catalog,
    ) -> Vec<(Lane, Effect)> {
        let now = self.clock.wall();
        let own = self.own.object_of(attempt).is_some();
        let (decider, subject): (_, Subject<'_>) = match &mut self.led {
            Some(led) if !own => (&mut led.decider, known.subject(catalog, led.since)),
            _ => (&mut self.own, known.subject_of_host(catalog)),
        };
        in_lane(decider.lane(), decider.attempted(attempt, what, subject, now))
    }

    fn forget(&mut self, uid: Uid) -> Vec<(Lane, Effect)> {
        let mut effects = in_lane(Lane::Itself, self.own.forget(uid));
        let led = self.led.iter_mut().flat_map(|led| led.decider.forget(uid));
        effects.extend(in_lane(Lane::Quorum, led));
        effects
    }

    fn wake_at(&self) -> Millis {
        let led = self.led.as_ref().map_or(Millis::NEVER, |led| led.decider.wake_at());
        self.own.wake_at().min(led)
    }

    fn decided(&mut self, mut effects: Vec<(Lane, Effect)>) -> Decided {
        let steered = self.led.iter_mut().flat_map(|led| led.decider.steer());
        effects.extend(in_lane(Lane::Quorum, steered));
        Decided { effects, wake_at: self.wake_at(), term: self.led.as_ref().map(|led| led.term) }
    }
}

fn in_lane(lane: Lane, effects: impl IntoIterator<Item = Effect>) -> Vec<(Lane, Effect)> {
    effects.into_iter().map(|effect| (lane, effect)).collect()
}

impl Handler<Look> for Reconciler {
    type Result = MessageResult<Look>;

    fn handle(&mut self, look: Look, _: &mut Self::Context) -> Self::Result {
        let now = self.clock.wall();
        let mut effects = Vec::new();
        for (uid, known) in &look.sight.objects {
            effects.extend(match known {
                Some(known) => self.look(known, &look.sight.catalog, now),
                None => self.forget(*uid),
            });
        }
        MessageResult(self.decided(effects))
    }
}

impl Handler<Happened> for Reconciler {
    type Result = MessageResult<Happened>;

    fn handle(&mut self, happened: Happened, _: &mut Self::Context) -> Self::Result {
        let Happened { answers, sight } = happened;
        let mut effects = Vec::new();
        for (attempt, uid, what) in answers {
            if let Some(known) = sight.known(uid) {
                effects.extend(self.attempted(&attempt, what, known, &sight.catalog));
            }
        }
        MessageResult(self.decided(effects))
    }
}

impl Handler<Due> for Reconciler {
    type Result = MessageResult<Due>;

    fn handle(&mut self, _: Due, _: &mut Self::Context) -> Self::Result {
        let now = self.clock.wall();
        let mut due = self.own.due(now);
        due.extend(self.led.iter_mut().flat_map(|led| led.decider.due(now)));
        MessageResult((due, self.decided(Vec::new())))
    }
}

impl Handler<ObjectsOf> for Reconciler {
    type Result = Vec<Option<Uid>>;

    fn handle(&mut self, ObjectsOf(attempts): ObjectsOf, _: &mut Self::Context) -> Self::Result {
        let of = |attempt| {
            let led = || self.led.as_ref().and_then(|led| led.decider.object_of(attempt));
            self.own.object_of(attempt).or_else(led)
        };
        attempts.iter().map(of).collect()
    }
}

impl Handler<Lead> for Reconciler {
    type Result = MessageResult<Lead>;

    fn handle(&mut self, Lead(term): Lead, _: &mut Self::Context) -> Self::Result {
        if self.led.as_ref().map(|led| led.term) == term {
            return MessageResult(self.decided(Vec::new()));
        }
        let lost = self.led.take();
        let flights = lost.iter().flat_map(|led| led.decider.attempts());
        let effects = flights.map(|attempt| Effect::Cancel(attempt.clone()));
        let effects = in_lane(Lane::Quorum, effects);
        let now = self.clock.wall();
        self.led = term.map(|term| Led {
            term,
            since: now,
            decider: Decider::new(Lane::Quorum, self.node.clone(), now),
        });
        MessageResult(self.decided(effects))
    }
}

impl Handler<Govern> for Reconciler {
    type Result = MessageResult<Govern>;

    fn handle(&mut self, Govern { rules, term }: Govern, _: &mut Self::Context) -> Self::Result {
        if let Some(led) = self.led.as_mut().filter(|led| led.term == term) {
            led.decider.govern(rules, term);
        }
        MessageResult(self.decided(Vec::new()))
    }
}

impl Handler<Settle> for Reconciler {
    type Result = MessageResult<Settle>;

    fn handle(&mut self, Settle(objects): Settle, _: &mut Self::Context) -> Self::Result {
        let now = self.clock.wall();
        if let Some(led) = &mut self.led {
            for uid in objects {
                led.decider.settle(uid, now);
            }
        }
        MessageResult(self.decided(Vec::new()))
    }
}

impl Handler<Release> for Reconciler {
    type Result = ();

    fn handle(&mut self, _: Release, _: &mut Self::Context) {
        self.released = true;
        self.own = Decider::new(Lane::Itself, self.node.clone(), self.clock.wall());
    }
}

impl Handler<Resume> for Reconciler {
    type Result = ();

    fn handle(&mut self, _: Resume, _: &mut Self::Context) {
        self.released = false;
    }
}

impl Handler<Observe> for Reconciler {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        let lane = |decider: &Decider| messages::LaneSnapshot {
            objects: decider.objects(),
            attempts: decider.attempts().cloned().collect(),
            wake_at: decider.wake_at(),
        };
        let mut lanes = BTreeMap::from([(Lane::Itself.as_str(), lane(&self.own))]);
        lanes.extend(self.led.as_ref().map(|led| (Lane::Quorum.as_str(), lane(&led.decider))));
        MessageResult(ReconcilerSnapshot {
            lanes,
            term: self.led.as_ref().map(|led| led.term),
            released: self.released,
        })
    }
}
