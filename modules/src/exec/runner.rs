//! Runs the execs of a node: looks whether they are done, and does them.
//!
//! A plain struct behind the actor. Whatever runs commands of one exec holds what is known of it,
//! so that nothing is ever run beside itself. A check that is slow goes on after the look that
//! began it was answered, and reports when it has ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use kraken_actors::module::{Kit, Mutate, MutateError, ObjectView, Reporter};
use kraken_engine::{
    id::{Name, Uid},
    path::Path,
    value::Value,
};
use tokio::{
    process::Command,
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    orphan,
    record::{End, Failure, Folder, Past, RUN_VARIABLE, Record},
    sight::{Checked, KEYS, State},
    wish::{Reader, Wish},
};
use crate::{
    asked,
    command::{self, Finished},
};

/// How many checks run at once for looks.
const CHECKS_MAX: usize = 4;
/// How long a look waits for its checks: less than a module is given for it.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// How often a check is run again because Cfg has changed while it ran, before the next look.
const CHANGES_MAX: usize = 3;

/// The execs of one node.
pub(super) struct Runner {
    node: Name,
    data: PathBuf,
    reporter: Reporter,
    /// By name.
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    checks: Semaphore,
    /// Ends what runs.
    ending: CancellationToken,
}

/// One exec.
struct Slot {
    name: Name,
    folder: Folder,
    wish: Mutex<Wish>,
    /// A look at it waits or runs: another would find no more.
    is_looked_at: AtomicBool,
    /// Held by whoever runs its commands.
    known: tokio::sync::Mutex<Known>,
}

/// What is known of one exec.
struct Known {
    past: Past,
    /// The record of the past is not on the disk.
    is_unsaved: bool,
    /// What its check has said last, for which digest.
    checked: Option<(String, Checked)>,
    /// The digest of what was last seen to be done.
    done: Option<String>,
}

/// The one look at an exec, from when it is asked for to its end.
struct Looking(Arc<Slot>);

impl Looking {
    fn begin(slot: Arc<Slot>) -> Option<Self> {
        (!slot.is_looked_at.swap(true, Ordering::AcqRel)).then_some(Self(slot))
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.is_looked_at.store(false, Ordering::Release);
    }
}

/// What came of an attempt.
type Outcome = Result<(), MutateError>;

impl Runner {
    /// A runner that has not looked yet.
    pub(super) fn new(kit: Kit) -> io::Result<Self> {
        Ok(Self {
            node: kit.node,
            data: std::path::absolute(kit.data)?,
            reporter: kit.reporter,
            slots: Mutex::default(),
            checks: Semaphore::new(CHECKS_MAX),
            ending: CancellationToken::new(),
        })
    }

    /// Ends what runs once it fires.
    pub(super) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// Looks at all execs and reports them.
    pub(super) async fn poll(self: &Arc<Self>, object: &Arc<ObjectView>) {
        let uid = object.uid;
        let asked = asked::names(&object.cfg, "/execs");
        let mut looks = Vec::new();
        for name in &asked {
            match Name::new(name) {
                Ok(name) => {
                    let looking = Looking::begin(self.slot(&name, object));
                    looks.extend(looking.map(|looking| {
                        let runner = self.clone();
                        tokio::spawn(async move { runner.look(&looking.0, uid).await })
                    }));
                }
                Err(error) => self.report_misnamed(uid, name, &error.to_string()).await,
            }
        }
        self.forget(object, &asked).await;
        let Ok(ends) = timeout(LOOK_MAX, join_all(looks)).await else {
            return tracing::info!("some checks take more than {LOOK_MAX:?}");
        };
        if let Some(error) = ends.into_iter().filter_map(Result::err).find(JoinError::is_panic) {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// Carries out one mutation of one exec. Once its token fires, what it runs is killed.
    pub(super) async fn mutate(&self, ask: &Mutate) -> Outcome {
        if ask.mutation.as_str() != "Apply" {
            let text = format!("module exec has no mutation {}", ask.mutation);
            return Err(MutateError::permanent(text));
        }
        let name = ask.bindings.first().map_or("", |name| name);
        let name = Name::new(name).map_err(MutateError::permanent)?;
        let slot = self.slot(&name, &ask.object);
        let mut known = tokio::select! {
            known = slot.known.lock() => known,
            () = ask.cancel.cancelled() => return Err(MutateError::Cancelled),
        };
        let wish = slot.wish();
        let outcome = tokio::select! {
            biased;
            outcome = self.apply(&slot, &wish, &mut known, ask) => outcome,
            () = ask.cancel.cancelled() => Err(MutateError::Cancelled),
            // Another actor follows, and is the one to tell.
            () = self.ending.cancelled() => return Err(MutateError::Cancelled),
        };
        self.report(&slot, ask.object.uid, &wish, &mut known).await;
        outcome
    }

    /// Looks at one exec, unless something of it runs: that will tell.
    async fn look(&self, slot: &Slot, uid: Uid) {
        let permit = match slot.wish().check() {
            Some(_) => tokio::select! {
                permit = self.checks.acquire() => Some(permit),
                () = self.ending.cancelled() => return,
            },
            None => None,
        };
        let Ok(mut known) = slot.known.try_lock() else { return };
        for _ in 0..CHANGES_MAX {
            let wish = slot.wish();
            tokio::select! {
                () = check(slot, &wish, &mut known) => {}
                () = self.ending.cancelled() => return,
            }
            self.report(slot, uid, &wish, &mut known).await;
            if slot.wish() == wish {
                break;
            }
        }
        drop(permit);
    }

    /// Reports as unknown what is not asked for any more.
    async fn forget(&self, object: &ObjectView, asked: &BTreeSet<String>) {
        let mut gone: BTreeSet<String> = names_seen(object);
        gone.extend(lock(&self.slots).keys().cloned());
        for name in gone.difference(asked) {
            let slot = lock(&self.slots).get(name).cloned();
            // What still runs reports when it ends, and is forgotten with the look after.
            let Ok(_known) = slot.as_ref().map(|slot| slot.known.try_lock()).transpose() else {
                continue;
            };
            let values = KEYS.iter().filter_map(|key| Some((path(name, key)?, None)));
            self.reporter.look().saw(object.uid, values).await;
            lock(&self.slots).remove(name);
        }
    }

    async fn apply(&self, slot: &Slot, wish: &Wish, known: &mut Known, ask: &Mutate) -> Outcome {
        let calls = wish.calls.as_ref().map_err(MutateError::permanent)?;
        check(slot, wish, known).await;
        match (known.checked(wish), &known.past) {
            (Some(Checked::Passed), _) => return Ok(()),
            (Some(Checked::Unclear(failure)), _) => {
                return Err(MutateError::transient(failure.line()));
            }
            (None, Past::Unreadable(why)) => return Err(MutateError::permanent(why)),
            (None, Past::Ran(record)) if record.has_done(&wish.digest) => {
                return save(slot, known).await;
            }
            (None | Some(Checked::Failed(_)), _) => {}
        }
        let Some(apply) = &calls.apply else {
            let text = format!("nothing to run: set /execs/{}/apply", slot.name);
            return Err(MutateError::permanent(text));
        };
        end_leftovers(slot, &known.past).await?;
        let record = begin(slot, wish, known).await?;
        ask.reporter.progress(&ask.attempt, format!("{} begun", apply.join(" "))).await;
        let mut command = calls.command(apply);
        command.env(RUN_VARIABLE, slot.folder.run(&record.nonce));
        let mut end = ended(command::run(command, wish.limit).await);
        if end.failure.is_none() && calls.check.is_some() {
            check(slot, wish, known).await;
            end.failure = still_to_do(known.checked(wish));
        }
        let failure = end.failure.clone();
        known.past = Past::Ran(Record { end: Some(end), ..record });
        known.is_unsaved = true;
        let saved = save(slot, known).await;
        match failure {
            Some(failure) => Err(MutateError::transient(failure.line())),
            None => saved,
        }
    }

    async fn report(&self, slot: &Slot, uid: Uid, wish: &Wish, known: &mut Known) {
        let checked = known.checked(wish);
        if checked.is_none() && wish.check().is_some() {
            // Cut short before the check had spoken; the next look tells.
            return;
        }
        let state = State::of(wish, checked, &known.past);
        let values = state.values(wish, &known.past).into_iter();
        let values = values.filter_map(|(key, value)| Some((path(&slot.name, key)?, value)));
        self.reporter.look().saw(uid, values).await;
        let done = (state == State::Done).then(|| wish.digest.clone());
        if done.is_none() && known.done.as_ref() == Some(&wish.digest) {
            let why = match checked {
                Some(Checked::Failed(failure) | Checked::Unclear(failure)) => failure.line(),
                Some(Checked::Passed) | None => String::new(),
            };
            let text =
                format!("exec {} is not done any more{}", slot.name, command::after_colon(&why));
            self.reporter.event(uid, text).await;
        }
        known.done = done;
    }

    async fn report_misnamed(&self, uid: Uid, name: &str, error: &str) {
        let values: [(&str, Value); 2] = [("state", "FAILED".into()), ("error", error.into())];
        let values =
            values.into_iter().filter_map(|(key, value)| Some((path(name, key)?, Some(value))));
        self.reporter.look().saw(uid, values).await;
    }

    /// The exec of a name, with what is asked of it now.
    fn slot(&self, name: &Name, object: &ObjectView) -> Arc<Slot> {
        let folder = Folder::new(&self.data, name);
        let reader = Reader { node: &self.node, exec: name, data: &folder.work() };
        let wish = reader.read(&object.cfg);
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(name.as_str()) {
            *lock(&slot.wish) = wish;
            return slot.clone();
        }
        let known = Known { past: folder.past(), is_unsaved: false, checked: None, done: None };
        let slot = Arc::new(Slot {
            name: name.clone(),
            folder,
            wish: Mutex::new(wish),
            is_looked_at: AtomicBool::new(false),
            known: tokio::sync::Mutex::new(known),
        });
        slots.insert(name.to_string(), slot.clone());
        slot
    }
}

impl Known {
    /// What the check has said, if it has for what is asked now.
    fn checked(&self, wish: &Wish) -> Option<&Checked> {
        self.checked.as_ref().filter(|(spec, _)| *spec == wish.digest).map(|(_, checked)| checked)
    }
}

impl Slot {
    fn wish(&self) -> Wish {
        lock(&self.wish).clone()
    }
}

/// Runs the check of an exec, if it has one, and keeps what it says. Reads the record anew where it
/// could not be read, which people may have put right.
async fn check(slot: &Slot, wish: &Wish, known: &mut Known) {
    if matches!(known.past, Past::Unreadable(_)) {
        known.past = slot.folder.past();
    }
    if let (Ok(calls), Some(words)) = (&wish.calls, wish.check()) {
        let checked = run_check(slot, calls.command(words), wish.check_limit()).await;
        known.checked = Some((wish.digest.clone(), checked));
    }
}

async fn run_check(slot: &Slot, command: Command, limit: Duration) -> Checked {
    if let Err(error) = slot.folder.create() {
        return Checked::Unclear(Failure::told(error.to_string()));
    }
    match command::run(command, limit).await {
        Ok(finished) if finished.status.success() => Checked::Passed,
        Ok(finished) => {
            let failure = failure_of(&finished, "the check");
            // A check that was killed has not said no.
            match finished.status.code() {
                Some(_) => Checked::Failed(failure),
                None => Checked::Unclear(failure),
            }
        }
        Err(error) => {
            let is_missing = is_missing(&error);
            let failure = failed(error, "the check");
            if is_missing { Checked::Failed(failure) } else { Checked::Unclear(failure) }
        }
    }
}

/// Kills what is left of a run that did not end by itself.
async fn end_leftovers(slot: &Slot, past: &Past) -> Outcome {
    let Some(record) = past.record().filter(|record| !record.ended_by_itself()) else {
        return Ok(());
    };
    orphan::end_all(&slot.folder.run(&record.nonce)).await.map_err(|left| {
        MutateError::transient(format!("{left} processes of an earlier run do not end"))
    })
}

/// Puts on record that a run begins. Nothing is run that is not on record.
async fn begin(slot: &Slot, wish: &Wish, known: &mut Known) -> Result<Record, MutateError> {
    let record = Record::begun(&wish.digest);
    write(slot, record.clone()).await?;
    known.past = Past::Ran(record.clone());
    known.is_unsaved = false;
    Ok(record)
}

/// Puts on record what is known, if it is not there yet.
async fn save(slot: &Slot, known: &mut Known) -> Outcome {
    if let (true, Some(record)) = (known.is_unsaved, known.past.record()) {
        write(slot, record.clone()).await?;
        known.is_unsaved = false;
    }
    Ok(())
}

async fn write(slot: &Slot, record: Record) -> Outcome {
    let folder = slot.folder.clone();
    match spawn_blocking(move || folder.write(&record)).await {
        Ok(written) => written.map_err(MutateError::transient),
        // The module ends.
        Err(_) => Err(MutateError::Cancelled),
    }
}

/// What became of a run of `apply`.
fn ended(run: Result<Finished, command::Error>) -> End {
    match run {
        Ok(finished) => {
            let well = finished.status.success();
            let failure = (!well).then(|| failure_of(&finished, "apply"));
            End { exit_code: finished.status.code(), failure }
        }
        Err(error) => End { exit_code: None, failure: Some(failed(error, "apply")) },
    }
}

/// What is wrong after a good run of `apply`, if anything is.
fn still_to_do(checked: Option<&Checked>) -> Option<Failure> {
    match checked {
        None | Some(Checked::Passed) => None,
        Some(Checked::Unclear(failure)) => Some(failure.clone()),
        Some(Checked::Failed(failure)) => {
            let error = format!("apply ended with code 0, but {}", failure.error);
            Some(Failure { error, ..failure.clone() })
        }
    }
}

fn failure_of(finished: &Finished, what: &str) -> Failure {
    use std::os::unix::process::ExitStatusExt;
    let error = match (finished.status.code(), finished.status.signal()) {
        (Some(code), _) => format!("{what} ended with code {code}"),
        (None, Some(signal)) => format!("{what} was killed by signal {signal}"),
        (None, None) => format!("{what} ended, nobody saw how"),
    };
    Failure::printed(error, &finished.output)
}

fn failed(error: command::Error, what: &str) -> Failure {
    match error {
        command::Error::TimedOut { limit, output, .. } => {
            let error = format!("{what} did not end within {limit:?} and was killed");
            Failure::printed(error, &output)
        }
        error @ command::Error::Start { .. } => Failure::told(format!("{what}: {error}")),
    }
}

fn is_missing(error: &command::Error) -> bool {
    match error {
        command::Error::Start { source, .. } => {
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        }
        command::Error::TimedOut { .. } => false,
    }
}

/// The names of the execs of which something was seen.
fn names_seen(object: &ObjectView) -> BTreeSet<String> {
    let seen = object.dsc.keys().map(Path::segments);
    let names = seen.filter_map(|mut path| (path.next()? == "execs").then(|| path.next())?);
    names.map(str::to_owned).collect()
}

fn path(name: impl std::fmt::Display, key: &str) -> Option<Path> {
    Path::new(format!("/execs/{name}/{key}")).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
