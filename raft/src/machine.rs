//! The state machine: the store behind the log, in memory, with its snapshots on disk.
//!
//! Readers look at the store under a read lock while entries are applied under the write lock, one
//! at a time; nothing is copied for either. A snapshot clones pointers and is encoded beside the
//! apply path. Whoever subscribes is told of each entry after the store shows it.

mod check;
mod snapshot;

use std::{
    io,
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{Stream, TryStreamExt};
use kraken_engine::{
    command::{Command, Outcome},
    id::{Revision, Term},
    store::{Change, LEVEL, Store},
    time::Millis,
};
use openraft::{
    OptionalSend, RaftLogReader, RaftSnapshotBuilder, Snapshot,
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::sync::{broadcast, watch};

pub use self::snapshot::StateError;
pub(crate) use self::{
    check::{Checks, Note, Notes, Verdict},
    snapshot::{Image, Incoming, Snapshots},
};
use crate::{
    background,
    history::History,
    log::Log,
    options::CHECK_ENTRIES,
    types::{Answer, Data, Entry, LogId, Payload, SnapshotMeta, StoredMembership, Types},
};

/// Entries that a subscriber may be behind before it is told that it lagged.
pub const EVENTS_MAX: usize = 4096;

/// One entry that was applied, as subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedEntry {
    /// The store's revision after it.
    pub revision: Revision,
    /// Who asked for it.
    pub author: String,
    /// When, in milliseconds since the Unix epoch, by the proposer's clock.
    pub at: Millis,
    /// The proposer's word to those who read the history.
    pub note: Option<String>,
    /// The objects that changed, in order of uid.
    pub changes: Vec<Change>,
    /// Whether the catalog changed.
    pub declared: bool,
    /// The whole store was replaced by a snapshot: what came before is void, read everything anew.
    pub reset: bool,
}

/// What is held under the lock: the store and what it is the result of.
#[derive(Default)]
struct Held {
    store: Store,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// How much was applied since the last snapshot.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Growth {
    /// Entries and bytes of proposals.
    pub(crate) fn get(&self) -> (u64, u64) {
        (self.entries.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn add(&self, bytes: usize) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn reset(&self) {
        self.entries.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

/// The store as readers and the applier share it.
pub(crate) struct Shared {
    held: RwLock<Held>,
    /// The index that will be applied next.
    next: watch::Sender<u64>,
    events: broadcast::Sender<Arc<AppliedEntry>>,
    history: OnceLock<History>,
    pub(crate) growth: Growth,
    pub(crate) checks: Checks,
    /// The feature level that this member knows.
    known: u32,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new(LEVEL, CHECK_ENTRIES)
    }
}

impl Shared {
    /// Of a member that knows a feature level; what is held is noted every so many entries.
    pub(crate) fn new(known: u32, check_entries: u64) -> Self {
        Self {
            known,
            held: RwLock::default(),
            next: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENTS_MAX),
            history: OnceLock::new(),
            growth: Growth::default(),
            checks: Checks::new(check_entries),
        }
    }

    /// Has this member alone hold something else from now on.
    #[cfg(test)]
    pub(crate) fn spoil(&self) {
        let mut held = self.held.write().unwrap();
        let command = Command::Freeze { targets: kraken_engine::command::Targets::All };
        let proposal = kraken_engine::command::Proposal {
            request: None,
            author: "nobody".to_owned(),
            at: Millis::ZERO,
            command,
        };
        let revision = held.store.revision();
        held.store.apply(revision, Term::new(1), &proposal);
    }

    /// Looks at the store. The applier waits meanwhile. `None` after a panic while applying, when
    /// the store may be half-way.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&Store) -> R) -> Option<R> {
        self.held.read().ok().map(|held| look(&held.store))
    }

    /// The store as a whole.
    pub(crate) fn whole(&self) -> Option<Arc<Store>> {
        self.with(|store| Arc::new(store.clone()))
    }

    /// The store, the last entry that is part of it, and the membership; nothing where no entry was
    /// applied yet.
    pub(crate) fn held_last(&self) -> Option<(Store, LogId, StoredMembership)> {
        let held = self.held.read().ok()?;
        Some((held.store.clone(), held.applied?, held.membership.clone()))
    }

    /// Applies everything that a log holds after a snapshot, committed or not.
    pub(crate) async fn replay(
        &self,
        newest: Option<(SnapshotMeta, Store)>,
        log: &Log,
    ) -> io::Result<()> {
        if let Some((meta, store)) = newest {
            self.replace(&meta, store)?;
        }
        let (mut log, mut next) = (log.clone(), next_index(self.applied()));
        loop {
            let entries = log.limited_get_log_entries(next, u64::MAX).await?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                if entry.log_id().index != next {
                    return Err(io::Error::other(format!("entry {next} is missing in the log")));
                }
                next += 1;
                self.apply(entry)?;
            }
        }
    }

    /// What was applied last.
    pub(crate) fn applied(&self) -> Option<LogId> {
        self.held.read().ok().and_then(|held| held.applied)
    }

    /// Follows the index that will be applied next.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// Waits until all that the store shows now was told to whoever follows, and to the history.
    pub(crate) async fn told(&self) -> Option<()> {
        let next = next_index(self.applied());
        let told = self.watch().wait_for(|told| *told >= next).await.map(drop);
        told.ok()
    }

    /// Follows what is applied.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedEntry>> {
        self.events.subscribe()
    }

    /// Remembers from now on what is applied.
    pub(crate) fn keep(&self, history: History) {
        // Only the first is kept; a member is opened once.
        drop(self.history.set(history));
    }

    /// What was applied in the past.
    pub(crate) fn history(&self) -> Option<&History> {
        self.history.get()
    }

    fn apply(&self, entry: Entry) -> io::Result<Answer> {
        let index = entry.log_id().index;
        let answer = self.apply_one(entry)?;
        if self.checks.is_due(index) {
            let held = self.held.read().map_err(|_| poisoned())?;
            self.checks.note(index, &held.store);
        }
        Ok(answer)
    }

    fn apply_one(&self, entry: Entry) -> io::Result<Answer> {
        let id = entry.log_id();
        let mut held = self.held.write().map_err(|_| poisoned())?;
        held.applied = Some(id);
        let answer = match entry.payload {
            Payload::Blank => Answer(None),
            Payload::Membership(membership) => {
                held.membership = StoredMembership::new(Some(id), membership);
                Answer(None)
            }
            Payload::Normal(data) => {
                let proposal = data.proposal();
                let (index, term) = (Revision::new(id.index), Term::new(*id.leader_id));
                let applied = held.store.apply(index, term, proposal);
                self.check_level(&held.store)?;
                let revision = held.store.revision();
                drop(held);
                self.growth.add(data.bytes().len());
                self.checks.changed(&applied.changes);
                if matches!(applied.outcome, Outcome::Applied { .. }) {
                    self.tell(revision, &data, applied.changes, applied.declared);
                }
                Answer(Some(applied.outcome))
            }
        };
        Ok(answer)
    }

    /// Whether this member can go on with what it holds.
    fn check_level(&self, store: &Store) -> io::Result<()> {
        let (held, known) = (store.level(), self.known);
        if held <= known {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "feature level {held} is in use and this release knows {known}; start a newer one"
        )))
    }

    fn tell(&self, revision: Revision, data: &Data, changes: Vec<Change>, declared: bool) {
        let proposal = data.proposal();
        let note = match &proposal.command {
            Command::Txn(txn) => txn.note.clone(),
            Command::Mark | Command::Raise { .. } => return,
            Command::Found { .. }
            | Command::Declare { .. }
            | Command::Freeze { .. }
            | Command::Thaw { .. }
            | Command::OpenIntents { .. }
            | Command::CloseIntents { .. }
            | Command::Retry { .. }
            | Command::Add { .. }
            | Command::Withdraw { .. }
            | Command::Decide { .. } => None,
        };
        let entry = AppliedEntry {
            revision,
            author: proposal.author.clone(),
            at: proposal.at,
            note,
            changes,
            declared,
            reset: false,
        };
        if let Some(history) = self.history.get() {
            history.write(&entry);
        }
        // Without subscribers nobody has to know.
        drop(self.events.send(Arc::new(entry)));
    }

    fn replace(&self, meta: &SnapshotMeta, store: Store) -> io::Result<()> {
        self.check_level(&store)?;
        let revision = store.revision();
        self.checks.begin(&store);
        let mut held = self.held.write().map_err(|_| poisoned())?;
        *held = Held { store, applied: meta.last_log_id, membership: meta.last_membership.clone() };
        drop(held);
        self.growth.reset();
        self.next.send_replace(next_index(meta.last_log_id));
        drop(self.events.send(Arc::new(AppliedEntry {
            revision,
            author: String::new(),
            at: Millis::ZERO,
            note: None,
            changes: Vec::new(),
            declared: true,
            reset: true,
        })));
        Ok(())
    }
}

fn next_index(applied: Option<LogId>) -> u64 {
    applied.map_or(0, |id| id.index + 1)
}

fn poisoned() -> io::Error {
    io::Error::other("an entry could not be applied before")
}

/// What openraft drives.
pub(crate) struct Machine {
    shared: Arc<Shared>,
    snapshots: Arc<Snapshots>,
    /// Whether there was no room for a snapshot when one was due.
    is_tight: bool,
}

impl Machine {
    /// Takes over what the snapshots hold.
    pub(crate) fn new(
        shared: Arc<Shared>,
        snapshots: Arc<Snapshots>,
        newest: Option<(SnapshotMeta, Store)>,
    ) -> io::Result<Self> {
        if let Some((meta, store)) = newest {
            shared.replace(&meta, store)?;
        }
        Ok(Self { shared, snapshots, is_tight: false })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Image;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let held = self.shared.held.read().map_err(|_| poisoned())?;
        Ok((held.applied, held.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let answer = self.shared.apply(entry)?;
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        self.shared.next.send_replace(next_index(self.shared.applied()));
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        let is_tight = !force && !self.snapshots.room();
        if is_tight && !self.is_tight {
            tracing::warn!("no room for a snapshot; the log grows until there is");
        }
        self.is_tight = is_tight;
        if is_tight {
            return None;
        }
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.shared.growth.reset();
        let view = self.shared.held.read().ok().map(|held| {
            let meta = SnapshotMeta {
                last_log_id: held.applied,
                last_membership: held.membership.clone(),
            };
            (meta, held.store.clone())
        });
        let (snapshots, shared) = (Arc::clone(&self.snapshots), Arc::clone(&self.shared));
        Builder { view, snapshots, shared }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, image: Image) -> io::Result<()> {
        let (snapshots, wanted) = (Arc::clone(&self.snapshots), meta.clone());
        let shared = Arc::clone(&self.shared);
        let install = move || {
            let (_, store) = snapshots.decode(&image)?;
            // Before it is in place: what lies between here and there is known to nobody here.
            if let Some(history) = shared.history() {
                history.restart(store.revision());
            }
            snapshots.place(&wanted, image)?;
            io::Result::Ok(store)
        };
        let store = tokio::task::spawn_blocking(install).await.map_err(io::Error::other)??;
        self.shared.replace(meta, store)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::alias::SnapshotOf<Types, Image>>> {
        let current = self.snapshots.current();
        Ok(current.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Builds one snapshot from a store that nobody changes any more; there is none after a panic while
/// applying.
pub(crate) struct Builder {
    view: Option<(SnapshotMeta, Store)>,
    snapshots: Arc<Snapshots>,
    shared: Arc<Shared>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<openraft::alias::SnapshotOf<Types, Image>> {
        let (meta, store) = self.view.take().ok_or_else(poisoned)?;
        let (snapshots, shared) = (Arc::clone(&self.snapshots), Arc::clone(&self.shared));
        let build = move || {
            // The log that the history could be made of again may go once the snapshot stands.
            if let Some(Err(error)) = shared.history().map(|history| history.sync(store.revision()))
            {
                tracing::warn!(%error, "the history is not durable up to this snapshot");
            }
            let snapshot = snapshots.save(&meta, &store)?;
            io::Result::Ok(Snapshot { meta, snapshot })
        };
        background::run("snapshot", build).await?
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use openraft::{entry::RaftEntry as _, vote::RaftLeaderId as _};

    use super::*;

    #[tokio::test]
    async fn what_the_store_shows_is_waited_for() {
        let shared = Shared::default();
        assert_eq!(shared.told().now_or_never(), Some(Some(())));
        let leader = <Types as openraft::RaftTypeConfig>::LeaderId::new(1, 1);
        shared.apply(Entry::new_blank(LogId::new(leader.to_committed(), 7))).unwrap();
        assert_eq!(shared.told().now_or_never(), None, "nobody was told of it yet");
        shared.next.send_replace(8);
        assert_eq!(shared.told().now_or_never(), Some(Some(())));
    }
}
