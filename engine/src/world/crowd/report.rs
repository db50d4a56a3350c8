//! What became of a crowd, as data.

use std::collections::BTreeMap;

use serde::Serialize;

/// Most samples of a timeline; beyond, every other one is dropped.
pub(super) const SAMPLES_MAX: usize = 600;

/// What became of a crowd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The seed that makes the same again.
    pub seed: u64,
    /// How many objects there were.
    pub objects: usize,
    /// How long it went on, in milliseconds of its own time.
    pub lasted_ms: u64,
    /// How many events there were.
    pub events: u64,
    /// Attempts that were started.
    pub attempts: u64,
    /// Those that did not do what they should.
    pub failures: u64,
    /// The same by mutation.
    pub mutations: BTreeMap<String, MutationCount>,
    /// When objects converged for the last time, in milliseconds since the beginning; absent where
    /// none did.
    pub convergence_ms: Option<Spread>,
    /// Most disruptive attempts that ran at once.
    pub disrupted_max: usize,
    /// So many or fewer did in 99 hundredths of the time.
    pub disrupted_p99: usize,
    /// Where the objects ended.
    pub phases: BTreeMap<String, usize>,
    /// How many objects were in each phase, over time.
    pub timeline: Vec<Sample>,
}

/// Attempts of one mutation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MutationCount {
    /// Started.
    pub attempts: u64,
    /// Failed, hung, lied or were cancelled.
    pub failures: u64,
}

/// One moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When, in milliseconds since the beginning.
    pub at_ms: u64,
    /// Objects that are Converged, InFlight, Waiting, BackingOff, Frozen, Stuck and Quarantined.
    pub phases: [usize; 7],
    /// Disruptive attempts that run.
    pub disrupted: usize,
}

/// How a measure is spread: so many hundredths are not above each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many were measured.
    pub count: usize,
    /// Half of them.
    pub p50: u64,
    /// Ninety of a hundred.
    pub p90: u64,
    /// Ninety-nine of a hundred.
    pub p99: u64,
    /// All of them.
    pub max: u64,
}

impl Spread {
    /// The spread of values in order; `None` of none.
    pub fn of(sorted: &[u64]) -> Option<Self> {
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        let (p50, p90, p99, max) = (at(50)?, at(90)?, at(99)?, at(100)?);
        Some(Self { count: sorted.len(), p50, p90, p99, max })
    }
}
