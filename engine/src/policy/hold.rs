//! Why a policy does not let a step go, and when it may: data, and the words for people.

use super::window::day_and_time;
use crate::time::Millis;

/// Why a step waits for a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The policy's name; empty where what every fleet has holds it back.
    pub policy: String,
    /// What of it.
    pub on: On,
    /// In words.
    pub why: String,
    /// When it may go on by itself, where that is known.
    pub until: Option<Millis>,
}

/// What of a policy a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// Its turn, which is about to be given out.
    Turn,
    /// Others in flight to arrive.
    MaxInFlight,
    /// The minute to pass.
    Rate,
    /// A window to open.
    Window,
    /// Its rollout to begin.
    Begin,
    /// This stage of its rollout, the first is 1, to pass.
    Stage(usize),
    /// The time between two stages.
    Bake,
    /// A person to let the rollout go on.
    Pause,
    /// The freeze of what has failed too often.
    MaxFailed,
    /// Others to be healthy.
    MinHealthy,
    /// A look, or a person: too many lost their link together.
    MaxLost,
    /// The node to be reached again.
    Unreachable,
}

impl On {
    /// As it is called in a policy's Cfg.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "its turn",
            Self::MaxInFlight => "maxInFlight",
            Self::Rate => "ratePerMinute",
            Self::Window => "windows",
            Self::Begin | Self::Stage(_) | Self::Bake => "canary",
            Self::Pause => "resume",
            Self::MaxFailed => "maxFailed",
            Self::MinHealthy => "minHealthy",
            Self::MaxLost => "maxLost",
            Self::Unreachable => "cycleUnreachable",
        }
    }
}

impl Hold {
    pub(super) fn new(policy: &str, on: On, why: impl Into<String>) -> Self {
        Self { policy: policy.to_owned(), on, why: why.into(), until: None }
    }

    pub(super) fn until(self, until: Millis) -> Self {
        Self { until: Some(until), ..self }
    }

    /// What is waited for, in a few words: `policy web: maxInFlight`.
    pub fn waits_for(&self) -> String {
        if self.policy.is_empty() {
            format!("a guard of the fleet: {}", self.on.as_str())
        } else {
            format!("policy {}: {}", self.policy, self.on.as_str())
        }
    }

    /// Why, who must act, and when it goes on by itself.
    pub fn reason(&self) -> String {
        match self.until {
            Some(until) => format!("{}; it may go on at {}", self.why, day_and_time(until)),
            None => self.why.clone(),
        }
    }
}
