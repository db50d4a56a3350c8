//! Those whose parent is gone: they attach elsewhere within a while, or were lost with it.

use super::{Event, Place, World};
use crate::{fleet::Link, id::Name, sync::pace::Pace};

/// How long they may take for that, beyond the time in which they miss their parent, in
/// milliseconds.
const RE_ATTACH_MS: u64 = 2_000;

/// Why nodes that a parent said to be attached to it may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// It is a member, and gone.
    Member,
    /// It is a relay, and gone.
    Relay,
    /// It is a relay that has attached, perhaps in another life.
    Back,
    /// It is this member itself, which has heard what it said in an earlier life.
    Own,
}

impl World {
    /// They may attach elsewhere before they count as lost.
    pub(super) fn lose_later(&mut self, place: Place, parent: &Name, why: Lost) {
        for pace in Pace::ALL {
            let after = pace.dead_after_ms() + RE_ATTACH_MS;
            self.later(after, place, Event::Lose(parent.clone(), pace, why));
        }
    }

    /// Those of whom nobody has heard since were lost, where it is still so.
    pub(super) fn lose(&mut self, place: Place, parent: &Name, pace: Pace, why: Lost) {
        let downlink = &self.downlinks[place];
        let wall = self.sites[place].wall(self.now);
        let site = &mut self.sites[place];
        let is_so = match why {
            Lost::Member => downlink.link_of(parent).is_none(),
            Lost::Relay => site.fleet.node(parent).is_none_or(|node| !site.fleet.is_up(node.uid)),
            Lost::Back => downlink.via(parent).is_some(),
            Lost::Own => true,
        };
        if !is_so {
            return;
        }
        if why == Lost::Member {
            let told = site.fleet.set_lost(parent, true);
            site.touched(told);
        }
        let members = if place < self.members { self.members } else { 0 };
        let members = self.names.iter().take(members).cloned().collect();
        let here = |node: &Name| downlink.via(node).is_some();
        for (uid, _, epoch) in site.fleet.left_by(parent, here, &members, pace) {
            let touched = site.fleet.set_link(uid, epoch, Link::Down, wall);
            site.touched(touched);
        }
        self.look(place);
    }
}
