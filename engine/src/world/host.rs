//! The modules of one node: they carry out attempts with latencies, errors, hangs and lies.

use std::collections::BTreeMap;

use super::{
    chance::Chance,
    modules::{DRAIN, DUTY, LIGHT, MOTD, PHYS, RUN},
};
use crate::{
    id::{AttemptId, Uid},
    machine::{Attempted, Dispatch},
    manifest::{From, To},
    path::Path,
    state::State,
    time::whole_ms,
    value::Value,
};

/// Attempts that a host has in hand at most; of more it says that it is busy.
const RUNNING_MAX: usize = 3;

/// How an attempt will go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does what it should.
    Succeeds,
    /// It does so long before it says so.
    Lingers,
    /// It ends with an error, and leaves something else behind.
    Fails {
        /// Trying again cannot help.
        permanent: bool,
    },
    /// It does not end.
    Hangs,
    /// It says that it has succeeded, and has done nothing.
    Lies,
    /// It does what it should, and says that it has failed.
    Denies,
}

/// How badly things go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    /// Of a hundred attempts, so many do not succeed.
    pub(super) attempts_percent: u64,
    /// Of a hundred messages between a decider and its host, so many are lost, and so many come
    /// twice.
    pub(super) lost_percent: u64,
    /// Of a hundred reports, so many tell of a value that is not.
    pub(super) untrue_percent: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub(super) const NONE: Self = Self { attempts_percent: 0, lost_percent: 0, untrue_percent: 0 };
}

/// The attempts of one node.
#[derive(Debug, Default)]
pub(super) struct Host {
    running: BTreeMap<AttemptId, Running>,
    ended: BTreeMap<AttemptId, Attempted>,
    /// Until then no module runs.
    pub(super) down_until: u64,
    /// Until then every module takes long.
    pub(super) slow_until: u64,
}

/// One attempt that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) uid: Uid,
    pub(super) fate: Fate,
    /// When it is ended if it has not done so itself; it never acts after that.
    pub(super) until: u64,
    pub(super) changes: Vec<(Path, Option<Value>)>,
    cancellable: bool,
}

/// What a host answers to an attempt.
pub(super) enum Admitted {
    /// It was started.
    Started,
    /// It runs.
    Runs,
    /// It has ended, thus.
    Ended(Attempted),
    /// It was not taken.
    Declined(Attempted),
}

impl Host {
    /// Takes an attempt, or tells why not.
    pub(super) fn admit(
        &mut self,
        dispatch: &Dispatch,
        cfg: &State,
        (faults, now): (Faults, u64),
        chance: &mut Chance,
    ) -> Admitted {
        if self.running.contains_key(&dispatch.attempt) {
            return Admitted::Runs;
        }
        if let Some(ended) = self.ended.get(&dispatch.attempt) {
            let refused = matches!(ended, Attempted::Busy | Attempted::NoService(_));
            let ended = ended.clone();
            return if refused { Admitted::Declined(ended) } else { Admitted::Ended(ended) };
        }
        if let Some(why) = self.refusal(now) {
            // What comes twice is refused twice: its decider has gone on.
            self.ended.insert(dispatch.attempt.clone(), why.clone());
            return Admitted::Declined(why);
        }
        let changes = dispatch.instance.changes().map(|(path, change)| {
            let to = match (&change.from, &change.to) {
                // A discovery looks and changes nothing.
                (From::Unknown, _) => None,
                (_, To::Cfg) => cfg.get(path.as_str()).cloned(),
                (_, To::Value(value)) => Some(value.clone()),
            };
            (path, to)
        });
        let running = Running {
            uid: dispatch.uid,
            fate: fate(faults, chance),
            until: now.saturating_add(whole_ms(dispatch.timeout)),
            changes: changes.collect(),
            cancellable: dispatch.instance.mutation.cancellable,
        };
        self.running.insert(dispatch.attempt.clone(), running);
        Admitted::Started
    }

    fn refusal(&self, now: u64) -> Option<Attempted> {
        if now < self.down_until {
            return Some(Attempted::NoService("it does not run".to_owned()));
        }
        (self.running.len() >= RUNNING_MAX).then_some(Attempted::Busy)
    }

    /// Has an attempt never start, unless it runs; says whether it does not.
    pub(super) fn bar(&mut self, attempt: &AttemptId) -> bool {
        if self.running.contains_key(attempt) {
            return false;
        }
        self.ended.entry(attempt.clone()).or_insert(Attempted::Abandoned);
        true
    }

    pub(super) fn running(&self, attempt: &AttemptId) -> Option<&Running> {
        self.running.get(attempt)
    }

    /// All attempts that run.
    pub(super) fn all_running(&self) -> impl Iterator<Item = (&AttemptId, &Running)> {
        self.running.iter()
    }

    pub(super) fn may_cancel(&self, attempt: &AttemptId) -> bool {
        self.running.get(attempt).is_some_and(|running| running.cancellable)
    }

    /// An attempt has ended; `None` where it does not run.
    pub(super) fn end(&mut self, attempt: &AttemptId, how: &Attempted) -> Option<Running> {
        let running = self.running.remove(attempt)?;
        self.ended.insert(attempt.clone(), how.clone());
        Some(running)
    }
}

fn fate(faults: Faults, chance: &mut Chance) -> Fate {
    if !chance.percent(faults.attempts_percent) {
        let lingers = faults.attempts_percent > 0 && chance.percent(10);
        return if lingers { Fate::Lingers } else { Fate::Succeeds };
    }
    match chance.between(0, 9) {
        0..=4 => Fate::Fails { permanent: chance.percent(5) },
        5..=6 => Fate::Hangs,
        7 => Fate::Denies,
        _ => Fate::Lies,
    }
}

/// A value that may be told of a path though it is not so.
pub(super) fn untruth(path: &Path, chance: &mut Chance) -> Option<Value> {
    let told: &[&str] = match path.as_str() {
        PHYS => &["ON", "OFF", "HANG"],
        RUN => &["INIT", "SYNC"],
        LIGHT => &["DARK", "BRIGHT", "BROKEN"],
        MOTD => &["lies"],
        DRAIN => &["NO", "DRAINED", "STUCK"],
        DUTY => &["OFF", "ON", "FAILED"],
        _ => &["RUN", "STOP", "FAILED"],
    };
    chance.pick(told).map(|value| (*value).into())
}

/// What a failing attempt leaves behind at a path.
pub(super) fn debris(path: &Path, chance: &mut Chance) -> Option<Value> {
    let of_service = path.as_str().starts_with("/services/");
    let left = match (of_service, path.as_str()) {
        (true, _) => ["FAILED", "STARTING", "STOP"],
        (_, PHYS) => ["HANG", "CYCLE", "OFF"],
        (_, DRAIN) => ["STUCK", "NO", "DRAINED"],
        (_, LIGHT) => ["BROKEN", "DARK", "BRIGHT"],
        (_, DUTY) => ["FAILED", "OFF", "ON"],
        _ => return None,
    };
    chance.percent(50).then(|| chance.pick(&left).map(|value| (*value).into())).flatten()
}
