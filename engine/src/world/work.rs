//! Decisions and their effects: from a look to the module that carries it out, and back.

use super::{
    Event, LEADER, Place, World,
    host::{Admitted, Fate, Faults, debris},
    recorder,
};
use crate::{
    command::Command,
    id::{AttemptId, Uid},
    invariants::What,
    machine::{Attempted, Dispatch, Effect},
    path::Path,
    planner::Planner,
    time::Millis,
    value::Value,
};

/// How often modules look, in milliseconds.
const POLL_MS: u64 = 2_000;

impl World {
    /// Looks at every object that may have changed.
    pub(super) fn look(&mut self, place: Place) {
        while let Some(uid) = self.sites[place].dirty.pop_first() {
            let site = &self.sites[place];
            if site.fleet.object(uid).is_some_and(|object| !site.decides(object)) {
                continue;
            }
            self.decide(place, uid, None);
        }
    }

    /// The leader takes the policies as they are committed, and decides what is due of them.
    pub(super) fn govern(&mut self) {
        let (rules, term) = (self.store.rules().clone(), self.term);
        let decider = &mut self.sites[LEADER].decider;
        decider.govern(rules, term);
        for effect in decider.steer() {
            self.carry_out(LEADER, effect);
        }
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

    fn carry_out(&mut self, place: Place, effect: Effect) {
        match effect {
            Effect::Dispatch(dispatch) => self.dispatch(place, dispatch),
            Effect::Cancel(attempt) => {
                let after = self.while_ms(30);
                self.later(after, place, Event::Cancel(attempt));
            }
            Effect::OpenIntent(intent) => {
                let attempt = intent.attempt.clone();
                let command = Command::OpenIntents { term: self.term, intents: vec![intent] };
                self.propose(command, Some(attempt), false);
            }
            Effect::CloseIntent(attempt) => {
                self.propose(Command::CloseIntents { attempts: vec![attempt] }, None, false);
            }
            Effect::Publish(uid, status) => {
                let values = status.to_values(self.sites[place].lane);
                self.say(place, uid, values);
            }
            Effect::Presume(uid, values) => self.say(place, uid, values),
            Effect::Happened(happening) => self.happened(place, happening),
            Effect::Look(uid) => self.report(place, uid),
            Effect::Propose(command) => self.propose(*command, None, false),
        }
    }

    fn dispatch(&mut self, place: Place, dispatch: Dispatch) {
        let dispatched = recorder::dispatched(&self.sites[place], &dispatch, &self.store);
        self.record(place, dispatched);
        let mut cold = Planner::new();
        let planners = [&mut self.warm, &mut cold];
        let planned = recorder::planned(&self.sites[place], dispatch.uid, planners);
        for what in planned {
            self.record(place, what);
        }
        if !self.chance.percent(self.faults.lost_percent) {
            let after = self.while_ms(20);
            self.later(after, place, Event::Start(Box::new(dispatch)));
        }
    }

    pub(super) fn propose(
        &mut self,
        command: Command,
        intent: Option<AttemptId>,
        acknowledge: bool,
    ) {
        let after = self.chance.between(5, 60);
        self.later(after, LEADER, Event::Commit { command, intent, acknowledge });
    }

    /// The host is told to start an attempt.
    pub(super) fn start_attempt(&mut self, place: Place, dispatch: Dispatch) {
        let (attempt, uid) = (dispatch.attempt.clone(), dispatch.uid);
        let Some(object) = self.sites[place].fleet.object(uid).cloned() else { return };
        let when = (self.faults, self.now);
        let host = &mut self.sites[place].host;
        let what = match host.admit(&dispatch, &object.cfg, when, &mut self.chance) {
            Admitted::Started => {
                self.begin(place, &dispatch);
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

    fn begin(&mut self, place: Place, dispatch: &Dispatch) {
        let attempt = dispatch.attempt.clone();
        let lane = self.sites[place].lane;
        let disruptive = dispatch.instance.mutation.disruptive;
        let started =
            What::Started { attempt: attempt.clone(), uid: dispatch.uid, lane, disruptive };
        self.record(place, started);
        let timeout = u64::try_from(dispatch.timeout.as_millis()).unwrap_or(u64::MAX);
        self.later(timeout, place, Event::Expire(attempt.clone()));
        let longest = if self.is_chaos() { timeout + timeout / 4 } else { timeout / 4 };
        let after = self.chance.between(10, longest.max(10));
        let fate = self.sites[place].host.running(&attempt).map(|running| running.fate);
        match fate {
            Some(Fate::Hangs) | None => {}
            Some(Fate::Lingers) => {
                self.later(after / 4, place, Event::Half(attempt.clone()));
                self.later(after, place, Event::Finish(attempt));
            }
            Some(Fate::Succeeds | Fate::Fails { .. } | Fate::Lies) => {
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
                self.reality.set(dispatch.uid, &path, value.clone());
            }
        }
        self.report(place, dispatch.uid);
    }

    /// The attempt has done what it does, and goes on.
    pub(super) fn half_done(&mut self, place: Place, attempt: &AttemptId) {
        let Some(running) = self.sites[place].host.running(attempt) else { return };
        let (uid, changes) = (running.uid, running.changes.clone());
        self.reality.set_all(uid, changes);
        self.report(place, uid);
    }

    pub(super) fn finish(&mut self, place: Place, attempt: &AttemptId) {
        let Some(running) = self.sites[place].host.running(attempt) else { return };
        let (fate, uid) = (running.fate, running.uid);
        let changes = running.changes.clone();
        let how = match fate {
            Fate::Fails { permanent } => {
                let paths = changes.into_iter().map(|(path, _)| path);
                let left = paths.map(|path| {
                    let left = debris(&path, &mut self.chance);
                    (path, left)
                });
                let left = left.collect();
                self.reality.set_all(uid, left);
                Attempted::Failed { error: "it did not work".to_owned(), permanent }
            }
            Fate::Succeeds | Fate::Lingers => {
                self.reality.set_all(uid, changes);
                Attempted::Succeeded
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

    /// Tells the decider something, soon; news of one attempt may overtake each other.
    fn tell(&mut self, place: Place, attempt: &AttemptId, what: Attempted) {
        let after = self.while_ms(30);
        self.later(after, place, Event::Told(attempt.clone(), what));
    }

    /// A module looks at one object at once, and tells what it saw a little later.
    fn report(&mut self, place: Place, uid: Uid) {
        let now = self.now;
        let stamp = self.sites[place].stamp(now);
        let values = vec![(uid, self.reality.look(uid, place == LEADER))];
        let after = self.while_ms(20);
        self.later(after, place, Event::Seen { stamp, values });
    }

    /// All modules of a node look at everything that they look at.
    pub(super) fn poll(&mut self, place: Place) {
        let site = &self.sites[place];
        let objects = site.fleet.objects().filter(|object| site.decides(object));
        let uids: Vec<Uid> = objects.map(|object| object.uid).collect();
        let at_machine = place == LEADER;
        let values = uids.into_iter().map(|uid| (uid, self.reality.look(uid, at_machine)));
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
        for site in &mut self.sites {
            site.host.down_until = 0;
        }
        self.quiet_since = self.now;
        debug_assert!(Millis::new(self.now) < Millis::NEVER, "time goes on");
    }
}
