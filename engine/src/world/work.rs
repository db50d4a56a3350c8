//! Decisions and their effects: from a look to the module that carries it out, and back.

use std::collections::BTreeMap;

use super::{
    Event, Place, TICK_MS, World,
    host::{Admitted, Fate, Faults, debris, untruth},
    modules::POST_KIND,
    quorum::Wish,
    recorder,
};
use crate::{
    command::{Command, Intent, Op, Txn},
    id::{AttemptId, Term, Uid},
    invariants::What,
    machine::{Attempted, Dispatch, Effect, START_WITHIN_MS},
    mutation::Context,
    path::Path,
    planner::Planner,
    status::Status,
    time::{Millis, whole_ms},
    value::Value,
};

/// How often modules look, in milliseconds.
const POLL_MS: u64 = 2_000;
/// How often a removal that is not committed is proposed again, in milliseconds.
const REMOVE_AGAIN_MS: u64 = 1_000;

/// A dispatch on its way to a host.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) dispatch: Dispatch,
    /// It is not started later than this.
    pub(super) start_by: u64,
    /// In which reign or life of its decider it was decided.
    pub(super) reign: u64,
}

/// Open intents by attempt id.
type Intents = BTreeMap<AttemptId, Intent>;

impl World {
    /// Looks at every object that may have changed.
    pub(super) fn look(&mut self, place: Place) {
        while let Some(uid) = self.sites[place].dirty.pop_first() {
            self.hand_over(place, uid);
            let site = &self.sites[place];
            if site.fleet.object(uid).is_some_and(|object| !site.decides(object)) {
                continue;
            }
            self.finish_deletion(place, uid);
            self.decide(place, uid, None);
        }
    }

    /// Removes a deleted object once its absent state has been seen.
    fn finish_deletion(&mut self, place: Place, uid: Uid) {
        let site = &self.sites[place];
        let Some(object) = site.fleet.object(uid).filter(|object| object.deleting) else { return };
        let said = Status::of(&site.fleet.dsc(uid));
        if site.reign > 0 && said.is_some_and(|said| said.is_converged_at(object.revision)) {
            let ops = vec![Op::Remove { uid, revision: object.revision }];
            self.propose_as(place, Command::Txn(Txn { ops, ..Txn::default() }));
        }
    }

    /// Looks again at what is being deleted: a removal that was proposed may never be committed.
    pub(super) fn remove_again(&mut self, place: Place) {
        if self.now % REMOVE_AGAIN_MS >= TICK_MS {
            return;
        }
        let site = &mut self.sites[place];
        if site.reign > 0 {
            let deleting = site.fleet.objects().filter(|object| object.deleting);
            let deleting: Vec<_> = deleting.map(|object| object.uid).collect();
            site.dirty.extend(deleting);
            site.dirty.extend(self.holders[place].handovers.watched());
        }
    }

    /// A leader takes the policies as it holds them, and decides what is due of them.
    pub(super) fn govern(&mut self, place: Place) {
        let Some(holder) = self.holders.get(place).filter(|holder| holder.reign.is_some()) else {
            return;
        };
        let rules = holder.store.rules().clone();
        let site = &mut self.sites[place];
        site.decider.govern(rules, Term::new(site.reign));
        for effect in site.decider.steer() {
            self.carry_out(place, effect);
        }
    }

    /// Proposes what a leader has decided.
    pub(super) fn propose_as(&mut self, place: Place, command: Command) {
        let by = Some((place, Term::new(self.sites[place].reign)));
        self.propose(Wish { by, command, intent: None });
    }

    pub(super) fn told(&mut self, place: Place, attempt: &AttemptId, what: Attempted) {
        let Some(uid) = self.sites[place].decider.object_of(attempt) else { return };
        self.decide(place, uid, Some((attempt, what)));
        self.look(place);
    }

    fn decide(&mut self, place: Place, uid: Uid, what: Option<(&AttemptId, Attempted)>) {
        let decided = self.sites[place].decide(uid, what, self.now);
        let frozen = self.sites[place].fleet.object(uid).is_some_and(|o| o.frozen.is_some());
        if decided.presumes {
            self.record(place, What::Presumed { uid, frozen });
        }
        for effect in decided.effects {
            self.carry_out(place, effect);
        }
    }

    /// A decider says something of an object, as Dsc.
    fn say(&mut self, place: Place, uid: Uid, values: Vec<(Path, Option<Value>)>) {
        let now = self.now;
        let site = &mut self.sites[place];
        let stamp = site.stamp(now);
        site.see(uid, &stamp, values, now);
    }

    pub(super) fn carry_out(&mut self, place: Place, effect: Effect) {
        match effect {
            Effect::Dispatch(dispatch) => self.dispatch(place, dispatch),
            Effect::Cancel(attempt) => self.give_up(place, attempt),
            Effect::OpenIntent(intent) => self.intend(place, intent),
            Effect::CloseIntent(attempt) => {
                let command = Command::CloseIntents { attempts: vec![attempt] };
                self.propose_as(place, command);
            }
            Effect::Publish(uid, status) => {
                let values = status.to_values(self.sites[place].lane);
                self.say(place, uid, values);
            }
            Effect::Presume(uid, values) => self.say(place, uid, values),
            Effect::Happened(happening) => self.happened(place, happening),
            Effect::Look(uid) => {
                self.report(place, uid);
                if self.sites[place].reign > 0 {
                    self.ask_for_a_look(place, uid);
                }
            }
            Effect::Propose(command) => self.propose_as(place, *command),
        }
    }

    /// The intents that are open as far as a node knows.
    fn intents_at(&self, place: Place) -> &Intents {
        self.holders.get(place).map_or(self.quorum.store.intents(), |holder| holder.store.intents())
    }

    fn dispatch(&mut self, place: Place, dispatch: Dispatch) {
        let dispatched =
            recorder::dispatched(&self.sites[place], self.now, &dispatch, self.intents_at(place));
        self.record(place, dispatched);
        self.record_tenants(place, dispatch.uid);
        let mut cold = Planner::new();
        let planners = [&mut self.warm, &mut cold];
        let planned = recorder::planned(&self.sites[place], self.now, dispatch.uid, planners);
        for what in planned {
            self.record(place, what);
        }
        if dispatch.instance.mutation.context == Context::Node {
            return self.give(place, &dispatch);
        }
        let start_by = self.now + START_WITHIN_MS;
        let site = &self.sites[place];
        let reign = if place < self.members { site.reign } else { site.life };
        let lost = self.faults.lost_percent;
        for _ in 0..self.copies(lost) {
            let after = self.while_ms(20);
            let order = Order { dispatch: dispatch.clone(), start_by, reign };
            self.later(after, place, Event::Start(Box::new(order)));
        }
    }

    /// How often a message comes: once, mostly.
    fn copies(&mut self, lost_percent: u64) -> u64 {
        let lost = self.chance.percent(lost_percent);
        let again = self.chance.percent(lost_percent);
        u64::from(!lost) + u64::from(again)
    }

    /// The host is told to start an attempt.
    pub(super) fn start_attempt(&mut self, place: Place, order: Order) {
        let Order { dispatch, start_by, reign } = order;
        let (attempt, uid) = (dispatch.attempt.clone(), dispatch.uid);
        // What has waited too long is not started: its decider may have given it up.
        if self.now > start_by {
            let late = Attempted::NoService("its time to start is over".to_owned());
            self.tell_above(place, &attempt, &late);
            return;
        }
        let Some(object) = self.sites[place].fleet.object(uid).cloned() else { return };
        let when = (self.faults, self.now);
        let host = &mut self.sites[place].host;
        let what = match host.admit(&dispatch, &object.cfg, when, &mut self.chance) {
            Admitted::Started => {
                self.begin(place, &dispatch, reign);
                Attempted::Acknowledged
            }
            Admitted::Runs => Attempted::Acknowledged,
            Admitted::Ended(how) => {
                self.tell(place, &attempt, how);
                Attempted::Acknowledged
            }
            Admitted::Declined(why) => why,
        };
        self.tell(place, &attempt, what);
    }

    fn begin(&mut self, place: Place, dispatch: &Dispatch, reign: u64) {
        let attempt = dispatch.attempt.clone();
        let lane = dispatch.instance.mutation.context.lane();
        let disruptive = dispatch.instance.mutation.disruptive;
        let until = self.sites[place].host.running(&attempt).map_or(0, |running| running.until);
        let started = What::Started {
            attempt: attempt.clone(),
            uid: dispatch.uid,
            lane,
            reign,
            disruptive,
            until: Millis::new(until),
        };
        self.record(place, started);
        let timeout = whole_ms(dispatch.timeout);
        self.later(timeout, place, Event::Expire(attempt.clone()));
        let longest = if self.is_chaos() { timeout + timeout / 4 } else { timeout / 4 };
        let slow = self.now < self.sites[place].host.slow_until;
        let after = self.chance.between(if slow { longest / 2 } else { 10 }, longest.max(10));
        let fate = self.sites[place].host.running(&attempt).map(|running| running.fate);
        match fate {
            Some(Fate::Hangs) | None => {}
            Some(Fate::Lingers) => {
                self.later(after / 4, place, Event::Half(attempt.clone()));
                self.later(after, place, Event::Finish(attempt));
            }
            Some(Fate::Succeeds | Fate::Fails { .. } | Fate::Lies | Fate::Denies) => {
                self.via(place, dispatch);
                self.later(after, place, Event::Finish(attempt));
            }
        }
    }

    /// What is to be seen while the attempt runs.
    fn via(&mut self, place: Place, dispatch: &Dispatch) {
        if !self.chance.percent(50) {
            return;
        }
        let instance = &dispatch.instance;
        for (path, _) in instance.changes() {
            let mut vias = instance.mutation.via.iter();
            let via =
                vias.find(|(pattern, _)| pattern.bind(&instance.bindings).as_ref() == Some(&path));
            if let Some(value) = via.and_then(|(_, values)| values.first()) {
                self.reality.set(place, dispatch.uid, &path, value.clone());
            }
        }
        self.report(place, dispatch.uid);
    }

    /// The attempt has done what it does, and goes on.
    pub(super) fn half_done(&mut self, place: Place, attempt: &AttemptId) {
        let Some(running) = self.sites[place].host.running(attempt) else { return };
        if self.now >= running.until {
            return;
        }
        let (uid, changes) = (running.uid, running.changes.clone());
        self.record(place, What::Acted(attempt.clone()));
        self.reality.set_all(place, uid, changes);
        self.report(place, uid);
    }

    pub(super) fn finish(&mut self, place: Place, attempt: &AttemptId) {
        let Some(running) = self.sites[place].host.running(attempt) else { return };
        if self.now >= running.until {
            return self.expire(place, attempt);
        }
        let (fate, uid) = (running.fate, running.uid);
        let changes = running.changes.clone();
        if fate != Fate::Lies {
            self.record(place, What::Acted(attempt.clone()));
        }
        let how = match fate {
            Fate::Fails { permanent } => {
                let paths = changes.into_iter().map(|(path, _)| path);
                let left = paths.map(|path| {
                    let left = debris(&path, &mut self.chance);
                    (path, left)
                });
                let left = left.collect();
                self.reality.set_all(place, uid, left);
                Attempted::Failed { error: "it did not work".to_owned(), permanent }
            }
            Fate::Succeeds | Fate::Lingers => {
                self.reality.set_all(place, uid, changes);
                Attempted::Succeeded
            }
            Fate::Denies => {
                self.reality.set_all(place, uid, changes);
                Attempted::Failed {
                    error: "it says that it did not work".to_owned(),
                    permanent: false,
                }
            }
            Fate::Hangs | Fate::Lies => Attempted::Succeeded,
        };
        self.end(place, attempt, how);
    }

    /// The host ends what is not done in time.
    pub(super) fn expire(&mut self, place: Place, attempt: &AttemptId) {
        let error = "not done by its deadline".to_owned();
        self.end(place, attempt, Attempted::Failed { error, permanent: false });
    }

    pub(super) fn cancel(&mut self, place: Place, attempt: &AttemptId) {
        if self.sites[place].host.may_cancel(attempt) {
            self.end(place, attempt, Attempted::Abandoned);
        }
    }

    fn end(&mut self, place: Place, attempt: &AttemptId, how: Attempted) {
        let Some(running) = self.sites[place].host.end(attempt, &how) else { return };
        self.record(place, What::Ended(attempt.clone()));
        self.report(place, running.uid);
        self.tell(place, attempt, how);
    }

    /// An attempt has ended with its module.
    pub(super) fn module_lost(&mut self, place: Place, attempt: &AttemptId, how: Attempted) {
        self.sites[place].host.end(attempt, &how);
        self.tell(place, attempt, how);
    }

    /// Tells the decider something, soon; news of one attempt may overtake each other.
    fn tell(&mut self, place: Place, attempt: &AttemptId, what: Attempted) {
        if self.tell_above(place, attempt, &what) {
            return;
        }
        for _ in 0..self.copies(self.faults.lost_percent / 2).max(1) {
            let after = self.while_ms(30);
            self.later(after, place, Event::Told(attempt.clone(), what.clone()));
        }
    }

    /// A module looks at one object at once, and tells what it saw a little later.
    pub(super) fn report(&mut self, place: Place, uid: Uid) {
        let now = self.now;
        let stamp = self.sites[place].stamp(now);
        let mut values = self.looked(place, uid);
        if self.chance.percent(self.faults.untrue_percent) {
            let count = u64::try_from(values.len()).unwrap_or_default().max(1);
            let which = usize::try_from(self.chance.between(0, count - 1)).unwrap_or_default();
            if let Some((path, value)) = values.get_mut(which) {
                *value = untruth(path, &mut self.chance);
            }
        }
        let values = vec![(uid, values)];
        let after = self.while_ms(20);
        self.later(after, place, Event::Seen { stamp, values });
    }

    /// What a look of a node at an object shows.
    fn looked(&self, place: Place, uid: Uid) -> Vec<(Path, Option<Value>)> {
        let object = self.sites[place].fleet.object(uid);
        if object.is_some_and(|object| object.key.kind.as_str() == POST_KIND) {
            let hosts = place >= self.members;
            return if hosts { self.reality.look_at_duty(place, uid) } else { Vec::new() };
        }
        self.reality.look(uid, place < self.members)
    }

    /// All modules of a node look at everything that they look at.
    pub(super) fn poll(&mut self, place: Place) {
        let site = &self.sites[place];
        let objects = site.fleet.objects().filter(|object| site.decides(object));
        let uids: Vec<Uid> = objects.map(|object| object.uid).collect();
        let values = uids.into_iter().map(|uid| (uid, self.looked(place, uid)));
        let values = values.collect();
        let now = self.now;
        let stamp = self.sites[place].stamp(now);
        let after = self.while_ms(40);
        self.later(after, place, Event::Seen { stamp, values });
        let next = self.chance.between(POLL_MS / 2, POLL_MS * 3 / 2);
        self.later(next, place, Event::Poll);
    }

    /// Everybody is well from now on.
    pub(super) fn calm_down(&mut self) {
        self.faults = Faults::NONE;
        self.network.heal();
        for site in &mut self.sites {
            (site.host.down_until, site.host.slow_until) = (0, 0);
        }
        self.quiet_since = self.now;
        debug_assert!(Millis::new(self.now) < Millis::NEVER, "time goes on");
    }
}
