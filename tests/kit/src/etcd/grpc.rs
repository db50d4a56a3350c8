//! A connection to an etcd: its own gRPC, over HTTP/2 by the same library that speaks HTTP to ours.
//!
//! The messages are the few of etcd's `rpc.proto` and `kv.proto` that are used here, with their
//! numbers, so that no compiler of protocols is needed to build this.

use std::{collections::VecDeque, net::SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{Request, Response, body::Incoming, client::conn::http2, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

use super::body::Sent;

/// Bytes before each message: whether it is compressed, and how long it is.
const PREFIX_BYTES: usize = 5;
/// Largest message that is understood, in bytes.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `etcdserverpb.RangeRequest`.
#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bool, tag = "7")]
    serializable: bool,
}

/// `mvccpb.KeyValue`.
#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

/// `etcdserverpb.RangeResponse`.
#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

/// `etcdserverpb.RequestOp`, with a put in it.
#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    #[prost(message, optional, tag = "2")]
    request_put: Option<PutRequest>,
}

/// `etcdserverpb.TxnRequest`.
#[derive(Clone, PartialEq, Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

/// `etcdserverpb.TxnResponse`.
#[derive(Clone, PartialEq, Message)]
struct TxnResponse {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

/// `etcdserverpb.ResponseHeader`.
#[derive(Clone, PartialEq, Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

/// `etcdserverpb.StatusResponse`.
#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
    #[prost(uint64, tag = "6")]
    raft_term: u64,
}

/// `etcdserverpb.WatchCreateRequest`.
#[derive(Clone, PartialEq, Message)]
struct WatchCreateRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

/// `etcdserverpb.WatchRequest`.
#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create_request: Option<WatchCreateRequest>,
}

/// `mvccpb.Event`.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

/// `etcdserverpb.WatchResponse`.
#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(bool, tag = "4")]
    canceled: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

/// How one of them stands among the others.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// Whether it leads.
    pub leads: bool,
    /// The term of its quorum.
    pub term: u64,
}

/// One connection.
pub struct Grpc {
    sender: http2::SendRequest<Sent>,
    host: String,
}

/// What is told on a watch.
pub struct GrpcWatch {
    body: Incoming,
    buffer: BytesMut,
    told: VecDeque<Bytes>,
    /// The connection, for as long as it is watched on.
    _grpc: Grpc,
}

impl Grpc {
    /// Connects to one of them.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Self::over(TcpStream::connect(address).await?, address).await
    }

    /// Speaks over a connection to one of them.
    pub async fn over(stream: TcpStream, address: SocketAddr) -> Result<Self> {
        stream.set_nodelay(true)?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake?;
        // It ends with its sender; what goes wrong on it, the request in hand is told.
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    async fn send(&mut self, method: &str, body: Sent) -> Result<Response<Incoming>> {
        let request = Request::post(format!("http://{}/etcdserverpb.{method}", self.host))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(body)?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        ensure!(response.status().is_success(), "{method}: {}", response.status());
        // A refusal without an answer has its status at the head.
        check(method, response.headers())?;
        Ok(response)
    }

    /// Asks for one message with one message.
    async fn ask<Told: Message + Default>(
        &mut self,
        method: &str,
        message: &impl Message,
    ) -> Result<Told> {
        let response = self.send(method, Sent::whole(framed(message)?)).await?;
        let answer = response.into_body().collect().await?;
        check(method, answer.trailers().with_context(|| format!("{method}: no trailers"))?)?;
        let mut buffer = BytesMut::from(answer.to_bytes());
        let told = unframed(&mut buffer)?.with_context(|| format!("{method}: half an answer"))?;
        Ok(Told::decode(told)?)
    }

    /// Puts a value at a key.
    pub async fn put(&mut self, key: &str, value: &str) -> Result<()> {
        self.ask("KV/Put", &put_request(key, value)).await
    }

    /// Puts one value at several keys, all or nothing.
    pub async fn put_many(&mut self, keys: &[String], value: &str) -> Result<()> {
        let op = |key: &String| RequestOp { request_put: Some(put_request(key, value)) };
        let txn = TxnRequest { success: keys.iter().map(op).collect() };
        let done: TxnResponse = self.ask("KV/Txn", &txn).await?;
        ensure!(done.succeeded, "a transaction without a condition was refused");
        Ok(())
    }

    /// The value at a key. Where it may be stale, the etcd that is asked answers by itself.
    pub async fn read(&mut self, key: &str, may_be_stale: bool) -> Result<Option<Bytes>> {
        let range = RangeRequest { key: bytes(key), serializable: may_be_stale };
        let found: RangeResponse = self.ask("KV/Range", &range).await?;
        Ok(found.kvs.into_iter().next().map(|kv| kv.value))
    }

    /// How the etcd that answers stands.
    pub async fn status(&mut self) -> Result<Status> {
        let status: StatusResponse = self.ask("Maintenance/Status", &()).await?;
        let own = status.header.context("a status has a header")?.member_id;
        Ok(Status { leads: own == status.leader, term: status.raft_term })
    }

    /// Watches keys from now on, each by a watch of its own on one stream.
    pub async fn watch(mut self, keys: &[&str]) -> Result<GrpcWatch> {
        let mut request = BytesMut::new();
        for key in keys {
            let create = WatchCreateRequest { key: bytes(key) };
            request.extend(framed(&WatchRequest { create_request: Some(create) })?);
        }
        let response = self.send("Watch/Watch", Sent::open(request.freeze())).await?;
        let (buffer, told) = (BytesMut::new(), VecDeque::new());
        let mut watch = GrpcWatch { body: response.into_body(), buffer, told, _grpc: self };
        for _ in keys {
            let answer = watch.message().await?;
            ensure!(answer.created, "the first answer to a watch is that it stands");
        }
        Ok(watch)
    }
}

impl GrpcWatch {
    async fn message(&mut self) -> Result<WatchResponse> {
        loop {
            if let Some(message) = unframed(&mut self.buffer)? {
                return Ok(WatchResponse::decode(message)?);
            }
            let frame = self.body.frame().await.context("the watch has ended")??;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// The value that the next change of a key put there.
    pub async fn next(&mut self) -> Result<Bytes> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            let message = self.message().await?;
            ensure!(!message.canceled, "the watch was cancelled");
            self.told.extend(message.events.into_iter().filter_map(|event| Some(event.kv?.value)));
        }
    }
}

fn put_request(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value) }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A message with its prefix.
fn framed(message: &impl Message) -> Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len())?);
    message.encode(&mut bytes)?;
    Ok(bytes.freeze())
}

/// Takes a message from the front of what came, once it is there to its end.
fn unframed(buffer: &mut BytesMut) -> Result<Option<Bytes>> {
    let Some(prefix) = buffer.get(..PREFIX_BYTES) else { return Ok(None) };
    let [0, length @ ..] = prefix else { bail!("a compressed message was not asked for") };
    let length = usize::try_from(u32::from_be_bytes(length.try_into()?))?;
    ensure!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
    if buffer.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    buffer.advance(PREFIX_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Whether headers or trailers tell of a failure.
fn check(method: &str, told: &hyper::HeaderMap) -> Result<()> {
    match told.get("grpc-status") {
        Some(status) if status != "0" => {
            bail!("{method}: status {status:?}: {:?}", told.get("grpc-message"))
        }
        _ => Ok(()),
    }
}
