//! Policies: objects of the fleet that limit how many others may be disrupted, how fast and when.
//!
//! A policy is Cfg like any other object; [`Policy::read`] is what a write of one must pass. What
//! is in use under policies is counted from committed intents alone ([`Ledger`]), so that counts
//! and rates survive the leader: apply refuses an intent that a policy does not let through
//! ([`Rules`]), and the leader asks beforehand, in a fair order, so that refusals are rare
//! ([`Gate`]). How far a rollout is stands in the policy's own Cfg, written by the leader
//! ([`Position`]). What all this means for a change that is only thought of, [`forecast`] says.

pub mod forecast;
mod gate;
mod hold;
mod ledger;
mod lost;
mod manifest;
mod recent;
mod rollout;
mod rules;
mod share;
mod tally;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

pub use self::{
    gate::{Ask, Gate, Standing, Verdict},
    hold::{Hold, On},
    ledger::{Ledger, OPENED_MAX, Opened, PLACE_HELD_MS, RATE_SPAN_MS},
    lost::{LOST_LEAST, LOST_PERCENT, LOST_SPAN_MS},
    manifest::{ENGINE_MODULE, POLICY_KIND, manifest},
    rollout::{Position, Stand},
    rules::{Candidate, POLICIES_MAX, Rules},
    share::Share,
    window::{SPAN_MS_MAX, WINDOWS_MAX, Window, day_and_time, span},
};
use crate::{
    id::{Name, Revision, Uid},
    manifest::NODE_KIND,
    object::Object,
    selector::Selector,
    value::Value,
};

/// Most stages of one canary.
pub const STAGES_MAX: usize = 32;
/// Most classes by which one policy counts apart.
pub const PER_MAX: usize = 4;
/// The highest rate a minute: as many opened intents as are remembered at all.
pub const RATE_MAX: u32 = 10_000;

/// The word in `per` that counts each module apart.
const PER_MODULE: &str = "module";

/// One policy, as its Cfg says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its object.
    pub uid: Uid,
    /// Its name.
    pub name: Name,
    /// The revision of its object.
    pub revision: Revision,
    /// What it limits.
    pub limits: Limits,
    /// What a person wrote to let a paused rollout go on.
    pub resume: Option<i64>,
    /// How far its rollout is; absent before the first.
    pub position: Option<Position>,
}

/// What a policy limits, and for which objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The kind of the objects; `node` where the policy does not say.
    pub kind: Option<Name>,
    /// The objects of that kind; all, where the policy does not say.
    pub selector: Option<Selector>,
    /// Whether each module is counted apart.
    pub per_module: bool,
    /// The labels whose values are counted apart.
    pub per: Vec<Name>,
    /// How many may be in flight at one time.
    pub max_in_flight: Option<Share>,
    /// How many may be begun in any minute.
    pub rate_per_minute: Option<u32>,
    /// How many may fail before the selection is frozen.
    pub max_failed: Option<Share>,
    /// How many must stay healthy.
    pub min_healthy: Option<Share>,
    /// How far a rollout goes at a time.
    pub canary: Vec<Stage>,
    /// When disruptive steps may begin; always, where there is none.
    pub windows: Vec<Window>,
    /// How many may lose their link together before it counts as the network's fault.
    pub max_lost: Option<Share>,
    /// After how long a node that is not reached may be disrupted; never by itself, where absent.
    pub cycle_unreachable: Option<Duration>,
}

/// One stage of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// How many objects may have been begun with by its end.
    pub most: Share,
    /// What comes before the next stage.
    pub then: Then,
}

/// What comes between two stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// A time in which nothing more is begun.
    Bake(Duration),
    /// A person's word.
    Pause,
}

/// A value of a policy that cannot be: its path, and what would be right.
pub type Fault = (&'static str, String);

impl Policy {
    /// Whether an object is a policy.
    pub fn is(object: &Object) -> bool {
        object.key.kind.as_str() == POLICY_KIND
    }

    /// Reads a policy from its object.
    pub fn read(object: &Object) -> Result<Self, Fault> {
        let resume = object.cfg.get("/resume").and_then(Value::as_int);
        Ok(Self {
            uid: object.uid,
            name: object.key.name.clone(),
            revision: object.revision,
            limits: Limits::read(object)?,
            resume,
            position: Position::read(&object.cfg),
        })
    }

    /// Whether it speaks of an object. Policies themselves are never disrupted.
    pub fn covers(&self, object: &Object) -> bool {
        let limits = &self.limits;
        let kind = limits.kind.as_ref().map_or(NODE_KIND, Name::as_str);
        object.key.kind.as_str() == kind
            && limits.selector.as_ref().is_none_or(|s| s.matches(&object.labels))
    }

    /// What the order of objects is drawn from: its rollout's seed, before the first its own.
    pub(crate) fn seed(&self) -> u64 {
        let own = || xxhash_rust::xxh3::xxh3_64(self.uid.to_string().as_bytes());
        self.position.as_ref().map_or_else(own, |position| position.seed)
    }

    /// The values of an object's labels by which this policy counts apart.
    pub fn class_of(&self, object: &Object) -> Vec<String> {
        let value = |label| object.labels.get(label).cloned().unwrap_or_default();
        self.limits.per.iter().map(value).collect()
    }
}

impl Limits {
    fn read(object: &Object) -> Result<Self, Fault> {
        let text = |path: &'static str| object.cfg.get(path).and_then(Value::as_str);
        let share = |path: &'static str| {
            let read = object.cfg.get(path).map(Share::of_value).transpose();
            read.map_err(|why| (path, why))
        };
        let kind = text("/kind").map(Name::new).transpose();
        let selector = text("/selector").map(str::parse::<Selector>).transpose();
        let (per_module, per) = per(text("/per")).map_err(|why| ("/per", why))?;
        let rate = object.cfg.get("/ratePerMinute").and_then(Value::as_int);
        let windows = text("/windows").map(Window::list).transpose();
        let canary = text("/canary").map(stages).transpose();
        let cycle = text("/cycleUnreachable").map(cycle).transpose();
        Ok(Self {
            kind: kind.map_err(|error| ("/kind", error.to_string()))?,
            selector: selector.map_err(|error| ("/selector", error.to_string()))?,
            per_module,
            per,
            max_in_flight: share("/maxInFlight")?,
            rate_per_minute: rate.and_then(|rate| u32::try_from(rate).ok()),
            max_failed: share("/maxFailed")?,
            min_healthy: share("/minHealthy")?,
            canary: canary.map_err(|why| ("/canary", why))?.unwrap_or_default(),
            windows: windows.map_err(|why| ("/windows", why))?.unwrap_or_default(),
            max_lost: share("/maxLost")?,
            cycle_unreachable: cycle.map_err(|why| ("/cycleUnreachable", why))?,
        })
    }
}

/// Reads by what is counted apart: `module` and names of labels, with commas between.
fn per(text: Option<&str>) -> Result<(bool, Vec<Name>), String> {
    let mut by_module = false;
    let mut labels = Vec::new();
    for word in text.iter().flat_map(|text| text.split(',')).map(str::trim) {
        if word == PER_MODULE {
            by_module = true;
        } else {
            let label = Name::new(word);
            labels.push(label.map_err(|_| {
                format!("{word:?} is neither module nor a label: write it as module, rack")
            })?);
        }
    }
    if labels.len() > PER_MAX {
        return Err(format!("the number of labels is limited to {PER_MAX}"));
    }
    Ok((by_module, labels))
}

/// Reads stages, with commas between: a share each, then `pause` or for how long it bakes.
fn stages(text: &str) -> Result<Vec<Stage>, String> {
    let stages: Option<Vec<Stage>> = text.split(',').map(|part| stage(part.trim())).collect();
    let wrong = || format!("{text:?} is no list of stages: write it as 1 pause, 10% 10m, 50%");
    let stages = stages.ok_or_else(wrong)?;
    if stages.len() > STAGES_MAX {
        return Err(format!("the number of stages is limited to {STAGES_MAX}"));
    }
    Ok(stages)
}

fn stage(text: &str) -> Option<Stage> {
    let mut words = text.split_whitespace();
    let most = Share::of_text(words.next()?)?;
    let then = match words.next() {
        None => Then::Bake(Duration::ZERO),
        Some("pause") => Then::Pause,
        Some(text) => Then::Bake(span(text)?),
    };
    let none = matches!(most, Share::Count(0) | Share::Percent(0));
    (words.next().is_none() && !none).then_some(Stage { most, then })
}

fn cycle(text: &str) -> Result<Duration, String> {
    let read = text.trim().strip_prefix("after").and_then(span);
    read.ok_or_else(|| format!("{text:?} is no such time: write it as after 10m"))
}
