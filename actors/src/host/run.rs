//! A module's work on one attempt as a span, where the attempt is one that is recorded.

use kraken_engine::{
    id::AttemptId,
    mutation::MutationId,
    span::{Span, SpanContext, SpanKind},
};

use super::{messages::AttemptError, options::HostOptions};
use crate::{clock::Clock, spans::Spans};

/// Work that has begun.
pub(super) struct Run(Option<(Spans, Clock, Span)>);

impl Run {
    /// It begins, within the span of its attempt.
    pub(super) fn begin(
        within: Option<SpanContext>,
        attempt: &AttemptId,
        mutation: &MutationId,
        options: &HostOptions,
    ) -> Self {
        let within = within.filter(|within| options.spans.takes(*within));
        Self(within.map(|within| {
            let now = options.clock.micros();
            let span = Span {
                context: SpanContext::of_run(within.trace, attempt),
                parent: Some(within.span),
                links: Vec::new(),
                name: format!("run {mutation}"),
                kind: SpanKind::Server,
                from: now,
                to: now,
                attributes: vec![
                    ("kraken.attempt", attempt.to_string().into()),
                    ("kraken.module", mutation.module.as_str().into()),
                ],
                error: None,
            };
            (options.spans.clone(), options.clock, span)
        }))
    }

    /// It ended so.
    pub(super) fn end(self, outcome: &Result<(), AttemptError>) {
        let Some((spans, clock, span)) = self.0 else { return };
        let error = outcome.as_ref().err().map(ToString::to_string);
        spans.send([Span { to: clock.micros(), error, ..span }]);
    }
}
