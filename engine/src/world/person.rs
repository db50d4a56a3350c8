//! The person: asks, changes her mind, freezes, thaws, asks for retries, hangs lamps and takes them
//! down again.

use super::{
    Event, Place, World,
    modules::{DRAIN, DUTY, LAMP_KIND, LIGHT, MOTD, PHYS, POST_KIND, RUN, SERVICES, service},
    quorum::Wish,
};
use crate::{
    command::{Command, Op, Target, Targets, Txn},
    id::Name,
    manifest::NODE_KIND,
    object::{HOST_PATH, Labels, ObjectRef},
    path::Path,
    policy::{Limits, POLICY_KIND, Policy},
    selector::Selector,
    state::State,
    sync::pace::{BULK, HEARTBEAT_LABEL, NORMAL},
    value::Value,
};

/// The policies that the person writes.
const POLICIES: [&str; 2] = ["lamps", "nodes"];
/// What may stand in a policy: the path, its values, and how many of a hundred policies have it.
const LIMITS: [(&str, &[&str], u64); 9] = [
    ("/kind", &["node", LAMP_KIND], 50),
    ("/selector", &["rack=r1", "rack=r2"], 30),
    ("/per", &["module", "rack", "module, rack"], 40),
    ("/maxInFlight", &["1", "2", "40%"], 70),
    ("/ratePerMinute", &["1", "2", "4"], 40),
    ("/maxFailed", &["1", "2", "60%"], 30),
    ("/minHealthy", &["1", "2", "50%"], 20),
    ("/canary", &["1 pause", "1 2s, 50% 3s, 100%", "50% 5s"], 30),
    ("/windows", &["Tue 22:13-22:14 UTC", "Tue 22:13-23:00 UTC", "Sun 01:00-02:00 UTC"], 15),
];

impl World {
    /// She wants something of a node, or of the lamp on it.
    pub(super) fn person(&mut self, place: Place) {
        match self.chance.between(0, 21) {
            0..=7 => self.ask(place),
            8..=10 => self.lamp(place),
            19..=21 => self.post(place),
            11 => self.freeze(place, true),
            12..=13 => self.freeze(place, false),
            14 => self.label(place),
            15..=17 => self.limit(),
            _ => self.retry(place),
        }
    }

    /// The person asks something of a node, or no longer.
    fn ask(&mut self, place: Place) {
        let which = self.chance.between(0, 12);
        let (path, values): (String, &[&str]) = match which {
            0..=4 => {
                let name = self.chance.pick(&SERVICES).copied().unwrap_or_default();
                (service(name), &["RUN", "STOP"])
            }
            5 => (MOTD.to_owned(), &["hello", "good evening", "back soon"]),
            6..=7 => (PHYS.to_owned(), &["ON", "OFF"]),
            8..=10 => (DRAIN.to_owned(), &["DRAINED", "NO"]),
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
        named(NODE_KIND, self.sites[place].name.as_str())
    }

    /// Hangs a lamp on a node, has it shine or not, or takes it down.
    fn lamp(&mut self, place: Place) {
        let name = format!("lamp-{}", self.sites[place].name);
        let (Some(object), Ok(light)) = (named(LAMP_KIND, &name), Path::new(LIGHT)) else {
            return;
        };
        let op = match self.chance.between(0, 7) {
            0..=1 => Op::Delete { object, force: self.chance.percent(20) },
            asks => {
                let mut cfg = State::new();
                let value = if asks > 3 { "BRIGHT" } else { "DARK" };
                if cfg.set(light, value.into()).is_err() {
                    return;
                }
                Op::Put { object, labels: None, owner: self.object_of(place), cfg }
            }
        };
        self.write(Command::Txn(Txn { ops: vec![op], ..Txn::default() }));
    }

    /// Has a node keep a post, whoever kept it before, or not any more; or gives it up.
    fn post(&mut self, place: Place) {
        let name = if self.chance.percent(70) { "post-1" } else { "post-2" };
        let (Some(object), Ok(duty), Ok(host)) =
            (named(POST_KIND, name), Path::new(DUTY), Path::new(HOST_PATH))
        else {
            return;
        };
        let op = match self.chance.between(0, 9) {
            0 => Op::Delete { object, force: self.chance.percent(20) },
            asks => {
                let mut cfg = State::new();
                let value = if asks > 2 { "ON" } else { "OFF" };
                let keeper = self.sites[place].name.as_str();
                if cfg.set(duty, value.into()).is_err() || cfg.set(host, keeper.into()).is_err() {
                    return;
                }
                let rack = Name::new("rack").ok().map(|key| (key, "r1".to_owned()));
                let labels = self.chance.percent(30).then(|| rack.into_iter().collect());
                Op::Put { object, labels, owner: None, cfg }
            }
        };
        self.write(Command::Txn(Txn { ops: vec![op], ..Txn::default() }));
    }

    /// Labels a node, so that selectors match others than before, or that it is heard of as often
    /// as others or more seldom.
    fn label(&mut self, place: Place) {
        let racks = self.chance.percent(50);
        let (key, values) =
            if racks { ("rack", ["r1", "r2"]) } else { (HEARTBEAT_LABEL, [NORMAL, BULK]) };
        let value = if self.chance.percent(50) { values[0] } else { values[1] };
        let (Some(object), Ok(key)) = (self.object_of(place), Name::new(key)) else { return };
        let set = Labels::from([(key, value.to_owned())]);
        let op = Op::Label { target: Target::One(object), set, unset: Vec::new() };
        self.write(Command::Txn(Txn { ops: vec![op], ..Txn::default() }));
    }

    /// Writes a policy, changes one, or lets its rollout go on.
    fn limit(&mut self) {
        let name = self.chance.pick(&POLICIES).copied().unwrap_or_default();
        let mut cfg = State::new();
        for (path, values, percent) in LIMITS {
            let value = self.chance.pick(values).copied().unwrap_or_default();
            if self.chance.percent(percent)
                && let Ok(path) = Path::new(path)
            {
                // Paths that stand beside each other always fit.
                cfg.set(path, value.parse().map_or_else(|_| value.into(), Value::Int)).ok();
            }
        }
        self.put_policy(name, cfg);
    }

    /// Has policies limit nothing any more, until that is committed: what they hold back might wait
    /// for ever.
    pub(super) fn lift_limits(&mut self) {
        let limits = |policy: &Policy| policy.limits != Limits::default();
        let left = self.quorum.store.rules().policies().filter(|policy| limits(policy));
        let left: Vec<Name> = left.map(|policy| policy.name.clone()).collect();
        for name in &left {
            self.put_policy(name.as_str(), State::new());
        }
        // One that was asked for in the chaos may be committed now.
        self.later(1_000, 0, Event::Lift);
    }

    fn put_policy(&mut self, name: &str, cfg: State) {
        let Some(object) = named(POLICY_KIND, name) else { return };
        let op = Op::Put { object, labels: None, owner: None, cfg };
        self.write(Command::Txn(Txn { ops: vec![op], ..Txn::default() }));
    }

    fn freeze(&mut self, place: Place, freeze: bool) {
        let names = vec![self.sites[place].name.clone()];
        let targets = match (self.chance.between(0, 9), "rack=r1".parse::<Selector>()) {
            (0..=1, _) => Targets::All,
            (2..=4, Ok(selector)) => Targets::Selector(selector),
            _ => Targets::Names(names),
        };
        self.write(if freeze { Command::Freeze { targets } } else { Command::Thaw { targets } });
    }

    fn retry(&mut self, place: Place) {
        let targets = Targets::Names(vec![self.sites[place].name.clone()]);
        self.write(Command::Retry { targets });
    }

    pub(super) fn write(&mut self, command: Command) {
        self.propose(Wish { by: None, command, intent: None });
    }
}

fn named(kind: &str, name: &str) -> Option<ObjectRef> {
    let (kind, name) = (Name::new(kind).ok()?, Name::new(name).ok()?);
    Some(ObjectRef { kind, namespace: None, name })
}
