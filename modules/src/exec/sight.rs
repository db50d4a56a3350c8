//! What is seen of one exec: its state by the tables of [the module](super), and what is told with
//! it. Pure.

use kraken_engine::value::Value;

use super::{
    record::{Failure, Past},
    wish::Wish,
};
use crate::command::OUTPUT_BYTES_MAX;

/// All that may be told of an exec.
pub(super) const KEYS: [&str; 6] = ["state", "spec", "exitCode", "error", "output", "ranAtMs"];

/// What a check has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checked {
    /// Nothing is to be done.
    Passed,
    /// Something is to be done.
    Failed(Failure),
    /// Nothing: it did not come to an end of its own.
    Unclear(Failure),
}

/// The state of an exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It is done.
    Done,
    /// It is to be done.
    Pending,
    /// It was to be done, in vain.
    Failed(Failure),
}

impl State {
    /// The state that follows from what is asked, what its check says (`None`: it has none), and
    /// what was run.
    pub(super) fn of(wish: &Wish, checked: Option<&Checked>, past: &Past) -> Self {
        if let Err(error) = &wish.calls {
            return Self::Failed(Failure::told(error.to_string()));
        }
        match checked {
            Some(Checked::Passed) => Self::Done,
            Some(Checked::Unclear(failure)) => Self::Failed(failure.clone()),
            Some(Checked::Failed(_)) => failure_of(wish, past).map_or(Self::Pending, Self::Failed),
            None => match past {
                Past::Unreadable(why) => Self::Failed(Failure::told(why.clone())),
                Past::Ran(record) if record.has_done(&wish.digest) => Self::Done,
                Past::Ran(_) | Past::Never => {
                    failure_of(wish, past).map_or(Self::Pending, Self::Failed)
                }
            },
        }
    }

    /// What is told of an exec in this state; `None`: it is not known.
    pub(super) fn values(
        &self,
        wish: &Wish,
        past: &Past,
    ) -> [(&'static str, Option<Value>); KEYS.len()] {
        let (name, spec, failure) = match self {
            Self::Done => ("DONE", Some(wish.digest.as_str()), None),
            Self::Pending => ("PENDING", None, None),
            Self::Failed(failure) => ("FAILED", None, Some(failure)),
        };
        let record = past.record();
        let code = record.and_then(|record| record.end.as_ref()?.exit_code);
        let ran_at_ms = record.and_then(|record| i64::try_from(record.ran_at_ms).ok());
        let output = failure.map(|failure| &failure.output).filter(|output| !output.is_empty());
        [
            ("state", Some(name.into())),
            ("spec", spec.map(Value::from)),
            ("exitCode", code.map(|code| i64::from(code).into())),
            ("error", failure.map(|failure| failure.error.as_str().into())),
            ("output", output.map(|output| output.as_str().into())),
            ("ranAtMs", ran_at_ms.map(Value::from)),
        ]
    }
}

impl Failure {
    /// A failure of which there is no output.
    pub(super) fn told(error: String) -> Self {
        Self { error, output: String::new() }
    }

    /// A failure with the end of what was printed.
    pub(super) fn printed(error: String, output: &str) -> Self {
        Self { error, output: printable(output) }
    }

    /// The failure on one line, with the last one that was printed.
    pub(super) fn line(&self) -> String {
        match self.output.lines().next_back() {
            Some(last) => format!("{}; its last line: {last}", self.error),
            None => self.error.clone(),
        }
    }
}

/// How the last run for the spec that is asked for has failed, if it has.
fn failure_of(wish: &Wish, past: &Past) -> Option<Failure> {
    let record = past.record().filter(|record| record.spec == wish.digest)?;
    record.end.as_ref()?.failure.clone()
}

/// The end of a text, without what would move a terminal's cursor or colour it, and no longer than
/// is told.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    let text: String = text.chars().filter(|c| *c != '\r').map(shown).collect();
    let mut start = text.len().saturating_sub(OUTPUT_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use kraken_engine::{id::Name, state::State as Cfg};
    use proptest::prelude::*;

    use super::*;
    use crate::exec::{
        record::{End, RECORD_VERSION, Record},
        wish::Reader,
    };

    fn wish() -> Wish {
        let name = Name::new("tune").unwrap();
        let reader = Reader { node: &name, exec: &name, data: Path::new("/") };
        let wish = reader.read(&Cfg::new());
        Wish { digest: "now".to_owned(), limit: Duration::from_secs(1), ..wish }
    }

    fn failure(text: &str) -> Failure {
        Failure::printed(text.to_owned(), "printed")
    }

    /// A run that has ended, with this error or well.
    fn ran(spec: &str, error: Option<&str>) -> Past {
        let code = i32::from(error.is_some());
        let end = End { exit_code: Some(code), failure: error.map(failure) };
        past(spec, Some(end))
    }

    /// A run that was cut short.
    fn cut(spec: &str) -> Past {
        past(spec, None)
    }

    fn past(spec: &str, end: Option<End>) -> Past {
        let (version, nonce) = (RECORD_VERSION, String::new());
        Past::Ran(Record { version, nonce, spec: spec.to_owned(), ran_at_ms: 7, end })
    }

    #[test]
    fn the_state_follows_the_tables() {
        let passed = Some(Checked::Passed);
        let fails = Some(Checked::Failed(failure("check")));
        let unclear = Some(Checked::Unclear(failure("hangs")));
        let unreadable = Past::Unreadable("torn".to_owned());
        let (done, pending) = (State::Done, State::Pending);
        let failed = |text: &str| State::Failed(failure(text));
        let told = |text: &str| State::Failed(Failure::told(text.to_owned()));
        for (checked, past, expected) in [
            (&passed, Past::Never, &done),
            (&passed, ran("now", Some("bad")), &done),
            (&passed, unreadable.clone(), &done),
            (&fails, ran("now", Some("bad")), &failed("bad")),
            (&fails, Past::Never, &pending),
            (&fails, cut("now"), &pending),
            (&fails, ran("now", None), &pending),
            (&fails, ran("old", Some("bad")), &pending),
            (&fails, unreadable.clone(), &pending),
            (&unclear, ran("now", None), &failed("hangs")),
            (&None, Past::Never, &pending),
            (&None, ran("old", None), &pending),
            (&None, ran("old", Some("bad")), &pending),
            (&None, ran("now", None), &done),
            (&None, ran("now", Some("bad")), &failed("bad")),
            (&None, cut("now"), &pending),
            (&None, unreadable, &told("torn")),
        ] {
            assert_eq!(
                State::of(&wish(), checked.as_ref(), &past),
                *expected,
                "{checked:?} {past:?}"
            );
        }
    }

    #[test]
    fn each_state_tells_what_belongs_to_it() {
        let values = |state: State, past: &Past| -> Vec<String> {
            let values = state.values(&wish(), past).into_iter();
            values.filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect()
        };
        let bad = ran("now", Some("bad"));
        assert_eq!(values(State::Pending, &Past::Never), ["state=PENDING"]);
        assert_eq!(values(State::Pending, &cut("now")), ["state=PENDING", "ranAtMs=7"]);
        assert_eq!(
            values(State::Done, &ran("now", None)),
            ["state=DONE", "spec=now", "exitCode=0", "ranAtMs=7"]
        );
        assert_eq!(
            values(State::of(&wish(), None, &bad), &bad),
            ["state=FAILED", "exitCode=1", "error=bad", "output=printed", "ranAtMs=7"]
        );
    }

    #[test]
    fn output_is_made_printable_and_cut_at_its_beginning() {
        for (text, expected) in
            [("a\r\nb\tc", "a\nb\tc"), ("\u{1b}[31mred", "\u{fffd}[31mred"), ("", "")]
        {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable(&"x".repeat(OUTPUT_BYTES_MAX)).len(), OUTPUT_BYTES_MAX);
        let long = printable(&format!("{}end", "ä".repeat(OUTPUT_BYTES_MAX)));
        assert!(long.len() <= OUTPUT_BYTES_MAX && long.ends_with("äend"));
        assert_eq!(failure("bad").line(), "bad; its last line: printed");
        assert_eq!(Failure::told("bad".to_owned()).line(), "bad");
    }

    proptest! {
        #[test]
        fn any_output_is_bounded_and_printable(text in "(?s).{0,3000}") {
            let shown = printable(&text);
            prop_assert!(shown.len() <= OUTPUT_BYTES_MAX);
            prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
