//! Writing a transaction: guarded by what the request expects, planned where it only asks, and
//! proposed otherwise.

use std::collections::BTreeSet;

use kraken_engine::{
    command::{Command, Condition, Op, Precondition, Target, Txn},
    id::Revision,
    manifest::Manifest,
    object::ObjectRef,
    store::Store,
};
use warp::{http::StatusCode, reply::Response};

use crate::{
    call::{Call, Done, IfMatch},
    dry_run,
    problem::Problem,
    reply::{Written, json, with_revision, with_status, with_tag},
};

/// Longest note in bytes.
pub(crate) const NOTE_BYTES_MAX: usize = 1_024;

/// A write as the query wants it.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    /// Only plan it.
    dry: bool,
    /// Only if Cfg is at this revision.
    expect: Option<Revision>,
    /// A word to those who read the history.
    note: Option<String>,
}

impl Wish {
    /// Takes `dryRun`, `expect` and `note`.
    pub(super) fn take(call: &mut Call) -> Result<Self, Problem> {
        let dry = call.query.one_of("dryRun", &[("plan", true), ("none", false)])?;
        let expect = call.query.parse::<u64>("expect")?.map(Revision::new);
        let note = call.query.take("note");
        if note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES_MAX) {
            return Err(Problem::query("note", format!("it is limited to {NOTE_BYTES_MAX} bytes")));
        }
        Ok(Self { dry: dry.unwrap_or_default(), expect, note })
    }

    /// The same of a write to many, where `If-Match` speaks of Cfg as a whole, as the tag of a list
    /// does.
    pub(super) fn of_many(call: &mut Call) -> Result<Self, Problem> {
        let wish = Self::take(call)?;
        let expect = match (wish.expect, call.if_match()?) {
            (expect, None | Some(IfMatch::Exists)) => expect,
            (None, Some(IfMatch::Revision(revision))) => Some(revision),
            (Some(expected), Some(IfMatch::Revision(revision))) if expected == revision => {
                Some(expected)
            }
            (Some(_), Some(IfMatch::Revision(_))) => {
                let why = "it speaks of another revision than `expect`".to_owned();
                return Err(Problem::BadHeader { name: "if-match".to_owned(), why });
            }
        };
        Ok(Self { expect, ..wish })
    }

    /// The word that is left in the history.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Whether it only plans.
    pub(super) fn is_dry(&self) -> bool {
        self.dry
    }

    /// Plans declarations and the transaction that follows them.
    pub(super) async fn plan(
        self,
        call: &Call,
        declared: Vec<Manifest>,
        mut txn: Txn,
    ) -> Result<Response, Problem> {
        txn.note = txn.note.or(self.note);
        dry_run::answer(call, (declared, txn), self.expect).await
    }

    /// Takes what is expected into a transaction that follows another write: what it touches must
    /// then be as it is now, which must be at the expected revision.
    pub(super) async fn pin(&mut self, call: &Call, txn: &mut Txn) -> Result<(), Problem> {
        if let Some(expected) = self.expect.take() {
            let pins = call.read(<_>::default(), |store| pins(store, txn, expected)).await??;
            txn.preconditions.extend(pins);
        }
        Ok(())
    }

    /// Carries out a transaction, or plans it.
    pub(super) async fn write(
        self,
        call: &Call,
        txn: Txn,
        status: StatusCode,
    ) -> Result<Response, Problem> {
        self.write_as(call, txn, |_| status).await
    }

    /// The same, where the status depends on what was done.
    pub(super) async fn write_as(
        self,
        call: &Call,
        mut txn: Txn,
        status: impl FnOnce(&Done) -> StatusCode,
    ) -> Result<Response, Problem> {
        if self.dry {
            return self.plan(call, Vec::new(), txn).await;
        }
        txn.note = txn.note.or(self.note);
        if self.expect.is_some()
            && let Some(done) = call.earlier().await?
        {
            return written(done, status(&done));
        }
        if let Some(expected) = self.expect {
            let pins = call.read(<_>::default(), |store| pins(store, &txn, expected)).await??;
            txn.preconditions.extend(pins);
        }
        match (call.propose(Command::Txn(txn)).await, self.expect) {
            // A pin did not hold: something was written since the pins were read.
            (Err(Problem::PreconditionFailed(_) | Problem::Exists(_)), Some(expected)) => {
                call.read(<_>::default(), |store| check_base(store, expected)).await??;
                Err(Problem::PreconditionFailed("an object has changed".to_owned()))
            }
            (done, _) => {
                let done = done?;
                let status = status(&done);
                written(done, status)
            }
        }
    }
}

/// The answer to a write.
pub(super) fn written(done: Done, status: StatusCode) -> Result<Response, Problem> {
    let body = Written { revision: done.revision.get(), changed: done.changed };
    let response = with_status(json(&body)?, status);
    Ok(with_tag(with_revision(response, done.revision), done.epoch, done.revision))
}

/// What `If-Match` asks of one object, as a precondition.
pub(super) fn matched(asked: Option<IfMatch>, object: &ObjectRef) -> Vec<Precondition> {
    let is = asked.map(|asked| match asked {
        IfMatch::Exists => Condition::Exists,
        IfMatch::Revision(revision) => Condition::Revision(revision),
    });
    is.into_iter().map(|is| Precondition { object: object.clone(), is }).collect()
}

/// Refuses a Cfg that has moved.
pub(crate) fn check_base(store: &Store, expected: Revision) -> Result<(), Problem> {
    let found = store.revision();
    if found == expected {
        return Ok(());
    }
    Err(Problem::BaseMoved { expected: expected.get(), found: found.get() })
}

/// Pins every object that a transaction touches to what it is at the expected revision, so that a
/// write that comes in between is not overwritten.
fn pins(store: &Store, txn: &Txn, expected: Revision) -> Result<Vec<Precondition>, Problem> {
    check_base(store, expected)?;
    let mut touched: BTreeSet<ObjectRef> = BTreeSet::new();
    for op in &txn.ops {
        match op {
            Op::Put { object, .. } | Op::Delete { object, .. } | Op::Own { object, .. } => {
                touched.insert(object.clone());
            }
            Op::Merge { target, .. } | Op::Label { target, .. } => match target {
                Target::One(object) => {
                    touched.insert(object.clone());
                }
                Target::Matching { kind, selector } => {
                    let found = store.matching(kind.as_str(), selector);
                    touched.extend(found.map(|object| object.key.clone()));
                }
            },
            Op::Remove { uid, .. } | Op::Release { uid, .. } => {
                touched.extend(store.object(*uid).map(|object| object.key.clone()));
            }
        }
    }
    let pin = |object: ObjectRef| {
        let is = match store.find(&object) {
            Some(found) => Condition::Revision(found.revision),
            None => Condition::Absent,
        };
        Precondition { object, is }
    };
    Ok(touched.into_iter().map(pin).collect())
}
