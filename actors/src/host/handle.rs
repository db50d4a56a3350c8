//! How the rest of a node speaks to the module host. A handle is cheap to clone and goes on working
//! when the host actor is restarted.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Addr, Arbiter, Handler, Message, System, dev::ToEnvelope};
use kraken_engine::id::{AttemptId, Name, Uid};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{
    CONFIGURE_TIMEOUT, ModuleHost,
    messages::{Admission, Bar, Cancel, Observe, SetConfig, SetRunning, Start, Starts, Stop},
    objects::Objects,
    options::{HostError, HostOptions},
    snapshot::HostSnapshot,
};
use crate::module::{ConfigureError, Home, ObjectView};

/// How long the host may take to answer what it answers at once.
pub const HOST_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before a host actor that has failed is started again.
const HOST_RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Speaks to the module host of a node.
#[derive(Clone)]
pub struct HostHandle {
    shared: Arc<Shared>,
}

/// What outlives the host actor.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) objects: Mutex<Objects>,
    pub(crate) changed: Notify,
    address: Mutex<Option<Addr<ModuleHost>>>,
}

impl HostHandle {
    /// Starts the host and its modules. Fails only on what is wrong before any of them runs; a
    /// module that does not start is tried again. With [`Home::Own`] it must be called within an
    /// actix system.
    pub async fn start(options: HostOptions) -> Result<Self, HostError> {
        options.by_name()?;
        let shared = Arc::new(Shared::default());
        let (ready_tx, ready) = oneshot::channel();
        let home = options.home;
        let keeper = keep(options, shared.clone(), ready_tx);
        match home {
            Home::Current => drop(actix_rt::spawn(keeper)),
            Home::Own => {
                System::try_current().ok_or(HostError::NoSystem)?;
                let thread = Arbiter::try_new().map_err(HostError::Thread)?;
                thread.spawn(keeper);
            }
        }
        ready.await.map_err(|_| HostError::NoSystem)?;
        Ok(Self { shared })
    }

    /// Asks for a mutation. `None` when the host does not answer: it may have begun, or may still
    /// until its time to start is over. Asked again with the same attempt, it starts at most once.
    pub async fn mutate(&self, start: Start) -> Option<Admission> {
        self.ask(start, HOST_TIMEOUT).await
    }

    /// The same for many, answered in their order.
    pub async fn mutate_all(&self, starts: Vec<Start>) -> Option<Vec<Admission>> {
        self.ask(Starts(starts), HOST_TIMEOUT).await
    }

    /// Cancels an attempt; tells whether one runs that may be cancelled.
    pub async fn cancel(&self, attempt: AttemptId) -> bool {
        self.ask(Cancel(attempt), HOST_TIMEOUT).await.unwrap_or(false)
    }

    /// Has an attempt never start, unless it runs; says whether it does not. `None` when the host
    /// does not answer.
    pub(crate) async fn bar(&self, attempt: AttemptId) -> Option<bool> {
        self.ask(Bar(attempt), HOST_TIMEOUT).await
    }

    /// Replaces the objects that modules look at. Those that are asked for differently are looked
    /// at soon.
    pub fn set_objects(&self, objects: Vec<Arc<ObjectView>>) {
        self.shared.objects().set(objects);
        self.shared.changed.notify_one();
    }

    /// Tells how one object is now, as [`set_objects`](Self::set_objects).
    pub fn object_changed(&self, object: Arc<ObjectView>) {
        self.objects_changed([(object.uid, Some(object))]);
    }

    /// Tells how objects are now; `None`: it is not here any more.
    pub fn objects_changed(
        &self,
        changes: impl IntoIterator<Item = (Uid, Option<Arc<ObjectView>>)>,
    ) {
        let mut objects = self.shared.objects();
        for (uid, object) in changes {
            match object {
                Some(object) => objects.put(object),
                None => objects.remove(uid),
            }
        }
        if objects.has_changed() {
            self.shared.changed.notify_one();
        }
    }

    /// Has an object looked at soon.
    pub fn look(&self, uid: Uid) {
        self.shared.objects().look(uid);
        self.shared.changed.notify_one();
    }

    /// Changes the configuration of a module.
    pub async fn configure(
        &self,
        module: Name,
        config: serde_json::Value,
    ) -> Result<(), ConfigureError> {
        let answer = self.ask(SetConfig { module, config }, CONFIGURE_TIMEOUT + HOST_TIMEOUT).await;
        answer.unwrap_or_else(|| Err(ConfigureError::Start("the host did not answer".to_owned())))
    }

    /// Starts or stops a module; tells whether there is such a module.
    pub async fn set_running(&self, module: Name, running: bool) -> bool {
        self.ask(SetRunning { module, running }, HOST_TIMEOUT).await.unwrap_or(false)
    }

    /// The host as it is; `None` if it does not answer.
    pub async fn observe(&self) -> Option<HostSnapshot> {
        self.ask(Observe, HOST_TIMEOUT).await
    }

    /// Ends all modules, with at most `within` for their last work. Nothing is started afterwards.
    pub async fn stop(&self, within: Duration) {
        if self.ask(Stop { within }, within + HOST_TIMEOUT).await.is_none() {
            tracing::warn!("the module host did not end its modules in time");
        }
    }

    pub(super) async fn ask<M>(&self, message: M, within: Duration) -> Option<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        ModuleHost: Handler<M>,
        actix::Context<ModuleHost>: ToEnvelope<ModuleHost, M>,
    {
        let address = self.shared.address().clone()?;
        timeout(within, address.send(message)).await.ok()?.ok()
    }
}

impl Shared {
    pub(crate) fn objects(&self) -> std::sync::MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> std::sync::MutexGuard<'_, Option<Addr<ModuleHost>>> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the host actor, and again whenever it is gone.
async fn keep(options: HostOptions, shared: Arc<Shared>, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    loop {
        let Ok((address, gone)) = ModuleHost::start(&options, &shared) else { return };
        *shared.address() = Some(address);
        if let Some(ready) = ready.take()
            && ready.send(()).is_err()
        {
            return;
        }
        gone.cancelled().await;
        tracing::error!("the module host failed and is started again");
        tokio::time::sleep(HOST_RESTART_PAUSE).await;
    }
}
