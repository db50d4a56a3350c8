//! When a module is asked to look: at everything on its interval with jitter, at what changed soon
//! after it did, and never while it still looks. Pure.

use std::time::Duration;

use kraken_engine::time::Millis;

use super::jitter::jittered;

/// What happens within this time is looked at once; also the least pause between two looks.
pub const POLL_GAP: Duration = Duration::from_millis(50);

/// The looks of one module.
#[derive(Debug, Clone)]
pub(crate) struct Polls {
    every: Option<Duration>,
    seed: u64,
    count: u64,
    phase: Phase,
    /// When it is to look at everything again.
    whole_at: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The module does not run.
    Off,
    /// It will look then; never, if nothing happens.
    Idle { next: Millis },
    /// It looks; the moment is of the look after.
    Looking { next: Millis },
}

impl Polls {
    /// The looks of a module that does not run yet; `every` of zero: only when something changed.
    pub(crate) fn new(every: Duration, seed: u64) -> Self {
        let every = (!every.is_zero()).then_some(every);
        Self { every, seed, count: 0, phase: Phase::Off, whole_at: Millis::NEVER }
    }

    /// The module runs now: it looks at once.
    pub(crate) fn started(&mut self, now: Millis) {
        self.phase = Phase::Idle { next: now };
        self.whole_at = now;
    }

    /// The module does not run any more.
    pub(crate) fn stopped(&mut self) {
        self.phase = Phase::Off;
    }

    /// Something changed that the module should look at.
    pub(crate) fn hint(&mut self, now: Millis) {
        let soon = now.after(POLL_GAP);
        match &mut self.phase {
            Phase::Off => {}
            Phase::Idle { next } | Phase::Looking { next } => *next = soon.min(*next),
        }
    }

    /// Whether a look is due.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        self.wake().is_some_and(|next| next <= now)
    }

    /// When the next look is due, while none runs.
    pub(crate) fn wake(&self) -> Option<Millis> {
        match self.phase {
            Phase::Idle { next } => (next != Millis::NEVER).then_some(next),
            Phase::Off | Phase::Looking { .. } => None,
        }
    }

    /// A look begins; tells whether it is one at everything.
    pub(crate) fn begin(&mut self, now: Millis) -> bool {
        self.count += 1;
        let is_whole = self.whole_at <= now;
        if is_whole {
            self.whole_at = match self.every {
                Some(every) => now.after(jittered(every, self.seed, self.count)),
                None => Millis::NEVER,
            };
        }
        self.phase = Phase::Looking { next: self.whole_at };
        is_whole
    }

    /// The look has ended, or is not waited for any more.
    pub(crate) fn ended(&mut self, now: Millis) {
        if let Phase::Looking { next } = self.phase {
            self.phase = Phase::Idle { next: next.max(now.after(POLL_GAP)) };
        }
    }

    /// How many looks have begun.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Millis = Millis::new(1_000);
    const EVERY: Duration = Duration::from_secs(10);

    fn looked_once() -> Polls {
        let mut polls = Polls::new(EVERY, 5);
        polls.started(T0);
        assert!(polls.is_due(T0));
        polls.begin(T0);
        polls.ended(T0);
        polls
    }

    #[test]
    fn a_started_module_looks_at_once_and_then_on_its_interval() {
        let polls = looked_once();
        let wait = polls.wake().unwrap().since(T0);
        assert!((9_000..=11_000).contains(&wait.as_millis()), "{wait:?}");
    }

    #[test]
    fn many_hints_make_one_look_soon() {
        let mut polls = looked_once();
        for ms in 0..10 {
            polls.hint(T0.after_ms(ms));
        }
        assert_eq!(polls.wake(), Some(T0.after(POLL_GAP)));
    }

    #[test]
    fn what_changed_is_looked_at_without_putting_off_the_look_at_everything() {
        let mut polls = Polls::new(EVERY, 5);
        polls.started(T0);
        assert!(polls.begin(T0), "the first is at everything");
        polls.ended(T0);
        let whole_at = polls.wake().unwrap();
        let early = T0.after_ms(60);
        polls.hint(early);
        let soon = polls.wake().unwrap();
        assert!(soon < whole_at && !polls.begin(soon));
        polls.ended(soon);
        assert_eq!(polls.wake(), Some(whole_at));
        assert!(polls.begin(whole_at));
    }

    #[test]
    fn no_look_begins_while_one_runs_and_a_hint_meanwhile_is_not_forgotten() {
        let mut polls = looked_once();
        polls.begin(T0);
        polls.hint(T0);
        assert!(!polls.is_due(Millis::NEVER));
        let end = T0.after(Duration::from_secs(3));
        polls.ended(end);
        assert_eq!(polls.wake(), Some(end.after(POLL_GAP)));
    }

    #[test]
    fn a_look_longer_than_the_interval_leaves_a_pause() {
        let mut polls = looked_once();
        polls.begin(T0);
        let end = T0.after(EVERY * 3);
        polls.ended(end);
        assert_eq!(polls.wake(), Some(end.after(POLL_GAP)));
    }

    #[test]
    fn a_module_without_interval_looks_only_when_something_changed() {
        let mut polls = Polls::new(Duration::ZERO, 5);
        polls.started(T0);
        polls.begin(T0);
        polls.ended(T0);
        assert_eq!(polls.wake(), None);
        polls.hint(T0);
        assert!(polls.wake().is_some());
    }

    #[test]
    fn a_module_that_does_not_run_never_looks() {
        let mut polls = looked_once();
        polls.stopped();
        polls.hint(T0);
        polls.ended(T0);
        assert_eq!(polls.wake(), None);
    }
}
