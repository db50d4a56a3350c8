//! One request to a module, held to its deadline whatever the module does.

use std::{future::Future, time::Duration};

use actix::{MailboxError, Recipient};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::messages::{AttemptError, Fault};
use crate::module::{Mutate, MutateError, Poll};

/// The longest time that an attempt may be given.
pub const TIMEOUT_MAX: Duration = Duration::from_hours(24);
/// How long a module may take to answer once its cancel token has fired at the deadline.
pub const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// How long a look may take.
pub const POLL_TIMEOUT: Duration = Duration::from_secs(30);

/// How a module behaved when it was asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// It answered.
    Answered,
    /// It did not answer in time.
    Hung,
    /// It ended, or dropped the request as a panic does.
    Lost,
}

/// How a request learns that its module ends.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// The module is about to be ended; parent of the cancel tokens of its attempts.
    pub ending: CancellationToken,
    /// The module is gone.
    pub lost: CancellationToken,
}

/// The moment at which an attempt of this length is over.
pub fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(TIMEOUT_MAX)
}

/// Has a module carry out a mutation. Ends at the latest [`CANCEL_GRACE`] after the deadline.
pub async fn carry_out(
    module: Recipient<Mutate>,
    mutate: Mutate,
    ends: Ends,
) -> (Result<(), AttemptError>, Conduct) {
    let (deadline, cancel) = (mutate.deadline, mutate.cancel.clone());
    // Not `.timeout()`, which does not run while the request waits outside of a full mailbox.
    let answer = module.send(mutate);
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => translate(answer, &ends),
        () = ends.lost.cancelled() => module_lost(),
        () = sleep_until(deadline) => {
            cancel.cancel();
            after_deadline(answer, ends.lost).await
        }
    }
}

/// Has a module look. Ends at the latest after [`POLL_TIMEOUT`].
pub async fn look(module: Recipient<Poll>, poll: Poll, lost: CancellationToken) -> Conduct {
    tokio::select! {
        biased;
        answer = timeout(POLL_TIMEOUT, module.send(poll)) => match answer {
            Ok(Ok(())) => Conduct::Answered,
            Ok(Err(_)) => Conduct::Lost,
            Err(_) => Conduct::Hung,
        },
        () = lost.cancelled() => Conduct::Lost,
    }
}

type Answer = Result<Result<(), MutateError>, MailboxError>;

async fn after_deadline(
    answer: impl Future<Output = Answer>,
    lost: CancellationToken,
) -> (Result<(), AttemptError>, Conduct) {
    let late = |text: String, conduct| (Err(error(Fault::Deadline, text, false)), conduct);
    tokio::select! {
        biased;
        answer = timeout(CANCEL_GRACE, answer) => match answer {
            Ok(Ok(Ok(()))) => (Ok(()), Conduct::Answered),
            Ok(Ok(Err(MutateError::Cancelled))) => {
                late("not done by the deadline".to_owned(), Conduct::Answered)
            }
            Ok(Ok(Err(MutateError::Transient(text) | MutateError::Permanent(text)))) => {
                late(format!("not done by the deadline: {text}"), Conduct::Answered)
            }
            Ok(Err(_)) => module_lost(),
            Err(_) => late("the module did not answer by the deadline".to_owned(), Conduct::Hung),
        },
        () = lost.cancelled() => module_lost(),
    }
}

fn translate(answer: Answer, ends: &Ends) -> (Result<(), AttemptError>, Conduct) {
    let failed =
        |fault, text: String, permanent| (Err(error(fault, text, permanent)), Conduct::Answered);
    match answer {
        Ok(Ok(())) => (Ok(()), Conduct::Answered),
        Ok(Err(MutateError::Transient(text))) => failed(Fault::Failed, text, false),
        Ok(Err(MutateError::Permanent(text))) => failed(Fault::Failed, text, true),
        Ok(Err(MutateError::Cancelled)) if ends.ending.is_cancelled() => {
            (module_lost().0, Conduct::Answered)
        }
        Ok(Err(MutateError::Cancelled)) => failed(Fault::Cancelled, "cancelled".to_owned(), false),
        Err(_) => module_lost(),
    }
}

fn module_lost() -> (Result<(), AttemptError>, Conduct) {
    let text = "the module ended while it carried this out".to_owned();
    (Err(error(Fault::ModuleLost, text, false)), Conduct::Lost)
}

fn error(fault: Fault, text: String, permanent: bool) -> AttemptError {
    AttemptError { fault, text, permanent }
}
