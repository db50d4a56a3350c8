//! The network: links on which frames travel in order, until one is lost; cuts in one direction or
//! in both; and places between which everything takes long.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Place, World};
use crate::sync::{
    self, FrameError, PROTOCOL_VERSION,
    frame::{Frame, Hello},
};

/// How much longer frames take between places that are far apart, in milliseconds.
const FAR_MS: (u64, u64) = (200, 1_800);

/// All links, and what is wrong with the wires.
#[derive(Default)]
pub(super) struct Network {
    links: BTreeMap<u64, Link>,
    count: u64,
    /// Nothing comes through from the first to the second.
    cuts: BTreeSet<(Place, Place)>,
    /// Everything takes long from the first to the second.
    far: BTreeSet<(Place, Place)>,
    /// Links on which something was lost in a direction: nothing comes after it.
    hung: BTreeSet<(u64, bool)>,
    /// The latest moment at which a frame arrives, by link and direction: streams keep their order.
    arrivals: BTreeMap<(u64, bool), u64>,
    /// Until when children read nothing, by link.
    deaf: BTreeMap<u64, u64>,
    /// Until when places speak another version.
    foreign: BTreeMap<Place, u64>,
}

/// A link between a child and a parent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// Whose it is, among all uplinks.
    pub(super) uplink: usize,
    /// Where the child is.
    pub(super) child: Place,
    /// Where the parent is.
    pub(super) parent: Place,
}

impl Network {
    /// A new link.
    pub(super) fn dial(&mut self, link: Link) -> u64 {
        self.count += 1;
        self.links.insert(self.count, link);
        self.count
    }

    pub(super) fn link(&self, link: u64) -> Option<Link> {
        self.links.get(&link).copied()
    }

    /// Whether two places hear each other.
    pub(super) fn joins(&self, one: Place, other: Place) -> bool {
        !self.cuts.contains(&(one, other)) && !self.cuts.contains(&(other, one))
    }

    pub(super) fn cut(&mut self, from: Place, to: Place) {
        self.cuts.insert((from, to));
    }

    pub(super) fn part(&mut self, from: Place, to: Place) {
        self.far.insert((from, to));
    }

    pub(super) fn heal(&mut self) {
        self.cuts.clear();
        self.far.clear();
    }

    pub(super) fn lose(&mut self, link: u64, up: bool) {
        self.hung.insert((link, up));
    }

    /// The child on a link reads nothing until then.
    pub(super) fn deafen(&mut self, link: u64, until: u64) {
        self.deaf.insert(link, until);
    }

    /// A place speaks another version until then.
    pub(super) fn change_release(&mut self, place: Place, until: u64) {
        self.foreign.insert(place, until);
    }

    /// A frame as a place says it.
    fn said(&self, from: Place, now: u64, frame: &Frame) -> Result<Vec<u8>, FrameError> {
        match frame {
            Frame::Hello(hello) if self.foreign.get(&from).is_some_and(|until| now < *until) => {
                let hello = Hello { version: PROTOCOL_VERSION + 1, ..hello.clone() };
                sync::encode(&Frame::Hello(hello))
            }
            frame => sync::encode(frame),
        }
    }
}

impl World {
    /// Puts a frame on a link.
    pub(super) fn send_on(&mut self, link: u64, up: bool, frame: &Frame) {
        let Some(Link { child, parent, .. }) = self.network.link(link) else { return };
        let from = if up { child } else { parent };
        let Ok(bytes) = self.network.said(from, self.now, frame) else { return };
        self.carry(link, up, bytes);
    }

    /// Carries bytes over a link. Each direction keeps its order; after a loss nothing comes any
    /// more.
    pub(super) fn carry(&mut self, link: u64, up: bool, bytes: Vec<u8>) {
        let Some(Link { child, parent, .. }) = self.network.link(link) else { return };
        let (from, to) = if up { (child, parent) } else { (parent, child) };
        let lost = self.is_chaos() && self.chance.between(0, 999) == 0;
        if lost || self.network.cuts.contains(&(from, to)) {
            self.network.lose(link, up);
        }
        if self.network.hung.contains(&(link, up)) {
            return;
        }
        let mut delay = self.while_ms(40);
        if self.network.far.contains(&(from, to)) {
            delay += self.chance.between(FAR_MS.0, FAR_MS.1);
        }
        let deaf = self.network.deaf.get(&link).copied().filter(|_| !up).unwrap_or_default();
        let last = self.network.arrivals.entry((link, up)).or_default();
        *last = (*last).max(self.now + delay).max(deaf);
        let after = *last - self.now;
        self.later(after, to, Event::Frame { link, up, bytes });
    }

    /// A frame arrives. What a child had sent on a link that it has left may still come.
    pub(super) fn arrives(&mut self, link: u64, up: bool, bytes: &[u8]) {
        match sync::decode(bytes) {
            Ok(frame) if up => self.heard(link, frame),
            Ok(frame) => self.told_from_above(link, frame),
            Err(_) => self.refuses(link, up),
        }
    }

    /// One end of a link notices that it is broken.
    pub(super) fn broken(&mut self, place: Place, link: u64) {
        let Some(Link { uplink, child, .. }) = self.network.link(link) else { return };
        if place != child {
            self.lost(place, link);
        } else if self.uplinks[uplink].link == Some(link) {
            self.hang_up(uplink);
        }
    }

    /// Has an end notice, a little later, that a link is broken.
    pub(super) fn breaks_for(&mut self, place: Place, link: u64, most_ms: u64) {
        let after = self.while_ms(most_ms);
        self.later(after, place, Event::Broken { link });
    }
}
