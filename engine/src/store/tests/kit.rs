//! A store with a few kinds, and words to write to it.

use std::time::Duration;

use super::*;
use crate::{
    command::{Target, Targets},
    id::AttemptId,
    manifest::{KindSpec, MutationSpec, SeenBy},
    object::HOST_PATH,
    state::State,
};

pub(super) struct Fleet {
    pub(super) store: Store,
    pub(super) index: u64,
    pub(super) term: Term,
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn path(text: &str) -> Path {
    Path::new(text).unwrap()
}

pub(super) fn node(text: &str) -> ObjectRef {
    ObjectRef { kind: name("node"), namespace: None, name: name(text) }
}

pub(super) fn state(values: &[(&str, &str)]) -> State {
    let mut state = State::new();
    for (at, value) in values {
        state.set(path(at), (*value).into()).unwrap();
    }
    state
}

/// Nodes with a power state, a note, a placement and a fact; and applications with a note.
pub(super) fn manifest() -> Manifest {
    let nodes = Extension::new("nodes")
        .path(PathSpec::new("/power", Type::enum_of(["OFF", "ON"])).absent("OFF"))
        .path(PathSpec::input("/note", Type::Text))
        .path(PathSpec::input("/rule/*/port", Type::Text))
        .path(PathSpec::input("/place", Type::Text))
        .path(PathSpec::fact("/serial", Type::Text));
    let apps = Extension::new("apps").kind("app").path(PathSpec::input("/note", Type::Text));
    Manifest::new("base").extension(nodes).extension(apps).discovers("/power")
}

/// Objects that must never run twice, of kind `post`.
pub(super) fn posts(lease_s: u64) -> Manifest {
    let duty = PathSpec::new("/duty", Type::enum_of(["OFF", "ON"])).absent("OFF");
    let host = PathSpec::new(HOST_PATH, Type::Text).seen_by(SeenBy::Nobody);
    let of = |name: &str| MutationSpec::new(name).kind("post");
    Manifest::new("post")
        .kind(KindSpec::new("post").singleton(Duration::from_secs(lease_s)))
        .extension(Extension::new("post").kind("post").path(duty).path(host))
        .discovers("/duty")
        .mutation(of("TakeUp").changes("/duty", "OFF", "ON"))
        .mutation(of("LayDown").changes("/duty", "ON", "OFF"))
}

pub(super) fn intent(uid: Uid, attempt: u64) -> Intent {
    Intent {
        uid,
        mutation: "m/Reset".to_owned(),
        attempt: AttemptId::derive(&name("leader"), 1, attempt),
        host: name("n1"),
        ends_by: Millis::new(1_000),
    }
}

impl Fleet {
    pub(super) fn new() -> Self {
        let mut fleet = Self { store: Store::new(), index: 0, term: Term::new(3) };
        fleet.ask(None, Command::Found { cluster: ClusterId::new(1) });
        fleet.declare(manifest()).unwrap();
        fleet
    }

    pub(super) fn ask(&mut self, request: Option<RequestId>, command: Command) -> Applied {
        self.index += 1;
        let at = Millis::new(self.index);
        let proposal = Proposal { request, author: "ann".to_owned(), at, command };
        let before = self.store.digest_of_objects();
        let applied = self.store.apply(Revision::new(self.index), self.term, &proposal);
        let counted = before ^ digest_of_changes(&applied.changes);
        assert_eq!(counted, self.store.digest_of_objects(), "a change is not told: {proposal:?}");
        applied
    }

    fn result(&mut self, command: Command) -> Result<Applied, Refusal> {
        let before = rmp_serde::to_vec_named(&self.store).unwrap();
        let applied = self.ask(None, command);
        match applied.outcome {
            Outcome::Refused(refusal) => {
                let after = rmp_serde::to_vec_named(&self.store).unwrap();
                assert!(after == before, "refused, and yet something has changed: {refusal}");
                Err(refusal)
            }
            Outcome::Applied { .. } => Ok(applied),
        }
    }

    pub(super) fn try_command(&mut self, command: Command) -> Result<Applied, Refusal> {
        self.result(command)
    }

    pub(super) fn txn(&mut self, ops: Vec<Op>) -> Result<Applied, Refusal> {
        self.result(Command::Txn(Txn { ops, ..Txn::default() }))
    }

    pub(super) fn apply_txn(&mut self, ops: Vec<Op>) -> Applied {
        self.txn(ops).unwrap()
    }

    pub(super) fn declare(&mut self, manifest: Manifest) -> Result<Applied, Refusal> {
        self.result(Command::Declare { manifests: vec![manifest] })
    }

    pub(super) fn freeze(&mut self, targets: Targets) -> Result<Applied, Refusal> {
        self.result(Command::Freeze { targets })
    }

    pub(super) fn thaw(&mut self, targets: Targets) -> Result<Applied, Refusal> {
        self.result(Command::Thaw { targets })
    }

    pub(super) fn cfg(&self, object: &str) -> State {
        self.store.find(&node(object)).unwrap().cfg.clone()
    }

    pub(super) fn put(object: &str, cfg: &[(&str, &str)]) -> Op {
        Op::Put { object: node(object), labels: None, owner: None, cfg: state(cfg) }
    }

    pub(super) fn one(object: &str) -> Target {
        Target::One(node(object))
    }

    pub(super) fn merge(object: &str, set: &[(&str, &str)], unset: &[&str]) -> Op {
        let unset = unset.iter().map(|at| path(at)).collect();
        Op::Merge { target: Self::one(object), set: state(set), unset }
    }
}
