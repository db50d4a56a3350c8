//! Sync frames over TCP: length-delimited, bounded, one writer task a connection.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use kraken_engine::sync::{self, FRAME_BYTES_MAX, FrameError, frame::Frame};
use tokio::{
    net::TcpStream,
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::mpsc,
};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Frames that wait to be written to one connection. The protocol bounds what is on the way, so
/// that a full queue means that the other side has stopped reading.
pub(crate) const WRITE_QUEUE_FRAMES: usize = 64;

/// The reading half of a connection.
pub(crate) struct FrameReader(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);

/// The writing half of a connection. Dropping it ends the connection once all is written.
#[derive(Clone)]
pub(crate) struct FrameWriter(mpsc::Sender<Bytes>);

/// A frame could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The connection failed.
    #[error("the connection failed")]
    Connection(#[source] std::io::Error),
    /// What came is not a frame.
    #[error("what came is not a frame")]
    Frame(#[source] FrameError),
}

/// A frame could not be queued for writing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The other side does not read.
    #[error("{WRITE_QUEUE_FRAMES} frames wait: the other side does not read")]
    Full,
    /// The connection is gone.
    #[error("the connection is gone")]
    Closed,
    /// The frame does not encode.
    #[error("the frame does not encode")]
    Frame(#[source] FrameError),
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec()
}

/// Splits a connection and starts its writer on the present arbiter.
pub(crate) fn split(stream: TcpStream) -> (FrameReader, FrameWriter) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection cannot be set to send at once");
    }
    let (read, write) = stream.into_split();
    let (sender, queue) = mpsc::channel(WRITE_QUEUE_FRAMES);
    actix_rt::spawn(write_all(FramedWrite::new(write, codec()), queue));
    (FrameReader(FramedRead::new(read, codec())), FrameWriter(sender))
}

async fn write_all(
    mut sink: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    mut queue: mpsc::Receiver<Bytes>,
) {
    while let Some(bytes) = queue.recv().await {
        if let Err(error) = sink.send(bytes).await {
            tracing::debug!(%error, "a sync connection cannot be written");
            return;
        }
    }
}

impl FrameReader {
    /// The next frame; `None` at the end of the connection. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        match self.0.next().await {
            None => Ok(None),
            Some(Err(error)) => Err(ReadError::Connection(error)),
            Some(Ok(bytes)) => sync::decode(&bytes).map(Some).map_err(ReadError::Frame),
        }
    }
}

impl FrameWriter {
    /// Queues a frame; never waits. Returns its size in bytes, the length before it included.
    pub(crate) fn send(&self, frame: &Frame) -> Result<usize, WriteError> {
        let bytes = sync::encode(frame).map_err(WriteError::Frame)?;
        let size = bytes.len() + 4;
        self.0.try_send(bytes.into()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Full,
            mpsc::error::TrySendError::Closed(_) => WriteError::Closed,
        })?;
        Ok(size)
    }
}
