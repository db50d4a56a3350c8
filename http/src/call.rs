//! One request, as handlers see it: its query, its headers, and ways to read and to propose.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use kraken_actors::quorum::{Consistency, read};
use kraken_engine::{
    command::{Command, Outcome, Proposal, RequestId},
    id::{Epoch, Revision},
    span::Micros,
    store::Store,
};
use warp::{
    Filter, Rejection,
    http::{HeaderMap, Method, header},
    path::FullPath,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    api::Shared,
    metrics,
    openapi::table,
    problem::Problem,
    query::Query,
    spans::{TRACEPARENT_HEADER, Written},
};

/// Who asks, for the record.
pub(crate) const AUTHOR_HEADER: &str = "kraken-author";
/// Names a request, so that repeating it does it once.
pub(crate) const REQUEST_HEADER: &str = "kraken-request-id";
/// Longest author in bytes.
pub(crate) const AUTHOR_BYTES_MAX: usize = 128;
/// Longest request id in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 64;
/// Who asks when nobody says so.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// One request.
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    /// Which of several writes of the request is made: each has an id of its own.
    pub(crate) part: &'static str,
    /// Its method and path: the same id means another request elsewhere.
    pub(crate) line: String,
    /// When it came.
    pub(crate) came: Micros,
}

/// What a write did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
    pub(crate) changed: usize,
    /// Whether it created objects.
    pub(crate) created: bool,
}

impl Call {
    /// Takes the consistency that the query asks for.
    pub(crate) fn consistency(&mut self) -> Result<Consistency, Problem> {
        let words = [
            ("linearizable", Consistency::Linearizable),
            ("leader", Consistency::Leader),
            ("stale", Consistency::Stale),
        ];
        Ok(self.query.one_of("consistency", &words)?.unwrap_or_default())
    }

    /// Reads the store.
    pub(crate) async fn read<R: Send>(
        &self,
        consistency: Consistency,
        answer: impl FnOnce(&Store) -> R + Send,
    ) -> Result<R, Problem> {
        let quorum = &self.shared.api.quorum;
        let reading = read(quorum.as_ref(), consistency, answer);
        match tokio::time::timeout(self.shared.limits.quorum_timeout, reading).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Problem::Unavailable("the quorum did not answer in time".to_owned())),
        }
    }

    /// Has a command committed.
    pub(crate) async fn propose(&self, command: Command) -> Result<Done, Problem> {
        let proposed = self.try_propose(command).await;
        metrics::proposed(match &proposed {
            Ok(_) => "applied",
            Err(problem) => problem.code(),
        });
        proposed
    }

    async fn try_propose(&self, command: Command) -> Result<Done, Problem> {
        let api = &self.shared.api;
        let proposal = Proposal {
            request: self.request_id()?,
            author: self.author()?.to_owned(),
            at: api.clock.wall(),
            command,
        };
        let proposed = api.clock.micros();
        let proposing = api.quorum.propose(proposal);
        match tokio::time::timeout(self.shared.limits.quorum_timeout, proposing).await {
            Err(_) => Err(Problem::Timeout("the quorum did not answer in time".to_owned())),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(outcome)) => {
                let done = self.done(&outcome)?;
                self.tell(&done, proposed);
                Ok(done)
            }
        }
    }

    /// Has spans made of a write.
    fn tell(&self, done: &Done, proposed: Micros) {
        let api = &self.shared.api;
        let cluster = api.spans.cluster(Some(&*api.quorum));
        let Some(cluster) = cluster.filter(|_| done.changed > 0) else { return };
        let (method, path) = self.line.split_once(' ').unwrap_or(("", &self.line));
        let route = table::find(method, path).and_then(|operation| operation.at(path));
        let caller = self.headers.get(TRACEPARENT_HEADER);
        let written = Written {
            cluster,
            revision: done.revision,
            changed: done.changed as u64,
            author: self.author().unwrap_or(ANONYMOUS),
            method,
            // Only the old surface has routes that are not in the table.
            route: route.as_ref().map_or("old", |(_, template)| template),
            caller: caller.and_then(|caller| caller.to_str().ok()),
            came: self.came,
            proposed,
            applied: api.clock.micros(),
        };
        written.tell(&api.spans);
    }

    fn done(&self, outcome: &Outcome) -> Result<Done, Problem> {
        match outcome {
            Outcome::Refused(refusal) => Err(refusal.clone().into()),
            Outcome::Applied { revision, changed, .. } => {
                let created = changed.iter().any(|uid| uid.is_of(*revision));
                let (epoch, revision) = (self.shared.api.quorum.epoch(), *revision);
                Ok(Done { epoch, revision, changed: changed.len(), created })
            }
        }
    }

    /// What came of this request when it was made before, by its id: whoever lost the answer asks
    /// again, and finds what it expected moved by itself.
    pub(crate) async fn earlier(&self) -> Result<Option<Done>, Problem> {
        let Some(request) = self.request_id()? else { return Ok(None) };
        let answer = |store: &Store| store.answer(&request).cloned();
        let answer = self.read(Consistency::Linearizable, answer).await?;
        answer.map(|outcome| self.done(&outcome)).transpose()
    }

    fn author(&self) -> Result<&str, Problem> {
        let author = self.header(AUTHOR_HEADER, AUTHOR_BYTES_MAX)?;
        Ok(author.unwrap_or(ANONYMOUS))
    }

    fn request_id(&self) -> Result<Option<RequestId>, Problem> {
        let id = self.header(REQUEST_HEADER, REQUEST_BYTES_MAX)?;
        let whole = id.map(|id| format!("{id}\n{}\n{}", self.part, self.line));
        let digest = |whole: String| format!("{:032x}", xxh3_128(whole.as_bytes()));
        Ok(whole.map(digest).map(|digest| RequestId(digest.into())))
    }

    /// The text of a header; `None` where it is absent or empty.
    fn header(&self, name: &str, bytes_max: usize) -> Result<Option<&str>, Problem> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        let bad = |why: String| Problem::BadHeader { name: name.to_owned(), why };
        let text = value.to_str().map_err(|_| bad("it must be visible ASCII".to_owned()))?.trim();
        if text.len() > bytes_max {
            return Err(bad(format!("it is limited to {bytes_max} bytes")));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// What `If-Match` asks for.
    pub(crate) fn if_match(&self) -> Result<Option<IfMatch>, Problem> {
        let Some(value) = self.headers.get(header::IF_MATCH) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Some(IfMatch::Exists));
        }
        let plain = plain(text);
        // What comes after it tells what was seen, which no write compares.
        let plain = plain.split_once('.').map_or(plain, |(cfg, _)| cfg);
        let (epoch, number) = plain.rsplit_once('-').unwrap_or(("", plain));
        let now = self.shared.api.quorum.epoch();
        if epoch.parse().is_ok_and(|epoch| Epoch::new(epoch) != now) {
            let why = format!("the tag is of epoch {epoch}, this is epoch {now}");
            return Err(Problem::PreconditionFailed(why));
        }
        match number.parse() {
            Ok(revision) => Ok(Some(IfMatch::Revision(Revision::new(revision)))),
            Err(_) => Err(Problem::BadHeader {
                name: "if-match".to_owned(),
                why: "it must be `*` or one ETag as a read answered it".to_owned(),
            }),
        }
    }

    /// Whether `If-None-Match` says that the client holds what has this tag.
    pub(crate) fn holds(&self, tag: &str) -> bool {
        let values = self.headers.get_all(header::IF_NONE_MATCH).iter();
        let mut tags = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        tags.any(|held| held.trim() == "*" || plain(held) == plain(tag))
    }

    /// Whether `If-None-Match` asks that the object be not there yet.
    pub(crate) fn if_absent(&self) -> Result<bool, Problem> {
        match self.headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes().trim_ascii()) {
            None => Ok(false),
            Some(b"*") => Ok(true),
            Some(_) => Err(Problem::BadHeader {
                name: "if-none-match".to_owned(),
                why: "of a write it can only be `*`".to_owned(),
            }),
        }
    }

    /// Refuses a write from a page of another site: a browser sends it without asking.
    pub(crate) fn check_origin(&self) -> Result<(), Problem> {
        let Some(origin) = self.headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        if self.shared.limits.origins.iter().any(|known| known.as_str() == origin) {
            return Ok(());
        }
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let from = origin.split_once("://").map(|(_, host)| host);
        if from.is_some() && from == host {
            return Ok(());
        }
        Err(Problem::ForeignOrigin(origin.chars().take(AUTHOR_BYTES_MAX).collect()))
    }
}

/// A tag without its quotes, weak or not.
fn plain(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/").trim_matches('"')
}

/// What `If-Match` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// The object exists.
    Exists,
    /// The object is at this revision.
    Revision(Revision),
}

/// Extracts a request without its body.
pub(crate) fn call(
    shared: &Arc<Shared>,
) -> impl Filter<Extract = (Call,), Error = Rejection> + Clone + Send + Sync + 'static {
    let shared = shared.clone();
    let line = warp::method()
        .and(warp::path::full())
        .map(|method: Method, path: FullPath| format!("{method} {}", path.as_str()));
    let query = warp::query::<Vec<(String, String)>>();
    warp::header::headers_cloned().and(line).and(query).and_then(
        move |headers: HeaderMap, line: String, pairs| {
            let shared = shared.clone();
            async move {
                let query = Query::new(pairs).map_err(warp::reject::custom)?;
                let came = shared.api.clock.micros();
                Ok::<_, Rejection>(Call { shared, headers, query, part: "", line, came })
            }
        },
    )
}

/// Where a request that writes may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Programs, and the pages that this server serves.
    Ours,
    /// Pages of any site too.
    Any,
}

/// Extracts a request that writes, and its body.
pub(crate) fn call_with_body(
    shared: &Arc<Shared>,
) -> impl Filter<Extract = (Call, Bytes), Error = Rejection> + Clone + Send + Sync + 'static {
    call_with_body_from(Origin::Ours, shared)
}

/// The same, where it is said from where it may come.
pub(crate) fn call_with_body_from(
    origin: Origin,
    shared: &Arc<Shared>,
) -> impl Filter<Extract = (Call, Bytes), Error = Rejection> + Clone + Send + Sync + 'static {
    call(shared)
        .and(warp::body::stream())
        .and_then(move |call: Call, body| async move {
            let checked = if origin == Origin::Ours { call.check_origin() } else { Ok(()) };
            let collected = match checked {
                Ok(()) => collect(body, &call).await,
                Err(problem) => Err(problem),
            };
            match collected {
                Ok(bytes) => Ok((call, bytes)),
                Err(problem) => Err(warp::reject::custom(problem)),
            }
        })
        .untuple_one()
}

/// Collects a body within its limits, whether or not it says beforehand how long it is.
async fn collect<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    call: &Call,
) -> Result<Bytes, Problem> {
    let limits = &call.shared.limits;
    // More can be planned than can be written at once.
    let is_plan = call.query.is("dryRun", "plan");
    let limit = if is_plan { limits.plan_bytes_max } else { limits.body_bytes_max };
    let too_large = Problem::BodyTooLarge { limit };
    let length = call.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length: Option<u64> = length.and_then(|length| length.parse().ok());
    if length.is_some_and(|length| length > 2 * limit as u64) {
        return Err(too_large);
    }
    match tokio::time::timeout(limits.body_timeout, gather(body, limit)).await {
        Ok(gathered) => gathered?.ok_or(too_large),
        Err(_) => Err(Problem::BodyTooSlow { limit_s: seconds(limits.body_timeout) }),
    }
}

/// Gathers a body; nothing where it is over the limit. What is a little over is read to its end and
/// let go, so that the client comes to read the answer.
async fn gather<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    limit: usize,
) -> Result<Option<Bytes>, Problem> {
    let mut body = std::pin::pin!(body);
    let mut bytes = BytesMut::new();
    let mut over = 0_usize;
    while let Some(chunk) = body.next().await {
        let mut chunk =
            chunk.map_err(|error| Problem::body(format!("the body ended early: {error}")))?;
        if over > 0 || bytes.len() + chunk.remaining() > limit {
            over += chunk.remaining();
            bytes.clear();
            if over > limit {
                return Ok(None);
            }
            continue;
        }
        let length = chunk.remaining();
        bytes.extend_from_slice(&chunk.copy_to_bytes(length));
    }
    Ok((over == 0).then(|| bytes.freeze()))
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().max(1)
}
