//! The server: its listener, the limits of every connection, and its end.
//!
//! Must be started on a multi-thread runtime, never on an arbiter: what answers a request may take
//! its time.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{
    Method, Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp::filters::BoxedFilter;

use crate::{
    api::{Api, Shared},
    front::{self, Front},
    guard::Guarded,
    hub::Hub,
    metrics::{self, Alive},
    old::{self, Old},
    origin::Origin,
    problem::{PROBLEM_JSON, Problem, RETRY_AFTER_S},
    routes::{self, Route},
};

/// Largest body of a request in bytes.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// Largest body of a request that only plans, in bytes.
pub(crate) const PLAN_BYTES_MAX: usize = 64 << 20;
/// Most connections at a time.
const CONNECTIONS_MAX: usize = 4_096;
/// Most streams at a time.
const STREAMS_MAX: usize = 1_024;
/// Largest head of a request (its first line and its headers) in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers of a request.
pub(crate) const HEADERS_MAX: usize = 64;
/// How long the head of a request may take; also how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a write to a client may be stuck.
const WRITE_STALL_MAX: Duration = Duration::from_secs(15);
/// How long the quorum may take to answer one request.
const QUORUM_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long requests may go on after the server was told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server needs to start.
#[derive(Debug)]
pub struct Options {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What it speaks for.
    pub api: Api,
    /// Cancelled when it is to stop.
    pub shutdown: CancellationToken,
}

/// The limits of a server; the defaults are the named constants of this module.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest body of a request in bytes.
    pub body_bytes_max: usize,
    /// Largest body of a request that only plans, in bytes.
    pub plan_bytes_max: usize,
    /// Most connections at a time.
    pub connections_max: usize,
    /// Most streams at a time.
    pub streams_max: usize,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long a write to a client may be stuck.
    pub write_stall_max: Duration,
    /// How long the quorum may take to answer one request.
    pub quorum_timeout: Duration,
    /// How often a stream says that it is alive.
    pub heartbeat: Duration,
    /// Most commits that are kept for watchers that come back.
    pub watch_history_max: usize,
    /// Pages of these origins may ask as those do that this server serves; at most
    /// [`ORIGINS_MAX`](crate::ORIGINS_MAX), none by default.
    pub origins: Vec<Origin>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            plan_bytes_max: PLAN_BYTES_MAX,
            connections_max: CONNECTIONS_MAX,
            streams_max: STREAMS_MAX,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_stall_max: WRITE_STALL_MAX,
            quorum_timeout: QUORUM_TIMEOUT,
            heartbeat: HEARTBEAT,
            watch_history_max: crate::hub::WATCH_HISTORY_MAX,
            origins: Vec::new(),
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub local_addr: SocketAddr,
    /// Where the WebSocket of the old surface is, where that is served.
    pub old_addr: Option<SocketAddr>,
    /// Ends after the shutdown, when the last request is answered or [`DRAIN_TIMEOUT`] is over.
    pub task: JoinHandle<()>,
}

/// A server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not of this machine.
    #[error("cannot listen on {listen}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Starts a server with the default limits.
pub async fn serve(options: Options) -> Result<Server, ServeError> {
    serve_with(options, Limits::default()).await
}

/// Starts a server.
pub async fn serve_with(options: Options, limits: Limits) -> Result<Server, ServeError> {
    let Options { listen, api, shutdown } = options;
    let bind = |source| ServeError::Bind { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(bind)?;
    serve_on(listener, api, shutdown, limits)
}

/// Starts a server on a listener that is bound already.
pub fn serve_on(
    listener: TcpListener,
    api: Api,
    shutdown: CancellationToken,
    limits: Limits,
) -> Result<Server, ServeError> {
    serve_with_old(listener, None, api, (shutdown, limits))
}

/// The same with the surface of the system that came before beside it: where its WebSocket comes
/// in, and where clients are told that it is; absent: where it listens.
pub fn serve_with_old(
    listener: TcpListener,
    old: Option<(TcpListener, Option<String>)>,
    api: Api,
    (shutdown, limits): (CancellationToken, Limits),
) -> Result<Server, ServeError> {
    let unbound = |source| ServeError::Bind { listen: SocketAddr::from(([0; 4], 0)), source };
    let local_addr = listener.local_addr().map_err(unbound)?;
    let old_addr = old.as_ref().map(|(listener, _)| listener.local_addr()).transpose();
    let old_addr = old_addr.map_err(unbound)?;
    let (socket, told) = old.unzip();
    let told = told.flatten().or_else(|| old_addr.map(|address| address.to_string()));
    let shared = Arc::new(Shared {
        hub: Hub::start(api.quorum.clone(), limits.watch_history_max, shutdown.clone()),
        metrics: metrics::recorder(),
        streams: Arc::new(Semaphore::new(limits.streams_max)),
        boot: api.clock.wall(),
        api,
        limits,
        shutdown,
        old: told.map(Old::at),
    });
    let permits = Arc::new(Semaphore::new(shared.limits.connections_max));
    let main = Door::new(routes::all(&shared), &permits, &shared);
    let beside = Door::new(old::socket_routes(&shared), &permits, &shared);
    let task = tokio::spawn(async move {
        let beside = async {
            if let Some(socket) = socket {
                accept(socket, beside).await;
            }
        };
        tokio::join!(accept(listener, main), beside);
    });
    Ok(Server { local_addr, old_addr, task })
}

/// How long to wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept(listener: TcpListener, door: Door) {
    let shutdown = door.shared.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => door.admit(stream),
            Err(error) => {
                // Of one connection, or out of descriptors: those that end give theirs back.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    door.connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, door.connections.wait()).await.is_err() {
        tracing::info!("requests were cut off because the server stops");
    }
    door.cut.cancel();
}

/// What every new connection needs.
struct Door {
    routes: BoxedFilter<(warp::reply::Response,)>,
    /// The connections that are open, those that have become something else aside.
    connections: TaskTracker,
    /// Cancelled when nothing may go on any longer.
    cut: CancellationToken,
    permits: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl Door {
    fn new(
        routes: BoxedFilter<(warp::reply::Response,)>,
        permits: &Arc<Semaphore>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            routes,
            connections: TaskTracker::new(),
            cut: CancellationToken::new(),
            permits: permits.clone(),
            shared: shared.clone(),
        }
    }

    fn admit(&self, stream: TcpStream) {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => self.connect(stream, permit),
            Err(_) => refuse(&stream),
        }
    }

    fn connect(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        // Small answers leave at once; a socket that cannot be told so works all the same.
        drop(stream.set_nodelay(true));
        let limits = &self.shared.limits;
        let held = (permit, Alive::new("kraken_http_connections"));
        let stream = TokioIo::new(Guarded::new(stream, limits.write_stall_max, held));
        let routed = TowerToHyperService::new(warp::service(self.routes.clone()));
        let shared = self.shared.clone();
        let answering = move |request| answer(routed.clone(), request, shared.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(stream, service_fn(answering))
            .with_upgrades();
        let (cut, shutdown) = (self.cut.clone(), self.shared.shutdown.clone());
        self.connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                () = cut.cancelled() => Ok(()),
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    // What is being asked is answered, and nothing after it.
                    connection.as_mut().graceful_shutdown();
                    cut.run_until_cancelled(connection).await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

/// Answers a request and counts it. A HEAD is a GET of which only the head is sent.
async fn answer<S>(
    routes: S,
    mut request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<S::Response, Infallible>
where
    S: Service<Request<Incoming>, Response = warp::reply::Response, Error = Infallible>,
{
    let started = Instant::now();
    let front = Front::of(request.headers(), &shared);
    let response = if let Some(response) = front.answer(&request) {
        front::let_go(request.into_body(), &shared).await;
        response
    } else {
        if request.method() == Method::HEAD && !old::acts(request.uri().path()) {
            *request.method_mut() = Method::GET;
        }
        routes.call(request).await?
    };
    let response = front.finish(response, &shared).await;
    let route = response.extensions().get::<Route>().map_or("none", |route| route.0);
    metrics::answered(route, response.status().as_u16(), started.elapsed());
    Ok(response)
}

/// Tells a client that there are too many. What does not fit into the socket at once is not sent.
fn refuse(stream: &TcpStream) {
    metrics::refused();
    let problem = Problem::Overloaded("too many connections are open".to_owned());
    let body = problem.body_json().to_string();
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: {PROBLEM_JSON}\r\n\
         retry-after: {RETRY_AFTER_S}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    if let Err(error) = stream.try_write(format!("{head}{body}").as_bytes()) {
        tracing::debug!(%error, "a client was refused without a word");
    }
}
