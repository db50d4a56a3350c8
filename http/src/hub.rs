//! The last commits, kept once for all watchers. A watcher holds a position and no data: one that
//! is slow falls off the end and is told so, and holds up nobody.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kraken_actors::quorum::{Commit, Consistency, Quorum, read};
use kraken_engine::{id::Revision, store::Store};
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    watch,
};
use tokio_util::sync::CancellationToken;

/// Most commits that are kept.
pub(crate) const WATCH_HISTORY_MAX: usize = 1_024;
/// Most changed objects of all commits that are kept: a few large ones shall not hold too much.
pub(crate) const WATCH_CHANGES_MAX: usize = 100_000;

/// The last commits. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub {
    ring: Arc<Mutex<Ring>>,
    /// The revision up to which commits have come.
    moved: watch::Receiver<Revision>,
}

/// How long a watcher waits for the commits that its server has applied already.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Where a watcher is: the number of the next commit that it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position(u64);

/// What a watcher finds at its position.
#[derive(Debug)]
pub(crate) enum Next {
    /// These commits, and where to go on.
    Commits(Vec<Arc<Commit>>, Position),
    /// The commits at its position are gone.
    Lagged,
}

/// No commit after that revision can be found here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOld {
    /// The oldest revision from which a watch can be resumed.
    pub(crate) oldest: Revision,
}

struct Ring {
    commits: VecDeque<Arc<Commit>>,
    /// The number of the first commit that is kept.
    first: u64,
    /// The revision up to which commits are gone.
    floor: Revision,
    changes: usize,
    commits_max: usize,
}

impl Hub {
    /// Starts to keep the commits of a quorum.
    pub(crate) fn start(
        quorum: Arc<dyn Quorum>,
        commits_max: usize,
        shutdown: CancellationToken,
    ) -> Self {
        let commits = quorum.commits();
        let ring = Ring {
            commits: VecDeque::new(),
            first: 0,
            floor: quorum.status().revision,
            changes: 0,
            commits_max: commits_max.max(1),
        };
        let ring = Arc::new(Mutex::new(ring));
        let (moving, moved) = watch::channel(quorum.status().revision);
        tokio::spawn(shutdown.run_until_cancelled_owned(keep(
            quorum,
            commits,
            ring.clone(),
            moving,
        )));
        Self { ring, moved }
    }

    fn ring<R>(&self, look: impl FnOnce(&Ring) -> R) -> R {
        look(&locked(&self.ring))
    }

    /// Where a watch starts that is to tell what comes after `now`, a revision that was read a
    /// moment ago, and the revision that it starts after: `now`, or what is gone since.
    pub(crate) fn start_at(&self, now: Revision) -> (Position, Revision) {
        self.ring(|ring| {
            let start = now.max(ring.floor);
            (ring.position(start), start)
        })
    }

    /// The position of the first commit after a revision.
    pub(crate) fn after(&self, revision: Revision) -> Result<Position, TooOld> {
        self.ring(|ring| {
            if revision < ring.floor {
                return Err(TooOld { oldest: ring.floor });
            }
            Ok(ring.position(revision))
        })
    }

    /// What has come since a position, at most `limit` commits.
    pub(crate) fn since(&self, Position(next): Position, limit: usize) -> Next {
        self.ring(|ring| {
            let Some(skipped) = next.checked_sub(ring.first) else { return Next::Lagged };
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
            let commits: Vec<_> = ring.commits.iter().skip(skipped).take(limit).cloned().collect();
            let end = next + u64::try_from(commits.len()).unwrap_or(u64::MAX);
            Next::Commits(commits, Position(end))
        })
    }

    /// The revision up to which commits have come; is told anew whenever some come.
    pub(crate) fn moved(&self) -> watch::Receiver<Revision> {
        self.moved.clone()
    }

    /// Waits until the commits up to a revision have come. Where they take too long, a watcher that
    /// starts all the same is told later if it has missed something.
    pub(crate) async fn reached(&self, revision: Revision) {
        let mut moved = self.moved();
        let come = moved.wait_for(|reached| *reached >= revision);
        if tokio::time::timeout(CATCH_UP_MAX, come).await.is_err() {
            tracing::debug!(%revision, "commits are late");
        }
    }
}

impl Ring {
    fn position(&self, after: Revision) -> Position {
        let passed = self.commits.iter().filter(|commit| commit.revision <= after).count();
        Position(self.first + u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn end(&self) -> u64 {
        self.first + u64::try_from(self.commits.len()).unwrap_or(u64::MAX)
    }

    fn push(&mut self, commit: Arc<Commit>) {
        if commit.reset {
            return self.forget(commit.revision);
        }
        self.changes += commit.changes.len();
        self.commits.push_back(commit);
        while self.commits.len() > self.commits_max || self.changes > WATCH_CHANGES_MAX {
            let Some(oldest) = self.commits.pop_front() else { break };
            self.changes -= oldest.changes.len();
            self.first += 1;
            self.floor = oldest.revision;
        }
    }

    /// Lets go of everything up to a revision; every watcher has missed something.
    fn forget(&mut self, floor: Revision) {
        self.first = self.end() + 1;
        self.commits.clear();
        self.changes = 0;
        self.floor = self.floor.max(floor);
    }
}

async fn keep(
    quorum: Arc<dyn Quorum>,
    mut commits: Receiver<Arc<Commit>>,
    ring: Arc<Mutex<Ring>>,
    moving: watch::Sender<Revision>,
) {
    loop {
        let reached = match commits.recv().await {
            Ok(commit) => {
                let reached = commit.revision;
                locked(&ring).push(commit);
                reached
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "watchers must list again: commits came too fast");
                let read = read(quorum.as_ref(), Consistency::Stale, Store::revision);
                let floor = read.await.unwrap_or_default();
                locked(&ring).forget(floor);
                floor
            }
            Err(RecvError::Closed) => return,
        };
        moving.send_modify(|moved| *moved = reached.max(*moved));
    }
}

fn locked(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use kraken_engine::{
        command::{Command, Txn},
        id::Name,
        time::Millis,
    };

    use super::*;
    use crate::testing::{MemoryQuorum, proposal};

    fn commit(revision: u64, reset: bool) -> Arc<Commit> {
        Arc::new(Commit {
            revision: Revision::new(revision),
            author: String::new(),
            at: Millis::ZERO,
            note: None,
            changes: Vec::new(),
            declared: false,
            reset,
        })
    }

    fn hub(commits_max: usize) -> Hub {
        let ring = Ring {
            commits: VecDeque::new(),
            first: 0,
            floor: Revision::new(10),
            changes: 0,
            commits_max,
        };
        Hub { ring: Arc::new(Mutex::new(ring)), moved: watch::channel(Revision::new(10)).1 }
    }

    fn push(hub: &Hub, commit: Arc<Commit>) {
        hub.ring.lock().unwrap().push(commit);
    }

    fn revisions(next: Next) -> Option<(Vec<u64>, Position)> {
        match next {
            Next::Commits(commits, position) => {
                Some((commits.iter().map(|commit| commit.revision.get()).collect(), position))
            }
            Next::Lagged => None,
        }
    }

    #[tokio::test]
    async fn what_was_committed_before_a_watch_starts_is_weighed_before_it_does() {
        let quorum = Arc::new(MemoryQuorum::new(Name::new("m1").unwrap()));
        quorum.found();
        let hub = Hub::start(quorum.clone(), 3, CancellationToken::new());
        let first = quorum.status().revision;
        // On one thread: the hub has seen nothing of it.
        for _ in 0..6 {
            quorum.apply(&proposal(Command::Txn(Txn::default())));
        }
        let now = quorum.status().revision;
        assert!(hub.after(first).is_ok(), "as who does not wait is told");
        hub.reached(now).await;
        let oldest = hub.after(first).unwrap_err().oldest;
        assert!(oldest > first && hub.after(oldest).is_ok());
    }

    #[test]
    fn watchers_go_on_where_they_are_and_lag_past_the_end() {
        let hub = hub(3);
        let (start, _) = hub.start_at(Revision::new(10));
        for revision in [12, 15, 16] {
            push(&hub, commit(revision, false));
        }
        let (seen, next) = revisions(hub.since(start, 2)).unwrap();
        assert_eq!(seen, [12, 15]);
        assert_eq!(revisions(hub.since(next, 9)).unwrap().0, [16]);
        push(&hub, commit(20, false));
        assert_eq!(revisions(hub.since(next, 9)).unwrap().0, [16, 20]);
        assert!(revisions(hub.since(start, 9)).is_none());
    }

    #[test]
    fn resuming_finds_what_came_after_or_says_how_far_back_it_goes() {
        let hub = hub(2);
        for revision in [12, 15, 16] {
            push(&hub, commit(revision, false));
        }
        assert_eq!(hub.after(Revision::new(11)), Err(TooOld { oldest: Revision::new(12) }));
        for (after, expected) in
            [(12, vec![15, 16]), (14, vec![15, 16]), (15, vec![16]), (99, vec![])]
        {
            let position = hub.after(Revision::new(after)).unwrap();
            assert_eq!(revisions(hub.since(position, 9)).unwrap().0, expected, "{after}");
        }
    }

    #[test]
    fn what_comes_while_a_watch_starts_is_told() {
        let hub = hub(2);
        let now = Revision::new(12);
        for revision in [12, 15, 16] {
            push(&hub, commit(revision, false));
        }
        let (position, start) = hub.start_at(now);
        assert_eq!((revisions(hub.since(position, 9)).unwrap().0, start), (vec![15, 16], now));
        push(&hub, commit(20, false));
        let (position, start) = hub.start_at(now);
        assert_eq!(revisions(hub.since(position, 9)).unwrap().0, [16, 20]);
        assert_eq!(start, Revision::new(15), "what is gone is not said to be told");
    }

    #[test]
    fn after_a_reset_everybody_has_missed_something() {
        let hub = hub(8);
        let (start, _) = hub.start_at(Revision::new(10));
        push(&hub, commit(12, false));
        push(&hub, commit(30, true));
        assert!(revisions(hub.since(start, 9)).is_none());
        assert!(revisions(hub.since(Position(1), 9)).is_none());
        assert_eq!(hub.after(Revision::new(29)), Err(TooOld { oldest: Revision::new(30) }));
        assert_eq!(
            revisions(hub.since(hub.start_at(Revision::new(30)).0, 9)).unwrap().0,
            [0_u64; 0]
        );
    }
}
