//! The lower end of a session: says Hello, takes Cfg, sends what was seen and what happened.
//!
//! | state | input | next | effects |
//! |---|---|---|---|
//! | Detached | `connected` | Greeting | Hello |
//! | Detached | a frame | Detached | |
//! | Greeting | Welcome | Attached | Attached, SendAll |
//! | Greeting | Welcome of a leaf that lived before | Attached | Attached, Reborn, SendAll |
//! | Greeting | Welcome to a later epoch | Attached | the same; Cfg of any revision is taken |
//! | Greeting | Welcome to another cluster, or an earlier epoch | Detached | Close |
//! | Greeting | Refused | Detached | Close, and Gone where the object is, Defer where it is busy |
//! | Greeting | another frame, or silence | Detached | Close |
//! | Attached | the first CfgDelta | Attached | SetCfg, DropCfg of all else, CfgAck |
//! | Attached | CfgDelta that fits | Attached | SetCfg, DropCfg, CfgAck; Gone where its object is |
//! | Attached | CfgDelta that does not fit | Detached | Close: a new Hello brings all |
//! | Attached | CfgDelta with manifests | Attached | besides Declare, or Undeclared |
//! | Attached | ViewDelta | Attached | SetViews, ViewAck, see [`super::views`] |
//! | Attached | DscAck | Attached | the next batch |
//! | Attached | Resync | Attached | SendAll, and digests count afresh |
//! | Attached | a heartbeat is due, or Ping | Attached | Beat, to older parents Heartbeat |
//! | Attached | Echo, Heartbeat | Attached | the lease is longer, and Assured |
//! | Attached | silence, no acknowledgements, or a frame out of place | Detached | Close |
//! | Attached | Dispatch, Cancel, Look, or an answer to give | Attached | see [`super::orders`] |
//! | Attached | Admitted, `arrives`, `leaves` of a relay | Attached | see [`super::below`] |
//! | any | `disconnected` | Detached | |

mod beat;
mod cfg;
mod ordered;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::beat::Beats;
use super::{
    PROTOCOL_VERSION,
    declared::digests,
    frame::{Admitted, Below, Frame, Hello, Left, Refused, RefusedReason, Role, Welcome},
    kept::Kept,
    orders::Taken,
    outbox::Outbox,
    pace::{Pace, Silence},
    views::ViewDelta,
};
use crate::{
    catalog::Catalog,
    dsc::Sighting,
    event::Event,
    id::{ClusterId, Epoch, Name, Revision, SessionEpoch, Uid},
    manifest::Manifest,
    object::{Labels, Object},
    order::{Answer, Holds, LookAt, Order, Recall},
    time::Millis,
};

/// How long after it attached a relay holds what belongs to nodes below it that do not come, in
/// milliseconds.
const SWEEP_MS: u64 = 10_000;

/// Who the child is, for its Hellos.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub node: Name,
    /// What it is.
    pub role: Role,
    /// The labels that it would be registered with.
    pub labels: Labels,
}

/// What the child's driver must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a frame.
    Send(Frame),
    /// Close the connection and dial again later.
    Close(String),
    /// The parent asks to be dialled again after so many milliseconds.
    Defer(u64),
    /// Attached: the hybrid clock must be moved beyond this.
    Attached(Welcome),
    /// The parent may hold what this leaf said in an earlier life, with a clock that was ahead of
    /// the one that it has now: all that it has seen in this life must be stamped anew.
    Reborn,
    /// Offer all that is held through [`Child::offer`].
    SendAll,
    /// The Cfg of these objects is now this.
    SetCfg(Vec<Arc<Object>>),
    /// These objects are no longer this child's.
    DropCfg(Vec<Uid>),
    /// Of these nodes below it a relay holds all Cfg up to what is reached next, once the effects
    /// before that are carried out. At the beginning of a session it does of none.
    Whole(Vec<Name>),
    /// A relay holds all Cfg up to this revision that it is to hold, once the effects before this
    /// are carried out.
    Reached(Revision),
    /// What can be declared and done is now this.
    Declare(Arc<Catalog>),
    /// What is declared could not be taken over, for this reason: what was declared before stands.
    Undeclared(String),
    /// The hybrid clock must be moved beyond this: others have spoken of what is the child's now.
    Advance(u64),
    /// Word of the quorum: at this moment it had Cfg up to a revision. A leaf holds that once all
    /// effects with which this comes are carried out; for it the revision is 0.
    Assured(Millis, Revision),
    /// What its decisions need of elsewhere has changed.
    SetViews(ViewDelta),
    /// The child's own object was removed.
    Gone,
    /// Carry an order out, or hand it on; it may be started until this moment.
    Carry(Box<Order>, Millis),
    /// Give an attempt up, or hand that on.
    Recall(Recall),
    /// Look at an object, or hand that on.
    LookAt(LookAt),
    /// What became of a node that said Hello to this relay.
    Admitted(Box<Admitted>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Detached,
    Greeting { since: Millis },
    Attached { silence: Silence, beat: Millis },
}

/// The lower end of a session and what it holds between sessions.
#[derive(Debug)]
pub struct Child {
    identity: Identity,
    phase: Phase,
    epoch: SessionEpoch,
    /// The first session of this life in which a parent has welcomed it.
    born: Option<SessionEpoch>,
    cluster: ClusterId,
    cfg_epoch: Epoch,
    uid: Option<Uid>,
    revision: Revision,
    objects: BTreeMap<Uid, Arc<Object>>,
    outbox: Outbox,
    orders: Taken,
    /// Whether the parent takes answers.
    answers: bool,
    /// The latest stamp that it has offered in this life, in milliseconds.
    offered_ms: u64,
    /// The manifests that it holds, by module, if it takes any.
    manifests: Option<BTreeMap<String, Manifest>>,
    /// Views of this session that came.
    views: u64,
    /// The nodes that were let in below it in this session, where it is a relay.
    lower: BTreeSet<Name>,
    /// When it lets go of what it holds of nodes that have not come back since.
    sweep_at: Option<Millis>,
    /// The one of this session.
    pace: Pace,
    /// Whether it was assured of the quorum in this life: it counts on that.
    is_assured: bool,
    /// Where the parent of this session takes them.
    beats: Option<Beats>,
}

impl Child {
    /// A child that has never been attached. `objects` is what it holds from before, if anything.
    pub fn new(identity: Identity, cluster: ClusterId, objects: Vec<Arc<Object>>) -> Self {
        let own = objects.iter().find(|object| object.is_node(&identity.node));
        Self {
            phase: Phase::Detached,
            epoch: SessionEpoch::default(),
            born: None,
            cluster,
            cfg_epoch: Epoch::FIRST,
            uid: own.map(|object| object.uid),
            revision: objects.iter().map(|object| object.revision).max().unwrap_or_default(),
            objects: objects.into_iter().map(|object| (object.uid, object)).collect(),
            outbox: Outbox::default(),
            orders: Taken::default(),
            answers: false,
            offered_ms: 0,
            manifests: None,
            views: 0,
            lower: BTreeSet::new(),
            sweep_at: None,
            pace: Pace::NORMAL,
            is_assured: false,
            beats: None,
            identity,
        }
    }

    /// The same child, which holds what was kept of an earlier life: it takes no Cfg from before,
    /// and decides by these declarations. By which uid it knows itself it is told anew, so that one
    /// whose object was removed meanwhile is registered again.
    #[must_use]
    pub fn resuming(self, kept: Kept) -> Self {
        let Kept { cluster, epoch, revision, objects, manifests } = kept;
        let objects = objects.into_iter().map(|object| (object.uid, object)).collect();
        Self { cluster, cfg_epoch: epoch, revision, objects, ..self }.declaring(manifests)
    }

    /// What is to be kept of it, which is what it decides itself; `None` before it holds any Cfg.
    pub fn kept(&self) -> Option<Kept> {
        let belongs = self.cluster != ClusterId::default();
        belongs.then(|| Kept {
            cluster: self.cluster,
            epoch: self.cfg_epoch,
            revision: self.revision,
            objects: self.objects.values().filter(|object| self.is_own(object)).cloned().collect(),
            manifests: self.manifests.iter().flatten().map(|(_, held)| held.clone()).collect(),
        })
    }

    /// The same child, which holds these manifests and takes others.
    #[must_use]
    pub fn declaring(self, manifests: impl IntoIterator<Item = Manifest>) -> Self {
        let named = manifests.into_iter().map(|manifest| (manifest.module.clone(), manifest));
        Self { manifests: Some(named.collect()), ..self }
    }

    /// Whether an object is in its own charge, and not only in that of a node below.
    fn is_own(&self, object: &Object) -> bool {
        object.is_in_charge_of(&self.identity.node)
    }

    /// The same child, which is known to have held Cfg up to this revision: it takes none from
    /// before.
    #[must_use]
    pub fn at_revision(self, revision: Revision) -> Self {
        Self { revision: self.revision.max(revision), ..self }
    }

    /// Whether a parent has welcomed it.
    pub fn is_attached(&self) -> bool {
        matches!(self.phase, Phase::Attached { .. })
    }

    /// The cluster it belongs to; 0 before the first Welcome.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The revision of the Cfg that it holds.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many observations and events wait to be sent.
    pub fn backlog(&self) -> (usize, usize) {
        self.outbox.backlog()
    }

    /// How many events and observations it could not keep or send since it started.
    pub fn dropped(&self) -> u64 {
        self.outbox.dropped() + self.orders.dropped()
    }

    /// Until when it may start what it is handed; `None`: it may not.
    pub fn lease_until(&self) -> Option<Millis> {
        self.orders.lease_until().filter(|_| self.is_attached())
    }

    /// Answers about orders, to be sent; those that a session loses go again with the next.
    pub fn answer(&mut self, answers: Vec<Answer>, now: Millis) -> Vec<Effect> {
        self.orders.answer(answers);
        self.tell_answers(now)
    }

    /// Passes on what a node below has in hand; where nobody is attached to, it says so again
    /// later.
    pub fn pass_on(&self, holds: Holds) -> Vec<Effect> {
        let open = self.is_attached() && self.answers;
        open.then_some(Effect::Send(Frame::Holds(holds))).into_iter().collect()
    }

    /// A node said Hello to this relay, or is attached to it: asks the parent about it. Nothing to
    /// be done: nobody can be asked.
    pub fn arrives(&self, below: Below) -> Vec<Effect> {
        let asks = self.is_attached().then(|| Effect::Send(Frame::Below(Box::new(below))));
        asks.into_iter().collect()
    }

    /// A node is attached to this relay no longer.
    pub fn leaves(&mut self, left: Left) -> Vec<Effect> {
        self.lower.remove(&left.node);
        let tells = self.is_attached().then_some(Effect::Send(Frame::Left(left)));
        tells.into_iter().collect()
    }

    /// A connection stands: say Hello. `now` is wall time, so that epochs grow over restarts.
    pub fn connected(&mut self, now: Millis) -> Vec<Effect> {
        self.epoch = SessionEpoch::new((self.epoch.get() + 1).max(now.get()));
        self.phase = Phase::Greeting { since: now };
        self.outbox.begin();
        self.orders.begin();
        self.views = 0;
        self.pace = self.next_pace();
        vec![Effect::Send(Frame::Hello(Hello {
            version: PROTOCOL_VERSION,
            node: self.identity.node.clone(),
            role: self.identity.role,
            epoch: self.epoch,
            cluster: self.cluster,
            revision: self.revision,
            uid: self.uid,
            labels: self.identity.labels.clone(),
            takes_orders: true,
            cfg_epoch: self.cfg_epoch,
            takes_views: self.identity.role.is_below(),
            declared: self.manifests.as_ref().map(|held| digests(held.values())),
            pace: self.pace,
        }))]
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.phase = Phase::Detached;
    }

    /// A frame came.
    pub fn receive(&mut self, frame: Frame, now: Millis) -> Vec<Effect> {
        match (self.phase, frame) {
            (Phase::Greeting { since }, Frame::Welcome(welcome)) => {
                self.orders.answered(since, now);
                self.welcomed(welcome, now)
            }
            (Phase::Greeting { .. }, Frame::Refused(refused)) => self.refused(refused),
            (Phase::Attached { beat, .. }, frame) => {
                self.phase = Phase::Attached { silence: Silence::broken(now), beat };
                self.attached(frame, now)
            }
            // What was on its way when the session ended.
            (Phase::Detached, _) => Vec::new(),
            (Phase::Greeting { .. }, _) => self.close("a frame out of place".to_owned()),
        }
    }

    /// Observations to be sent. Those of one path replace each other until they are.
    pub fn offer(&mut self, uid: Uid, sightings: Vec<Sighting>, now: Millis) -> Vec<Effect> {
        self.offer_all([(uid, sightings)], now)
    }

    /// The same of many objects, which then go together.
    pub fn offer_all(
        &mut self,
        changes: impl IntoIterator<Item = (Uid, Vec<Sighting>)>,
        now: Millis,
    ) -> Vec<Effect> {
        for (uid, sightings) in changes {
            let stamps = sightings.iter().map(|(_, observed)| observed.stamp.ms);
            self.offered_ms = stamps.fold(self.offered_ms, u64::max);
            self.outbox.offer(uid, sightings);
        }
        self.flush(now)
    }

    /// Events to be sent.
    pub fn record(&mut self, events: Vec<Event>, now: Millis) -> Vec<Effect> {
        self.outbox.record(events);
        self.flush(now)
    }

    /// An object is no longer of this child: what waits to be said of it is not. What was sent
    /// counts on, here as with the parent.
    pub fn withdraw(&mut self, uid: Uid) {
        self.outbox.withdraw(uid);
    }

    fn close(&mut self, why: String) -> Vec<Effect> {
        self.phase = Phase::Detached;
        vec![Effect::Close(why)]
    }

    fn welcomed(&mut self, welcome: Welcome, now: Millis) -> Vec<Effect> {
        if self.cluster != ClusterId::default() && self.cluster != welcome.cluster {
            let (held, other) = (self.cluster, welcome.cluster);
            return self.close(format!("it holds Cfg of cluster {held}, the parent is of {other}"));
        }
        if welcome.cfg_epoch < self.cfg_epoch {
            let (held, other) = (self.cfg_epoch, welcome.cfg_epoch);
            return self.close(format!("it holds Cfg of epoch {held}, the parent is of {other}"));
        }
        if welcome.cfg_epoch > self.cfg_epoch {
            // Revisions of another line; the first delta of a session is all of Cfg.
            self.cfg_epoch = welcome.cfg_epoch;
            self.revision = Revision::default();
        }
        self.phase = Phase::Attached { silence: Silence::broken(now), beat: now };
        self.lower.clear();
        self.sweep_at = (self.identity.role == Role::Relay).then(|| now.after_ms(SWEEP_MS));
        self.cluster = welcome.cluster;
        self.uid = welcome.uid.or(self.uid);
        self.answers = welcome.takes_answers;
        self.beats = welcome.takes_beats.then(Beats::default);
        if !welcome.takes_beats {
            // It is of a release that hears of everybody every second.
            self.pace = Pace::NORMAL;
        }
        let forgotten = welcome.spoken_ms > self.offered_ms;
        let first = self.born.is_none();
        self.born.get_or_insert(self.epoch);
        let mut effects = vec![Effect::Attached(welcome)];
        if self.identity.role.is_below() && (first || forgotten) {
            effects.push(Effect::Reborn);
        }
        effects.push(Effect::SendAll);
        if self.answers {
            effects.extend(self.tell_answers(now));
            let (node, attempts) = (self.identity.node.clone(), self.orders.open());
            effects.push(Effect::Send(Frame::Holds(Holds { node, attempts })));
        }
        effects.extend(self.flush(now));
        effects
    }

    fn refused(&mut self, refused: Refused) -> Vec<Effect> {
        let mut effects = self.close(refused.text);
        match refused.reason {
            RefusedReason::Epoch(floor) => self.epoch = self.epoch.max(floor),
            RefusedReason::Gone => {
                // It goes on saying the uid that was removed, so that it is not taken for a new
                // node.
                let uids = std::mem::take(&mut self.objects).into_keys().collect();
                effects.extend([Effect::DropCfg(uids), Effect::Gone]);
            }
            RefusedReason::Busy(ms) => effects.push(Effect::Defer(ms)),
            RefusedReason::Version | RefusedReason::Cluster | RefusedReason::NotReady => {}
        }
        effects
    }

    fn attached(&mut self, frame: Frame, now: Millis) -> Vec<Effect> {
        match frame {
            Frame::CfgDelta(delta) => self.cfg_delta(delta),
            Frame::DscAck { seq } => {
                self.outbox.acknowledge(seq, now);
                self.flush(now)
            }
            Frame::Ping => self.beat(now),
            Frame::Resync => {
                self.outbox.count_afresh();
                let mut effects = vec![Effect::SendAll];
                effects.extend(self.flush(now));
                effects
            }
            Frame::Heartbeat(beat) => self.echoed(Millis::new(beat.sent_ms), beat.assurance, now),
            Frame::Echo(number, assurance) => self.echoed_number(number, assurance, now),
            Frame::Dispatch(orders) => self.ordered(orders, now),
            Frame::Cancel(recall) => vec![Effect::Recall(recall)],
            Frame::Look(look) => vec![Effect::LookAt(look)],
            Frame::ViewDelta(delta) => self.view_delta(delta),
            Frame::Admitted(admitted) if self.identity.role == Role::Relay => {
                vec![Effect::Admitted(admitted)]
            }
            Frame::ViewAck { .. }
            | Frame::Beat(..)
            | Frame::Below(_)
            | Frame::Left(_)
            | Frame::Admitted(_)
            | Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::CfgAck { .. }
            | Frame::DscDelta(_)
            | Frame::Answers(_)
            | Frame::Holds(_) => self.close("a frame out of place".to_owned()),
        }
    }

    fn flush(&mut self, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_attached() {
            while let Some(delta) = self.outbox.next(now) {
                effects.push(Effect::Send(Frame::DscDelta(delta)));
            }
        }
        effects
    }
}
