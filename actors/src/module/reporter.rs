//! Where a module reports what it sees. Reports go into a bounded queue; at the bound the reporting
//! module waits, so that a chatty one slows itself and nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use kraken_engine::{
    dsc::{HybridClock, Stamp},
    id::{AttemptId, Name, Uid},
    path::Path,
    time::Millis,
    value::Value,
};
use tokio::sync::mpsc;

use super::authority::{Authority, Values};
use crate::clock::Clock;

/// Reports that wait to be taken by the node; at the bound the module waits.
pub const REPORTS_MAX: usize = 1_024;

/// One report of one module.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Something was seen.
    Seen(Sighted),
    /// An attempt moves on; shown to people.
    Progress {
        /// The attempt.
        attempt: AttemptId,
        /// In words.
        text: String,
    },
    /// Something happened that people should read.
    Event {
        /// The object it happened to.
        uid: Uid,
        /// In words.
        text: String,
    },
}

/// What one look at one object saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighted {
    /// The module that looked.
    pub module: Name,
    /// The object.
    pub uid: Uid,
    /// When the look began.
    pub stamp: Stamp,
    /// The paths with what was seen; `None`: it is not known any more.
    pub values: Vec<(Path, Option<Value>)>,
}

/// A module's way to the node. Cheap to clone; survives the module's restart.
#[derive(Debug, Clone)]
pub struct Reporter {
    module: Name,
    stamps: Stamps,
    queue: mpsc::Sender<Report>,
    authority: Option<Arc<Authority>>,
}

/// The node's hybrid clock, shared by all that look.
#[derive(Debug, Clone)]
pub struct Stamps {
    hybrid: Arc<Mutex<HybridClock>>,
    clock: Clock,
}

/// A look that has begun: what is reported through it carries the moment of its beginning, so that
/// a slow look cannot undo what was seen meanwhile.
#[derive(Debug, Clone)]
pub struct Look {
    reporter: Reporter,
    stamp: Stamp,
}

impl Stamps {
    /// The stamps of a node.
    pub fn new(node: Name, clock: Clock) -> Self {
        Self { hybrid: Arc::new(Mutex::new(HybridClock::new(node))), clock }
    }

    /// The next stamp; later than all before.
    pub fn next(&self) -> Stamp {
        let now = self.clock.wall();
        self.hybrid.lock().unwrap_or_else(PoisonError::into_inner).stamp(now)
    }

    /// Moves the clock beyond a stamp that was seen elsewhere.
    pub fn advance_to(&self, ms: u64) {
        self.hybrid.lock().unwrap_or_else(PoisonError::into_inner).advance_to(ms);
    }

    /// The highest time given or shown.
    pub fn reading(&self) -> Millis {
        Millis::new(self.hybrid.lock().unwrap_or_else(PoisonError::into_inner).reading())
    }
}

impl Reporter {
    /// A reporter of `module` into `queue`.
    pub fn new(module: Name, stamps: Stamps, queue: mpsc::Sender<Report>) -> Self {
        Self { module, stamps, queue, authority: None }
    }

    /// The same, for the paths of an authority only.
    pub fn within(self, authority: Arc<Authority>) -> Self {
        Self { authority: Some(authority), ..self }
    }

    /// Begins a look.
    pub fn look(&self) -> Look {
        Look { reporter: self.clone(), stamp: self.stamps.next() }
    }

    /// Says how far an attempt is.
    pub async fn progress(&self, attempt: &AttemptId, text: impl Into<String>) {
        self.send(Report::Progress { attempt: attempt.clone(), text: text.into() }).await;
    }

    /// Puts something on the record of an object.
    pub async fn event(&self, uid: Uid, text: impl Into<String>) {
        self.send(Report::Event { uid, text: text.into() }).await;
    }

    fn admit(&self, values: Values) -> Values {
        let Some(authority) = &self.authority else { return values };
        let (admitted, refused) = authority.admit(values);
        if !refused.is_empty() {
            tracing::warn!(module = %self.module, ?refused, "reported paths it does not declare");
        }
        admitted
    }

    async fn send(&self, report: Report) {
        // The queue closes only when the node stops; then nobody is left to be told.
        if self.queue.send(report).await.is_err() {
            tracing::debug!(module = %self.module, "report after the node has stopped");
        }
    }
}

impl Look {
    /// Reports paths of one object; `None`: it is not known any more. Paths that the module has not
    /// declared to discover are refused, with a warning.
    pub async fn saw(&self, uid: Uid, values: impl IntoIterator<Item = (Path, Option<Value>)>) {
        let values = self.reporter.admit(values.into_iter().collect());
        if values.is_empty() {
            return;
        }
        let module = self.reporter.module.clone();
        let sighted = Sighted { module, uid, stamp: self.stamp.clone(), values };
        self.reporter.send(Report::Seen(sighted)).await;
    }
}
