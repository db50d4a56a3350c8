//! The upper end of a session: welcomes a child, pushes its Cfg, takes what it saw.
//!
//! | state | input | next | effects |
//! |---|---|---|---|
//! | Expecting | Hello | Asking | Greeted: the driver answers with `accept` or `refuse` |
//! | Expecting, Asking | another frame, or silence | Over | Close |
//! | Asking | `accept` | Attached | Welcome |
//! | Asking | `refuse` | Over | Refused, Close |
//! | Attached | `offer` | Attached | CfgDelta, unless one is unacknowledged |
//! | Attached | CfgAck | Attached | the CfgDelta that has become due |
//! | Attached | DscDelta | Attached | Merge, Record, DscAck |
//! | Attached | Heartbeat | Attached | echo; Resync where the digests differ |
//! | Attached | silence, or a frame out of place | Over | Close |
//!
//! A child has at most one unacknowledged CfgDelta; what changes meanwhile collapses into the next,
//! so that a slow child holds one frame of memory and never another child.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    DEAD_AFTER_MS, PROTOCOL_VERSION, STAMP_AHEAD_MS_MAX,
    delta::{self, ObjectDelta},
    frame::{CfgDelta, DscDelta, Frame, Heartbeat, Hello, Refused, RefusedReason, Role, Welcome},
};
use crate::{
    catalog::Catalog,
    dsc::{Sighting, sighting_digest},
    event::Event,
    id::{Name, Revision, Uid},
    manifest::SeenBy,
    object::Object,
    path::Path,
    time::Millis,
};

/// What the parent's driver must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a frame.
    Send(Frame),
    /// Close the connection; the session is over.
    Close(String),
    /// A child said Hello: answer with [`Session::accept`] or [`Session::refuse`].
    Greeted(Hello),
    /// Merge observations of an object.
    Merge(Uid, Vec<Sighting>),
    /// Keep events.
    Record(Vec<Event>),
    /// Something was refused that should not have been sent.
    Alarm(String),
}

/// What a session may be told of.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    /// The catalog of this parent.
    pub catalog: &'a Catalog,
    /// The parent's hybrid clock, in milliseconds.
    pub hybrid_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Expecting { since: Millis },
    Asking { since: Millis },
    Attached { heard: Millis },
    Over,
}

/// The upper end of one session.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    hello: Option<Hello>,
    /// What the child holds once it has acknowledged all.
    sent: BTreeMap<Uid, Arc<Object>>,
    sequence: u64,
    acknowledged: u64,
    wanted: Option<(Revision, Vec<Arc<Object>>)>,
    digests: BTreeMap<(Uid, Path), u64>,
    digest: u64,
    refused: u64,
}

impl Session {
    /// A connection was accepted.
    pub fn new(now: Millis) -> Self {
        Self {
            phase: Phase::Expecting { since: now },
            hello: None,
            sent: BTreeMap::new(),
            sequence: 0,
            acknowledged: 0,
            wanted: None,
            digests: BTreeMap::new(),
            digest: 0,
            refused: 0,
        }
    }

    /// The child, once it has said Hello.
    pub fn child(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Whether the child is attached.
    pub fn is_attached(&self) -> bool {
        matches!(self.phase, Phase::Attached { .. })
    }

    /// How many observations were refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// A frame came.
    pub fn receive(&mut self, frame: Frame, authority: Authority<'_>, now: Millis) -> Vec<Effect> {
        match (self.phase, frame) {
            (Phase::Expecting { .. }, Frame::Hello(hello)) => self.greeted(hello, now),
            (Phase::Attached { .. }, frame) => {
                self.phase = Phase::Attached { heard: now };
                self.attached(frame, authority)
            }
            (Phase::Over, _) => Vec::new(),
            (Phase::Expecting { .. } | Phase::Asking { .. }, _) => {
                self.close("a frame out of place".to_owned())
            }
        }
    }

    fn greeted(&mut self, hello: Hello, now: Millis) -> Vec<Effect> {
        if hello.version != PROTOCOL_VERSION {
            let text = format!(
                "protocol version {} is not {PROTOCOL_VERSION}; run the same release on both",
                hello.version
            );
            self.phase = Phase::Asking { since: now };
            return self.refuse(RefusedReason::Version, text);
        }
        self.phase = Phase::Asking { since: now };
        self.hello = Some(hello.clone());
        vec![Effect::Greeted(hello)]
    }

    /// Accepts the child that said Hello.
    pub fn accept(&mut self, welcome: Welcome, now: Millis) -> Vec<Effect> {
        if !matches!(self.phase, Phase::Asking { .. }) {
            return Vec::new();
        }
        self.phase = Phase::Attached { heard: now };
        vec![Effect::Send(Frame::Welcome(welcome))]
    }

    /// Refuses the child that said Hello.
    pub fn refuse(&mut self, reason: RefusedReason, text: String) -> Vec<Effect> {
        self.phase = Phase::Over;
        let refused = Refused { reason, text: text.clone() };
        vec![Effect::Send(Frame::Refused(refused)), Effect::Close(text)]
    }

    /// The Cfg that the child may see is now this, as of `revision`.
    pub fn offer(&mut self, revision: Revision, objects: Vec<Arc<Object>>) -> Vec<Effect> {
        self.wanted = Some((revision, objects));
        self.push_cfg()
    }

    /// Time has passed; to be called about once a heartbeat.
    pub fn tick(&mut self, now: Millis) -> Vec<Effect> {
        let since = match self.phase {
            Phase::Expecting { since } | Phase::Asking { since } => since,
            Phase::Attached { heard } => heard,
            Phase::Over => return Vec::new(),
        };
        if now < since.after_ms(DEAD_AFTER_MS) {
            return Vec::new();
        }
        self.close(format!("nothing heard for {DEAD_AFTER_MS} ms"))
    }

    fn close(&mut self, why: String) -> Vec<Effect> {
        self.phase = Phase::Over;
        vec![Effect::Close(why)]
    }

    fn attached(&mut self, frame: Frame, authority: Authority<'_>) -> Vec<Effect> {
        match frame {
            Frame::CfgAck { seq } => {
                self.acknowledged = self.acknowledged.max(seq.min(self.sequence));
                self.push_cfg()
            }
            Frame::DscDelta(delta) => self.merge(delta, authority),
            Frame::Heartbeat(beat) => self.beat(beat),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::CfgDelta(_)
            | Frame::DscAck { .. }
            | Frame::Resync => self.close("a frame out of place".to_owned()),
        }
    }

    fn push_cfg(&mut self) -> Vec<Effect> {
        let floor = self.hello.as_ref().map(|hello| hello.revision).unwrap_or_default();
        let due = self.is_attached() && self.acknowledged == self.sequence;
        let Some((revision, wanted)) = self.wanted.take_if(|(at, _)| due && *at >= floor) else {
            return Vec::new();
        };
        let mut objects = Vec::new();
        for object in &wanted {
            let held = self.sent.get(&object.uid).map(Arc::as_ref);
            objects.extend(delta::between(held, object));
        }
        let now: BTreeMap<Uid, Arc<Object>> =
            wanted.into_iter().map(|object| (object.uid, object)).collect();
        let gone = self.sent.keys().filter(|uid| !now.contains_key(uid));
        objects.extend(gone.map(|uid| ObjectDelta::Gone(*uid)));
        self.sent = now;
        if objects.is_empty() {
            return Vec::new();
        }
        self.sequence += 1;
        let delta = CfgDelta { seq: self.sequence, revision, objects };
        vec![Effect::Send(Frame::CfgDelta(delta))]
    }

    fn merge(&mut self, delta: DscDelta, authority: Authority<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (uid, sightings) in delta.changes {
            let mut accepted = Vec::with_capacity(sightings.len());
            for (path, observed) in sightings {
                let digest = sighting_digest(&path, &observed);
                let held = self.digests.insert((uid, path.clone()), digest).unwrap_or_default();
                self.digest ^= held ^ digest;
                match self.refusal(uid, &path, observed.stamp.ms, authority) {
                    None => accepted.push((path, observed)),
                    Some(why) => {
                        self.refused += 1;
                        effects.push(Effect::Alarm(why));
                    }
                }
            }
            effects.push(Effect::Merge(uid, accepted));
        }
        if !delta.events.is_empty() {
            effects.push(Effect::Record(delta.events));
        }
        effects.push(Effect::Send(Frame::DscAck { seq: delta.seq }));
        effects
    }

    /// Why this session may not say this, if it may not.
    fn refusal(
        &self,
        uid: Uid,
        path: &Path,
        stamp_ms: u64,
        authority: Authority<'_>,
    ) -> Option<String> {
        let hello = self.hello.as_ref()?;
        let node: &Name = &hello.node;
        if stamp_ms > authority.hybrid_ms.saturating_add(STAMP_AHEAD_MS_MAX) {
            let ahead = stamp_ms - authority.hybrid_ms;
            return Some(format!("{node} reports {path} with a clock {ahead} ms ahead"));
        }
        if hello.role == Role::Member {
            return None;
        }
        let Some(object) = self.sent.get(&uid) else {
            return Some(format!("{node} reports of {uid}, which is not its own"));
        };
        let own = path.as_str().starts_with("/engine/self/") || {
            let kind = authority.catalog.kind(&object.key.kind);
            let rule = kind.and_then(|kind| kind.schema.rule(path));
            rule.is_some_and(|(rule, _)| rule.discovered && rule.seen_by == SeenBy::Itself)
        };
        (!own).then(|| format!("{node} reports {path}, which it does not discover"))
    }

    fn beat(&mut self, beat: Heartbeat) -> Vec<Effect> {
        let mut effects = vec![Effect::Send(Frame::Heartbeat(beat))];
        // Deltas and heartbeats share one ordered stream, so that all sent before this has come.
        if beat.digest != self.digest {
            self.digests.clear();
            self.digest = 0;
            effects.push(Effect::Send(Frame::Resync));
        }
        effects
    }
}
