//! The records of the log and their bytes: `len u32 | crc32 u32 | kind u8 | payload`, all numbers
//! little-endian. `len` counts the payload; the checksum covers `len`, kind and payload. Nothing in
//! here touches a file.

use bytes::{Buf, Bytes};
use openraft::{EntryPayload, entry::RaftEntry};

use crate::types::{Data, Entry, LogId, Membership, Payload, Vote, log_id};

/// Bytes of a record before its payload.
pub(crate) const HEAD_BYTES: usize = 9;
/// Bytes of a whole seal record.
pub(crate) const SEAL_BYTES: usize = HEAD_BYTES + 4;

/// Lets a batch record be found again behind a damaged one.
const BATCH_MAGIC: &[u8; 8] = b"\xf1KRBATCH";

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const COMMITTED: u8 = 5;
const BATCH: u8 = 6;
const SEAL: u8 = 7;

const BLANK: u8 = 0;
const DATA: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// One record as it is scanned: entries keep their place in the file and stay undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A log entry.
    Entry(LogId),
    /// A vote; the last one counts.
    Vote(Vote),
    /// Entries after this index are no longer part of the log.
    Truncate(Option<u64>),
    /// Entries up to this one are in a snapshot and gone.
    Purge(LogId),
    /// Entries up to this one are committed.
    Committed(LogId),
    /// Begins what one write put down: everything before this offset was durable by then.
    Batch(u64),
    /// Ends a segment; carries the checksum of its last record's head, for the next one's header.
    Seal(u32),
}

/// Bytes that are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// It would reach past the end of the segment.
    #[error("a record of {0} bytes reaches past the end of the segment")]
    Length(usize),
    /// The checksum does not match.
    #[error("the checksum of a record does not match")]
    Checksum,
    /// The checksum matches and the content makes no sense to this release.
    #[error("a record of kind {0} cannot be read by this release")]
    Content(u8),
}

/// Appends the record of an entry.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) -> Result<(), String> {
    let (term, index) = (**entry.log_id_parts().0, entry.log_id_parts().1);
    let membership;
    let (form, body): (u8, &[u8]) = match &entry.payload {
        EntryPayload::Blank => (BLANK, &[]),
        EntryPayload::Normal(data) => (DATA, data.bytes()),
        EntryPayload::Membership(value) => {
            membership = rmp_serde::to_vec_named(value).map_err(|error| error.to_string())?;
            (MEMBERSHIP, &membership)
        }
    };
    let mut head = [0; 17];
    head[..8].copy_from_slice(&term.to_le_bytes());
    head[8..16].copy_from_slice(&index.to_le_bytes());
    head[16] = form;
    put(out, ENTRY, &[&head, body]);
    Ok(())
}

/// Appends the record of a vote.
pub(crate) fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    let leader = vote.leader_id();
    let (term, node) = (leader.term.to_le_bytes(), leader.voted_for.to_le_bytes());
    put(out, VOTE, &[&term, &node, &[u8::from(vote.committed)]]);
}

/// Appends a truncation after `keep`; `None` keeps nothing.
pub(crate) fn put_truncate(out: &mut Vec<u8>, keep: Option<u64>) {
    let next = keep.map_or(0, |index| index.saturating_add(1));
    put(out, TRUNCATE, &[&next.to_le_bytes()]);
}

/// Appends a purge up to and with `upto`.
pub(crate) fn put_purge(out: &mut Vec<u8>, upto: LogId) {
    put_log_id(out, PURGE, upto);
}

/// Appends the commit position.
pub(crate) fn put_committed(out: &mut Vec<u8>, committed: LogId) {
    put_log_id(out, COMMITTED, committed);
}

/// Appends the mark that begins a batch.
pub(crate) fn put_batch(out: &mut Vec<u8>, durable: u64) {
    put(out, BATCH, &[BATCH_MAGIC, &durable.to_le_bytes()]);
}

/// Appends the record that ends a segment.
pub(crate) fn put_seal(out: &mut Vec<u8>, chain: u32) {
    put(out, SEAL, &[&chain.to_le_bytes()]);
}

fn put_log_id(out: &mut Vec<u8>, kind: u8, id: LogId) {
    put(out, kind, &[&id.leader_id.to_le_bytes(), &id.index.to_le_bytes()]);
}

pub(super) fn put(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // A payload is far below 4 GiB: proposals are limited to 8 MiB.
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(&[kind]);
    for part in parts {
        crc.update(part);
    }
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.push(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Reads the record at the start of `bytes` and says how many bytes it takes. `None`: nothing was
/// written here.
pub(crate) fn scan(bytes: &[u8]) -> Result<Option<(Record, usize)>, Broken> {
    let Some((kind, payload, length)) = frame(bytes)? else { return Ok(None) };
    let record = parse(kind, payload).ok_or(Broken::Content(kind))?;
    Ok(Some((record, length)))
}

/// Reads the entry at the start of `bytes`.
pub(crate) fn entry(bytes: &[u8]) -> Result<Entry, Broken> {
    match frame(bytes)? {
        Some((ENTRY, payload, _)) => parse_entry(payload).ok_or(Broken::Content(ENTRY)),
        Some((kind, ..)) => Err(Broken::Content(kind)),
        None => Err(Broken::Checksum),
    }
}

/// The offset of the next place in `bytes` that holds a whole batch record, and what it says.
pub(crate) fn find_batch(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = rest.windows(BATCH_MAGIC.len()).position(|window| window == BATCH_MAGIC)?;
        let start = (from + at).checked_sub(HEAD_BYTES);
        if let Some(start) = start
            && let Ok(Some((Record::Batch(durable), _))) = scan(bytes.get(start..)?)
        {
            return Some((start, durable));
        }
        from += at + 1;
    }
}

/// Kind, payload and length of the record at the start of `bytes`.
type Frame<'a> = (u8, &'a [u8], usize);

fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, Broken> {
    let Some((mut head, rest)) = bytes.split_at_checked(HEAD_BYTES) else {
        return if bytes.iter().all(|byte| *byte == 0) { Ok(None) } else { Err(Broken::Length(0)) };
    };
    if head.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..4]);
    let (length, sum, kind) = (head.get_u32_le() as usize, head.get_u32_le(), head.get_u8());
    let payload = rest.get(..length).ok_or(Broken::Length(length))?;
    crc.update(&[kind]);
    crc.update(payload);
    if crc.finalize() != sum {
        return Err(Broken::Checksum);
    }
    Ok(Some((kind, payload, HEAD_BYTES + length)))
}

fn parse(kind: u8, mut payload: &[u8]) -> Option<Record> {
    let record = match kind {
        ENTRY => {
            let term = payload.try_get_u64_le().ok()?;
            return Some(Record::Entry(log_id(term, payload.try_get_u64_le().ok()?)));
        }
        VOTE => {
            let (term, node) = (payload.try_get_u64_le().ok()?, payload.try_get_u64_le().ok()?);
            match payload.try_get_u8().ok()? {
                0 => Record::Vote(Vote::new(term, node)),
                1 => Record::Vote(Vote::new_committed(term, node)),
                _ => return None,
            }
        }
        TRUNCATE => Record::Truncate(payload.try_get_u64_le().ok()?.checked_sub(1)),
        PURGE => Record::Purge(parse_log_id(&mut payload)?),
        COMMITTED => Record::Committed(parse_log_id(&mut payload)?),
        BATCH => {
            payload = payload.strip_prefix(BATCH_MAGIC)?;
            Record::Batch(payload.try_get_u64_le().ok()?)
        }
        SEAL => Record::Seal(payload.try_get_u32_le().ok()?),
        _ => return None,
    };
    payload.is_empty().then_some(record)
}

fn parse_log_id(payload: &mut &[u8]) -> Option<LogId> {
    let term = payload.try_get_u64_le().ok()?;
    Some(log_id(term, payload.try_get_u64_le().ok()?))
}

fn parse_entry(mut payload: &[u8]) -> Option<Entry> {
    let id = parse_log_id(&mut payload)?;
    let payload = match payload.try_get_u8().ok()? {
        BLANK => Payload::Blank,
        DATA => Payload::Normal(Data::decode(Bytes::copy_from_slice(payload)).ok()?),
        MEMBERSHIP => Payload::Membership(rmp_serde::from_slice::<Membership>(payload).ok()?),
        _ => return None,
    };
    Some(Entry::new(id, payload))
}
