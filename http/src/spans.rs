//! The spans of a write: the request that made it, which is the root of its trace, and the part of
//! it in which the quorum committed it.

use kraken_actors::spans::Spans;
use kraken_engine::{
    id::{ClusterId, Revision},
    span::{Attribute, Micros, Span, SpanContext, SpanKind},
};

/// Names the span of who asks, in the words of the W3C's Trace Context.
pub(crate) const TRACEPARENT_HEADER: &str = "traceparent";

/// A write that was made.
pub(crate) struct Written<'a> {
    pub(crate) cluster: ClusterId,
    pub(crate) revision: Revision,
    /// How many objects it changed.
    pub(crate) changed: u64,
    pub(crate) author: &'a str,
    /// The method of the request.
    pub(crate) method: &'a str,
    /// The template of its path.
    pub(crate) route: &'a str,
    /// What the request names as the span that it is part of; no attention is paid to one that
    /// cannot be read, as Trace Context asks for.
    pub(crate) caller: Option<&'a str>,
    /// When the request came.
    pub(crate) came: Micros,
    /// When it was proposed.
    pub(crate) proposed: Micros,
    /// When it was known to be committed and applied.
    pub(crate) applied: Micros,
}

impl Written<'_> {
    /// Sends its spans away, so far as they are recorded.
    pub(crate) fn tell(&self, spans: &Spans) {
        let root = SpanContext::of_write(self.cluster, self.revision);
        if !spans.takes(root) {
            return;
        }
        let caller = self.caller.and_then(|caller| caller.parse().ok());
        let caller = caller.filter(|caller: &SpanContext| caller.is_sampled);
        let request = Span {
            context: root,
            parent: None,
            links: caller.into_iter().collect(),
            name: format!("{} {}", self.method, self.route),
            kind: SpanKind::Server,
            from: self.came,
            to: self.applied,
            attributes: vec![
                ("http.request.method", self.method.into()),
                ("http.route", self.route.into()),
                ("kraken.author", self.author.into()),
                ("kraken.objects", self.changed.into()),
                ("kraken.revision", self.revision.get().into()),
            ],
            error: None,
        };
        let revision: Attribute = self.revision.get().into();
        let commit = Span {
            context: SpanContext::of_commit(root.trace),
            parent: Some(root.span),
            links: Vec::new(),
            name: "commit".to_owned(),
            kind: SpanKind::Internal,
            from: self.proposed,
            attributes: vec![("kraken.revision", revision)],
            ..request.clone()
        };
        // Who asked finds the write's trace from its own.
        let called = caller.map(|caller| Span {
            context: SpanContext::of_request(caller, root),
            parent: Some(caller.span),
            links: vec![root],
            ..request.clone()
        });
        spans.send([request, commit].into_iter().chain(called));
    }
}
