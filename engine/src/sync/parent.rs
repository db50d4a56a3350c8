//! The upper end of a session: welcomes a child, pushes its Cfg, takes what it saw.
//!
//! | state | input | next | effects |
//! |---|---|---|---|
//! | Expecting | Hello | Asking | Greeted: the driver answers with `accept` or `refuse` |
//! | Expecting | Hello of another version | Over | Refused, Close |
//! | Expecting, Asking | another frame, or silence | Over | Close |
//! | Asking | `accept` | Attached | Welcome, and the CfgDelta that is due |
//! | Asking | `refuse` | Over | Refused, Close |
//! | Attached | `offer`, also earlier | Attached | CfgDelta, unless one is unacknowledged |
//! | Attached | `offer` of less than the child holds | Attached | waits for more: `is_behind` |
//! | Attached | `declare`, also earlier | Attached | goes with the next CfgDelta |
//! | Attached | `offer_views`, ViewAck | Attached | see [`super::views`] |
//! | Attached | CfgAck | Attached | the CfgDelta that has become due |
//! | Attached | DscDelta | Attached | Merge what the child may say, Alarm, Record, DscAck |
//! | Attached | DscDelta of a leaf with later Cfg than this parent | Attached | waits for that |
//! | Attached | Heartbeat, Beat | Attached | echo; Resync where the digests differ |
//! | Attached | the same of a member, or on a lease | Attached | echo with an [`Assurance`] |
//! | Attached | `dispatch`, `recall`, Answers, Holds | Attached | see [`super::orders`] |
//! | Attached | Below, Left of a relay | Attached | see [`super::below`] |
//! | Attached | silence, or a frame out of place | Over | Close |
//! | Over | anything | Over | |
//!
//! A child has at most one unacknowledged CfgDelta; what changes meanwhile collapses into the next,
//! so that a slow child holds one frame of memory and never another child.

mod beat;
mod below;
mod cfg;
mod judge;
mod ordered;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use self::cfg::Wanted;
use super::{
    PROTOCOL_VERSION, WINDOW_FRAMES,
    below::Nodes,
    declared::Digests,
    digest::Digest,
    frame::{
        Below, DscDelta, Frame, Heartbeat, Hello, Left, Refused, RefusedReason, Role, Welcome,
    },
    orders::{Given, Kept},
    pace::{Pace, Silence},
    views::{Shown, Sights},
};
use crate::{
    catalog::Catalog,
    dsc::Sighting,
    event::Event,
    id::{Name, Revision, SessionEpoch, Uid},
    object::Object,
    order::{Answer, Holds},
    singleton::{Assurance, Assured},
    time::Millis,
};

/// Heartbeats after which a Resync that was not answered is sent again.
const RESYNC_BEATS: u32 = 10;

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
    /// What became of attempts.
    Answered(Vec<Answer>),
    /// What the child has in hand.
    Holding(Holds),
    /// A node wants to attach below a relay: answer with [`Session::admit`] or
    /// [`Session::turn_away`].
    Arrives(Box<Below>),
    /// A node is attached below a relay no longer.
    Leaves(Left),
}

/// What a session may be told of.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    /// The catalog of this parent.
    pub catalog: &'a Catalog,
    /// The parent's hybrid clock, in milliseconds.
    pub hybrid_ms: u64,
    /// What the parent knows of the quorum, by its own clock.
    pub assured: Assured,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Expecting { since: Millis },
    Asking { since: Millis },
    Attached { silence: Silence },
    Over,
}

/// The upper end of one session.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    hello: Option<Hello>,
    /// What the child holds once it has acknowledged all.
    sent: BTreeMap<Uid, Arc<Object>>,
    /// What it may still speak of until it has acknowledged that it is gone.
    leaving: BTreeSet<Uid>,
    sequence: u64,
    acknowledged: u64,
    wanted: Option<Wanted>,
    digest: Digest,
    /// Heartbeats since a Resync was sent, while it is not answered: digests are not compared.
    resyncing: Option<u32>,
    /// The latest stamp that was refused because it lay too far ahead.
    ahead_ms: Option<u64>,
    /// Deltas of a leaf that came before the Cfg by which they are judged.
    early: VecDeque<DscDelta>,
    refused: u64,
    orders: Given,
    shown: Shown,
    /// What is declared here, and what the child holds of that.
    catalog: Option<Arc<Catalog>>,
    declared: Option<Digests>,
    /// When something was heard last, and when a heartbeat.
    heard: Millis,
    beaten: Millis,
    /// Orders that wait for one.
    kept: Kept,
    /// What this parent knows of the quorum, and what time it is by both of its clocks.
    assured: Assured,
    now: Millis,
    hybrid_ms: u64,
    /// The revision up to which Cfg was offered.
    offered: Revision,
    /// What is attached to the child, which is a relay.
    below: Nodes,
    /// The sessions of nodes below it about which it is being decided.
    arriving: BTreeMap<Name, SessionEpoch>,
    /// Nodes that were let in below it, and whose Cfg is to follow.
    let_in: Vec<Name>,
}

impl Session {
    /// A connection was accepted.
    pub fn new(now: Millis) -> Self {
        Self {
            phase: Phase::Expecting { since: now },
            hello: None,
            sent: BTreeMap::new(),
            leaving: BTreeSet::new(),
            sequence: 0,
            acknowledged: 0,
            wanted: None,
            digest: Digest::default(),
            resyncing: None,
            ahead_ms: None,
            early: VecDeque::new(),
            refused: 0,
            orders: Given::default(),
            shown: Shown::default(),
            catalog: None,
            declared: None,
            heard: now,
            beaten: now,
            kept: Kept::default(),
            assured: Assured::default(),
            now,
            hybrid_ms: 0,
            offered: Revision::default(),
            below: Nodes::default(),
            arriving: BTreeMap::new(),
            let_in: Vec::new(),
        }
    }

    /// The child, once it has said Hello.
    pub fn child(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// How often the child is heard of.
    pub fn pace(&self) -> Pace {
        self.hello.as_ref().map(|hello| hello.pace).unwrap_or_default()
    }

    fn role(&self) -> Option<Role> {
        Some(self.hello.as_ref()?.role)
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
        self.assure(authority.assured, authority.hybrid_ms, now);
        match (self.phase, frame) {
            (Phase::Expecting { .. }, Frame::Hello(hello)) => self.greeted(hello, now),
            (Phase::Attached { .. }, frame) => {
                self.phase = Phase::Attached { silence: Silence::broken(now) };
                self.heard = now;
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
        self.declared.clone_from(&hello.declared);
        self.hello = Some(hello.clone());
        vec![Effect::Greeted(hello)]
    }

    /// Accepts the child that said Hello.
    pub fn accept(&mut self, welcome: Welcome, now: Millis) -> Vec<Effect> {
        if !matches!(self.phase, Phase::Asking { .. }) {
            return Vec::new();
        }
        self.phase = Phase::Attached { silence: Silence::broken(now) };
        let mut effects = vec![Effect::Send(Frame::Welcome(welcome))];
        effects.extend(self.push_cfg());
        effects
    }

    /// Refuses the child that said Hello.
    pub fn refuse(&mut self, reason: RefusedReason, text: String) -> Vec<Effect> {
        self.phase = Phase::Over;
        let refused = Refused { reason, text: text.clone() };
        vec![Effect::Send(Frame::Refused(refused)), Effect::Close(text)]
    }

    /// What this parent knows of the quorum now, and what its hybrid clock shows; to be told before
    /// Cfg is offered.
    pub fn assure(&mut self, assured: Assured, hybrid_ms: u64, now: Millis) {
        (self.assured, self.hybrid_ms, self.now) = (assured, hybrid_ms, now);
    }

    /// Whether the child hosts something for which it must know how the quorum is: then its Cfg is
    /// offered before a heartbeat of it is received.
    pub fn is_on_lease(&self, catalog: &Catalog) -> bool {
        let mut kinds = self.sent.values().map(|object| catalog.kind(&object.key.kind));
        kinds.any(|kind| kind.is_some_and(|kind| kind.singleton.is_some()))
    }

    /// What the child can count on, all Cfg up to the assurance being on the way to it before this.
    fn assurance(&self, catalog: Option<&Catalog>) -> Option<Assurance> {
        let (at, revision) = self.assured.good()?;
        let told = self.wanted.is_none() && self.offered >= revision;
        let goes = match self.role()? {
            Role::Member => true,
            Role::Leaf => told && catalog.is_some_and(|all| self.is_on_lease(all)),
            Role::Relay => told,
        };
        let ago = self.now.since_ms(at);
        goes.then_some(Assurance { ago_ms: ago, revision })
    }

    /// Whether it is to look at the time often, whatever the pace of the child.
    pub fn is_busy(&self) -> bool {
        !self.is_settled() || self.is_behind() || !self.kept.is_empty()
    }

    /// Whether the child has acknowledged all Cfg that was sent: what is offered goes at once.
    /// Until then what changes may be gathered.
    pub fn is_settled(&self) -> bool {
        self.acknowledged == self.sequence
    }

    /// What is declared is now this: the child is told with its Cfg, which is offered after this.
    pub fn declare(&mut self, catalog: &Arc<Catalog>) {
        if self.catalog.as_ref().is_none_or(|held| !Arc::ptr_eq(held, catalog)) {
            self.catalog = Some(catalog.clone());
        }
    }

    /// What the child's decisions need of elsewhere is now this.
    pub fn offer_views(&mut self, sights: Sights) -> Vec<Effect> {
        self.shown.offer(sights);
        self.push_views()
    }

    /// The same, told by what may have changed: of these objects it needs this now.
    pub fn offer_view_changes(&mut self, sights: Sights) -> Vec<Effect> {
        self.shown.offer_changes(sights);
        self.push_views()
    }

    /// Views follow the Cfg that they belong to.
    fn push_views(&mut self) -> Vec<Effect> {
        let takes = self.hello.as_ref().is_some_and(|hello| hello.takes_views);
        let settled = self.sequence > 0 && self.acknowledged == self.sequence;
        if !takes || !settled || self.wanted.is_some() || !self.is_attached() {
            return Vec::new();
        }
        self.shown.next().map(|delta| Effect::Send(Frame::ViewDelta(delta))).into_iter().collect()
    }

    /// Time has passed; to be called some times a heartbeat.
    pub fn tick(&mut self, now: Millis) -> Vec<Effect> {
        let pace = self.pace();
        let (is_over, silence_ms) = match &mut self.phase {
            Phase::Expecting { since } | Phase::Asking { since } => {
                let silence_ms = Pace::NORMAL.dead_after_ms();
                (now >= since.after_ms(silence_ms), silence_ms)
            }
            Phase::Attached { silence } => (silence.is_over(now, pace), pace.dead_after_ms()),
            Phase::Over => return Vec::new(),
        };
        if is_over {
            return self.close(format!("nothing heard for {silence_ms} ms"));
        }
        let mut effects = self.give_up_kept(now);
        effects.extend(self.wake(now));
        effects
    }

    fn close(&mut self, why: String) -> Vec<Effect> {
        self.phase = Phase::Over;
        vec![Effect::Close(why)]
    }

    fn attached(&mut self, frame: Frame, authority: Authority<'_>) -> Vec<Effect> {
        match frame {
            Frame::CfgAck { seq } => {
                let mut effects = self.merge_early(authority);
                self.acknowledged = self.acknowledged.max(seq.min(self.sequence));
                if self.acknowledged == self.sequence {
                    self.leaving.clear();
                }
                effects.extend(self.push_cfg());
                effects.extend(self.push_views());
                effects
            }
            Frame::ViewAck { seq } => {
                self.shown.acknowledge(seq);
                self.push_views()
            }
            Frame::DscDelta(delta) if self.is_early() => {
                self.early.push_back(delta);
                if self.early.len() as u64 > WINDOW_FRAMES {
                    return self.close("more frames than the window holds".to_owned());
                }
                Vec::new()
            }
            Frame::DscDelta(delta) => self.merge(delta, authority),
            Frame::Heartbeat(beat) => {
                let echo = |assurance| Frame::Heartbeat(Heartbeat { assurance, ..beat });
                self.beat(beat.digest, echo, authority)
            }
            Frame::Beat(number, digest) => {
                self.beat(digest, |assurance| Frame::Echo(number, assurance), authority)
            }
            Frame::Answers(answers) => self.answered(answers),
            Frame::Holds(holds) if self.may_answer_for(&holds.node) => {
                vec![Effect::Holding(holds)]
            }
            Frame::Holds(holds) => vec![self.answers_for_another(&holds.node)],
            Frame::Below(below) if self.role() == Some(Role::Relay) => self.arrives(below),
            Frame::Left(left) if self.role() == Some(Role::Relay) => self.leaves(left),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::CfgDelta(_)
            | Frame::ViewDelta(_)
            | Frame::DscAck { .. }
            | Frame::Resync
            | Frame::Ping
            | Frame::Echo(..)
            | Frame::Dispatch(_)
            | Frame::Cancel(_)
            | Frame::Look(_)
            | Frame::Below(_)
            | Frame::Left(_)
            | Frame::Admitted(_) => self.close("a frame out of place".to_owned()),
        }
    }

    /// A leaf answers for itself, a relay and a member also for those that are attached to it.
    fn may_answer_for(&self, node: &Name) -> bool {
        self.role() == Some(Role::Member) || self.is_voice_of(node)
    }

    fn answers_for_another(&mut self, node: &Name) -> Effect {
        self.refused = self.refused.saturating_add(1);
        let who = self.hello.as_ref().map(|hello| hello.node.to_string()).unwrap_or_default();
        Effect::Alarm(format!("{who} answers for {node}"))
    }

    fn answered(&mut self, answers: Vec<Answer>) -> Vec<Effect> {
        let (answers, others): (Vec<Answer>, Vec<Answer>) =
            answers.into_iter().partition(|answer| self.may_answer_for(&answer.node));
        let mut effects = Vec::new();
        if let Some(other) = others.first() {
            effects.push(self.answers_for_another(&other.node));
        }
        for answer in &answers {
            if answer.said.is_last() {
                self.kept.withdraw(&answer.attempt);
            }
            self.orders.answered(answer);
        }
        effects.push(Effect::Answered(answers));
        effects
    }
}
