//! What may go wrong that a user can see: one code each, always with the same status, and a detail
//! that says what to do. `docs/errors.md` has a row for every code.

use std::{borrow::Cow, fmt};

use kraken_actors::{quorum::QuorumError, state::Stopped};
use kraken_engine::command::{Misfit, Refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use warp::http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use warp::reply::Response;

/// The media type of the body of an error.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// After how long a client may try again what was refused for the load of the moment, in seconds.
pub const RETRY_AFTER_S: u64 = 1;
/// How a client of the interface makes sure of a write whose outcome is not known.
pub const REPEAT: &str = "; to be sure repeat it with the same Kraken-Request-Id";
/// Most faults of one body that are told at once.
pub const FAULTS_MAX: usize = 16;

/// Something that went wrong and that a user can see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No route of that path.
    #[error("there is nothing at {0}; docs/http.md lists what there is")]
    NoSuchRoute(String),
    /// The route does not answer that method.
    #[error("{method} is not answered at {path}")]
    MethodNotAllowed {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// None of the media types that the route answers with is wanted.
    #[error("this route answers {offered}; ask for one of these, or for anything")]
    NotAcceptable {
        /// The media types.
        offered: String,
    },
    /// A body of a media type, or in a coding, that the route does not read.
    #[error("a body of {found} is not read here; send {readable}")]
    UnsupportedMediaType {
        /// What it is said to be.
        found: String,
        /// What can be read.
        readable: String,
    },
    /// A query parameter that is not known, or whose value is wrong.
    #[error("query parameter {name}: {why}")]
    BadQuery {
        /// The parameter.
        name: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A header whose value is wrong.
    #[error("header {name}: {why}")]
    BadHeader {
        /// The header.
        name: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A body that cannot be read.
    #[error("{}; nothing was changed", list(.0))]
    BadBody(Vec<Fault>),
    /// A body that can be read and asks for what cannot be.
    #[error("{}; nothing was changed", list(.0))]
    Invalid(Vec<Fault>),
    /// A body over the limit.
    #[error("the body is over the limit of {limit} bytes; send it in parts")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A body that came too slowly.
    #[error("the body did not arrive within {limit_s} s; send it again")]
    BodyTooSlow {
        /// The limit in seconds.
        limit_s: u64,
    },
    /// One request asks for too much.
    #[error("{what} are limited to {limit} in one request; send it in parts")]
    TooMany {
        /// What there is too much of.
        what: String,
        /// How much there may be.
        limit: u64,
    },
    /// The object is not there.
    #[error("there is no {0}")]
    NoSuchObject(String),
    /// The thing is not there.
    #[error("there is no {0}")]
    NoSuchThing(String),
    /// Objects that were to be created are there already.
    #[error("already there: {}; to change them use PUT, PATCH or apply", .0.join(", "))]
    Exists(Vec<String>),
    /// The object is being deleted.
    #[error("{0} is being deleted; wait until it is gone, or delete it with force=true")]
    Deleting(String),
    /// A node hosts what must never run twice.
    #[error("{0}")]
    HasGuest(String),
    /// A precondition of the request does not hold.
    #[error("{0}; read it again and repeat the change")]
    PreconditionFailed(String),
    /// Cfg has moved since the plan was made.
    #[error("Cfg is at revision {found}, not at {expected}; look at the plan again")]
    BaseMoved {
        /// The revision that was expected.
        expected: u64,
        /// The revision that was found.
        found: u64,
    },
    /// Stored objects would not fit what is declared.
    #[error("{text}; change or delete these objects first")]
    InUse {
        /// What would not fit.
        text: String,
        /// The objects, with what does not fit.
        faults: Vec<Fault>,
        /// How many objects there are besides.
        more: u64,
    },
    /// A module that the release brings itself.
    #[error("{0}; declare what you need under another name")]
    BuiltIn(String),
    /// A thaw of what is not frozen in these words.
    #[error("not frozen by that name: {0}; thaw it in the words in which it was frozen")]
    NotFrozen(String),
    /// A request from a page of another site.
    #[error(
        "origin {0} may not write here; use a page that this server serves, or the command line"
    )]
    ForeignOrigin(String),
    /// What is asked for is no longer held.
    #[error(
        "revision {from} is no longer held, the oldest is {oldest}; ask for a later one, or list again \
         and watch from there"
    )]
    Gone {
        /// The revision asked for.
        from: u64,
        /// The oldest from which a watch can be resumed.
        oldest: u64,
    },
    /// A change of the quorum was refused.
    #[error("{0}")]
    ClusterRefused(String),
    /// What a quorum was to begin with is no backup, or not whole.
    #[error("{0}; nothing was begun")]
    BadBackup(String),
    /// The write belongs to an older term.
    #[error("{0}; it was decided by a leader that no longer leads")]
    StaleTerm(String),
    /// Nothing was done, and trying again may help.
    #[error("{0}; try again, or ask another member")]
    Unavailable(String),
    /// Too much is going on.
    #[error("{0}; try again in a moment")]
    Overloaded(String),
    /// The outcome is not known.
    #[error("{0}{repeat}", repeat = REPEAT)]
    Timeout(String),
    /// A defect of ours.
    #[error("{0}; this is a defect of the server")]
    Internal(String),
}

/// Something wrong in a body, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The document of the body, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// The line of the body, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column of the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// The object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The key, or the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Fault {
    /// A fault without a place.
    pub fn new(why: impl ToString) -> Self {
        Self { why: why.to_string(), ..Self::default() }
    }

    /// A fault at a key.
    pub fn at(key: impl ToString, why: impl ToString) -> Self {
        Self { key: Some(key.to_string()), ..Self::new(why) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = Vec::new();
        place.extend(self.document.map(|document| format!("document {document}")));
        place.extend(self.line.map(|line| format!("line {line}")));
        place.extend(self.column.map(|column| format!("column {column}")));
        place.extend(self.object.clone());
        place.extend(self.key.clone());
        if place.is_empty() {
            f.write_str(&self.why)
        } else {
            write!(f, "{}: {}", place.join(", "), self.why)
        }
    }
}

fn list(faults: &[Fault]) -> String {
    faults.iter().take(FAULTS_MAX).map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Problem {
    /// A query parameter with a wrong value.
    pub fn query(name: &str, why: impl ToString) -> Self {
        Self::BadQuery { name: name.to_owned(), why: why.to_string() }
    }

    /// A body that cannot be read, for one reason.
    pub fn body(why: impl ToString) -> Self {
        Self::BadBody(vec![Fault::new(why)])
    }

    /// The code: stable for all time, and the same for everything of its kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchRoute(_) => "no_such_route",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NotAcceptable { .. } => "not_acceptable",
            Self::UnsupportedMediaType { .. } => "unsupported_media_type",
            Self::BadQuery { .. } => "bad_query",
            Self::BadHeader { .. } => "bad_header",
            Self::BadBody(_) => "bad_body",
            Self::Invalid(_) => "invalid",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTooSlow { .. } => "body_too_slow",
            Self::TooMany { .. } => "too_many",
            Self::NoSuchObject(_) => "no_such_object",
            Self::NoSuchThing(_) => "no_such_thing",
            Self::Exists(_) => "exists",
            Self::Deleting(_) => "deleting",
            Self::HasGuest(_) => "has_guest",
            Self::PreconditionFailed(_) => "precondition_failed",
            Self::BaseMoved { .. } => "base_moved",
            Self::InUse { .. } => "in_use",
            Self::BuiltIn(_) => "built_in",
            Self::NotFrozen(_) => "not_frozen",
            Self::ForeignOrigin(_) => "foreign_origin",
            Self::Gone { .. } => "gone",
            Self::ClusterRefused(_) => "cluster_refused",
            Self::BadBackup(_) => "bad_backup",
            Self::StaleTerm(_) => "stale_term",
            Self::Unavailable(_) => "unavailable",
            Self::Overloaded(_) => "overloaded",
            Self::Timeout(_) => "timeout",
            Self::Internal(_) => "internal",
        }
    }

    /// The HTTP status: one for each code.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadQuery { .. } | Self::BadHeader { .. } | Self::BadBody(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::ForeignOrigin(_) => StatusCode::FORBIDDEN,
            Self::NoSuchRoute(_) | Self::NoSuchObject(_) | Self::NoSuchThing(_) => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Exists(_)
            | Self::Deleting(_)
            | Self::HasGuest(_)
            | Self::InUse { .. }
            | Self::BuiltIn(_)
            | Self::NotFrozen(_)
            | Self::ClusterRefused(_)
            | Self::StaleTerm(_) => StatusCode::CONFLICT,
            Self::Gone { .. } => StatusCode::GONE,
            Self::PreconditionFailed(_) | Self::BaseMoved { .. } => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge { .. } | Self::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Invalid(_) | Self::BadBackup(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// A few words for the kind of problem.
    pub fn title(&self) -> &'static str {
        match self {
            Self::NoSuchRoute(_) => "No such route",
            Self::MethodNotAllowed { .. } => "Method not allowed",
            Self::NotAcceptable { .. } => "No such media type",
            Self::UnsupportedMediaType { .. } => "Body of another media type",
            Self::BadQuery { .. } => "Wrong query parameter",
            Self::BadHeader { .. } => "Wrong header",
            Self::BadBody(_) => "Body cannot be read",
            Self::Invalid(_) => "Not valid",
            Self::BodyTooLarge { .. } => "Body too large",
            Self::BodyTooSlow { .. } => "Body too slow",
            Self::TooMany { .. } => "Too much in one request",
            Self::NoSuchObject(_) => "No such object",
            Self::NoSuchThing(_) => "No such thing",
            Self::Exists(_) => "Exists already",
            Self::Deleting(_) => "Being deleted",
            Self::HasGuest(_) => "Hosts what must never run twice",
            Self::PreconditionFailed(_) => "Precondition does not hold",
            Self::BaseMoved { .. } => "Cfg has moved",
            Self::InUse { .. } => "In use",
            Self::BuiltIn(_) => "Part of the release",
            Self::NotFrozen(_) => "Not frozen",
            Self::ForeignOrigin(_) => "Foreign origin",
            Self::Gone { .. } => "No longer held",
            Self::ClusterRefused(_) => "Change of the quorum refused",
            Self::BadBackup(_) => "No whole backup",
            Self::StaleTerm(_) => "Older term",
            Self::Unavailable(_) => "Quorum not available",
            Self::Overloaded(_) => "Overloaded",
            Self::Timeout(_) => "No answer in time",
            Self::Internal(_) => "Defect of the server",
        }
    }

    /// Whether it is of the moment, so that a client is told when to try again.
    pub(crate) fn may_be_repeated(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Overloaded(_))
    }

    /// The body of the answer.
    pub fn body_json(&self) -> Value {
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("urn:kraken:error:{}", self.code()).into());
        body.insert("title".to_owned(), self.title().into());
        body.insert("status".to_owned(), self.status().as_u16().into());
        body.insert("code".to_owned(), self.code().into());
        body.insert("detail".to_owned(), self.to_string().into());
        if let Self::BadBody(faults) | Self::Invalid(faults) = self {
            let told = faults.iter().take(FAULTS_MAX).collect::<Vec<_>>();
            body.insert("faults".to_owned(), json!(told));
        }
        if let Self::InUse { faults, more, .. } = self {
            body.insert("faults".to_owned(), json!(faults));
            body.insert("more".to_owned(), (*more).into());
        }
        if let Self::Exists(objects) = self {
            body.insert("exists".to_owned(), json!(objects));
        }
        if let Self::Gone { oldest, .. } = self {
            body.insert("oldest".to_owned(), (*oldest).into());
        }
        Value::Object(body)
    }

    /// The whole answer.
    pub fn into_response(self) -> Response {
        let mut response = Response::new(self.body_json().to_string().into());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.may_be_repeated() {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

impl warp::reject::Reject for Problem {}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NoSuchObject(key) => Self::NoSuchObject(key.to_string()),
            Refusal::NoSuchUid(uid) => Self::NoSuchObject(format!("object with uid {uid}")),
            Refusal::Exists(keys) => Self::Exists(keys.iter().map(ToString::to_string).collect()),
            Refusal::Precondition { .. } => Self::PreconditionFailed(text),
            Refusal::Invalid { object, path, why } => {
                let object = Some(object.to_string());
                Self::Invalid(vec![Fault { object, ..Fault::at(path, why) }])
            }
            Refusal::Deleting(key) => Self::Deleting(key.to_string()),
            Refusal::HasGuest { .. } => Self::HasGuest(text),
            Refusal::OwnerCycle(_) | Refusal::Manifest(_) => Self::Invalid(vec![Fault::new(text)]),
            Refusal::Limit { what, limit } => Self::TooMany { what, limit },
            Refusal::NotFrozen(name) => Self::NotFrozen(name),
            Refusal::StaleTerm { .. } => Self::StaleTerm(text),
            Refusal::Founded => Self::ClusterRefused(text),
            Refusal::InUse { objects, more } => {
                let fault = |misfit: Misfit| {
                    let object = Some(misfit.object.to_string());
                    Fault { object, ..Fault::at(misfit.path, misfit.why) }
                };
                Self::InUse { text, faults: objects.into_iter().map(fault).collect(), more }
            }
            Refusal::BuiltIn(_) => Self::BuiltIn(text),
            Refusal::NoSuchModule(module) => Self::NoSuchThing(format!("module {module}")),
        }
    }
}

impl From<QuorumError> for Problem {
    fn from(error: QuorumError) -> Self {
        let text = error.to_string();
        match error {
            QuorumError::Unavailable(_) => Self::Unavailable(text),
            QuorumError::Timeout => Self::Timeout(text),
            QuorumError::Overloaded => Self::Overloaded(text),
            QuorumError::TooLarge { limit, .. } => Self::BodyTooLarge { limit },
            QuorumError::BadBackup(why) => Self::BadBackup(why),
            QuorumError::Refused(why) => Self::ClusterRefused(why),
            // Who asked for which revision says so itself.
            QuorumError::Gone { horizon } => Self::Gone { from: 0, oldest: horizon.get() },
        }
    }
}

impl From<Stopped> for Problem {
    fn from(stopped: Stopped) -> Self {
        Self::Unavailable(stopped.to_string())
    }
}

/// A problem as a client reads it. Members that it does not know are let be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// The stable code.
    pub code: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// A few words for the kind of problem.
    #[serde(default)]
    pub title: String,
    /// What happened and what to do.
    #[serde(default)]
    pub detail: String,
    /// What is wrong in the body, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}
