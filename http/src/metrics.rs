//! Metrics: counted through the `metrics` facade by whoever has something to count, rendered here
//! in Prometheus's text form.

use std::{sync::OnceLock, time::Duration};

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the buckets of request durations, in seconds.
const SECONDS_BUCKETS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The recorder of this process; the first call installs it.
pub(crate) fn recorder() -> PrometheusHandle {
    RECORDER.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let suffix = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new();
    let builder = builder
        .set_buckets_for_metric(suffix, &SECONDS_BUCKETS)
        .unwrap_or_else(|_| PrometheusBuilder::new());
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is installed; /metrics shows gauges only");
    }
    describe();
    handle
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("kraken_http_requests_total", "Requests answered, by route and status");
    describe_histogram!("kraken_http_request_seconds", "Time until an answer starts, by route");
    describe_gauge!("kraken_http_connections", "Open connections of clients");
    describe_gauge!("kraken_http_streams", "Open streams of changes and events");
    describe_counter!("kraken_http_refused_connections_total", "Connections over the limit");
    describe_counter!("kraken_proposals_total", "Writes proposed here, by outcome");
    describe_gauge!("kraken_revision", "Revision of the last write that is applied here");
    describe_gauge!("kraken_raft_applied_index", "Last log index that is applied here");
    describe_gauge!("kraken_raft_log_index", "Last log index that is held here");
    describe_gauge!("kraken_raft_term", "Term of the quorum");
    describe_gauge!("kraken_raft_is_leader", "1 where this member leads");
    describe_gauge!("kraken_raft_has_leader", "1 where a leader is known");
    describe_gauge!("kraken_raft_members", "Members of the quorum");
    describe_gauge!("kraken_objects", "Objects in Cfg");
    describe_gauge!("kraken_nodes_attached", "Nodes whose link is up");
    describe_gauge!("kraken_objects_in_phase", "Objects by phase");
    describe_gauge!("kraken_events_arrived", "Events that have arrived here");
}

/// A request was answered.
pub(crate) fn answered(route: &'static str, status: u16, after: Duration) {
    let status = status.to_string();
    counter!("kraken_http_requests_total", "route" => route, "status" => status).increment(1);
    histogram!("kraken_http_request_seconds", "route" => route).record(after);
}

/// A write was proposed.
pub(crate) fn proposed(outcome: &'static str) {
    counter!("kraken_proposals_total", "outcome" => outcome).increment(1);
}

/// A connection was refused because there are too many.
pub(crate) fn refused() {
    counter!("kraken_http_refused_connections_total").increment(1);
}

/// Counts something up while it lives.
pub(crate) struct Alive(&'static str);

impl Alive {
    /// Counts one more of `name`.
    pub(crate) fn new(name: &'static str) -> Self {
        gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}
