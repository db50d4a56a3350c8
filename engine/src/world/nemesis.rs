//! Trouble: what goes wrong, and the person who changes her mind.

use super::{
    Event, LEADER, Place, World,
    host::Fate,
    modules::{MOTD, PHYS, RUN, SERVICES, service},
};
use crate::{
    command::{Command, Op, Target, Targets, Txn},
    dsc::{Observed, Stamp},
    id::{AttemptId, Name},
    invariants::What,
    manifest::NODE_KIND,
    object::ObjectRef,
    path::Path,
    state::State,
    sync::frame::{DscDelta, Frame},
    time::Millis,
    value::Value,
};

impl World {
    /// Something goes wrong, or is asked; until the chaos is over, and then everybody is well.
    pub(super) fn trouble(&mut self) {
        if !self.is_chaos() {
            self.calm_down();
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
        match self.chance.between(0, 19) {
            0..=6 => self.ask(place),
            7 => self.freeze(place, true),
            8..=9 => self.freeze(place, false),
            10 => self.retry(place),
            11..=12 => self.break_link(place),
            13 if self.chance.percent(50) => self.crash(LEADER),
            13 | 14 => self.crash(place),
            15 => self.stop_modules(place),
            16..=17 => self.drift(place),
            _ => self.forge(place),
        }
        let next = self.chance.between(20, 600);
        self.later(next, LEADER, Event::Trouble);
    }

    fn a_leaf(&mut self) -> Place {
        let last = u64::try_from(self.sites.len()).unwrap_or_default().saturating_sub(1);
        usize::try_from(self.chance.between(1, last.max(1))).unwrap_or(1)
    }

    /// The person asks something of a node, or no longer.
    fn ask(&mut self, place: Place) {
        let which = self.chance.between(0, 9);
        let (path, values): (String, &[&str]) = match which {
            0..=4 => {
                let name = self.chance.pick(&SERVICES).copied().unwrap_or_default();
                (service(name), &["RUN", "STOP"])
            }
            5 => (MOTD.to_owned(), &["hello", "good evening", "back soon"]),
            6..=7 => (PHYS.to_owned(), &["ON", "OFF"]),
            _ => (RUN.to_owned(), &["SYNC"]),
        };
        let Ok(path) = Path::new(path) else { return };
        let (mut set, mut unset) = (State::new(), Vec::new());
        let value = self.chance.pick(values).copied().unwrap_or_default();
        // A machine that is off has no system that could be asked for.
        if path.as_str() == PHYS && value == "OFF" {
            unset.extend(Path::new(RUN).ok());
        }
        if path.as_str() == RUN {
            unset.extend(Path::new(PHYS).ok());
        }
        if self.chance.percent(20) {
            unset.push(path);
        } else if set.set(path, value.into()).is_err() {
            return;
        }
        let Some(object) = self.object_of(place) else { return };
        let op = Op::Merge { target: Target::One(object), set, unset };
        self.write(Command::Txn(Txn { ops: vec![op], ..Txn::default() }));
    }

    fn object_of(&self, place: Place) -> Option<ObjectRef> {
        let kind = Name::new(NODE_KIND).ok()?;
        Some(ObjectRef { kind, namespace: None, name: self.sites[place].name.clone() })
    }

    fn freeze(&mut self, place: Place, freeze: bool) {
        let all = self.chance.percent(20);
        let names = vec![self.sites[place].name.clone()];
        let targets = if all { Targets::All } else { Targets::Names(names) };
        self.write(if freeze { Command::Freeze { targets } } else { Command::Thaw { targets } });
    }

    fn retry(&mut self, place: Place) {
        let targets = Targets::Names(vec![self.sites[place].name.clone()]);
        self.write(Command::Retry { targets });
    }

    fn write(&mut self, command: Command) {
        self.propose(command, None, true);
    }

    /// The link breaks: each end notices when it does, and what is on its way may still come.
    fn break_link(&mut self, place: Place) {
        let Some(link) = self.uplinks[place].link else { return };
        if self.chance.percent(50) {
            self.agenda
                .retain(|_, due| !matches!(due.event, Event::Frame { link: of, .. } if of == link));
        }
        for end in [place, LEADER] {
            let after = self.chance.between(0, 2_500);
            self.later(after, end, Event::Broken { link });
        }
    }

    fn crash(&mut self, place: Place) {
        if !self.sites[place].is_up {
            return;
        }
        let running: Vec<AttemptId> =
            self.sites[place].host.all_running().map(|(attempt, _)| attempt.clone()).collect();
        for attempt in running {
            self.cut_short(place, attempt);
        }
        let site = &mut self.sites[place];
        site.is_up = false;
        site.life += 1;
        if place == LEADER {
            for place in 1..self.sites.len() {
                if let Some(link) = self.uplinks[place].link {
                    let after = self.while_ms(100);
                    self.later(after, place, Event::Broken { link });
                }
            }
        } else if let Some(link) = self.uplinks[place].link.take() {
            let after = self.while_ms(100);
            self.later(after, LEADER, Event::Broken { link });
        }
        let after = self.chance.between(50, 4_000);
        self.later(after, place, Event::Restart);
    }

    /// An attempt ends with its host. What it had begun may come about all the same.
    fn cut_short(&mut self, place: Place, attempt: AttemptId) {
        let running = self.sites[place].host.running(&attempt);
        let done = running.filter(|running| running.fate == Fate::Succeeds);
        let done = done.map(|running| (running.uid, running.changes.clone()));
        if let Some((uid, changes)) = done
            && self.chance.percent(50)
        {
            self.reality.set_all(uid, changes);
        }
        self.record(place, What::Ended(attempt));
    }

    fn stop_modules(&mut self, place: Place) {
        let at = if self.chance.percent(25) { LEADER } else { place };
        self.sites[at].host.down_until = self.now + self.chance.between(200, 5_000);
    }

    /// Something changes by itself.
    fn drift(&mut self, place: Place) {
        let uid = self.sites[LEADER].fleet.node(&self.sites[place].name).map(|object| object.uid);
        let Some(uid) = uid else { return };
        let name = self.chance.pick(&SERVICES).copied().unwrap_or_default();
        let (path, values): (String, &[&str]) = match self.chance.between(0, 3) {
            0..=1 => (service(name), &["FAILED", "STOP", "RUN"]),
            2 => (MOTD.to_owned(), &["who was that?"]),
            _ => (PHYS.to_owned(), &["OFF", "HANG", "ON"]),
        };
        let value = self.chance.pick(values).copied().unwrap_or_default();
        if let Ok(path) = Path::new(path) {
            self.reality.set(uid, &path, value.into());
        }
    }

    /// A leaf says what it may not say: of others, in the name of others, of what others see.
    fn forge(&mut self, place: Place) {
        let Some(link) = self.uplinks[place].link else { return };
        let other = self.a_leaf();
        let uid_of = |place: Place| {
            let name = &self.sites[place].name;
            self.sites[LEADER].fleet.node(name).map(|object| object.uid)
        };
        let (Some(own), Some(others)) = (uid_of(place), uid_of(other)) else { return };
        let name_of = |place: Place| self.sites[place].name.clone();
        let (uid, path, writer) = match self.chance.between(0, 2) {
            0 if other != place => (others, service("web"), name_of(place)),
            1 => (own, service("web"), name_of(LEADER)),
            _ => (own, PHYS.to_owned(), name_of(place)),
        };
        let Ok(path) = Path::new(path) else { return };
        let stamp = Stamp { ms: self.now, counter: 0, writer };
        let value: Option<Value> = Some("RUN".into());
        let sighting = (path, Observed { value, stamp, seen_at: Millis::ZERO });
        let changes = vec![(uid, vec![sighting])];
        let delta = DscDelta { seq: 1, afresh: false, dropped: 0, changes, events: Vec::new() };
        if self.uplinks[place].child.is_attached() {
            self.send_on(link, true, &Frame::DscDelta(delta));
        }
    }
}
