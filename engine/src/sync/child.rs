//! The lower end of a session: says Hello, takes Cfg, sends what was seen and what happened.
//!
//! | state | input | next | effects |
//! |---|---|---|---|
//! | Detached | `connected` | Greeting | Hello |
//! | Greeting | Welcome | Attached | Attached, SendAll |
//! | Greeting | Refused | Detached | Close, and Gone where the object is |
//! | Greeting | another frame, or silence | Detached | Close |
//! | Attached | CfgDelta that fits | Attached | SetCfg, CfgAck |
//! | Attached | CfgDelta that does not fit | Detached | Close: a new Hello brings all |
//! | Attached | DscAck | Attached | the next batch |
//! | Attached | Resync | Attached | SendAll |
//! | Attached | silence, or a frame out of place | Detached | Close |
//! | any | `disconnected` | Detached | |

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    BATCH_MS, DEAD_AFTER_MS, DELTA_PATHS_MAX, EVENTS_FRAME_MAX, EVENTS_PENDING_MAX, HEARTBEAT_MS,
    PROTOCOL_VERSION, WINDOW_FRAMES,
    delta::{self, ObjectDelta},
    frame::{CfgDelta, DscDelta, Frame, Heartbeat, Hello, Refused, RefusedReason, Role, Welcome},
};
use crate::{
    dsc::{Observed, Sighting, sighting_digest},
    event::Event,
    id::{ClusterId, Name, Revision, SessionEpoch, Uid},
    object::{Labels, Object},
    path::Path,
    time::Millis,
};

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
    /// Attached: the hybrid clock must be moved beyond this.
    Attached(Welcome),
    /// Offer all that is held through [`Child::offer`].
    SendAll,
    /// The Cfg of these objects is now this.
    SetCfg(Vec<Arc<Object>>),
    /// These objects are no longer this child's.
    DropCfg(Vec<Uid>),
    /// The child's own object was removed.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Detached,
    Greeting { since: Millis },
    Attached { heard: Millis, beat: Millis },
}

/// The lower end of a session and what it holds between sessions.
#[derive(Debug)]
pub struct Child {
    identity: Identity,
    phase: Phase,
    epoch: SessionEpoch,
    cluster: ClusterId,
    uid: Option<Uid>,
    revision: Revision,
    objects: BTreeMap<Uid, Arc<Object>>,
    outbox: Outbox,
}

/// What waits to be sent, and what was.
#[derive(Debug, Default)]
struct Outbox {
    pending: BTreeMap<(Uid, Path), Observed>,
    events: VecDeque<Event>,
    dropped: u64,
    sent: u64,
    acknowledged: u64,
    unacknowledged: VecDeque<(u64, Vec<Event>)>,
    digests: BTreeMap<(Uid, Path), u64>,
    digest: u64,
    sent_at: Millis,
}

impl Child {
    /// A child that has never been attached. `objects` is what it holds from before, if anything.
    pub fn new(identity: Identity, cluster: ClusterId, objects: Vec<Arc<Object>>) -> Self {
        let own = objects.iter().find(|object| object.key.name == identity.node);
        Self {
            phase: Phase::Detached,
            epoch: SessionEpoch::default(),
            cluster,
            uid: own.map(|object| object.uid),
            revision: objects.iter().map(|object| object.revision).max().unwrap_or_default(),
            objects: objects.into_iter().map(|object| (object.uid, object)).collect(),
            outbox: Outbox::default(),
            identity,
        }
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
        (self.outbox.pending.len(), self.outbox.events.len())
    }

    /// A connection stands: say Hello. `now` is wall time, so that epochs grow over restarts.
    pub fn connected(&mut self, now: Millis) -> Vec<Effect> {
        self.epoch = SessionEpoch::new((self.epoch.get() + 1).max(now.get()));
        self.phase = Phase::Greeting { since: now };
        self.outbox.begin();
        vec![Effect::Send(Frame::Hello(Hello {
            version: PROTOCOL_VERSION,
            node: self.identity.node.clone(),
            role: self.identity.role,
            epoch: self.epoch,
            cluster: self.cluster,
            revision: self.revision,
            uid: self.uid,
            labels: self.identity.labels.clone(),
        }))]
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.phase = Phase::Detached;
    }

    /// A frame came.
    pub fn receive(&mut self, frame: Frame, now: Millis) -> Vec<Effect> {
        match (self.phase, frame) {
            (Phase::Greeting { .. }, Frame::Welcome(welcome)) => self.welcomed(welcome, now),
            (Phase::Greeting { .. }, Frame::Refused(refused)) => self.refused(refused),
            (Phase::Attached { beat, .. }, frame) => {
                self.phase = Phase::Attached { heard: now, beat };
                self.attached(frame, now)
            }
            (Phase::Detached | Phase::Greeting { .. }, _) => {
                self.close("a frame out of place".to_owned())
            }
        }
    }

    /// Observations to be sent. Those of one path replace each other until they are.
    pub fn offer(&mut self, uid: Uid, sightings: Vec<Sighting>, now: Millis) -> Vec<Effect> {
        self.outbox.offer(uid, sightings);
        self.flush(now)
    }

    /// Events to be sent.
    pub fn record(&mut self, events: Vec<Event>, now: Millis) -> Vec<Effect> {
        self.outbox.record(events);
        self.flush(now)
    }

    /// An object is no longer of this child: what it sent of it no longer counts.
    pub fn withdraw(&mut self, uid: Uid) {
        self.outbox.withdraw(uid);
    }

    /// Time has passed; to be called at least every [`BATCH_MS`] while something waits, and every
    /// [`HEARTBEAT_MS`] else.
    pub fn tick(&mut self, now: Millis) -> Vec<Effect> {
        match self.phase {
            Phase::Greeting { since } if now >= since.after_ms(DEAD_AFTER_MS) => {
                self.close("no answer to Hello".to_owned())
            }
            Phase::Detached | Phase::Greeting { .. } => Vec::new(),
            Phase::Attached { heard, .. } if now >= heard.after_ms(DEAD_AFTER_MS) => {
                self.close(format!("nothing heard for {DEAD_AFTER_MS} ms"))
            }
            Phase::Attached { heard, beat } => {
                let mut effects = self.flush(now);
                if now >= beat.after_ms(HEARTBEAT_MS) {
                    self.phase = Phase::Attached { heard, beat: now };
                    effects.push(Effect::Send(Frame::Heartbeat(self.outbox.heartbeat(now))));
                }
                effects
            }
        }
    }

    fn close(&mut self, why: String) -> Vec<Effect> {
        self.phase = Phase::Detached;
        vec![Effect::Close(why)]
    }

    fn welcomed(&mut self, welcome: Welcome, now: Millis) -> Vec<Effect> {
        self.phase = Phase::Attached { heard: now, beat: now };
        self.cluster = welcome.cluster;
        self.uid = welcome.uid.or(self.uid);
        let mut effects = vec![Effect::Attached(welcome), Effect::SendAll];
        effects.extend(self.flush(now));
        effects
    }

    fn refused(&mut self, refused: Refused) -> Vec<Effect> {
        let mut effects = self.close(refused.text);
        match refused.reason {
            RefusedReason::Epoch(floor) => self.epoch = self.epoch.max(floor),
            RefusedReason::Gone => {
                let uids = std::mem::take(&mut self.objects).into_keys().collect();
                self.uid = None;
                effects.extend([Effect::DropCfg(uids), Effect::Gone]);
            }
            RefusedReason::Version | RefusedReason::Cluster | RefusedReason::NotReady => {}
        }
        effects
    }

    fn attached(&mut self, frame: Frame, now: Millis) -> Vec<Effect> {
        match frame {
            Frame::CfgDelta(delta) => self.cfg_delta(delta),
            Frame::DscAck { seq } => {
                self.outbox.acknowledge(seq);
                self.flush(now)
            }
            Frame::Resync => {
                self.outbox.begin();
                let mut effects = vec![Effect::SendAll];
                effects.extend(self.flush(now));
                effects
            }
            Frame::Heartbeat(_) => Vec::new(),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::CfgAck { .. }
            | Frame::DscDelta(_) => self.close("a frame out of place".to_owned()),
        }
    }

    fn cfg_delta(&mut self, delta: CfgDelta) -> Vec<Effect> {
        if delta.revision < self.revision {
            return self.close(format!("Cfg would go back to revision {}", delta.revision));
        }
        let (mut set, mut gone) = (Vec::new(), Vec::new());
        for object in delta.objects {
            match object {
                ObjectDelta::Whole(object) => set.push(object),
                ObjectDelta::Gone(uid) => gone.push(uid),
                ObjectDelta::Changed(changed) => {
                    let held = self.objects.get(&changed.uid).map(Arc::as_ref);
                    match delta::apply(held, changed) {
                        Ok(object) => set.push(Arc::new(object)),
                        Err(error) => return self.close(error.to_string()),
                    }
                }
            }
        }
        for uid in &gone {
            self.objects.remove(uid);
        }
        self.objects.extend(set.iter().map(|object| (object.uid, object.clone())));
        self.revision = delta.revision;
        let mut effects = Vec::new();
        if !set.is_empty() {
            effects.push(Effect::SetCfg(set));
        }
        if self.uid.is_some_and(|uid| gone.contains(&uid)) {
            effects.push(Effect::Gone);
        }
        if !gone.is_empty() {
            effects.push(Effect::DropCfg(gone));
        }
        effects.push(Effect::Send(Frame::CfgAck { seq: delta.seq }));
        effects
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

impl Outbox {
    /// A session begins: nothing counts as sent, what was not acknowledged goes again.
    fn begin(&mut self) {
        for (_, events) in std::mem::take(&mut self.unacknowledged).into_iter().rev() {
            for event in events.into_iter().rev() {
                self.events.push_front(event);
            }
        }
        self.sent = 0;
        self.acknowledged = 0;
        self.digests.clear();
        self.digest = 0;
        self.sent_at = Millis::ZERO;
    }

    fn offer(&mut self, uid: Uid, sightings: Vec<Sighting>) {
        for (path, observed) in sightings {
            self.pending.insert((uid, path), observed);
        }
    }

    fn record(&mut self, events: Vec<Event>) {
        self.events.extend(events);
        while self.events.len() > EVENTS_PENDING_MAX {
            self.events.pop_front();
            self.dropped += 1;
        }
    }

    fn withdraw(&mut self, uid: Uid) {
        self.pending.retain(|(of, _), _| *of != uid);
        let digest = &mut self.digest;
        self.digests.retain(|(of, _), held| {
            let keep = *of != uid;
            if !keep {
                *digest ^= *held;
            }
            keep
        });
    }

    fn acknowledge(&mut self, seq: u64) {
        self.acknowledged = self.acknowledged.max(seq.min(self.sent));
        while self.unacknowledged.front().is_some_and(|(sent, _)| *sent <= seq) {
            self.unacknowledged.pop_front();
        }
    }

    /// The next delta, if something waits, the window has room and the batch is due: at once after
    /// a pause, else [`BATCH_MS`] after the last one.
    fn next(&mut self, now: Millis) -> Option<DscDelta> {
        let idle = self.pending.is_empty() && self.events.is_empty();
        let full = self.sent - self.acknowledged >= WINDOW_FRAMES;
        if idle || full || now < self.sent_at.after_ms(BATCH_MS) {
            return None;
        }
        let mut changes: Vec<(Uid, Vec<Sighting>)> = Vec::new();
        for _ in 0..self.pending.len().min(DELTA_PATHS_MAX) {
            let Some(((uid, path), observed)) = self.pending.pop_first() else { break };
            let digest = sighting_digest(&path, &observed);
            let held = self.digests.insert((uid, path.clone()), digest).unwrap_or_default();
            self.digest ^= held ^ digest;
            match changes.last_mut() {
                Some((last, sightings)) if *last == uid => sightings.push((path, observed)),
                _ => changes.push((uid, vec![(path, observed)])),
            }
        }
        let count = self.events.len().min(EVENTS_FRAME_MAX);
        let events: Vec<Event> = self.events.drain(..count).collect();
        self.sent += 1;
        if self.pending.is_empty() {
            self.sent_at = now;
        }
        self.unacknowledged.push_back((self.sent, events.clone()));
        Some(DscDelta { seq: self.sent, changes, events })
    }

    fn heartbeat(&self, now: Millis) -> Heartbeat {
        Heartbeat { sent_ms: now.get(), seq: self.sent, digest: self.digest }
    }
}
