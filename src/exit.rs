//! How the program ends: one code a sort of ending, and a failure that says what happened and what
//! to do about it. The chain of causes is put into words here and nowhere else.

use std::{fmt, process::ExitCode};

/// The sorts of ending that scripts can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It could not be done.
    Failed = 1,
    /// It was asked for in the wrong way.
    Usage = 2,
    /// It was not done in time; it may still be.
    TimedOut = 3,
    /// It may not be done as things are: a precondition, a freeze, a limit of the quorum.
    Refused = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// `None` where nobody reads what would be said.
    error: Option<anyhow::Error>,
    hint: Option<String>,
}

impl Failure {
    /// A failure of its sort in words.
    pub(crate) fn new(exit: Exit, words: impl fmt::Display) -> Self {
        Self { exit, error: Some(anyhow::anyhow!("{words}")), hint: None }
    }

    /// Something that could not be done.
    pub(crate) fn failed(words: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, words)
    }

    /// Something asked for in the wrong way.
    pub(crate) fn usage(words: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, words)
    }

    /// The reader of standard output has gone. That is how `| head` ends, and no failure.
    pub(crate) fn reader_gone() -> Self {
        Self { exit: Exit::Done, error: None, hint: None }
    }

    /// Says first where it happened.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.error = self.error.map(|error| error.context(place.to_string()));
        self
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, words: impl fmt::Display) -> Self {
        self.hint = Some(words.to_string());
        self
    }

    /// Says what else can be done about it.
    pub(crate) fn also_hint(mut self, words: impl fmt::Display) -> Self {
        self.hint = Some(match self.hint.take() {
            Some(hint) => format!("{hint}\n{words}"),
            None => words.to_string(),
        });
        self
    }

    /// Counts as another sort of ending.
    pub(crate) fn exiting(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The code to end with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What is said of it, if there is anything to say: the causes in one line, then the hint.
    pub(crate) fn words(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        let mut words = format!("{error:#}");
        if let Some(hint) = &self.hint {
            words.push_str("\n  ");
            words.push_str(&hint.replace('\n', "\n  "));
        }
        Some(words)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failed, error: Some(error), hint: None }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_and_hint_are_told() {
        let cause = std::io::Error::other("no such device");
        let error = Err::<(), _>(cause).context("cannot read the file").unwrap_err();
        let failure = Failure::from(error).hint("plug it in").exiting(Exit::Refused);
        let expected = "cannot read the file: no such device\n  plug it in";
        assert_eq!(failure.words().as_deref(), Some(expected));
        assert_eq!(failure.exit(), Exit::Refused);
        assert_eq!(Failure::reader_gone().words(), None);
    }
}
