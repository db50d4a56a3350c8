//! What a session does with heartbeats.

use std::sync::Arc;

use super::{Authority, Effect, RESYNC_BEATS, Session};
use crate::{
    catalog::Catalog,
    singleton::{Assurance, Assured},
    sync::{
        HEARTBEAT_MS, STAMP_AHEAD_MS_MAX,
        frame::{Frame, Role},
    },
    time::Millis,
};

impl Session {
    /// Whether heartbeats of the child are further apart than a lease: a relay's never are, however
    /// patient the two are with each other.
    pub(super) fn beats_seldom(&self) -> bool {
        self.role() == Some(Role::Leaf) && !self.pace().is_normal()
    }

    /// A child that is heard of seldom and has to know how the quorum is, is told of it: from then
    /// on it asks.
    pub(super) fn wake(&self, now: Millis) -> Vec<Effect> {
        let seldom = self.is_attached() && self.beats_seldom();
        let due = seldom && now >= self.beaten.after_ms(HEARTBEAT_MS);
        let on_lease = || self.catalog.as_ref().is_some_and(|catalog| self.is_on_lease(catalog));
        if due && on_lease() { vec![Effect::Send(Frame::Ping)] } else { Vec::new() }
    }

    /// What is declared, where a frame is a heartbeat whose answer says nothing of the quorum: then
    /// the parent need not be asked for anything, and what the session was told last will do.
    pub fn answers_alone(&self, frame: &Frame) -> Option<Arc<Catalog>> {
        let is_idle = frame.is_heartbeat()
            && self.is_attached()
            && self.role() == Some(Role::Leaf)
            && !self.is_behind();
        let catalog = self.catalog.as_ref().filter(|_| is_idle)?;
        (!self.is_on_lease(catalog)).then(|| catalog.clone())
    }

    /// What the parent knew of the quorum when it was last asked.
    pub fn assured(&self) -> Assured {
        self.assured
    }

    /// The child lives: it is told so, and whatever differs is found.
    pub(super) fn beat(
        &mut self,
        digest: u64,
        echo: impl FnOnce(Option<Assurance>) -> Frame,
        authority: Authority<'_>,
    ) -> Vec<Effect> {
        let assurance = self.assurance(Some(authority.catalog));
        let mut effects = vec![Effect::Send(echo(assurance))];
        self.beaten = self.now;
        effects.extend(self.hand_kept());
        // Deltas and heartbeats share one ordered stream, so that all sent before this has come.
        let due = match &mut self.resyncing {
            None => digest != self.digest.whole(),
            Some(beats) => {
                *beats += 1;
                *beats >= RESYNC_BEATS
            }
        };
        let latest_ms = authority.hybrid_ms.saturating_add(STAMP_AHEAD_MS_MAX);
        let came = self.ahead_ms.take_if(|ahead_ms| *ahead_ms <= latest_ms).is_some();
        if (due || came) && !self.is_early() {
            self.resyncing = Some(0);
            effects.push(Effect::Send(Frame::Resync));
        }
        effects
    }
}
