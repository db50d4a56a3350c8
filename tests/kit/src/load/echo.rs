//! The bare peer of an idle fleet: connections on which a few bytes go back and forth at the
//! period of heartbeats, and a server that sends back what comes, with nothing of ours in it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Builder,
    time::interval,
};

/// Most bytes that are read at once.
const BUFFER_BYTES: usize = 256;
/// Connections that wait to be taken.
const BACKLOG: u32 = 4_096;

/// Sends back what comes at an address, until the process ends.
pub fn serve(at: SocketAddr) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        let listener: TcpListener = socket.listen(BACKLOG)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..read]).await?;
    }
}

/// Connects from an address of this machine.
pub(super) async fn connect(to: SocketAddr, from: IpAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends so many bytes in each period and reads what comes back, until the connection ends.
pub(super) async fn beat(mut stream: TcpStream, bytes: usize, period: Duration) -> io::Result<()> {
    let mut due = interval(period);
    let mut buffer = vec![0; bytes];
    loop {
        due.tick().await;
        stream.write_all(&buffer).await?;
        stream.read_exact(&mut buffer).await?;
    }
}
