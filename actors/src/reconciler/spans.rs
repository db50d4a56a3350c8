//! The part of the driver that has spans made of what is decided, where the node makes any. Nothing
//! that is decided depends on it.

use std::sync::Arc;

use kraken_engine::{
    id::{AttemptId, Name, Uid},
    machine::Effect,
    mutation::Lane,
    span::{SpanContext, Tracer},
};

use super::subject::Sight;
use crate::{clock::Clock, quorum::Quorum, spans::Spans};

/// Makes spans, and sends them away.
pub(super) struct Tracing {
    tracer: Option<Tracer>,
    spans: Spans,
    node: Name,
    quorum: Option<Arc<dyn Quorum>>,
    clock: Clock,
}

impl Tracing {
    pub(super) fn new(
        spans: Spans,
        node: Name,
        quorum: Option<Arc<dyn Quorum>>,
        clock: Clock,
    ) -> Self {
        let tracer = spans.share().map(Tracer::new);
        Self { tracer, spans, node, quorum, clock }
    }

    /// Objects are looked at, in those lanes that are decided here.
    pub(super) fn looked(&mut self, sight: &Sight, leads: bool) {
        let (cluster, now) = (self.spans.cluster(self.quorum.as_deref()), self.clock.micros());
        let (Some(tracer), Some(cluster)) = (&mut self.tracer, cluster) else { return };
        for (uid, known) in &sight.objects {
            let lanes = [
                (Lane::Itself, known.as_ref().filter(|known| known.is_hosted_by(&self.node))),
                (
                    Lane::Quorum,
                    known.as_ref().filter(|known| leads && known.concerns_quorum(&sight.catalog)),
                ),
            ];
            for (lane, known) in lanes {
                let spans = match known {
                    Some(known) => tracer.seen(cluster, lane, &known.object, now),
                    None => tracer.gone(lane, *uid, now),
                };
                self.spans.send(spans);
            }
        }
    }

    /// Something was decided.
    pub(super) fn decided(&mut self, lane: Lane, effect: &Effect) {
        let (cluster, now) = (self.spans.cluster(self.quorum.as_deref()), self.clock.micros());
        let (Some(tracer), Some(cluster)) = (&mut self.tracer, cluster) else { return };
        let spans = match effect {
            Effect::Dispatch(dispatch) => {
                tracer.dispatched(cluster, lane, dispatch, now);
                return;
            }
            Effect::Publish(uid, status) => tracer.published(lane, *uid, status, now),
            Effect::Happened(happening) => tracer.happened(lane, happening, now),
            Effect::Cancel(_)
            | Effect::OpenIntent(_)
            | Effect::CloseIntent(_)
            | Effect::Presume(..)
            | Effect::Look(_)
            | Effect::Propose(_) => return,
        };
        self.spans.send(spans);
    }

    /// An attempt of the quorum's lane goes to a node.
    pub(super) fn handed(&mut self, uid: Uid, to: &Name) {
        if let Some(tracer) = &mut self.tracer {
            tracer.handed(Lane::Quorum, uid, to);
        }
    }

    /// The span that an attempt in hand is, where it is recorded.
    pub(super) fn span_of(&self, lane: Lane, uid: Uid, attempt: &AttemptId) -> Option<SpanContext> {
        self.tracer.as_ref()?.span_of(lane, uid, attempt)
    }

    /// The quorum's lane is not decided here any more, or anew.
    pub(super) fn led(&mut self) {
        if let Some(tracer) = &mut self.tracer {
            tracer.left(Lane::Quorum);
        }
    }
}
