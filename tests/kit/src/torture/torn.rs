//! A torn write: what stands in a log when a machine lost power while it wrote a record.
//!
//! Only what nobody was answered for may be torn, so that the part of a record goes behind the end
//! of the log and touches no byte of it. The end is found by the length that each record begins
//! with; the log of a member is described where that is written.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::chance::Chance;

/// Bytes of a segment before its first record.
const SEGMENT_HEAD: usize = 64;
/// Bytes of a record before its payload: its length, its checksum, its kind.
const RECORD_HEAD: usize = 9;
/// Most bytes of the torn record that reach the disk.
const TORN_MAX: u64 = 600;

/// Writes part of a record behind the end of the log of a member that does not run.
pub(super) fn tear(data: &Path, chance: &mut Chance) -> Result<()> {
    // A member that never came to its cluster has no log.
    let Some(segment) = last_segment(&data.join("raft").join("raft"))? else { return Ok(()) };
    let bytes = fs::read(&segment)?;
    let end = end(&bytes);
    let torn = torn(chance);
    if end + torn.len() > bytes.len() {
        return Ok(());
    }
    let file: File = OpenOptions::new().write(true).open(&segment)?;
    file.write_all_at(&torn, end as u64).with_context(|| segment.display().to_string())
}

fn last_segment(folder: &Path) -> Result<Option<PathBuf>> {
    let Ok(found) = fs::read_dir(folder) else { return Ok(None) };
    let files = found.map(|item| Ok(item?.path())).collect::<Result<Vec<PathBuf>>>()?;
    Ok(files.into_iter().filter(|path| path.extension().is_some_and(|is| is == "log")).max())
}

/// Where the first record would begin that is not there: a record has a kind, and zeros have none.
fn end(segment: &[u8]) -> usize {
    let mut at = SEGMENT_HEAD;
    while let Some([a, b, c, d, _, _, _, _, kind]) = segment.get(at..at + RECORD_HEAD)
        && *kind != 0
    {
        let payload = u32::from_le_bytes([*a, *b, *c, *d]);
        let length = usize::try_from(payload).unwrap_or(usize::MAX).saturating_add(RECORD_HEAD);
        if at.saturating_add(length) > segment.len() {
            break;
        }
        at += length;
    }
    at
}

/// The head of an entry, and less of its payload than it promises.
fn torn(chance: &mut Chance) -> Vec<u8> {
    let there = 1 + chance.below(TORN_MAX);
    let promised = u32::try_from(there + 1 + chance.below(TORN_MAX)).unwrap_or(u32::MAX);
    let mut bytes = promised.to_le_bytes().to_vec();
    let noise = |chance: &mut Chance| u8::try_from(chance.below(256)).unwrap_or_default();
    bytes.extend((0..4).map(|_| noise(chance)));
    bytes.push(1);
    bytes.extend((0..there).map(|_| noise(chance)));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_a_record_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("raft").join("raft");
        fs::create_dir_all(&log).unwrap();
        let record = [&[3, 0, 0, 0, 9, 9, 9, 9, 1][..], &[7, 0, 0]].concat();
        let head = vec![5; SEGMENT_HEAD];
        let whole = [head, record.clone(), record, vec![0; 4_096]].concat();
        fs::write(log.join("1.log"), vec![0; 10]).unwrap();
        fs::write(log.join("2.log"), &whole).unwrap();
        let mut chance = Chance::new(1);
        tear(folder.path(), &mut chance).unwrap();
        let torn = fs::read(log.join("2.log")).unwrap();
        assert_eq!(torn.len(), whole.len());
        let end = SEGMENT_HEAD + 2 * 12;
        assert_eq!(torn[..end], whole[..end]);
        assert_ne!(torn[end..], whole[end..]);
        // What is torn already stays as it is.
        tear(folder.path(), &mut chance).unwrap();
        assert_eq!(fs::read(log.join("2.log")).unwrap()[..end], whole[..end]);
    }
}
