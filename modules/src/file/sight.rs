//! What a file is, given what was found, what Cfg asks for and what was written last: a pure
//! function.

use super::{disk::Found, wanted::Wanted};

/// The state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Present,
    Absent,
    Drifted,
}

/// What is seen of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// The state.
    pub(super) state: State,
    /// The digest of the Cfg that it is as, while PRESENT.
    pub(super) spec: Option<String>,
    /// How it differs, while DRIFTED.
    pub(super) drift: Option<String>,
    /// Where it is.
    pub(super) at: String,
}

impl State {
    /// The value of the state path.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::Absent => "ABSENT",
            Self::Drifted => "DRIFTED",
        }
    }
}

impl Sight {
    /// A file that is not as anybody wrote it here.
    pub(super) fn drifted(at: String, drift: String) -> Self {
        Self { state: State::Drifted, spec: None, drift: Some(drift), at }
    }

    /// What a file is. `written` is what was written last, at this place.
    ///
    /// | found | as wanted | as written | nothing written | |
    /// |---|---|---|---|---|
    /// | nothing | | | ABSENT | else DRIFTED |
    /// | a file | PRESENT | PRESENT, of the old spec | DRIFTED | else DRIFTED |
    /// | something else | | | DRIFTED | DRIFTED |
    pub(super) fn of(found: &Found, wanted: &Wanted, written: Option<&Wanted>) -> Self {
        let at = wanted.at.display().to_string();
        let present = |spec: &str| Self {
            state: State::Present,
            spec: Some(spec.to_owned()),
            drift: None,
            at: at.clone(),
        };
        let Some(difference) = difference(found, wanted) else { return present(&wanted.spec) };
        match written {
            Some(written) if self::difference(found, written).is_none() => present(&written.spec),
            None if *found == Found::Nothing => {
                Self { state: State::Absent, spec: None, drift: None, at }
            }
            Some(_) | None => Self::drifted(at, difference),
        }
    }
}

/// How what was found differs from what it should be; `None` where it does not.
pub(super) fn difference(found: &Found, wanted: &Wanted) -> Option<String> {
    let file = match found {
        Found::Nothing => return Some("it was removed".to_owned()),
        Found::Other(what) => return Some(format!("it is {what}")),
        Found::File(file) => file,
    };
    let mut differences = Vec::new();
    if file.bytes != wanted.content.as_bytes() {
        let (has, should) = (file.length, wanted.content.len());
        differences.push(format!("its content differs ({has} bytes, not the {should} asked for)"));
    }
    if file.mode != wanted.mode {
        differences.push(format!("its mode is {:04o}, not {:04o}", file.mode, wanted.mode));
    }
    if let Some(uid) = wanted.uid.filter(|uid| *uid != file.uid) {
        differences.push(format!("its owner is user {}, not {uid}", file.uid));
    }
    if let Some(gid) = wanted.gid.filter(|gid| *gid != file.gid) {
        differences.push(format!("its group is {}, not {gid}", file.gid));
    }
    (!differences.is_empty()).then(|| differences.join("; "))
}

#[cfg(test)]
mod tests {
    use super::{super::disk::Contents, *};

    fn wanted(content: &str, spec: &str) -> Wanted {
        Wanted {
            at: "/x".into(),
            content: content.to_owned(),
            mode: 0o644,
            uid: None,
            gid: Some(0),
            spec: spec.to_owned(),
        }
    }

    fn file(content: &str) -> Found {
        let bytes = content.as_bytes().to_vec();
        let length = bytes.len() as u64;
        Found::File(Contents { bytes, length, mode: 0o644, uid: 7, gid: 0 })
    }

    #[test]
    fn each_row_of_the_table_holds() {
        let (new, old) = (wanted("new", "2"), wanted("old", "1"));
        let link = Found::Other("a symbolic link".to_owned());
        for (found, written, state, spec) in [
            (Found::Nothing, None, State::Absent, None),
            (Found::Nothing, Some(&old), State::Drifted, None),
            (file("new"), None, State::Present, Some("2")),
            (file("new"), Some(&old), State::Present, Some("2")),
            (file("old"), Some(&old), State::Present, Some("1")),
            (file("old"), None, State::Drifted, None),
            (file("odd"), Some(&old), State::Drifted, None),
            (link.clone(), None, State::Drifted, None),
            (link, Some(&old), State::Drifted, None),
        ] {
            let sight = Sight::of(&found, &new, written);
            assert_eq!(sight.state, state, "{found:?} {written:?}");
            assert_eq!(sight.spec.as_deref(), spec, "{found:?} {written:?}");
            assert_eq!(sight.drift.is_some(), state == State::Drifted, "{found:?} {written:?}");
        }
    }

    #[test]
    fn drift_is_told_in_words() {
        let mut wanted = wanted("new", "2");
        (wanted.mode, wanted.uid, wanted.gid) = (0o600, Some(0), Some(1));
        let words = difference(&file("odd one"), &wanted).unwrap();
        let expected = "its content differs (7 bytes, not the 3 asked for); its mode is 0644, not \
                        0600; its owner is user 7, not 0; its group is 0, not 1";
        assert_eq!(words, expected);
        assert_eq!(difference(&Found::Nothing, &wanted).unwrap(), "it was removed");
    }
}
