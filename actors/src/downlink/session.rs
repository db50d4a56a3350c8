//! One child's session: moves frames between its connection and the protocol, and tells the node
//! what came. A task of its own; everything it waits for is its own child's.

mod below;
mod lost;
mod offered;
mod ordered;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use actix::Addr;
use kraken_engine::{
    catalog::Catalog,
    event::{EventKind, Happening},
    fleet::{Fleet, Link},
    id::{Name, SessionEpoch, Uid},
    singleton::Assured,
    sync::{
        audience::Audience,
        frame::{Below, Frame, Hello, RefusedReason, Role},
        pace::Pace,
        parent::{Authority, Effect, Session},
        turnstile::INSIDE_MS_MAX,
    },
    time::Millis,
};
use tokio::{net::TcpStream, time::interval};
use tokio_util::sync::CancellationToken;

use self::{below::Arrivals, lost::lose_own_leaves};
use super::{
    Door, Downlink, DownlinkOptions,
    admission::{self, Admitted, Rejected},
    gate::{Gate, Place},
    messages::{Register, Unregister},
};
use crate::{
    dirty::Dirty,
    orders::{ChildWay, Down, Input},
    wire::{self, FrameReader, FrameWriter},
};

/// How often an object is looked for that a child's predicates name and nobody knows.
const LOOK_FOR_LACKING: Duration = Duration::from_secs(5);

/// Why a session is over.
type Over = String;

struct Driver {
    session: Session,
    peer: SocketAddr,
    register: Addr<Downlink>,
    gate: Gate,
    options: DownlinkOptions,
    /// As long as the child is being taken in.
    place: Option<Place>,
    dirty: Dirty<Uid>,
    close: CancellationToken,
    attached: Option<Attached>,
    /// Of whom the child is told.
    audience: Audience,
    /// The objects of which a leaf is told, as far as the register knows.
    serves: BTreeSet<Uid>,
    /// When what is lacking is looked for again.
    look_at: Millis,
    /// Whether it was said that there is too much of that.
    left_out: bool,
    /// What goes down to the child, once it is attached.
    way: Option<ChildWay>,
    /// What the child said first, and what nodes below it did, on a relay: it is told above again
    /// when that is another session.
    told: BTreeMap<Name, Below>,
    /// Whether its Cfg was offered.
    offered: bool,
    /// Whether the child's own object was removed: one of its name may be made.
    is_bereft: bool,
    /// Nodes below the child about which it is being decided; of a relay only.
    arrivals: Option<Arrivals>,
}

#[derive(Clone)]
struct Attached {
    uid: Uid,
    node: Name,
    epoch: SessionEpoch,
    role: Role,
}

/// Serves one connection until it ends.
pub(super) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    (register, gate): (Addr<Downlink>, Gate),
    options: DownlinkOptions,
) {
    let (mut reader, writer) = wire::split(stream);
    let session = Session::new(options.clock.wall());
    let close = options.stop.child_token();
    let dirty = Dirty::new();
    let mut driver = Driver {
        session,
        peer,
        register,
        gate,
        options,
        place: None,
        dirty,
        close,
        attached: None,
        audience: Audience::default(),
        serves: BTreeSet::new(),
        look_at: Millis::ZERO,
        left_out: false,
        way: None,
        told: BTreeMap::new(),
        offered: false,
        is_bereft: false,
        arrivals: None,
    };
    let over = driver.serve(&mut reader, &writer).await;
    // What is still done concerns the child no more, and takes a while.
    drop((reader, writer));
    driver.ended(over).await;
}

impl Driver {
    async fn serve(&mut self, reader: &mut FrameReader, writer: &FrameWriter) -> Over {
        let mut tick = interval(self.looks_every());
        let mut standing = self.standing();
        loop {
            if tick.period() != self.looks_every() {
                tick = interval(self.looks_every());
            }
            let effects = tokio::select! {
                () = self.close.cancelled() => return "a newer session has begun".to_owned(),
                frame = reader.next() => match frame {
                    Ok(Some((frame, _))) => self.receive(frame).await,
                    Ok(None) => return "the child closed the connection".to_owned(),
                    Err(error) => return error.to_string(),
                },
                () = self.dirty.marked(), if self.session.is_settled() => self.offer().await,
                Some(down) = next(&mut self.way) => self.hand_down(down).await,
                Some(decided) = below::next(&mut self.arrivals) => self.decided(decided).await,
                session = below::moved(&mut standing) => {
                    self.stands(session).await;
                    Vec::new()
                }
                _ = tick.tick() => self.tick().await,
            };
            if let Err(over) = self.carry_out(effects, writer).await {
                return over;
            }
            self.make_place();
        }
    }

    /// How often it looks at the time: seldom where nothing waits, and the more so where the child
    /// is heard of seldom.
    fn looks_every(&self) -> Duration {
        let waits = !self.offered
            || self.place.is_some()
            || self.audience.lacks()
            || self.session.is_busy();
        let pace = if waits { Pace::NORMAL } else { self.session.pace() };
        Duration::from_millis(pace.heartbeat_ms() / if waits { 4 } else { 2 })
    }

    async fn receive(&mut self, frame: Frame) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Most frames are heartbeats of leaves that do nothing: for them nobody else is asked.
        let (catalog, assured) = if let Some(catalog) = self.session.answers_alone(&frame) {
            (catalog, self.session.assured())
        } else {
            let Some(known) = self.look().await else { return effects };
            // All that was committed before the assurance goes down before it.
            if frame.is_heartbeat() && self.session.is_on_lease(&known.0) {
                effects = self.offer().await;
            }
            known
        };
        let now = self.options.clock.wall();
        let hybrid_ms = self.options.state.stamps().reading().get().max(now.get());
        let authority = Authority { catalog: &catalog, hybrid_ms, assured };
        effects.extend(self.session.receive(frame, authority, now));
        effects
    }

    /// What is declared, and what the child may be told of the quorum; nothing once the node stops.
    async fn look(&self) -> Option<(Arc<Catalog>, Assured)> {
        let child = self.session.child().map(|hello| hello.node.clone());
        let read = move |fleet: &Fleet| {
            // Word of the quorum goes only to whom this node has told all Cfg by then.
            let is_whole = child.is_some_and(|child| fleet.is_whole(&child));
            let assured = if is_whole { fleet.assured() } else { Assured::default() };
            (fleet.catalog().clone(), assured)
        };
        self.options.state.read(read).await.ok()
    }

    /// Time has passed. What was not known when it was looked for may be by now, and so may Cfg
    /// that the child had of another parent.
    async fn tick(&mut self) -> Vec<Effect> {
        let now = self.options.clock.wall();
        let mut effects = self.session.tick(now);
        let lacks = self.audience.lacks() || self.is_bereft;
        let looks = lacks && self.session.is_attached() && now >= self.look_at;
        if looks {
            self.look_at = now.after(LOOK_FOR_LACKING);
            self.audience.look_for_lacking();
        }
        if looks || self.session.is_behind() {
            effects.extend(self.offer().await);
        }
        effects
    }

    async fn carry_out(&mut self, effects: Vec<Effect>, writer: &FrameWriter) -> Result<(), Over> {
        let (mut merges, mut others) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Merge(uid, sightings) => merges.push((uid, sightings)),
                other => others.push(other),
            }
        }
        // Before what acknowledges them.
        if let Some(teller) = self.attached.as_ref().filter(|_| !merges.is_empty()) {
            self.options.state.merge(teller.node.clone(), merges).await;
        }
        for effect in others {
            match effect {
                Effect::Send(frame) => {
                    writer.send(&frame).map_err(|error| error.to_string())?;
                }
                Effect::Close(why) => return Err(why),
                Effect::Greeted(hello) => self.greeted(hello, writer).await?,
                // They were taken out above.
                Effect::Merge(..) => {}
                Effect::Record(events) => self.options.state.keep(events).await,
                Effect::Alarm(why) => self.record(EventKind::Refused, None, why).await,
                Effect::Answered(answers) => {
                    if let Some(way) = self.way.as_ref().map(|way| way.way) {
                        self.options.orders.tell(Input::Heard(answers, way)).await;
                    }
                }
                Effect::Holding(holds) => self.options.orders.tell(Input::Holds(holds)).await,
                Effect::Arrives(below) => self.arrives(below),
                Effect::Leaves(left) => self.has_left(left).await,
            }
        }
        Ok(())
    }

    async fn greeted(&mut self, hello: Hello, writer: &FrameWriter) -> Result<(), Over> {
        let below = Below { hello: hello.clone(), hops: 0 };
        let admitted = match self.pass(hello.role) {
            Ok(()) => self.admit(&below).await,
            Err(rejected) => Err(rejected),
        };
        let answer = match admitted {
            Ok(admitted) if self.register(&hello, admitted.uid).await => {
                self.attach(&hello, admitted.uid).await;
                self.remember(below);
                let now = self.options.clock.wall();
                let mut effects = self.session.accept(admitted.welcome, now);
                effects.extend(self.offer().await);
                effects
            }
            Ok(_) => {
                let text = "no room for another child, or a newer session is here".to_owned();
                self.session.refuse(RefusedReason::NotReady, text)
            }
            Err(rejected) => self.session.refuse(rejected.reason, rejected.text),
        };
        for effect in answer {
            match effect {
                Effect::Send(frame) => {
                    writer.send(&frame).map_err(|error| error.to_string())?;
                }
                Effect::Close(why) => return Err(why),
                Effect::Greeted(_)
                | Effect::Merge(..)
                | Effect::Record(_)
                | Effect::Alarm(_)
                | Effect::Answered(_)
                | Effect::Holding(_)
                | Effect::Arrives(_)
                | Effect::Leaves(_) => {}
            }
        }
        Ok(())
    }

    /// Whether a child may come in now. Members and relays, of which there are few, always may.
    fn pass(&mut self, role: Role) -> Result<(), Rejected> {
        if role == Role::Leaf {
            let place = self.gate.pass().map_err(|ms| {
                let text = format!("too many come at once; come back in {ms} ms");
                Rejected { reason: RefusedReason::Busy(ms), text }
            })?;
            self.place = Some(place);
        }
        Ok(())
    }

    /// Has it decided whether the child is let in. Where that takes long, the place is for others.
    async fn admit(&mut self, below: &Below) -> Result<Admitted, Rejected> {
        let options = self.options.clone();
        let mut admitting = std::pin::pin!(admission::admit(below, &options));
        let in_time = Duration::from_millis(INSIDE_MS_MAX);
        if let Ok(decided) = tokio::time::timeout(in_time, &mut admitting).await {
            return decided;
        }
        self.place = None;
        admitting.await
    }

    /// Makes place for another child once this one has its Cfg, or takes too long.
    fn make_place(&mut self) {
        let is_in = self.offered && self.session.is_settled();
        if self.place.as_ref().is_some_and(|place| is_in || place.is_overdue()) {
            self.place = None;
        }
    }

    /// What changes for a leaf the register tells its session; a relay's looks at all changes.
    async fn register(&mut self, hello: &Hello, uid: Uid) -> bool {
        if self.options.orders.ways().is_below_since(&hello.node, hello.epoch) {
            return false;
        }
        let told = self.dirty.clone();
        if hello.role == Role::Relay {
            self.dirty = self.options.state.watch_objects().await;
        }
        let register = Register {
            node: hello.node.clone(),
            uid,
            epoch: hello.epoch,
            role: hello.role,
            peer: self.peer.to_string(),
            dirty: told,
            close: self.close.clone(),
        };
        self.register.send(register).await.unwrap_or(false)
    }

    async fn attach(&mut self, hello: &Hello, uid: Uid) {
        let attached =
            Attached { uid, node: hello.node.clone(), epoch: hello.epoch, role: hello.role };
        if hello.role.is_below() && self.is_told_above() {
            self.options.state.set_attached(hello.node.clone(), true).await;
        }
        self.options.state.set_link(uid, hello.epoch, Link::Up).await;
        let text = format!("{} attached to {}", hello.node, self.options.node);
        self.record(EventKind::Link, Some(uid), text).await;
        self.serves = BTreeSet::from([uid]);
        self.audience.add(hello.node.clone(), uid);
        self.attached = Some(attached);
        self.way = Some(self.options.orders.ways().child(&hello.node, hello.role));
        if hello.role == Role::Relay {
            self.lose_what_does_not_come(hello.node.clone());
        }
        if hello.role == Role::Member {
            self.options.state.set_lost(hello.node.clone(), false).await;
            self.options.state.look_again().await;
            actix_rt::spawn(lose_own_leaves(self.options.clone()));
        }
    }

    /// The session is over: unless a newer one is here already, the child's link is down.
    async fn ended(mut self, over: Over) {
        let Some(Attached { uid, node, epoch, role }) = self.attached.clone() else {
            tracing::debug!(peer = %self.peer, why = %over, "a connection ended unattached");
            return;
        };
        self.close_way(&node).await;
        self.tell_orphans(&node).await;
        self.all_have_left().await;
        if role == Role::Member {
            self.options.state.look_again().await;
        }
        let last = self.register.send(Unregister { node: node.clone(), epoch }).await;
        if !last.unwrap_or(false) || self.options.stop.is_cancelled() {
            return;
        }
        self.options.state.set_link(uid, epoch, Link::Down).await;
        if !self.options.orders.ways().has_child(&node) {
            self.options.state.set_attached(node.clone(), false).await;
        }
        self.tell_left(node.clone(), epoch).await;
        let text = format!("{node} lost: {over}");
        self.record(EventKind::Link, Some(uid), text).await;
        match role {
            Role::Member => self.lose_leaves_of(node).await,
            Role::Relay => self.lose_all_below(node, uid).await,
            Role::Leaf => {}
        }
    }

    async fn record(&self, kind: EventKind, uid: Option<Uid>, text: String) {
        record(kind, uid, text, &self.options).await;
    }
}

async fn record(kind: EventKind, uid: Option<Uid>, text: String, options: &DownlinkOptions) {
    tracing::info!("{text}");
    let happening = Happening { kind, uid, revision: None, attempt: None, text };
    options.state.record(happening).await;
}

/// What is to go down next; for ever nothing, before the child is attached.
async fn next(way: &mut Option<ChildWay>) -> Option<Down> {
    match way {
        Some(way) => way.taken.recv().await,
        None => std::future::pending().await,
    }
}
