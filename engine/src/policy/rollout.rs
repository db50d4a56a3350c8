//! Rollouts: how far a policy with canary stages has gone. The position is Cfg, written by the
//! leader; this machine says what is to be written next.
//!
//! | position | what is so | next |
//! |---|---|---|
//! | none | a step waits | stage 1, open |
//! | any | a step waits that was asked for after its base | stage 1, open, anew |
//! | open | a step waits, the stage is used up, all begun have arrived | see below |
//! | ... | the stage bakes | baking |
//! | ... | the stage pauses | paused |
//! | ... | neither | the next stage, open |
//! | baking | the time is over | the next stage, open |
//! | paused | a person wrote `/resume` | the next stage, open |
//! | open, past the last stage | | it stays: nothing is held back |

use std::time::Duration;

use super::{Policy, Then};
use crate::{id::Revision, path::Path, state::State, time::Millis, value::Value};

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The revision of the change that it rolls out.
    pub base: Revision,
    /// What the order of its objects is drawn from.
    pub seed: u64,
    /// The stage, from 1; one more than there are, when all have passed.
    pub stage: usize,
    /// How the stage stands.
    pub stand: Stand,
    /// Since when.
    pub since: Millis,
    /// What stood at `/resume` when it paused.
    pub passed: Option<i64>,
    /// How many had failed when the selection was frozen.
    pub failed: u32,
}

/// How a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Objects may be begun with.
    Open,
    /// Nothing is begun with until a time has passed.
    Baking,
    /// Nothing is begun with until a person says so.
    Paused,
}

const STANDS: [(Stand, &str); 3] =
    [(Stand::Open, "OPEN"), (Stand::Baking, "BAKING"), (Stand::Paused, "PAUSED")];

/// What a rollout goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The objects that its policy covers.
    pub(super) total: u32,
    /// The objects that it has begun with.
    pub(super) begun: u32,
    /// Those of them that have not arrived.
    pub(super) under_way: u32,
    /// Steps that wait for it.
    pub(super) waiting: u32,
    /// The newest revision among the objects of those steps.
    pub(super) newest: Revision,
    pub(super) now: Millis,
}

impl Stand {
    /// As it stands in Cfg.
    pub fn as_str(self) -> &'static str {
        STANDS.iter().find(|(stand, _)| *stand == self).map_or("", |(_, text)| text)
    }
}

impl Position {
    /// Reads a position; `None` where there is none.
    pub(super) fn read(cfg: &State) -> Option<Self> {
        let number = |path: &str| u64::try_from(cfg.get(path)?.as_int()?).ok();
        let state = cfg.get("/rollout/state")?.as_str()?;
        Some(Self {
            base: Revision::new(number("/rollout/base")?),
            seed: u64::from_str_radix(cfg.get("/rollout/seed")?.as_str()?, 16).ok()?,
            stage: number("/rollout/stage").and_then(|stage| usize::try_from(stage).ok())?,
            stand: STANDS.iter().find(|(_, text)| *text == state)?.0,
            since: Millis::new(number("/rollout/since")?),
            passed: cfg.get("/rollout/passed").and_then(Value::as_int),
            failed: number("/rollout/failed").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        })
    }

    /// The position as it is written, with what is to be unset.
    pub(super) fn write(&self) -> (State, Vec<Path>) {
        let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let values = [
            ("/rollout/base", Some(number(self.base.get()))),
            ("/rollout/seed", Some(format!("{:016x}", self.seed).into())),
            ("/rollout/stage", Some(number(self.stage as u64))),
            ("/rollout/state", Some(self.stand.as_str().into())),
            ("/rollout/since", Some(number(self.since.get()))),
            ("/rollout/passed", self.passed.map(Value::Int)),
            ("/rollout/failed", Some(number(self.failed.into()))),
        ];
        let (mut set, mut unset) = (State::new(), Vec::new());
        for (path, value) in values {
            let Ok(path) = Path::new(path) else { continue };
            match value {
                // The paths are siblings: none is below another.
                Some(value) => drop(set.set(path, value)),
                None => unset.push(path),
            }
        }
        (set, unset)
    }

    fn begin(policy: &Policy, facts: &Facts) -> Self {
        let drawn = format!("{} {}", policy.uid, facts.newest);
        Self {
            base: facts.newest,
            seed: xxhash_rust::xxh3::xxh3_64(drawn.as_bytes()),
            stage: 1,
            stand: Stand::Open,
            since: facts.now,
            passed: None,
            failed: 0,
        }
    }

    /// The position of a policy that has begun no rollout.
    pub(super) fn none(policy: &Policy, now: Millis) -> Self {
        let (base, seed) = (Revision::default(), policy.seed());
        Self { base, seed, stage: 1, stand: Stand::Open, since: now, passed: None, failed: 0 }
    }

    fn next_stage(&self, now: Millis) -> Self {
        Self { stage: self.stage + 1, stand: Stand::Open, since: now, ..self.clone() }
    }
}

/// Where a rollout goes from where it is; `None`: it stays.
pub(super) fn advance(policy: &Policy, facts: &Facts) -> Option<Position> {
    let Some(position) = &policy.position else {
        return (facts.waiting > 0).then(|| Position::begin(policy, facts));
    };
    if facts.waiting > 0 && facts.newest > position.base {
        return Some(Position::begin(policy, facts));
    }
    let stage = policy.limits.canary.get(position.stage.checked_sub(1)?)?;
    let after = |span: Duration| (facts.now >= position.since.after(span)).then_some(());
    match (position.stand, stage.then) {
        (Stand::Open, then) => {
            let used_up = facts.begun >= stage.most.at_least(facts.total);
            (facts.waiting > 0 && used_up && facts.under_way == 0).then(|| match then {
                Then::Bake(Duration::ZERO) => position.next_stage(facts.now),
                Then::Bake(_) => {
                    Position { stand: Stand::Baking, since: facts.now, ..position.clone() }
                }
                Then::Pause => Position {
                    stand: Stand::Paused,
                    since: facts.now,
                    passed: policy.resume,
                    ..position.clone()
                },
            })
        }
        (Stand::Baking, Then::Bake(span)) => after(span).map(|()| position.next_stage(facts.now)),
        // The policy was changed meanwhile: what it says now holds.
        (Stand::Baking, Then::Pause) => {
            Some(Position { stand: Stand::Paused, passed: policy.resume, ..position.clone() })
        }
        (Stand::Paused, Then::Bake(_)) => {
            Some(Position { stand: Stand::Baking, ..position.clone() })
        }
        (Stand::Paused, Then::Pause) => {
            let resumed = policy.resume.is_some() && policy.resume != position.passed;
            resumed.then(|| position.next_stage(facts.now))
        }
    }
}

/// When a rollout that bakes goes on.
pub(super) fn baked_at(policy: &Policy) -> Option<Millis> {
    let position = policy.position.as_ref()?;
    let stage = policy.limits.canary.get(position.stage.checked_sub(1)?)?;
    match (position.stand, stage.then) {
        (Stand::Baking, Then::Bake(span)) => Some(position.since.after(span)),
        (Stand::Open | Stand::Paused | Stand::Baking, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{ClusterId, Name, Uid},
        policy::{Limits, stages},
    };

    fn policy(canary: &str, position: Option<Position>) -> Policy {
        let canary = stages(canary).unwrap();
        Policy {
            uid: Uid::derive(ClusterId::new(1), Revision::new(1), 0),
            name: Name::new("p").unwrap(),
            revision: Revision::new(1),
            limits: Limits { canary, ..Limits::default() },
            resume: None,
            position,
        }
    }

    fn at(stage: usize, stand: Stand, since: u64) -> Position {
        let since = Millis::new(since);
        let base = Revision::new(5);
        Position { base, seed: 7, stage, stand, since, passed: None, failed: 0 }
    }

    fn facts(begun: u32, under_way: u32, waiting: u32, now: u64) -> Facts {
        let newest = Revision::new(5);
        Facts { total: 100, begun, under_way, waiting, newest, now: Millis::new(now) }
    }

    /// Each row of the table.
    #[test]
    fn a_rollout_goes_on_as_its_table_says() {
        let canary = "1 pause, 10% 10s, 50%";
        for (from, facts, to) in [
            (None, facts(0, 0, 0, 9), None),
            (None, facts(0, 0, 3, 9), Some((1, Stand::Open, 9))),
            (Some((1, Stand::Open, 0)), facts(0, 0, 3, 9), None),
            (Some((1, Stand::Open, 0)), facts(1, 1, 3, 9), None),
            (Some((1, Stand::Open, 0)), facts(1, 0, 0, 9), None),
            (Some((1, Stand::Open, 0)), facts(1, 0, 3, 9), Some((1, Stand::Paused, 9))),
            (Some((1, Stand::Paused, 0)), facts(1, 0, 3, 99_999), None),
            (Some((2, Stand::Open, 0)), facts(9, 0, 3, 9), None),
            (Some((2, Stand::Open, 0)), facts(10, 0, 3, 9), Some((2, Stand::Baking, 9))),
            (Some((2, Stand::Baking, 0)), facts(10, 0, 3, 9_999), None),
            (Some((2, Stand::Baking, 0)), facts(10, 0, 3, 10_000), Some((3, Stand::Open, 10_000))),
            (Some((3, Stand::Open, 0)), facts(50, 0, 3, 9), Some((4, Stand::Open, 9))),
            (Some((4, Stand::Open, 0)), facts(99, 0, 1, 9), None),
            (Some((2, Stand::Paused, 5)), facts(10, 0, 3, 9), Some((2, Stand::Baking, 5))),
            (Some((1, Stand::Baking, 5)), facts(10, 0, 3, 9), Some((1, Stand::Paused, 5))),
        ] {
            let position = from.map(|(stage, stand, since)| at(stage, stand, since));
            let next = advance(&policy(canary, position), &facts);
            let found = next.map(|next| (next.stage, next.stand, next.since.get()));
            assert_eq!(found, to, "{from:?} {facts:?}");
        }
    }

    #[test]
    fn a_paused_rollout_goes_on_when_resume_is_written_anew() {
        let paused = Position { passed: Some(1), ..at(1, Stand::Paused, 0) };
        for (resume, goes) in [(None, false), (Some(1), false), (Some(2), true)] {
            let policy = Policy { resume, ..policy("1 pause", Some(paused.clone())) };
            let next = advance(&policy, &facts(1, 0, 3, 9));
            assert_eq!(next.map(|next| next.stage), goes.then_some(2), "{resume:?}");
        }
    }

    #[test]
    fn a_later_change_begins_anew_and_in_another_order() {
        let old = at(4, Stand::Open, 0);
        let later = Facts { newest: Revision::new(6), ..facts(99, 3, 1, 9) };
        let next = advance(&policy("1 pause", Some(old.clone())), &later).unwrap();
        assert_eq!((next.stage, next.stand, next.base), (1, Stand::Open, Revision::new(6)));
        assert_ne!(next.seed, old.seed);
    }

    #[test]
    fn a_position_reads_as_it_was_written() {
        for passed in [None, Some(3)] {
            let position = Position { passed, failed: 2, ..at(2, Stand::Baking, 77) };
            let (set, unset) = position.write();
            assert_eq!(Position::read(&set), Some(position));
            assert_eq!(unset.len(), usize::from(passed.is_none()));
        }
        assert_eq!(Position::read(&State::new()), None);
    }
}
