//! The one way into the quorum for the rest of the program.

use std::time::Duration;
use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use kraken_engine::{
    command::{Outcome, Proposal},
    id::{Epoch, MemberId, Revision},
    store::Store,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{broadcast, mpsc, watch},
};

use crate::{
    core::{Consistency, Core, MembershipError, ProposeError, ReadError, StartError, prepare},
    fatal::FatalError,
    history::{HistoryError, Reading},
    machine::AppliedEntry,
    options::Options,
    status::{Leadership, Status, Which},
};

/// Threads of a member's own runtime.
const WORKERS: usize = 2;

/// A member of the quorum. Cheap to clone; it runs on threads of its own, so that nothing that its
/// users do can hold up a heartbeat. It ends with [`Handle::shutdown`] or with the last clone.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    local: SocketAddr,
    runtime: Mutex<Option<Runtime>>,
    spawner: tokio::runtime::Handle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.ended.cancel();
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Handle {
    /// Opens the data folder, listens, and goes on as the member that the folder says, or becomes
    /// one as the options say. Returns when it is one; with [`Bootstrap::Wait`] at once.
    ///
    /// [`Bootstrap::Wait`]: crate::Bootstrap::Wait
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let spawner = runtime.handle().clone();
        let started = spawner.spawn(Core::start(options)).await;
        let ended = |error: tokio::task::JoinError| StartError::Consensus(error.to_string());
        match started.map_err(ended).and_then(|started| started) {
            Ok((core, local)) => {
                let runtime = Mutex::new(Some(runtime));
                Ok(Self { inner: Arc::new(Inner { core, local, runtime, spawner }) })
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// What is behind it.
    #[cfg(test)]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    /// Where members are listened to.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// Whether founding or joining is done. What was begun and is not is gone on with by another
    /// try.
    pub fn is_member(&self) -> bool {
        self.inner.core.is_member()
    }

    /// Founds a cluster with this as its one member.
    pub async fn init(&self) -> Result<MemberId, MembershipError> {
        self.run(|core| async move { core.init().await }, MembershipError::stopped).await
    }

    /// Joins the cluster of whichever member answers at one of these addresses, and waits until
    /// this one votes.
    ///
    /// A learner holds and tells everything and does not vote, until it is promoted.
    pub async fn join(&self, via: Vec<String>, learner: bool) -> Result<MemberId, MembershipError> {
        self.run(|core| async move { core.join(via, learner).await }, MembershipError::stopped)
            .await
    }

    /// Lets a learner vote, once it has nearly all of the log. Done already where it does.
    pub async fn promote(&self, member: impl Into<Which>) -> Result<(), MembershipError> {
        let which = member.into();
        self.run(|core| async move { core.promote(which).await }, MembershipError::stopped).await
    }

    /// Founds a quorum with this as its one member and what a backup holds, in another epoch. The
    /// pieces end with the backup; what is wrong with it is told with its place, and this is nobody
    /// as before.
    pub async fn restore(
        &self,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<MemberId, MembershipError> {
        self.run(|core| async move { core.restore(pieces).await }, MembershipError::stopped).await
    }

    /// All Cfg as the pieces of a backup, as of now. With [`Consistency::Stale`] also without a
    /// quorum: what this member has applied. A backup without its end is not whole.
    pub async fn backup(
        &self,
        consistency: Consistency,
    ) -> Result<mpsc::Receiver<Bytes>, ReadError> {
        self.ready_to_read(consistency).await?;
        let stopped = || ReadError::Stopped;
        self.run(|core| async move { core.backup() }, stopped).await
    }

    /// Removes a member, dead or alive. Refused with the reason where the quorum would be lost.
    pub async fn remove(&self, member: impl Into<Which>) -> Result<(), MembershipError> {
        let which = member.into();
        self.run(|core| async move { core.remove(which).await }, MembershipError::stopped).await
    }

    /// Hands the lead to another member and waits until it has taken it.
    pub async fn transfer(&self, to: MemberId) -> Result<(), MembershipError> {
        self.run(|core| async move { core.transfer(to).await }, MembershipError::stopped).await
    }

    /// Proposes, at whichever member this is, and waits for the outcome. A change of leader in
    /// between costs time only: the proposal carries a request id (one is made where it has none)
    /// and is applied once. When this is dropped, it may be applied all the same.
    pub async fn propose(&self, proposal: Proposal) -> Result<Outcome, ProposeError> {
        let data = prepare(proposal)?;
        let stopped = || ProposeError::Timeout { why: "this member has stopped".to_owned() };
        self.run(|core| async move { core.propose(data).await }, stopped).await
    }

    /// Looks at the store as of now. The closure is run under a read lock while entries wait to be
    /// applied: keep it short, copy what is needed. Objects are shared, so that copying one is
    /// cloning an `Arc`.
    pub async fn read_with<R>(
        &self,
        consistency: Consistency,
        look: impl FnOnce(&Store) -> R,
    ) -> Result<R, ReadError> {
        self.ready_to_read(consistency).await?;
        self.inner.core.shared.with(look).ok_or(ReadError::Stopped)
    }

    /// The whole store as of now, of which the copy costs the same however much it holds.
    pub async fn read(&self, consistency: Consistency) -> Result<Arc<Store>, ReadError> {
        self.ready_to_read(consistency).await?;
        self.inner.core.shared.whole().ok_or(ReadError::Stopped)
    }

    async fn ready_to_read(&self, consistency: Consistency) -> Result<(), ReadError> {
        if consistency == Consistency::Stale {
            return Ok(());
        }
        let ready = |core: Arc<Core>| async move { core.ready_to_read(consistency).await };
        self.run(ready, || ReadError::Stopped).await
    }

    /// The writes after a revision, as this member remembers them; everything that its store shows
    /// at the call is among them.
    pub async fn history(&self, after: Revision) -> Result<Reading, HistoryError> {
        let shared = &self.inner.core.shared;
        // The store shows an entry a moment before the history is told of it.
        shared.told().await.ok_or(HistoryError::Stopped)?;
        let history = shared.history().ok_or(HistoryError::Stopped)?;
        history.read(after).await
    }

    /// Follows what is applied here, in order, each after the store shows it. Who is more than
    /// [`EVENTS_MAX`](crate::EVENTS_MAX) behind is told so and has to read everything anew.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedEntry>> {
        self.inner.core.shared.subscribe()
    }

    /// What this member says of itself and the others.
    pub fn status(&self) -> Status {
        self.inner.core.status()
    }

    /// How long ago at most a majority of the members followed this one as their leader; `None`:
    /// it does not lead. By a clock that goes on while the process is stopped.
    pub fn followed(&self) -> Option<Duration> {
        self.inner.core.followed()
    }

    /// The epoch of what this member holds.
    pub fn epoch(&self) -> Epoch {
        self.inner.core.shared.with(Store::epoch).unwrap_or_else(Epoch::first)
    }

    /// Follows who leads.
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.core.leadership.subscribe()
    }

    /// Waits until this process has to end. Cancel safe.
    pub async fn fatal(&self) -> FatalError {
        self.inner.core.fatal.raised().await
    }

    /// Ends this member; its data folder and address are free afterwards. Other clones answer with
    /// errors from then on.
    pub async fn shutdown(self) {
        let core = Arc::clone(&self.inner.core);
        if let Err(error) = self.inner.spawner.spawn(async move { core.shutdown().await }).await {
            tracing::warn!(%error, "the member did not end well");
        }
        let runtime = self.inner.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }

    /// Runs on the member's own runtime, whichever the caller is on.
    async fn run<T, E, F>(
        &self,
        task: impl FnOnce(Arc<Core>) -> F,
        stopped: impl FnOnce() -> E,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let task = task(Arc::clone(&self.inner.core));
        self.inner.spawner.spawn(task).await.unwrap_or_else(|_| Err(stopped()))
    }
}
