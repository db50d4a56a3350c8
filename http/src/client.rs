//! The client: what the command line, the test kit and the benches speak to members with.
//!
//! It knows several servers and tries them all: one that refuses the connection, is stopping, or
//! finds no leader is passed over for the next. A read that one keeps waiting is asked of the next
//! beside it. A write carries a request id, so that repeating it does it once, whichever member
//! took it first.

mod error;
mod follow;
mod past;
mod plans;
mod quorum;
mod snapshot;
mod typed;
mod url;

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kraken_engine::span::SpanContext;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use self::{error::Broken, url::Base};
pub use self::{
    error::{Error, Failure, Trouble},
    follow::{Events, Watch, WatchKind, WatchLine},
    plans::{PlanPart, Plans},
    quorum::{ClusterView, MemberView},
    snapshot::{Backup, Restored},
    typed::{EventsQuery, ListQuery, Ready, TargetsQuery, WatchQuery, WriteQuery},
    url::encode,
};
use crate::{
    call::{AUTHOR_HEADER, REQUEST_HEADER},
    problem::ProblemBody,
    spans::TRACEPARENT_HEADER,
};

/// Largest answer that is taken, in bytes.
pub const ANSWER_BYTES_MAX: usize = 512 << 20;
/// Idle connections that are kept to each server.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// How long an idle connection is kept: less than servers keep it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The first wait after all servers were tried; it doubles.
const BACKOFF_INITIAL: Duration = Duration::from_millis(50);
/// The longest wait after all servers were tried.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How a client speaks to its servers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a connection may take to open. 2 s by default.
    pub connect_timeout: Duration,
    /// How long one try of one request may take, the body of its answer included. 30 s by default.
    pub timeout: Duration,
    /// How long a read may stay without the head of an answer until the next server is asked as
    /// well; the first answer counts. 3 s by default.
    pub hedge_after: Duration,
    /// How long to go on trying while there are servers and none of them can serve, for instance
    /// because a leader is being elected. 10 s by default.
    pub patience: Duration,
    /// How long to go on trying while no server can be reached at all. Zero by default: one round.
    pub unreachable_patience: Duration,
    /// Who asks, for the record.
    pub author: Option<String>,
    /// The span that requests are part of.
    pub caller: Option<SpanContext>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(30),
            hedge_after: Duration::from_secs(3),
            patience: Duration::from_secs(10),
            unreachable_patience: Duration::ZERO,
            author: None,
            caller: None,
        }
    }
}

/// A client of some servers. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    servers: Vec<Base>,
    /// The server that answered last.
    preferred: AtomicUsize,
    settings: Settings,
    pool: Pool<HttpConnector, Full<Bytes>>,
    /// Makes request ids unique to this client, together with a count.
    seed: u64,
    count: AtomicU64,
}

/// Why a round over all servers brought no answer.
enum Unserved {
    /// One has answered as all would.
    Refused(Error),
    /// None could serve.
    ByAll(Vec<Failure>),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("servers", &self.servers()).finish_non_exhaustive()
    }
}

/// One request, to whichever server takes it.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path with its query, from `/` on.
    pub path: String,
    /// Headers, by name.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// How long one try may take; as the settings say where absent.
    pub timeout: Option<Duration>,
}

/// An answer that is not a problem.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The server that answered.
    pub server: String,
    /// The HTTP status.
    pub status: u16,
    /// The revision that was read or written, where the answer says.
    pub revision: Option<u64>,
    /// The tag for `If-Match`, where the answer says.
    pub tag: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::BadAnswer {
            server: self.server.clone(),
            why: error.to_string(),
        })
    }
}

impl Call {
    /// A request without a body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), ..Self::default() }
    }

    /// Adds a body.
    pub fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.headers.push((CONTENT_TYPE_NAME, media_type.to_owned()));
        self.body = body.into();
        self
    }

    /// Adds a body of JSON.
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

const CONTENT_TYPE_NAME: &str = "content-type";

impl Client {
    /// A client of these servers, such as `http://127.0.0.1:3141`, with the default settings.
    pub fn new<S: AsRef<str>>(servers: &[S]) -> Result<Self, Error> {
        Self::with(servers, Settings::default())
    }

    /// A client of these servers.
    pub fn with<S: AsRef<str>>(servers: &[S], settings: Settings) -> Result<Self, Error> {
        let servers: Vec<Base> =
            servers.iter().map(|url| Base::parse(url.as_ref())).collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(Error::BadServer {
                url: String::new(),
                why: "name at least one".to_owned(),
            });
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect_timeout));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        let inner = Inner {
            servers,
            preferred: AtomicUsize::new(0),
            settings,
            pool,
            seed: RandomState::new().hash_one(std::process::id()),
            count: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The servers, in the order in which they were named.
    pub fn servers(&self) -> Vec<&str> {
        self.inner.servers.iter().map(Base::as_str).collect()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Sends a request and reads the whole answer. A write is given a request id unless it has one.
    pub async fn send(&self, mut call: Call) -> Result<Answer, Error> {
        let named = call.headers.iter().any(|(name, _)| *name == REQUEST_HEADER);
        if call.method != Method::GET && !named {
            call.headers.push((REQUEST_HEADER, self.request_id()));
        }
        self.persist(&call, Self::try_whole).await
    }

    /// Sends a request once to one server, which is how it was asked.
    pub async fn send_to(&self, server: usize, call: &Call) -> Result<Answer, Error> {
        let Some(base) = self.inner.servers.get(server) else {
            let why = format!("there are {} servers", self.inner.servers.len());
            return Err(Error::BadServer { url: server.to_string(), why });
        };
        self.try_whole(base, call).await.map_err(|broken| broken.into_error(base))
    }

    /// The server that was named first.
    fn first(&self) -> &Base {
        // There is at least one, or there is no client.
        &self.inner.servers[0]
    }

    /// A request id that no other request has.
    pub fn request_id(&self) -> String {
        let count = self.inner.count.fetch_add(1, Ordering::Relaxed);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanos = since.unwrap_or_default().as_nanos();
        format!("{:016x}-{nanos:x}-{count:x}", self.inner.seed)
    }

    /// Tries all servers, round after round, until one answers or patience is over.
    async fn persist<'a, T, F>(
        &'a self,
        call: &'a Call,
        attempt: impl Fn(&'a Self, &'a Base, &'a Call) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Broken>>,
    {
        let started = Instant::now();
        let mut backoff = BACKOFF_INITIAL;
        loop {
            let failures = match self.round(call, &attempt).await {
                Ok(answer) => return Ok(answer),
                Err(Unserved::Refused(error)) => return Err(error),
                Err(Unserved::ByAll(failures)) => failures,
            };
            // Neither where nobody listens nor where somebody else does helps it to wait.
            let nobody = |f: &Failure| matches!(f.trouble, Trouble::Unreachable | Trouble::Foreign);
            let settings = &self.inner.settings;
            let is_hopeless = failures.iter().all(nobody);
            let patience =
                if is_hopeless { settings.unreachable_patience } else { settings.patience };
            if started.elapsed() + backoff > patience {
                return Err(Error::Exhausted { failures, after: started.elapsed() });
            }
            tokio::time::sleep(self.jitter(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Asks the servers in order until one answers: each when the one before has failed or, if it
    /// is a read, keeps it waiting.
    async fn round<'a, T, F>(
        &'a self,
        call: &'a Call,
        attempt: &impl Fn(&'a Self, &'a Base, &'a Call) -> F,
    ) -> Result<T, Unserved>
    where
        F: Future<Output = Result<T, Broken>>,
    {
        let Inner { servers, settings, preferred, .. } = &*self.inner;
        let mut rest = self.order();
        let mut next = rest.next();
        let (mut asked, mut failures) = (FuturesUnordered::new(), Vec::new());
        loop {
            if let Some(index) = next.take() {
                let answer = attempt(self, &servers[index], call);
                asked.push(async move { (index, answer.await) });
            }
            let is_hedged = call.method == Method::GET && rest.len() > 0;
            let answered = if is_hedged {
                timeout(settings.hedge_after, asked.next()).await.ok()
            } else {
                Some(asked.next().await)
            };
            match answered {
                None => next = rest.next(),
                Some(None) => return Err(Unserved::ByAll(failures)),
                Some(Some((index, Ok(answer)))) => {
                    preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Some(Some((index, Err(broken)))) if broken.is_final() => {
                    return Err(Unserved::Refused(broken.into_error(&servers[index])));
                }
                Some(Some((index, Err(broken)))) => {
                    failures.push(broken.into_failure(&servers[index]));
                    next = rest.next();
                }
            }
        }
    }

    /// The servers, the one that answered last first.
    fn order(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let count = self.inner.servers.len();
        let first = self.inner.preferred.load(Ordering::Relaxed);
        (0..count).map(move |index| (first + index) % count)
    }

    /// Between half and all of a wait, so that clients do not come back together.
    fn jitter(&self, wait: Duration) -> Duration {
        let count = self.inner.count.fetch_add(1, Ordering::Relaxed);
        let hash = RandomState::new().hash_one((self.inner.seed, count));
        let percent = 50 + u32::try_from(hash % 51).unwrap_or_default();
        wait * percent / 100
    }

    async fn try_whole(&self, base: &Base, call: &Call) -> Result<Answer, Broken> {
        let whole = async {
            let response = self.try_open(base, call).await?;
            let text = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            let revision = text("kraken-revision").and_then(|text| text.parse().ok());
            let (tag, status) = (text("etag"), response.status().as_u16());
            let body = collect(response.into_body()).await?;
            Ok(Answer { server: base.as_str().to_owned(), status, revision, tag, body })
        };
        let after = call.timeout.unwrap_or(self.inner.settings.timeout);
        let answered = timeout(after, whole).await;
        answered.unwrap_or(Err(Broken::Slow { after }))
    }

    /// Sends a request and reads the head of the answer; a problem is read to its end.
    async fn try_open(&self, base: &Base, call: &Call) -> Result<Response<Incoming>, Broken> {
        let mut request = Request::builder().method(&call.method).uri(base.join(&call.path));
        if let Some(author) = &self.inner.settings.author {
            request = request.header(AUTHOR_HEADER, author);
        }
        if let Some(caller) = &self.inner.settings.caller {
            request = request.header(TRACEPARENT_HEADER, caller.to_string());
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(call.body.clone()))
            .map_err(|error| Broken::Unsendable(error.to_string()))?;
        let response = self.inner.pool.request(request).await.map_err(|error| {
            if error.is_connect() { Broken::unreachable(&error) } else { Broken::cut(&error) }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = collect(response.into_body()).await?;
        Err(problem(status, &body))
    }
}

async fn collect(body: Incoming) -> Result<Bytes, Broken> {
    let limited = Limited::new(body, ANSWER_BYTES_MAX);
    let collected = limited.collect().await.map_err(|error| Broken::cut(error.as_ref()))?;
    Ok(collected.to_bytes())
}

/// A problem as it was answered. Words that are none were said by no member.
fn problem(status: StatusCode, body: &[u8]) -> Broken {
    if let Ok(problem) = serde_json::from_slice(body) {
        return Broken::Problem(Box::new(problem));
    }
    if body.is_empty() {
        return Broken::Problem(Box::new(ProblemBody {
            code: "unexpected_answer".into(),
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            detail: format!("the server answered {status}"),
            faults: Vec::new(),
        }));
    }
    let said = String::from_utf8_lossy(body);
    let first = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let said: String = first.chars().take(ANSWER_SHOWN_MAX).collect();
    Broken::Foreign(format!("{status} {said}").trim_end().to_owned())
}

/// Most of an answer that is not understood that is shown, in characters.
const ANSWER_SHOWN_MAX: usize = 80;
