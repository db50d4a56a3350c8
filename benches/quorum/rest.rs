//! A connection to a member: its HTTP, kept alive, one request after the other.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use kraken_testkit::etcd::Sent;
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;

use super::wire::{Read, Standing, Value, key, value_in};

/// Most of a line of a watch, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// One connection.
pub(crate) struct Rest {
    sender: http1::SendRequest<Sent>,
    host: String,
}

/// The lines of a watch.
pub(crate) struct RestWatch {
    body: Incoming,
    buffer: BytesMut,
    /// The connection, for as long as it is watched on.
    _rest: Rest,
}

impl Rest {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its sender; what goes wrong on it, the request in hand is told.
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Sent::whole(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if !response.status().is_success() {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(response)
    }

    async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let response = self.send(method, path, body).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    pub(crate) async fn put(&mut self, at: u64, value: &Value) -> Result<()> {
        let body = format!("{{\"cfg\":{{\"data\":\"{}\"}}}}", value.text());
        let path = format!("/v1/objects/blob/{}", key(at));
        self.ask(Method::PUT, &path, body.into()).await.map(drop)
    }

    pub(crate) async fn put_many(&mut self, keys: &[u64], value: &Value) -> Result<()> {
        let op = |at: &u64| {
            let (key, text) = (key(*at), value.text());
            format!(
                "{{\"op\":\"put\",\"kind\":\"blob\",\"name\":\"{key}\",\
                 \"cfg\":{{\"data\":\"{text}\"}}}}"
            )
        };
        let ops: Vec<String> = keys.iter().map(op).collect();
        let body = format!("{{\"ops\":[{}]}}", ops.join(","));
        self.ask(Method::POST, "/v1/txn", body.into()).await.map(drop)
    }

    /// Declares the kind of object that is written.
    pub(crate) async fn declare(&mut self) -> Result<()> {
        let path = json!({ "path": "/data", "type": "text", "setBy": "user", "seenBy": "nobody" });
        let module = json!({
            "kind": "module", "name": "blobs", "kinds": [{ "name": "blob" }],
            "extensions": [{ "name": "blobs", "kind": "blob", "paths": [path] }],
        });
        self.ask(Method::POST, "/v1/apply", module.to_string().into()).await.map(drop)
    }

    pub(crate) async fn read(&mut self, at: u64, read: Read) -> Result<Option<u64>> {
        let consistency = match read {
            Read::Linearizable => "linearizable",
            Read::Stale => "stale",
        };
        let path = format!("/v1/objects/blob/{}?view=cfg&consistency={consistency}", key(at));
        let body = self.ask(Method::GET, &path, Bytes::new()).await?;
        Ok(value_in(&body))
    }

    /// How the member that answers stands.
    pub(crate) async fn standing(&mut self) -> Result<Standing> {
        let body = self.ask(Method::GET, "/v1/cluster", Bytes::new()).await?;
        let body: Json = serde_json::from_slice(&body)?;
        let term = body["term"].as_u64().context("a member has a term")?;
        Ok(Standing { leads: body["role"] == "LEADER", term })
    }

    pub(crate) async fn watch(mut self, at: u64) -> Result<RestWatch> {
        let path = format!("/v1/watch?kinds=blob&states=cfg&names={}", key(at));
        let response = self.send(Method::GET, &path, Bytes::new()).await?;
        let mut watch =
            RestWatch { body: response.into_body(), buffer: BytesMut::new(), _rest: self };
        // The first line tells that whatever comes now is told.
        watch.line().await?;
        Ok(watch)
    }
}

impl RestWatch {
    async fn line(&mut self) -> Result<Bytes> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Ok(self.buffer.split_to(end + 1).freeze());
            }
            ensure!(self.buffer.len() < LINE_BYTES_MAX, "a line without an end");
            let frame = self.body.frame().await.context("the watch has ended")??;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// What the next change of the object put there.
    pub(crate) async fn next(&mut self) -> Result<u64> {
        loop {
            // Bookmarks are passed over.
            if let Some(value) = value_in(&self.line().await?) {
                return Ok(value);
            }
        }
    }
}
