//! Spans: what took how long on the way from a write of Cfg to what it asks for, as OpenTelemetry
//! speaks of it. Made here as values; others send them away.
//!
//! The ids of a write's trace follow from the cluster and the revision, so that every node finds
//! them by itself: neither the log nor the Cfg that goes to a hundred thousand leaves carries any.
//! Orders carry the span that they belong to, as one belongs to no write alone.

mod tracer;

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

pub use self::tracer::Tracer;
use crate::{
    id::{AttemptId, ClusterId, Revision, Uid},
    mutation::Lane,
};

/// A moment in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(u64);

impl Micros {
    /// Wraps a number of microseconds.
    pub const fn new(us: u64) -> Self {
        Self(us)
    }

    /// The number of microseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How long since `earlier`, in microseconds; zero where that lies ahead.
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What tells one trace from another; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// The trace of the write at `revision` of `cluster`.
    pub fn of_write(cluster: ClusterId, revision: Revision) -> Self {
        Self::derived(&format!("write {cluster} {revision}"))
    }

    /// The trace of what is done, from `attempt` on, without a write that asks for it anew.
    pub fn of_upkeep(cluster: ClusterId, attempt: &AttemptId) -> Self {
        Self::derived(&format!("upkeep {cluster} {attempt}"))
    }

    fn derived(from: &str) -> Self {
        Self(xxh3_128(from.as_bytes()).max(1))
    }

    /// The number itself.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What tells one span of a trace from another; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(u64);

impl SpanId {
    fn derived(trace: TraceId, from: &str) -> Self {
        Self(xxh3_64(format!("{trace} {from}").as_bytes()).max(1))
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Names one span, as the `traceparent` of the W3C's Trace Context does
/// (<https://www.w3.org/TR/trace-context/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpanContext {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub span: SpanId,
    /// Whether it is recorded, so far as who names it knows.
    pub is_sampled: bool,
}

impl SpanContext {
    fn derived(trace: TraceId, from: &str) -> Self {
        Self { trace, span: SpanId::derived(trace, from), is_sampled: true }
    }

    /// The request that made the write at `revision`: the root of its trace.
    pub fn of_write(cluster: ClusterId, revision: Revision) -> Self {
        Self::derived(TraceId::of_write(cluster, revision), "write")
    }

    /// The part of a request in which the quorum commits the write and applies it.
    pub fn of_commit(trace: TraceId) -> Self {
        Self::derived(trace, "commit")
    }

    /// The way of an object in a lane to what is asked of it.
    pub fn of_convergence(trace: TraceId, lane: Lane, uid: Uid) -> Self {
        Self::derived(trace, &format!("converge {} {uid}", lane.as_str()))
    }

    /// An attempt, as who decided it sees it.
    pub fn of_attempt(trace: TraceId, attempt: &AttemptId) -> Self {
        Self::derived(trace, &format!("attempt {attempt}"))
    }

    /// The module's work on an attempt.
    pub fn of_run(trace: TraceId, attempt: &AttemptId) -> Self {
        Self::derived(trace, &format!("run {attempt}"))
    }

    /// What a request did, within the trace of who sent it.
    pub fn of_request(caller: Self, write: Self) -> Self {
        Self::derived(caller.trace, &format!("request {}", write.trace))
    }
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent; one is 00-, 32 digits, -, 16 digits, - and 2 digits, all of them hex")]
pub struct NoSpanContext;

impl FromStr for SpanContext {
    type Err = NoSpanContext;

    /// Reads a `traceparent`. One of a later version may go on after a further dash.
    fn from_str(text: &str) -> Result<Self, NoSpanContext> {
        let mut parts = text.split('-');
        let mut next =
            |digits| parts.next().and_then(|part| hex(part, digits)).ok_or(NoSpanContext);
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let span = u64::try_from(span).map_err(|_| NoSpanContext)?;
        let more = parts.next().is_some();
        if version == 0xff || trace == 0 || span == 0 || (version == 0 && more) {
            return Err(NoSpanContext);
        }
        Ok(Self { trace: TraceId(trace), span: SpanId(span), is_sampled: flags & 1 == 1 })
    }
}

/// A number of so many digits, all of them lower case.
fn hex(part: &str, digits: usize) -> Option<u128> {
    let is_one = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let whole = part.len() == digits && part.bytes().all(is_one);
    whole.then(|| u128::from_str_radix(part, 16).ok()).flatten()
}

impl TryFrom<String> for SpanContext {
    type Error = NoSpanContext;

    fn try_from(text: String) -> Result<Self, NoSpanContext> {
        text.parse()
    }
}

impl From<SpanContext> for String {
    fn from(context: SpanContext) -> Self {
        context.to_string()
    }
}

/// How many of all traces are recorded. The same ones on every node that has the same share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

/// A number that is no share.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no share; write a number from 0 to 1")]
pub struct NoShare(f64);

impl TryFrom<f64> for Share {
    type Error = NoShare;

    fn try_from(share: f64) -> Result<Self, NoShare> {
        Self::new(share).ok_or(NoShare(share))
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl Share {
    /// All.
    pub const ALL: Self = Self(1.0);

    /// So many of one; `None` where that is less than 0 or more than 1.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The number itself.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether a trace is recorded: decided by the low 53 bits of its id, which are as good as
    /// drawn.
    pub fn takes(self, trace: TraceId) -> bool {
        /// So many numbers an `f64` tells apart.
        const PLACES: u64 = 1 << 53;
        #[expect(clippy::cast_precision_loss, reason = "both are at most 2^53")]
        let (place, places) = ((low(trace) % PLACES) as f64, PLACES as f64);
        place < self.0 * places
    }
}

/// The low 64 bits of a trace id.
fn low(trace: TraceId) -> u64 {
    u64::try_from(trace.get() & u128::from(u64::MAX)).unwrap_or_default()
}

/// How a span stands to who it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work of this node's own.
    Internal,
    /// It answers somebody.
    Server,
    /// It asks somebody.
    Client,
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Something that took time, and is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its name among all.
    pub context: SpanContext,
    /// What it is part of.
    pub parent: Option<SpanId>,
    /// Others that it has to do with.
    pub links: Vec<SpanContext>,
    /// What it is; few are called differently.
    pub name: String,
    /// How it stands to who it was made for.
    pub kind: SpanKind,
    /// When it began.
    pub from: Micros,
    /// When it ended.
    pub to: Micros,
    /// What is to be known of it, by names as OpenTelemetry writes them.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it did not end well.
    pub error: Option<String>,
}
