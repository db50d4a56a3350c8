//! Trouble: what goes wrong.

use super::{
    Event, Place, World,
    host::Fate,
    modules::{MOTD, PHYS, SERVICES, service},
    network::Link,
};
use crate::{
    command::{Command, Targets},
    dsc::{Observed, Stamp},
    id::AttemptId,
    invariants::What,
    machine::Attempted,
    path::Path,
    sync::frame::{DscDelta, Frame},
    time::Millis,
    value::Value,
};

impl World {
    /// Something goes wrong, or is asked; until the chaos is over, and then everybody is well.
    pub(super) fn trouble(&mut self) {
        if !self.is_chaos() {
            self.calm_down();
            self.later(0, 0, Event::Lift);
            // Most worlds are thawed at last, so that what froze in the chaos has to settle too.
            if self.chance.percent(75) {
                self.write(Command::Thaw { targets: Targets::All });
            }
            for place in 0..self.sites.len() {
                self.later(100, place, Event::Restart);
            }
            return;
        }
        let place = self.a_leaf();
        match self.chance.between(0, 31) {
            0..=11 => self.person(place),
            12..=14 => self.break_link(),
            15 if self.chance.percent(50) => self.crash_a_member(),
            15 | 16 => self.crash(place),
            17..=18 => self.stop_modules(place),
            19..=20 => self.slow_modules(place),
            21..=22 => self.pause(place),
            23..=25 => self.cut(),
            26..=28 => self.drift(place),
            _ => self.forge(place),
        }
        let next = self.chance.between(20, 600);
        self.later(next, 0, Event::Trouble);
    }

    pub(super) fn a_leaf(&mut self) -> Place {
        self.a_place(self.members, self.sites.len())
    }

    pub(super) fn a_place(&mut self, from: Place, to: Place) -> Place {
        let last = to.saturating_sub(1).max(from) as u64;
        usize::try_from(self.chance.between(from as u64, last)).unwrap_or(from)
    }

    /// A member; the leader as often as all others together.
    fn a_member(&mut self) -> Place {
        let any = self.a_place(0, self.members);
        self.quorum.leader.filter(|_| self.chance.percent(50)).unwrap_or(any)
    }

    /// A link breaks: each end notices when it does, and what is on its way may still come.
    fn break_link(&mut self) {
        let up = self.a_place(0, self.uplinks.len());
        let Some(link) = self.uplinks[up].link else { return };
        match self.chance.between(0, 3) {
            0 => self.network.lose(link, true),
            1 => self.network.lose(link, false),
            2 => self
                .agenda
                .retain(|_, due| !matches!(due.event, Event::Frame { link: of, .. } if of == link)),
            _ => {}
        }
        let Some(Link { child, parent, .. }) = self.network.link(link) else { return };
        for end in [child, parent] {
            let after = self.chance.between(0, 2_500);
            self.later(after, end, Event::Broken { link });
        }
    }

    /// Two places do not hear each other any more, or only one of them does, or only late.
    fn cut(&mut self) {
        let (member, other) = (self.a_member(), self.a_place(0, self.sites.len()));
        let is_relay = self.relays > 0 && self.chance.percent(30);
        let relays = self.relay_places();
        let one = if is_relay { self.a_place(relays.start, relays.end) } else { member };
        match self.chance.between(0, 5) {
            0 => self.network.cut(one, other),
            1 => self.network.cut(other, one),
            2 => {
                self.network.part(one, other);
                self.network.part(other, one);
            }
            3 if self.members > 1 => {
                for other in (0..self.sites.len()).filter(|other| *other != one) {
                    self.network.cut(one, other);
                    self.network.cut(other, one);
                }
            }
            4 => self.network.heal(),
            _ => {
                self.network.cut(one, other);
                self.network.cut(other, one);
            }
        }
        if self.chance.percent(60) {
            let after = self.chance.between(500, 8_000);
            self.later(after, 0, Event::Heal);
        }
    }

    /// A node sleeps, and does not know it when it goes on.
    fn pause(&mut self, place: Place) {
        let any = self.a_member();
        let place = if self.chance.percent(70) { any } else { place };
        let longest = if self.chance.percent(20) { 30_000 } else { 6_000 };
        let sleeps = self.chance.between(100, longest);
        // Whoever sleeps at the end of the chaos wakes up with it.
        self.sites[place].paused_until = (self.now + sleeps).min(self.chaos_until);
    }

    /// Now and then the power of all members fails.
    fn crash_a_member(&mut self) {
        let place = self.a_member();
        self.crash(place);
        if self.chance.percent(10) {
            (0..self.members).for_each(|place| self.crash(place));
        }
    }

    fn crash(&mut self, place: Place) {
        if !self.sites[place].is_up {
            return;
        }
        self.cut_all_short(place);
        // What it has written down may be old, or all that it knew.
        let journals = place < self.members && self.chance.percent(70);
        let site = &mut self.sites[place];
        if journals {
            site.journalize();
        }
        site.is_up = false;
        site.life += 1;
        site.reign = 0;
        self.quorum.leader.take_if(|leader| *leader == place);
        for up in 0..self.uplinks.len() {
            let Some(link) = self.uplinks[up].link else { continue };
            let Some(Link { child, parent, .. }) = self.network.link(link) else { continue };
            if child == place {
                self.uplinks[up].link = None;
                self.breaks_for(parent, link, 100);
            } else if parent == place {
                self.breaks_for(child, link, 100);
            }
        }
        let after = self.chance.between(50, 4_000);
        self.later(after, place, Event::Restart);
    }

    /// Everything that runs at a place ends without a word.
    fn cut_all_short(&mut self, place: Place) -> Vec<AttemptId> {
        let running: Vec<AttemptId> =
            self.sites[place].host.all_running().map(|(attempt, _)| attempt.clone()).collect();
        for attempt in &running {
            self.cut_short(place, attempt);
        }
        running
    }

    /// An attempt ends with its host. What it had begun may come about all the same.
    fn cut_short(&mut self, place: Place, attempt: &AttemptId) {
        let (now, running) = (self.now, self.sites[place].host.running(attempt));
        let done = running.filter(|runs| runs.fate == Fate::Succeeds && now < runs.until);
        let done = done.map(|running| (running.uid, running.changes.clone()));
        if let Some((uid, changes)) = done
            && self.chance.percent(50)
        {
            self.record(place, What::Acted(attempt.clone()));
            self.reality.set_all(place, uid, changes);
        }
        self.record(place, What::Ended(attempt.clone()));
    }

    /// Modules die, with what they had in hand, or only take nothing more.
    fn stop_modules(&mut self, place: Place) {
        let any = self.a_member();
        let at = if self.chance.percent(40) { any } else { place };
        self.sites[at].host.down_until = self.now + self.chance.between(200, 5_000);
        if !self.sites[at].is_up || self.chance.percent(50) {
            return;
        }
        for attempt in self.cut_all_short(at) {
            let error = "its module has died".to_owned();
            self.module_lost(at, &attempt, Attempted::Failed { error, permanent: false });
        }
    }

    fn slow_modules(&mut self, place: Place) {
        let any = self.a_member();
        let at = if self.chance.percent(40) { any } else { place };
        self.sites[at].host.slow_until = self.now + self.chance.between(1_000, 10_000);
    }

    /// Something changes by itself.
    fn drift(&mut self, place: Place) {
        let uid = self.quorum.store.node(&self.sites[place].name).map(|object| object.uid);
        let Some(uid) = uid else { return };
        let name = self.chance.pick(&SERVICES).copied().unwrap_or_default();
        let (path, values): (String, &[&str]) = match self.chance.between(0, 3) {
            0..=1 => (service(name), &["FAILED", "STOP", "RUN"]),
            2 => (MOTD.to_owned(), &["who was that?"]),
            _ => (PHYS.to_owned(), &["OFF", "HANG", "ON"]),
        };
        let value = self.chance.pick(values).copied().unwrap_or_default();
        if let Ok(path) = Path::new(path) {
            self.reality.set(place, uid, &path, value.into());
        }
    }

    /// A leaf says what it may not say: of others, in the name of others, of what others see.
    fn forge(&mut self, place: Place) {
        let up = place - self.members;
        let Some(link) = self.uplinks[up].link else { return };
        let other = self.a_leaf();
        let uid_of =
            |place: Place| self.quorum.store.node(&self.sites[place].name).map(|object| object.uid);
        let (Some(own), Some(others)) = (uid_of(place), uid_of(other)) else { return };
        let name_of = |place: Place| self.sites[place].name.clone();
        let (uid, path, writer) = match self.chance.between(0, 2) {
            0 if other != place => (others, service("web"), name_of(place)),
            1 => (own, service("web"), name_of(0)),
            _ => (own, PHYS.to_owned(), name_of(place)),
        };
        let Ok(path) = Path::new(path) else { return };
        let stamp = Stamp { ms: self.now, counter: 0, writer };
        let value: Option<Value> = Some("RUN".into());
        let sighting = (path, Observed { value, stamp, seen_at: Millis::ZERO });
        let changes = vec![(uid, vec![sighting])];
        let delta = DscDelta { seq: 1, afresh: false, dropped: 0, changes, events: Vec::new() };
        if self.uplinks[up].child.is_attached() {
            self.send_on(link, true, &Frame::DscDelta(delta));
        }
    }
}
