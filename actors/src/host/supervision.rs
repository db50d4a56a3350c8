//! When a module is started, restarted and given up: a pure machine, one a module.
//!
//! | phase | event | phase |
//! |---|---|---|
//! | Waiting, `GivenUp`: its time has come | start | Starting |
//! | Waiting, `GivenUp`, Stopped | hurry | Waiting, for no time |
//! | Waiting, `GivenUp` | stop | Stopped |
//! | Starting | started | Running |
//! | Starting | failed | Waiting; `GivenUp` past `FAILURES_MAX` failures in a row |
//! | Running | end | Ending |
//! | Running | hung `HUNG_MAX` times in a row on one kind of request | Ending, then as failed |
//! | Ending | ended | Starting, Stopped, or as failed: whatever the end was for |
//!
//! Hurry and stop also turn what follows an end or a start, if the one was under way for the other.
//! Failures are in a row unless the module has run for `HEALTHY_AFTER` between them. Every other
//! pair of phase and event changes nothing: news of an earlier run comes with its generation and is
//! dropped.

use std::time::Duration;

use kraken_engine::time::Millis;
use serde::Serialize;

use super::jitter::jittered;

/// The wait before the first restart; it doubles with each failure in a row.
pub const BACKOFF_INITIAL: Duration = Duration::from_millis(250);
/// The longest wait before a restart of a module that is not given up.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Failures in a row after which a module is given up, and tried only every [`RETRY_SLOW`].
pub const FAILURES_MAX: u32 = 5;
/// The wait between tries of a module that is given up.
pub const RETRY_SLOW: Duration = Duration::from_mins(1);
/// A run of this length ends the row of failures.
pub const HEALTHY_AFTER: Duration = Duration::from_mins(1);
/// Requests of one kind left unanswered in a row after which a module counts as hung for good.
pub const HUNG_MAX: u32 = 3;

/// A module's state as people see it at `/modules/<module>/state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModuleState {
    /// It is being started, or will be in a moment.
    Init,
    /// It runs.
    Run,
    /// It was stopped on purpose.
    Stop,
    /// It failed too often; it is tried again now and then.
    Error,
}

/// The supervision of one module.
#[derive(Debug, Clone)]
pub(crate) struct Supervision {
    phase: Phase,
    generation: u64,
    failures: u32,
    error: Option<String>,
    wanted: bool,
    seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Waiting { until: Millis },
    GivenUp { until: Millis },
    Starting,
    Running { since: Millis, hung: Hung },
    Ending { since: Option<Millis>, then: Then },
    Stopped,
}

/// Requests left unanswered in a row. Counted apart, because a module that still looks may yet hang
/// whenever it is to change something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Hung {
    attempts: u32,
    looks: u32,
}

/// What a module was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To carry out an attempt.
    Attempt,
    /// To look.
    Look,
}

impl Hung {
    fn count(&mut self, asked: Asked) -> &mut u32 {
        match asked {
            Asked::Attempt => &mut self.attempts,
            Asked::Look => &mut self.looks,
        }
    }
}

/// What follows when a module has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    /// It starts again at once.
    Start,
    /// It stays stopped.
    Stop,
    /// It starts again after a wait: it failed.
    BackOff(String),
}

impl Supervision {
    /// A module that is to be started at once.
    pub(crate) fn new(seed: u64) -> Self {
        let phase = Phase::Waiting { until: Millis::ZERO };
        Self { phase, generation: 0, failures: 0, error: None, wanted: true, seed }
    }

    /// Whether the module is to be started now.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        self.wake().is_some_and(|wake| wake <= now)
    }

    /// When the module is to be started, if it waits for that.
    pub(crate) fn wake(&self) -> Option<Millis> {
        match self.phase {
            Phase::Waiting { until } | Phase::GivenUp { until } => Some(until),
            Phase::Starting | Phase::Running { .. } | Phase::Ending { .. } | Phase::Stopped => None,
        }
    }

    /// A start begins; the number of this run, which news of it must carry.
    pub(crate) fn start(&mut self) -> u64 {
        self.phase = Phase::Starting;
        self.generation += 1;
        self.generation
    }

    /// The start has succeeded. Tells whether this is news.
    pub(crate) fn started(&mut self, generation: u64, now: Millis) -> bool {
        let news = self.generation == generation && self.phase == Phase::Starting;
        if news {
            self.phase = Phase::Running { since: now, hung: Hung::default() };
            self.error = None;
        }
        news
    }

    /// The start has failed.
    pub(crate) fn failed_to_start(&mut self, generation: u64, now: Millis, error: String) {
        if self.generation == generation && self.phase == Phase::Starting {
            self.back_off(None, now, error);
            if !self.wanted {
                self.phase = Phase::Stopped;
            }
        }
    }

    /// The module is about to be ended. Tells whether it runs, and so must be.
    pub(crate) fn end(&mut self, generation: u64, then: Then) -> bool {
        match self.phase {
            Phase::Running { since, .. } if self.generation == generation => {
                self.phase = Phase::Ending { since: Some(since), then };
                true
            }
            Phase::Starting
            | Phase::Running { .. }
            | Phase::Waiting { .. }
            | Phase::GivenUp { .. }
            | Phase::Ending { .. }
            | Phase::Stopped => false,
        }
    }

    /// Nothing of the module runs any more.
    pub(crate) fn ended(&mut self, generation: u64, now: Millis) {
        if self.generation != generation {
            return;
        }
        let Phase::Ending { since, then } = self.phase.clone() else { return };
        match then {
            Then::Start => self.phase = Phase::Waiting { until: now },
            Then::Stop => self.phase = Phase::Stopped,
            Then::BackOff(error) => self.back_off(since, now, error),
        }
    }

    /// The module has left a request unanswered. Tells whether it must be ended.
    pub(crate) fn hung(&mut self, generation: u64, asked: Asked) -> bool {
        match &mut self.phase {
            Phase::Running { hung, .. } if self.generation == generation => {
                let count = hung.count(asked);
                *count += 1;
                *count >= HUNG_MAX
            }
            Phase::Starting
            | Phase::Running { .. }
            | Phase::Waiting { .. }
            | Phase::GivenUp { .. }
            | Phase::Ending { .. }
            | Phase::Stopped => false,
        }
    }

    /// The module has answered a request.
    pub(crate) fn answered(&mut self, generation: u64, asked: Asked) {
        if let Phase::Running { hung, .. } = &mut self.phase
            && self.generation == generation
        {
            *hung.count(asked) = 0;
        }
    }

    /// The module is wanted now: its next start is not waited for.
    pub(crate) fn hurry(&mut self, now: Millis) {
        self.wanted = true;
        match &mut self.phase {
            Phase::Waiting { .. } | Phase::GivenUp { .. } | Phase::Stopped => {
                self.phase = Phase::Waiting { until: now };
            }
            Phase::Ending { then, .. } if *then == Then::Stop => *then = Then::Start,
            Phase::Starting | Phase::Running { .. } | Phase::Ending { .. } => {}
        }
    }

    /// The module is not to run any more. One that runs must be ended besides.
    pub(crate) fn stop(&mut self) {
        self.wanted = false;
        match &mut self.phase {
            Phase::Waiting { .. } | Phase::GivenUp { .. } => self.phase = Phase::Stopped,
            Phase::Ending { then, .. } => *then = Then::Stop,
            Phase::Starting | Phase::Running { .. } | Phase::Stopped => {}
        }
    }

    /// Whether the module is to run.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// What people see.
    pub(crate) fn state(&self) -> ModuleState {
        match self.phase {
            Phase::Waiting { .. }
            | Phase::Starting
            | Phase::Ending { then: Then::Start | Then::BackOff(_), .. } => ModuleState::Init,
            Phase::Running { .. } => ModuleState::Run,
            Phase::Stopped | Phase::Ending { then: Then::Stop, .. } => ModuleState::Stop,
            Phase::GivenUp { .. } => ModuleState::Error,
        }
    }

    /// Why the module last failed, while it does not run.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The number of the present run, or of the one before while there is none.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// How often the module was started again.
    pub(crate) fn restarts(&self) -> u64 {
        self.generation.saturating_sub(1)
    }

    fn back_off(&mut self, since: Option<Millis>, now: Millis, error: String) {
        if since.is_some_and(|since| now.since(since) >= HEALTHY_AFTER) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error);
        let given_up = self.failures > FAILURES_MAX;
        let wait = if given_up { RETRY_SLOW } else { backoff(self.failures) };
        let until = now.after(jittered(wait, self.seed, self.generation));
        self.phase = if given_up { Phase::GivenUp { until } } else { Phase::Waiting { until } };
    }
}

/// The wait after so many failures in a row, before jitter.
fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    BACKOFF_INITIAL.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Millis = Millis::new(1_000_000);

    fn running() -> Supervision {
        let mut supervision = Supervision::new(7);
        let generation = supervision.start();
        assert!(supervision.started(generation, T0));
        supervision
    }

    fn given_up() -> Supervision {
        let mut supervision = Supervision::new(7);
        for _ in 0..=FAILURES_MAX {
            let generation = supervision.start();
            supervision.failed_to_start(generation, T0, "no".to_owned());
        }
        supervision
    }

    fn waits_about(supervision: &Supervision, wait: Duration) -> bool {
        let actual = supervision.wake().unwrap().since(T0);
        actual >= wait.mul_f32(0.89) && actual <= wait.mul_f32(1.11)
    }

    #[test]
    fn a_new_module_is_started_at_once() {
        let supervision = Supervision::new(7);
        assert!(supervision.is_due(Millis::ZERO));
        assert_eq!(supervision.state(), ModuleState::Init);
        assert_eq!(running().state(), ModuleState::Run);
    }

    #[test]
    fn failures_in_a_row_back_off_and_end_in_error_that_is_retried_slowly() {
        let mut supervision = Supervision::new(7);
        for wait_ms in [250, 500, 1_000, 2_000, 4_000] {
            let generation = supervision.start();
            supervision.failed_to_start(generation, T0, "no".to_owned());
            assert!(waits_about(&supervision, Duration::from_millis(wait_ms)), "{wait_ms}");
            assert_eq!(supervision.state(), ModuleState::Init);
        }
        for _ in 0..2 {
            let generation = supervision.start();
            supervision.failed_to_start(generation, T0, "still no".to_owned());
            assert_eq!(supervision.state(), ModuleState::Error);
            assert_eq!(supervision.error(), Some("still no"));
            assert!(waits_about(&supervision, RETRY_SLOW));
        }
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }

    #[test]
    fn a_healthy_run_ends_the_row_of_failures() {
        for (ran, expected) in [(HEALTHY_AFTER / 2, 2), (HEALTHY_AFTER, 1)] {
            let mut supervision = Supervision::new(7);
            let generation = supervision.start();
            supervision.failed_to_start(generation, T0, "no".to_owned());
            let generation = supervision.start();
            supervision.started(generation, T0);
            supervision.end(generation, Then::BackOff("lost".to_owned()));
            supervision.ended(generation, T0.after(ran));
            assert_eq!(supervision.failures, expected);
        }
    }

    #[test]
    fn what_follows_an_end_is_what_it_was_for() {
        let table = [
            (Then::Start, ModuleState::Init, true),
            (Then::Stop, ModuleState::Stop, false),
            (Then::BackOff("lost".to_owned()), ModuleState::Init, false),
        ];
        for (then, state, due) in table {
            let mut supervision = running();
            assert!(supervision.end(1, then.clone()));
            assert_eq!(supervision.state(), state, "while ending for {then:?}");
            assert!(!supervision.is_due(Millis::NEVER), "not before it has ended");
            supervision.ended(1, T0);
            assert_eq!((supervision.state(), supervision.is_due(T0)), (state, due), "{then:?}");
        }
    }

    #[test]
    fn requests_of_one_kind_left_unanswered_in_a_row_end_a_module() {
        let mut supervision = running();
        let told = (0..HUNG_MAX).map(|_| {
            supervision.answered(1, Asked::Look);
            supervision.hung(1, Asked::Attempt)
        });
        assert_eq!(told.collect::<Vec<_>>(), [false, false, true]);
        let mut supervision = running();
        for _ in 0..HUNG_MAX * 2 {
            assert!(!supervision.hung(1, Asked::Look));
            supervision.answered(1, Asked::Look);
        }
    }

    #[test]
    fn news_of_an_earlier_run_is_dropped() {
        let mut supervision = running();
        supervision.end(1, Then::Start);
        supervision.ended(1, T0);
        let generation = supervision.start();
        assert!(supervision.started(generation, T0));
        assert!(!supervision.started(1, T0));
        assert!(!supervision.hung(1, Asked::Look));
        assert!(!supervision.end(1, Then::Stop));
        supervision.ended(1, T0);
        supervision.failed_to_start(1, T0, "old".to_owned());
        assert_eq!(supervision.state(), ModuleState::Run);
        assert_eq!(supervision.restarts(), 1);
    }

    #[test]
    fn a_wanted_module_is_not_waited_for() {
        let mut stopped = running();
        stopped.end(1, Then::Stop);
        stopped.ended(1, T0);
        for (mut supervision, due) in [(stopped, true), (given_up(), true), (running(), false)] {
            assert!(!supervision.is_due(T0));
            supervision.hurry(T0);
            assert_eq!(supervision.is_due(T0), due);
        }
    }

    #[test]
    fn stop_and_hurry_turn_what_is_under_way() {
        let mut ending = running();
        ending.end(1, Then::Stop);
        ending.hurry(T0);
        ending.ended(1, T0);
        assert!(ending.is_due(T0), "started again after all");

        let mut ending = running();
        ending.end(1, Then::Start);
        ending.stop();
        ending.ended(1, T0);
        assert_eq!(ending.state(), ModuleState::Stop);

        let mut starting = Supervision::new(7);
        let generation = starting.start();
        starting.stop();
        starting.failed_to_start(generation, T0, "no".to_owned());
        assert_eq!(starting.state(), ModuleState::Stop);

        let mut waiting = given_up();
        waiting.stop();
        assert_eq!((waiting.state(), waiting.wake()), (ModuleState::Stop, None));
    }
}
