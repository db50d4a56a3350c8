//! Ends that do not keep to the protocol: children that stop reading or say far too much, bytes
//! that are no frame or too many for one, nodes of another release, and nodes that go by the name
//! of another. Whoever is at the other end of the link ends it; nobody else may notice.

use super::{Event, World, network::Link, uplink};
use crate::{
    id::ClusterId,
    sync::{
        FRAME_BYTES_MAX, STALLED_AFTER_MS,
        child::{Child, Effect},
        frame::{DscDelta, Frame, Role},
    },
};

/// Frames of one flood.
const FLOOD_FRAMES: (u64, u64) = (50, 1_000);
/// Bytes that are no frame, where they are not too many.
const NOISE_BYTES: (u64, u64) = (0, 48);

impl World {
    /// An end misbehaves, until the chaos is over.
    pub(super) fn misbehave(&mut self) {
        if !self.is_chaos() {
            return;
        }
        let up = self.a_place(0, self.uplinks.len());
        match self.chance.between(0, 5) {
            0 => self.stop_reading(up),
            1 => self.flood(up),
            2 | 3 => self.garble(up),
            4 => self.change_release(up),
            _ => self.pose(),
        }
        let next = self.chance.between(200, 3_000);
        self.later(next, 0, Event::Misbehave);
    }

    /// A child takes nothing from its link for a while. Whoever sends to it gives it up when
    /// nothing went out for long, and the child learns of that when it reads again.
    fn stop_reading(&mut self, up: usize) {
        let Some((link, Link { child, parent, .. })) = self.link_of(up) else { return };
        let deaf = self.chance.between(500, 2 * STALLED_AFTER_MS);
        let deaf = deaf.min(self.chaos_until - self.now);
        self.network.deafen(link, self.now + deaf);
        if deaf > STALLED_AFTER_MS {
            self.later(STALLED_AFTER_MS, parent, Event::Broken { link });
            self.later(deaf, child, Event::Broken { link });
        }
    }

    /// A child says the same again and again.
    fn flood(&mut self, up: usize) {
        let Some((link, _)) = self.link_of(up) else { return };
        if !self.uplinks[up].child.is_attached() {
            return;
        }
        let stale =
            DscDelta { seq: 1, afresh: false, dropped: 0, changes: Vec::new(), events: Vec::new() };
        let seq = self.chance.between(0, 100);
        let said = [
            Frame::Beat(seq, seq),
            Frame::CfgAck { seq },
            Frame::ViewAck { seq },
            Frame::DscDelta(stale),
        ];
        let Some(frame) = self.chance.pick(&said).cloned() else { return };
        for _ in 0..self.chance.between(FLOOD_FRAMES.0, FLOOD_FRAMES.1) {
            self.send_on(link, true, &frame);
        }
    }

    /// Bytes come, up or down, that are no frame, or are too many for one.
    fn garble(&mut self, up: usize) {
        let Some((link, _)) = self.link_of(up) else { return };
        let is_up = self.chance.percent(50);
        let bytes = if self.chance.percent(30) {
            vec![0; FRAME_BYTES_MAX + 1]
        } else {
            let count = self.chance.between(NOISE_BYTES.0, NOISE_BYTES.1);
            (0..count).map(|_| u8::try_from(self.chance.between(0, 255)).unwrap_or(0)).collect()
        };
        self.carry(link, is_up, bytes);
    }

    /// A node starts to speak another version of the protocol, and later this one again.
    fn change_release(&mut self, up: usize) {
        let place = self.uplinks[up].place;
        let until = self.now + self.chance.between(500, 8_000);
        self.network.change_release(place, until.min(self.chaos_until));
        for up in self.uplinks_of(place) {
            self.hang_up(up);
        }
    }

    /// A machine comes that has the name of another leaf or relay, says Hello and no more, and
    /// goes.
    fn pose(&mut self) {
        let up = self.a_place(0, self.uplinks.len());
        let (name, role) = (self.uplinks[up].name.clone(), self.uplinks[up].role);
        if role == Role::Member {
            return;
        }
        let wall = self.sites[self.uplinks[up].place].wall(self.now);
        let parents = self.downlinks.len() as u64 - 1;
        let parent = usize::try_from(self.chance.between(0, parents)).unwrap_or_default();
        let from = self.a_leaf();
        // Its link is none of the uplinks of where it is: what comes down on it nobody takes.
        let Some(own) = self.uplinks_of(from).pop() else { return };
        let link = self.network.dial(Link { uplink: own, child: from, parent });
        let identity = uplink::identity(&name, role);
        let effects = Child::new(identity, ClusterId::default(), Vec::new()).connected(wall);
        for effect in effects {
            if let Effect::Send(frame) = effect {
                self.send_on(link, true, &frame);
            }
        }
        let stays = self.chance.between(100, 6_000);
        self.later(stays, parent, Event::Broken { link });
    }

    /// The link that an uplink holds.
    fn link_of(&self, up: usize) -> Option<(u64, Link)> {
        let link = self.uplinks[up].link?;
        Some((link, self.network.link(link)?))
    }

    /// What came on a link is no frame: whoever got it ends the link.
    pub(super) fn refuses(&mut self, link: u64, is_up: bool) {
        let Some(Link { uplink, parent, .. }) = self.network.link(link) else { return };
        if is_up {
            self.break_off(parent, link);
        } else if self.uplinks[uplink].link == Some(link) {
            self.hang_up(uplink);
        }
    }
}
