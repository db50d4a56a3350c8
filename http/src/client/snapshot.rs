//! Backups as streams: a cluster's Cfg may be larger than what one wants to hold in memory.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Method, Request,
    body::{Frame, Incoming},
};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::{Call, Client, Error, collect, error::Broken, problem, url::Base};

/// A backup that stands still for so long is broken off.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a backup may take to be sent and begun with.
const RESTORE_TIMEOUT: Duration = Duration::from_mins(11);

/// A backup on its way from a server.
pub struct Backup {
    server: String,
    body: Incoming,
}

impl Backup {
    /// The next piece; nothing when it has ended, whole or not: its end says which. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let broken = |why: String| Error::BadAnswer { server: self.server.clone(), why };
        loop {
            let frame = timeout(SILENCE_MAX, self.body.frame()).await;
            let frame = frame.map_err(|_| broken("the backup stands still".to_owned()))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| broken(error.to_string()))?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }
}

/// A quorum that was begun from a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Its only member.
    pub member: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its first revision.
    pub revision: u64,
}

impl Client {
    /// All Cfg as a backup. With `stale` also from a member without a quorum, as it has it.
    pub async fn cluster_save(&self, stale: bool) -> Result<Backup, Error> {
        let query = if stale { "?consistency=stale" } else { "" };
        let call = Call::new(Method::GET, format!("/v1/cluster/snapshot{query}"));
        self.persist(&call, Self::try_backup).await
    }

    async fn try_backup(&self, base: &Base, call: &Call) -> Result<Backup, Broken> {
        let after = self.settings().timeout;
        let opened = timeout(after, self.try_open(base, call)).await;
        let response = opened.map_err(|_| Broken::Slow { after })??;
        Ok(Backup { server: base.as_str().to_owned(), body: response.into_body() })
    }

    /// Has the first server, which belongs to no cluster yet, begin one with a backup, which comes
    /// in pieces. Is tried once.
    pub async fn cluster_restore(&self, pieces: mpsc::Receiver<Bytes>) -> Result<Restored, Error> {
        let base = self.first();
        let restoring = self.try_restore(base, pieces);
        let restored = timeout(RESTORE_TIMEOUT, restoring).await;
        let restored = restored.unwrap_or(Err(Broken::Slow { after: RESTORE_TIMEOUT }));
        let body = restored.map_err(|broken| broken.into_error(base))?;
        serde_json::from_slice(&body).map_err(|error| Error::BadAnswer {
            server: base.as_str().to_owned(),
            why: error.to_string(),
        })
    }

    async fn try_restore(
        &self,
        base: &Base,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Bytes, Broken> {
        type Pieces = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;
        let pieces = ReceiverStream::new(pieces).map(|piece| Ok(Frame::data(piece)));
        let request = Request::builder()
            .method(Method::POST)
            .uri(base.join("/v1/cluster/snapshot"))
            .header("content-type", "application/octet-stream")
            .body(StreamBody::new(pieces.boxed()))
            .map_err(|error| Broken::Unsendable(error.to_string()))?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(self.settings().connect_timeout));
        let pool: Pool<_, Pieces> = Pool::builder(TokioExecutor::new()).build(connector);
        let response = pool.request(request).await.map_err(|error| {
            if error.is_connect() { Broken::unreachable(&error) } else { Broken::cut(&error) }
        })?;
        let status = response.status();
        let body = collect(response.into_body()).await?;
        if status.is_success() { Ok(body) } else { Err(problem(status, &body)) }
    }
}
