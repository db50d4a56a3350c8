//! What is remembered is found again, whatever was cut off; what is not is said to be gone.

use std::{fmt::Write, fs, path::Path, sync::Arc};

use kraken_engine::{
    id::{Name, Uid},
    object::Tenure,
    object::{Labels, Object, ObjectRef},
    state::State,
    time::Millis,
};
use tempfile::TempDir;

use super::*;

fn shelf(folder: &Path, retention: Retention) -> Shelf {
    Shelf { folder: folder.to_owned(), cluster: 7, retention }
}

fn open(folder: &Path) -> Files {
    Files::open(shelf(folder, Retention::default()), Revision::default()).unwrap()
}

fn record(revision: u64) -> Record {
    let uid = Uid::derive(kraken_engine::id::ClusterId::new(1), Revision::new(1), 0);
    let (kind, name) = (Name::new("node").unwrap(), Name::new("n1").unwrap());
    let key = ObjectRef { kind, namespace: None, name };
    let before = Object {
        uid,
        key: key.clone(),
        labels: Labels::new(),
        owner: None,
        created: Millis::new(1),
        revision: Revision::new(revision - 1),
        generation: revision,
        deleting: false,
        frozen: None,
        cfg: State::new(),
        on_delete: <_>::default(),
        tenure: Tenure::default(),
    };
    Record {
        revision: Revision::new(revision),
        at: Millis::new(revision * 1_000),
        author: format!("author {revision}"),
        note: None,
        changes: vec![Changed { uid, key, before: Some(Arc::new(before)), removed: false }],
    }
}

fn told(files: &Files, after: u64) -> Vec<u64> {
    let after = Revision::new(after);
    let mut told = Vec::new();
    let reading = Reading { after, parts: files.parts(after) };
    let see = |record: Record| {
        told.push(record.revision.get());
        ControlFlow::Continue(())
    };
    reading.each(see).unwrap();
    told
}

#[test]
fn what_is_remembered_is_there_after_a_restart_and_only_once() {
    let folder = TempDir::new().unwrap();
    let mut files = open(folder.path());
    for revision in 1..=5 {
        files.append(&record(revision)).unwrap();
    }
    files.flush().unwrap();
    // The log is applied anew from somewhere before.
    let mut files = open(folder.path());
    for revision in 3..=8 {
        files.append(&record(revision)).unwrap();
    }
    files.flush().unwrap();
    assert_eq!(told(&files, 0), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(told(&files, 6), [7, 8]);
    assert_eq!(told(&open(folder.path()), 7), [8]);
}

#[test]
fn a_torn_end_is_cut_wherever_it_is_torn() {
    let folder = TempDir::new().unwrap();
    let mut files = open(folder.path());
    for revision in 1..=3 {
        files.append(&record(revision)).unwrap();
    }
    files.flush().unwrap();
    let path = folder.path().join(format!("{:020}.past", 0));
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(5) {
        fs::write(&path, &whole[..length]).unwrap();
        let mut files = open(folder.path());
        for revision in 1..=4 {
            files.append(&record(revision)).unwrap();
        }
        files.flush().unwrap();
        assert_eq!(told(&files, 0), [1, 2, 3, 4], "cut after {length} bytes");
    }
}

#[test]
fn what_retention_does_not_keep_goes_in_whole_files() {
    let many = 3 * 4_096 + 10;
    let cases = [
        (Retention { revisions: 5_000, ..Retention::default() }, 2 * 4_096),
        (Retention { age: Duration::from_secs(4_000), ..Retention::default() }, 2 * 4_096),
        (Retention { bytes: 1 << 20, ..Retention::default() }, 2 * 4_096),
        (Retention::default(), 0),
    ];
    for (retention, horizon) in cases {
        let folder = TempDir::new().unwrap();
        let open = || Files::open(shelf(folder.path(), retention), Revision::default()).unwrap();
        let mut files = open();
        for revision in 1..=many {
            files.append(&record(revision)).unwrap();
        }
        files.flush().unwrap();
        assert_eq!(files.horizon().get(), horizon, "{retention:?}");
        let files = open();
        assert_eq!(files.horizon().get(), horizon, "{retention:?} after a restart");
        assert_eq!(told(&files, many - 2), [many - 1, many]);
        assert_eq!(told(&files, horizon).len() as u64, many - horizon);
    }
}

#[test]
fn damage_in_the_middle_is_never_told_as_a_shorter_past() {
    let folder = TempDir::new().unwrap();
    let mut files = open(folder.path());
    for revision in 1..=(2 * 4_096 + 1) {
        files.append(&record(revision)).unwrap();
    }
    files.flush().unwrap();
    let middle = folder.path().join(format!("{:020}.past", 4_096));
    let mut bytes = fs::read(&middle).unwrap();
    bytes[500] ^= 1;
    fs::write(&middle, &bytes).unwrap();
    let files = open(folder.path());
    let reading = Reading { after: Revision::new(10), parts: files.parts(Revision::new(10)) };
    let read = reading.each(|_| ControlFlow::Continue(()));
    assert!(matches!(read, Err(HistoryError::Read(_))), "{read:?}");
    // A header that is damaged takes with it what lies before.
    bytes[10] ^= 1;
    fs::write(&middle, &bytes).unwrap();
    assert_eq!(open(folder.path()).horizon().get(), 2 * 4_096);
}

/// The log brings back only what comes after the snapshot.
#[test]
fn damage_in_the_newest_file_is_told_as_gone() {
    let folder = TempDir::new().unwrap();
    let reopen = |state: u64| {
        Files::open(shelf(folder.path(), Retention::default()), Revision::new(state)).unwrap()
    };
    let mut files = open(folder.path());
    for revision in 1..=20 {
        files.append(&record(revision)).unwrap();
    }
    // A snapshot of revision 25, the last that changed no object.
    files.mark(Revision::new(25)).unwrap();
    files.append(&record(26)).unwrap();
    files.sync().unwrap();
    drop(files);
    let files = reopen(25);
    assert_eq!(files.horizon(), Revision::default());
    assert_eq!(told(&files, 17), [18, 19, 20, 26], "a mark is no write");
    drop(files);

    let newest = folder.path().join(format!("{:020}.past", 0));
    let whole = fs::read(&newest).unwrap();
    // Torn behind the mark: the log brings it again.
    fs::write(&newest, &whole[..whole.len() - 3]).unwrap();
    assert_eq!(told(&reopen(25), 17), [18, 19, 20]);
    // Damaged before it.
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    fs::write(&newest, &bytes).unwrap();
    let mut files = reopen(25);
    assert_eq!(files.horizon().get(), 25);
    files.append(&record(26)).unwrap();
    files.flush().unwrap();
    assert_eq!(told(&files, 25), [26]);
}

#[test]
fn a_file_that_was_about_to_be_begun_costs_nothing() {
    let folder = TempDir::new().unwrap();
    let mut files = open(folder.path());
    files.append(&record(1)).unwrap();
    files.flush().unwrap();
    fs::write(folder.path().join(format!("{:020}.past", 1)), b"").unwrap();
    let mut files = open(folder.path());
    files.append(&record(2)).unwrap();
    files.flush().unwrap();
    assert_eq!(told(&files, 0), [1, 2]);
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_nothing_and_for_long_the_past() {
    let folder = TempDir::new().unwrap();
    let mut files = open(folder.path());
    files.append(&record(1)).unwrap();
    files.flush().unwrap();
    let full = Arc::new(fs::File::options().write(true).open("/dev/full").unwrap());
    let real = files.replace_file(full.clone());
    files.append(&record(2)).unwrap();
    files.flush().unwrap_err();
    files.replace_file(real);
    files.append(&record(3)).unwrap();
    files.flush().unwrap();
    assert_eq!(told(&files, 0), [1, 2, 3]);
    let real = files.replace_file(full);
    let mut revision = 3;
    while files.horizon().get() == 0 {
        revision += 1;
        // Fails again and again.
        drop(files.append(&record(revision)));
        assert!(revision < 1_000_000, "it is never given up");
    }
    drop(real);
    files.flush().unwrap();
    assert!(!files.is_broken());
    assert_eq!(told(&files, revision - 1), [revision]);
}

#[tokio::test]
async fn a_revision_before_the_horizon_is_said_to_be_gone() {
    let folder = TempDir::new().unwrap();
    let shelf = shelf(folder.path(), Retention::default());
    let history = History::open(shelf, Revision::new(40)).unwrap();
    let gone = history.read(Revision::new(39)).await.unwrap_err();
    assert_eq!(gone.to_string(), "the history of this member begins after revision 40");
    history.ask(Job::Write(record(41)));
    let reading = history.read(Revision::new(40)).await.unwrap();
    let mut told = Vec::new();
    let see = |record: Record| {
        told.push(record);
        ControlFlow::Break(())
    };
    reading.each(see).unwrap();
    assert_eq!(told, [record(41)]);
    history.restart(Revision::new(90));
    assert!(history.read(Revision::new(41)).await.is_err());
    tokio::task::spawn_blocking(move || history.sync(Revision::new(90))).await.unwrap().unwrap();
}

#[test]
fn files_have_these_bytes() {
    let folder = TempDir::new().unwrap();
    let mut files = open(folder.path());
    files.append(&record(2)).unwrap();
    files.flush().unwrap();
    let bytes = fs::read(folder.path().join(format!("{:020}.past", 0))).unwrap();
    let hex = bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    });
    assert_eq!(hex, include_str!("golden.txt").trim());
}
