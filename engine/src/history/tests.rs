//! The past is held against stores that were set aside after each write.

use proptest::prelude::*;

use super::*;
use crate::{
    command::{Command, Op, Outcome, Proposal, Target, Targets, Txn},
    id::{ClusterId, Name, Term},
    manifest::{Extension, Manifest, PathSpec, Type},
    path::Path,
    selector::Selector,
    state::State,
};

const NAMES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const VALUES: [&str; 3] = ["A", "B", "C"];

/// A store with its history, and a copy of it after each write.
struct Book {
    store: Store,
    records: Vec<Record>,
    copies: BTreeMap<Revision, Store>,
    told: Vec<Replayed>,
    index: u64,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn node(text: &str) -> ObjectRef {
    ObjectRef { kind: name("node"), namespace: None, name: name(text) }
}

fn state(values: &[(&str, &str)]) -> State {
    let mut state = State::new();
    for (path, value) in values {
        state.set(Path::new(*path).unwrap(), (*value).into()).unwrap();
    }
    state
}

fn manifest() -> Manifest {
    let paths = ["/x", "/y", "/z"].into_iter();
    let extension = paths.fold(Extension::new("letters"), |extension, path| {
        extension.path(PathSpec::input(path, Type::Text))
    });
    Manifest::new("letters").extension(extension)
}

impl Book {
    fn new() -> Self {
        let store = Store::new();
        let (records, told, copies) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut book = Self { store, records, copies, told, index: 0 };
        book.write(Command::Found { cluster: ClusterId::new(1) });
        book.write(Command::Declare { manifests: vec![manifest()] });
        book
    }

    fn of(commands: Vec<Command>) -> Self {
        let mut book = Self::new();
        for command in commands {
            book.write(command);
        }
        book
    }

    /// A revision at which something was written.
    fn pick(&self, which: prop::sample::Index) -> Revision {
        let revisions: Vec<Revision> = self.copies.keys().copied().collect();
        revisions[which.index(revisions.len())]
    }

    fn write(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let (at, author) = (Millis::new(self.index), format!("author {}", self.index));
        let note = Some(format!("note {}", self.index));
        let proposal = Proposal { request: None, author: author.clone(), at, command };
        let revision = Revision::new(self.index);
        let applied = self.store.apply(revision, Term::new(1), &proposal);
        let changes: Vec<Changed> = applied.changes.iter().map(Changed::of).collect();
        if !changes.is_empty() {
            self.records.push(Record { revision, at, author, note, changes });
            self.told.push(Replayed { revision, changes: applied.changes });
        }
        self.copies.insert(revision, self.store.clone());
        applied.outcome
    }

    fn txn(&mut self, ops: Vec<Op>) -> Outcome {
        self.write(Command::Txn(Txn { ops, ..Txn::default() }))
    }

    fn past(&self, at: Revision) -> Past {
        let mut past = Past::at(at);
        self.records.iter().for_each(|record| past.see(record));
        past
    }

    /// What is told anew of the writes after a revision up to another one, asked for now.
    fn replay(
        &self,
        after: Revision,
        until: Revision,
        changes_max: usize,
    ) -> Option<Vec<Replayed>> {
        let mut replay = Replay::after(after, changes_max);
        let first = self.records.iter().filter(|record| record.revision <= until);
        first.cloned().take_while(|record| replay.see(record.clone()).is_continue()).count();
        if !replay.is_whole() {
            return None;
        }
        let now = replay.there().into_iter();
        let now = now.filter_map(|uid| Some((uid, self.store.object(uid)?.clone()))).collect();
        let mut last = AtThatTime::of(replay.until(), self.store.revision(), now);
        self.records.iter().take_while(|record| last.see(record).is_continue()).count();
        let last = last.finish().expect("all records are there");
        Some(replay.tell(last).expect("all objects are found"))
    }

    fn versions(&self, object: &str) -> Vec<Version> {
        let mut versions = Versions::of(node(object));
        self.records.iter().for_each(|record| versions.see(record));
        versions.finish(self.store.find(&node(object)))
    }
}

fn put(object: &str, cfg: &[(&str, &str)]) -> Op {
    Op::Put { object: node(object), labels: None, owner: None, cfg: state(cfg) }
}

#[test]
fn versions_tell_who_did_what_and_blame_who_set_what_stands() {
    let mut book = Book::new();
    book.txn(vec![put("n1", &[("/x", "A"), ("/y", "A")]), put("n2", &[])]);
    book.txn(vec![put("n1", &[("/x", "B"), ("/y", "A")])]);
    book.write(Command::Freeze { targets: Targets::Names(vec![name("n1")]) });
    let versions = book.versions("n1");
    let told: Vec<_> =
        versions.iter().map(|v| (v.revision.get(), v.deed, v.alteration.paths.len())).collect();
    assert_eq!(told, [(3, Deed::Created, 2), (4, Deed::Changed, 1), (5, Deed::Changed, 0)]);
    assert_eq!(versions[1].author, "author 4");
    assert_eq!(versions[1].note.as_deref(), Some("note 4"));
    let changed = &versions[1].alteration.paths[0];
    assert_eq!(
        (changed.before.clone(), changed.after.clone()),
        (Some("A".into()), Some("B".into()))
    );
    let blamed: Vec<_> = blame(&versions)
        .into_iter()
        .map(|(path, blame)| (path.to_string(), blame.revision.get()))
        .collect();
    assert_eq!(blamed, [("/x".to_owned(), 4), ("/y".to_owned(), 3)]);
}

#[test]
fn records_that_end_before_what_was_read_are_told() {
    let mut book = Book::new();
    for value in ["A", "B", "C"] {
        book.txn(vec![put("n1", &[("/x", value)])]);
    }
    let object = book.store.find(&node("n1")).unwrap().clone();
    for (records, is_whole) in [(3, true), (2, true), (1, false)] {
        let now = BTreeMap::from([(object.uid, object.clone())]);
        let mut then = AtThatTime::of(Revision::new(3), book.store.revision(), now);
        for record in book.records.iter().take(records) {
            assert!(then.see(record).is_continue());
        }
        // The first that comes after revision 3 says how it was then.
        assert_eq!(then.finish().is_some(), is_whole, "{records}");
    }
    let now = BTreeMap::from([(object.uid, object)]);
    let behind = AtThatTime::of(Revision::new(5), Revision::new(4), now);
    assert_eq!(behind.finish(), None, "what was read is older");
}

#[test]
fn an_object_of_the_same_name_is_another_object() {
    let mut book = Book::new();
    book.txn(vec![put("n1", &[("/x", "A")])]);
    let first = book.store.find(&node("n1")).unwrap().uid;
    book.txn(vec![Op::Delete { object: node("n1"), force: true }, put("n1", &[("/x", "B")])]);
    let past = book.past(Revision::new(3));
    let now = book.store.find(&node("n1"));
    assert_ne!(now.unwrap().uid, first);
    assert_eq!(past.object(&node("n1"), now).unwrap().uid, first);
    let deeds: Vec<Deed> = book.versions("n1").iter().map(|version| version.deed).collect();
    assert_eq!(deeds.len(), 3);
    assert_eq!(deeds[0], Deed::Created);
}

#[test]
fn a_way_back_that_is_too_long_is_refused() {
    let mut book = Book::new();
    let nodes = crate::command::OPS_MAX + 1;
    for part in (0..nodes).collect::<Vec<_>>().chunks(crate::command::OPS_MAX) {
        book.txn(part.iter().map(|number| put(&format!("n{number}"), &[])).collect());
    }
    let refused = rollback(&book.past(Revision::new(2)), &book.store, |_| true).unwrap_err();
    let limit = crate::command::OPS_MAX;
    assert_eq!(refused, Unrestorable::TooMany { count: nodes, limit });
    let few = |object: &Object| object.key.name.as_str() < "n2";
    assert!(rollback(&book.past(Revision::new(2)), &book.store, few).is_ok());
}

#[test]
fn a_way_back_is_refused_when_an_object_moves_meanwhile() {
    let mut book = Book::new();
    book.txn(vec![put("n1", &[("/x", "A")])]);
    book.txn(vec![put("n1", &[("/x", "B")])]);
    let txn = rollback(&book.past(Revision::new(3)), &book.store, |_| true).unwrap();
    book.txn(vec![put("n1", &[("/x", "C")])]);
    assert!(matches!(book.write(Command::Txn(txn)), Outcome::Refused(_)));
}

fn command() -> impl Strategy<Value = Command> {
    let object = || prop::sample::select(NAMES.to_vec());
    let value = || prop::sample::select(VALUES.to_vec());
    let op = prop_oneof![
        4 => (object(), value(), value()).prop_map(|(o, x, y)| put(o, &[("/x", x), ("/y", y)])),
        3 => (object(), value()).prop_map(|(object, value)| Op::Merge {
            target: Target::One(node(object)),
            set: state(&[("/z", value)]),
            unset: vec![Path::new("/y").unwrap()],
        }),
        2 => (object(), any::<bool>())
            .prop_map(|(object, force)| Op::Delete { object: node(object), force }),
        1 => (object(), value()).prop_map(|(object, value)| Op::Label {
            target: Target::One(node(object)),
            set: [(name("rack"), value.to_owned())].into(),
            unset: Vec::new(),
        }),
    ];
    let txn =
        prop::collection::vec(op, 1..4).prop_map(|ops| Command::Txn(Txn { ops, ..Txn::default() }));
    let selector: Selector = "rack=A".parse().unwrap();
    prop_oneof![
        8 => txn,
        1 => Just(Command::Freeze { targets: Targets::Selector(selector) }),
        1 => Just(Command::Retry { targets: Targets::All }),
    ]
}

proptest! {
    #[test]
    fn what_is_told_anew_is_what_was_told(
        commands in prop::collection::vec(command(), 1..20),
        from: prop::sample::Index,
        to: prop::sample::Index,
    ) {
        let book = Book::of(commands);
        let (a, b) = (book.pick(from), book.pick(to));
        let (from, to) = (a.min(b), a.max(b));
        let told = |replayed: &&Replayed| from < replayed.revision && replayed.revision <= to;
        let told: Vec<Replayed> = book.told.iter().filter(told).cloned().collect();
        let changes = told.iter().map(|replayed| replayed.changes.len()).sum();
        prop_assert_eq!(book.replay(from, to, changes), Some(told));
        if let Some(less) = usize::checked_sub(changes, 1) {
            prop_assert_eq!(book.replay(from, to, less), None, "it is too long");
        }
    }

    #[test]
    fn every_revision_is_found_as_it_was(commands in prop::collection::vec(command(), 1..20)) {
        let book = Book::of(commands);
        for (revision, copy) in &book.copies {
            let past = book.past(*revision);
            for object in NAMES {
                let now = book.store.find(&node(object));
                prop_assert_eq!(past.object(&node(object), now), copy.find(&node(object)).cloned());
            }
            let all: Vec<Arc<Object>> = copy.of_kind("node").cloned().collect();
            prop_assert_eq!(past.of_kind("node", &book.store), all);
        }
    }

    #[test]
    fn a_diff_names_what_differs_and_nothing_else(
        commands in prop::collection::vec(command(), 1..16),
        from: prop::sample::Index,
        to: prop::sample::Index,
    ) {
        let book = Book::of(commands);
        let (a, b) = (book.pick(from), book.pick(to));
        let (from, to) = (a.min(b), a.max(b));
        let found = diff(&book.past(from), &book.past(to), &book.store);
        for object in NAMES {
            let before = book.copies[&from].find(&node(object));
            let after = book.copies[&to].find(&node(object));
            let told = found.iter().find(|change| change.key == node(object));
            prop_assert_eq!(told.is_some(), before != after);
            if let Some(told) = told {
                prop_assert_eq!(told.before.as_ref(), before);
                prop_assert_eq!(told.after.as_ref(), after);
            }
        }
    }

    #[test]
    fn a_rollback_brings_back_what_people_had_set(
        commands in prop::collection::vec(command(), 1..16),
        to: prop::sample::Index,
    ) {
        let mut book = Book::of(commands);
        let to = book.pick(to);
        // What is being deleted cannot be put back before it is gone.
        let stays = |object: &Object| !object.deleting;
        let txn = rollback(&book.past(to), &book.store, stays).unwrap();
        let outcome = book.write(Command::Txn(txn));
        prop_assert!(matches!(outcome, Outcome::Applied { .. }), "{:?}", outcome);
        for object in NAMES {
            let then = book.copies[&to].find(&node(object)).filter(|object| stays(object));
            let now = book.store.find(&node(object)).filter(|object| stays(object));
            let leaving = book.store.find(&node(object)).is_some_and(|object| object.deleting);
            if !leaving {
                let of = |object: &Arc<Object>| (object.cfg.clone(), object.labels.clone());
                prop_assert_eq!(then.map(of), now.map(of));
            }
        }
    }

    #[test]
    fn versions_end_with_what_is_there_now(commands in prop::collection::vec(command(), 1..20)) {
        let book = Book::of(commands);
        for object in NAMES {
            let versions = book.versions(object);
            let now = book.store.find(&node(object)).cloned();
            let last = versions.last().and_then(|version| version.object.clone());
            prop_assert_eq!(&last, &now);
            let blamed = blame(&versions);
            let asked: Vec<&Path> = now.iter().flat_map(|o| o.cfg.iter()).map(|(p, _)| p).collect();
            prop_assert_eq!(blamed.keys().collect::<Vec<_>>(), asked);
        }
    }
}
