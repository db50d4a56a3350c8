//! A collector of traces for tests: takes OTLP over HTTP on loopback and keeps what it is sent. It
//! can be out of order, as collectors are.
//!
//! The messages are the few of OpenTelemetry's `trace.proto` that are used here, with their
//! numbers, so that nothing of what encodes them decodes them too.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "bytes", tag = "1")]
    trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    span_id: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    parent_span_id: Bytes,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "7")]
    start_unix_ns: u64,
    #[prost(fixed64, tag = "8")]
    end_unix_ns: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "bytes", tag = "1")]
    trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    span_id: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

/// A span as it was told, ids in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The node that told it.
    pub node: String,
    /// Its trace.
    pub trace: String,
    /// Itself.
    pub id: String,
    /// What it is part of; empty where it is part of nothing.
    pub parent: String,
    /// What it is.
    pub name: String,
    /// When it began and ended, in nanoseconds since the Unix epoch.
    pub time_ns: (u64, u64),
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Traces and spans that it names.
    pub links: Vec<(String, String)>,
    /// Why it did not end well.
    pub error: Option<String>,
}

/// How a collector behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    /// It takes what it is sent.
    Takes,
    /// It answers that it cannot.
    Refuses,
    /// It never answers.
    Hangs,
}

const REFUSES: u8 = Manner::Refuses as u8;
const HANGS: u8 = Manner::Hangs as u8;

#[derive(Debug, Default)]
struct Kept {
    manner: AtomicU8,
    requests: AtomicU64,
    spans: Mutex<Vec<Told>>,
}

/// A collector that listens until it is dropped.
#[derive(Debug)]
pub struct Collector {
    at: SocketAddr,
    kept: Arc<Kept>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Begins to listen on loopback.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (at, kept) = (listener.local_addr()?, Arc::new(Kept::default()));
        let task = tokio::spawn(serve(listener, kept.clone()));
        Ok(Self { at, kept, task })
    }

    /// Its address, as a node is configured with it.
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Has it behave so from now on.
    pub fn behave(&self, manner: Manner) {
        self.kept.manner.store(manner as u8, Ordering::SeqCst);
    }

    /// How many times it was sent something, taken or not.
    pub fn requests(&self) -> u64 {
        self.kept.requests.load(Ordering::SeqCst)
    }

    /// What it has taken.
    pub fn spans(&self) -> Vec<Told> {
        self.kept.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: TcpListener, kept: Arc<Kept>) {
    while let Ok((stream, _)) = listener.accept().await {
        let kept = kept.clone();
        tokio::spawn(async move {
            let take = service_fn(move |request| take(request, kept.clone()));
            // Who sends sees how a connection ends.
            http1::Builder::new().serve_connection(TokioIo::new(stream), take).await.ok();
        });
    }
}

async fn take(
    request: Request<Incoming>,
    kept: Arc<Kept>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    kept.requests.fetch_add(1, Ordering::SeqCst);
    let status = match kept.manner.load(Ordering::SeqCst) {
        REFUSES => StatusCode::SERVICE_UNAVAILABLE,
        HANGS => std::future::pending().await,
        _ => keep(request, &kept).await,
    };
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    Ok(response)
}

async fn keep(request: Request<Incoming>, kept: &Kept) -> StatusCode {
    if request.uri().path() != "/v1/traces"
        || request.headers().get("content-type").is_none_or(|of| of != "application/x-protobuf")
    {
        return StatusCode::NOT_FOUND;
    }
    let Ok(body) = request.into_body().collect().await else { return StatusCode::BAD_REQUEST };
    let Ok(export) = Export::decode(body.to_bytes()) else { return StatusCode::BAD_REQUEST };
    let told = export.resources.into_iter().flat_map(told);
    kept.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
    StatusCode::OK
}

fn told(of: ResourceSpans) -> Vec<Told> {
    let resource = text(of.resource.unwrap_or_default().attributes);
    let node = resource.get("service.instance.id").cloned().unwrap_or_default();
    let spans = of.scopes.into_iter().flat_map(|scope| scope.spans);
    let told = |span: Span| Told {
        node: node.clone(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        time_ns: (span.start_unix_ns, span.end_unix_ns),
        attributes: text(span.attributes),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        error: span.status.filter(|status| status.code == 2).map(|status| status.message),
    };
    spans.map(told).collect()
}

fn text(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: AnyValue| {
        value.text.or_else(|| value.number.map(|number| number.to_string())).unwrap_or_default()
    };
    let pair = |pair: KeyValue| (pair.key, pair.value.map(text).unwrap_or_default());
    attributes.into_iter().map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
    bytes.iter().flat_map(digits).flatten().collect()
}
