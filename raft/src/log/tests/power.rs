//! Power cuts: the log is recovered from what every moment of a run would have left on the disk.
//! Nothing that was answered is lost, nothing that was never asked for is there, and what is there
//! is what was asked, up to some point.

use std::sync::Arc;

use openraft::{
    entry::RaftEntry,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Log, Model, Site, Step, WriterThread, all, site, step};
use crate::{
    disk::{
        Disk,
        tape::{Tape, Unsynced, Wreck},
    },
    fatal::{Fatal, FatalError},
    types::{Entry, LogId, Vote},
};

/// What a log holds.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    purged: Option<LogId>,
    entries: Vec<Entry>,
    vote: Option<Vote>,
}

impl Held {
    fn of(model: &Model) -> Self {
        Self { purged: model.purged, entries: model.entries.clone(), vote: model.vote }
    }

    /// Whether this is what a power cut may leave while a log that held `self` is asked to hold
    /// `next`: one of both, or a part of the entries that are new.
    fn may_become(&self, next: &Self, found: &Self) -> bool {
        let part = || {
            let so_far = found.entries.len().min(next.entries.len());
            self.purged == next.purged
                && self.vote == next.vote
                && found.purged == next.purged
                && found.vote == next.vote
                && found.entries.len() >= self.entries.len()
                && next.entries.starts_with(&self.entries)
                && found.entries[..] == next.entries[..so_far]
        };
        found == self || found == next || part()
    }
}

/// A run of steps, with what the log should hold before the first and after each.
async fn run(steps: &[Step]) -> (Arc<Tape>, Vec<Held>) {
    let (folder, tape) = (TempDir::new().unwrap(), Arc::new(Tape::default()));
    let open = || {
        let site = Site { disk: Disk::on(tape.clone()), ..site(folder.path()) };
        Log::open(site, true, Fatal::new()).unwrap()
    };
    let mut model = Model { term: 1, ..Model::default() };
    let mut held = vec![Held::of(&model)];
    let (mut log, mut writer) = open();
    for (number, step) in steps.iter().enumerate() {
        tape.asked(number + 1);
        model.step(&mut log, step).await;
        tape.answered(number + 1);
        held.push(Held::of(&model));
        if matches!(step, Step::Restart) {
            writer.stop().await;
            (log, writer) = open();
        }
    }
    writer.stop().await;
    (tape, held)
}

/// Opens what a power cut left.
async fn open(wreck: &Wreck, disk: Disk) -> (Held, Log, WriterThread) {
    let site = Site { disk, ..site(wreck.folder.path()) };
    let (mut log, writer) = Log::open(site, true, Fatal::new()).unwrap();
    let held = Held {
        purged: log.get_log_state().await.unwrap().last_purged_log_id,
        entries: all(&mut log).await,
        vote: openraft::RaftLogReader::read_vote(&mut log).await.unwrap(),
    };
    (held, log, writer)
}

async fn recover(wreck: &Wreck) -> Held {
    let (held, mut log, writer) = open(wreck, Disk::default()).await;
    // It can be written to.
    let next = held.purged.map_or(0, |id| id.index + 1) + held.entries.len() as u64;
    let probe = super::entry(99, next, 10);
    log.blocking_append([probe.clone()]).await.unwrap();
    assert_eq!(all(&mut log).await.last().map(Entry::log_id), Some(probe.log_id()));
    writer.stop().await;
    held
}

async fn check(steps: &[Step], seed: u64, stride: usize) {
    let (tape, held) = run(steps).await;
    for moment in (0..tape.moments()).step_by(stride) {
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(seed ^ moment as u64)] {
            let wreck = tape.cut(moment, unsynced);
            let may_be = |found: &Held| {
                let mut between = held[wreck.answered..=wreck.asked].windows(2);
                found == &held[wreck.answered]
                    || between.any(|pair| pair[0].may_become(&pair[1], found))
            };
            let when = format!(
                "power cut after {moment} deeds, {unsynced:?}, step {} answered of {}",
                wreck.answered, wreck.asked,
            );
            // The power goes once more while it is opened, and once it is open.
            let again = Arc::new(Tape::of(wreck.folder.path()));
            let (found, _, writer) = open(&wreck, Disk::on(again.clone())).await;
            let opened = again.moments() - 1;
            writer.stop().await;
            assert!(may_be(&found), "{when}: {found:#?}");
            for second in 0..=opened {
                let torn = Unsynced::Torn(seed ^ (moment + second) as u64);
                let found_then = recover(&again.cut(second, torn)).await;
                assert!(may_be(&found_then), "{when}, again after {second}: {found_then:#?}");
                let holds = second < opened || found_then == found;
                assert!(holds, "{when}: opened with {found:#?}, then with {found_then:#?}");
            }
        }
    }
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future);
}

#[test]
fn every_moment_of_a_long_run_can_be_recovered() {
    let steps = [
        Step::Vote(1),
        Step::Append(10, 300),
        Step::Append(15, 500),
        Step::Truncate(200),
        Step::Append(4, 0),
        Step::Vote(2),
        Step::Purge(128),
        Step::Restart,
        Step::Append(12, 400),
        Step::Purge(250),
        Step::Append(3, 20),
    ];
    block_on(check(&steps, 7, 1));
}

/// What was read from memory when it started again is on the disk before anybody relies on it.
#[tokio::test]
async fn what_a_failed_sync_dropped_is_never_called_durable() {
    let (folder, tape) = (TempDir::new().unwrap(), Arc::new(Tape::default()));
    let fatal = Fatal::new();
    let open = || {
        let site = Site { disk: Disk::on(tape.clone()), ..site(folder.path()) };
        Log::open(site, true, fatal.clone()).unwrap()
    };
    let (mut log, writer) = open();
    log.blocking_append(super::entries(1, 0..5)).await.unwrap();
    tape.fail_syncs(true);
    log.blocking_append(super::entries(1, 5..10)).await.unwrap_err();
    assert!(matches!(fatal.raised().await, FatalError::Log { .. }));
    tape.fail_syncs(false);
    log.save_vote(&Vote::new(1, 1)).await.expect_err("a failed sync is final");
    writer.stop().await;

    let (mut log, writer) = open();
    let found = all(&mut log).await;
    assert_eq!(found, super::entries(1, 0..10), "memory still has it");
    log.save_vote(&Vote::new(2, 1)).await.unwrap();
    writer.stop().await;
    let wreck = tape.cut(tape.moments() - 1, Unsynced::Lost);
    let held = recover(&wreck).await;
    assert_eq!((held.entries, held.vote), (found, Some(Vote::new(2, 1))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn no_power_cut_loses_what_was_answered(
        steps in prop::collection::vec(step(), 1..12),
        seed: u64,
    ) {
        block_on(check(&steps, seed, 3));
    }
}
