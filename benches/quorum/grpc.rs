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

use super::{
    body::Sent,
    wire::{Read, Standing, Value, key, value_in},
};

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

/// One connection.
pub(crate) struct Grpc {
    sender: http2::SendRequest<Sent>,
    host: String,
}

/// What is told on a watch.
pub(crate) struct GrpcWatch {
    body: Incoming,
    buffer: BytesMut,
    told: VecDeque<u64>,
    /// The connection, for as long as it is watched on.
    _grpc: Grpc,
}

impl Grpc {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
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

    pub(crate) async fn put(&mut self, at: u64, value: &Value) -> Result<()> {
        self.ask("KV/Put", &put_request(at, value)).await
    }

    pub(crate) async fn put_many(&mut self, keys: &[u64], value: &Value) -> Result<()> {
        let op = |at: &u64| RequestOp { request_put: Some(put_request(*at, value)) };
        let txn = TxnRequest { success: keys.iter().map(op).collect() };
        let done: TxnResponse = self.ask("KV/Txn", &txn).await?;
        ensure!(done.succeeded, "a transaction without a condition was refused");
        Ok(())
    }

    pub(crate) async fn read(&mut self, at: u64, read: Read) -> Result<Option<u64>> {
        let range = RangeRequest { key: key(at).into(), serializable: read == Read::Stale };
        let found: RangeResponse = self.ask("KV/Range", &range).await?;
        Ok(found.kvs.first().and_then(|kv| value_in(&kv.value)))
    }

    /// How the etcd that answers stands.
    pub(crate) async fn standing(&mut self) -> Result<Standing> {
        let status: StatusResponse = self.ask("Maintenance/Status", &()).await?;
        let own = status.header.context("a status has a header")?.member_id;
        Ok(Standing { leads: own == status.leader, term: status.raft_term })
    }

    pub(crate) async fn watch(mut self, at: u64) -> Result<GrpcWatch> {
        let create = WatchCreateRequest { key: key(at).into() };
        let request = framed(&WatchRequest { create_request: Some(create) })?;
        let response = self.send("Watch/Watch", Sent::open(request)).await?;
        let (buffer, told) = (BytesMut::new(), VecDeque::new());
        let mut watch = GrpcWatch { body: response.into_body(), buffer, told, _grpc: self };
        let first = watch.message().await?;
        ensure!(first.created, "the first answer to a watch is that it stands");
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

    /// What the next change of the object put there.
    pub(crate) async fn next(&mut self) -> Result<u64> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            let message = self.message().await?;
            ensure!(!message.canceled, "the watch was cancelled");
            let values = message.events.iter().filter_map(|event| event.kv.as_ref());
            self.told.extend(values.filter_map(|kv| value_in(&kv.value)));
        }
    }
}

fn put_request(at: u64, value: &Value) -> PutRequest {
    PutRequest { key: key(at).into(), value: Bytes::copy_from_slice(value.text().as_bytes()) }
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
