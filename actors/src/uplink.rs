//! Sync up: attaches this node to a parent, takes its Cfg from there, sends there what is seen
//! here.
//!
//! A leaf has one uplink and several addresses to try; a member has one uplink to every other
//! member, over which it tells what entered here. The protocol is `Child`, the connection is
//! dialled anew with jittered backoff whenever it ends.
//!
//! The actor holds the `Child`; its driver task owns the connection. Restarted by: nobody; a
//! panic in it is a defect that ends the node.
//!
//! [`Uplink`] and [`line::Line`] do without the actor, for who drives many children at once.

mod driver;
mod keep;
pub mod line;
pub mod messages;

use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, MessageResult};
use kraken_engine::{
    id::{ClusterId, Name},
    manifest::Manifest,
    sync::{
        child::{Child, Effect, Identity},
        parents::Parent,
    },
};
use tokio_util::sync::CancellationToken;

pub use self::keep::Keep;
use self::{
    line::Traffic,
    messages::{Input, Observe, ToKeep, UplinkSnapshot},
};
use crate::{
    above::AboveEnd, clock::Clock, orders::Orders, reconciler::ReconcilerHandle, spans::Spans,
    state::StateHandle,
};

/// Messages that wait for an uplink; its only sender waits for each answer.
pub const UPLINK_MAILBOX_MAX: usize = 64;

/// What an uplink is made of.
pub struct UplinkOptions {
    /// Who attaches.
    pub identity: Identity,
    /// The addresses to try, `host:port`.
    pub parents: Vec<Parent>,
    /// What the node knows.
    pub state: StateHandle,
    /// Told when the node's object is removed; `None` on a member, which learns of it from the
    /// quorum.
    pub reconciler: Option<ReconcilerHandle>,
    /// Orders that come down, and answers that go up.
    pub(crate) orders: Orders,
    /// The member that is attached to; `None` on a leaf, which has one uplink.
    pub toward: Option<Name>,
    /// The manifests that are declared here; `None` on a member, which has them of the quorum.
    pub manifests: Option<Vec<Manifest>>,
    /// Where Cfg is kept over restarts; `None` on a member, which has it of the quorum.
    pub keep: Option<Keep>,
    /// What is below this node, where it is a relay.
    pub above: Option<AboveEnd>,
    /// The node's clock.
    pub clock: Clock,
    /// The way of the node's spans, which are told of the cluster.
    pub spans: Spans,
    /// Ends the driver.
    pub stop: CancellationToken,
}

/// The way to an uplink. Cheap to clone.
#[derive(Clone)]
pub struct UplinkHandle {
    address: Addr<UplinkActor>,
}

/// A child, its clock, and what is known of its connections.
#[derive(Debug)]
pub struct Uplink {
    child: Child,
    clock: Clock,
    parent: Option<String>,
    connections: u64,
    traffic: Arc<Traffic>,
}

/// The actor round [`Uplink`].
struct UplinkActor(Uplink);

impl Actor for UplinkActor {
    type Context = Context<Self>;
}

impl UplinkHandle {
    /// Starts an uplink on the present arbiter.
    pub async fn start(options: UplinkOptions) -> Self {
        let child = Child::new(options.identity.clone(), ClusterId::default(), Vec::new());
        let child = match options.manifests.clone() {
            Some(manifests) => child.declaring(manifests),
            None => child,
        };
        let kept = options.keep.as_ref().and_then(Keep::load);
        let child = match kept.clone() {
            Some(kept) => child.resuming(kept),
            None => child,
        };
        let uplink = Uplink::new(child, options.clock);
        let traffic = uplink.traffic().clone();
        let address = UplinkActor::create(|context| {
            context.set_mailbox_capacity(UPLINK_MAILBOX_MAX);
            UplinkActor(uplink)
        });
        driver::spawn(address.clone(), options, kept, traffic).await;
        Self { address }
    }

    /// The uplink as it is; `None` once the node stops.
    pub async fn observe(&self) -> Option<UplinkSnapshot> {
        self.address.send(Observe).await.ok()
    }
}

impl Uplink {
    /// A child that is not attached.
    pub fn new(child: Child, clock: Clock) -> Self {
        Self { child, clock, parent: None, connections: 0, traffic: Arc::default() }
    }

    /// What its line counts.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// How often the child has to be told the time, in milliseconds.
    pub fn ticks_every_ms(&self) -> u64 {
        self.child.ticks_every_ms()
    }

    /// Something came from the connection, the node or the clock; answered with what to do.
    pub fn take(&mut self, input: Input) -> Vec<Effect> {
        let now = self.clock.wall();
        match input {
            Input::Connected(parent) => {
                self.parent = Some(parent);
                self.connections += 1;
                self.child.connected(now)
            }
            Input::Disconnected => {
                self.parent = None;
                self.child.disconnected();
                Vec::new()
            }
            Input::Frame(frame) => self.child.receive(*frame, now),
            Input::Seen(changes) => self.child.offer_all(changes, now),
            Input::Happened(events) => self.child.record(events, now),
            Input::Answers(answers) => self.child.answer(answers, now),
            Input::Holds(holds) => self.child.pass_on(holds),
            Input::Arrives(below) => self.child.arrives(*below),
            Input::Leaves(left) => self.child.leaves(left),
            Input::Tick => self.child.tick(now),
        }
    }

    /// The uplink as it is.
    pub fn snapshot(&self) -> UplinkSnapshot {
        let (observations, events) = self.child.backlog();
        UplinkSnapshot {
            parent: self.parent.clone(),
            attached: self.child.is_attached(),
            revision: self.child.revision(),
            connections: self.connections,
            bytes_sent: self.traffic.sent(),
            bytes_received: self.traffic.received(),
            waiting_observations: observations,
            waiting_events: events,
        }
    }
}

impl Handler<Input> for UplinkActor {
    type Result = MessageResult<Input>;

    fn handle(&mut self, input: Input, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.0.take(input))
    }
}

impl Handler<ToKeep> for UplinkActor {
    type Result = MessageResult<ToKeep>;

    fn handle(&mut self, _: ToKeep, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.0.child.kept())
    }
}

impl Handler<Observe> for UplinkActor {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.0.snapshot())
    }
}
