//! What the routes speak for: one member's view of the quorum and of the fleet.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use kraken_actors::{clock::Clock, quorum::Quorum, spans::Spans, state::StateHandle};
use kraken_engine::{id::Name, time::Millis};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value as Json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{hub::Hub, old::Old, server::Limits};

/// What the routes speak for. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The node that serves.
    pub node: Name,
    /// The version of the binary.
    pub version: &'static str,
    /// The replicated Cfg.
    pub quorum: Arc<dyn Quorum>,
    /// What this member knows of the fleet.
    pub state: StateHandle,
    /// The node's clock.
    pub clock: Clock,
    /// The way of the node's spans.
    pub spans: Spans,
    /// What every actor of the node says of itself, by name.
    pub observe: Arc<dyn Fn() -> BoxFuture<'static, Json> + Send + Sync>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What all requests of one server share.
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) hub: Hub,
    pub(crate) limits: Limits,
    pub(crate) metrics: PrometheusHandle,
    /// Cancelled when the server stops: streams end by themselves.
    pub(crate) shutdown: CancellationToken,
    /// One permit for each open stream.
    pub(crate) streams: Arc<Semaphore>,
    /// When the server started: positions in the stream of events belong to it.
    pub(crate) boot: Millis,
    /// The surface of the system that came before, where it is served.
    pub(crate) old: Option<Old>,
}
