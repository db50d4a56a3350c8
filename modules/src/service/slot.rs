//! What is known of one service, and what is reported of it. No process and no file is touched
//! here.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use kraken_engine::{id::Name, path::Path, state::State, value::Value};
use tokio_util::sync::CancellationToken;

use super::{
    process::Identity,
    record::Folder,
    spec::{LogRule, StopRule, Wish},
};

/// Most events of one service that wait to be told; the oldest goes first.
const NEWS_MAX: usize = 16;

/// One service of the node.
pub(super) struct Slot {
    /// Its name.
    pub(super) name: Name,
    /// Its folder.
    pub(super) folder: Folder,
    /// Held by whoever starts or stops it.
    pub(super) gate: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
}

struct Inner {
    wish: Wish,
    phase: Phase,
    /// While a start runs: the state to go on showing. An attempt shows what it leads to at its end
    /// and not each step on the way.
    shown: Option<&'static str>,
    restarts: u64,
    exit: Option<String>,
    news: Vec<String>,
}

/// What a service does.
#[derive(Clone)]
pub(super) enum Phase {
    /// Nothing, and nothing is wrong with that.
    Stopped,
    /// It has a process.
    Up(Arc<Up>),
    /// It has ended by itself, or could not be started.
    Ended(Ended),
}

/// A service's process.
pub(super) struct Up {
    /// Who it is.
    pub(super) identity: Identity,
    /// Its run.
    pub(super) nonce: String,
    /// The digest of what it was started with.
    pub(super) spec: String,
    /// When, in milliseconds since the Unix epoch.
    pub(super) started_ms: u64,
    /// Whether it has passed its probe.
    pub(super) ready: AtomicBool,
    /// Whether its end was asked for.
    pub(super) asked: AtomicBool,
    /// Cancelled once it has ended and the slot says so.
    pub(super) gone: CancellationToken,
}

/// An end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// The digest of what it was started with.
    pub(super) spec: String,
    /// Whether all was well.
    pub(super) success: bool,
    /// Whether there was a process at all.
    pub(super) ran: bool,
    /// How, in words.
    pub(super) text: String,
}

impl Slot {
    /// A service of which nothing is known but its Cfg.
    pub(super) fn new(name: Name, folder: Folder, cfg: &State) -> Self {
        let inner = Inner {
            wish: Wish::read(&name, cfg),
            phase: Phase::Stopped,
            shown: None,
            restarts: 0,
            exit: None,
            news: Vec::new(),
        };
        Self { name, folder, gate: tokio::sync::Mutex::default(), inner: Mutex::new(inner) }
    }

    /// Takes what Cfg asks of the service now.
    pub(super) fn take_wish(&self, cfg: &State) -> Wish {
        let wish = Wish::read(&self.name, cfg);
        self.lock().wish = wish.clone();
        wish
    }

    /// How it is stopped.
    pub(super) fn stop_rule(&self) -> StopRule {
        self.lock().wish.stop.clone()
    }

    /// What is kept of its output.
    pub(super) fn log_rule(&self) -> LogRule {
        self.lock().wish.log
    }

    /// The process, if it has one.
    pub(super) fn up(&self) -> Option<Arc<Up>> {
        match &self.lock().phase {
            Phase::Up(up) => Some(up.clone()),
            Phase::Stopped | Phase::Ended(_) => None,
        }
    }

    /// How its last process ended.
    pub(super) fn exit(&self) -> Option<String> {
        self.lock().exit.clone()
    }

    /// Whether nothing is left to say of it once its Cfg is gone.
    pub(super) fn is_idle(&self) -> bool {
        !matches!(self.lock().phase, Phase::Up(_))
    }

    /// Whether the policy forbids to start it again: its last run was of the present spec, has
    /// ended, and is to be left.
    pub(super) fn is_held(&self) -> bool {
        self.lock().is_held()
    }

    /// A start begins: the present state is shown until [`Slot::settled`].
    pub(super) fn starting(&self) {
        let mut inner = self.lock();
        inner.shown = Some(inner.state());
    }

    /// A start has ended, well or not.
    pub(super) fn settled(&self) {
        self.lock().shown = None;
    }

    /// Takes a process that runs; one after an end that nobody asked for counts as a restart.
    pub(super) fn set_up(&self, up: Arc<Up>) -> u64 {
        let mut inner = self.lock();
        if matches!(&inner.phase, Phase::Ended(ended) if ended.ran) {
            inner.restarts = inner.restarts.saturating_add(1);
        }
        inner.phase = Phase::Up(up);
        inner.restarts
    }

    /// Takes what a record says of the past.
    pub(super) fn remember(&self, phase: Phase, restarts: u64, exit: Option<String>) {
        let mut inner = self.lock();
        (inner.phase, inner.restarts, inner.exit) = (phase, restarts, exit);
    }

    /// How often it will have been restarted once the next process runs.
    pub(super) fn restarts_next(&self) -> u64 {
        let inner = self.lock();
        let again = matches!(&inner.phase, Phase::Ended(ended) if ended.ran);
        inner.restarts.saturating_add(u64::from(again))
    }

    /// It was stopped by asking: counts begin anew.
    pub(super) fn stopped(&self) {
        let mut inner = self.lock();
        (inner.phase, inner.restarts) = (Phase::Stopped, 0);
    }

    /// Its process has ended.
    pub(super) fn ended(&self, up: &Arc<Up>, ended: Ended) {
        let mut inner = self.lock();
        inner.exit = Some(ended.text.clone());
        if up.asked.load(Ordering::Acquire) {
            inner.phase = Phase::Stopped;
        } else {
            inner.tell(format!("service {}: {}", self.name, ended.text));
            inner.phase = Phase::Ended(ended);
        }
    }

    /// It could not be started. That a process had ended by itself is kept, for the policy.
    pub(super) fn failed(&self, spec: String, text: String) {
        match &mut self.lock().phase {
            Phase::Ended(ended) => ended.text = text,
            phase @ (Phase::Stopped | Phase::Up(_)) => {
                *phase = Phase::Ended(Ended { spec, success: false, ran: false, text });
            }
        }
    }

    /// Puts something on the record of the node with the next report.
    pub(super) fn tell(&self, text: String) {
        self.lock().tell(text);
    }

    /// What is seen of it now, and what has happened since this was asked last.
    pub(super) fn observe(&self) -> (Vec<(Path, Option<Value>)>, Vec<String>) {
        let mut inner = self.lock();
        let values = inner.values().into_iter();
        let values = values.filter_map(|(key, value)| Some((self.path(key)?, Some(value))));
        (values.collect(), std::mem::take(&mut inner.news))
    }

    /// All its paths as unknown.
    pub(super) fn forgotten(&self) -> Vec<(Path, Option<Value>)> {
        let keys = ["state", "spec", "pid", "sinceMs", "restarts", "held", "exit", "error"];
        keys.into_iter().filter_map(|key| Some((self.path(key)?, None))).collect()
    }

    fn path(&self, key: &str) -> Option<Path> {
        Path::new(format!("/services/{}/{key}", self.name)).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn state(&self) -> &'static str {
        match (&self.phase, self.shown) {
            (Phase::Up(up), _) if up.ready.load(Ordering::Acquire) => "RUN",
            (Phase::Up(_), Some(shown)) => shown,
            (Phase::Up(_), None) => "INIT",
            (Phase::Ended(ended), _) if ended.success => "DONE",
            (Phase::Ended(_), _) => "FAILED",
            (Phase::Stopped, _) => "STOP",
        }
    }

    fn is_held(&self) -> bool {
        match &self.phase {
            Phase::Ended(ended) => {
                ended.ran
                    && ended.spec == self.wish.digest
                    && self.wish.restart.leaves(ended.success)
            }
            Phase::Stopped | Phase::Up(_) => false,
        }
    }

    fn values(&self) -> Vec<(&'static str, Value)> {
        let state = self.state();
        let mut values = vec![("state", state.into())];
        match &self.phase {
            Phase::Up(up) if matches!(state, "RUN" | "INIT") => {
                values.push(("spec", up.spec.as_str().into()));
                values.push(("pid", i64::from(up.identity.pid).into()));
                values.push(("sinceMs", count(up.started_ms)));
            }
            Phase::Ended(ended) if !ended.success => {
                values.push(("error", ended.text.as_str().into()));
            }
            Phase::Stopped | Phase::Up(_) | Phase::Ended(_) => {}
        }
        values.push(("held", self.is_held().into()));
        values.push(("restarts", count(self.restarts)));
        values.extend(self.exit.as_deref().map(|exit| ("exit", exit.into())));
        values
    }

    fn tell(&mut self, text: String) {
        if self.news.len() == NEWS_MAX {
            self.news.remove(0);
        }
        self.news.push(text);
    }
}

fn count(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn slot(restart: Option<&str>) -> Slot {
        let mut cfg = State::new();
        cfg.set(Path::new("/services/web/command").unwrap(), "sh".into()).unwrap();
        if let Some(restart) = restart {
            cfg.set(Path::new("/services/web/restart").unwrap(), restart.into()).unwrap();
        }
        Slot::new(Name::new("web").unwrap(), Folder::at(PathBuf::from("/nowhere")), &cfg)
    }

    fn up(slot: &Slot, ready: bool) -> Arc<Up> {
        Arc::new(Up {
            identity: Identity { pid: 7, start_time: 1, boot_id: String::new() },
            nonce: "1".to_owned(),
            spec: slot.lock().wish.digest.clone(),
            started_ms: 5,
            ready: AtomicBool::new(ready),
            asked: AtomicBool::new(false),
            gone: CancellationToken::new(),
        })
    }

    fn ended(slot: &Slot, success: bool) -> Ended {
        let spec = slot.lock().wish.digest.clone();
        Ended { spec, success, ran: true, text: "process 7: gone".to_owned() }
    }

    fn seen(slot: &Slot, key: &str) -> Option<Value> {
        let path = slot.path(key).unwrap();
        slot.observe().0.into_iter().find(|(p, _)| *p == path).and_then(|(_, value)| value)
    }

    #[test]
    fn each_phase_shows_its_state() {
        let slot = slot(None);
        let check = |expected: &str, up: bool| {
            assert_eq!(seen(&slot, "state"), Some(expected.into()));
            assert_eq!(seen(&slot, "pid").is_some(), up, "{expected}");
            assert_eq!(seen(&slot, "spec").is_some(), up, "{expected}");
        };
        check("STOP", false);
        let process = up(&slot, false);
        slot.set_up(process.clone());
        check("INIT", true);
        process.ready.store(true, Ordering::Release);
        check("RUN", true);
        slot.ended(&process, ended(&slot, false));
        check("FAILED", false);
        assert_eq!(seen(&slot, "error"), Some("process 7: gone".into()));
        slot.remember(Phase::Ended(ended(&slot, true)), 0, None);
        check("DONE", false);
        assert_eq!(seen(&slot, "error"), None);
        slot.stopped();
        check("STOP", false);
    }

    #[test]
    fn a_start_shows_the_state_before_it_until_it_has_ended() {
        let slot = slot(None);
        slot.starting();
        slot.set_up(up(&slot, false));
        assert_eq!(seen(&slot, "state"), Some("STOP".into()));
        assert_eq!(seen(&slot, "pid"), None);
        slot.settled();
        assert_eq!(seen(&slot, "state"), Some("INIT".into()));
    }

    #[test]
    fn an_end_that_was_asked_for_is_no_failure_and_no_news() {
        let slot = slot(Some("NEVER"));
        let process = up(&slot, true);
        slot.set_up(process.clone());
        process.asked.store(true, Ordering::Release);
        slot.ended(&process, ended(&slot, false));
        assert_eq!(seen(&slot, "state"), Some("STOP".into()));
        assert!(!slot.is_held());
        assert!(slot.observe().1.is_empty());
        assert_eq!(seen(&slot, "exit"), Some("process 7: gone".into()));
    }

    #[test]
    fn the_policy_holds_a_run_of_the_same_spec_only() {
        for (restart, success, held) in [
            (None, true, false),
            (None, false, false),
            (Some("ON_FAILURE"), true, true),
            (Some("ON_FAILURE"), false, false),
            (Some("NEVER"), true, true),
            (Some("NEVER"), false, true),
        ] {
            let slot = slot(restart);
            let process = up(&slot, true);
            slot.set_up(process.clone());
            slot.ended(&process, ended(&slot, success));
            assert_eq!(slot.is_held(), held, "{restart:?} {success}");
            slot.take_wish(&State::new());
            assert!(!slot.is_held(), "{restart:?} {success}");
        }
    }

    #[test]
    fn what_never_ran_is_not_held() {
        let slot = slot(Some("NEVER"));
        slot.failed(ended(&slot, false).spec, "command not found".to_owned());
        assert_eq!(seen(&slot, "state"), Some("FAILED".into()));
        assert!(!slot.is_held());
    }

    #[test]
    fn restarts_count_ends_that_nobody_asked_for() {
        let slot = slot(None);
        for expected in 0..3_u64 {
            assert_eq!(slot.restarts_next(), expected);
            let process = up(&slot, true);
            assert_eq!(slot.set_up(process.clone()), expected);
            slot.ended(&process, ended(&slot, false));
        }
        slot.stopped();
        assert_eq!(slot.set_up(up(&slot, true)), 0);
    }

    #[test]
    fn news_is_told_once_and_bounded() {
        let slot = slot(None);
        for index in 0..=NEWS_MAX {
            slot.tell(index.to_string());
        }
        let (_, news) = slot.observe();
        assert_eq!((news.len(), news[0].as_str()), (NEWS_MAX, "1"));
        assert!(slot.observe().1.is_empty());
    }
}
