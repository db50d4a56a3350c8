//! What a member remembers of the fleet over its restarts: the file in which it keeps what was seen
//! last, so that it starts from "last known, stale" and not from nothing.
//!
//! The file is a head and records after it, each of them some objects with all that is held of
//! each; a later record of an object takes the place of an earlier one. What the power takes of the
//! end is missed by nobody but a reader of old news, so that nothing waits for the disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    catalog::is_engine_path,
    dsc::{Dsc, Observed, Sighting},
    fleet::LINK_PATH,
    id::Uid,
    path::Path,
};

/// Before everything else.
const MAGIC: &[u8; 8] = b"KRAKNDSC";
/// How what follows is written.
const FORMAT: u32 = 1;
/// Bytes before each record: how long it is, and its checksum.
const RECORD_HEAD_BYTES: usize = 12;
/// Most objects in one record.
pub const RECORD_OBJECTS_MAX: usize = 256;

/// All that is remembered, by object.
pub type Remembered = BTreeMap<Uid, Vec<Sighting>>;

/// A file is no journal that this release reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It is something else.
    #[error("it is no journal of what was seen")]
    Strange,
    /// It was written by another release.
    #[error("format {0} is not read by this release, which reads {FORMAT}")]
    Format(u32),
}

/// How a file begins.
pub fn head() -> Vec<u8> {
    [&MAGIC[..], &FORMAT.to_le_bytes()].concat()
}

/// Whether what is seen at a path is remembered. Links and the words of deciders are not: who is
/// attached and who decides say them anew.
pub(crate) fn is_memorable(path: &Path) -> bool {
    path.as_str() != LINK_PATH && !is_engine_path(path)
}

/// Appends records of these objects, which hold that now, as far as it is to be remembered.
pub fn write<'a>(out: &mut Vec<u8>, objects: impl IntoIterator<Item = (Uid, &'a Dsc)>) {
    #[derive(Serialize)]
    struct Entry<'a>(Uid, Vec<Seen<'a>>);
    #[derive(Serialize)]
    struct Seen<'a>(&'a Path, &'a Observed);
    let mut put = |entries: &mut Vec<Entry<'_>>| {
        // Plain data always encodes.
        let body = rmp_serde::to_vec(entries).unwrap_or_default();
        entries.clear();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&xxh3_64(&body).to_le_bytes());
        out.extend_from_slice(&body);
    };
    let mut entries = Vec::new();
    for (uid, dsc) in objects {
        let kept = dsc.iter().filter(|(path, _)| is_memorable(path));
        entries.push(Entry(uid, kept.map(|(path, seen)| Seen(path, seen)).collect()));
        if entries.len() == RECORD_OBJECTS_MAX {
            put(&mut entries);
        }
    }
    if !entries.is_empty() {
        put(&mut entries);
    }
}

/// What a file holds, up to its end or the first record that is not whole, and how many bytes there
/// are from there on.
pub fn read(bytes: &[u8]) -> Result<(Remembered, usize), JournalError> {
    #[derive(Deserialize)]
    struct Entry(Uid, Vec<Sighting>);
    let rest = bytes.strip_prefix(MAGIC).ok_or(JournalError::Strange)?;
    let (format, mut rest) = rest.split_first_chunk::<4>().ok_or(JournalError::Strange)?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(JournalError::Format(format));
    }
    let mut remembered = Remembered::new();
    while let Some((head, after)) = rest.split_at_checked(RECORD_HEAD_BYTES) {
        let Some((length, sum)) = head.split_first_chunk::<4>() else { break };
        let Ok(length) = usize::try_from(u32::from_le_bytes(*length)) else { break };
        let Some((body, after)) = after.split_at_checked(length) else { break };
        if sum != xxh3_64(body).to_le_bytes() {
            break;
        }
        let Ok(entries) = rmp_serde::from_slice::<Vec<Entry>>(body) else { break };
        remembered.extend(entries.into_iter().map(|Entry(uid, sightings)| (uid, sightings)));
        rest = after;
    }
    Ok((remembered, rest.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        dsc::Stamp,
        id::{ClusterId, Name, Revision},
        time::Millis,
    };

    fn uid(number: u64) -> Uid {
        Uid::derive(ClusterId::new(1), Revision::new(number), 0)
    }

    fn dsc(value: i64) -> Dsc {
        let mut dsc = Dsc::new();
        for path in ["/a", "/b/c"] {
            let stamp = Stamp { ms: 7, counter: 1, writer: Name::new("n1").unwrap() };
            let observed = Observed { value: Some(value.into()), stamp, seen_at: Millis::ZERO };
            dsc.merge(Path::new(path).unwrap(), observed);
        }
        dsc
    }

    fn sightings(dsc: &Dsc) -> Vec<Sighting> {
        dsc.iter().map(|(path, observed)| (path.clone(), observed.clone())).collect()
    }

    /// A file of so many writes of ten objects, and what each write leaves.
    fn file(writes: i64) -> (Vec<u8>, Vec<(usize, Remembered)>) {
        let mut bytes = head();
        let mut remembered = Remembered::new();
        let mut after = vec![(bytes.len(), remembered.clone())];
        for value in 0..writes {
            let dsc = dsc(value);
            let first = u64::try_from(value).unwrap() * 3;
            write(&mut bytes, (first..first + 10).map(|number| (uid(number), &dsc)));
            remembered.extend((first..first + 10).map(|number| (uid(number), sightings(&dsc))));
            after.push((bytes.len(), remembered.clone()));
        }
        (bytes, after)
    }

    #[test]
    fn the_last_of_each_object_is_remembered() {
        let (bytes, after) = file(5);
        assert_eq!(read(&bytes), Ok((after[5].1.clone(), 0)));
        let many = dsc(1);
        let mut bytes = head();
        let count = RECORD_OBJECTS_MAX as u64 * 2 + 1;
        write(&mut bytes, (0..count).map(|number| (uid(number), &many)));
        assert_eq!(read(&bytes).unwrap().0.len() as u64, count);
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        assert_eq!(read(b""), Err(JournalError::Strange));
        assert_eq!(read(b"KRAKNCFG1234"), Err(JournalError::Strange));
        let mut newer = head();
        newer[8] = 9;
        assert_eq!(read(&newer), Err(JournalError::Format(9)));
    }

    proptest! {
        #[test]
        fn wherever_it_is_torn_all_before_that_is_remembered(
            writes in 1..6_i64,
            at: prop::sample::Index,
            flips: bool,
        ) {
            let (mut bytes, after) = file(writes);
            let begins = head().len();
            let at = begins + at.index(bytes.len() - begins);
            if flips { bytes[at] ^= 0x10 } else { bytes.truncate(at) }
            let (_, whole) = after.iter().rev().find(|(end, _)| *end <= at).unwrap();
            let (remembered, _) = read(&bytes).unwrap();
            prop_assert_eq!(&remembered, whole);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, headed: bool) {
            let bytes = if headed { [head(), bytes].concat() } else { bytes };
            drop(read(&bytes));
        }
    }
}
