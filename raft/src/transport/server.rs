//! The listening end: who may connect, and how requests are taken in and answered.

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{
    codec::{FramedRead, FramedWrite},
    sync::CancellationToken,
};

use super::wire::{
    self, Channel, FRAME_BYTES_MAX, Greeting, HELLO_BYTES_MAX, Hello, Reply, Request, codec,
    decode, encode,
};

/// Connections that are served at a time.
pub(crate) const CONNECTIONS_MAX: usize = 256;
/// Requests of one connection that are served at a time; then no more are read.
const SERVED_MAX: usize = 256;
/// Time for a peer to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a connection could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// What is kept between the requests of one connection.
    type Session: Default + Send;

    /// Says whether a peer may connect. The one place where a connection becomes an identity.
    fn greet(&self, hello: &Hello) -> Greeting;

    /// Answers one request of the peer that said `from`. `session` is there where requests are
    /// served one after the other.
    fn serve(
        self: Arc<Self>,
        from: Arc<Hello>,
        request: Request,
        session: Option<&mut Self::Session>,
    ) -> impl Future<Output = Reply> + Send;
}

/// Accepts connections until it is told to end.
pub(crate) async fn accept<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    ended: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (service, ended) = (Arc::clone(&service), ended.clone());
                tokio::spawn(async move {
                    if let Some(Err(error)) =
                        ended.run_until_cancelled(converse(stream, service)).await
                    {
                        tracing::debug!(%peer, %error, "a connection of a member ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a member");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse<S: Service>(stream: TcpStream, service: Arc<S>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let mut read = FramedRead::new(read, codec(HELLO_BYTES_MAX));
    let mut write = FramedWrite::new(write, codec(FRAME_BYTES_MAX));
    let first = timeout(HELLO_TIMEOUT, read.next()).await.map_err(|_| io::ErrorKind::TimedOut)?;
    let Some(first) = first else { return Ok(()) };
    let hello: Hello = decode(&first?).map_err(io::Error::other)?;
    let greeting = service.greet(&hello);
    write.send(encode(&greeting).map_err(io::Error::other)?).await?;
    if let Greeting::Refused(why) = greeting {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    read.decoder_mut().set_max_frame_length(FRAME_BYTES_MAX);
    if hello.channel == Channel::Snapshot {
        one_by_one(read, write, (service, Arc::new(hello))).await
    } else {
        side_by_side(read, write, (service, Arc::new(hello))).await
    }
}

type Read = FramedRead<tokio::net::tcp::OwnedReadHalf, tokio_util::codec::LengthDelimitedCodec>;
type Write = FramedWrite<tokio::net::tcp::OwnedWriteHalf, tokio_util::codec::LengthDelimitedCodec>;

async fn one_by_one<S: Service>(
    mut read: Read,
    mut write: Write,
    (service, from): (Arc<S>, Arc<Hello>),
) -> io::Result<()> {
    let mut session = S::Session::default();
    while let Some(frame) = read.next().await {
        let (sequence, request) = parse(&frame?)?;
        let reply =
            Arc::clone(&service).serve(Arc::clone(&from), request, Some(&mut session)).await;
        write.send(answer(sequence, &reply)?).await?;
    }
    Ok(())
}

async fn side_by_side<S: Service>(
    mut read: Read,
    mut write: Write,
    (service, from): (Arc<S>, Arc<Hello>),
) -> io::Result<()> {
    let mut served: FuturesUnordered<BoxFuture<'static, (u64, Reply)>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some((sequence, reply)) = served.next() => {
                write.feed(answer(sequence, &reply)?).await?;
                while let Some(Some((sequence, reply))) = served.next().now_or_never() {
                    write.feed(answer(sequence, &reply)?).await?;
                }
                SinkExt::<Bytes>::flush(&mut write).await?;
            }
            frame = read.next(), if served.len() < SERVED_MAX => {
                let Some(frame) = frame else { return Ok(()) };
                let (sequence, request) = parse(&frame?)?;
                let reply = Arc::clone(&service).serve(Arc::clone(&from), request, None);
                let mut serve = reply.map(move |reply| (sequence, reply)).boxed();
                // Polled once here, so that entries reach the core in the order of their frames.
                match futures_util::poll!(&mut serve) {
                    std::task::Poll::Ready((sequence, reply)) => {
                        write.send(answer(sequence, &reply)?).await?;
                    }
                    std::task::Poll::Pending => served.push(serve),
                }
            }
        }
    }
}

fn parse(frame: &[u8]) -> io::Result<(u64, Request)> {
    let (sequence, body) = wire::split(frame).ok_or(io::ErrorKind::InvalidData)?;
    Ok((sequence, decode(body).map_err(io::Error::other)?))
}

fn answer(sequence: u64, reply: &Reply) -> io::Result<Bytes> {
    Ok(wire::frame(sequence, &encode(reply).map_err(io::Error::other)?))
}
