//! Sync frames over TCP: length-delimited, bounded, one writer task a connection.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use kraken_engine::sync::{self, FRAME_BYTES_MAX, FrameError, frame::Frame};
use tokio::{
    net::TcpStream,
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Bytes that wait to be written to one connection, the length before each frame included. The
/// protocol bounds what is on the way, so that a full queue means that the other side reads late or
/// not at all. One frame of [`FRAME_BYTES_MAX`] fits.
pub(crate) const WRITE_QUEUE_BYTES: usize = 2 * FRAME_BYTES_MAX;
/// Frames that wait to be written to one connection.
const WRITE_QUEUE_FRAMES: usize = 16_384;

/// The reading half of a connection.
pub(crate) struct FrameReader(FramedRead<OwnedReadHalf, LengthDelimitedCodec>);

/// The writing half of a connection. Dropping it ends the connection once all is written.
#[derive(Clone)]
pub(crate) struct FrameWriter {
    queue: mpsc::Sender<Waiting>,
    /// A permit a byte.
    room: Arc<Semaphore>,
}

/// An encoded frame and the room that it takes until it is written.
struct Waiting(Bytes, OwnedSemaphorePermit);

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
    #[error("{WRITE_QUEUE_BYTES} bytes wait: the other side does not read")]
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
    let room = Arc::new(Semaphore::new(WRITE_QUEUE_BYTES));
    (FrameReader(FramedRead::new(read, codec())), FrameWriter { queue: sender, room })
}

async fn write_all(
    mut sink: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    mut queue: mpsc::Receiver<Waiting>,
) {
    while let Some(Waiting(bytes, _room)) = queue.recv().await {
        if let Err(error) = sink.send(bytes).await {
            tracing::debug!(%error, "a sync connection cannot be written");
            return;
        }
    }
}

impl FrameReader {
    /// The next frame and its size in bytes, the length before it included; `None` at the end of
    /// the connection. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<(Frame, u64)>, ReadError> {
        match self.0.next().await {
            None => Ok(None),
            Some(Err(error)) => Err(ReadError::Connection(error)),
            Some(Ok(bytes)) => {
                let frame = sync::decode(&bytes).map_err(ReadError::Frame)?;
                Ok(Some((frame, bytes.len() as u64 + 4)))
            }
        }
    }
}

impl FrameWriter {
    /// Queues a frame; never waits.
    pub(crate) fn send(&self, frame: &Frame) -> Result<(), WriteError> {
        let (bytes, size) = encoded(frame)?;
        let room = self.room.clone().try_acquire_many_owned(size).map_err(|_| WriteError::Full)?;
        self.queue.try_send(Waiting(bytes, room)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Full,
            mpsc::error::TrySendError::Closed(_) => WriteError::Closed,
        })
    }

    /// Queues a frame once there is room for it. Returns its size in bytes, the length before it
    /// included.
    pub(crate) async fn send_in_turn(&self, frame: &Frame) -> Result<u64, WriteError> {
        let (bytes, size) = encoded(frame)?;
        let closed = |_| WriteError::Closed;
        // Dropped with the writer's task, which takes the rest of the queue with it.
        let room = tokio::select! {
            room = self.room.clone().acquire_many_owned(size) => room.map_err(closed)?,
            () = self.queue.closed() => return Err(WriteError::Closed),
        };
        self.queue.send(Waiting(bytes, room)).await.map_err(|_| WriteError::Closed)?;
        Ok(size.into())
    }
}

/// A frame in bytes, and how much room it takes.
fn encoded(frame: &Frame) -> Result<(Bytes, u32), WriteError> {
    let bytes = sync::encode(frame).map_err(WriteError::Frame)?;
    let size = u32::try_from(bytes.len() + 4).unwrap_or(u32::MAX);
    Ok((bytes.into(), size))
}

#[cfg(test)]
mod tests {
    use kraken_engine::sync::frame::Frame;
    use tokio::net::TcpListener;

    use super::*;

    /// Two ends of a connection; nobody reads at the second.
    async fn unread() -> (FrameWriter, FrameReader) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (split(near).1, split(far).0)
    }

    fn frame(seq: u64) -> Frame {
        Frame::DscAck { seq }
    }

    #[actix_rt::test]
    async fn who_does_not_read_is_told_from_who_reads_late() {
        let (writer, mut reader) = unread().await;
        let (mut sent, mut read) = (0, 0);
        let why = loop {
            match writer.send(&frame(sent)) {
                Ok(()) => sent += 1,
                Err(why) => break why,
            }
        };
        assert!(matches!(why, WriteError::Full) && sent > 1_000, "{why} after {sent}");
        let in_turn = async {
            for seq in sent..sent + 1_000 {
                writer.send_in_turn(&frame(seq)).await.unwrap();
            }
        };
        let reading = async {
            while read < sent + 1_000 {
                let came = reader.next().await.unwrap();
                assert_eq!(came.map(|(frame, _)| frame), Some(frame(read)));
                read += 1;
            }
        };
        tokio::join!(in_turn, reading);
        drop(reader);
        while writer.send_in_turn(&frame(0)).await.is_ok() {}
    }
}
