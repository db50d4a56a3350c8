//! Paths name the values of a state; patterns name many paths at once.
//!
//! A path is `/a/b/c`, one canonical form. A pattern may hold `*` segments; matching a path against
//! it yields the segments that the stars stood for, its bindings.

use std::{borrow::Borrow, cmp::Ordering, fmt, str::FromStr, sync::Arc};

use crate::intern::{intern, serde_as_text};

/// Longest path in bytes.
pub const PATH_BYTES_MAX: usize = 512;
/// Most segments of a path.
pub const PATH_SEGMENTS_MAX: usize = 16;

/// A text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a path: {why}")]
pub struct InvalidPath {
    text: String,
    why: &'static str,
}

/// `/a/b/c`: segments of `[A-Za-z0-9_.:-]+`. Cheap to clone, ordered by its text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path(Arc<str>);

/// A path in which a segment may be `*`, standing for any one segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// What the stars of a pattern stood for, first star first.
pub type Bindings = Vec<Arc<str>>;

fn check(text: &str, is_segment: impl Fn(&str) -> bool) -> Result<(), InvalidPath> {
    let invalid = |why| Err(InvalidPath { text: text.chars().take(PATH_BYTES_MAX).collect(), why });
    if text.len() > PATH_BYTES_MAX {
        return invalid("longer than 512 bytes");
    }
    let Some(rest) = text.strip_prefix('/') else {
        return invalid("it must start with `/`");
    };
    if !rest.split('/').all(is_segment) {
        return invalid("segments are made of letters, digits, `_`, `.`, `:` and `-`");
    }
    if rest.split('/').count() > PATH_SEGMENTS_MAX {
        return invalid("more than 16 segments");
    }
    Ok(())
}

fn is_plain(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'))
}

impl Path {
    /// Checks and takes a path.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidPath> {
        check(text.as_ref(), is_plain)?;
        Ok(Self(intern(text.as_ref())))
    }

    /// A path that stands in this program and is one.
    pub(crate) fn constant(text: &str) -> Self {
        debug_assert!(check(text, is_plain).is_ok(), "{text} is no path");
        Self(intern(text))
    }

    /// Takes a path as people type it, with or without the leading `/`.
    pub fn from_typed(text: &str) -> Result<Self, InvalidPath> {
        if text.starts_with('/') { Self::new(text) } else { Self::new(format!("/{text}")) }
    }

    /// The path as text, leading `/` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, first to last.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0[1..].split('/')
    }

    /// The path one segment longer.
    pub fn join(&self, segment: &str) -> Result<Self, InvalidPath> {
        Self::new(format!("{}/{segment}", self.0))
    }

    /// The path without its last segment; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let cut = self.0.rfind('/').filter(|cut| *cut > 0)?;
        Some(Self(intern(&self.0[..cut])))
    }

    /// Whether this is `ancestor` or lies below it.
    pub fn is_under(&self, ancestor: &Path) -> bool {
        self.0
            .strip_prefix(ancestor.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Pattern {
    /// Checks and takes a pattern.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidPath> {
        check(text.as_ref(), |segment| segment == "*" || is_plain(segment))?;
        Ok(Self(intern(text.as_ref())))
    }

    /// The pattern as text, leading `/` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many stars it holds.
    pub fn stars(&self) -> usize {
        self.0[1..].split('/').filter(|segment| *segment == "*").count()
    }

    /// What the stars stand for in `path`; `None` where it does not match.
    pub fn matches(&self, path: &Path) -> Option<Bindings> {
        let mut bindings = Vec::new();
        let mut segments = path.segments();
        for expected in self.0[1..].split('/') {
            let segment = segments.next()?;
            if expected == "*" {
                bindings.push(segment.into());
            } else if expected != segment {
                return None;
            }
        }
        segments.next().is_none().then_some(bindings)
    }

    /// The path with each star replaced by the binding at its place; `None` where there are too
    /// few bindings.
    pub fn bind(&self, bindings: &[Arc<str>]) -> Option<Path> {
        let mut next = bindings.iter();
        let mut text = String::with_capacity(self.0.len() + 16);
        for segment in self.0[1..].split('/') {
            text.push('/');
            text.push_str(if segment == "*" { next.next()? } else { segment });
        }
        Path::new(text).ok()
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        // Most paths that are compared are the same one, held once.
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<str> for Path {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Path> for Pattern {
    fn from(path: Path) -> Self {
        Self(path.0)
    }
}

macro_rules! text_form {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidPath;
            fn from_str(text: &str) -> Result<Self, InvalidPath> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidPath;
            fn try_from(text: String) -> Result<Self, InvalidPath> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(path: $name) -> Self {
                path.0.as_ref().to_owned()
            }
        }
    };
}

text_form!(Path);
text_form!(Pattern);
serde_as_text!(Path);
serde_as_text!(Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_a_path() {
        for good in ["/a", "/services/web/state", "/a.b:c-d_e"] {
            assert!(Path::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a", "/a/", "//a", "/a b", "/a/*", "/ä"] {
            assert!(Path::new(bad).is_err(), "{bad}");
        }
        assert!(Path::new(format!("/{}", "a".repeat(PATH_BYTES_MAX - 1))).is_ok());
        assert!(Path::new(format!("/{}", "a".repeat(PATH_BYTES_MAX))).is_err());
    }

    #[test]
    fn a_pattern_binds_what_it_matched() {
        let pattern = Pattern::new("/services/*/state").unwrap();
        let path = Path::new("/services/web/state").unwrap();
        let bindings = pattern.matches(&path).unwrap();
        assert_eq!(bindings, [Arc::from("web")]);
        assert_eq!(pattern.bind(&bindings), Some(path));
        assert_eq!(pattern.bind(&[]), None);
        assert!(pattern.matches(&Path::new("/services/web").unwrap()).is_none());
        assert!(pattern.matches(&Path::new("/services/web/state/x").unwrap()).is_none());
    }

    #[test]
    fn under_means_whole_segments() {
        let top = Path::new("/a/b").unwrap();
        assert!(Path::new("/a/b/c").unwrap().is_under(&top));
        assert!(!Path::new("/a/bc").unwrap().is_under(&top));
        assert_eq!(top.parent().unwrap().as_str(), "/a");
        assert_eq!(top.parent().unwrap().parent(), None);
    }
}
