//! Backups: all Cfg out of this member as one stream, and back into a member that is none yet.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use kraken_actors::quorum::QuorumError;
use tokio::{
    sync::mpsc::{self, Sender},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use warp::{
    Filter, Reply,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    reply::Response,
};

use super::{Routes, answered};
use crate::{
    api::Shared,
    call::{Call, call},
    problem::Problem,
    reply::{self, with_revision, with_status},
    view::BegunView,
};

/// Pieces of a backup on its way in that wait for the disk.
const PIECES_MAX: usize = 4;
/// Bytes that are read and let go after a backup was refused.
const OVER_BYTES_MAX: usize = 8 << 20;
/// How long a backup may take to be received and begun with.
const RESTORE_TIMEOUT: Duration = Duration::from_mins(10);

pub(super) fn routes(shared: &Arc<Shared>) -> Routes {
    let save = warp::path!("v1" / "cluster" / "snapshot")
        .and(warp::get())
        .and(call(shared))
        .then(|call| answered("cluster.save", save(call)));
    let restore = warp::path!("v1" / "cluster" / "snapshot")
        .and(warp::post())
        .and(call(shared))
        .and(warp::body::stream())
        .then(|call, body| answered("cluster.restore", restore(call, body)));
    save.or(restore).unify().boxed()
}

async fn save(mut call: Call) -> Result<Response, Problem> {
    let consistency = call.consistency()?;
    std::mem::take(&mut call.query).done()?;
    let permit = call.shared.streams.clone().try_acquire_owned().map_err(|_| {
        let max = call.shared.limits.streams_max;
        Problem::Overloaded(format!("{max} streams are open, which is the limit"))
    })?;
    let quorum = &call.shared.api.quorum;
    let pieces = timeout(call.shared.limits.quorum_timeout, quorum.backup(consistency)).await;
    let late = |_| Problem::Unavailable("the quorum did not answer in time".to_owned());
    let pieces = ReceiverStream::new(pieces.map_err(late)??);
    let body = pieces.map(move |piece| {
        // Held as long as the stream is.
        let _open = &permit;
        Ok::<Bytes, Infallible>(piece)
    });
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn restore<B: Buf>(
    mut call: Call,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Response, Problem> {
    std::mem::take(&mut call.query).done()?;
    call.check_origin()?;
    let (pieces, taken) = mpsc::channel(PIECES_MAX);
    let quorum = &call.shared.api.quorum;
    let feeding = feed(body, pieces, call.shared.limits.body_timeout);
    let both = async {
        let (restored, fed) = futures_util::join!(quorum.restore(taken), feeding);
        match (restored, fed) {
            // What came too slowly is told as that, not as what it then looks like.
            (Err(QuorumError::BadBackup(_)), Err(slow)) => Err(slow),
            (restored, _) => Ok(restored?),
        }
    };
    let restored = timeout(RESTORE_TIMEOUT, both).await;
    let late = |_| Problem::Timeout("the backup is still being taken in".to_owned());
    let member = restored.map_err(late)??;
    let (epoch, revision) = (quorum.epoch(), quorum.status().revision);
    let body = BegunView { member: member.get(), epoch: epoch.get(), revision: revision.get() };
    Ok(with_revision(with_status(reply::json(&body)?, StatusCode::CREATED), revision))
}

/// Passes a body on until it ends or breaks off, which is told by the lack of its end. What nobody
/// takes any more is read a while longer, so that the client comes to read the answer.
async fn feed<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    pieces: Sender<Bytes>,
    limit: Duration,
) -> Result<(), Problem> {
    let (mut body, mut over) = (std::pin::pin!(body), 0);
    let slow = |_| Problem::BodyTooSlow { limit_s: limit.as_secs() };
    while let Some(Ok(mut piece)) = timeout(limit, body.next()).await.map_err(slow)? {
        let length = piece.remaining();
        if pieces.send(piece.copy_to_bytes(length)).await.is_err() {
            over += length;
            if over > OVER_BYTES_MAX {
                break;
            }
        }
    }
    Ok(())
}
