//! Where spans go: a port that the binary joins to an exporter, and which of them are made. Nobody
//! waits for it: what it cannot take is lost, and counted there.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kraken_engine::{
    id::ClusterId,
    span::{Share, Span, SpanContext},
};

use crate::quorum::Quorum;

/// Takes spans that are over.
pub trait SpanSink: Send + Sync + 'static {
    /// Takes one, or loses it. Must not wait.
    fn take(&self, span: Span);
}

/// The way of a node's spans. Cheap to clone; the default makes none.
#[derive(Clone, Default)]
pub struct Spans {
    kept: Option<Kept>,
}

#[derive(Clone)]
struct Kept {
    sink: Arc<dyn SpanSink>,
    share: Share,
    /// 0 until it is known: ids of traces follow from it.
    cluster: Arc<AtomicU64>,
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").field("share", &self.share()).finish_non_exhaustive()
    }
}

impl Spans {
    /// The way to a sink, of a share of all traces.
    pub fn new(sink: Arc<dyn SpanSink>, share: Share) -> Self {
        Self { kept: Some(Kept { sink, share, cluster: Arc::default() }) }
    }

    /// The share of traces that is recorded; `None` where none are.
    pub fn share(&self) -> Option<Share> {
        self.kept.as_ref().map(|kept| kept.share)
    }

    /// The cluster, once it is known; `None` also where no spans are made. A member asks its quorum
    /// until that knows, a leaf is told when it attaches.
    pub fn cluster(&self, quorum: Option<&dyn Quorum>) -> Option<ClusterId> {
        let told = ClusterId::new(self.kept.as_ref()?.cluster.load(Ordering::Relaxed));
        if told != ClusterId::default() {
            return Some(told);
        }
        let cluster = quorum?.status().cluster?;
        self.belongs_to(cluster);
        Some(cluster)
    }

    /// The node belongs to this cluster.
    pub fn belongs_to(&self, cluster: ClusterId) {
        if let Some(kept) = &self.kept {
            kept.cluster.store(cluster.get(), Ordering::Relaxed);
        }
    }

    /// Whether a span is recorded, as its trace is.
    pub fn takes(&self, context: SpanContext) -> bool {
        self.share().is_some_and(|share| share.takes(context.trace))
    }

    /// Sends spans away.
    pub fn send(&self, spans: impl IntoIterator<Item = Span>) {
        if let Some(kept) = &self.kept {
            spans.into_iter().for_each(|span| kept.sink.take(span));
        }
    }
}
