//! What the log promises: openraft's own suite, recovery of every torn tail, refusal of everything
//! else, and an end at the first failed write.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use kraken_engine::{
    command::{Command, Proposal, RequestId},
    time::Millis,
};
use openraft::{
    Membership, RaftLogReader, StorageError,
    entry::RaftEntry,
    storage::{RaftLogStorage, RaftLogStorageExt},
    testing::log::{StoreBuilder, Suite},
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    Log, LogError, Site, WriterThread,
    record::{self, Record},
    segment::{self, HEADER_BYTES, Header},
};
use crate::{
    disk::Disk,
    fatal::{Fatal, FatalError},
    machine::{Machine, Shared, Snapshots},
    types::{Data, Entry, LogId, Payload, Peer, Types, Vote, log_id},
};

mod power;

const SEGMENT_BYTES: u64 = 4096;

fn site(folder: &Path) -> Site {
    Site {
        folder: folder.to_owned(),
        cluster: 7,
        member: 3,
        segment_bytes: SEGMENT_BYTES,
        disk: Disk::default(),
    }
}

fn open(folder: &Path) -> Result<(Log, WriterThread), LogError> {
    Log::open(site(folder), true, Fatal::new())
}

fn data(text: &str, size: usize) -> Data {
    Data::encode(Proposal {
        request: Some(RequestId("r".repeat(size).into())),
        author: text.to_owned(),
        at: Millis::new(1),
        command: Command::Mark,
    })
    .unwrap()
}

fn entry(term: u64, index: u64, size: usize) -> Entry {
    Entry::new(log_id(term, index), Payload::Normal(data(&format!("{term}-{index}"), size)))
}

fn entries(term: u64, range: std::ops::Range<u64>) -> Vec<Entry> {
    range.map(|index| entry(term, index, 40)).collect()
}

async fn all(log: &mut Log) -> Vec<Entry> {
    log.try_get_log_entries(..).await.unwrap()
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        fs::copy(item.path(), to.path().join(item.file_name())).unwrap();
    }
    to
}

fn last_segment(folder: &Path) -> PathBuf {
    segment::list(&Disk::default(), folder).unwrap().pop().unwrap().1
}

/// Where the last record of a file ends.
fn used(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    let mut at = HEADER_BYTES;
    while let Ok(Some((_, length))) = record::scan(&bytes[at..]) {
        at += length;
    }
    at
}

struct Builder;

impl StoreBuilder<Types, Log, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<Types>> {
        let folder = TempDir::new().unwrap();
        let (log, _) = open(folder.path()).unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let (snapshots, newest) = Snapshots::open(Disk::default(), state, 7).unwrap();
        let machine = Machine::new(Arc::<Shared>::default(), Arc::new(snapshots), newest).unwrap();
        Ok((folder, log, machine))
    }
}

#[tokio::test]
async fn the_suite_of_openraft_passes() {
    Suite::test_all(Builder).await.unwrap();
}

#[tokio::test]
async fn everything_answered_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let (mut log, writer) = open(folder.path()).unwrap();
    let mut expected = entries(1, 0..100);
    log.blocking_append(expected.clone()).await.unwrap();
    log.save_vote(&Vote::new_committed(4, 2)).await.unwrap();
    log.truncate_after(Some(log_id(1, 89))).await.unwrap();
    expected.truncate(90);
    log.blocking_append(entries(2, 90..120)).await.unwrap();
    expected.extend(entries(2, 90..120));
    log.save_committed(Some(log_id(2, 110))).await.unwrap();
    log.purge(log_id(1, 19)).await.unwrap();
    expected.drain(..20);
    writer.stop().await;
    assert!(
        segment::list(&Disk::default(), folder.path()).unwrap().len() > 2,
        "the case needs several segments"
    );
    for _ in 0..3 {
        let (mut log, writer) = open(folder.path()).unwrap();
        assert_eq!(all(&mut log).await, expected);
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(4, 2)));
        assert_eq!(log.read_committed().await.unwrap(), Some(log_id(2, 110)));
        let state = log.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 19)));
        assert_eq!(state.last_log_id, Some(log_id(2, 119)));
        let keys = log.get_key_log_ids(log_id(1, 20)..=log_id(2, 119)).await.unwrap();
        assert_eq!(keys, [log_id(1, 89), log_id(2, 119)]);
        writer.stop().await;
    }
}

#[tokio::test]
async fn purged_segments_go_and_the_vote_stays() {
    let folder = TempDir::new().unwrap();
    let (mut log, writer) = open(folder.path()).unwrap();
    log.save_vote(&Vote::new(9, 1)).await.unwrap();
    for start in (0..400).step_by(20) {
        log.blocking_append(entries(1, start..start + 20)).await.unwrap();
    }
    let before = segment::list(&Disk::default(), folder.path()).unwrap().len();
    log.purge(log_id(1, 380)).await.unwrap();
    writer.stop().await;
    let after = segment::list(&Disk::default(), folder.path()).unwrap().len();
    assert!(after < before / 4, "{before} segments before, {after} after");
    let (mut log, writer) = open(folder.path()).unwrap();
    assert_eq!(all(&mut log).await, entries(1, 381..400));
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(9, 1)));
    // A snapshot beyond the end: the log goes on behind it.
    log.purge(log_id(5, 1000)).await.unwrap();
    log.blocking_append(entries(5, 1001..1003)).await.unwrap();
    writer.stop().await;
    let (mut log, writer) = open(folder.path()).unwrap();
    assert_eq!(all(&mut log).await, entries(5, 1001..1003));
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(5, 1000)));
    writer.stop().await;
}

#[tokio::test]
async fn entries_behind_a_dropped_segment_stay() {
    let folder = TempDir::new().unwrap();
    let (mut log, writer) = open(folder.path()).unwrap();
    log.blocking_append((0..40).map(|index| entry(1, index, 200)).collect::<Vec<_>>())
        .await
        .unwrap();
    // The first purge lies before what is left when the log is read again, the second in it.
    log.purge(log_id(1, 10)).await.unwrap();
    log.purge(log_id(1, 15)).await.unwrap();
    writer.stop().await;
    assert!(
        segment::list(&Disk::default(), folder.path()).unwrap()[0].0 > 1,
        "the case needs a dropped segment"
    );
    let (mut log, writer) = open(folder.path()).unwrap();
    assert_eq!(all(&mut log).await, (16..40).map(|at| entry(1, at, 200)).collect::<Vec<_>>());
    writer.stop().await;
}

#[tokio::test]
async fn a_hole_is_refused() {
    let folder = TempDir::new().unwrap();
    let (mut log, writer) = open(folder.path()).unwrap();
    log.blocking_append(entries(1, 0..3)).await.unwrap();
    assert!(log.blocking_append(entries(1, 4..5)).await.is_err());
    assert_eq!(all(&mut log).await, entries(1, 0..3));
    writer.stop().await;
}

/// A folder with ten durable entries and ten more in one write, and where that write begins.
async fn torn() -> (TempDir, usize) {
    let folder = TempDir::new().unwrap();
    let (mut log, writer) =
        Log::open(Site { segment_bytes: 1 << 16, ..site(folder.path()) }, true, Fatal::new())
            .unwrap();
    log.blocking_append(entries(1, 0..10)).await.unwrap();
    let durable = used(&last_segment(folder.path()));
    log.blocking_append(entries(1, 10..20)).await.unwrap();
    // Killed: nothing more is written.
    let (log, copied) = (log, copy(folder.path()));
    drop(log);
    writer.stop().await;
    (copied, durable)
}

#[tokio::test]
async fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let (folder, durable) = torn().await;
    let end = used(&last_segment(folder.path()));
    assert!(end > durable);
    for cut in (durable..end).step_by(7) {
        // Lost from here, and lost only here: a later page may have made it to the disk.
        for hole in [end - cut, 5.min(end - cut)] {
            let folder = copy(folder.path());
            let path = last_segment(folder.path());
            let mut bytes = fs::read(&path).unwrap();
            bytes[cut..cut + hole].fill(0);
            fs::write(&path, bytes).unwrap();
            let (mut log, writer) = open(folder.path()).unwrap();
            let found = all(&mut log).await;
            assert!(found.len() >= 10, "cut at {cut}: {} entries", found.len());
            assert_eq!(found, entries(1, 0..20)[..found.len()]);
            let next = found.len() as u64;
            log.blocking_append(entries(2, next..next + 3)).await.unwrap();
            writer.stop().await;
            let (mut log, writer) = open(folder.path()).unwrap();
            assert_eq!(all(&mut log).await.len() as u64, next + 3);
            writer.stop().await;
        }
    }
}

#[tokio::test]
async fn damage_before_the_tail_is_refused_with_file_and_offset() {
    let (folder, durable) = torn().await;
    for at in (HEADER_BYTES..durable).step_by(11) {
        let folder = copy(folder.path());
        let path = last_segment(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let Err(LogError::Damaged { path: named, offset, .. }) = open(folder.path()) else {
            panic!("a flipped bit at {at} went unseen");
        };
        assert_eq!(named, path);
        assert!(offset <= at as u64);
        assert_eq!(fs::read(&path).unwrap(), bytes, "a refused log is left as it was");
    }
}

/// Wherever it stands: an older release must not take for torn what a newer one wrote.
#[tokio::test]
async fn a_record_of_another_release_is_refused_and_kept() {
    let (folder, durable) = torn().await;
    let whole = fs::read(last_segment(folder.path())).unwrap();
    for at in [durable, used(&last_segment(folder.path()))] {
        let folder = copy(folder.path());
        let path = last_segment(folder.path());
        let mut bytes = whole.clone();
        bytes[at..].fill(0);
        let mut newer = Vec::new();
        record::put(&mut newer, 200, &[b"what it says"]);
        bytes[at..at + newer.len()].copy_from_slice(&newer);
        fs::write(&path, &bytes).unwrap();
        let error = open(folder.path()).err().expect("it is refused");
        let expected = format!("holds a record of kind 200 at byte {at} that this release cannot");
        assert!(error.to_string().contains(&expected), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is left as it was");
    }
}

#[tokio::test]
async fn damage_in_a_sealed_segment_is_refused() {
    let folder = TempDir::new().unwrap();
    let (mut log, writer) = open(folder.path()).unwrap();
    for start in (0..200).step_by(20) {
        log.blocking_append(entries(1, start..start + 20)).await.unwrap();
    }
    writer.stop().await;
    let segments = segment::list(&Disk::default(), folder.path()).unwrap();
    let sealed = segments[1].1.file_name().unwrap();
    let used = used(&segments[1].1);
    for at in (HEADER_BYTES..used).step_by(101) {
        let folder = copy(folder.path());
        let path = folder.path().join(sealed);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = open(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("join again"), "{error}");
    }
    let missing = copy(folder.path());
    fs::remove_file(missing.path().join(sealed)).unwrap();
    assert!(matches!(open(missing.path()), Err(LogError::Stranger { .. })));
    let first = copy(folder.path());
    fs::remove_file(&segment::list(&Disk::default(), first.path()).unwrap()[0].1).unwrap();
    assert!(matches!(open(first.path()), Err(LogError::Damaged { .. })));
}

#[tokio::test]
async fn a_log_of_somebody_else_is_refused() {
    let folder = TempDir::new().unwrap();
    let (_, writer) = open(folder.path()).unwrap();
    writer.stop().await;
    for (cluster, member) in [(8, 3), (7, 4)] {
        let site = Site { cluster, member, ..site(folder.path()) };
        assert!(matches!(Log::open(site, true, Fatal::new()), Err(LogError::Stranger { .. })));
    }
}

#[tokio::test]
async fn a_vote_survives_the_segment_it_was_first_in() {
    let folder = TempDir::new().unwrap();
    let (mut log, writer) = open(folder.path()).unwrap();
    log.save_vote(&Vote::new(3, 1)).await.unwrap();
    log.blocking_append(entries(1, 0..10)).await.unwrap();
    writer.stop().await;
    // The process ended after it had sealed the segment and begun an empty one.
    let path = last_segment(folder.path());
    let end = used(&path);
    let mut bytes = fs::read(&path).unwrap();
    let crc = crc32fast::hash(&bytes[HEADER_BYTES..end]);
    let mut seal = Vec::new();
    record::put_seal(&mut seal, crc);
    bytes[end..end + seal.len()].copy_from_slice(&seal);
    fs::write(&path, bytes).unwrap();
    let mut next = vec![0; usize::try_from(SEGMENT_BYTES).unwrap()];
    let header = Header { cluster: 7, member: 3, number: 2, previous: crc };
    next[..HEADER_BYTES].copy_from_slice(&header.encode());
    fs::write(folder.path().join(segment::name(2)), next).unwrap();
    let (mut log, writer) = open(folder.path()).unwrap();
    log.purge(log_id(1, 9)).await.unwrap();
    writer.stop().await;
    assert_eq!(segment::list(&Disk::default(), folder.path()).unwrap().len(), 1);
    let (mut log, writer) = open(folder.path()).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 1)));
    writer.stop().await;
}

#[tokio::test]
async fn a_failed_write_is_final_and_loses_nothing_answered() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("raft");
    fs::create_dir(&place).unwrap();
    let fatal = Fatal::new();
    let (mut log, writer) = Log::open(site(&place), true, fatal.clone()).unwrap();
    log.blocking_append(entries(1, 0..5)).await.unwrap();
    // The next segment cannot be created, as when the disk is full.
    let away = folder.path().join("away");
    fs::rename(&place, &away).unwrap();
    let mut answered = 5;
    while log.blocking_append(entries(1, answered..answered + 5)).await.is_ok() {
        answered += 5;
        assert!(answered < 1000, "the segment never filled");
    }
    assert!(matches!(fatal.raised().await, FatalError::Log { .. }));
    fs::rename(&away, &place).unwrap();
    assert!(log.save_vote(&Vote::new(1, 1)).await.is_err(), "it works again after a failure");
    writer.stop().await;
    let (mut log, writer) = open(&place).unwrap();
    let found = all(&mut log).await;
    assert!(found.len() as u64 >= answered);
    assert_eq!(found[..5], entries(1, 0..5));
    writer.stop().await;
}

#[tokio::test]
async fn records_larger_than_a_segment_have_one_of_their_own() {
    let folder = TempDir::new().unwrap();
    let (mut log, writer) = open(folder.path()).unwrap();
    let large = vec![entry(1, 0, 10), entry(1, 1, 20_000), entry(1, 2, 10), entry(1, 3, 90_000)];
    log.blocking_append(large.clone()).await.unwrap();
    writer.stop().await;
    let (mut log, writer) = open(folder.path()).unwrap();
    assert_eq!(all(&mut log).await, large);
    // A limited read ends early and is never empty.
    assert_eq!(log.limited_get_log_entries(1, 4).await.unwrap(), large[1..]);
    writer.stop().await;
}

type Put = (&'static str, fn(&mut Vec<u8>), Record);

#[test]
fn records_have_these_bytes() {
    let peer = Peer { name: "a".into(), address: "b:1".into(), ..Peer::default() };
    let membership =
        Membership::new(vec![[1].into()], std::collections::BTreeMap::from([(1, peer)])).unwrap();
    let data = Data::decode(data("me", 2).bytes().clone()).unwrap();
    let table: [(&str, Entry); 3] = [
        ("blank", Entry::new(log_id(1, 2), Payload::Blank)),
        ("data", Entry::new(log_id(1, 2), Payload::Normal(data))),
        ("membership", Entry::new(log_id(1, 2), Payload::Membership(membership))),
    ];
    let mut bytes = Vec::new();
    let mut shown = String::new();
    for (name, entry) in &table {
        let start = bytes.len();
        record::put_entry(&mut bytes, entry).unwrap();
        assert_eq!(record::entry(&bytes[start..]).unwrap(), *entry);
        writeln!(shown, "{name} {}", hex(&bytes[start..])).unwrap();
    }
    let puts: [Put; 6] = [
        ("vote", |out| record::put_vote(out, &Vote::new_committed(5, 6)), {
            Record::Vote(Vote::new_committed(5, 6))
        }),
        ("truncate", |out| record::put_truncate(out, Some(7)), Record::Truncate(Some(7))),
        ("purge", |out| record::put_purge(out, log_id(8, 9)), Record::Purge(log_id(8, 9))),
        ("committed", |out| record::put_committed(out, log_id(8, 9)), {
            Record::Committed(log_id(8, 9))
        }),
        ("batch", |out| record::put_batch(out, 64), Record::Batch(64)),
        ("seal", |out| record::put_seal(out, 0xDEAD_BEEF), Record::Seal(0xDEAD_BEEF)),
    ];
    for (name, put, expected) in puts {
        let start = bytes.len();
        put(&mut bytes);
        let (found, length) = record::scan(&bytes[start..]).unwrap().unwrap();
        assert_eq!((found, length), (expected, bytes.len() - start));
        writeln!(shown, "{name} {}", hex(&bytes[start..])).unwrap();
    }
    let header = Header { cluster: 1, member: 2, number: 3, previous: 4 };
    assert_eq!(Header::decode(&header.encode()).unwrap(), header);
    writeln!(shown, "header {}", hex(&header.encode())).unwrap();
    assert_eq!(shown, include_str!("golden.txt"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

#[derive(Debug, Clone)]
enum Step {
    Append(u8, u16),
    Truncate(u8),
    Purge(u8),
    Vote(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20u8, 0..600u16).prop_map(|(count, size)| Step::Append(count, size)),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => any::<u8>().prop_map(Step::Vote),
        2 => Just(Step::Restart),
    ]
}

/// What the log should hold.
#[derive(Default)]
struct Model {
    purged: Option<LogId>,
    entries: Vec<Entry>,
    vote: Option<Vote>,
    term: u64,
}

impl Model {
    fn next(&self) -> u64 {
        self.purged.map_or(0, |id| id.index + 1) + self.entries.len() as u64
    }

    async fn step(&mut self, log: &mut Log, step: &Step) {
        match step {
            Step::Append(count, size) => {
                let range = self.next()..self.next() + u64::from(*count);
                let new: Vec<Entry> =
                    range.map(|index| entry(self.term, index, usize::from(*size))).collect();
                log.blocking_append(new.clone()).await.unwrap();
                self.entries.extend(new);
            }
            Step::Truncate(part) => {
                let keep = self.entries.len() * usize::from(*part) / 256;
                let last = self.entries[..keep].last().map(Entry::log_id).or(self.purged);
                log.truncate_after(last).await.unwrap();
                self.entries.truncate(keep);
                self.term += 1;
            }
            Step::Purge(part) => {
                let gone = self.entries.len() * usize::from(*part) / 256;
                if let Some(upto) = self.entries[..gone].last().map(Entry::log_id) {
                    log.purge(upto).await.unwrap();
                    self.purged = Some(upto);
                    self.entries.drain(..gone);
                }
            }
            Step::Vote(node) => {
                let vote = Vote::new(self.term, u64::from(*node));
                log.save_vote(&vote).await.unwrap();
                self.vote = Some(vote);
            }
            Step::Restart => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_was_written(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let mut model = Model { term: 1, ..Model::default() };
            let (mut log, mut writer) = open(folder.path()).unwrap();
            for step in steps.iter().chain([&Step::Restart]) {
                model.step(&mut log, step).await;
                if matches!(step, Step::Restart) {
                    writer.stop().await;
                    (log, writer) = open(folder.path()).unwrap();
                }
                assert_eq!(all(&mut log).await, model.entries);
                assert_eq!(log.read_vote().await.unwrap(), model.vote);
                assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, model.purged);
            }
            writer.stop().await;
        });
    }

    #[test]
    fn no_bytes_make_the_scanner_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(record::scan(&bytes));
        drop(record::entry(&Bytes::from(bytes.clone())));
        let _ = record::find_batch(&bytes);
        drop(Header::decode(&bytes));
    }
}
