//! Traces: sends the node's spans to a collector, as OpenTelemetry's OTLP over HTTP has it.
//!
//! Nothing waits for the collector. Spans that are over wait in a bounded queue for the next batch;
//! what does not fit is lost, which the log says.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kraken_actors::spans::{SpanSink, Spans};
use kraken_engine::{
    id::Name,
    span::{Attribute, Micros, Share, Span, SpanContext, SpanKind},
};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{
        Link, SpanContext as TheirContext, SpanKind as TheirKind, Status, TraceFlags, TraceState,
    },
};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor,
    },
};
use tokio::runtime::Handle;

use crate::{config, exit::Failure};

/// Spans that wait for the next batch.
const QUEUE_MAX: usize = 8_192;
/// How long the collector may take for one batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection to the collector may be idle; shorter than collectors keep theirs.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Longest answer of a collector in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long what is left may take to be sent when the process ends.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Sends spans away; what is left is sent when it ends.
#[derive(Clone, Default)]
pub(crate) struct Traces {
    sink: Option<(Arc<Sink>, Share)>,
}

impl Traces {
    /// Begins to send where it is configured. Must be called within a tokio runtime.
    pub(crate) fn start(config: &config::Traces, node: &Name) -> Result<Self, Failure> {
        let Some(endpoint) = &config.endpoint else { return Ok(Self::default()) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(Handle::current()))
            .with_endpoint(endpoint.to_string())
            .with_timeout(TIMEOUT)
            .build()
            .context("traces.endpoint")?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_scheduled_delay(Duration::from_millis(config.interval_ms))
            .build();
        let mut processor =
            BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        processor.set_resource(&resource(node));
        let scope =
            InstrumentationScope::builder("kraken").with_version(env!("CARGO_PKG_VERSION")).build();
        tracing::info!(%endpoint, share = config.share.get(), "sends traces");
        Ok(Self { sink: Some((Arc::new(Sink { processor, scope }), config.share)) })
    }

    /// The way to here.
    pub(crate) fn spans(&self) -> Spans {
        let spans = self.sink.as_ref().map(|(sink, share)| Spans::new(sink.clone(), *share));
        spans.unwrap_or_default()
    }

    /// Sends what is left.
    pub(crate) async fn stop(self) {
        let Some((sink, _)) = self.sink else { return };
        // A thread of its own: the exporter's waits for this runtime.
        let stop = move || sink.processor.shutdown_with_timeout(LAST_WITHIN);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(stop).await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Who sends: a service, of which each node is an instance. What `OTEL_RESOURCE_ATTRIBUTES` says
/// goes with it.
fn resource(node: &Name) -> Resource {
    let attributes = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", node.to_string()),
        KeyValue::new("kraken.node", node.to_string()),
    ];
    Resource::builder().with_service_name("kraken").with_attributes(attributes).build()
}

struct Sink {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl SpanSink for Sink {
    fn take(&self, span: Span) {
        self.processor.on_end(theirs(span, self.scope.clone()));
    }
}

/// A span in OpenTelemetry's words.
fn theirs(span: Span, scope: InstrumentationScope) -> SpanData {
    let mut links = SpanLinks::default();
    links.links = span.links.into_iter().map(|link| Link::with_context(context(link))).collect();
    let parent = span.parent.map_or([0; 8], |parent| parent.get().to_be_bytes());
    SpanData {
        span_context: context(span.context),
        parent_span_id: opentelemetry::trace::SpanId::from_bytes(parent),
        // Its node is told by the resource; nobody reads this of a parent on the same node.
        parent_span_is_remote: false,
        span_kind: match span.kind {
            SpanKind::Internal => TheirKind::Internal,
            SpanKind::Server => TheirKind::Server,
            SpanKind::Client => TheirKind::Client,
        },
        name: Cow::Owned(span.name),
        start_time: moment(span.from),
        end_time: moment(span.to.max(span.from)),
        attributes: span.attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope,
    }
}

fn context(context: SpanContext) -> TheirContext {
    TheirContext::new(
        opentelemetry::trace::TraceId::from_bytes(context.trace.get().to_be_bytes()),
        opentelemetry::trace::SpanId::from_bytes(context.span.get().to_be_bytes()),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    )
}

fn attribute(key: &'static str, value: Attribute) -> KeyValue {
    match value {
        Attribute::Text(text) => KeyValue::new(key, text),
        Attribute::Number(number) => KeyValue::new(key, number),
    }
}

fn moment(at: Micros) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(at.get())
}

/// The way to the collector, on this process's runtime: batches are sent from a thread that has
/// none.
#[derive(Debug)]
struct Collector {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
}

impl Collector {
    fn new(runtime: Handle) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build_http();
        Self { client, runtime }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let asked = self.client.request(request.map(Full::new));
        let sent = async move {
            let (head, body) = asked.await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        // Timers are made where the runtime is.
        self.runtime.spawn(async move { tokio::time::timeout(TIMEOUT, sent).await }).await??
    }
}
