//! Power cuts: the newest snapshot is opened from what every moment of a run would have left on the
//! disk. It is whole, and not older than what was in place.

use kraken_engine::{
    command::{Command, Op, Outcome, Proposal, Txn},
    id::{ClusterId, Name, Revision, Term},
    manifest::{Extension, Manifest, PathSpec, Type},
    object::ObjectRef,
    state::State,
    time::Millis,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    disk::tape::{Tape, Unsynced},
    types::log_id,
};

const CLUSTER: u64 = 7;
/// Bytes that come in at once; a snapshot of a test has several of them.
const PART_BYTES: usize = 700;

#[derive(Debug, Clone)]
enum Step {
    /// The state has so many nodes more; a snapshot of it is built.
    Build(u8),
    /// The same, but it comes from another member; it is put into place when all has come.
    Receive(u8),
    /// One begins to come in and is given up.
    GiveUp(u8),
    /// The one that is in place is put into place.
    Again,
    Restart,
}

/// What a snapshot holds: the entry that it reaches to, and a digest of its state.
type Held = Option<(u64, u64)>;

fn held((meta, store): &(SnapshotMeta, Store)) -> Held {
    Some((meta.last_log_id?.index, store.digest_of_objects() ^ store.digest_of_rest()))
}

fn open(disk: Disk, folder: &Path) -> (Snapshots, Held) {
    let (snapshots, newest) = Snapshots::open(disk, folder.to_owned(), CLUSTER).unwrap();
    (snapshots, newest.as_ref().and_then(held))
}

/// A state that grows.
struct Fleet {
    store: Store,
    index: u64,
}

impl Fleet {
    fn new() -> Self {
        let mut fleet = Self { store: Store::new(), index: 0 };
        fleet.write(Command::Found { cluster: ClusterId::new(CLUSTER) });
        let path = PathSpec::input("/x", Type::Text);
        let manifest = Manifest::new("x").extension(Extension::new("x").path(path));
        fleet.write(Command::Declare { manifests: vec![manifest] });
        fleet
    }

    fn write(&mut self, command: Command) {
        self.index += 1;
        let (author, at) = ("me".to_owned(), Millis::new(self.index));
        let proposal = Proposal { request: None, author, at, command };
        let applied = self.store.apply(Revision::new(self.index), Term::new(1), &proposal);
        assert!(matches!(applied.outcome, Outcome::Applied { .. }), "{:?}", applied.outcome);
    }

    fn last(&self) -> (SnapshotMeta, Store) {
        let last_log_id = Some(log_id(1, self.index));
        (SnapshotMeta { last_log_id, ..SnapshotMeta::default() }, self.store.clone())
    }

    fn grow(&mut self, nodes: u8) -> (SnapshotMeta, Store) {
        for _ in 0..=nodes {
            let name = |text: &str| Name::new(text).unwrap();
            let node = name(&format!("n{}", self.index));
            let object = ObjectRef { kind: name("node"), namespace: None, name: node };
            let put = Op::Put { object, labels: None, owner: None, cfg: State::new() };
            self.write(Command::Txn(Txn { ops: vec![put], ..Txn::default() }));
        }
        self.last()
    }
}

#[test]
fn the_newest_stays_in_place_whichever_comes_last() {
    let folder = TempDir::new().unwrap();
    let (snapshots, _) = open(Disk::default(), folder.path());
    let mut fleet = Fleet::new();
    for _ in 0..20 {
        let (older, newer) = (fleet.grow(1), fleet.grow(1));
        let transfer = || {
            let image = receive(&snapshots, &newer, usize::MAX).finish().unwrap();
            snapshots.place(&newer.0, image).unwrap();
        };
        std::thread::scope(|scope| {
            scope.spawn(transfer);
            snapshots.save(&older.0, &older.1).unwrap();
        });
        assert_eq!(snapshots.current().unwrap().0, newer.0);
        assert_eq!(files(folder.path()).unwrap().len(), 1, "older ones are removed");
    }
    assert_eq!(open(Disk::default(), folder.path()).1, held(&fleet.last()));
}

/// Lets a part of a snapshot of another member come in.
fn receive(to: &Snapshots, snapshot: &(SnapshotMeta, Store), parts: usize) -> Incoming {
    let elsewhere = TempDir::new().unwrap();
    let (from, _) = open(Disk::default(), elsewhere.path());
    let image = from.save(&snapshot.0, &snapshot.1).unwrap();
    let mut bytes = vec![0; usize::try_from(image.bytes).unwrap()];
    image.file.read_exact_at(&mut bytes, 0).unwrap();
    let mut incoming = to.receive().unwrap();
    for part in bytes.chunks(PART_BYTES).take(parts) {
        incoming.write(part).unwrap();
    }
    incoming
}

/// A run of steps, with what is held before the first and after each.
fn run(steps: &[Step]) -> (Arc<Tape>, Vec<Held>) {
    let (folder, tape) = (TempDir::new().unwrap(), Arc::new(Tape::default()));
    let (mut snapshots, newest) = open(Disk::on(tape.clone()), folder.path());
    let (mut all, mut fleet) = (vec![newest], Fleet::new());
    for (number, step) in steps.iter().enumerate() {
        tape.asked(number + 1);
        let mut now = *all.last().unwrap();
        match step {
            Step::Build(nodes) => {
                let (meta, store) = fleet.grow(*nodes);
                snapshots.save(&meta, &store).unwrap();
                now = held(&(meta, store));
            }
            Step::Receive(nodes) => {
                let snapshot = fleet.grow(*nodes);
                let image = receive(&snapshots, &snapshot, usize::MAX).finish().unwrap();
                let came = snapshots.decode(&image).unwrap();
                snapshots.place(&came.0, image).unwrap();
                now = held(&snapshot);
                assert_eq!(held(&came), now);
            }
            Step::GiveUp(parts) => {
                drop(receive(&snapshots, &fleet.grow(0), usize::from(*parts)));
            }
            Step::Again => {
                if let Some((meta, image)) = snapshots.current() {
                    snapshots.place(&meta, image).unwrap();
                }
            }
            Step::Restart => {
                let found;
                (snapshots, found) = open(Disk::on(tape.clone()), folder.path());
                assert_eq!(found, now);
            }
        }
        tape.answered(number + 1);
        all.push(now);
    }
    (tape, all)
}

fn check(steps: &[Step], seed: u64) {
    let (tape, all) = run(steps);
    for moment in 0..tape.moments() {
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(seed ^ moment as u64)] {
            let wreck = tape.cut(moment, unsynced);
            let again = Arc::new(Tape::of(wreck.folder.path()));
            let (_, found) = open(Disk::on(again.clone()), wreck.folder.path());
            assert!(
                all[wreck.answered..=wreck.asked].contains(&found),
                "power cut after {moment} deeds, {unsynced:?}: {found:?} of {all:?}, step {}",
                wreck.asked
            );
            // Nor does a cut while it starts again make a difference.
            for second in 0..again.moments() {
                let wreck = again.cut(second, Unsynced::Torn(seed ^ second as u64));
                assert_eq!(open(Disk::default(), wreck.folder.path()).1, found);
            }
        }
    }
}

#[test]
fn every_moment_of_a_long_run_leaves_the_newest_whole() {
    let steps = [
        Step::GiveUp(1),
        Step::Build(3),
        Step::Again,
        Step::Build(40),
        Step::Receive(60),
        Step::GiveUp(2),
        Step::Restart,
        Step::Receive(5),
        Step::Build(0),
        Step::Again,
    ];
    check(&steps, 7);
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..30u8).prop_map(Step::Build),
        3 => (0..30u8).prop_map(Step::Receive),
        1 => (0..4u8).prop_map(Step::GiveUp),
        1 => Just(Step::Again),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn no_power_cut_loses_the_newest_snapshot(
        steps in prop::collection::vec(step(), 1..10),
        seed: u64,
    ) {
        check(&steps, seed);
    }
}
