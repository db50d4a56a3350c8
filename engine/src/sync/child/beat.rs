//! When a child says that it lives.

use std::collections::VecDeque;

use super::{Child, Effect, Phase};
use crate::{
    object::Labels,
    singleton::Assurance,
    sync::{
        DEAD_AFTER_MS, STALLED_AFTER_MS,
        frame::{Frame, Role},
        pace::Pace,
    },
    time::Millis,
};

/// Beats whose echo may still come: of what is older the session has ended.
const BEATS_OPEN_MAX: usize = 64;

impl Child {
    /// The pace of the next session. Others rely on members, which have none of their own.
    pub(super) fn next_pace(&self) -> Pace {
        match self.identity.role {
            Role::Leaf | Role::Relay => Pace::of(self.labels()),
            Role::Member => Pace::NORMAL,
        }
    }

    /// The labels of its object, as it knows them.
    fn labels(&self) -> &Labels {
        let own = self.objects.values().find(|object| object.is_node(&self.identity.node));
        own.map_or(&self.identity.labels, |own| &own.labels)
    }

    /// The pace at which it goes: what it is assured of has to be young, and where nobody assures
    /// it any more it has to look for another parent soon. Orders for many go through a relay, so
    /// that it is heard of often in any case.
    pub(super) fn present_pace(&self) -> Pace {
        let is_relay = self.identity.role == Role::Relay;
        if self.is_assured || is_relay { Pace::NORMAL } else { self.pace }
    }

    /// The pace by which the silence of its parent is judged. A relay that is to be patient stays
    /// where it is though it is told late what others need: all that is behind it would have to be
    /// let in anew.
    fn patience(&self) -> Pace {
        if self.identity.role == Role::Relay { self.pace } else { self.present_pace() }
    }

    /// Time has passed; to be called as often as [`Child::ticks_every_ms`] says, and at least every
    /// [`BATCH_MS`](crate::sync::BATCH_MS) while something waits.
    pub fn tick(&mut self, now: Millis) -> Vec<Effect> {
        let (pace, patience) = (self.present_pace(), self.patience());
        let is_over = match &mut self.phase {
            Phase::Attached { silence, .. } => silence.is_over(now, patience),
            Phase::Detached | Phase::Greeting { .. } => false,
        };
        match self.phase {
            Phase::Greeting { since } if now >= since.after_ms(DEAD_AFTER_MS) => {
                self.close("no answer to Hello".to_owned())
            }
            Phase::Detached | Phase::Greeting { .. } => Vec::new(),
            Phase::Attached { .. } if is_over => {
                self.close(format!("nothing heard for {} ms", patience.dead_after_ms()))
            }
            Phase::Attached { .. } if self.outbox.is_stalled(now) => {
                self.close(format!("nothing acknowledged for {STALLED_AFTER_MS} ms"))
            }
            Phase::Attached { beat, .. } => {
                let mut effects = self.flush(now);
                effects.extend(self.sweep(now));
                if now >= beat.after_ms(pace.heartbeat_ms()) {
                    effects.extend(self.beat(now));
                }
                effects
            }
        }
    }

    /// How often it has to be told the time, in milliseconds.
    pub fn ticks_every_ms(&self) -> u64 {
        let waits = !self.is_attached() || self.outbox.backlog() != (0, 0);
        let pace = if waits { Pace::NORMAL } else { self.present_pace() };
        pace.heartbeat_ms() / 4
    }

    pub(super) fn beat(&mut self, now: Millis) -> Vec<Effect> {
        if let Phase::Attached { beat, .. } = &mut self.phase {
            *beat = now;
        }
        let heartbeat = self.outbox.heartbeat(now);
        let frame = match &mut self.beats {
            Some(beats) => Frame::Beat(beats.next(now), heartbeat.digest),
            None => Frame::Heartbeat(heartbeat),
        };
        vec![Effect::Send(frame)]
    }

    /// A heartbeat was echoed that was sent at a moment.
    pub(super) fn echoed(
        &mut self,
        sent: Millis,
        assurance: Option<Assurance>,
        now: Millis,
    ) -> Vec<Effect> {
        self.orders.answered(sent, now);
        self.assured(assurance).into_iter().collect()
    }

    /// The same of the one of a number; nothing where that is not known any more.
    pub(super) fn echoed_number(
        &mut self,
        number: u64,
        assurance: Option<Assurance>,
        now: Millis,
    ) -> Vec<Effect> {
        let sent = self.beats.as_mut().and_then(|beats| beats.take(number));
        sent.map_or_else(Vec::new, |sent| self.echoed(sent, assurance, now))
    }
}

/// The Beats of one session that are not echoed yet.
#[derive(Debug, Default)]
pub(super) struct Beats {
    /// How many there were.
    count: u64,
    /// When each was sent, by its number.
    open: VecDeque<(u64, Millis)>,
}

impl Beats {
    fn next(&mut self, now: Millis) -> u64 {
        self.count += 1;
        self.open.push_back((self.count, now));
        if self.open.len() > BEATS_OPEN_MAX {
            self.open.pop_front();
        }
        self.count
    }

    /// When the one of a number was sent; those before it were lost.
    fn take(&mut self, number: u64) -> Option<Millis> {
        if number > self.count {
            return None;
        }
        while let Some((other, sent)) = self.open.pop_front_if(|(other, _)| *other <= number) {
            if other == number {
                return Some(sent);
            }
        }
        None
    }
}
