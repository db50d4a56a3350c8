//! What may go wrong between a client and its servers.

use std::{error::Error as StdError, fmt, time::Duration};

use super::url::Base;
use crate::problem::ProblemBody;

/// A request did not get the answer that it was sent for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The address of a server cannot be used.
    #[error("server {url:?}: {why}")]
    BadServer {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A server answered with a problem.
    #[error("{}", problem.detail)]
    Problem {
        /// The server.
        server: String,
        /// The problem.
        problem: Box<ProblemBody>,
    },
    /// No server answered, in as many rounds as there was time for.
    #[error("no server answered within {after:.1?}: {}", list(failures))]
    Exhausted {
        /// The last failure of each server.
        failures: Vec<Failure>,
        /// How long was tried.
        after: Duration,
    },
    /// An answer that is not understood.
    #[error("{server} gave an answer that is not understood: {why}")]
    BadAnswer {
        /// The server.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// A request that cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
}

/// Why one server did not answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The server.
    pub server: String,
    /// Of which sort it is.
    pub trouble: Trouble,
    /// The problem with which it passed the request on, if it said one.
    pub problem: Option<Box<ProblemBody>>,
    /// In words.
    pub why: String,
}

/// The sorts of reason for which a server did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No connection could be opened.
    Unreachable,
    /// The connection broke.
    Cut,
    /// No answer came in time.
    Slow,
    /// What answers there speaks no HTTP, or is a server of another sort.
    Foreign,
    /// A member answered that it cannot serve.
    Unable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.server, self.why)
    }
}

fn list(failures: &[Failure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// The problem that a server answered with: of several, the last.
    pub fn problem(&self) -> Option<&ProblemBody> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            Self::Exhausted { failures, .. } => {
                failures.iter().rev().find_map(|failure| failure.problem.as_deref())
            }
            Self::BadServer { .. } | Self::BadAnswer { .. } | Self::Unsendable(_) => None,
        }
    }

    /// The stable code of the problem, if there is one.
    pub fn code(&self) -> Option<&str> {
        Some(self.problem()?.code.as_ref())
    }

    /// Whether no server could be reached at all.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Exhausted { failures, .. } => {
                failures.iter().all(|failure| failure.trouble == Trouble::Unreachable)
            }
            Self::BadServer { .. }
            | Self::Problem { .. }
            | Self::BadAnswer { .. }
            | Self::Unsendable(_) => false,
        }
    }

    /// Whether trying again later may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Exhausted { .. })
    }
}

/// What became of one try with one server.
#[derive(Debug)]
pub(super) enum Broken {
    /// No connection.
    Unreachable(String),
    /// The connection broke; whether the request was carried out is not known.
    Cut(String),
    /// No answer in time.
    Slow { after: Duration },
    /// What answers is no member.
    Foreign(String),
    /// The server answered with a problem.
    Problem(Box<ProblemBody>),
    /// The request is no request.
    Unsendable(String),
}

/// Codes with which a server passes a request on: another one, or a later moment, may serve it.
const PASSED_ON: [&str; 3] = ["unavailable", "overloaded", "timeout"];

impl Broken {
    pub(super) fn unreachable(error: &(dyn StdError + 'static)) -> Self {
        Self::Unreachable(root(error))
    }

    pub(super) fn cut(error: &(dyn StdError + 'static)) -> Self {
        if is_no_http(error) {
            return Self::Foreign("it speaks no HTTP".to_owned());
        }
        Self::Cut(root(error))
    }

    /// Whether no other server would answer otherwise.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Problem(problem) => !PASSED_ON.contains(&problem.code.as_ref()),
            Self::Unsendable(_) => true,
            Self::Unreachable(_) | Self::Cut(_) | Self::Slow { .. } | Self::Foreign(_) => false,
        }
    }

    pub(super) fn into_failure(self, base: &Base) -> Failure {
        let (trouble, problem, why) = match self {
            Self::Unreachable(why) => {
                (Trouble::Unreachable, None, format!("cannot be reached ({why})"))
            }
            Self::Cut(why) => (Trouble::Cut, None, format!("the connection broke ({why})")),
            Self::Slow { after } => (Trouble::Slow, None, format!("no answer within {after:.1?}")),
            Self::Foreign(why) => (Trouble::Foreign, None, format!("no Kraken server: {why}")),
            Self::Unsendable(why) => (Trouble::Unable, None, why),
            Self::Problem(problem) => {
                let why = problem.detail.clone();
                (Trouble::Unable, Some(problem), why)
            }
        };
        Failure { server: base.as_str().to_owned(), trouble, problem, why }
    }

    pub(super) fn into_error(self, base: &Base) -> Error {
        match self {
            Self::Problem(problem) => Error::Problem { server: base.as_str().to_owned(), problem },
            Self::Unsendable(why) => Error::Unsendable(why),
            Self::Unreachable(_) | Self::Cut(_) | Self::Slow { .. } | Self::Foreign(_) => {
                Error::Exhausted { failures: vec![self.into_failure(base)], after: Duration::ZERO }
            }
        }
    }
}

/// The first cause of an error: the layers above it only say that a request failed.
fn root(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Whether what came back is no answer of HTTP.
fn is_no_http(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    false
}
