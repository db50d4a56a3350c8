//! Identities and ordinals of the fleet: names, uids, revisions, terms, members.
//!
//! Each is a newtype with one fallible constructor, so that a value of the type is a valid one;
//! an identity that arrives from outside passes the same constructor when it is deserialized.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::intern::{intern, serde_as_text};

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// A text is not a valid identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not `[A-Za-z0-9]([A-Za-z0-9_.-]*)` of at most [`NAME_BYTES_MAX`] bytes.
    #[error(
        "{0:?} is not a name: start with a letter or digit, then letters, digits, `_`, `.` or `-`, \
         at most {NAME_BYTES_MAX} bytes"
    )]
    Name(String),
    /// Not 32 hexadecimal digits with four hyphens.
    #[error("{0:?} is not a uid: expected 8-4-4-4-12 hexadecimal digits")]
    Uid(String),
}

/// A name of an object, a node, a module, a mutation or a writer. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks and takes a name.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
        let text = text.as_ref();
        let mut bytes = text.bytes();
        let head = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        let tail = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if head && tail && text.len() <= NAME_BYTES_MAX {
            Ok(Self(intern(text)))
        } else {
            Err(InvalidId::Name(text.chars().take(NAME_BYTES_MAX).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

serde_as_text!(Name);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl FromStr for Name {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// One try of one mutation on one object; never given out twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(Name);

impl AttemptId {
    /// The `count`-th attempt of a decider since it started at `boot`. Unique because a node's boot
    /// is a moment and its count only grows.
    pub fn derive(decider: &Name, boot: u64, count: u64) -> Self {
        let tail = format!("-{boot:x}-{count}");
        let room = NAME_BYTES_MAX.saturating_sub(tail.len()).min(decider.as_str().len());
        Self(Name(format!("{}{tail}", &decider.as_str()[..room]).into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of one object for all time; never used again once the object is removed.
///
/// 16 bytes on disk and wire, a UUID (version 8) in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u128);

impl Uid {
    /// The uid of the `ordinal`-th object created by the entry at `revision` of `cluster`.
    /// Pure, so that every replica gives the object the same one; unique because a revision is.
    pub fn derive(cluster: ClusterId, revision: Revision, ordinal: u32) -> Self {
        // RFC 9562 version 8: 48 bits of the cluster, the version, 12 high bits of the revision,
        // the variant, its 30 low bits, 32 bits of the ordinal.
        let high = u128::from(revision.0 >> 30 & 0xFFF);
        let low = u128::from(revision.0 & 0x3FFF_FFFF);
        let cluster = u128::from(cluster.0 & 0xFFFF_FFFF_FFFF);
        Self(cluster << 80 | 0x8 << 76 | high << 64 | 0x2 << 62 | low << 32 | u128::from(ordinal))
    }

    /// Whether the entry at this revision created the object.
    pub fn is_of(self, revision: Revision) -> bool {
        self.at() == Self::derive(ClusterId::default(), revision, 0).at()
    }

    /// The bits of the revision.
    fn at(self) -> (u128, u128) {
        (self.0 >> 64 & 0xFFF, self.0 >> 32 & 0x3FFF_FFFF)
    }

    /// The 16 bytes, big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// A uid from its 16 bytes, big-endian.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let (first, last) = (&hex[..8], &hex[20..]);
        write!(f, "{first}-{}-{}-{}-{last}", &hex[8..12], &hex[12..16], &hex[16..20])
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uid {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::Uid(text.chars().take(64).collect());
        let lengths = text.split('-').map(str::len);
        if !lengths.eq([8, 4, 4, 4, 12]) {
            return Err(invalid());
        }
        let hex: String = text.chars().filter(|c| *c != '-').collect();
        u128::from_str_radix(&hex, 16).map(Self).map_err(|_| invalid())
    }
}

impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            let bytes = serde_bytes::ByteArray::<16>::deserialize(deserializer)?;
            Ok(Self::from_bytes(*bytes))
        }
    }
}

macro_rules! ordinal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number; every number is valid.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number itself.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ordinal!(
    /// The log index at which a Cfg write was applied. 0 is before the first write.
    Revision
);
ordinal!(
    /// A term of the Raft group; a fence for everything a leader sends.
    Term
);
ordinal!(
    /// A voting identity in the Raft group, taken from the index of a committed entry, so that it
    /// is never given out twice.
    MemberId
);
ordinal!(
    /// What tells one cluster from another; chosen at random when it is founded.
    ClusterId
);
ordinal!(
    /// A number that grows with each session a child opens; orders what is said about its link.
    SessionEpoch
);

ordinal!(
    /// An unbroken history of one quorum: revisions of different epochs are not of one line. A
    /// quorum that is begun from a backup, or from what one member was left with, starts the next.
    Epoch
);

impl Epoch {
    /// That of a quorum as it is founded.
    pub const FIRST: Self = Self(1);

    /// Whether it is the first, which is not written: what was stored before there were epochs is
    /// of it.
    pub fn is_first(&self) -> bool {
        *self == Self::FIRST
    }

    /// [`Self::FIRST`], for what says nothing of epochs.
    pub fn first() -> Self {
        Self::FIRST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_the_edge() {
        for good in ["n1", "rack-1.node_2", "9"] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a b", "a/b", "ü"] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        assert!(Name::new("a".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(Name::new("a".repeat(NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn derived_uids_differ_and_survive_text_and_wire() {
        let cluster = ClusterId::new(u64::MAX);
        let mut seen = std::collections::BTreeSet::new();
        for revision in [0, 1, 1 << 29, 1 << 30, 1 << 31, 1 << 41] {
            for ordinal in [0, 1, u32::MAX] {
                let uid = Uid::derive(cluster, Revision::new(revision), ordinal);
                assert!(seen.insert(uid), "{uid}");
                assert!(uid.is_of(Revision::new(revision)), "{uid}");
                assert!(!uid.is_of(Revision::new(revision + 1)), "{uid}");
                assert_eq!(uid.to_string().parse::<Uid>().unwrap(), uid);
                let bytes = rmp_serde::to_vec(&uid).unwrap();
                assert_eq!(rmp_serde::from_slice::<Uid>(&bytes).unwrap(), uid);
            }
        }
        assert!("not-a-uid".parse::<Uid>().is_err());
    }
}
